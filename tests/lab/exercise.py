"""exercise.py - load on a pair, a fault in the middle, and the count afterwards.

The demonstration, the end-to-end tests and the long campaigns all use this.  A
fault is a function of (exercise); it runs in the main thread when a share of the
messages is acknowledged, while the senders go on.
"""
import signal
import threading
import time

import lab as lab_module
import load
from lab import LabError, VIP, wait_for

SEND_LIMIT_S = 100


class Exercise:
    def __init__(self, lab, messages, users=16, connections=8, fault=None, fault_at=0.4,
                 say=print, rate=None):
        self.lab, self.messages = lab, list(messages)
        self.users = load.users(users)
        self.connections, self.fault, self.fault_at = connections, fault, fault_at
        self.say, self.rate = say, rate
        self.books = load.Books()
        self.fault_time = None
        self.began = time.monotonic()
        self.probers = {}
        self.last_ack_before = None

    # ---- steps --------------------------------------------------------------
    def add_users(self):
        """Domain and users, as an administrator makes them."""
        active = self.lab.active()
        self.lab.execute(active, "mailctl", "domain", "add", lab_module.CLUSTER)
        text = "".join("%s,%s\n" % (u, load.PASSWORD) for u in self.users + [load.PROBE])
        self.lab.execute(active, "mailctl", "user", "import", "/dev/stdin", input=text)

    def _senders(self):
        items = [(self.users[i % len(self.users)], m) for i, m in enumerate(self.messages)]
        shared = load.Shared(items)
        stop = threading.Event()
        deadline = time.monotonic() + SEND_LIMIT_S + (
            len(items) / (self.rate * self.connections) if self.rate else 0)
        out = []
        for i in range(self.connections):
            # Most come as other mail servers do; some as a user's mail program.
            port, login = (587, self.users[0]) if i % 4 == 3 else (25, False)
            out.append(load.Sender(self.lab, self.books, shared, VIP, port=port, login=login,
                                   ca=self.lab.ca, stop=stop, deadline=deadline,
                                   rate=self.rate))
        return out, stop

    def run(self, probes=("smtp", "imap")):
        senders, stop = self._senders()
        for name in probes:
            self.probers[name] = load.Prober(self.lab, VIP, name, self.users[0], self.lab.ca)
        try:
            for t in list(self.probers.values()) + senders:
                t.start()
            self._watch(senders)
        finally:
            stop.set()
            for p in self.probers.values():
                p.stop_event.set()
            for t in senders + list(self.probers.values()):
                t.join(20)
        failed = [s.failed for s in senders if s.failed]
        if failed:
            raise LabError("%d senders gave up: %s" % (len(failed), failed[0]))

    def _watch(self, senders):
        total = len(self.messages)
        at = int(total * self.fault_at)
        fault_done = self.fault is None
        told = 0.0
        while any(s.is_alive() for s in senders):
            if not fault_done and self.books.count_acked() >= at:
                fault_done = True
                self.fault(self)
                if not any(s.is_alive() for s in senders):
                    raise LabError("the load ended before the fault did: lower the rate")
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                self.progress()
            for s in senders:
                s.join(0.02 / len(senders))
        self.progress()
        if not fault_done:
            raise LabError("the senders ended before the fault: %s"
                           % next((s.failed for s in senders if s.failed), "all was sent"))

    def progress(self):
        b = self.books
        with b.lock:
            refused = ", ".join("%d x %s" % (n, c) for c, n in sorted(b.refused.items()))
        self.say("  %5.1f s  acknowledged %5d of %d%s%s" % (
            time.monotonic() - self.began, b.count_acked(), len(self.messages),
            ("   refused for now: " + refused) if refused else "",
            ("   broken connections: %d" % b.errors) if b.errors else ""))

    def read_back(self, host=VIP):
        """{protocol: Result} over every user."""
        out = {}
        for name, read in (("imap", load.read_imap), ("pop3", load.read_pop3)):
            boxes = {}
            for user in self.users:
                boxes[user] = list(load.in_client(self.lab, read, host, user,
                                                  self.lab.ca).values())
            out[name] = load.verify(self.books, boxes)
            r = out[name]
            self.say("  read back over %s: found %d, lost %d, duplicated %d, changed %d"
                     % (name.upper(), r.found, r.lost, r.duplicated, r.changed))
            for note in r.notes:
                self.say("    " + note)
        return out

    def mark_fault(self, when=None):
        self.fault_time = when or time.monotonic()

    def outage_ms(self, name):
        """From the fault to the first success of a client that came after it: a message
        acknowledged over SMTP, a login over IMAP.  0 without a fault, -1 never."""
        if self.fault_time is None:
            return 0
        p = self.probers.get(name)
        return p.outage_ms(self.fault_time) if p else -1

    def last_line(self, results):
        worst = lambda what: max(getattr(r, what) for r in results.values())
        return ("sent=%d acknowledged=%d found=%d lost=%d duplicated=%d changed=%d "
                "outage_smtp_ms=%d outage_imap_ms=%d" % (
                    self.books.count_sent(), self.books.count_acked(),
                    min(r.found for r in results.values()), worst("lost"), worst("duplicated"),
                    worst("changed"), self.outage_ms("smtp"), self.outage_ms("imap")))


# ---- faults -----------------------------------------------------------------
def kill_active(ex):
    node = ex.lab.active()
    ex.say("  >>> power cut of the active node %s" % node)
    ex.mark_fault(ex.lab.kill(node))


def kill_standby_and_return(ex):
    node = ex.lab.standby()
    ex.say("  >>> power cut of the standby %s" % node)
    ex.mark_fault(ex.lab.kill(node))
    wait_for("going on alone", 40, lambda: _mode(ex.lab) in ("solo", "joining"), 0.1)
    ex.say("  >>> %s comes back" % node)
    ex.lab.power_on(node)


def _mode(lab):
    node = lab.active()
    return (lab.status(node).get("data") or {}).get("mode", "").lower() if node else None


def cut_path(wire):
    def fault(ex):
        node = ex.lab.active()
        ex.say("  >>> %s of the active node %s is cut" % (wire, node))
        ex.mark_fault()
        ex.lab.cut(node, wire)
    return fault


def cut_serial(ex):
    ex.say("  >>> the serial line is cut")
    ex.mark_fault()
    ex.lab.cut_serial()


def kill_service(service, where="active"):
    def fault(ex):
        node = ex.lab.active() if where == "active" else ex.lab.standby()
        ex.say("  >>> kill -9 of %s on the %s %s" % (service, where, node))
        ex.mark_fault()
        ex.lab.kill_service(node, service, signal.SIGKILL)
    return fault


def kill_agent(ex):
    """The unprivileged agent process, not its executor."""
    node = ex.lab.active()
    executor = ex.lab.pid_of(node, "hagentd")
    agent = next(iter(ex.lab.children(node, executor)))
    ex.say("  >>> kill -9 of the agent process on the active %s" % node)
    ex.mark_fault()
    ex.lab.execute(node, "/bin/sh", "-c", "kill -9 %d" % agent)


def switchovers(count):
    def fault(ex):
        for i in range(count):
            node = ex.lab.wait_in_step(60)
            to = lab_module.NODES[1 - lab_module.NODES.index(node)]
            if i == 0:
                ex.mark_fault()
            began = time.monotonic()
            ex.lab.execute(node, "hactl", "switchover", "--to", to, "--yes")
            ex.say("  >>> switchover %d to %s took %d ms"
                   % (i + 1, to, (time.monotonic() - began) * 1000))
    return fault


# Messages a second and connection, where the fault takes longer than an unhindered load.
RATES = {"kill-standby": 30.0, "switchover": 9.0}

FAULTS = {
    "kill-active": kill_active,
    "kill-standby": kill_standby_and_return,
    "cut-eth0": cut_path("eth0"),
    "cut-eth1": cut_path("eth1"),
    "cut-serial": cut_serial,
    "kill-syncd": kill_service("syncd"),
    "kill-syncd-standby": kill_service("syncd", "standby"),
    "kill-maild": kill_service("maild"),
    "kill-hagentd": kill_service("hagentd"),
    "kill-agent": kill_agent,
    "switchover": switchovers(20),
}
