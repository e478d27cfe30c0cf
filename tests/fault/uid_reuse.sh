#!/bin/sh
# Planned mistake: after a takeover UIDs are given again that named removed messages.
# With the mistake on, the store's test of UIDs after a takeover must fail (it is
# found); without it, in the same build, the test must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build-hooks}
test=$build/tests/unit/mail/test_store
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failed=0

say() {
	if [ "$1" -eq 0 ]; then
		echo "ok $2"
	else
		echo "not ok $2"
		failed=1
	fi
}

if ! make -s HOOKS=1 O="$build" "$test" >"$log" 2>&1; then
	cat "$log" >&2
	say 1 "uid reuse: build with hooks"
	exit 1
fi

timeout 60 "$test" test_uid_never_again >/dev/null 2>&1
say $? "uid reuse: UIDs go on above all that were given"

# Exit code 1 is one failed case; anything else (a crash, a time-out) found nothing.
MAILPAIR_HOOK=reuse-uid timeout 60 "$test" test_uid_never_again >/dev/null 2>&1
[ $? -eq 1 ]
say $? "reuse-uid found  # the store's test of UIDs after a takeover"
exit $failed
