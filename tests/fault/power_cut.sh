#!/bin/sh
# The subjects of fault.c under power cuts at random moments, on an ext4 that is shut down
# (power_cut.py).  SEED, ROUNDS: other moments, and more of them.
# BUILD: where to build (default build-hooks).  Prints ok, not ok and skip lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh

hooks_build "power cut" "$build/tests/fault/fault"
/usr/bin/python3 tests/fault/power_cut.py "$build/tests/fault/fault" "${ROUNDS:-1}" "${SEED:-1}" || failed=1
exit "$failed"
