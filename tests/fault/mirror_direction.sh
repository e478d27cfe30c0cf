#!/bin/sh
# Planned mistake: the mirror in the wrong direction.  With the guard skipped, the
# direction cases of the mirror's test must fail (the mistake is found); without, and
# in a build without hooks, they must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/syncer/test_mirror

hooks_build "mirror direction" "$test"
found_by "$test" directions mirror-wrong-direction "mirror direction: the guard holds" \
	"the mirror's test of directions"
exit "$failed"
