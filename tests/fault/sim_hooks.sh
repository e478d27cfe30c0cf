#!/bin/sh
# Each planned mistake must turn the simulator red, and without one it must be green.
# Needs a build with HOOKS=1, which is made here in O-hooks when it is missing.
cd "$(dirname "$0")/../.." || exit 1
O=${O:-build}
H=${HOOKS_O:-$O-hooks}
fail=0
if ! make -s -j2 O="$H" HOOKS=1 "$H/tests/sim/sim" >"${TMPDIR:-/tmp}/sim_hooks.$$" 2>&1; then
	sed 's/^/# /' "${TMPDIR:-/tmp}/sim_hooks.$$"
	echo "not ok sim-hooks build"
	rm -f "${TMPDIR:-/tmp}/sim_hooks.$$"
	exit 1
fi
rm -f "${TMPDIR:-/tmp}/sim_hooks.$$"
for bug in none ack-before-peer accept-old-generation promote-without-belief \
    solo-without-evidence; do
	if [ $bug = none ]; then
		out=$("$H/tests/sim/sim" -n 200 -s 1 2>&1)
		want=0
	else
		out=$("$H/tests/sim/sim" -n 2000 -s 1 -b $bug 2>&1)
		want=1
	fi
	case $want:$out in
	0:*violations=0 | 1:*violation:*)
		[ $bug != none ] || echo "ok simulator without a mistake  # $out"
		[ $bug = none ] || echo "ok $bug found  # simulator $out" ;;
	*)
		echo "not ok $bug found  # simulator $out"
		fail=1 ;;
	esac
done
exit $fail
