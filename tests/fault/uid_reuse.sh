#!/bin/sh
# Planned mistake: after a takeover UIDs are given again that named removed messages.
# With the mistake on, the store's test of UIDs after a takeover must fail (it is
# found); without it, in the same build, the test must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/mail/test_store

hooks_build "uid reuse" "$test"
found_by "$test" test_uid_never_again reuse-uid \
	"uid reuse: UIDs go on above all that were given" \
	"the store's test of UIDs after a takeover"
exit "$failed"
