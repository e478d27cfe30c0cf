#!/bin/sh
# Planned mistake: an event that says that a file's content or metadata changed is
# ignored.  The mirror's test of passes by changes must find it.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/syncer/test_mirror_rows

hooks_build "mirror events" "$test"
found_by "$test" changes ignore-event "mirror events: every change is seen" \
	"the mirror's test of changes"
exit "$failed"
