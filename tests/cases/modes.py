#!/usr/bin/python3
"""modes.py - two hagentd in the modes where silence alone changes nothing.  "quorum": of a
pair with real corosync daemons, a quorum device and armed watchdogs (pipes that nobody counts
on), split in two halves that both see the rest of the world, the active node has to give up
before the other one may begin.  "manual": an operator says so.
"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402
import coropair         # noqa: E402

LAN = """
link "lan" { interface = "eth0" address = { "ha-1=192.0.2.11", "ha-2=192.0.2.12" } }
vip "192.0.2.5/24" { interface = "eth0" }
keepalive-ms = 100
warntime-ms = 400
"""
QUORUM = """
mode = "quorum"
link "ring" { medium = "corosync" }
watchdog { device = "/run/wd" timeout-s = 2 pet-ms = 200 }
deadtime-ms = 5000
initdead-ms = 5000
isolated-ms = 700
retry-ms = 300
"""
KEEPALIVE_S = 0.1                       # silence begins with the last one that came
LEASE_S = 2 * 2 + 1 + 0.7 + 0.3         # of the watchdog, isolated-ms, retry-ms
WATCHDOG = """
mkfifo /run/wd
cat /run/wd >/dev/null &
"""
MANUAL = """
mode = "manual"
ping = { "192.0.2.1" }
deadtime-ms = 2000
"""


def holds(pair, i):
    return " 192.0.2.5/" in pair.net(i, "ip -o -4 addr show dev eth0", check=False)


def have(pair, i):
    return pair.quorum(i)["state"] == "have"


def forms(pair):
    pair.qnetd()
    pair.start()
    pair.until("both agents answer", lambda: all(pair.status(i) for i in (1, 2)))
    for i in (1, 2):
        pair.corosync(i)
        pair.qdevice(i)
    pair.until("the ring forms, with a device that votes", lambda: pair.keep_devices()
               and pair.rings(state="ok", votes=3) and all(have(pair, i) for i in (1, 2)),
               limit=40)
    pair.until("one node serves, the other one is standby", lambda: pair.active() == 1
               and pair.status(2)["self"]["role"] == "standby" and holds(pair, 1))
    pair.check("both watchdogs are armed",
               all(pair.ask(i, "watchdog", "test")["armed"] for i in (1, 2)))


def cut(pair):
    """Everything between the two; the ring knows it at once, the links when they are dead."""
    for i in (1, 2):
        pair.net(i, "nft add table inet cut")
        pair.net(i, "nft add chain inet cut in { type filter hook input priority 0 ; }")
        pair.net(i, "nft add rule inet cut in ip saddr 192.0.2.1%d drop" % (3 - i))
        pair.net(i, "ip link set eth1 down")


def heal(pair):
    for i in (1, 2):
        pair.net(i, "nft delete table inet cut")
        pair.net(i, "ip link set eth1 up")


class Watch:
    """Who has the address, looked at until node 2 has it; in seconds since begin."""

    def __init__(self, pair, begin):
        self.gone = self.there = None
        self.both = False
        while self.there is None and time.monotonic() < begin + 30:
            before = time.monotonic() - begin
            one, two = holds(pair, 1), holds(pair, 2)
            self.both = self.both or (one and two)
            if one:
                self.gone = None
            elif self.gone is None:
                self.gone = time.monotonic() - begin
            if two:
                self.there = before
            time.sleep(0.05)


def split(pair):
    """The device votes for node 2, and node 1 sees the device, the clients and no reason but
    the quorum to stop."""
    epoch = pair.epoch()
    begin = time.monotonic()
    cut(pair)
    w = Watch(pair, begin)
    pair.check("without quorum the active node gives up (%.1f s) before its lease ends (%.1f s)"
               % (w.gone or -1, LEASE_S), w.gone is not None and w.gone < LEASE_S)
    pair.check("the standby waits for that (%.1f s)" % (w.there or -1),
               w.there is not None and w.there >= LEASE_S - KEEPALIVE_S and not w.both)
    pair.until("and serves", lambda: pair.status(2)["serving"])
    pair.check("with the quorum of the device", have(pair, 2) and not have(pair, 1)
               and not pair.quorum(2)["with_peer"]
               and pair.ring(1)["corosync"]["qdevice"] == "no vote")
    pair.check("the history says so", pair.status(2)["epoch"] > epoch
               and "quorum" in pair.status(2)["last_switch"]["reason"])
    pair.check("nothing failed to stop", "the watchdog shall end" not in pair.log(1))
    pair.stays("who has no quorum never serves", lambda: not pair.status(1)["serving"]
               and not holds(pair, 1) and pair.status(2)["serving"], 1)
    epoch = pair.status(2)["epoch"]
    heal(pair)
    pair.until("whole again, it is standby", lambda: pair.keep_devices()
               and pair.status(1)["self"]["role"] == "standby" and have(pair, 1), limit=30)
    pair.check("which costs nothing", pair.active() == 2 and pair.epoch() == epoch)


def quorum():
    with coropair.CoroPair("modes-quorum", LAN, conf=QUORUM, more=WATCHDOG, token_ms=400,
                           keeps="highest") as pair:
        pair.network()
        forms(pair)
        split(pair)


def stood_still(pair, i):
    """By its own log: it saw the silence long after deadtime, so it did not run meanwhile."""
    saw = re.findall(r"dead: silent for (\d+) ms", pair.log(i))
    return any(int(ms) > 3000 for ms in saw)


def manual():
    with agentpair.Pair("modes-manual", LAN, conf=MANUAL) as pair:
        pair.lan()
        pair.start()
        pair.until("one node serves", lambda: pair.active() is not None)
        old = pair.active()
        new = 3 - old
        pair.until("the other one is standby",
                   lambda: pair.status(new)["self"]["role"] == "standby")
        pair.crash(old)
        pair.net(old, "ip link set eth0 down")
        pair.until("the active node is silent",
                   lambda: pair.status(new)["peer"]["state"] == "silent")
        pair.stays("that changes nothing", lambda: not pair.status(new)["serving"], 1.5)
        to = ("failover", "--to", "ha-%d" % new, "--yes")
        pair.check("an operator is asked for his word", pair.ask(new, *to)["exit"] == 14
                   and not pair.status(new)["serving"])
        code = pair.ask(new, *to, "--peer-is-off")["exit"]
        if stood_still(pair, new):
            # It does not know what the other node did meanwhile: a second word is needed.
            pair.check("one that stood still wants two", code == 14)
            code = pair.ask(new, *to, "--peer-is-off", "--accept-loss")["exit"]
        pair.check("and with it", code == 0)
        pair.until("the other one serves",
                   lambda: pair.status(new)["serving"] and holds(pair, new))


def main():
    """Both at a time.  What "quorum" is about is time, which a sanitizer only stretches."""
    if sys.argv[1:] == ["manual"]:
        manual()
        return
    other = subprocess.Popen([sys.executable, os.path.abspath(__file__), "manual"])
    try:
        if os.environ.get("SAN") != "1":
            quorum()
    finally:
        other.wait()
    if other.returncode != 0:
        sys.exit(other.returncode)


agentpair.case(main)
