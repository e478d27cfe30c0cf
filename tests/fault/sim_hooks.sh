#!/bin/sh
# Each planned mistake must turn the simulator red, and without one it must be green.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
sim=$build/tests/sim/sim

hooks_build "simulator" "$sim"
for bug in none ack-before-peer accept-old-generation promote-without-belief \
    solo-without-evidence keep-torn-record; do
	if [ $bug = none ]; then
		out=$("$sim" -n 200 -s 1 2>&1)
		want=0
	else
		out=$("$sim" -n 2000 -s 1 -b $bug 2>&1)
		want=1
	fi
	name="$bug found  # simulator"
	[ $bug != none ] || name="simulator without a mistake  #"
	case $want:$out in
	0:*violations=0 | 1:*violation:*)
		say 0 "$name $out" ;;
	*)
		say 1 "$name $out" ;;
	esac
done
exit "$failed"
