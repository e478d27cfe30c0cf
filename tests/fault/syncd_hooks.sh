#!/bin/sh
# Planned mistakes in syncd: acknowledged before the other node has a record, and
# before it is on a disk; a batch of an older generation is taken; owners are given what is
# not committed; the log is trimmed though this node, or the other one, needs it.  The cases
# with two real syncds must find each of them.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh

hooks_build "syncd hooks" "$build/syncd"
O=$build tests/with_users.sh tests/cases/syncd_pair.py hook_ack_before_peer hook_ack_before_fsync \
	hook_accept_old_generation hook_read_uncommitted hook_trim_ignores_peer \
	hook_trim_ignores_own >"$log" 2>&1
code=$?
sed -e '/^ok syncd_pair hook_/y/_/-/' -e 's/^ok syncd-pair hook-\([a-z-]*\) /ok \1 found  # two syncds /' "$log"
exit $code
