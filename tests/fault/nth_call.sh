#!/bin/sh
# Each n-th call on the disk fails or is the last of its process (fault.c): a sample, the
# same one each time.  Then planted mistakes about what is durable, each of which the
# same sample must find.  All cases: make nth-call.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh

hooks_build "nth call" nth-call-programs
cases() {
	LD_PRELOAD=$PWD/$build/tests/lab/nthcall.so timeout 120 "$build/tests/fault/fault" -s 1 "$@"
}

cases -m 25 >"$log" 2>&1
code=$?
sed -e '/^ok /p' -e '/^not ok /p' -e '/^skip /p' -n "$log"
[ "$code" -eq 0 ] || { grep '^# ' "$log" | sed 's/^/# /'; failed=1; }
! grep -q '^skip ' "$log" || exit "$failed"

# found HOOK SUBJECT [OPTION...]: green without it, and red with it.
found() {
	hook=$1
	shift
	MAILPAIR_HOOK=$hook cases -f 1 "$@" >"$log" 2>&1
	code=$?
	first=$(sed -n '/^# .*(/{s/^# //p;q;}' "$log")
	[ "$code" -eq 1 ] && [ -n "$first" ]
	say $? "$hook found  # nth-call $first"
}
# Every sync of the log fails once, and soon after that the power does.
cases -k fsync -w EIO-kill -m 1000 log >"$log" 2>&1
say $? "a sync of the log that failed is not believed"
found sync-retried -k fsync -w EIO-kill -m 1000 log
cases -k "fsync /store-00/objects" -w EIO-kill store >"$log" 2>&1
say $? "a sync of a store that failed is not believed"
found checkpoint-retried -k "fsync /store-00/objects" -w EIO-kill store
found segment-name-not-synced -m 1 log
found name-not-synced -m 1 state
found objects-not-synced -m 1 store

hooks_build "replay" "$build/tests/unit/mail/test_shard"
found_by "$build/tests/unit/mail/test_shard" test_crashes replay-twice \
	"a record that comes again changes nothing" "the shard's test of crashes"
exit "$failed"
