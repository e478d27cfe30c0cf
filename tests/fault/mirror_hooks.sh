#!/bin/sh
# Planned mistakes in the mirror: the wrong direction; what is absent, or could not be
# read, in the source is deleted on the standby; a torn file is put in place; a file gets
# its name unsynced.  With each of them the named case of the mirror's test must fail (the
# mistake is found); without, and in a build without hooks, it must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh
test=$build/tests/unit/syncer/test_mirror

hooks_build "mirror hooks" "$test"
hooks_build "mirror hooks" "${test}_content"
hooks_build "mirror hooks" "${test}_place"
found_by "$test" directions mirror-wrong-direction "mirror direction: the guard holds" \
	"the mirror's test of directions"
found_by "$test" absence mirror-absence-deletes "mirror absence: the guard holds" \
	"the mirror's test of absence"
found_by "$test" unreadable mirror-unread-deletes "mirror unreadable: nothing is deleted" \
	"the mirror's test of what cannot be read"
found_by "${test}_content" never_torn mirror-torn-file "mirror torn: the old state stays" \
	"the mirror's test of files that change while they are read"
found_by "${test}_place" synced_first mirror-unsynced-file \
	"mirror place: synced before it is named" "the mirror's test of what is put in place"
exit "$failed"
