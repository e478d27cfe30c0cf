#!/usr/bin/env python3
"""How much does it cost to keep a tree equal: rsync 3 and our mirror, in turn.

Usage (root): O=build tests/bench/sync.py        by "make bench-sync"
FILES  messages in the Maildir tree (20000)     CHANGED  of them changed (FILES / 20)
BIG_MB the large file (200)                     ROUNDS   of each case (3)
DIR    where the trees lie (/var/tmp)           CASES    first,idle,walk,changed,big
SYSTEMS  all of rsync-ssh (-e ssh -avz --delete, by an sshd of our own), rsync-daemon (-a
--delete, no compression), rsync-daemon-fsync (and --fsync), ours (two syncds, TLS).
Everything runs in a network and a mount namespace of its own; bytes are what went over its
loopback, both ways, with headers.  CPU is of both sides.  The last line: figures as
key=value.
"""
import json, os, random, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP + "/tests/cases")
import syncd_pair

FILES = int(os.environ.get("FILES") or 20000)
CHANGED = int(os.environ.get("CHANGED") or max(1, FILES // 20))
BIG_MB = int(os.environ.get("BIG_MB") or 200)
ROUNDS = int(os.environ.get("ROUNDS") or 3)
CASES = (os.environ.get("CASES") or "first,idle,walk,changed,big").split(",")
SYSTEMS = (os.environ.get("SYSTEMS") or "rsync-ssh,rsync-daemon,rsync-daemon-fsync,ours").split(",")
PORTS = {"rsync-ssh": 2200, "rsync-daemon": 8730, "rsync-daemon-fsync": 8731}
IN_A_FOLDER = 1000


# ---- measuring ------------------------------------------------------------------

def lo_bytes():
    with open("/proc/net/dev") as f:
        for line in f:
            if line.strip().startswith("lo:"):
                return int(line.split(":")[1].split()[8])
    raise AssertionError("no loopback")


def family(pid):
    """The process and everything below it."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        try:
            for task in os.listdir("/proc/%d/task" % p):
                with open("/proc/%d/task/%s/children" % (p, task)) as f:
                    todo += [int(x) for x in f.read().split()]
            out.append(p)
        except (FileNotFoundError, ProcessLookupError):
            assert p != pid, "the server ended"
    return out


def cpu_of(pids):
    """Seconds on a CPU so far, children that are gone included."""
    ns = 0
    for p in pids:
        for task in os.listdir("/proc/%d/task" % p):
            with open("/proc/%d/task/%s/schedstat" % (p, task)) as f:
                ns += int(f.read().split()[0])
        with open("/proc/%d/stat" % p) as f:
            stat = f.read().rpartition(")")[2].split()
        ns += (int(stat[13]) + int(stat[14])) * 1000000000 // os.sysconf("SC_CLK_TCK")
    return ns / 1e9


# ---- the systems ----------------------------------------------------------------

class Rsync:
    """A server of one's own for the far end; each run is a client."""

    def __init__(self, top, source):
        self.source, self.target, self.port = source, top + "/" + self.name, PORTS[self.name]
        os.makedirs(self.target)
        self.server = subprocess.Popen(self.serve(top), stderr=subprocess.DEVNULL)
        self.listening()

    def listening(self):
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end, "%s: the server does not answer" % self.name
                assert self.server.poll() is None, "%s: the server ended" % self.name
                time.sleep(0.01)
        self.at_rest()

    def at_rest(self):
        """Until the server has taken leave of who served a client: then that one's CPU is in
        the server's figure."""
        end = time.monotonic() + 10
        while len(family(self.server.pid)) > 1:
            assert time.monotonic() < end, "%s: the far end does not end" % self.name
            time.sleep(0.001)

    def run(self, full=False):
        far, wire, t = cpu_of([self.server.pid]), lo_bytes(), time.monotonic()
        p = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL)
        try:
            _, status, usage = os.wait4(p.pid, 0)
        except BaseException:
            p.kill()        # the bench is ended: its client too
            raise
        wall = time.monotonic() - t
        p.returncode = os.waitstatus_to_exitcode(status)
        assert p.returncode == 0, "%s: exit %d" % (self.name, p.returncode)
        self.at_rest()
        cpu = usage.ru_utime + usage.ru_stime + cpu_of([self.server.pid]) - far
        return wall, cpu, lo_bytes() - wire

    def close(self):
        self.server.terminate()
        self.server.wait(10)


class RsyncSsh(Rsync):
    name = "rsync-ssh"

    def serve(self, top):
        work = top + "/ssh"
        os.makedirs(work, 0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            work + "/" + name], check=True)
        with open(work + "/host.pub") as f, open(work + "/known", "w") as g:
            g.write("[127.0.0.1]:%d %s" % (self.port, f.read()))
        with open(work + "/sshd_config", "w") as f:
            f.write("Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\n"
                    "AuthorizedKeysFile %s/user.pub\nStrictModes no\nUsePAM no\n"
                    "PermitRootLogin prohibit-password\n" % (self.port, work, work))
        self.config = work + "/ssh_config"
        with open(self.config, "w") as f:
            f.write("Port %d\nIdentityFile %s/user\nIdentitiesOnly yes\nBatchMode yes\n"
                    "UserKnownHostsFile %s/known\n" % (self.port, work, work))
        return [shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"), "-D", "-e", "-f",
                work + "/sshd_config"]

    def command(self):
        return ["rsync", "-e", "ssh -F " + self.config, "-avz", "--delete", self.source + "/",
                "root@127.0.0.1:" + self.target + "/"]


class RsyncDaemon(Rsync):
    name = "rsync-daemon"
    options = []

    def serve(self, top):
        conf = top + "/" + self.name + ".conf"
        with open(conf, "w") as f:
            f.write("use chroot = no\nuid = 0\ngid = 0\nlog file = /dev/null\n"
                    "[tree]\npath = %s\nread only = no\n" % self.target)
        return ["rsync", "--daemon", "--no-detach", "--config", conf, "--address", "127.0.0.1",
                "--port", str(self.port)]

    def command(self):
        return ["rsync", "-a", "--delete"] + self.options + [
            self.source + "/", "rsync://127.0.0.1:%d/tree/" % self.port]


class RsyncDaemonFsync(RsyncDaemon):
    name = "rsync-daemon-fsync"
    options = ["--fsync"]


class MirrorPair(syncd_pair.Pair):
    tree = None

    def start(self):
        for n in self.nodes:
            n.start(files=4096)
        self.promote(0, syncd_pair.CLEAN)
        self.in_step()
        self.serving()

    def write(self, n, pins):
        super().write(n, pins)
        with open(n.conf, "a") as f:
            f.write('mirror "%s" { interval-s = 0 hold-deleted-s = 0 '
                    'max-delete-percent = 100 }\n' % self.tree)


class Ours:
    """Both nodes know the tree by one path: each has a mount namespace of its own."""
    name = "ours"

    def __init__(self, top, source):
        self.target = top + "/" + self.name
        self.path = top + "/tree"
        for d in (self.target, self.path):
            os.makedirs(d)
        real = syncd_pair.SYNCD
        wrapper = top + "/syncd"
        with open(wrapper, "w") as f:
            f.write('#!/bin/sh\nfor name; do :; done\ncase $name in\nha-1) from="%s" ;;\n'
                    '*) from="%s" ;;\nesac\nexport from\nexec unshare -m sh -c '
                    "'mount --bind \"$from\" \"%s\" && exec \"%s\" \"$@\"' sh \"$@\"\n"
                    % (source, self.target, self.path, real))
        os.chmod(wrapper, 0o755)
        syncd_pair.SYNCD = wrapper
        MirrorPair.tree = self.path
        self.pair = MirrorPair(**{"silent-ms": 30000, "hold-ms": 60000})
        self.pair.start()

    def ask(self, **request):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(3600)
        s.connect(self.pair.nodes[0].run + "/syncd.sock")
        s.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while True:
            more = s.recv(65536)
            data += more
            if not more or b'"exit"' in data.splitlines()[-1] and data.endswith(b"\n"):
                break
        s.close()
        return json.loads(data.splitlines()[-1])

    def run(self, full=False):
        pids = [p for n in self.pair.nodes for p in family(n.process.pid)]
        cpu, wire, t = cpu_of(pids), lo_bytes(), time.monotonic()
        answer = self.ask(op="sync-now", full=full)
        wall = time.monotonic() - t
        assert answer.get("exit") == 0, answer
        self.last = answer["passes"][0]
        return wall, cpu_of(pids) - cpu, lo_bytes() - wire

    def close(self):
        self.pair.close()


# ---- the trees ------------------------------------------------------------------

class Tree:
    def __init__(self, path):
        self.path, self.random, self.serial = path, random.Random(4), 0
        self.folders, self.names = [], []
        text = [self.random.randbytes(96).hex().encode() + b"\n" for _ in range(64)]
        self.lines = text
        for i in range(max(1, FILES // IN_A_FOLDER)):
            folder = "user%05d/Maildir" % i
            for sub in ("cur", "new", "tmp"):
                os.makedirs("%s/%s/%s" % (path, folder, sub))
            self.folders.append(folder)
        for i in range(FILES):
            self.names.append(self.message(self.folders[i % len(self.folders)], "cur", ":2,"))

    def message(self, folder, sub, flags):
        self.serial += 1
        name = "%s/%s/%d.M%dP1.mail%s" % (folder, sub, 1700000000 + self.serial,
                                          self.random.randrange(1000000), flags)
        with open(self.path + "/" + name, "wb") as f:
            f.write(b"Subject: %d\n\n" % self.serial)
            f.writelines(self.random.choices(self.lines, k=self.random.randint(1, 12)))
        return name

    def change(self, n):
        """As a day of mail does: two fifths new, two fifths flags, one fifth deleted."""
        for i in range(n):
            if i % 5 < 2:
                self.names.append(self.message(self.random.choice(self.folders), "new", ""))
                continue
            k = self.random.randrange(len(self.names))
            self.names[k], self.names[-1] = self.names[-1], self.names[k]
            old = self.names.pop()
            if i % 5 == 4:
                os.unlink(self.path + "/" + old)
                continue
            base = old.replace("/new/", "/cur/").partition(":")[0]
            flags = ":2," if old.endswith("S") else ":2,S"
            os.rename(self.path + "/" + old, self.path + "/" + base + flags)
            self.names.append(base + flags)


class Big:
    def __init__(self, path):
        self.path = path + "/large"
        self.random = random.Random(5)
        with open(self.path, "wb") as f:
            for _ in range(BIG_MB):
                f.write(self.random.randbytes(1 << 20))

    def change(self, _):
        size = BIG_MB << 20
        with open(self.path, "r+b") as f:
            for _ in range(max(1, size // 1000 // 4096)):
                f.seek(self.random.randrange(size - 4096))
                f.write(self.random.randbytes(4096))


def same(a, b):
    """Names, sizes, modes and times, and some content, of both trees."""
    def look(top):
        out = {}
        for d, _, files in os.walk(top):
            for name in files:
                st = os.lstat(d + "/" + name)
                out[os.path.relpath(d + "/" + name, top)] = (st.st_size, st.st_mode,
                                                             st.st_mtime_ns)
        return out
    x, y = look(a), look(b)
    assert x == y, "trees differ: %s" % list(set(x.items()) ^ set(y.items()))[:4]
    for name in random.sample(sorted(x), min(200, len(x))):
        with open(a + "/" + name, "rb") as f, open(b + "/" + name, "rb") as g:
            assert f.read() == g.read(), name


# ---- the comparison -------------------------------------------------------------

class Bench:
    def __init__(self, top, kinds):
        self.top, self.turn, self.kinds = top, 0, kinds
        self.seen = {}

    def start(self, source):
        self.source = source
        work = tempfile.mkdtemp(dir=self.top)
        os.chmod(work, 0o755)
        self.systems = []
        for kind in self.kinds:
            self.systems.append(kind(work, source))

    def stop(self):
        """The trees stay until the end: making files just after many were removed costs ext4
        several times as much, and would be whose turn it is."""
        for s in self.systems:
            s.close()
            if isinstance(s, Ours):
                syncd_pair.SYNCD = REAL
        self.systems = []

    def turns(self, case, full=False):
        self.turn += 1
        n = len(self.systems)
        for i in range(n):
            s = self.systems[(i + self.turn) % n]
            os.sync()       # what another one left unsynced is not this one's work
            figures = s.run(full)
            self.seen.setdefault((case, s.name), []).append(figures)
            print("  %-8s %-18s %9.1f ms  cpu %9.1f ms  %12d bytes" % (
                case, s.name, figures[0] * 1e3, figures[1] * 1e3, figures[2]), flush=True)

    def check(self):
        for s in self.systems:
            same(self.source, s.target)

    def maildir(self):
        tree = Tree(self.top + "/maildir")
        for i in range(ROUNDS if "first" in CASES else 1):
            if i > 0:
                self.stop()
            self.start(tree.path)
            self.turns("first" if "first" in CASES else "(first)")
        self.check()
        for case in ("idle", "walk"):
            for _ in range(ROUNDS if case in CASES else 0):
                self.turns(case, full=case == "walk")
        for _ in range(ROUNDS if "changed" in CASES else 0):
            tree.change(CHANGED)
            self.turns("changed")
        self.check()
        self.stop()

    def big(self):
        folder = self.top + "/big"
        os.makedirs(folder)
        big = Big(folder)
        self.start(folder)
        self.turns("(big)")
        for _ in range(ROUNDS):
            big.change(0)
            self.turns("big")
        self.check()
        self.stop()

    def report(self):
        figures = ["bench-sync files=%d changed=%d big_mb=%d rounds=%d" % (
            FILES, CHANGED, BIG_MB, ROUNDS)]
        for case in CASES:
            print("%s:" % case)
            for k, (unit, scale) in enumerate((("wall_ms", 1e3), ("cpu_ms", 1e3), ("bytes", 1))):
                ours = [f[k] * scale for f in self.seen.get((case, "ours"), [])]
                line = "  %-8s" % unit
                for kind in self.kinds:
                    v = [f[k] * scale for f in self.seen[(case, kind.name)]]
                    line += " %s %s" % (kind.name, spread(v))
                    figures.append("%s_%s_%s=%.1f" % (case, kind.name, unit,
                                                      statistics.median(v)))
                    if kind is Ours or not ours:
                        continue
                    ratios = [a / b for a, b in zip(ours, v)]
                    line += ", ratio %.3f (%.3f..%.3f);" % (
                        statistics.median(ratios), min(ratios), max(ratios))
                    figures.append("%s_ratio_%s_%s=%.4f" % (case, kind.name, unit,
                                                            statistics.median(ratios)))
                print(line)
        print(" ".join(figures))


def spread(v):
    return "%.1f (%.1f..%.1f)" % (statistics.median(v), min(v), max(v))


def main():
    global REAL
    if os.geteuid() != 0:
        sys.exit("bench-sync: root is needed (mount and network namespaces)")
    if "BENCH_SYNC_INSIDE" not in os.environ:
        os.environ["BENCH_SYNC_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable] + sys.argv)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir("/run/sshd", 0o755)
    REAL = syncd_pair.SYNCD = os.path.abspath(os.environ.get("O") or "build") + "/syncd"
    kinds = [k for k in (RsyncSsh, RsyncDaemon, RsyncDaemonFsync, Ours) if k.name in SYSTEMS]
    if set(kinds) - {Ours} and (shutil.which("rsync") is None or shutil.which(
            "sshd", path="/usr/sbin:/usr/local/sbin") is None):
        sys.exit("bench-sync: rsync or sshd is not installed: sh deps.sh bench (SYSTEMS=ours "
                 "needs neither)")
    top = tempfile.mkdtemp(prefix="bench-sync-", dir=os.environ.get("DIR") or "/var/tmp")
    os.chmod(top, 0o755)
    bench = Bench(top, kinds)
    try:
        if set(CASES) - {"big"}:
            bench.maildir()
        if "big" in CASES:
            bench.big()
    finally:
        for s in getattr(bench, "systems", []):
            s.close()
        shutil.rmtree(top)
    bench.report()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
main()
