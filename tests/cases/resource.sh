#!/bin/sh
# resource.sh - the scripts of resource.d against their contract: three answers of
# status, start and stop twice, wrong words.  mailctl and hactl are stand-ins.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$work:$PATH
export PATH

check() {	# NAME EXPECTED-CODE COMMAND...
	name=$1 want=$2
	shift 2
	"$@" >/dev/null 2>&1
	got=$?
	if [ "$got" = "$want" ]; then
		echo "ok resource $name"
	else
		echo "not ok resource $name: exit $got, expected $want"
	fi
}

stand_in() {	# PROGRAM CODE [OUTPUT]; its arguments go to calls, joined by |
	printf '#!/bin/sh\n(IFS="|"; echo "$*") >>%s/calls\necho '"'%s'"'\nexit %s\n' "$work" "${3:-}" "$2" \
	    >"$work/$1"
	chmod 755 "$work/$1"
}

d=$top/resource.d/dummy
check "dummy status stopped" 3 "$d" status dir="$work/d"
check "dummy start" 0 "$d" start dir="$work/d"
check "dummy start again" 0 "$d" start dir="$work/d"
check "dummy status running" 0 "$d" status dir="$work/d"
check "dummy drain" 0 "$d" drain dir="$work/d"
check "dummy stop" 0 "$d" stop dir="$work/d"
check "dummy stop again" 0 "$d" stop dir="$work/d"
check "dummy start fails" 1 "$d" start dir="$work/d" start-fails=1
check "dummy unknown argument" 2 "$d" start colour=red

for code in 0 3 2; do
	stand_in mailctl $code
	check "maild status $code" $code "$top/resource.d/maild" status
done
stand_in mailctl 3
check "maild stop when it does not run" 0 "$top/resource.d/maild" stop
stand_in mailctl 16
check "maild stop that fails" 16 "$top/resource.d/maild" stop
check "maild start that fails" 16 "$top/resource.d/maild" start

stand_in hactl 0 '{"role":"active"}'
check "syncer status active" 0 "$top/resource.d/syncer" status
check "syncer start active" 0 "$top/resource.d/syncer" start
stand_in hactl 0 '{"role":"standby"}'
check "syncer status standby" 3 "$top/resource.d/syncer" status
check "syncer start waits" 124 timeout 1 "$top/resource.d/syncer" start
stand_in hactl 3
check "syncer status silent" 1 "$top/resource.d/syncer" status
check "syncer stop" 0 "$top/resource.d/syncer" stop

for s in IPaddr maild syncer Filesystem MailTo dummy; do
	check "$s unknown verb" 2 "$top/resource.d/$s" explode
done
stand_in sendmail 0
MAILPAIR_RESOURCE=case.$$ SENDMAIL=$work/sendmail
export MAILPAIR_RESOURCE SENDMAIL
mkdir -p /run/mailpair
: >"$work/calls"
check "MailTo start" 0 "$top/resource.d/MailTo" start 'a@x.example,b@x.example,*@y.example'
check "MailTo start again" 0 "$top/resource.d/MailTo" start 'a@x.example,b@x.example,*@y.example'
check "MailTo gives each address by itself, once" 0 \
    test "$(cat "$work/calls")" = "-i|--|a@x.example|b@x.example|*@y.example"
check "MailTo status running" 0 "$top/resource.d/MailTo" status
check "MailTo stop" 0 "$top/resource.d/MailTo" stop 'a@x.example'
check "MailTo status stopped" 3 "$top/resource.d/MailTo" status
: >"$work/calls"
NOTIFY_TO=$work/to MAILPAIR_TEXT='planned ha-1 -> ha-2: *' MAILPAIR_NODE=ha-2
export NOTIFY_TO MAILPAIR_TEXT MAILPAIR_NODE
n=$top/resource.d/notify-mail
check "notify-mail without an event" 2 "$n"
MAILPAIR_EVENT=role
export MAILPAIR_EVENT
check "notify-mail role" 0 "$n"
check "notify-mail is silent about steps of a role" 0 test ! -s "$work/calls"
MAILPAIR_EVENT=switch
check "notify-mail to root" 0 "$n"
check "notify-mail to root is sent" 0 test "$(cat "$work/calls")" = "-i|--|root"
: >"$work/calls"
echo 'a@x.example,*@y.example' >"$work/to"
printf '#!/bin/sh\ncat >%s/mail\n(IFS="|"; echo "$*") >>%s/calls\n' "$work" "$work" >"$work/sendmail"
check "notify-mail to two" 0 "$n"
check "notify-mail gives each address by itself" 0 \
    test "$(cat "$work/calls")" = "-i|--|a@x.example|*@y.example"
check "notify-mail says what happened" 0 \
    grep -q '^Subject: .* ha-2: switch planned ha-1 -> ha-2: \*$' "$work/mail"
echo '-oQ/tmp' >"$work/to"
check "notify-mail to no address" 2 "$n"
stand_in sendmail 1
echo 'a@x.example' >"$work/to"
check "notify-mail that fails" 1 "$n"
check "IPaddr without prefix" 2 "$top/resource.d/IPaddr" start 192.0.2.9 lo
check "IPaddr status absent" 3 "$top/resource.d/IPaddr" status 192.0.2.9/32 lo
check "Filesystem not mounted" 3 "$top/resource.d/Filesystem" status none "$work"
check "Filesystem stop not mounted" 0 "$top/resource.d/Filesystem" stop none "$work"

# An OCF agent in the environment that hagentd gives it, and nothing else.
ocf() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C OCF_ROOT=/usr/lib/ocf \
	    OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 OCF_RESOURCE_INSTANCE=case \
	    OCF_RESOURCE_TYPE=Dummy OCF_RESOURCE_PROVIDER=heartbeat \
	    OCF_RESKEY_CRM_meta_timeout=20000 "OCF_RESKEY_state=$work/ocf.state" \
	    /usr/lib/ocf/resource.d/heartbeat/Dummy "$1"
}
check "ocf monitor stopped" 7 ocf monitor
check "ocf start" 0 ocf start
check "ocf start again" 0 ocf start
check "ocf monitor running" 0 ocf monitor
check "ocf stop" 0 ocf stop
check "ocf stop again" 0 ocf stop
check "ocf meta-data" 0 ocf meta-data

if command -v shellcheck >/dev/null 2>&1; then
	for s in IPaddr maild syncer Filesystem MailTo notify-mail dummy; do
		check "$s shellcheck" 0 shellcheck "$top/resource.d/$s"
	done
else
	echo "skip resource shellcheck is not installed"
fi
