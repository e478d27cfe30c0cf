#!/bin/sh
# check.sh - on a fresh Debian 12: installs what is needed, builds with warnings as
# errors, and passes all tests, 100 schedules of random faults at the end; all but the
# end-to-end tests, the planned mistakes and those schedules also under ASan and UBSan.
# The last line is "N passed, N failed, N skipped".
# O=dir: the build (its sanitized twin is O-san).
set -eu
cd "$(dirname "$0")"
sh deps.sh build run test
O=${O:-build}
jobs=$(nproc)
began=$(date +%s)
make -s -j"$jobs" O="$O" WERROR=1 all test-programs
make -s -j"$jobs" O="$O-san" SAN=1 WERROR=1 all test-programs
echo "# built after $(($(date +%s) - began)) s"
exec /usr/bin/python3 tests/run -O "$O" unit policy transcript sim cases fault \
	-O "$O-san" unit policy transcript sim cases -O "$O" e2e campaign
