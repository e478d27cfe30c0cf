#!/bin/sh
# Each planned mistake must turn the simulator red, and without one it must be green.  What
# no schedule is long enough for is found by a situation or by a unit test.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines; a line of the
# simulator ends with the seed that found the mistake.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
sim=$build/tests/sim/sim
N=${N:-20000}

hooks_build "simulator" "$sim"
out=$("$sim" -n 1000 -s 1 2>&1)
case $out in
*violations=0) say 0 "simulator without a mistake  # $out" ;;
*) say 1 "simulator without a mistake  # $out" ;;
esac
for bug in promote-without-belief solo-without-evidence number-not-durable \
    release-before-stopped accept-replayed-frame accept-without-echo accept-old-boot \
    ack-before-peer accept-old-generation fenced-acknowledges join-before-caught-up \
    cut-acknowledged-tail keep-torn-record fence-unknown-is-off quorum-ignored \
    lease-not-waited cold-start-unasked answer-after-pause; do
	out=$(timeout 100 "$sim" -n "$N" -s 1 -b $bug 2>&1)
	case $out in
	seed=*violation:*) say 0 "$bug found  # simulator $out" ;;
	*) say 1 "$bug found  # simulator $out" ;;
	esac
done

hooks_build "situations" "$build/tests/policy/policy"
found_by "$build/tests/policy/policy" tests/policy/release-of-old-generation.txt \
    release-of-any-generation "release of an old generation" "tests/policy"
found_by "$build/tests/policy/policy" tests/policy/outdated.txt ignore-outdate \
    "OUTDATE is kept" "tests/policy"
hooks_build "peer" "$build/tests/unit/hagent/test_peer"
found_by "$build/tests/unit/hagent/test_peer" "" restart-counts-as-silence "the peer's view" \
    "tests/unit/hagent/test_peer"
exit "$failed"
