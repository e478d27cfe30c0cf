#!/bin/sh
# Planned mistakes of a merge of two histories: a removal that holds though the other side
# changed the message, new messages that do not come along, a second run that begins
# anew.  With each the random histories must fail; without, in the same build, pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/mail/test_store_merge
MERGE_RUNS=30
export MERGE_RUNS

hooks_build "store merge" "$test"
for hook in merge-honours-removal merge-drops-added merge-takes-twice; do
	found_by "$test" test_random "$hook" "store merge: the random histories hold" \
		"the random histories of test_store_merge"
done
exit "$failed"
