"""e2e_table.py - what happens in each failure, row by row: expected and seen.

A row makes one fault on a pair in step while a client sends mail without pause, waits
for what is expected, goes on looking for a while, and says what was seen.  Words:
    active   stays, moved, nobody; "two" when two nodes say that they are
    other    role of the node that is not active
    data     mode of the active node's log
    alarm    whether an alarm is on at the active node
    why      what the alarm of "one copy only" says
    client   nothing (no answer missed for 1.5 s), short (at most 5 s), failover (10 s)
What another test shows in full stands in SHOWN with its name.
"""
import os
import signal
import smtplib
import subprocess
import threading
import time

import exercise
import harness
import load
import mailgen
from harness import TOP, test
from lab import LabError, NODES, VIP, wait_for

LOOK_S = 3.0            # longer than deadtime, T_hold and the search for evidence begin with
LIMIT_S = 20.0
CLIENT = ((1500, "nothing"), (5000, "short"), (10000, "failover"))

SHOWN = (
    ("disk full (active)", "452, no loss", "full_disk_answers_452_and_recovers"),
    ("slow disks (both), much mail", "bounded queue, then 451, no loss",
     "slow_disks_fill_the_queue_then_451"),
    ("EIO on fdatasync (active)", "exits at once, the other serves, no loss",
     "disk_of_active_loses_a_write"),
    ("EIO on fdatasync (standby)", "alone, catches up, no loss", "disk_of_standby_loses_a_write"),
    # It is not read from the other node instead: that is a repair by the operator.
    ("bad hash on read", "found, told, never served as good", "a_rotten_object_is_found"),
    ("damaged log", "refused, says what to do", "a_rotten_log_is_refused"),
    ("both power off, both return", "newest history leads, no loss",
     "both_nodes_lose_power_and_return"),
    ("both power off, the stale one returns", "waits", "stale_node_alone_does_not_serve"),
    ("standby down, commit = strict", "451 until it is back",
     "strict_without_standby_answers_451"),
    ("wrong or foreign peer", "refused, counted, nobody is active", "stranger_with_another_key"),
    ("hanging node with a watchdog", "is reset", "watchdog_resets_a_hung_node"),
    ("dead node with a fence device", "verified off, then taken over",
     "fencing_before_take_over"),
    ("a resource does not stop", "no release; reset by the watchdog",
     "resource_that_does_not_stop"),
    ("power cut of the active under load", "no loss, outage at most 10 s", "kill_active"),
)


class Table:
    """A pair under a client's eyes, and the rows of one test."""

    def __init__(self, t, syncd=(), **kw):
        self.t = t
        self.lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000), *syncd], **kw)
        ex = exercise.Exercise(self.lab, mailgen.generate(1), say=t.say, users=1)
        ex.add_users()
        self.user = ex.users[0]
        self.prober = load.Prober(self.lab, VIP, "smtp", self.user, self.lab.ca)
        self.prober.start()
        wait_for("the first mail", 10, lambda: self.prober.ok)
        self.failed = []

    def settle(self):
        """Both nodes in step, nothing wrong: where each row begins."""
        self.lab.wait_in_step(60)
        try:
            wait_for("a healthy pair", 30, lambda: all(self.lab.execute(
                n, "hactl", "status", check=False).returncode == 0 for n in NODES), 0.2)
        except LabError as e:
            raise AssertionError("%s:\n%s" % (e, "\n".join(
                r.stdout + r.stderr for r in (self.lab.execute(n, "hactl", "status", check=False)
                                              for n in NODES)))) from e
        self.active = self.lab.active()
        self.standby = NODES[1 - NODES.index(self.active)]

    def client(self):
        """The longest time without an accepted message since the fault."""
        times = [self.began] + [x for x in self.prober.ok if x > self.began] + [time.monotonic()]
        gap = max(b - a for a, b in zip(times, times[1:])) * 1000
        return next((word for ms, word in CLIENT if gap <= ms), "%d ms" % gap)

    def look(self):
        all_ = {n: s for n, s in ((n, self.lab.status(n)) for n in self.lab.on_nodes()) if s}
        serving = [n for n, s in all_.items() if self.lab._serves(s)]
        if len(serving) != 1:
            return {"active": "two" if serving else "nobody"}
        s = all_[serving[0]]
        other = all_.get(NODES[1 - NODES.index(serving[0])])
        why = [a["text"] for a in s["alarms"] if a["name"] == "alone"] or ["-"]
        return {"why": why[0], "active": "stays" if serving[0] == self.active else "moved",
                "other": other["self"]["role"] if other else "off",
                "data": (s.get("data") or {}).get("mode", "-"),
                "alarm": "on" if s["alarms"] else "off"}

    def row(self, name, fault, expected, client, heal=None):
        """client: the worst word that is allowed."""
        self.settle()
        words = [word for _, word in CLIENT]
        allowed = words[:words.index(client) + 1]
        self.began = time.monotonic()
        fault()
        seen, wrong = self.look(), []
        fits = lambda s: all(s.get(k) in (v if isinstance(v, tuple) else (v,))
                             for k, v in expected.items())
        end = self.began + LIMIT_S
        while not fits(seen) and time.monotonic() < end:
            seen = self.look()
        end = max(time.monotonic(), self.began) + LOOK_S
        while time.monotonic() < end:
            seen = self.look()
            if seen.get("active") == "two" or not fits(seen):
                wrong.append(seen)
        seen["client"] = self.client()
        good = not wrong and fits(seen) and seen["client"] in allowed
        if wrong:
            seen = dict(wrong[-1], client=seen["client"])
        text = lambda d: ", ".join("%s %s" % (k, "|".join(v) if isinstance(v, tuple) else v)
                                   for k, v in d.items())
        self.t.row(name, text(dict(expected, client="|".join(allowed))), text(seen))
        if not good:
            self.failed.append(name)
        if heal is not None:
            heal()

    def end(self):
        self.prober.stop_event.set()
        self.prober.join(10)
        self.t.equal(self.failed, [], "rows where expected and seen differ")


def cut(lab, node, *wires):
    for wire in wires:
        if wire == "serial":
            lab.cut_serial()
        else:
            lab.cut(node, wire)


def heal(lab, node, *wires):
    for wire in wires:
        if wire == "serial":
            lab.cut_serial(False)
        else:
            lab.heal(node, wire)


@test
def table_paths(t):
    table = Table(t)
    lab = table.lab

    def cut_row(name, wires, expected, client, whose="standby"):
        node = []

        def fault():
            node.append(getattr(table, whose))
            cut(lab, node[0], *wires)
        table.row(name, fault, expected, client, heal=lambda: heal(lab, node[0], *wires))
    stays = {"active": "stays", "other": "standby", "data": "SYNC"}
    cut_row("one Ethernet path cut", ["eth0"], dict(stays, alarm="on"), "nothing")
    cut_row("replication link cut, LAN alive", ["eth1"], dict(stays, alarm="on"), "short",
            whose="active")
    cut_row("serial line cut", ["serial"], dict(stays, alarm="on"), "nothing")
    alone = {"active": "stays", "other": ("wait", "target", "standby"), "data": "SOLO",
             "alarm": "on"}
    cut_row("both Ethernet paths cut, serial alive", ["eth0", "eth1"], alone, "short")
    cut_row("all channels cut, both alive", ["eth0", "eth1", "serial"], alone, "failover")
    table.settle()
    table.end()


@test
def table_processes(t):
    table = Table(t)
    lab = table.lab
    whole = {"active": "stays", "other": "standby", "data": "SYNC"}

    def boot():
        return ((lab.status(table.active) or {}).get("self") or {}).get("boot")

    def killed(kill):
        """Kills, and waits for the agent's successor: until then a status is none, or old."""
        before = boot()
        kill()
        wait_for("another agent", 10, lambda: boot() not in (None, before), 0.02)

    def kill_agent():
        agent = min(lab.children(table.active, lab.pid_of(table.active, "hagentd")))
        lab.execute(table.active, "/bin/sh", "-c", "kill -9 %d" % agent)
    table.row("agent dies, services alive", lambda: killed(kill_agent), whole, "nothing")
    table.row("hagentd dies, services alive",
              lambda: killed(lambda: lab.kill_service(table.active, "hagentd")), whole, "nothing")
    table.row("mail server process dies", lambda: lab.kill_service(table.active, "maild"),
              whole, "short")
    table.row("syncd of the standby dies", lambda: lab.kill_service(table.standby, "syncd"),
              whole, "short")
    table.row("standby down", lambda: lab.kill(table.standby),
              {"active": "stays", "other": "off", "data": "SOLO", "alarm": "on"}, "failover",
              heal=lambda: lab.power_on(table.standby))
    table.settle()
    table.end()


@test
def table_isolated(t):
    table = Table(t)
    lab = table.lab
    wires = ["eth0", "eth1", "serial"]
    old = []

    def fault():
        old.append(table.active)
        cut(lab, old[0], *wires)
    table.row("active isolated: no peer, no ping target", fault,
              {"active": "moved", "other": ("wait", "target", "standby"), "data": "SOLO",
               "alarm": "on"},
              "failover", heal=lambda: heal(lab, old[0], *wires))
    table.settle()
    table.end()


def signal_all(lab, node, sig):
    """Every process of the node but its first, which the kernel shields."""
    lab.execute(node, "/bin/sh", "-c", "kill -%d -1" % sig)


@test
def table_hang_and_pause(t):
    table = Table(t)
    lab = table.lab
    node = []

    def hang():
        node[:] = [table.active]
        signal_all(lab, node[0], signal.SIGSTOP)

    def resume():
        for wire in ("eth0", "eth1"):
            lab.heal(node[0], wire)
        signal_all(lab, node[0], signal.SIGCONT)

    def pause():
        """A paused machine: its kernel does not answer either."""
        node[:] = [table.active]
        for wire in ("eth0", "eth1"):
            lab.cut(node[0], wire)
        signal_all(lab, node[0], signal.SIGSTOP)
    table.row("active paused (machine stopped)", pause, {"active": "moved", "data": "SOLO"},
              "failover", heal=resume)
    # Without a watchdog or a fence device nothing proves that it does not serve: its
    # kernel answers for its addresses.  With a watchdog it is reset: see SHOWN.
    table.row("active hangs, kernel answers, no watchdog", hang, {"active": "nobody"},
              "failover", heal=resume)
    table.settle()
    table.end()


def failsync(t):
    lib = os.path.join(t.folder(), "failsync.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", lib,
                    os.path.join(TOP, "tests/lab/failsync.c")], check=True)
    return lib


OUT = {"active": "stays", "other": ("wait", "target"), "data": ("SOLO", "JOINING"), "alarm": "on"}


@test
def table_disks(t):
    """Full to the last byte, and slow: of the standby, of both, of the active."""
    table = Table(t, preload=failsync(t), var_size="96M", maild=[("store-low-water", "8M")],
                  syncd=[("segment-size", "4M"), ("retain-size", "8M"), ("low-water-size", "16M"),
                         ("slow-sync-ms", 150), ("slow-window-ms", 2000)])
    lab = table.lab
    node = []

    def fill():
        node[:] = [table.standby]
        lab.execute(node[0], "/bin/sh", "-c", "for size in 65536 512 1; do dd if=/dev/zero bs=$size "
                    "of=/var/lib/mailpair/ballast oflag=append conv=notrunc 2>/dev/null; done; "
                    "[ $(df --output=avail -B1 /var/lib/mailpair | tail -1) = 0 ]")

    def empty():
        lab.execute(node[0], "rm", "/var/lib/mailpair/ballast")

    def slow(*nodes):
        node[:] = nodes
        for n in nodes:
            lab.slow_sync(n, 250)

    def fast():
        for n in node:
            lab.slow_sync(n, 0)
    daemons = lambda n: [lab.pid_of(n, s) for s in ("hagentd", "syncd", "maild")]
    table.settle()
    before = daemons(table.standby)
    table.row("disk full (standby)", fill,
              dict(OUT, why="the standby is left out: its log's disk is full"), "short", heal=empty)
    table.settle()
    t.equal(daemons(table.standby), before, "daemons of the node whose disk was full")
    table.row("slow disk (standby)", lambda: slow(table.standby),
              dict(OUT, why="the standby is left out: its log's disk is slow"), "short", heal=fast)
    table.row("slow disks (both)", lambda: slow(*NODES),
              {"active": "stays", "other": "standby", "data": "SYNC", "alarm": "on"}, "short",
              heal=fast)
    table.row("slow disk (active)", lambda: slow(table.active),
              {"active": "moved", "data": ("SOLO", "JOINING"), "alarm": "on",
               "why": "the standby is left out: its log's disk is slow"}, "short", heal=fast)
    table.settle()
    t.true("the log's disk of the active node was slow" in
           lab.execute(table.active, "hactl", "history").stdout, "history says why it moved")
    table.end()


@test
def table_lag(t):
    """A standby that answers, but is behind: in bytes, and in time."""
    table = Table(t, preload=failsync(t),
                  syncd=[("lag-max-size", "1M"), ("slow-sync-ms", 10000),
                         ("slow-window-ms", 20000)])
    lab = table.lab
    node, senders = [], []
    big = b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 6000

    def send():
        lab.enter("client")
        s = smtplib.SMTP(VIP, 25, timeout=60, local_hostname="client.example")
        s.sendmail("a@client.example", [table.user], big)
        s.close()

    def behind(ms, mails):
        node[:] = [table.standby]
        lab.slow_sync(node[0], ms)
        senders[:] = [threading.Thread(target=send) for _ in range(mails)]
        for s in senders:
            s.start()

    def fast():
        lab.slow_sync(node[0], 0)
        for s in senders:
            s.join(60)
    table.row("standby lags more than lag-max-size", lambda: behind(1000, 8),
              dict(OUT, why="the standby is left out: it is too far behind"), "short", heal=fast)
    table.row("standby lags longer than T_hold", lambda: behind(4000, 0),
              dict(OUT, why="the standby is left out: it does not answer in time"), "short", heal=fast)
    table.settle()
    table.end()


@test
def table_clock_step(t):
    """Both directions, far: the wall clock of every process of one node."""
    lib = os.path.join(t.folder(), "stepclock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", lib,
                    os.path.join(TOP, "tests/lab/stepclock.c")], check=True)
    table = Table(t, preload=lib)
    lab = table.lab

    def step(seconds):
        with open(os.path.join(lab.node_dir(table.active), "clock-offset"), "w") as f:
            f.write("%d\n" % seconds)
    expected = {"active": "stays", "other": "standby", "data": "SYNC", "alarm": "off"}
    years = 5 * 365 * 86400
    for name, seconds in (("clock steps 5 years ahead", years), ("clock steps 5 years back",
                                                                -years)):
        table.row(name, lambda: step(seconds), expected, "nothing")
        r = lab.execute(table.standby, "hactl", "check", "clock", check=False)
        t.equal((r.returncode, "CRITICAL" in r.stdout), (2, True), "check clock: " + r.stdout)
        step(0)
    table.settle()
    table.end()


@test
def table_shown_elsewhere(t):
    names = [f.__name__ for f in harness.TESTS]
    for row, expected, name in SHOWN:
        t.true(name in names, "there is no test " + name)
        t.row(row, expected, "test " + name)
