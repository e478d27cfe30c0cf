# mailpair.bash - bash completion of hactl and mailctl.
#
# Words only: it asks the daemons for node names, addresses and the like only where
# that is one quick question, and stays silent when they do not answer.

_mailpair_names() {	# name of the JSON member; JSON lines on stdin
	tr ',{}[]' '\n' | sed -n "s/^\"$1\": *\"\\([^\"]*\\)\"\$/\\1/p" | sort -u
}

_mailpair_hactl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words
	case $prev in
	--to | standby | online)
		words=$(sed -n 's/^[[:space:]]*node[[:space:]]*"\([^"]*\)".*/\1/p' \
		    /etc/mailpair/hagent.conf 2>/dev/null) ;;
	resource) words="list start stop restart cleanup" ;;
	cleanup | start | stop | restart)
		words=$(sed -n 's/^[[:space:]]*resource[[:space:]]*"\([^"]*\)".*/\1/p' \
		    /etc/mailpair/hagent.conf 2>/dev/null) ;;
	sync) words="status now" ;;
	fence | watchdog) words="test" ;;
	check) words="--list --json $(hactl check --list 2>/dev/null | cut -d' ' -f1)" ;;
	key) words="show new use drop" ;;
	import-heartbeat)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return ;;
	*)
		words="status links history events check switchover failover standby online resource fence watchdog sync reload key
		    import-heartbeat --json --watch --follow --lines --to --dry-run --peer-is-off --accept-loss
		    --fire --timeout
		    --no-color --yes --version --help" ;;
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
