"""e2e_visible.py - what a live pair tells: events, checks, metrics, hooks."""
import json
import os
import subprocess

import promlint
from harness import BUILD, test
from lab import NODES, VIP, Lab, wait_for


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
    t.equal(names, "role peer links serial quorum watchdog fence vip commit lag disk clock "
            "config-equal resources".split(), "names of the checks")
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


def metrics(t, lab, node):
    r = lab.execute(node, "curl", "-sS", "--max-time", "5", "http://127.0.0.1:9694/metrics")
    try:
        return promlint.parse(r.stdout)
    except promlint.PromError as e:
        raise AssertionError("metrics of %s: %s\n%s" % (node, e, r.stdout)) from e


def expect_metrics(t, lab, active, standby):
    # How far the standby is comes with its next word.
    wait_for("no lag", 5, lambda: promlint.value(metrics(t, lab, active),
                                                 "mailpair_log_lag_records") == 0, 0.1)
    for node in NODES:
        m = metrics(t, lab, node)
        here = float(node == active)
        for name, labels, expected in (
                ("mailpair_role", {"role": "active"}, here),
                ("mailpair_role", {"role": "standby"}, 1 - here), ("mailpair_health", {}, 0),
                ("mailpair_peer_up", {}, 1), ("mailpair_link_up", {"link": "ttyS0"}, 1),
                ("mailpair_ping_up", {"target": "192.0.2.1"}, 1),
                ("mailpair_alarm", {"alarm": "split"}, 0),
                ("mailpair_resource_up", {"resource": "maild"}, here),
                ("mailpair_resource_failures_total", {"resource": "maild"}, 0),
                ("mailpair_vip_up", {"address": VIP + "/24"}, here), ("mailpair_syncd_up", {}, 1),
                ("mailpair_data_mode", {"mode": "sync" if here else "insync"}, 1),
                ("mailpair_log_lag_records", {}, 0 if here else None),
                ("mailpair_at_risk_records", {}, 0), ("mailpair_peer_config_equal", {}, 1)):
            t.equal(promlint.value(m, name, **labels), expected, "%s%r of %s" % (name, labels, node))
        t.true(promlint.value(m, "mailpair_epoch") >= 1, "epoch")
        t.true(promlint.value(m, "mailpair_switch_total") >= 1, "switches")
        t.true(promlint.value(m, "mailpair_link_late_seconds_count", link="eth1") > 0, "lateness")
        for path, code in (("/", "404"), ("/metrics/", "404")):
            r = lab.execute(node, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                            "http://127.0.0.1:9694" + path)
            t.equal(r.stdout, code, path)
    # Only where it was asked for.
    t.true(lab.execute(standby, "curl", "-s", "--max-time", "5",
                       "http://192.0.2.%d:9694/metrics" % (11 + NODES.index(standby)),
                       check=False).returncode != 0, "the port is open to the LAN")


def told(lab, node):
    path = os.path.join(lab.node_dir(node), "notify")
    if not os.path.exists(path):
        return ""
    with open(path) as f:
        return f.read()


def expect_notified(t, lab, active, standby):
    """The node that is left tells of the switch, once and in whole words."""
    wait_for("a standby in step", 20, lambda: lab.execute(
        standby, "hactl", "status", check=False).returncode == 0, 0.1)
    before = len(told(lab, standby))
    lab.kill(active)
    wait_for("the hook of the new role", 30,
             lambda: "role|role promote -> active" in told(lab, standby)[before:], 0.1)
    lines = told(lab, standby)[before:].splitlines()
    for begin in ("peer|%s is silent on all links|" % active, "role|role standby -> promote",
                  "switch|unplanned %s -> %s, " % (active, standby)):
        t.equal(sum(x.startswith(begin) and x.endswith("|%s|%s" % (standby, x.split("|")[0]))
                    for x in lines), 1, "hooks %r among %r" % (begin, lines))


HOOK = """#!/bin/sh
echo "$MAILPAIR_EVENT|$MAILPAIR_TEXT|$MAILPAIR_ROLE|$MAILPAIR_NODE|$1" >>/run/lab/notify
"""


def lab_with_hook(t):
    lab = Lab(build=BUILD, install=t.install,
              hagent=[("notify", "/etc/mailpair/hook"), ("notify-max", 1000)],
              syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    real = lab._configure

    def configure(node):
        real(node)
        path = os.path.join(lab.node_dir(node), "etc/mailpair/hook")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755), "w") as f:
            f.write(HOOK)
    lab._configure = configure
    t.labs.append(lab)
    lab.start()
    lab.wait_in_step(60)
    return lab


@test
def what_the_pair_tells(t):
    lab = lab_with_hook(t)
    active, standby = lab.active(), lab.standby()
    expect_checks(t, lab, active)
    expect_metrics(t, lab, active, standby)
    expect_events(t, lab, active, standby)
    active, standby = standby, active
    lab.wait_in_step(60)
    expect_notified(t, lab, active, standby)
