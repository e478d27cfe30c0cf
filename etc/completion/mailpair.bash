# mailpair.bash - bash completion of hactl and mailctl.
#
# Words only: it asks the daemons for node names, addresses and the like only where
# that is one quick question, and stays silent when they do not answer.

_mailpair_etc="/etc/mailpair"

_mailpair_names() {	# name of the JSON member; JSON lines on stdin
	tr ',{}[]' '\n' | sed -n "s/^\"$1\": *\"\\([^\"]*\\)\"\$/\\1/p" | sort -u
}

# Names of the sections of one kind in hagent.conf.
_mailpair_sections() {
	sed -n "s/^[[:space:]]*$1[[:space:]]*\"\\([^\"]*\\)\".*/\\1/p" \
	    "$_mailpair_etc/hagent.conf" 2>/dev/null
}

_mailpair_hactl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=""
	local noun=${COMP_WORDS[1]:-} verb=${COMP_WORDS[2]:-}
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="status links history events check switchover failover standby online"
		words="$words resource maintenance fence watchdog sync split reload key import-heartbeat setup join"
		words="$words preflight report"
		words="$words --json --timeout --no-color --version --help"
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	case $prev in
	--to | --node)
		mapfile -t COMPREPLY < <(compgen -W "$(_mailpair_sections node)" -- "$cur")
		return ;;
	--path | --output | --key-file | --answers | --bundle | --etc | --config | --run-dir | import-heartbeat | join)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	--for)
		mapfile -t COMPREPLY < <(compgen -W "30m 1h 2h 8h" -- "$cur")
		return ;;
	esac
	case $noun in
	status | links | history) words="--watch --json --timeout --no-color" ;;
	events) words="--follow --lines --json --timeout" ;;
	check) words="--list --json --timeout $(hactl check --list 2>/dev/null | cut -d' ' -f1)" ;;
	switchover) words="--to --dry-run --yes --json --timeout" ;;
	failover) words="--to --peer-is-off --accept-loss --dry-run --yes --json --timeout" ;;
	standby | online) words="$(_mailpair_sections node) --dry-run --yes --json --timeout" ;;
	import-heartbeat)
		words="--output --node --cluster --key-file --address --force --dry-run --json" ;;
	resource)
		words="list start stop restart cleanup"
		case $verb in
		list) words="--watch --json --timeout" ;;
		start | stop | restart | cleanup)
			words="$(_mailpair_sections resource) --dry-run --yes --json --timeout" ;;
		esac ;;
	maintenance)
		words="on off"
		case $verb in
		on) words="--for --dry-run --yes --json --timeout" ;;
		off) words="--dry-run --yes --json --timeout" ;;
		esac ;;
	reload) words="--dry-run --json --timeout" ;;
	setup) words="--answers --bundle --force --dry-run --etc --node --json" ;;
	join) words="--fingerprint --force --dry-run --etc --node --json" ;;
	preflight) words="--config --node --json --timeout" ;;
	report) words="--output --json --timeout" ;;
	key)
		words="show new use drop"
		[ "$COMP_CWORD" -eq 2 ] || words="--key-file --dry-run --json" ;;
	fence) words="test"; [ "$COMP_CWORD" -eq 2 ] || words="--json --timeout" ;;
	watchdog)
		words="test"
		[ "$COMP_CWORD" -eq 2 ] || words="--fire --dry-run --watch --yes --json --timeout" ;;
	sync)
		words="status now verify"
		case $verb in
		status) words="--watch --json --timeout" ;;
		now) words="--path --accept-deletes --full-walk --dry-run --yes --json --timeout" ;;
		verify) words="--repair --yes --json --timeout" ;;
		esac ;;
	split)
		words="show resolve"
		case $verb in
		show) words="--watch --json --timeout" ;;
		resolve) words="--dry-run --yes --json --timeout" ;;
		esac ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_mailpair_mailctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local noun=${COMP_WORDS[1]:-} verb=${COMP_WORDS[2]:-} words=""
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="domain user alias store queue listeners --json --help --version"
	elif [ "$COMP_CWORD" -eq 2 ]; then
		case $noun in
		domain) words="add list show delete" ;;
		user) words="add passwd list show delete suspend import" ;;
		alias) words="add list members delete" ;;
		store) words="stat verify checkpoint" ;;
		queue) words="list show hold release retry delete" ;;
		listeners) words="open close drain status" ;;
		esac
	elif [ "$noun $verb" = "user import" ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	else
		case "$noun $verb $prev" in
		"user show show" | "user delete delete" | "user passwd passwd" | "user suspend suspend")
			words=$(mailctl user list --json --timeout 1 2>/dev/null |
			    _mailpair_names address) ;;
		"domain show show" | "domain delete delete")
			words=$(mailctl domain list --json --timeout 1 2>/dev/null |
			    _mailpair_names name) ;;
		"user suspend "*) words="on off" ;;
		esac
		words="$words --json --timeout --yes --dry-run --password-stdin"
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _mailpair_hactl hactl
complete -F _mailpair_mailctl mailctl
