#!/bin/sh
# with_users.sh COMMAND... - runs a command where mailpair's service users exist: as
# root in a mount namespace with a passwd and a group file of its own, so that nothing
# is made on this machine.  Anybody else, and a machine that has them, just runs it.
set -eu
users="hagent mailstore mailauth mailgate mailqueue"
missing=
for name in $users; do
	getent passwd "$name" >/dev/null || missing=1
done
if [ -z "$missing" ] || [ "$(id -u)" != 0 ]; then
	exec "$@"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
cp /etc/passwd /etc/group "$dir"
number=64000
for name in mailpair $users; do
	getent group "$name" >/dev/null || echo "$name:x:$number:" >>"$dir/group"
	[ "$name" = mailpair ] || getent passwd "$name" >/dev/null ||
		echo "$name:x:$number:$number::/nonexistent:/usr/sbin/nologin" >>"$dir/passwd"
	number=$((number + 1))
done
list=$(echo "$users" | tr ' ' ,)
sed -i "s/^\\(mailpair:.*:\\)[^:]*\$/\\1$list/" "$dir/group"
# shellcheck disable=SC2016 # expanded by the inner shell
unshare --mount sh -c 'mount --bind "$1/passwd" /etc/passwd
	mount --bind "$1/group" /etc/group
	shift
	exec "$@"' with_users "$dir" "$@"
