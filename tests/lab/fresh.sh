#!/bin/sh
# fresh.sh - runs the README's two commands on a fresh Debian 12: a debootstrap tree
# in a temporary folder, with nothing of ours and not even make.  The package source
# is this machine's own.  Usage: fresh.sh [demo|check|both]; needs root and debootstrap.
# All mounts are made in a mount namespace, so nothing of them is left in any case.
set -eu
what=${1:-both}
case $what in demo | check | both) ;; *)
	echo "usage: fresh.sh [demo|check|both]" >&2
	exit 10
	;;
esac
top=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/mailpair-fresh-XXXXXX")
trap 'rm -rf --one-file-system "$tree" "$tree.log"' EXIT
trap 'exit 1' INT TERM
url=$(sed -n 's/^URIs: *//p; s/^deb [^ ]* *\(http[^ ]*\) .*/\1/p' \
	/etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
began=$(date +%s)
debootstrap --variant=minbase bookworm "$tree" "$url" >"$tree.log" 2>&1 || {
	tail "$tree.log"
	exit 1
}
chmod 755 "$tree"
rm -f "$tree/etc/apt/sources.list"
cp -a /etc/apt/. "$tree/etc/apt/"
cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || :
# What an installer writes and debootstrap does not.
echo "127.0.0.1 localhost" >"$tree/etc/hosts"
mkdir "$tree/mailpair"
git -C "$top" archive HEAD | tar -x -C "$tree/mailpair"
echo "fresh tree after $(($(date +%s) - began)) s: $(chroot "$tree" sh -c 'command -v make gcc python3 || echo no make, gcc or python3')"

# The tree becomes the root of its mount namespace, as on a machine of its own: the lab
# enters other namespaces, and a plain chroot would be left by that.
# shellcheck disable=SC2016 # expanded by the inner shell
enter='set -e
mount --bind "$1" "$1"
for m in proc sys dev; do mount --rbind "/$m" "$1/$m"; mount --make-rslave "$1/$m"; done
mount -t tmpfs -o mode=755 run "$1/run"
mkdir -p "$1/old"
cd "$1"
pivot_root . old
exec chroot . env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
	sh -c "umount -l /old && cd /mailpair && exec sh $2.sh"'
for name in demo check; do
	[ "$what" = both ] || [ "$what" = "$name" ] || continue
	began=$(date +%s)
	rc=0
	unshare --mount sh -c "$enter" fresh "$tree" "$name" </dev/null || rc=$?
	echo "fresh $name: exit $rc after $(($(date +%s) - began)) s"
	[ "$rc" = 0 ] || exit "$rc"
done
