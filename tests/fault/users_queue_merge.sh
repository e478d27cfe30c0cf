#!/bin/sh
# Planned mistakes of a merge of two directories or two queues: what one node did is
# ignored, does not come along, or comes twice.  With each the random histories must fail;
# without, in the same build, pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
MERGE_PAIRS=500
export MERGE_PAIRS

for part in queue dir; do
	test=$build/tests/unit/mail/test_merge_$part
	hooks_build "$part merge" "$test"
	for hook in $(sed -n "s/^ \*   \($part-merge-[a-z-]*\) .*/\1/p" lib/hook.h); do
		found_by "$test" random_pairs "$hook" "$part merge: the random histories hold" \
			"the random histories of test_merge_$part"
	done
done
exit "$failed"
