#!/bin/sh
# Planned mistake: verification of the log and of a shard looks at no sum.  With the
# mistake on, the tests that turn bits over must fail (it is found); without it, in the
# same build, they must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
log_test=$build/tests/unit/syncer/test_log_verify
shard_test=$build/tests/unit/mail/test_shard_rot

hooks_build "verify believes" "$log_test"
hooks_build "verify believes" "$shard_test"
found_by "$log_test" test_flips verify-believes \
	"verify believes: flipped bits of the log are found" "bits turned over in the log"
found_by "$shard_test" test_objects verify-believes \
	"verify believes: flipped bits of messages are found" "bits turned over in messages"
exit "$failed"
