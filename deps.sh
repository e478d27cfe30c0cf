#!/bin/sh
# deps.sh [-n] [GROUP...] - installs what mailpair needs: groups build, run, test and
# lint; without a name these.  bench: what the benchmarks compare with.  -n only says
# what it would install.  Knows the package names of Debian 12, and of RPM systems with
# dnf.  Installed ones are skipped.
set -eu

say_only=
if [ "${1:-}" = -n ]; then
	say_only=1
	shift
fi
[ $# -gt 0 ] || set -- build run test lint

deb_names() {
	case $1 in
	build) echo gcc libc6-dev make libevent-dev librsync-dev libconfuse-dev \
		libjansson-dev libsqlite3-dev libssl-dev libunbound-dev libseccomp-dev libzstd-dev \
		libcrypt-dev libcpg-dev libquorum-dev libvotequorum-dev libcmap-dev \
		libcorosync-common-dev libexpat1-dev ;;
	run) echo python3 iproute2 nftables iputils-ping util-linux mount procps openssl \
		libevent-2.1-7 libevent-openssl-2.1-7 libevent-pthreads-2.1-7 librsync2 libconfuse2 \
		libjansson4 libsqlite3-0 libssl3 libunbound8 libseccomp2 libzstd1 libcrypt1 \
		libcpg4 libquorum5 libvotequorum8 libcmap4 libcorosync-common4 libexpat1 ;;
	test) echo libcmocka-dev e2fsprogs swaks libnet-ssleay-perl isync curl socat \
		ca-certificates valgrind shellcheck corosync corosync-qdevice corosync-qnetd \
		fence-agents resource-agents ;;
	lint) echo clang clang-tidy clang-format cppcheck mandoc rpm ;;
	bench) echo heartbeat keepalived net-tools corosync pacemaker pacemaker-cli-utils rsync \
		openssh-client openssh-server ;;
	*) return 1 ;;
	esac
}

rpm_names() {
	case $1 in
	build) echo gcc glibc-devel make libevent-devel librsync-devel libconfuse-devel \
		jansson-devel sqlite-devel openssl-devel unbound-devel libseccomp-devel libzstd-devel \
		libxcrypt-devel corosynclib-devel expat-devel ;;
	run) echo python3 iproute nftables iputils util-linux procps-ng openssl libevent \
		librsync libconfuse jansson sqlite-libs openssl-libs unbound-libs libseccomp libzstd \
		libxcrypt corosynclib expat ;;
	test) echo libcmocka-devel libasan libubsan e2fsprogs swaks perl-Net-SSLeay isync \
		curl socat ca-certificates valgrind ShellCheck corosync corosync-qdevice \
		corosync-qnetd fence-agents-dummy resource-agents ;;
	lint) echo clang clang-tools-extra cppcheck mandoc rpm-build ;;
	bench) echo keepalived net-tools corosync pacemaker pacemaker-cli rsync \
		openssh-clients openssh-server ;;
	*) return 1 ;;
	esac
}

if command -v apt-get >/dev/null 2>&1; then
	system=deb
elif command -v dnf >/dev/null 2>&1; then
	system=rpm
else
	system=
fi

installed() {
	if [ "$system" = deb ]; then
		case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in
		ii*) return 0 ;;
		*) return 1 ;;
		esac
	fi
	[ "$system" = rpm ] && rpm -q --whatprovides "$1" >/dev/null 2>&1
}

missing=
for group; do
	if ! names=$("${system:-deb}_names" "$group"); then
		echo "usage: deps.sh [-n] [build|run|test|lint|bench]..." >&2
		exit 10
	fi
	if [ -n "$say_only" ]; then
		echo "$group (Debian 12): $(deb_names "$group")"
		echo "$group (RPM): $(rpm_names "$group")"
	fi
	for name in $names; do
		installed "$name" || missing="$missing $name"
	done
done

if [ -n "$say_only" ]; then
	echo "would install:${missing:- nothing}"
	exit 0
fi
[ -n "$missing" ] || exit 0
if [ -z "$system" ]; then
	echo "ERROR neither apt-get nor dnf is here" >&2
	echo "HINT  install by hand:$missing" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "ERROR installing packages needs root:$missing" >&2
	echo "HINT  sudo sh deps.sh $*" >&2
	exit 11
fi
echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_all() {
	# shellcheck disable=SC2086 # a list of names
	if [ "$system" = deb ]; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -q && apt-get install -y -q --no-install-recommends $missing
	else
		dnf install -y $missing
	fi
}
if ! install_all </dev/null >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "ERROR not everything could be installed; see above" >&2
	exit 1
fi
