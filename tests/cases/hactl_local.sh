#!/bin/sh
# hactl_local.sh - what hactl does by itself, without a daemon: one line of JSON with
# --json, nothing changed with --dry-run, and no key in what is printed.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
O=$(cd "${O:-$top/build}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
hactl=$O/hactl

result() {	# NAME STATUS [DETAILS]
	if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: ${3:-}"; fi
}

run() {		# CODE ARGUMENTS... ; its output in $work/out, errors in $work/err
	code=$1
	shift
	"$hactl" "$@" >"$work/out" 2>"$work/err" </dev/null
	got=$?
	[ "$got" -eq "$code" ]
	result "hactl $* ends with $code" $? "$got $(cat "$work/out" "$work/err")"
}

json() {	# NAME EXPRESSION of o, the list of the lines
	python3 -c 'import json, sys
o = [json.loads(x) for x in open(sys.argv[1])]
assert o and all(x["schema"] == 1 for x in o), o
assert eval("(" + sys.argv[2] + ")"), o' "$work/out" "$2" 2>"$work/why"
	result "$1" $? "$(tail -n 1 "$work/why") $(cat "$work/out")"
}

no_key() {	# NAME
	! grep -q -e 'PRIVATE KEY' -e '[0-9a-f]\{64\}$' "$work/out" "$work/err"
	result "no key is printed: $1" $? "$(head -c 2000 "$work/out")"
}

# ---- setup and join ----
cat >"$work/answers" <<'EOF'
cluster = mail.example.org
node-1 = ha-1 192.0.2.11
node-2 = ha-2 192.0.2.12
second-path = none
vip = 192.0.2.5/24 eth0
ping = 192.0.2.1
EOF
mkdir -p "$work/etc/tls"
# One that is there already is used; it is no less a key.
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mail.example.org -days 2 \
    -keyout "$work/etc/tls/mail.key" -out "$work/etc/tls/mail.crt" 2>/dev/null
set -- setup --answers "$work/answers" --etc "$work/etc" --node ha-1 --dry-run
run 0 "$@"
no_key "setup"
for word in 'WOULD  write .*/cluster.key 0600' \
    'cluster = "mail.example.org"' 'certificate = "sha256:' 'hostname = '; do
	grep -q "$word" "$work/out"
	result "setup --dry-run prints $word" $?
done
run 0 "$@" --json --no-color
no_key "setup --json"
json "setup --json" 'not o[0]["written"] and len(o[0]["files"]) == 8
  and "cluster" in o[0]["hagent.conf"]
  and {x["mode"] for x in o[0]["files"] if x["path"].endswith("key")} == {"0600"}'
[ ! -e "$work/etc/cluster.key" ] && [ ! -e "$work/etc/join.bundle" ]
result "a dry run of setup writes nothing" $?
run 10 setup --timeout 5
run 10 join --json

# ---- key ----
key=$work/cluster.key
run 0 key new --key-file "$key" --dry-run --json
json "key new --dry-run" 'not o[0]["written"] and len(o[0]["keys"]) == 1'
[ ! -e "$key" ]
result "a dry run of key writes nothing" $?
run 0 key new --key-file "$key" --json
json "key new" 'o[0]["written"] and o[0]["keys"][0]["signs"] and "hint" in o[0]'
no_key "key new"
run 0 key new --key-file "$key"
no_key "key new as text"
run 0 key show --key-file "$key" --json --no-color
json "key show" '[k["signs"] for k in o[0]["keys"]] == [True, False]'
run 10 key show --key-file "$key" --timeout 3

# ---- import-heartbeat ----
mkdir "$work/ha.d"
printf '%s\n' 'keepalive 2' 'deadtime 10' 'logfacility local0' 'bcast eth1' 'node ha-1 ha-2' \
    'ping 192.0.2.1' 'crm on' >"$work/ha.d/ha.cf"
echo 'ha-1 IPaddr::192.0.2.50/24/eth0' >"$work/ha.d/haresources"
printf 'auth 1\n1 sha1 hunter2\n' >"$work/ha.d/authkeys"
set -- import-heartbeat "$work/ha.d" --node ha-1 --key-file "$work/new.key" \
    --address ha-1=10.1.0.1 --address ha-2=10.1.0.2
"$hactl" "$@" >"$work/out" 2>"$work/err"
expected=$?
grep -q '^cluster = ' "$work/out"
result "import-heartbeat prints a configuration" $?
run "$expected" "$@" --json
json "import-heartbeat --json" '"192.0.2.50" in str(o[0]) and isinstance(o[0]["notes"], list)'
if grep -q hunter2 "$work/out"; then false; fi
result "import-heartbeat prints no key" $?
run "$expected" "$@" --output "$work/hagent.conf" --dry-run
grep -q "WOULD  write $work/hagent.conf 0644" "$work/out"
result "import-heartbeat --dry-run says what it would write" $?
[ ! -e "$work/hagent.conf" ] && [ ! -e "$work/new.key" ]
result "a dry run of import-heartbeat writes nothing" $?
run 10 "$@" --dry-run

# ---- preflight and report ----
"$hactl" preflight --config "$work/none.conf" --run-dir "$work" --timeout 2 --json --no-color \
    >"$work/out" 2>"$work/err"
[ $? -eq 2 ]
result "preflight of nothing fails" $?
json "preflight --json" 'all(set(x) >= {"check", "state", "text"} for x in o) and
  {x["state"] for x in o} <= {"OK", "WARN", "FAIL"} and
  any(x["check"] == "daemons" and x["state"] == "FAIL" for x in o)'
# A hint is a command that can be pasted.
json "hints of preflight" 'all(x["state"] == "OK" or x["hint"].split()[0].split("/")[-1] in
  ("hagentd syncd maild man chmod make-users ip ss ping ls hactl modprobe mkdir df " +
  "systemctl sudo").split() for x in o)'
run 10 preflight --timeout 0
run 0 report --output "$work/report.tar.gz" --run-dir "$work" --timeout 5 --json
json "report --json" 'o[0]["parts"] > 5 and o[0]["file"].endswith("/report.tar.gz")'
[ "$(stat -c %a "$work/report.tar.gz")" = 600 ]
result "mode of a report" $?
