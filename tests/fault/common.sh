#!/bin/sh
# common.sh - what the scripts of planned mistakes share: sourced by each, from the top
# folder, and no mistake by itself.
# BUILD: where the mistakes are compiled in (default build-hooks).
# shellcheck disable=SC2034 # failed is the exit code of who sources this
set -u
build=${BUILD:-build-hooks}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failed=0

# say CODE NAME: one line of the result.
say() {
	if [ "$1" -eq 0 ]; then
		echo "ok $2"
	else
		echo "not ok $2"
		failed=1
	fi
}

# hooks_build NAME TARGET: builds it, or ends the script.
hooks_build() {
	make -s -j2 HOOKS=1 O="$build" "$2" >"$log" 2>&1 && return
	cat "$log" >&2
	say 1 "$1: build with hooks"
	exit 1
}

# found_by PROGRAM CASES HOOK HOLDS WHERE: the cases pass, and with the mistake one of them says
# "not ok", or cmocka "FAILED"; anything else (a crash, a time-out) found nothing.
found_by() {
	timeout 60 "$1" "$2" >/dev/null 2>&1
	say $? "$4"
	MAILPAIR_HOOK=$3 timeout 60 "$1" "$2" >"$log" 2>&1
	code=$?
	[ "$code" -ne 0 ] && [ "$code" -lt 124 ] && grep -q 'not ok \|\[  FAILED  \]' "$log"
	say $? "$3 found  # $5"
}
