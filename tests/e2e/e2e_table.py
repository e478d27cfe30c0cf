"""e2e_table.py - what happens in each failure, row by row: expected and seen.

A row makes one fault on a pair in step while a client sends mail without pause, waits
for what is expected, goes on looking for a while, and says what was seen.  Words:
    active   stays, moved, nobody; "two" when two nodes say that they are
    other    role of the node that is not active
    data     mode of the active node's log
    alarm    whether an alarm is on at the active node
    why      what the alarm of "one copy only" says
    client   the longest time without an accepted message: "nothing" is 1.5 s at most; "down":
             none is accepted any more; refused: the reply codes meanwhile
At the end of a test nothing that was accepted may be missing.  What another test, or a case of
tests/cases, shows in full stands in SHOWN with its name.
"""
import os
import re
import signal
import smtplib
import socket
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
DOWN_AFTER_S = 1.0      # an answer that was on its way
NOTHING, DOWN = 1.5, None       # the client's limits, in seconds

SHOWN = (
    # What the row of table_disks does not show.  There is no ballast: below low-water-size
    # deleting is refused as well.  Only the log's disk counts for handing over.
    ("disk full (active), and it may not hand over", "452 until there is room, no loss",
     "full_disk_answers_452_and_recovers"),
    ("slow disks (both), much mail", "bounded queue, then 451, no loss",
     "slow_disks_fill_the_queue_then_451"),
    # The disk is not marked suspect: with everything from the other node the node is a
    # standby again, and may take over.
    ("EIO on fdatasync (active)", "exits at once, the other serves, no loss; it catches up",
     "disk_of_active_loses_a_write"),
    ("EIO on fdatasync (standby)", "alone, catches up, no loss", "disk_of_standby_loses_a_write"),
    ("bad hash on read", "served from the other node, rewritten, told",
     "a_rotten_object_is_mended"),
    ("bad hash on both nodes", "found, told, never served as good", "a_rotten_object_is_found"),
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
    ("active hangs and goes on too early", "the other node takes nothing of it, no ack",
     "syncd_pair.py old_generation"),
    ("two nodes acknowledged alone", "the older side stays out, nothing is thrown away",
     "syncd_pair.py split"),
    ("who gives the quorum is down", "nothing; nobody takes over before it is back",
     "corosync.py gates"),
    ("corosync of one node hangs", "no quorum there, nothing else", "corosync.py hung"),
    ("corosync killed under load", "nothing", "corosync.py killed"),
    ("corosync's ring split, another link alive", "one half has the quorum, nothing else",
     "corosync.py split"),
    ("a second host has the service address", "alarm, goes on", "decision.py second_owner"),
    ("a resource was broken when the node booted", "alarm, stays out, no reset",
     "restarts.py broken_at_boot"),
    ("a resource fails again and again", "moves, not given back", "restarts.py not_well"),
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

    def gap(self, prober):
        """The longest time without a success since the fault."""
        times = [self.began] + [x for x in prober.ok if x > self.began] + [time.monotonic()]
        return max(b - a for a, b in zip(times, times[1:]))

    def client(self, limit):
        """(whether it is as expected, what was seen)"""
        gap = self.gap(self.prober)
        if limit is DOWN:
            down = not any(x > self.began + DOWN_AFTER_S for x in self.prober.ok)
            return down, "down" if down else "not down"
        return gap <= limit, "%.1f s" % gap

    def codes(self):
        return sorted({code for when, code in self.prober.refused if when > self.began})

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

    def row(self, name, fault, expected, client, heal=None, look_s=LOOK_S, also=()):
        """client: seconds, NOTHING or DOWN.  also: (word, expected, function) with more to
        look at in the end; the function gives whether it is good, and what was seen."""
        self.settle()
        self.began = time.monotonic()
        fault()
        seen, wrong = self.look(), []
        fits = lambda s: all(s.get(k) in (v if isinstance(v, tuple) else (v,))
                             for k, v in expected.items())
        end = self.began + LIMIT_S
        while not fits(seen) and time.monotonic() < end:
            seen = self.look()
        end = max(time.monotonic(), self.began) + look_s
        while time.monotonic() < end:
            seen = self.look()
            if not fits(seen):
                wrong.append(seen)
        good = not wrong and fits(seen)
        seen = dict(wrong[-1] if wrong else seen)
        wanted = {k: "|".join(v) if isinstance(v, tuple) else v for k, v in expected.items()}
        limit = {NOTHING: "nothing", DOWN: "down"}.get(client, "at most %s s" % client)
        for word, wanted[word], last_look in (("client", limit, lambda: self.client(client)),
                                              *also):
            fine, seen[word] = last_look()
            good = good and fine
        text = lambda d: ", ".join("%s %s" % x for x in d.items())
        self.t.row(name, text(wanted), text(seen))
        if not good:
            self.failed.append(name)
        if heal is not None:
            heal()

    def check_lost(self):
        accepted = set(self.prober.acked)
        there = {int(re.search(rb"^Subject: probe (\d+)\r$", m, re.M).group(1)) for m in
                 load.in_client(self.lab, load.read_imap, VIP, load.PROBE, self.lab.ca).values()}
        self.t.equal(sorted(accepted - there), [], "accepted messages that are lost")

    def end(self, lost=True):
        self.prober.stop_event.set()
        self.prober.join(10)
        self.t.equal(self.failed, [], "rows where expected and seen differ")
        if lost:
            self.check_lost()


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
    cut_row("one Ethernet path cut", ["eth0"], dict(stays, alarm="on"), NOTHING)
    cut_row("replication link cut, LAN alive", ["eth1"], dict(stays, alarm="on"), 3,
            whose="active")
    cut_row("serial line cut", ["serial"], dict(stays, alarm="on"), NOTHING)
    alone = {"active": "stays", "other": ("wait", "target", "standby"), "data": "SOLO",
             "alarm": "on"}
    cut_row("both Ethernet paths cut, serial alive", ["eth0", "eth1"], alone, 5)
    cut_row("standby isolated", ["eth0", "eth1", "serial"], alone, 5)
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
    table.row("agent dies, services alive", lambda: killed(kill_agent), whole, NOTHING)
    table.row("hagentd dies, services alive",
              lambda: killed(lambda: lab.kill_service(table.active, "hagentd")), whole, NOTHING)
    table.row("mail server process dies", lambda: lab.kill_service(table.active, "maild"),
              whole, 4)
    table.row("syncd of the standby dies", lambda: lab.kill_service(table.standby, "syncd"),
              whole, 5)
    table.row("standby down", lambda: lab.kill(table.standby),
              {"active": "stays", "other": "off", "data": "SOLO", "alarm": "on"}, 5,
              heal=lambda: lab.power_on(table.standby))
    table.settle()
    table.end()


class Holder(threading.Thread):
    """When a node has the service address: [[first, last], ...] seen."""

    def __init__(self, lab, node):
        super().__init__(daemon=True)
        self.lab, self.node, self.held = lab, node, []
        self.stop_event = threading.Event()

    def run(self):
        self.lab.enter(self.node)
        had = False
        while not self.stop_event.wait(0.01):
            with socket.socket() as s:
                try:
                    s.bind((VIP, 0))
                    now, has = time.monotonic(), True
                except OSError:
                    has = False
            if has and not had:
                self.held.append([now, now])
            elif has:
                self.held[-1][1] = now
            had = has


def holders(lab):
    both = {n: Holder(lab, n) for n in NODES}
    for h in both.values():
        h.start()
    return both


@test
def table_parted(t):
    """The nodes cannot hear each other, and everybody else hears both.  The addresses of the
    other node answer, so nothing is presumed: nobody takes over, nobody acknowledges alone,
    and what is there can be read."""
    table = Table(t)
    lab = table.lab
    reader = load.Prober(lab, VIP, "imap", table.user, lab.ca)
    reader.start()
    wait_for("the first login", 10, lambda: reader.ok)
    held = holders(lab)

    def owner():
        has = [n for n in NODES if held[n].held]
        whole = has == [table.active] and len(held[has[0]].held) == 1
        return whole, "one all the time" if whole else "%r" % {n: held[n].held for n in NODES}

    def reads():
        gap = table.gap(reader)
        return gap <= NOTHING, "%.1f s" % gap
    table.row("all channels between the nodes cut, clients and ping target see both",
              lambda: lab.part("probes"),
              {"active": "stays", "other": "standby", "data": "FROZEN", "alarm": "on"}, DOWN,
              heal=lambda: lab.part(False), look_s=10,
              also=[("refused", "451", lambda: (451 in table.codes(), table.codes())),
                    ("reading", "nothing", reads), ("owner", "one all the time", owner)])
    for h in (*held.values(), reader):
        h.stop_event.set()
    table.settle()
    table.check_lost()

    def modes():
        return [((lab.status(n) or {}).get("data") or {}).get("mode") for n in NODES]
    # Nobody can tell the other node from a dead one: the worst that serial+ping allows.
    # What was accepted is on one of the two then; nothing of it is thrown away.
    table.row("the same, and the address probes cut", lab.part,
              {"active": "two"}, 5)
    tips = {n: lab.status(n)["data"]["durable_lsn"] for n in NODES}
    lab.part(False)
    wait_for("one gives way", 20, lambda: sorted(modes()) in (
        ["SOLO", "SPLIT"], ["JOINING", "SPLIT"]), 0.1)
    old = NODES[modes().index("SPLIT")]
    t.true(lab.status(old)["data"]["durable_lsn"] >= tips[old], "its records are there")
    t.true(lab.active() != old, "who serves")
    table.end(lost=False)


@test
def table_isolated(t):
    table = Table(t)
    lab = table.lab
    wires = ["eth0", "eth1", "serial"]
    old = []

    held = holders(lab)

    def fault():
        old.append(table.active)
        cut(lab, old[0], *wires)

    # isolated-ms (2.8 s) after the last sign of anybody; and a second for a busy machine.
    def gone():
        after = held[old[0]].held[-1][1] - table.began
        return after <= 4, "after %.1f s" % after
    table.row("active isolated: no peer, no ping target", fault,
              {"active": "moved", "other": ("wait", "target", "standby"), "data": "SOLO",
               "alarm": "on"},
              10, heal=lambda: heal(lab, old[0], *wires),
              also=[("its address gone", "after 3 s (at most 4)", gone)])
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
              10, heal=resume)
    # Without a watchdog or a fence device nothing proves that it does not serve: its
    # kernel answers for its addresses.  With a watchdog it is reset: see SHOWN.
    table.row("active hangs, kernel answers, no watchdog", hang, {"active": "nobody"},
              DOWN, heal=resume)
    table.settle()
    table.end()


def failsync(t):
    lib = os.path.join(t.folder(), "failsync.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", lib,
                    os.path.join(TOP, "tests/lab/failsync.c")], check=True)
    return lib


INITDEAD_MS = 2000
OUT = {"active": "stays", "other": ("wait", "target"), "data": ("SOLO", "JOINING"), "alarm": "on"}


@test
def table_disks(t):
    """Full to the last byte, and slow: of the standby, of both, of the active."""
    table = Table(t, preload=failsync(t), var_size="96M", maild=[("store-low-water", "8M")],
                  syncd=[("segment-size", "4M"), ("retain-size", "8M"), ("low-water-size", "16M"),
                         ("slow-sync-ms", 150), ("slow-window-ms", 2000)])
    lab = table.lab
    node = []

    def fill(which):
        node[:] = [which]
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
    table.row("disk full (standby)", lambda: fill(table.standby),
              dict(OUT, why="the standby is left out: its log's disk is full"), 5, heal=empty)
    table.settle()
    t.equal(daemons(table.standby), before, "daemons of the node whose disk was full")
    before = daemons(table.active)
    table.row("disk full (active)", lambda: fill(table.active),
              {"active": "moved", "data": ("SOLO", "JOINING"), "alarm": "on",
               "why": "the standby is left out: its log's disk is full"}, 10, heal=empty,
              also=[("refused", "452", lambda: (452 in table.codes(), table.codes()))])
    table.settle()
    t.equal(daemons(table.standby), before, "daemons of the node whose disk was full")
    table.row("slow disk (standby)", lambda: slow(table.standby),
              dict(OUT, why="the standby is left out: its log's disk is slow"), 5, heal=fast)
    table.row("slow disks (both)", lambda: slow(*NODES),
              {"active": "stays", "other": "standby", "data": "SYNC", "alarm": "on"}, 5,
              heal=fast)
    table.row("slow disk (active)", lambda: slow(table.active),
              {"active": "moved", "data": ("SOLO", "JOINING"), "alarm": "on",
               "why": "the standby is left out: its log's disk is slow"}, 5, heal=fast)
    table.settle()
    history = lab.execute(table.active, "hactl", "history").stdout
    for word in ("full", "slow"):
        t.true("the log's disk of the active node was " + word in history,
               "history says why it moved: " + history)
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
              dict(OUT, why="the standby is left out: it is too far behind"), 5, heal=fast)
    table.row("standby lags longer than T_hold", lambda: behind(4000, 0),
              dict(OUT, why="the standby is left out: it does not answer in time"), 5, heal=fast)
    table.settle()
    table.end()


@test
def table_power(t):
    """Both nodes lose power and one returns alone."""
    table = Table(t, hagent=[("initdead-ms", INITDEAD_MS)])
    lab = table.lab
    on = []

    def both_off(alone):
        if alone:
            lab.kill(table.standby)
            wait_for("one copy", 10, lambda: table.look().get("data") == "SOLO")
        for node in lab.on_nodes():
            lab.kill(node)
        table.began = time.monotonic()
        lab.power_on(table.active)
        on[:] = [time.monotonic()]

    def waited():
        first = next((x for x in table.prober.ok if x > on[0]), None)
        return (first is not None and first - on[0] >= INITDEAD_MS / 1000,
                "%.1f s" % (first - on[0]) if first else "for ever")

    def said():
        r = lab.execute(table.active, "hactl", "status", check=False)
        return r.returncode == 2, "exit %d" % r.returncode
    table.row("both power off, the active of a pair in step returns alone",
              lambda: both_off(False), {"active": "nobody"}, DOWN, look_s=3 * INITDEAD_MS / 1000,
              heal=lambda: lab.power_on(table.standby),
              also=[("hactl status", "exit 2", said)])
    table.row("both power off, who acknowledged alone returns alone", lambda: both_off(True),
              {"active": "stays", "other": "off", "data": "SOLO", "alarm": "on"}, 10,
              heal=lambda: lab.power_on(table.standby),
              also=[("waits", "initdead", waited)])
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
        table.row(name, lambda: step(seconds), expected, NOTHING)
        r = lab.execute(table.standby, "hactl", "check", "clock", check=False)
        t.equal((r.returncode, "CRITICAL" in r.stdout), (2, True), "check clock: " + r.stdout)
        step(0)
    table.settle()
    table.end()


def case(program, name):
    """Whether this program of tests/cases, which "run" there starts, has such a case."""
    path = os.path.join(TOP, "tests/cases", program)
    if not os.access(path, os.X_OK):
        return False
    with open(path) as f:
        return re.search(r"^def (?:case_)?%s\(" % re.escape(name), f.read(), re.M) is not None


@test
def table_shown_elsewhere(t):
    """NAME of a test here, or PROGRAM NAME of a case."""
    names = [f.__name__ for f in harness.TESTS]
    for row, expected, name in SHOWN:
        there = case(*name.split(" ")) if " " in name else name in names
        t.true(there, "there is no test or case " + name)
        t.row(row, expected, ("case " if " " in name else "test ") + name)
