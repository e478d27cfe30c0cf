#!/bin/bash
# completion.sh - what bash completes behind some words, and that every verb of
# "hactl --help" is offered, and stands in the manual; names of nodes and resources come
# from the configuration.  No option is offered that hactl would refuse.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}
# hactl check --list asks nobody; what asks a daemon gets no answer here.
PATH=$O:$PATH
# shellcheck source=/dev/null
. "$top/etc/completion/mailpair.bash"

offered() {	# WORDS... ; the last one is being typed
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMPREPLY=()
	"_mailpair_$1"
	echo " ${COMPREPLY[*]} "
}

check() {	# EXPECTED WORDS...
	local expected=$1 got
	shift
	got=$(offered "$@")
	case $got in
	*" $expected "*) echo "ok completion of ${*@Q}" ;;
	*) echo "not ok completion of ${*@Q}: $expected is not in $got" ;;
	esac
}

check "events" hactl ev
check "check" hactl ch
check "config-equal" hactl check con
check "--follow" hactl events --f
check "--peer-is-off" hactl failover --pe
check "cleanup" hactl resource cl
check "--dry-run" hactl resource stop --d
check "off" hactl maintenance of
check "--accept-deletes" hactl sync now --ac
check "resolve" hactl split re
check "--full-walk" hactl sync now --fu
check "2h" hactl maintenance on --for 2
check "domain" mailctl "do"
check "verify" mailctl store v
_mailpair_etc=$(mktemp -d)
trap 'rm -rf "$_mailpair_etc"' EXIT
printf '%s\n' 'node "mx-one" { }' '	node "mx-two" {' '# node "mx-none" { }' \
    'resource "spool" {' >"$_mailpair_etc/hagent.conf"
check "mx-one" hactl switchover --to mx
check "mx-two" hactl standby mx
check "mx-two" hactl online mx-t
check "mx-one" hactl preflight --node ""
check "spool" hactl resource restart sp
case $(offered hactl standby mx-) in
*mx-none*) echo "not ok a node of a comment is offered" ;;
*) echo "ok a node of a comment is not offered" ;;
esac
_mailpair_etc=/nonexistent
check "--dry-run" hactl standby ""	# without a configuration the rest stays

# What is offered is taken: with too many words behind it, those are what is refused.
taken() {	# WORDS...
	local word text
	for word in $(offered hactl "$@" --); do
		case $word in
		--json | --no-color | --dry-run | --yes | --watch | --follow | --list | --fire | \
		    --force | --peer-is-off | --accept-loss | --accept-deletes | --full-walk) ;;
		*) continue ;;
		esac
		text=$("$O/hactl" "$@" "$word" x y z 2>&1 </dev/null)
		case "$? $text" in
		*"unrecognized option"* | *"does not take"*) echo "not ok hactl $* $word: $text" ;;
		"10 "*) echo "ok hactl $* takes $word" ;;
		*) echo "not ok hactl $* $word x y z: $text" ;;
		esac
	done
}
taken resource list
taken resource stop
taken resource cleanup
taken maintenance on
taken maintenance off
taken sync status
taken sync now
taken split show
taken split resolve
taken watchdog test
taken fence test
taken key show
for noun in status links history events check switchover failover standby online reload preflight \
    report setup join import-heartbeat; do
	taken "$noun"
done
for verb in $("$O/hactl" --help | sed -n 's/.*hactl \([a-z][a-z-]*\).*/\1/p' | sort -u); do
	check "$verb" hactl "$verb"
	if grep -q "^\.It Cm .*$verb" "$top/hagent/hactl.8"; then
		echo "ok manual of hactl $verb"
	else
		echo "not ok manual of hactl $verb"
	fi
done
