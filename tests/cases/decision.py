#!/usr/bin/python3
"""decision.py - two hagentd in namespaces of their own: the preferred node gets the role
back, maintenance holds everything still on both nodes and ends by itself, a second owner of
the service address is noticed; and what `hactl status -w` shows of it.  Beside that, a host
of the same network counts how the addresses are announced.
"""
import os
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402
import packets          # noqa: E402

LINKS = """
link "u1" { interface = "eth1" address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } }
link "lan" { interface = "eth0" address = { "ha-1=192.0.2.11", "ha-2=192.0.2.12" } }
vip "192.0.2.5/24" { interface = "eth0" }
vip "fd00:5::5/64" { interface = "eth0" }
ping = { "192.0.2.1=3" }
keepalive-ms = 100
warntime-ms = 500
deadtime-ms = 1000
ping-interval-ms = 300
ping-timeout-ms = 900
vip-check-ms = 700
preferred = "ha-2"
failback = "auto"
failback-delay-s = 2
maintenance-s = 600
"""
VIP4, VIP6 = socket.inet_aton("192.0.2.5"), socket.inet_pton(socket.AF_INET6, "fd00:5::5")


def network(pair, i):
    for dev, address in (("eth1", "10.1.0.%d/24" % i), ("eth0", "192.0.2.1%d/24" % i)):
        pair.net(i, "ip addr flush dev %s" % dev)
        pair.net(i, "ip addr add %s dev %s" % (address, dev))
        pair.net(i, "ip link set %s up" % dev)


def power_off(pair, i):
    """A kernel that lives answers for its addresses; this one does not."""
    pair.crash(i)
    for dev in ("eth0", "eth1"):
        pair.net(i, "ip link set %s down" % dev)


def maintained(pair):
    return all(pair.status(i)["maintenance_ms"] > 0 for i in (1, 2))


def alarms(pair, i):
    return {a["name"] for a in pair.status(i)["alarms"]}


def failback(pair, when):
    pair.until("the preferred node serves %s" % when, lambda: pair.active() == 2, limit=30)
    pair.until("and the history says why",
               lambda: pair.status(2)["last_switch"]["reason"] == "back to the preferred node")


def maintenance(pair, ears):
    """Asked on the standby; the active dies meanwhile."""
    pair.check("--dry-run is allowed, and changes nothing",
               pair.ask(1, "maintenance", "on", "--dry-run")["exit"] == 0
               and not maintained(pair))
    pair.check("maintenance by hand", pair.ask(1, "maintenance", "on")["exit"] == 0)
    pair.until("is on both nodes", lambda: maintained(pair))
    pair.check("and is said", any("maintenance for another" in p
                                  for p in pair.status(2)["problems"]))
    pair.check("ends by hand", pair.ask(2, "maintenance", "off")["exit"] == 0)
    pair.until("on both nodes", lambda: all(
        pair.status(i)["maintenance_ms"] == 0 for i in (1, 2)))
    pair.check("a span that is none is refused",
               os.system("%s/hactl maintenance on --for 2 >%s/out 2>&1"
                         % (agentpair.BUILD, pair.work)) >> 8 == 10)
    pair.check("maintenance for 8 s", pair.ask(1, "maintenance", "on", "--for", "8s")["exit"] == 0)
    pair.until("is on both nodes again", lambda: maintained(pair))
    power_off(pair, 2)
    pair.until("the standby knows that the active is gone",
               lambda: pair.status(1)["peer"]["state"] == "silent")
    pair.check("and nobody takes over", not pair.status(1)["serving"]
               and pair.status(1)["maintenance_ms"] > 0)
    pair.until("until it ends by itself", lambda: pair.status(1)["serving"]
               and pair.status(1)["maintenance_ms"] == 0, limit=25)
    network(pair, 2)
    since = time.monotonic()
    pair.start((2,))
    pair.until("addresses are announced again when a path heals", lambda: ears.burst(1, since))
    failback(pair, "when it is back")


class Ears:
    """What a third host hears of both addresses."""

    def __init__(self, pair):
        self.taps = [packets.Announcements(pair, 3, "br0", six) for six in (False, True)]
        self.mac = {i: packets.mac(pair, i, "eth0") for i in (1, 2)}
        self.kinds = (("arp request", self.taps[0], VIP4), ("arp reply", self.taps[0], VIP4),
                      ("advertisement", self.taps[1], VIP6))

    def times(self, i, since=0.0):
        """By kind, when node i told of an address, from the first one on."""
        out = {}
        for kind, tap, address in self.kinds:
            told = tap.times(kind, address, self.mac[i], since)
            out[kind] = [t - told[0] for t in told]
        return out

    def burst(self, i, since):
        """Of each kind five within a moment."""
        return all(any(b - a < 0.8 for a, b in zip(t, t[4:]))
                   for t in self.times(i, since).values())

    def only(self, i, since):
        return all(tap.senders(address, since) == {(False, self.mac[i])}
                   for tap, address in ((self.taps[0], VIP4), (self.taps[1], VIP6)))

    def close(self):
        for tap in self.taps:
            tap.close()


def announced(pair, ears):
    """Node 2 just took the addresses from node 1."""
    began = ears.taps[0].times("arp request", VIP4, ears.mac[2])[:1]
    pair.until("both addresses are announced, right in every byte",
               lambda: all(len(t) >= 7 for t in ears.times(2).values()))
    for kind, t in ears.times(2).items():
        t = t[:7] + [-1.0] * 7
        pair.check("five times at once, after 1 s, after 2 s: %s (%s)"
                   % (kind, " ".join("%.2f" % x for x in t[:7])),
                   t[4] < 0.8 and 0.7 < t[5] < 1.7 < t[6] < 3)
    pair.check("by nobody else any more", bool(began) and ears.only(2, began[0]))


def second_owner(pair):
    pair.check("nobody contests the address", "contested" not in alarms(pair, 2))
    pair.net(3, "ip addr add 192.0.2.5/32 dev br0")
    pair.until("a second owner of the address is an alarm",
               lambda: "contested" in alarms(pair, 2))
    pair.check("and no reason to stop", pair.status(2)["serving"])
    pair.net(3, "ip addr del 192.0.2.5/32 dev br0")
    pair.until("which ends with it", lambda: "contested" not in alarms(pair, 2))


def pictures(pair, out, read, count, mark):
    """What `hactl status -w 1` writes, up to so many of the mark, and when each began."""
    hactl = subprocess.Popen(
        ["nsenter", "-t", str(pair.pid(1)), "-m", "-n", agentpair.BUILD + "/hactl", "status",
         "-w", "1"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
    os.close(out)
    text, began = b"", []
    end = time.monotonic() + 20
    while len(began) < count and select.select([read], [], [], max(end - time.monotonic(), 0))[0]:
        text += os.read(read, 65536)
        began += [time.monotonic()] * (text.count(mark) - len(began))
    os.close(read)      # nobody looks any more
    try:
        code = hactl.wait(10)
    except subprocess.TimeoutExpired:
        code = None
        hactl.kill()
        hactl.wait()
    return text, began, code


def watch(pair):
    """The same picture again and again: over the old one on a terminal, below it elsewhere."""
    for what, (read, out), mark in (("a terminal", os.openpty(), b"\033[H"),
                                    ("a pipe", os.pipe(), b"PAIR ")):
        text, began, code = pictures(pair, out, read, 3, mark)
        pair.check("status -w draws again on %s" % what, len(began) == 3
                   and text.count(b"PAIR case ") >= 2 and b"ha-2" in text)
        pair.check("each second", len(began) == 3 and 1.8 < began[2] - began[0] < 6)
        pair.check("clears only a terminal", text.count(b"\033[2J") == (mark != b"PAIR ")
                   and (b"\033[K" in text) == (mark != b"PAIR "))
        pair.check("and ends when nobody looks", code is not None)


def main():
    with agentpair.Pair("decision", LINKS) as pair:
        pair.lan()
        pair.veth("eth1")
        for i in (1, 2):
            network(pair, i)
        ears = Ears(pair)
        pair.start()
        failback(pair, "when both have met")
        announced(pair, ears)
        pair.check("what the pair relies on is said",
                   "not survived" in pair.status(1)["relies"])
        second_owner(pair)
        watch(pair)
        maintenance(pair, ears)
        ears.close()


agentpair.case(main)
