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


def watchdogs(home):
    """Both nodes' folders with a device; by node."""
    devices = {}
    for node in NODES:
        os.mkdir(os.path.join(home, node))
        devices[node] = Device(os.path.join(home, node, "watchdog"))
    return devices


def watched_lab(t):
    """A lab in which both nodes have a watchdog, and the devices."""
    home = tempfile.mkdtemp(prefix="mailpair-lab-")
    devices = watchdogs(home)
    return t.lab(home=home, hagent=WATCHDOG), devices


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
        text = hactl(t, lab, standby, "watchdog", "test", "--fire", "--dry-run")
        t.true("WOULD    pet it no more" in text and "NOT PETTED" not in text, text)
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
def watchdog_fires_without_memory(t):
    """A node whose ha/state cannot be written must not serve."""
    lab, devices = watched_lab(t)
    try:
        active, standby = lab.active(), lab.standby()
        ha = "/var/lib/mailpair/ha"
        lab.execute(standby, "/bin/sh", "-c",
                    "mount --bind %s %s && mount -o remount,bind,ro %s" % (ha, ha, ha))
        wait_for("the watchdog fires", 10, devices[standby].expired)
        t.true("not petted: the agent is silent" in lab.log(standby, "hagentd"), "the log says why")
        t.equal(lab.active(), active, "the active stays")
    finally:
        for d in devices.values():
            d.end()


@test
def watchdog_and_an_agent_that_may_not_run(t):
    """It neither switches off what a killed hagentd left on, nor arms it at a cold boot."""
    lab, devices = watched_lab(t)
    try:
        active, standby = lab.active(), lab.standby()
        refusals = lambda: lab.log(active, "hagentd").count("the agent cannot run")
        # Both halves are killed, services run on, and the next agent is refused.
        old = lab.pid_of(active, "hagentd")
        signal_agent(lab, active, signal.SIGSTOP)
        lab.execute(active, "/bin/sh", "-c", "cd /var/lib/mailpair/ha && echo x >state && "
                    "echo x >state.2 && kill -9 %d %d" % (agent_pid(lab, active), old))
        wait_for("the next agent is refused", 10, refusals, 0.01)
        t.true(devices[active].last != b"V", "switched off, with services up")
        wait_for("the watchdog fires", 10, devices[active].expired)
        lab.kill(active)
        t.equal(lab.wait_active(30), standby, "who took over")
        # The same node from the start: nothing runs there, and nothing is armed.
        devices[active].last_s, before = None, refusals()
        lab.power_on(active)
        wait_for("the agent is refused again and again", 20, lambda: refusals() > before + 1)
        t.true(devices[active].last_s is None, "the device was opened")
    finally:
        for d in devices.values():
            d.end()


SLOW = """#!/bin/sh
# A resource that runs where it was started; its status hangs while there is a file "slow".
case $1 in
start) : >/run/slow-runs ;;
stop) rm -f /run/slow-runs ;;
status) [ ! -e /run/lab/slow ] || exec sleep 60; [ -e /run/slow-runs ] || exit 3 ;;
esac
"""


@test
def watchdog_and_a_group_nobody_knows(t):
    """The only agent that lived had not found out what runs here."""
    home = tempfile.mkdtemp(prefix="mailpair-lab-")
    devices = watchdogs(home)
    try:
        for node in NODES:
            with open(os.open(os.path.join(home, node, "slow-resource"),
                              os.O_CREAT | os.O_WRONLY, 0o755), "w") as f:
                f.write(SLOW)
        lab = t.lab(home=home, hagent=WATCHDOG + [("resource", "slow", [
            ("script", "/run/lab/slow-resource"), ("status-timeout-ms", 60000)])])
        active = lab.active()
        old, first = lab.pid_of(active, "hagentd"), agent_pid(lab, active)
        open(os.path.join(home, active, "slow"), "w").close()
        lab.execute(active, "/bin/sh", "-c", "kill -9 %d %d" % (old, first))
        wait_for("the next hagentd", 10, lambda: lab.pid_of(active, "hagentd") not in (0, old))
        wait_for("an agent that lives", 10, lambda: "watchdog armed" in lab.execute(
            active, "hactl", "status", check=False).stdout, 0.05)
        t.equal(lab.status(active)["self"]["role"], "boot", "role")
        # Then none may run any more.
        second = agent_pid(lab, active)
        signal_agent(lab, active, signal.SIGSTOP)
        lab.execute(active, "/bin/sh", "-c", "cd /var/lib/mailpair/ha && echo x >state && "
                    "echo x >state.2 && kill -9 %d" % second)
        wait_for("the next agent is refused", 10,
                 lambda: "the agent cannot run" in lab.log(active, "hagentd"), 0.01)
        wait_for("the watchdog fires", 10, devices[active].expired)
        t.true("stays on: it will reset this node" in lab.log(active, "hagentd"), "the log says so")
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


@test
def watchdog_is_required(t):
    lab = t.lab(in_step=False, hagent=WATCHDOG[:1] + [("watchdog", None, [
        ("device", "/run/lab/watchdog"), ("timeout-s", TIMEOUT_S), ("pet-ms", 200),
        ("required", True)])])
    for node in NODES:
        wait_for("the agent of " + node, 20, lambda: lab.status(node), 0.1)
    # A node that is alone and one that is not: both were asked more than once.
    wait_for("an agent that has looked around", 20, lambda: all(
        (lab.status(n) or {"peer": {"role": ""}})["peer"]["role"] == "wait" for n in NODES), 0.1)
    text = hactl(t, lab, NODES[0], "status", code=2)
    t.true("watchdog NOT ARMED" in text and "no node is known to serve" in text, text)
    text = hactl(t, lab, NODES[0], "failover", "--accept-loss", "--yes", code=14)
    t.true("watchdog" in text, text)
    # The device comes, and is found.
    devices = {n: Device(os.path.join(lab.node_dir(n), "watchdog")) for n in NODES}
    try:
        lab.wait_in_step(60)
        t.true("watchdog armed" in hactl(t, lab, lab.active(), "status"), "status")
        text = hactl(t, lab, lab.active(), "events")
        t.true("watchdog not armed: No such file" in text and "watchdog armed\n" in text, text)
    finally:
        for d in devices.values():
            d.end()


# ---- fencing -----------------------------------------------------------------

BMC = r"""#!/bin/sh
# off|status|on NODE - the other node's power, as the test holds it.
read -r mode </run/lab/bmc-mode
read -r power </run/lab/power
case $mode:$1 in
hangs:*) exec sleep 60 ;;
fails:*) echo "no route to the device" >&2; exit 1 ;;
lies:off) exit 0 ;;
*:off) : >/run/lab/order; exit 0 ;;
*:status) [ "$power" = on ] || exit 3; exit 0 ;;
esac
exit 1
"""


class Power:
    """What the fence devices switch.  serve() carries out the orders that were given."""

    def __init__(self, home):
        self.home, self.orders, self.role_before = home, [], None
        for node in NODES:
            os.mkdir(os.path.join(home, node))
            self._write(node, "bmc", BMC, 0o755)
            self._write(node, "power", "on\n")
        self.mode("honest")

    def _write(self, node, name, text, mode=0o644):
        path = os.path.join(self.home, node, name)
        with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def mode(self, word):
        for node in NODES:
            self._write(node, "bmc-mode", word + "\n")

    def on(self, victim):
        self._write(NODES[1 - NODES.index(victim)], "power", "on\n")

    def serve(self, lab):
        for node in NODES:
            order = os.path.join(self.home, node, "order")
            if not os.path.exists(order):
                continue
            os.unlink(order)
            victim = NODES[1 - NODES.index(node)]
            s = lab.status(node)
            self.orders.append((victim, s["self"]["role"] if s else None))
            if victim in lab.inits:
                lab.kill(victim)
            self._write(node, "power", "off\n")


def fenced_lab(t):
    home = tempfile.mkdtemp(prefix="mailpair-lab-")
    power = Power(home)
    devices = [("fence", "bmc-%s" % n, [("agent", "/run/lab/bmc"), ("node", n),
                                        ("timeout-ms", 4000)]) for n in NODES]
    lab = t.lab(home=home, hagent=[("mode", "fencing"), ("retry-ms", 500),
                                   ("fence-poll-ms", 100), ("fence-retry-max-ms", 1000)] + devices)
    return lab, power


def fence_words(lab, node):
    """Of the last order."""
    s = lab.status(node) or {}
    return ((s.get("fence") or {}).get("last") or {}).get("words", "")


@test
def fencing_before_take_over(t):
    lab, power = fenced_lab(t)
    active, standby = lab.active(), lab.standby()
    for node in NODES:
        text = hactl(t, lab, node, "fence", "test")
        t.true("answers, the node is on" in text, text)
        t.true("fence 1 ok" in hactl(t, lab, node, "status"), "status")
    t.equal(power.orders, [], "orders of a test")
    # Everything on the active stops at once; its kernel still answers.
    lab.execute(active, "/bin/sh", "-c", "kill -STOP -1")

    def taken_over():
        power.serve(lab)
        return lab.active() == standby
    wait_for("the take-over", 40, taken_over, 0.05)
    t.equal(power.orders, [(active, "standby")], "what was switched off, and as what")
    t.true("off, verified after" in fence_words(lab, standby), fence_words(lab, standby))
    t.true("fencing of %s verified: bmc-%s: off" % (active, active) in
           hactl(t, lab, standby, "events"), "events")
    power.on(active)
    lab.power_on(active)
    lab.wait_in_step(60)


@test
def fencing_that_fails(t):
    lab, power = fenced_lab(t)
    active, standby = lab.active(), lab.standby()
    power.mode("fails")
    text = hactl(t, lab, standby, "fence", "test", code=2)
    t.true("no route to the device" in text, text)
    text = hactl(t, lab, standby, "status", code=1)
    t.true("fence 1 NOT OK" in text and "does not answer as it should" in text, text)
    lab.kill(active)
    for mode, words in (("fails", "no route to the device"), ("lies", "but its status is on"),
                        ("hangs", "timed out")):
        power.mode(mode)
        wait_for("a fencing that " + mode, 30, lambda: words in fence_words(lab, standby), 0.1)
        t.equal(lab.status(standby)["self"]["role"], "standby", "while the device " + mode)
        t.true(not any(v["here"] for v in lab.status(standby)["vips"]), "addresses")
    text = hactl(t, lab, standby, "failover", "--yes", code=14)
    t.true("fence device" in text, text)
    # The device is mended: it is tried again by itself.
    power.mode("honest")

    def taken_over():
        power.serve(lab)
        return lab.active() == standby
    wait_for("the take-over", 40, taken_over, 0.05)
    t.equal([o[0] for o in power.orders], [active], "orders carried out")


STUCK = r"""#!/bin/sh
case $1 in
start) : >/run/lab/runs ;;
stop) [ ! -e /run/lab/stuck ] || { echo "it does not stop" >&2; exit 1; }; rm -f /run/lab/runs ;;
status) [ -e /run/lab/runs ] || exit 3 ;;
*) exit 2 ;;
esac
"""


@test
def resource_that_does_not_stop(t):
    """It may still serve: the watchdog resets the node, and the other one takes over."""
    home = tempfile.mkdtemp(prefix="mailpair-lab-")
    devices = watchdogs(home)
    try:
        for node in NODES:
            with open(os.open(os.path.join(home, node, "stuck-resource"),
                              os.O_CREAT | os.O_WRONLY, 0o755), "w") as f:
                f.write(STUCK)
        lab = t.lab(home=home, hagent=WATCHDOG + [
            ("retry-ms", 500), ("resource", "stuck", [("script", "/run/lab/stuck-resource")])])
        active, standby = lab.active(), lab.standby()
        open(os.path.join(home, active, "stuck"), "w").close()
        lab.execute(active, "hactl", "switchover", "--yes", "--timeout", "3", check=False)
        wait_for("the watchdog fires", 20, devices[active].expired)
        t.true(lab.active() is None, "nobody serves until then")
        lab.kill(active)
        t.equal(lab.wait_active(30), standby, "who took over")
    finally:
        for d in devices.values():
            d.end()
