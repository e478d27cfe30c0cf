#!/bin/sh
# pair.sh - two hagentd in namespaces of their own, without syncd, with dummy resources:
# they elect, survive the end of an agent, hand over, and take over from a node that is
# cut off and dead.  BUILD names the folder with hagentd and hactl.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${BUILD:-$top/build}" 2>/dev/null && pwd)
if [ "$(id -u)" != 0 ] || [ ! -x "$build/hagentd" ] || ! command -v socat >/dev/null; then
	echo "skip pair needs root, socat and a built hagentd (BUILD=$build)"
	exit 0
fi
work=$(mktemp -d)
id=mc$$

clean() {
	for p in "$work"/*.pid; do
		# The init of the node's process namespace takes everything along.
		pkill -KILL -P "$(cat "$p")" 2>/dev/null
		kill "$(cat "$p")" 2>/dev/null
	done
	for n in ha-1 ha-2 net; do
		ip netns del "$id-$n" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

in_net() {
	n=$1
	shift
	ip netns exec "$id-$n" "$@"
}

network() {
	for n in ha-1 ha-2 net; do
		ip netns add "$id-$n" || return 1
		in_net $n ip link set lo up
	done
	in_net net ip link add br0 type bridge
	in_net net ip link set br0 up
	in_net net ip addr add 192.0.2.1/24 dev br0
	in_net ha-1 ip link add eth1 type veth peer name eth1 netns "$id-ha-2"
	for i in 1 2; do
		in_net ha-$i ip link add eth0 type veth peer name p$i netns "$id-net"
		in_net net ip link set p$i master br0 up
		in_net ha-$i ip link set eth0 up
		in_net ha-$i ip link set eth1 up
		in_net ha-$i ip addr add 192.0.2.1$i/24 dev eth0
		in_net ha-$i ip addr add 10.1.0.$i/24 dev eth1
	done
	socat "pty,raw,echo=0,link=$work/tty1" "pty,raw,echo=0,link=$work/tty2" \
	    >/dev/null 2>&1 &
	echo $! >"$work/socat.pid"
}

configure() {
	printf '%064d\n' 42 >"$work/key"
	chmod 600 "$work/key"
	cp /etc/passwd /etc/group "$work"
	grep -q ^hagent: "$work/passwd" || echo "hagent:x:64001:64001::/:/bin/false" >>"$work/passwd"
	grep -q ^mailpair: "$work/group" || echo "mailpair:x:64001:" >>"$work/group"
	cat >"$work/hagent.conf" <<-E
	cluster = "case"
	key-file = "$work/key"
	node "ha-1" { }
	node "ha-2" { }
	link "eth1" { medium = "udp" interface = "eth1" address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } }
	link "tty" { medium = "serial" device = "$work/tty" }
	vip "192.0.2.5/24" { interface = "eth0" }
	vip "2001:db8::5/64" { interface = "eth0" }
	ping = { "192.0.2.1" }
	resource-path = { "/opt/resource.d" }
	resource "one" { script = "dummy" }
	resource "two" { script = "dummy" drain = true }
	syncd-socket = ""
	initdead-ms = 3000
	E
}

start() {	# NUMBER
	mkdir -p "$work/var$1"
	touch "$work/tty"
	ip netns exec "$id-ha-$1" unshare -m -u -p -f --mount-proc sh -c "
		mount -t tmpfs -o mode=755 t /opt && mkdir /opt/resource.d &&
		cp '$top/resource.d/dummy' /opt/resource.d/ &&
		mount --bind \"\$(readlink -f '$work/tty$1')\" '$work/tty' &&
		mount --bind '$work/passwd' /etc/passwd &&
		mount --bind '$work/group' /etc/group &&
		mkdir -p /run/mailpair /var/lib/mailpair &&
		mount -t tmpfs -o mode=755 t /run/mailpair &&
		mount --bind '$work/var$1' /var/lib/mailpair &&
		exec '$build/hagentd' -f -c '$work/hagent.conf' -N ha-$1" \
	    >>"$work/ha-$1.log" 2>&1 </dev/null &
	echo $! >"$work/ha-$1.pid"
}

init_of() {
	pgrep -P "$(cat "$work/ha-$1.pid")"
}

ha() {	# NUMBER ARGUMENTS...
	n=$1
	shift
	nsenter -t "$(init_of "$n")" -m -n -p "$build/hactl" "$@" </dev/null
}

check() {	# NAME COMMAND...; at most ten seconds
	name=$1
	shift
	tries=100
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ $tries -eq 0 ]; then
			echo "not ok pair $name"
			tail -n 5 "$work"/ha-?.log | sed 's/^/# /'
			return 1
		fi
		sleep 0.1
	done
	echo "ok pair $name"
}

serves() {
	ha "$1" status --json | grep -q '"serving":true' &&
	    in_net "ha-$1" ip -br addr | grep -q '192.0.2.5/24.*2001:db8::5/64'
}

# The agent of node 1 starts anew while node 2 cannot write its state: node 2 hears the
# new boot, believes nothing of it, and does again once it is durable.
state_dir() {	# closed|open: may the agent make files in it?
	case $1 in
	closed) chown 0 "$work/var2/ha" ;;
	open) chown --reference="$work/var1/ha" "$work/var2/ha" ;;
	esac
}

sees_active() {
	ha 2 status --json | grep -q '"name":"ha-1","local":false,"role":"active"'
}

unknown_boot() {
	ha 2 status --json | grep -q '"state":"unproven"' && grep -q 'state cannot be written' "$work/ha-2.log"
}

stays() {	# COMMAND...: true for two deadtimes
	for _ in 1 2 3 4 5 6 7 8; do
		"$@" || return 1
		sleep 0.5
	done
}

network && configure || exit 1
start 1
start 2
check "elects one" serves 1
check "is healthy on the other node too" ha 2 status
kill -KILL "$(pgrep -P "$(init_of 1)")"
check "goes on when the agent dies" serves 1
check "is seen as active" sees_active
state_dir closed
kill -KILL "$(pgrep -P "$(init_of 1)")"
check "a boot that is not durable says nothing" unknown_boot
check "and goes on saying nothing" stays unknown_boot
check "the one that cannot write does not take over" serves 1
state_dir open
check "it counts once it is durable" sees_active
check "hands over" ha 1 switchover --to ha-2
check "serves on the other" serves 2
check "hands back, asked on the standby" ha 1 switchover --to ha-1
check "serves here again" serves 1
in_net ha-1 ip addr del 192.0.2.5/24 dev eth0
check "mends an address" serves 1
kill -KILL "$(init_of 1)"
in_net net ip link set p1 down
in_net ha-1 ip link set eth1 down
check "takes over from the dead" serves 2
check "history" sh -c "nsenter -t $(init_of 2) -m -p '$build/hactl' history | grep -q 'presumed.*ha-1 -> ha-2'"
