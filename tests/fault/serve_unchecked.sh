#!/bin/sh
# Planned mistake: a message is served without a look at its bytes.  With the mistake on,
# the store's test of rotten objects must fail (it is found); without it, in the same
# build, the test must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/mail/test_store_mend

hooks_build "serve unchecked" "$test"
found_by "$test" test_rotten_never_served serve-unchecked \
	"serve unchecked: no flipped bit of a message is served" \
	"the store's test of rotten objects"
exit "$failed"
