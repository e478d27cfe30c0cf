#!/bin/sh
# Planned mistake: the mirror in the wrong direction.  With the guard skipped, the
# direction cases of the mirror's test must fail (the mistake is found); without, and
# in a build without hooks, they must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build-hooks}
test=$build/tests/unit/syncer/test_mirror
failed=0

say() {
	if [ "$1" -eq 0 ]; then
		echo "ok $2"
	else
		echo "not ok $2"
		failed=1
	fi
}

if ! make -s HOOKS=1 O="$build" "$test" >"${TMPDIR:-/tmp}/mirror_direction.$$" 2>&1; then
	cat "${TMPDIR:-/tmp}/mirror_direction.$$" >&2
	rm -f "${TMPDIR:-/tmp}/mirror_direction.$$"
	say 1 "mirror direction: build with hooks"
	exit 1
fi
rm -f "${TMPDIR:-/tmp}/mirror_direction.$$"

timeout 60 "$test" directions >/dev/null 2>&1
say $? "mirror direction: the guard holds"

# Exit code 1 is one failed case; anything else (a crash, a time-out) found nothing.
MAILPAIR_HOOK=mirror-wrong-direction timeout 60 "$test" directions >/dev/null 2>&1
[ $? -eq 1 ]
say $? "mirror-wrong-direction found  # the mirror's test of directions"
exit $failed
