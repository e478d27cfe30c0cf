#!/usr/bin/python3
"""campaign.py - random faults on real pairs under SMTP and IMAP load, counted from outside.

A schedule is what one seed says: one to three faults at random moments, each ended after
a random time, some of them before the one before has healed.  Meanwhile mail comes over
SMTP, one client reads each mailbox as it grows, and one appends, flags and expunges.  When
everything is whole and in step again, all that was acknowledged is looked for.

    N=n       schedules (100)          SEED=n    the first one's seed (1)
    JOBS=n    pairs at a time (1)      ACKS=n    acknowledgements each at least (1000)
    LOGS=dir  the daemons' logs of each schedule that failed
    O=dir     the build      HOOK=name  a planned mistake (hook.h), of a build with HOOKS=1

A line for each schedule; the last one is
    schedules=N acknowledged=N lost=N duplicated=N uid_reused=N violations=N
where violations are all the rest: read and then gone, changed bytes, a flag or a removal
that was answered OK and does not hold, a pair that does not heal.  Exit 1 unless all
but the first two are 0.

One schedule of ten is a split: everything between the nodes is cut while both reach clients
and ping target, and cannot ask for each other's addresses, which a pair without fence device
and quorum cannot exclude.  Both serve then; afterwards `hactl split resolve` makes them one, and
what was acknowledged by either is looked for.  What a client read may have another UID then,
but its UID names nothing else, and UIDNEXT is not below what either side told; a flag or a removal
that the other side contradicts may not hold, and a mailbox that both made is two.
"""
import errno
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests/lab"))
sys.path.insert(0, HERE)
import lab as lab_module  # noqa: E402
import load             # noqa: E402
import mailgen          # noqa: E402
import readers          # noqa: E402
from lab import LabError, NODES, VIP  # noqa: E402

LIFE = 10               # schedules of one pair; then it gets new disks
USERS, SENDERS, RATE = 3, 6, 30.0
HEAL_S = 90             # everything whole: in step again by then
DISK = "768M"           # of each node
INSTALLED = PRELOAD = BUILD = None


# ---- faults: each makes one, and gives what ends it ---------------------------------
def _side(rng, lab):
    """A node that is on; the active one somewhat more often."""
    active = lab.active()
    on = lab.on_nodes()
    return active if active and rng.random() < 0.6 else rng.choice(on)


def go_on(lab, node):
    """A node that was off meanwhile has nothing that stands still."""
    if node in lab.on_nodes():
        lab.execute(node, "/bin/sh", "-c", "kill -CONT -1")


def power(rng, lab, node):
    lab.kill(node)
    return lambda: lab.power_on(node)


def wires(rng, lab, node):
    cut = rng.choice([("eth0",), ("eth1",), ("eth0", "eth1")])
    for wire in cut:
        lab.cut(node, wire)

    def heal():
        for wire in cut:
            lab.heal(node, wire)
    return heal


def serial(rng, lab, node):
    lab.cut_serial()
    return lambda: lab.cut_serial(False)


def pause(rng, lab, node):
    """The machine stands still: nothing of it answers, and then it goes on."""
    for wire in ("eth0", "eth1"):
        lab.cut(node, wire)
    lab.execute(node, "/bin/sh", "-c", "kill -STOP -1")

    def resume():
        for wire in ("eth0", "eth1"):
            lab.heal(node, wire)
        go_on(lab, node)
    return resume


def hang(rng, lab, node):
    """Its processes stand still, its kernel answers."""
    lab.execute(node, "/bin/sh", "-c", "kill -STOP -1")
    return lambda: go_on(lab, node)


def service(rng, lab, node):
    name = rng.choice(["syncd", "maild", "hagentd"])
    if lab.pid_of(node, name):
        lab.kill_service(node, name, signal.SIGKILL)
    return lambda: None


def agent(rng, lab, node):
    executor = lab.pid_of(node, "hagentd")
    children = lab.children(node, executor) if executor else {}
    if children:
        lab.execute(node, "/bin/sh", "-c", "kill -9 %d" % min(children), check=False)
    return lambda: None


def lost_sync(rng, lab, node):
    lab.lose_sync(node)
    return lambda: lab.lose_sync(node, False)


def slow_sync(rng, lab, node):
    lab.slow_sync(node, rng.choice([100, 400, 2000]))
    return lambda: lab.slow_sync(node, 0)


def read_only(rng, lab, node):
    """An error made the file system read only; the machine is started anew for it."""
    lab.disk_read_only(node)

    def anew():
        if node in lab.on_nodes():
            lab.kill(node)
            lab.power_on(node)
    return anew


def ballast_off(lab, node):
    """From outside: the node may be off.  A disk that is read only keeps it until later."""
    try:
        os.unlink(os.path.join(lab.node_dir(node), "var/ballast"))
    except OSError as e:
        if e.errno not in (errno.ENOENT, errno.EROFS):
            raise


def full(rng, lab, node):
    lab.execute(node, "/bin/sh", "-c", "dd if=/dev/zero of=/var/lib/mailpair/ballast "
                "bs=1M 2>/dev/null || true", timeout=120)
    return lambda: ballast_off(lab, node)


def switchover(rng, lab, node):
    active = lab.active()
    if active:
        to = NODES[1 - NODES.index(active)]
        lab.execute(active, "hactl", "switchover", "--to", to, "--yes", check=False)
    return lambda: None


def parted(rng, lab, node):
    lab.part()
    return lambda: lab.part(False)


SPLITS = 0.1            # share of schedules with nothing else


# (fault, weight, longest time)
FAULTS = ((power, 5, 5.0), (wires, 4, 5.0), (serial, 1, 4.0), (pause, 3, 5.0), (hang, 2, 4.0),
          (service, 4, 0.5), (agent, 1, 0.5), (lost_sync, 2, 1.0), (read_only, 1, 5.0),
          (slow_sync, 2, 5.0), (full, 1, 3.0), (switchover, 3, 0.2))


def plan(rng):
    """[(seconds after the one before, fault, seconds until it ends, wait for step)]"""
    out = []
    if rng.random() < SPLITS:
        return [(rng.uniform(0.2, 2.5), parted, rng.uniform(1.0, 9.0), True)]
    for _ in range(rng.randint(1, 3)):
        fault, _, longest = rng.choices(FAULTS, [w for _, w, _ in FAULTS])[0]
        out.append((rng.uniform(0.2, 2.5), fault, rng.uniform(0.05, longest),
                    rng.random() < 0.7))
    return out


# ---- one schedule -------------------------------------------------------------------
class Counts:
    FIELDS = ("acknowledged", "lost", "duplicated", "uid_reused", "violations")

    def __init__(self):
        self.notes, self.schedules = [], 0
        for f in self.FIELDS:
            setattr(self, f, 0)

    def add(self, other):
        self.schedules += other.schedules
        for f in self.FIELDS:
            setattr(self, f, getattr(self, f) + getattr(other, f))

    def violation(self, text):
        self.violations += 1
        self.notes.append(text)

    def bad(self):
        return self.lost + self.duplicated + self.uid_reused + self.violations

    def line(self):
        return "schedules=%d %s" % (self.schedules, " ".join(
            "%s=%d" % (f, getattr(self, f)) for f in self.FIELDS))


class Schedule:
    def __init__(self, lab, seed, acks):
        self.lab, self.seed, self.acks = lab, seed, acks
        self.rng = random.Random(seed)
        self.plan = plan(self.rng)
        self.users = ["s%d-%d@%s" % (seed, i, lab_module.CLUSTER) for i in range(USERS)]
        self.books, self.counts = load.Books(), Counts()
        self.done = threading.Event()
        self.told = []
        self.split = False      # two histories were merged
        self.blind = False      # one stood still, and the other one had a fault before they met

    def _messages(self):
        """Until the faults are over and enough is acknowledged."""
        for i, data in enumerate(mailgen.generate(1 << 30, seed=self.seed)):
            if self.done.is_set() and self.books.count_acked() >= self.acks:
                return
            yield self.users[i % USERS], data

    def _add_users(self):
        text = "".join("%s,%s\n" % (u, load.PASSWORD) for u in self.users)
        self.lab.execute(self.lab.active(), "mailctl", "user", "import", "/dev/stdin", input=text)

    def _faults(self):
        pending = []            # (when, what ends it)
        unsettled = []          # faults since both were in step
        for before, fault, lasts, wait in self.plan:
            self._until(time.monotonic() + before, pending)
            if not self.lab.on_nodes():
                continue
            node = _side(self.rng, self.lab)
            self.blind = self.blind or (unsettled != [] and
                                        any(f in (pause, hang) for f in unsettled + [fault]))
            unsettled.append(fault)
            self.told.append("%s %s%s %.1f s" % (
                fault.__name__, node, " (active)" if node == self.lab.active() else "", lasts))
            pending.append((time.monotonic() + lasts, fault(self.rng, self.lab, node)))
            if wait:
                self._heal(pending)
                self._united()
                unsettled = []
        self._heal(pending)
        self._united()

    def _modes(self):
        return [((self.lab.status(n) or {}).get("data") or {}).get("mode") for n in NODES]

    def _united(self):
        """In step; two histories are made one on the way."""
        lab_module.wait_for("in step, or a split", HEAL_S, lambda: self.lab.in_step() or
                            ("SPLIT" in self._modes() and self.lab.active()), 0.1)
        if "SPLIT" in self._modes():
            self.split = True
            r = self.lab.execute(self.lab.active(), "hactl", "split", "resolve", timeout=120)
            self.told.append("merged: %s" % " ".join(r.stdout.split())[:160])
        self.lab.wait_in_step(HEAL_S)

    def _until(self, when, pending):
        while True:
            pending.sort(key=lambda p: p[0])
            at = min([when] + [p[0] for p in pending])
            self.done.wait(max(0, at - time.monotonic()))
            if pending and pending[0][0] <= when:
                pending.pop(0)[1]()
            else:
                return

    def _heal(self, pending):
        while pending:
            self._until(pending[-1][0], pending)
            pending.sort(key=lambda p: p[0])
        for node in NODES:
            ballast_off(self.lab, node)

    def run(self):
        self._add_users()
        source = load.Shared(self._messages())
        stop = threading.Event()
        senders = [load.Sender(self.lab, self.books, source, VIP, port=587 if i % 3 == 2 else 25,
                               login=self.users[0] if i % 3 == 2 else False, ca=self.lab.ca,
                               stop=stop, rate=RATE) for i in range(SENDERS)]
        watchers = [readers.Watcher(self.lab, u) for u in self.users]
        changer = readers.Changer(self.lab, self.users[0], random.Random(self.seed))
        try:
            for t in senders + watchers + [changer]:
                t.start()
            self._faults()
            self.done.set()
            for t in senders:
                t.join(60)
        finally:
            self.done.set()
            stop.set()
            for t in watchers + [changer]:
                t.stop()
            for t in senders + watchers + [changer]:
                t.join(20)
        for s in senders:
            if s.failed:
                self.counts.violation("a sender gave up: " + s.failed)
        self._check(watchers, changer)
        return self.counts

    def _check(self, watchers, changer):
        c, lab = self.counts, self.lab
        lab.wait_in_step(HEAL_S)
        boxes = {}
        for w in watchers:
            boxes[w.user] = load.in_client(lab, readers.read_all, lab, w.user, "INBOX")
        r = load.verify(self.books, {u: [m.data for m in b.messages] for u, b in boxes.items()})
        c.lost, c.duplicated = r.lost, r.duplicated
        c.notes += r.notes
        for _ in range(r.changed):
            c.violation("changed bytes")
        for w in watchers:
            w.check(boxes[w.user], c, self.split, self.blind)
        changer.check(load.in_client(lab, readers.read_named, lab, changer.user, changer.NAME), c,
                      self.split)
        c.acknowledged = self.books.count_acked() + changer.acknowledged
        c.schedules = 1


# ---- pairs -----------------------------------------------------------------------------
def new_lab():
    hook = os.environ.get("HOOK")
    return lab_module.Lab(build=BUILD, install=INSTALLED, preload=PRELOAD, var_size=DISK,
                          env={"MAILPAIR_HOOK": hook} if hook else None,
                          syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000),
                                 ("segment-size", "16M"), ("low-water-size", "48M"),
                                 ("retain-size", "256M")],
                          maild=[("store-low-water", "32M")])


def one(lab, seed, acks):
    """(Counts, the faults in words); never raises but to end the program."""
    s = Schedule(lab, seed, acks)
    try:
        counts = s.run()
    except (LabError, OSError, subprocess.SubprocessError, AssertionError, ValueError,
            readers.Trouble) as e:
        counts = s.counts
        counts.schedules = 1
        counts.acknowledged = counts.acknowledged or s.books.count_acked()
        counts.violation("%s: %s" % (type(e).__name__, str(e)[:300]))
        counts.notes += traceback.format_exc().splitlines()[-6:]
        for node in lab.on_nodes():
            counts.notes += lab.execute(node, "hactl", "status", check=False).stdout.splitlines()
    return counts, ", ".join(s.told)


def life(job):
    """The schedules of one pair, or until one of them went wrong."""
    first, count, acks = job
    total, lines = Counts(), []
    lab, used = None, 0
    try:
        for seed in range(first, first + count):
            if lab is None:
                lab = new_lab().start()
                lab.execute(lab.wait_in_step(90), "mailctl", "domain", "add", lab_module.CLUSTER)
            counts, told = one(lab, seed, acks)
            total.add(counts)
            lines.append("%s seed=%d acknowledged=%d: %s" % (
                "not ok" if counts.bad() else "ok", seed, counts.acknowledged, told))
            if counts.bad():
                lines += ["#   " + n for n in counts.notes[:40]]
                if os.environ.get("LOGS"):
                    lab.collect(os.path.join(os.environ["LOGS"], "seed-%d" % seed))
                lab.stop()
                lab = None
            used += 1
    except LabError as e:
        total.violation("a new pair: %s" % e)
        lines.append("not ok seed=%d: no pair: %s" % (first, e))
    finally:
        if lab is not None:
            lab.stop()
    return total, lines


def child(conn, job):
    conn.send(life(job))


def lives(jobs, at_a_time):
    """What each life gave, as they end.  This process has one thread, so that none is forked
    while another one holds a lock."""
    ctx = multiprocessing.get_context("fork")
    waiting, running = list(jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                mine, theirs = ctx.Pipe(duplex=False)
                job = waiting.pop(0)
                running[mine] = ctx.Process(target=child, args=(theirs, job))
                running[mine].start()
                theirs.close()
            for conn in multiprocessing.connection.wait(list(running)):
                try:
                    yield conn.recv()
                except EOFError:
                    lost = Counts()
                    lost.violation("a process of the campaign ended")
                    yield lost, ["not ok a process of the campaign ended"]
                running.pop(conn).join()
                conn.close()
    finally:
        for p in running.values():
            p.terminate()
        for p in running.values():
            p.join()


def number(name, otherwise):
    value = os.environ.get(name) or str(otherwise)
    if not value.isdigit() or int(value) < 1:
        print("ERROR %s=%s: expected a number from 1" % (name, value), file=sys.stderr)
        sys.exit(10)
    return int(value)


def end_quietly(*_):
    raise SystemExit(1)         # every lab is removed on the way


def main():
    global INSTALLED, PRELOAD, BUILD
    n, seed, jobs, acks = (number("N", 100), number("SEED", 1), number("JOBS", 1),
                           number("ACKS", 1000))
    if os.geteuid() != 0:
        print("ERROR the lab needs root: it makes network namespaces", file=sys.stderr)
        return 10
    BUILD = os.path.abspath(os.environ.get("O", os.path.join(TOP, "build")))
    home = tempfile.mkdtemp(prefix="mailpair-campaign-")
    total = Counts()
    signal.signal(signal.SIGTERM, end_quietly)
    try:
        INSTALLED = os.path.join(home, "inst")
        subprocess.run(["make", "-s", "-C", TOP, "O=" + BUILD, "install",
                        "DESTDIR=" + INSTALLED, "PREFIX=/usr/local"], check=True,
                       stdin=subprocess.DEVNULL, stdout=sys.stderr)
        PRELOAD = os.path.join(home, "failsync.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", PRELOAD,
                        os.path.join(TOP, "tests/lab/failsync.c")], check=True)
        jobs_list = [(s, min(LIFE, seed + n - s), acks) for s in range(seed, seed + n, LIFE)]
        for part, lines in lives(jobs_list, jobs):
            total.add(part)
            print("\n".join(lines), flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(total.line())
    return 1 if total.bad() else 0


if __name__ == "__main__":
    sys.exit(main())
