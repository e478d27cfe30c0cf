#!/bin/sh
# make-users.sh - makes the users and the group of mailpair's processes where they are
# missing; the same as mailpair.sysusers, for systems without systemd.  Needs root.
# Files move between nodes by user name and not by number, so numbers need not agree.
set -eu
group=mailpair
if ! getent group "$group" >/dev/null; then
	groupadd -r "$group"
fi
for user in hagent mailstore mailauth mailgate mailqueue; do
	getent group "$user" >/dev/null || groupadd -r "$user"
	getent passwd "$user" >/dev/null ||
		useradd -r -M -g "$user" -d /nonexistent -s /usr/sbin/nologin -c "mailpair" "$user"
	case " $(id -nG "$user") " in
	*" $group "*) ;;
	*) usermod -a -G "$group" "$user" ;;
	esac
done
