#!/usr/bin/python3
"""bench.py - how long clients are without the service, ours beside its peers.

For each round and system a fresh pair in network, PID, mount and UTS namespaces; in
it each case once: a client opens a TCP connection to the service address every 5 ms,
the fault happens, and the outage is the longest time without a greeting.  The systems
take turns within a round, so that all see the same machine.

    ROUNDS=n    rounds (5); systems that wait ten seconds or more take part in one
    SYSTEMS=..  names, separated by commas; all
    CASES=..    names, separated by commas; all
    JSON=file   every single result too

Ends with one line of key=value figures.  Needs root and `sh deps.sh bench`.
"""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import systems
from systems import LabError, VIP, lab_module, run

HERE = os.path.dirname(os.path.abspath(__file__))
PERIOD_MS = 5
SLOW_S = 10.0           # systems with a longer deadtime take part in the first round only
WARM_S = 1.5            # good before the fault; neighbour caches are locked for a second
CALM_S = 0.5            # good again this long: it is over


class Client:
    """One prober, in the client's network."""

    def __init__(self, lab, port, limit_s):
        self.proc = subprocess.Popen(
            lab.client_command(sys.executable, os.path.join(HERE, "prober.py"), VIP, str(port),
                               str(PERIOD_MS), str(limit_s)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.marks, self.rest = [], b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            c = os.read(self.proc.stdout.fileno(), 1)
            if c in (b"+", b"-"):
                self.marks.append((time.monotonic(), c == b"+"))
                continue
            if c:
                with os.fdopen(os.dup(self.proc.stdout.fileno()), "rb") as f:
                    self.rest = f.read()
            return

    def good_for(self):
        """Seconds since the last mark without a success."""
        if not self.marks:
            return 0.0
        bad = [t for t, ok in self.marks if not ok]
        return self.marks[-1][0] - (bad[-1] if bad else self.marks[0][0])

    def end(self):
        if self.proc.poll() is None:
            self.proc.stdin.close()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.thread.join(10)
        return json.loads(self.rest or b"[]")


def outage(tries, t0):
    """(ms, failed, served again): the longest time without a greeting after the fault."""
    ends = sorted(e for _, e in tries if e is not None)
    before = [e for e in ends if e <= t0]
    after = [e for e in ends if e > t0]
    last_start = max(b for b, _ in tries)
    failed = sum(1 for b, e in tries if e is None and t0 - 0.05 < b < last_start - 1.0)
    line = before[-1:] + after
    if not after or last_start - line[-1] > CALM_S:
        return None, failed, False
    return max(b - a for a, b in zip(line, line[1:])) * 1000, failed, True


# ---- the faults ---------------------------------------------------------------

def power(system, lab, active):
    return lab.kill(active)


def daemon(system, lab, active):
    system.kill(lab, active, system.daemon)


def service(system, lab, active):
    system.kill(lab, active, system.service)


def frozen(system, lab, active):
    for pid in processes_init_last(lab, active):
        os.kill(pid, signal.SIGSTOP)


def processes_init_last(lab, node):
    init = lab.init_pid(node)
    return [p for p in systems.processes(lab, node) if p != init] + [init]


def switch(system, lab, active):
    system.switchover(lab, active)


def path(system, lab, active):
    lab.cut(active, "eth1")


def lan(system, lab, active):
    lab.cut(active, "eth0")


def flap(system, lab, active):
    """Three times everything between the nodes is gone for half the deadtime."""
    gap = min(system.dead_s * 0.5, 3.0)
    for _ in range(3):
        lab.part(True)
        threading.Event().wait(gap)
        lab.part(False)
        threading.Event().wait(gap)


CASES = [("power", power, "power cut of the active node"),
         ("daemon", daemon, "the cluster manager's main process is killed"),
         ("service", service, "the service process is killed"),
         ("frozen", frozen, "every process of the active node is stopped"),
         ("switch", switch, "planned switchover"),
         ("path", path, "the path between the nodes that clients do not use is cut"),
         ("lan", lan, "the active node's cable to the clients is cut"),
         ("flap", flap, "three times all paths between the nodes cut for half the deadtime")]


def mend(system, lab, case, active):
    """After a fault: the node that had it starts anew, wires are whole."""
    lab.part(False)
    for wire in ("eth0", "eth1"):
        lab.heal(active, wire)
    if active in lab.inits and (case in ("daemon", "frozen") or
                                (system.peer and case in ("service", "switch"))):
        lab.kill(active)


# ---- one measurement --------------------------------------------------------------

def measure(system, lab, case, fault):
    """(the result, the node that had the fault)"""
    active = system.settle(lab)
    limit = 2 * system.dead_s + 12
    clients = [Client(lab, port, 60 + 3 * limit) for port in system.ports]
    try:
        lab_module.wait_for("service to a client of " + system.name, 20,
                            lambda: min(c.good_for() for c in clients) > WARM_S)
        t0 = time.monotonic()
        fault(system, lab, active)
        begun = time.monotonic()
        while time.monotonic() < begun + limit:
            threading.Event().wait(0.05)
            if time.monotonic() > t0 + system.dead_s + 1.5 and \
                    min(c.good_for() for c in clients) > CALM_S:
                break
        holders = system.holders(lab)
    finally:
        tries = [c.end() for c in clients]
    seen = [outage(t, t0) for t in tries]
    ms = None if any(s[0] is None for s in seen) else max(s[0] for s in seen)
    return {"system": system.name, "case": case, "ms": ms, "failed": max(s[1] for s in seen),
            "twice": len(holders) > 1, "moved": holders != [active]}, active


def measure_system(system, cases, installed, results, say):
    lab = None
    try:
        for name, fault, _ in cases:
            if system.cases is not None and name not in system.cases:
                continue
            try:
                if lab is None:
                    lab = system.lab(installed).start()
                r, active = measure(system, lab, name, fault)
                say("  %-16s %-8s %s" % (system.name, name, one(r)))
                mend(system, lab, name, active)
            except (LabError, OSError, subprocess.SubprocessError) as e:
                say("  %-16s %-8s ERROR %s" % (system.name, name, e))
                r = {"system": system.name, "case": name, "error": str(e)}
                if lab is not None:
                    lab.stop()
                    lab = None
            results.append(r)
    finally:
        if lab is not None:
            lab.stop()


# ---- what is printed -----------------------------------------------------------------

def one(r):
    text = "never served again" if r["ms"] is None else "%.0f ms" % r["ms"]
    return "%s, %d failed%s" % (text, r["failed"], ", address on both" if r["twice"] else "")


def summary(results, system, case):
    """{n, median, low, high, failed, never, twice} of one cell, or None."""
    rs = [r for r in results if (r["system"], r["case"]) == (system, case) and "error" not in r]
    if not rs:
        return None
    ms = [r["ms"] for r in rs if r["ms"] is not None]
    return {"n": len(rs), "never": len(rs) - len(ms), "failed": max(r["failed"] for r in rs),
            "twice": sum(r["twice"] for r in rs),
            "median": statistics.median(ms) if len(ms) * 2 > len(rs) else None,
            "low": min(ms, default=None), "high": max(ms, default=None)}


def best_peer(results, chosen, case):
    found = [summary(results, s.name, case) for s in chosen if s.peer]
    return min((f["median"] for f in found if f and f["median"] is not None), default=None)


def table(results, chosen, cases):
    for name, _, words in cases:
        best = best_peer(results, chosen, name)
        print("\n%s: %s" % (name, words))
        print("  %-16s %2s %9s  %-16s %6s  %s" % ("", "n", "median ms", "min..max", "failed",
                                                 "times the best peer"))
        for s in chosen:
            c = summary(results, s.name, name)
            if c is None:
                continue
            spread = "%.0f..%.0f" % (c["low"], c["high"]) if c["low"] is not None else "-"
            median = "never" if c["median"] is None else "%.0f" % c["median"]
            ratio = "" if s.peer or best is None or c["median"] is None else \
                "%.2f" % (c["median"] / best)
            notes = ["never in %d of %d" % (c["never"], c["n"])] * bool(c["never"]) + \
                ["address on both nodes in %d" % c["twice"]] * bool(c["twice"])
            print("  %-16s %2d %9s  %-16s %6d  %-5s %s" % (s.name, c["n"], median, spread,
                                                         c["failed"], ratio, "; ".join(notes)))


def last_line(results, chosen, cases, rounds):
    words = ["rounds=%d" % rounds]
    for name, _, _ in cases:
        best = best_peer(results, chosen, name)
        words.append("%s_best_peer_ms=%s" % (name, "never" if best is None else "%.0f" % best))
        for s in chosen:
            c = summary(results, s.name, name)
            if not s.peer and c is not None:
                words.append("%s_%s_ms=%s" % (name, s.name.replace("-", "_"), "never" if
                                              c["median"] is None else "%.0f" % c["median"]))
    words.append("errors=%d" % sum("error" in r for r in results))
    print("bench-failover " + " ".join(words))


def choose(what, known, text):
    wanted = [w for w in text.split(",") if w] or known
    for w in wanted:
        if w not in known:
            raise SystemExit("ERROR %s: expected some of %s, not \"%s\"" % (what, ",".join(known), w))
    return wanted


def main():
    env = os.environ.get
    if os.geteuid() != 0:
        raise SystemExit("ERROR the lab needs root: it makes network namespaces")
    rounds = int(env("ROUNDS") or 5)
    everyone = systems.every()
    names = choose("SYSTEMS", [s.name for s in everyone], env("SYSTEMS") or "")
    chosen = [s for s in everyone if s.name in names]
    wanted = choose("CASES", [c[0] for c in CASES], env("CASES") or "")
    cases = [c for c in CASES if c[0] in wanted]
    absent = sorted({s.needs for s in chosen if s.needs and not os.path.exists(s.needs)})
    if absent:
        raise SystemExit("ERROR not installed: %s\nHINT  sh deps.sh bench" % " ".join(absent))
    # An end by TERM cleans up as an end by ^C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    say = lambda text: print(text, flush=True)
    results = []
    home = tempfile.mkdtemp(prefix="mailpair-bench-")
    os.chmod(home, 0o755)
    try:
        run("make", "-s", "-C", lab_module.TOP, "O=" + os.path.abspath(env("O") or "build"),
            "install", "DESTDIR=" + home, "PREFIX=/usr/local")
        for n in range(rounds):
            say("round %d of %d" % (n + 1, rounds))
            for system in chosen:
                if n == 0 or system.dead_s < SLOW_S:
                    measure_system(system, cases, home, results, say)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if env("JSON"):
            with open(env("JSON"), "w") as f:
                json.dump(results, f)
    table(results, chosen, cases)
    last_line(results, chosen, cases, rounds)
    return 1 if any("error" in r for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
