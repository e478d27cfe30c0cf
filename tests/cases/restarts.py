#!/usr/bin/python3
"""restarts.py - what a node knows of its resources after a restart, with two real hagentd and
an armed watchdog (a pipe that nobody counts on): one that is broken already when the node
boots ends no node, one that was started since the boot does; that a node could not run its
resources outlives its agent; how soon there is another agent; and what is said to who asks
while something is under way.
"""
import os
import re
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402

LINKS = """
link "u1" { interface = "eth1" address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } }
link "lan" { interface = "eth0" address = { "ha-1=192.0.2.11", "ha-2=192.0.2.12" } }
vip "192.0.2.5/24" { interface = "eth0" }
ping = { "192.0.2.1" }
resource "two" { script = "frail" restarts = 0 monitor-interval-ms = 300 }
watchdog { device = "/run/wd" timeout-s = 2 pet-ms = 200 }
keepalive-ms = 100
warntime-ms = 500
deadtime-ms = 5000
initdead-ms = 5000
retry-ms = 500
"""
# Fails at a verb when the folder of the node's state holds a file for that.
FRAIL = """#!/bin/sh
[ ! -e "/var/lib/mailpair/broken-$1" ] || { echo "told to fail" >&2; exit 1; }
case $1 in
start)
	[ ! -e /var/lib/mailpair/slow ] || sleep 3
	: >/run/frail
	;;
stop) rm -f /run/frail ;;
status) [ -e /run/frail ] || exit 3 ;;
esac
"""
MORE = """cp %s/frail /opt/resource.d/ && chmod 755 /opt/resource.d/frail
mkfifo /run/wd
cat /run/wd >/dev/null &
"""
KILLS = 5
YOUNG_S = 2.2           # one that dies before makes the next one wait
REPLACED_S = 1.0        # on a busy machine; hagentd.8 says what an idle one needs
FENCED = "the watchdog shall end this node"


def network(pair, i):
    for dev, address in (("eth1", "10.1.0.%d/24" % i), ("eth0", "192.0.2.1%d/24" % i)):
        pair.net(i, "ip addr flush dev %s" % dev)
        pair.net(i, "ip addr add %s dev %s" % (address, dev))
        pair.net(i, "ip link set %s up" % dev)


def broken(pair, i, *verbs):
    for verb in ("start", "stop", "status"):
        path = "%s/var%d/broken-%s" % (pair.work, i, verb)
        if verb in verbs:
            with open(path, "w"):
                pass
        elif os.path.exists(path):
            os.unlink(path)


def alarms(pair, i):
    return {a["name"] for a in pair.status(i)["alarms"]}


def role(pair, i):
    return pair.status(i)["self"]["role"]


def new_agent(pair, i):
    old = pair.agent(i)
    agentpair.run("kill -KILL %d" % old)
    pair.until("ha-%d has another agent" % i,
               lambda: pair.agent(i) not in (None, old) and role(pair, i) != "boot")


def broken_at_boot(pair):
    broken(pair, 2, "status", "stop")
    pair.start()
    pair.until("a broken resource of the standby is an alarm",
               lambda: "stop-failed" in alarms(pair, 2))
    pair.until("the other node serves", lambda: pair.active() == 1, limit=30)
    pair.check("the watchdog is armed", pair.ask(2, "watchdog", "test")["armed"])
    new_agent(pair, 2)
    pair.until("the next agent finds the same", lambda: "stop-failed" in alarms(pair, 2))
    pair.stays("and the node stays out of the way, without a reset",
               lambda: "stop-failed" in alarms(pair, 2) and FENCED not in pair.log(2), 3)
    pair.check("it is not to be had", role(pair, 2) == "standby"
               and pair.ask(1, "switchover", "--to", "ha-2")["exit"] == 14)
    broken(pair, 2)
    pair.until("the alarm ends when the resource stops",
               lambda: "stop-failed" not in alarms(pair, 2))
    pair.until("and it is to be had again", lambda: pair.ask(
        1, "switchover", "--to", "ha-2", "--dry-run")["exit"] == 0)


def broken_since(pair):
    """A hagentd before this one had started it, since the boot."""
    pair.crash(2)
    broken(pair, 2, "status", "stop")
    more, pair.more = pair.more, pair.more + ": >/run/mailpair/group-started\n"
    pair.start((2,))
    pair.until("what was started since the boot and does not stop ends the node",
               lambda: FENCED in pair.log(2))
    pair.more = more
    pair.crash(2)
    broken(pair, 2)
    pair.start((2,))
    pair.until("and it comes back", lambda: role(pair, 2) == "standby", limit=30)


def marked(pair, i):
    return os.path.exists("/proc/%d/root/run/mailpair/group-started" % pair.pid(i))


def not_well(pair):
    pair.check("the active node is marked", marked(pair, 1) and not marked(pair, 2))
    broken(pair, 1, "status", "start")
    pair.until("a resource that fails moves", lambda: pair.active() == 2, limit=20)
    pair.until("the node where it failed is not well",
               lambda: "resource-failed" in alarms(pair, 1) and not marked(pair, 1))
    new_agent(pair, 1)
    pair.stays("its next agent knows that", lambda: "resource-failed" in alarms(pair, 1), 1)
    pair.check("nothing is given back", pair.ask(2, "switchover", "--to", "ha-1")["exit"] == 14)
    broken(pair, 1)
    pair.check("an operator mends it", pair.ask(1, "resource", "cleanup")["exit"] == 0)
    new_agent(pair, 1)
    pair.stays("and its next agent knows that", lambda: not alarms(pair, 1), 1)


def answers(pair, i):
    """One question to the agent; false: nobody read it to the end."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        try:
            s.connect("/proc/%d/root/run/mailpair/hagentd.sock" % pair.pid(i))
            s.sendall(b'{"op": "links"}\n')
            with s.makefile("rb") as lines:
                return any(b'"exit"' in line for line in (lines.readline(), lines.readline()))
        except OSError:
            return False


def replaced(pair, i):
    """How long the node is without an agent that answers."""
    took = []
    for _ in range(KILLS):
        old = pair.agent(i)
        os.kill(old, 9)
        began = time.monotonic()
        while not answers(pair, i) and time.monotonic() < began + 10:
            time.sleep(0.001)
        took.append(time.monotonic() - began)
        pair.until("ha-%d has a whole agent again, no young one" % i, after=YOUNG_S,
                   condition=lambda: pair.agent(i) not in (None, old)
                   and role(pair, i) == "active")
    print("# a new agent answers %s ms behind the end of the old one, median %.0f" % (
        " ".join("%.0f" % (1000 * s) for s in took), 1000 * statistics.median(took)), flush=True)
    pair.check("a dead agent is replaced at once", statistics.median(took) < REPLACED_S)
    pair.check("and services went on", pair.status(i)["serving"])


def one_at_a_time(pair, i):
    """Exit 13 names what is under way, since when."""
    slow = "%s/var%d/slow" % (pair.work, i)
    with open(slow, "w"):
        pass
    answers = []
    restart = threading.Thread(target=lambda: answers.append(
        pair.ask(i, "resource", "restart", "two")["exit"]))
    restart.start()
    pair.until("a restart is under way", lambda: [
        r["state"] for r in pair.status(i)["resources"] if r["name"] == "two"] == ["starting"])
    for words in (("reload",), ("resource", "stop", "one"), ("standby", "ha-%d" % i)):
        o = pair.ask(i, *words)
        pair.check("%s is told so" % " ".join(words), o["exit"] == 13 and re.fullmatch(
            r"another operation is under way for [0-9]+ s: resource restart", o["error"]))
    restart.join()
    pair.check("and the restart comes to its end", answers == [0] and pair.status(i)["serving"])
    os.unlink(slow)


def main():
    with agentpair.Pair("restarts", LINKS) as pair:
        with open(pair.work + "/frail", "w") as f:
            f.write(FRAIL)
        pair.more = MORE % pair.work
        pair.lan()
        pair.veth("eth1")
        for i in (1, 2):
            network(pair, i)
        broken_at_boot(pair)
        broken_since(pair)
        not_well(pair)
        replaced(pair, 2)
        one_at_a_time(pair, 2)


agentpair.case(main)
