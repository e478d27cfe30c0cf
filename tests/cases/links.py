#!/usr/bin/python3
"""links.py - two hagentd in namespaces of their own over links of every kind at once:
unicast, broadcast and multicast, IPv4 and IPv6, and a serial line.  What happens to an
interface or a device is seen on the links that use it and on no other, ends by itself,
and never changes who is active.  At the end serial lines of several speeds, one pair each.
"""
import contextlib
import os
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402
import packets          # noqa: E402

LINKS = """
link "u4" { interface = "eth1" address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } }
link "m4" { interface = "eth1" multicast = "239.255.77.80" }
link "m6" { interface = "eth1" multicast = "ff02::4d50" }
link "l6" { interface = "eth1" address = { "ha-1=fe80::1", "ha-2=fe80::2" } }
link "b4" { interface = "eth2" broadcast = "10.2.0.255"
    address = { "ha-1=10.2.0.1", "ha-2=10.2.0.2" } }
link "u6" { interface = "eth2" address = { "ha-1=fd00:2::1", "ha-2=fd00:2::2" } port = 695 }
link "tty" { medium = "serial" device = "%(dev)s/tty" baud = 9600 }
serial-keepalive-ms = 300
"""
# baud: the shortest keepalive that hagentd allows, one frame
SPEEDS = {9600: 267, 19200: 134, 115200: 23}
SPEED = """
link "tty" { medium = "serial" device = "%%(dev)s/tty" baud = %d }
serial-keepalive-ms = %d
"""
XOFF = b"\x13"
SLACK_MS = 100                  # of a busy machine, and of the line's thread
ETH1 = ("u4", "m4", "m6", "l6")
ETH2 = ("b4", "u6")
ALL = ETH1 + ETH2 + ("tty",)


def network(pair):
    pair.veth("eth1")
    pair.veth("eth2")
    for i in (1, 2):
        set_eth1(pair, i)
        pair.net(i, "ip addr add 10.2.0.%d/24 dev eth2" % i)
        pair.net(i, "ip addr add fd00:2::%d/64 dev eth2 nodad" % i)


def set_eth1(pair, i):
    pair.net(i, "ip addr add 10.1.0.%d/24 dev eth1" % i)
    pair.net(i, "ip addr add fe80::%d/64 dev eth1 nodad" % i)


def states(pair, i):
    return {link["name"]: link["state"] for link in pair.ask(i, "links")["links"]}


def are(pair, i, names, *wanted):
    now = states(pair, i)
    return all(now[n] in wanted for n in names)


def both(pair, names, *wanted):
    return are(pair, 1, names, *wanted) and are(pair, 2, names, *wanted)


def interface_down(pair):
    pair.net(1, "ip link set eth1 down")
    pair.until("an interface that is down silences its links", lambda: both(pair, ETH1, "dead"))
    pair.check("and no other", both(pair, ETH2 + ("tty",), "ok"))
    pair.check("the reason is told", all(
        link["why"] for link in pair.ask(1, "links")["links"] if link["name"] in ("u4", "l6")))
    pair.net(1, "ip link set eth1 up")
    pair.net(1, "ip addr add fe80::1/64 dev eth1 nodad", check=False)
    pair.until("up again", lambda: both(pair, ALL, "ok"))


def interface_made_anew(pair):
    pair.net(2, "ip link del eth1")
    pair.until("an interface that is gone", lambda: both(pair, ETH1, "dead"))
    pair.veth("eth1")
    for i in (1, 2):
        set_eth1(pair, i)
    pair.until("and made anew under its name", lambda: both(pair, ALL, "ok"))
    # At once: the sockets may never have noticed but for the number of the interface.
    pair.net(1, "ip link del eth1")
    pair.veth("eth1")
    for i in (1, 2):
        set_eth1(pair, i)
    pair.until("made anew within a moment", lambda: both(pair, ALL, "ok"), after=1.5)


def address_removed(pair):
    pair.net(2, "ip addr del 10.1.0.2/24 dev eth1")
    pair.until("a removed address", lambda: both(pair, ("u4",), "dead"))
    pair.check("leaves the groups on the interface", are(pair, 2, ("m6", "l6"), "ok"))
    pair.net(2, "ip addr add 10.1.0.2/24 dev eth1")
    pair.until("added again", lambda: both(pair, ALL, "ok"))


def one_way(pair):
    """Node 2 hears nothing on eth2: node 1 is heard by nobody there, but hears."""
    pair.net(2, "nft add table inet cut")
    pair.net(2, "nft add chain inet cut in { type filter hook input priority 0 ; }")
    pair.net(2, "nft add rule inet cut in iifname eth2 udp dport { 694, 695 } drop")
    pair.until("a cut in one direction is one-way at the end that hears",
               lambda: are(pair, 1, ETH2, "one-way"))
    pair.check("and dead at the other", are(pair, 2, ETH2, "dead"))
    pair.until("one line in the log says so", lambda: pair.log(1).count("link b4 one-way") == 1)
    pair.net(2, "nft delete table inet cut")
    pair.until("and over", lambda: both(pair, ALL, "ok"))


def link(pair, i, name):
    return [x for x in pair.ask(i, "links")["links"] if x["name"] == name][0]


def channel(pair, name):
    """Frames of other links that a link of node 2 refused."""
    return link(pair, 2, name)["refused_by"].get("channel", 0)


def elsewhere(pair):
    """Frames of u4, which is bound to eth1, come to node 2 over eth2 instead: genuine, in
    time and to the right address and port.  The link b4, which hears everything on eth2,
    finds frames of another link."""
    carry = packets.Carry(pair, (2, "eth1"), (1, "eth2"), packets.mac(pair, 2, "eth2"),
                          "10.1.0.2", 694)
    # Behind the place where they are carried away.
    pair.net(2, "nft add table inet cut")
    pair.net(2, "nft add chain inet cut in { type filter hook input priority 0 ; }")
    pair.net(2, "nft add rule inet cut in iifname eth1 ip daddr 10.1.0.2 udp dport 694 drop")
    before, stranger = link(pair, 2, "u4"), channel(pair, "b4")
    pair.until("frames that come over another interface are no life of their link",
               lambda: are(pair, 2, ("u4",), "dead"))
    after, stranger = link(pair, 2, "u4"), channel(pair, "b4") - stranger
    pair.check("they were there: the link of that interface counted %d" % stranger,
               stranger >= 4)
    pair.check("and taken by none", all(after[k] == before[k] for k in ("accepted", "refused"))
               and are(pair, 2, [n for n in ALL if n != "u4"], "ok"))
    carry.close()
    pair.net(2, "nft delete table inet cut")
    pair.until("on its own interface again", lambda: both(pair, ALL, "ok"))


def unplugged(pair):
    for again in ("", " again"):
        most = pair.serial_off()
        pair.check("a line of 9600 baud has no backlog%s (%d bytes)" % (again, most),
                   most <= 2 * 256)
        pair.until("an unplugged serial line%s" % again, lambda: both(pair, ("tty",), "dead"))
        pair.check("is told with its reason",
                   "link tty is down: " in pair.log(1))
        pair.serial_on()
        pair.until("plugged in%s" % again, lambda: both(pair, ALL, "ok"))


def episodes(pair):
    """Each absence of a link is told once."""
    for name, wanted in (("u4", 5), ("b4", 1), ("tty", 2)):
        log = pair.log(2)
        pair.check("the log has one line for each end of silence of %s" % name,
                   log.count("link %s works again after" % name) in (wanted - 1, wanted))
        pair.check("and at most one of each kind for each absence of %s" % name,
                   log.count("link %s dead:" % name) <= wanted
                   and log.count("link %s silent" % name) <= wanted)
    pair.check("nothing repeats itself", pair.log(1).count("link u4 is down") <= 4)


def raw(line, i, baud):
    """Speed and modes of a terminal as hagentd set them: nothing may stop the output."""
    iflag, _, cflag, _, ispeed, ospeed, _ = line.modes(i)
    return (ispeed == ospeed == getattr(termios, "B%d" % baud)
            and iflag & (termios.IXON | termios.IXOFF | termios.IXANY) == 0
            and cflag & termios.CRTSCTS == 0 and cflag & termios.CLOCAL != 0)


class Fast:
    """A pair on a line of one speed, with as many frames as the line carries."""

    def __init__(self, pair, baud, keepalive_ms):
        self.pair, self.baud, self.keepalive_ms = pair, baud, keepalive_ms
        self.seen = []                  # (when, what each node says of its link)
        pair.start()

    def look(self):
        self.seen.append((time.monotonic(), [link(self.pair, i, "tty") for i in (1, 2)]))

    def judge(self):
        for (t0, a), (t1, b), when in zip(self.seen, self.seen[1:], ("", ", after XOFF")):
            due = (t1 - t0) * 1000 / self.keepalive_ms
            came = [y["accepted"] - x["accepted"] for x, y in zip(a, b)]
            self.pair.check("heartbeats arrive%s: %s of %d" % (when, came, due),
                            all(n >= 0.7 * due - 1 for n in came))
        last = self.seen[-1][1]
        self.pair.check("none is lost but what XOFF hit",
                        all(x["lost"] + x["refused"] <= 2 for x in last))
        self.pair.check("nothing stops the output",
                        all(raw(self.pair.line, i, self.baud) for i in (0, 1)))
        most = 2 * 256 + self.pair.line.rate * SLACK_MS / 1000
        self.pair.check("nothing waits for the line: %d bytes" % self.pair.line.most,
                        self.pair.line.most <= most)
        # PROTOCOL.md: not later than the time of two frames after it was made.
        late = max(x["late_p99_ms"] for x in last)
        bound = 2 * 256 * 10 * 1000 // self.baud + SLACK_MS
        self.pair.check("lateness p99 %d ms, at most %d" % (late, bound), late <= bound)


def speeds():
    with contextlib.ExitStack() as stack:
        fast = [Fast(stack.enter_context(agentpair.Pair(
            "links-%d" % baud, SPEED % (baud, ms), baud=baud)), baud, ms)
            for baud, ms in SPEEDS.items()]
        for f in fast:
            f.pair.until("both ends hear the other one",
                         lambda: both(f.pair, ("tty",), "ok"))  # noqa: B023
        for part in range(3):
            for f in fast:
                f.look()
                # To both ends; it may hit one frame.
                for i in (0, 1):
                    f.pair.line.put(i, XOFF if part == 1 else b"")
            time.sleep(1.2 if part < 2 else 0)
        for f in fast:
            f.judge()


def main():
    with agentpair.Pair("links", LINKS) as pair:
        network(pair)
        pair.start()
        pair.until("every kind of link works", lambda: both(pair, ALL, "ok"), limit=20)
        pair.until("one node is active", lambda: pair.active() is not None)
        epoch = pair.epoch()
        for part in (interface_down, interface_made_anew, address_removed, one_way,
                     elsewhere, unplugged, episodes):
            part(pair)
        pair.check("who is active did not change", pair.epoch() == epoch)
    # A sanitizer changes nothing but the time of what is left.
    if os.environ.get("SAN") != "1":
        speeds()


agentpair.case(main)
