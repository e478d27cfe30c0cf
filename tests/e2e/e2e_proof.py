"""e2e_proof.py - what proves that a node does not serve: a watchdog that resets it, and
fence devices that switch it off.

The watchdog device of a node is a pipe; who reads it counts the time since the last pet,
and when it is over the node's power is cut, as the reset would do.
"""
import json
import os
import signal
import tempfile
import threading
import time

from harness import test
from lab import NODES, wait_for

TIMEOUT_S = 2
WATCHDOG = [("deadtime-ms", 5000),
            ("watchdog", None, [("device", "/run/lab/watchdog"), ("timeout-s", TIMEOUT_S),
                                ("pet-ms", 200)])]


class Device:
    """A watchdog device: armed by the first byte, switched off by a V before the close."""

    def __init__(self, path):
        os.mkfifo(path, 0o600)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.last_s, self.last, self.longest_s, self.ended = None, b"", 0.0, False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        wait = threading.Event()
        while not self.ended:
            try:
                got = os.read(self.fd, 4096)
            except BlockingIOError:
                got = b""
            now = time.monotonic()
            if got:
                if self.last_s is not None:
                    self.longest_s = max(self.longest_s, now - self.last_s)
                self.last_s, self.last = now, got[-1:]
            wait.wait(0.01)

    def expired(self):
        """It would have reset the node by now."""
        return (self.last_s is not None and self.last != b"V" and
                time.monotonic() - self.last_s > TIMEOUT_S)

    def end(self):
        self.ended = True
        self.thread.join()
        os.close(self.fd)


def watched_lab(t, **kw):
    """A lab in which both nodes have a watchdog, and the devices by node."""
    home = tempfile.mkdtemp(prefix="mailpair-lab-")
    devices = {}
    for node in NODES:
        os.mkdir(os.path.join(home, node))
        devices[node] = Device(os.path.join(home, node, "watchdog"))
    lab = t.lab(home=home, hagent=WATCHDOG + kw.pop("hagent", []), **kw)
    return lab, devices


def agent_pid(lab, node):
    """Inside the node."""
    return min(lab.children(node, lab.pid_of(node, "hagentd")))


def signal_agent(lab, node, sig):
    lab.execute(node, "/bin/sh", "-c", "kill -%d %d" % (int(sig), agent_pid(lab, node)))


def hactl(t, lab, node, *args, code=0):
    r = lab.execute(node, "hactl", *args, check=False)
    t.equal(r.returncode, code, "hactl %s on %s: %s%s" % (" ".join(args), node, r.stdout, r.stderr))
    return r.stdout + r.stderr


def watchdog_is_shown(t, lab, node):
    t.true("watchdog armed %d s" % TIMEOUT_S in hactl(t, lab, node, "status"), "status")
    w = json.loads(hactl(t, lab, node, "watchdog", "test", "--json").splitlines()[0])
    t.true(w["armed"] and w["timeout_ms"] == TIMEOUT_S * 1000, "watchdog test: %r" % w)
    t.true(0 <= w["pet_age_ms"] < TIMEOUT_S * 500 and 0 <= w["alive_age_ms"] < TIMEOUT_S * 500,
           "ages: %r" % w)
    t.true("WATCHDOG /run/lab/watchdog armed" in hactl(t, lab, node, "watchdog", "test"), "text")
    hactl(t, lab, node, "watchdog", "test", "--fire", code=10)      # nobody confirmed it
    hactl(t, lab, node, "fence", "test", code=12)


@test
def watchdog_resets_a_hung_node(t):
    lab, devices = watched_lab(t)
    try:
        active, standby = lab.active(), lab.standby()
        for node in NODES:
            watchdog_is_shown(t, lab, node)
        # An agent that dies is replaced within the lease, and nothing is reset.
        signal_agent(lab, standby, signal.SIGKILL)
        wait_for("the new agent", 10,
                 lambda: (lab.status(standby) or {"self": {"role": ""}})["self"]["role"] == "standby",
                 0.05)
        devices[standby].longest_s = 0.0
        # One that hangs is not petted for; its node still answers for its addresses, so
        # nobody takes them before the reset.
        signal_agent(lab, active, signal.SIGSTOP)
        began = time.monotonic()
        wait_for("the watchdog fires", 20, devices[active].expired)
        took = time.monotonic() - began
        t.true(TIMEOUT_S <= took < 1.5 * TIMEOUT_S + 3, "fired after %.1f s" % took)
        s = lab.status(standby)
        t.equal(s["self"]["role"], "standby", "role of the standby until then")
        lab.kill(active)
        t.equal(lab.wait_active(30), standby, "who took over")
        t.true(not devices[standby].expired(), "the other watchdog is quiet")
        # Ended in order: switched off.
        lab.shutdown(standby)
        t.equal(devices[standby].last, b"V", "the last byte to the device")
        t.true(devices[standby].longest_s < TIMEOUT_S, "longest gap %.1f s" %
               devices[standby].longest_s)
    finally:
        for d in devices.values():
            d.end()


@test
def watchdog_fires_when_asked(t):
    lab, devices = watched_lab(t)
    try:
        active, standby = lab.active(), lab.standby()
        text = hactl(t, lab, standby, "watchdog", "test", "--fire", "--yes")
        t.true("NOT PETTED: an operator lets it fire" in text, text)
        wait_for("the watchdog fires", 10, devices[standby].expired)
        lab.kill(standby)
        devices[standby].last_s = None
        t.equal(lab.active(), active, "the active stays")
        # Back with the same device, and armed again.
        lab.power_on(standby)
        lab.wait_in_step(60)
        wait_for("armed", 15, lambda: "watchdog armed" in lab.execute(
            standby, "hactl", "status", check=False).stdout, 0.1)
        # Killed, both halves: the device stays on, and the next hagentd pets it in time.
        devices[active].longest_s = 0.0
        old = lab.pid_of(active, "hagentd")
        lab.execute(active, "/bin/sh", "-c", "kill -9 %d %d" % (old, agent_pid(lab, active)))
        wait_for("the next hagentd", 10, lambda: lab.pid_of(active, "hagentd") not in (0, old) and
                 lab.active() == active, 0.1)
        wait_for("armed again", 10, lambda: "watchdog armed" in lab.execute(
            active, "hactl", "status", check=False).stdout, 0.1)
        t.true(devices[active].longest_s < TIMEOUT_S, "longest gap %.1f s" %
               devices[active].longest_s)
    finally:
        for d in devices.values():
            d.end()


@test
def watchdog_is_missing(t):
    lab = t.lab(hagent=[("deadtime-ms", 5000), ("watchdog", None, [
        ("device", "/dev/watchdog"), ("timeout-s", TIMEOUT_S)])])
    text = hactl(t, lab, lab.active(), "status", code=1)
    t.true("watchdog NOT ARMED" in text and "No such file" in text, text)
    text = hactl(t, lab, lab.active(), "watchdog", "test", code=2)
    t.true("ERROR the watchdog is not armed" in text, text)


