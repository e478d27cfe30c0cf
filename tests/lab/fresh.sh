#!/bin/sh
# fresh.sh - runs the README's two commands on a fresh Debian 12: a debootstrap tree
# in a temporary folder, with nothing of ours and not even make.  The package source
# is this machine's own.  Usage: fresh.sh [demo|check|both]; needs root and debootstrap.
set -eu
what=${1:-both}
case $what in demo | check | both) ;; *)
	echo "usage: fresh.sh [demo|check|both]" >&2
	exit 10
	;;
esac
top=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/mailpair-fresh-XXXXXX")
mounted=
cleanup() {
	for m in $mounted; do umount -l "$tree/$m" 2>/dev/null || :; done
	mountpoint -q "$tree/proc" || rm -rf --one-file-system "$tree"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
url=$(sed -n 's/^URIs: *//p; s/^deb [^ ]* *\(http[^ ]*\) .*/\1/p' \
	/etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
began=$(date +%s)
debootstrap --variant=minbase bookworm "$tree" "$url" >"$tree.log" 2>&1 || {
	tail "$tree.log"
	rm -f "$tree.log"
	exit 1
}
rm -f "$tree.log"
cp -a /etc/apt/. "$tree/etc/apt/"
cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || :
for m in proc sys dev dev/pts; do
	mkdir -p "$tree/$m"
	mount --rbind "/$m" "$tree/$m"
	mount --make-rslave "$tree/$m"
	mounted="$m $mounted"
done
mkdir "$tree/mailpair"
git -C "$top" archive HEAD | tar -x -C "$tree/mailpair"
echo "fresh tree after $(($(date +%s) - began)) s: $(chroot "$tree" sh -c 'command -v make gcc python3 || echo no make, gcc or python3')"
for name in demo check; do
	[ "$what" = both ] || [ "$what" = "$name" ] || continue
	began=$(date +%s)
	rc=0
	chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		sh -c "cd /mailpair && sh $name.sh" </dev/null || rc=$?
	echo "fresh $name: exit $rc after $(($(date +%s) - began)) s"
	[ "$rc" = 0 ] || exit "$rc"
done
