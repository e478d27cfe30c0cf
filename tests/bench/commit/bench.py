#!/usr/bin/python3
"""bench.py - what does the second copy cost?  A pair in step against one node alone.

Two nodes of tests/lab.  Each has one core of this machine for itself (the clients share the
standby's), and a disk in memory whose fdatasync() takes FSYNC_MS longer: so the two disks
wait at the same time, as those of two machines do, and the other core's work is not ours.
The two systems take turns within a round: the standby's power is cut, and comes back.

    ROUNDS=n        rounds (3)              SECONDS=n   of each measurement (4)
    CONNECTIONS=..  numbers, separated by commas (1,10,100)
    PARTS=..        mail, log (syncd alone, under an owner of this program), lag, rejoin
    FSYNC_MS=n      2                       BYTES=n     of a message (2000)
    ABSENCE=n       seconds (10)            RATE=n      messages a second meanwhile (100)
    JSON=file       every single result too

Ends with one line of key=value figures.  Needs root.
"""
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(TOP, "tests/lab"))
import lab as lab_module  # noqa: E402
import load              # noqa: E402
from lab import Lab, LabError, NODES, VIP, run, wait_for  # noqa: E402

USERS = 32
LAG_RATE, LAG_S = 50, 20
STEADY = 200            # messages a second: below what either system can, so that none queue
STEADY_NAME = "%d/s" % STEADY
PENDING_LOG_S = 600
# The standby comes and goes in each round; the times are those of the defaults in "rejoin".
QUICK = [("hold-ms", 300), ("rejoin-stable-ms", 300)]
TICKS = os.sysconf("SC_CLK_TCK")


def option(name, default, kind=int):
    return kind(os.environ.get(name) or default)


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else 0


class Bench(Lab):
    """A lab whose nodes have a core each, and disks in memory."""

    def __init__(self, shared, fsync_ms, syncd=(), log_only=False):
        super().__init__(build=shared["build"], install=shared["installed"],
                         preload=shared["preload"], syncd=syncd,
                         services=("syncd", "hagentd") if log_only else
                         ("syncd", "maild", "hagentd"))
        self.fsync_ms, self.log_only = fsync_ms, log_only
        self.cores = sorted(os.sched_getaffinity(0))

    def own_conf(self):
        conf = super().own_conf()
        if self.log_only:
            conf["hagent"] = [c for c in conf["hagent"] if c[:2] != ("resource", "maild")]
        conf["maild"] += [("log-level", "warn")]
        return conf

    def power_on(self, node):
        core = self.cores[NODES.index(node) % len(self.cores)]
        os.sched_setaffinity(0, {core})
        try:
            super().power_on(node)
        finally:
            os.sched_setaffinity(0, self.cores)
        self.slow_sync(node, self.fsync_ms)

    def _disk(self, node):
        super()._disk(node)
        run("mount", "-t", "tmpfs", "tmpfs", self.node_dir(node) + "/var")

    def stop(self):
        try:
            super().stop()
        finally:
            for node in NODES:
                run("umount", "-l", self.node_dir(node) + "/var", check=False)
            run("rm", "-rf", self.home)

    def core_of_clients(self, active):
        return self.cores[(1 - NODES.index(active)) % len(self.cores)]

    def sync_status(self, node):
        r = self.execute(node, "hactl", "sync", "status", "--json", check=False)
        try:
            return json.loads(r.stdout)["status"]
        except (ValueError, KeyError):
            return {}

    def alone(self):
        return next((n for n in self.on_nodes()
                     if self.sync_status(n).get("mode") == "solo"), None)

    def users(self, node):
        with open(os.path.join(self.node_dir(node), "etc/passwd")) as f:
            return {int(x.split(":")[2]): x.split(":")[0] for x in f if x.count(":") > 2}

    def processes(self, node):
        """CPU seconds of the daemons of a node, by program and user."""
        out, todo, users = {}, [self.init_pid(node)], self.users(node)
        while todo:
            pid = todo.pop()
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                    todo += [int(x) for x in f.read().split()]
                with open("/proc/%d/stat" % pid) as f:
                    name, words = f.read().rsplit(")", 1)
                with open("/proc/%d/status" % pid) as f:
                    uid = next(int(x.split()[1]) for x in f if x.startswith("Uid:"))
            except OSError:
                continue
            name, words = name.split("(", 1)[1], words.split()
            if name in ("syncd", "maild", "hagentd"):
                name = users[uid] if name == "maild" else name
                out[name] = out.get(name, 0) + (int(words[11]) + int(words[12])) / TICKS
        return out


class Load:
    """A run of the clients; active: the node they talk to."""

    def __init__(self, lab, shared, active, args):
        self.lab, self.active = lab, active
        command = [shared["load"]] + [str(a) for a in args]
        core = lab.core_of_clients(active)
        if args[0] == "owner":
            tool = "/run/lab/load"
            command = lab.command(active, tool, *command[1:])
        else:
            command = lab.client_command(*command)
        self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     text=True, preexec_fn=lambda:
                                     os.sched_setaffinity(0, {core}))

    def result(self):
        out, _ = self.proc.communicate(timeout=PENDING_LOG_S + 3600)
        if self.proc.returncode != 0:
            raise LabError("the clients ended with %d" % self.proc.returncode)
        lines = out.splitlines()
        acked, refused, broken, seconds, p50, p99, most = lines[0].split()
        r = {"acked": int(acked), "refused": int(refused), "broken": int(broken),
             "per_s": int(acked) / float(seconds) if float(seconds) else 0.0,
             "p50_ms": int(p50) / 1000, "p99_ms": int(p99) / 1000, "max_ms": int(most) / 1000,
             "at": [int(x) / 1e6 for x in lines[1:]]}
        if not r["acked"] or r["broken"]:
            raise LabError("acked=%(acked)d broken=%(broken)d" % r)
        return r


def clients(lab, shared, part, active, connections, seconds, nbytes, rate=None):
    args = ["smtp", VIP, connections, seconds, nbytes, USERS] + ([rate] if rate else []) \
        if part == "mail" else ["owner", "/run/mailpair/syncd-owner.sock", connections, seconds,
                                nbytes, "mailstore", lab.sync_status(active)["commit_lsn"]]
    return Load(lab, shared, active, args)


def measure(lab, shared, part, active, connections, seconds, nbytes):
    rate = STEADY if connections == STEADY_NAME else None
    before = {n: lab.processes(n) for n in lab.on_nodes()}
    writer = lab.sync_status(active)["writer"]
    r = clients(lab, shared, part, active, 20 if rate else connections, seconds, nbytes,
                rate).result()
    after = lab.sync_status(active)["writer"]
    del r["at"]
    records = after["records"] - writer["records"]
    syncs = after["syncs"] - writer["syncs"]
    r["batch"] = records / max(1, syncs)
    r["syncs_per_1000"] = 1000 * syncs / r["acked"]
    r["cpu_us"] = {}
    for n in before:
        side = "active" if n == active else "standby"
        now = lab.processes(n)
        for name in sorted(now):
            used = now[name] - before[n].get(name, 0)
            r["cpu_us"]["%s %s" % (side, name)] = 1e6 * used / r["acked"]
    return r


def add_users(lab, active):
    lab.execute(active, "mailctl", "domain", "add", lab_module.CLUSTER)
    text = "".join("%s,%s\n" % (u, load.PASSWORD) for u in load.users(USERS))
    lab.execute(active, "mailctl", "user", "import", "/dev/stdin", input=text, timeout=300)


def settle(lab, active, part):
    """What one measurement left to be done is done before the next: everything applied."""
    def idle():
        return all(s.get("writer", {}).get("waiting_bytes") == 0 and
                   (part == "log" or s["applied_lsn"] >= s["commit_lsn"])
                   for s in map(lab.sync_status, lab.on_nodes()))
    wait_for("an idle pair", 60, idle, 0.1)
    return active


def compare(shared, part, rounds, numbers, seconds, nbytes, fsync_ms):
    """[(system, connections, result)...]"""
    found = []
    lab = Bench(shared, fsync_ms, syncd=QUICK, log_only=part == "log").start()
    try:
        active = lab.wait_in_step()
        standby = NODES[1 - NODES.index(active)]
        if part == "mail":
            add_users(lab, active)
        else:
            for n in NODES:
                run("cp", shared["load"], lab.node_dir(n) + "/load")
        for i in range(rounds):
            every = numbers + ([STEADY_NAME] if part == "mail" else [])
            for system in ("both", "alone") if i % 2 == 0 else ("alone", "both"):
                if system == "alone" and standby in lab.on_nodes():
                    lab.kill(standby)
                    wait_for("one node alone", 60, lab.alone, 0.1)
                elif system == "both" and standby not in lab.on_nodes():
                    lab.power_on(standby)
                    lab.wait_in_step()
                if part == "mail":      # connections made, caches warm
                    clients(lab, shared, part, active, 10, 1, nbytes).result()
                for n in every:
                    settle(lab, active, part)
                    r = measure(lab, shared, part, active, n, seconds, nbytes)
                    found.append((system, n, r))
                    print("%s round %d %-5s %5s: %7.0f/s p50 %6.2f p99 %6.2f ms  batch %5.1f  "
                          "syncs/1000 %4.0f  cpu us/change: %s" %
                          (part, i + 1, system, n, r["per_s"], r["p50_ms"], r["p99_ms"],
                           r["batch"], r["syncs_per_1000"],
                           " ".join("%s=%.0f" % x for x in r["cpu_us"].items() if x[1] >= 5)),
                          flush=True)
    finally:
        lab.stop()
    return found


def summary(part, found, numbers):
    """Ratios and differences of the pairs of neighbours, with their spread."""
    keys = {}
    for n in numbers + ([STEADY_NAME] if part == "mail" else []):
        both = [r for s, k, r in found if s == "both" and k == n]
        alone = [r for s, k, r in found if s == "alone" and k == n]
        ratios = [b["per_s"] / a["per_s"] for b, a in zip(both, alone)]
        mid = statistics.median
        b, a = mid([r["per_s"] for r in both]), mid([r["per_s"] for r in alone])
        added, text = {}, []
        for p in ("p50", "p99"):
            each = [x[p + "_ms"] - y[p + "_ms"] for x, y in zip(both, alone)]
            added[p] = mid(each)
            text.append("%s %.2f ms (%.2f..%.2f) to %.2f" % (
                p, mid(each), min(each), max(each), mid([r[p + "_ms"] for r in alone])))
        print("%s %5s: both %.0f/s, alone %.0f/s, ratio %.2f (%.2f..%.2f), added %s" %
              (part, n, b, a, mid(ratios), min(ratios), max(ratios), ", ".join(text)))
        if n == STEADY_NAME:
            keys.update({"%s_steady_added_%s_ms" % (part, p): "%.2f" % x
                         for p, x in added.items()})
            continue
        prefix = "%s_%d_" % (part, n)
        keys.update({prefix + "both_per_s": "%.0f" % b, prefix + "alone_per_s": "%.0f" % a,
                     prefix + "ratio": "%.2f" % mid(ratios),
                     prefix + "ratio_min": "%.2f" % min(ratios),
                     prefix + "ratio_max": "%.2f" % max(ratios),
                     prefix + "added_p50_ms": "%.2f" % added["p50"],
                     prefix + "added_p99_ms": "%.2f" % added["p99"],
                     prefix + "batch": "%.1f" % mid([r["batch"] for r in both]),
                     prefix + "syncs_per_1000": "%.0f" % mid([r["syncs_per_1000"] for r in both])})
    return keys


class Index:
    """The rows of a node's mailboxes, out of its own index files."""

    def __init__(self, lab, node):
        top = os.path.join(lab.node_dir(node), "var/shards")
        self.dbs = [sqlite3.connect("file:%s/%s/index.db?mode=ro" % (top, d), uri=True,
                                    check_same_thread=False)
                    for d in sorted(os.listdir(top)) if d.startswith("store-")]

    def rows(self):
        return sum(db.execute("SELECT count(*) FROM messages").fetchone()[0] for db in self.dbs)


def lag(shared, nbytes, fsync_ms):
    """Acknowledged to visible in the standby's index: the n-th with the n-th."""
    lab = Bench(shared, fsync_ms, syncd=QUICK).start()
    try:
        active = lab.wait_in_step()
        add_users(lab, active)
        index = Index(lab, NODES[1 - NODES.index(active)])
        stop, seen, first = threading.Event(), [], index.rows()

        def look():
            while not stop.is_set():
                began = time.monotonic()
                n = index.rows() - first
                seen.extend([began] * (n - len(seen)))
                stop.wait(0.001)
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            r = clients(lab, shared, "mail", active, 10, LAG_S, nbytes, LAG_RATE).result()
            wait_for("all in the standby's index", 30, lambda: len(seen) >= r["acked"])
        finally:
            stop.set()
            watcher.join()
        late = [max(0.0, 1000 * (s - a)) for s, a in zip(seen, r["at"])]
        print("lag: %d deliveries at %d/s: p50 %.1f ms, p99 %.1f ms, at most %.1f ms" %
              (r["acked"], LAG_RATE, percentile(late, 50), percentile(late, 99), max(late)),
              flush=True)
        return {"lag_p50_ms": "%.1f" % percentile(late, 50),
                "lag_p99_ms": "%.1f" % percentile(late, 99), "lag_max_ms": "%.1f" % max(late)}
    finally:
        lab.stop()


def rejoin(shared, nbytes, fsync_ms, absence_s, rate):
    """The standby's power is cut while mail comes, and goes on coming when it is back."""
    lab = Bench(shared, fsync_ms).start()   # the defaults: 30 s in step before it counts
    try:
        active = lab.wait_in_step(120)
        standby = NODES[1 - NODES.index(active)]
        add_users(lab, active)
        lab.kill(standby)
        wait_for("one node alone", 60, lab.alone, 0.1)
        run_ = clients(lab, shared, "mail", active, 50, absence_s + 70, nbytes, rate)
        threading.Event().wait(absence_s)
        missing = lab.sync_status(active)["commit_lsn"]
        began = time.monotonic()
        lab.power_on(standby)

        def caught_up():
            s = lab.sync_status(active)
            return s["peer"]["connected"] and \
                s["peer"]["durable_lsn"] + 64 >= s["durable_lsn"] and \
                lab.sync_status(standby).get("applied_lsn", 0) >= missing
        wait_for("the standby has everything", 300, caught_up, 0.1)
        caught = time.monotonic() - began
        wait_for("two copies again", 300, lambda: lab.sync_status(active).get("mode") == "sync",
                 0.1)
        joined = time.monotonic() - began
        r = run_.result()
        print("rejoin: away %d s at %d/s (%d records of log): has everything after %.1f s, two "
              "copies again after %.1f s (of them 30 s rejoin-stable-ms); refused meanwhile %d" %
              (absence_s, rate, missing, caught, joined, r["refused"]), flush=True)
        return {"rejoin_absence_s": absence_s, "rejoin_caught_up_s": "%.1f" % caught,
                "rejoin_two_copies_s": "%.1f" % joined, "rejoin_refused": r["refused"]}
    finally:
        lab.stop()


def main():
    if os.geteuid() != 0:
        raise SystemExit("ERROR the lab needs root: it makes network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds, seconds = option("ROUNDS", 3), option("SECONDS", 4, float)
    numbers = [int(x) for x in option("CONNECTIONS", "1,10,100", str).split(",")]
    parts = option("PARTS", "mail,log,lag,rejoin", str).split(",")
    fsync_ms, nbytes = option("FSYNC_MS", 2), option("BYTES", 2000)
    build = os.path.abspath(os.environ.get("O") or os.path.join(TOP, "build"))
    home = tempfile.mkdtemp(prefix="mailpair-bench-")
    keys, every = {"rounds": rounds, "fsync_ms": fsync_ms}, {}
    try:
        shared = {"build": build, "load": build + "/tests/bench/load",
                  "installed": home + "/inst", "preload": home + "/failsync.so"}
        run("make", "-s", "-C", TOP, "O=" + build, "install", "DESTDIR=" + shared["installed"],
            "PREFIX=/usr/local")
        run("cc", "-shared", "-fPIC", "-O2", "-o", shared["preload"],
            os.path.join(TOP, "tests/lab/failsync.c"))
        print("Both nodes are on this machine: a core each of %d, the clients on the standby's; "
              "disks in memory, fdatasync() %d ms." % (os.cpu_count() or 1, fsync_ms), flush=True)
        for part in parts:
            if part in ("mail", "log"):
                every[part] = compare(shared, part, rounds, numbers, seconds, nbytes, fsync_ms)
                keys.update(summary(part, every[part], numbers))
            elif part == "lag":
                keys.update(lag(shared, nbytes, fsync_ms))
            elif part == "rejoin":
                keys.update(rejoin(shared, nbytes, fsync_ms, option("ABSENCE", 10),
                                   option("RATE", 100)))
            else:
                raise SystemExit("ERROR PARTS: mail, log, lag and rejoin are expected")
    finally:
        run("rm", "-rf", home)
    if os.environ.get("JSON"):
        with open(os.environ["JSON"], "w") as f:
            json.dump(every, f, indent=1)
    print("bench-commit " + " ".join("%s=%s" % i for i in keys.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
