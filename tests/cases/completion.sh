#!/bin/bash
# completion.sh - what bash completes behind some words, and that every verb of
# "hactl --help" is offered, and stands in the manual.
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
check "2h" hactl maintenance on --for 2
check "domain" mailctl "do"
check "verify" mailctl store v
for verb in $("$O/hactl" --help | sed -n 's/.*hactl \([a-z][a-z-]*\).*/\1/p' | sort -u); do
	check "$verb" hactl "$verb"
	if grep -q "^\.It Cm .*$verb" "$top/hagent/hactl.8"; then
		echo "ok manual of hactl $verb"
	else
		echo "not ok manual of hactl $verb"
	fi
done
