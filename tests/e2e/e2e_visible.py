"""e2e_visible.py - what a live pair tells: events, checks, metrics, hooks."""
import json
import os
import subprocess

from harness import test
from lab import NODES, VIP, wait_for


def hactl(t, lab, node, *args, code=0):
    r = lab.execute(node, "hactl", *args, check=False)
    t.equal(r.returncode, code, "hactl %s on %s: %s%s" % (" ".join(args), node, r.stdout, r.stderr))
    return r.stdout + r.stderr


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


class Follower:
    """hactl events -f on a node; what it has printed so far."""

    def __init__(self, lab, node, path):
        self.path = path
        with open(path, "wb") as out:
            self.proc = subprocess.Popen(
                lab.command(node, "/usr/local/sbin/hactl", "events", "-f", "-n", "0", "--json"),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)

    def saw(self, kind, words):
        with open(self.path) as f:
            whole = f.read().rpartition("\n")[0]
        return any(e.get("kind") == kind and words in e["text"] for e in json_lines(whole))

    def end(self):
        self.proc.kill()
        self.proc.wait()


def expect_events(t, lab, active, standby):
    """A switchover, a dead resource and a restart of the agent, as the events tell it."""
    f = Follower(lab, standby, os.path.join(t.folder(), "events"))
    try:
        hactl(t, lab, active, "switchover", "--yes")
        wait_for("events of the switchover", 20, lambda: f.saw("switch", "planned") and
                 f.saw("role", "-> active") and f.saw("resource", "is up") and
                 f.saw("vip", VIP + "/24 is up"), 0.1)
    finally:
        f.end()
    text = hactl(t, lab, active, "events")
    for words in ("operator  ", "switchover to %s asked for" % standby, "role active -> demote",
                  "is no longer on", "planned %s -> %s" % (active, standby)):
        t.true(words in text, "events of %s lack %r:\n%s" % (active, words, text))
    last = json_lines(hactl(t, lab, active, "events", "-n", "3", "--json"))
    t.equal((len(last), [e["schema"] for e in last]), (3, [1] * 3), "the last three")
    # A new agent goes on with the numbers of the old one.
    agents = lab.children(active, lab.pid_of(active, "hagentd"))
    lab.execute(active, "/bin/sh", "-c", "kill -9 %d" % min(agents))
    wait_for("the new agent", 10, lambda: lab.status(active), 0.1)
    after = json_lines(hactl(t, lab, active, "events", "--json"))
    numbers = [e["no"] for e in after]
    t.equal(numbers, list(range(1, len(after) + 1)), "numbers over a restart")
    t.equal(len([e for e in after if e["text"].startswith("started, boot ")]), 2, "starts")


def expect_checks(t, lab, node):
    names = [line.split()[0] for line in hactl(t, lab, node, "check", "--list").splitlines()]
    t.equal(names, "role peer links serial quorum watchdog vip commit lag disk clock config-equal "
            "resources".split(), "names of the checks")
    checks = [c for c in names if c != "disk"]      # that one is this machine's
    for n in NODES:
        t.true("ha-1 " in lab.execute(n, "hactl", "check", "disk", check=False).stdout, "disks")
        lines = hactl(t, lab, n, "check", *checks).splitlines()
        t.equal([x.split()[:2] for x in lines], [["OK", c] for c in checks], "checks of " + n)
        for c in json_lines(hactl(t, lab, n, "check", "role", "clock", "--json")):
            t.equal((c["schema"], c["state"], c["code"]), (1, "OK", 0), c["text"])
    hactl(t, lab, node, "check", "no-such", code=10)
    r = lab.execute(node, "hactl", "check", "--run-dir", "/nowhere", check=False)
    t.equal(r.returncode, 3, "checks without a daemon: " + r.stdout)


@test
def what_the_pair_tells(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    active, standby = lab.active(), lab.standby()
    expect_checks(t, lab, active)
    expect_events(t, lab, active, standby)
