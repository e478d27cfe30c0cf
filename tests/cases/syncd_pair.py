#!/usr/bin/env python3
"""Two syncds on loopback, driven by a fake agent and a fake owner on each side.

Usage: [O=build] [SYNCD_USER=name] syncd_pair.py [case...]
As any user; as root with SYNCD_USER syncd drops to that user, with its filter.
Each case makes its own pair in a temporary directory and prints one line.  The cases
hook_... want a build with HOOKS=1 and run only when they are named.
"""
import errno, json, os, pwd, random, re, resource, select, shutil, signal, socket, struct, subprocess, sys
import tempfile, threading, time

from old_active import OldActive, PEER_ACK, PEER_NEWER, PEER_TROUBLE

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYNCD = None
STANDBY, ACTIVE = 0, 1
WAIT, TARGET, INSYNC, SYNC, FROZEN, SOLO, JOINING, SPLIT = range(8)
MODES = "WAIT TARGET INSYNC SYNC FROZEN SOLO JOINING SPLIT".split()
CLEAN, JOIN, TAKEOVER, PRESUMED, KSOLO, UNSAFE, FORCED = range(1, 8)
HELLO, PROMOTE, DEMOTE, GRANT, DENY, OUTDATE, QUERY = range(1, 8)
(STATE, PROMOTED, REFUSED, DEMOTED, ALONE_WANTED, JOIN_WANTED, OUTDATED, ADOPTED,
 NEWER) = range(32, 41)
NOT_ACTIVE, NOT_TWICE, DISK_FULL, BUSY, FAILED = range(1, 6)
LOST = 2**64 - 1        # of an owner without an index
SHARD = 16


def now():
    return time.monotonic()


class Ipc:
    """lib/ipc frames over a Unix socket, without waiting."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.buf = bytearray()
        self.dead = False

    def send(self, type_, body=b""):
        data = struct.pack(">IHBBI", len(body), type_, 1, 0, 0) + body
        self.sock.setblocking(True)
        try:
            self.sock.sendall(data)
        except OSError:
            self.dead = True
        self.sock.setblocking(False)

    def receive(self):
        while not self.dead:
            try:
                got = self.sock.recv(4 << 20)
            except BlockingIOError:
                break
            except OSError:
                got = b""
            if not got:
                self.dead = True
            self.buf += got
        out = []
        while len(self.buf) >= 12:
            n, type_, _, _, _ = struct.unpack(">IHBBI", self.buf[:12])
            if len(self.buf) < 12 + n:
                break
            out.append((type_, bytes(self.buf[12:12 + n])))
            del self.buf[:12 + n]
        return out

    def close(self):
        self.sock.close()
        self.dead = True


GEN = ">Q16sQ16sBBBq"
GEN_LEN = struct.calcsize(GEN)


class Gen:
    def __init__(self, no, kind, insync, id_=None):
        self.no, self.kind, self.insync = no, kind, insync
        self.node = no & 1
        self.id = id_ or os.urandom(16)

    def pack(self):
        return struct.pack(GEN, self.no, self.id, 0, b"\0" * 16, self.kind, self.node,
                           self.insync, int(time.time() * 1000))


class Agent:
    """Grants what the case says; remembers what it heard."""

    def __init__(self, node):
        self.node = node
        self.ipc = Ipc(node.run + "/syncd-agent.sock")
        self.state = {}
        self.states = 0
        self.heard = []
        self.grant_alone = None   # kind, or None: say nothing, or DENY
        self.grant_join = True
        name = node.name.encode()
        self.ipc.send(HELLO, struct.pack(">HH", 2, len(name)) + name)

    def poll(self):
        for type_, body in self.ipc.receive():
            if type_ == STATE:
                self.got_state(body)
                continue
            no = struct.unpack(">Q", body[:8])[0] if len(body) >= 8 else 0
            self.heard.append((type_, no, body))
            if type_ == ALONE_WANTED and self.grant_alone == DENY:
                self.ipc.send(DENY, struct.pack(">QH", no, 4) + b"test")
            elif type_ == ALONE_WANTED and self.grant_alone is not None:
                self.ipc.send(GRANT, self.node.pair.gen(self.node.index, self.grant_alone,
                                                        1 << self.node.index).pack())
            elif type_ == JOIN_WANTED and self.grant_join:
                self.ipc.send(GRANT, self.node.pair.gen(self.node.index, JOIN, 3).pack())

    def got_state(self, body):
        keys = "role mode insync outdated peer empty rule trouble".split()
        self.state = dict(zip(keys, body[:8]))
        gen = struct.unpack(GEN, body[8:8 + GEN_LEN])
        self.state["gen"], self.state["kind"] = gen[0], gen[4]
        rest = body[8 + GEN_LEN:]
        self.state["durable"], self.state["commit"], self.state["applied"] = \
            struct.unpack(">QQQ", rest[:24])
        self.state["peer_durable"], _, self.state["risk"] = struct.unpack(">QQQ", rest[40:64])
        self.state["heard"], self.state["every"] = struct.unpack(">qI", rest[72:84])
        self.states += 1

    def has(self, type_):
        return any(h[0] == type_ for h in self.heard)


def owner_ipc(node, kind=None):
    """A connection to the owners' socket: who connects decides what may be owned."""
    path, user = node.run + "/syncd-owner.sock", os.environ.get("SYNCD_USER")
    if user:
        os.chmod(path, 0o666)
        os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        return (kind or Ipc)(path)
    finally:
        if user:
            os.seteuid(0)


class Owner:
    """One shard: keeps every payload it was given, in order."""

    def __init__(self, node, start=0):
        self.node = node
        self.ipc = owner_ipc(node)
        self.ipc.send(1, struct.pack(">HH", 1, 4) + b"test")
        self.ipc.send(2, struct.pack(">HQ", SHARD, start))
        self.records = {}     # lsn -> payload
        self.acked = {}       # origin -> (lsn, gen, copies)
        self.refused = {}
        self.mine = {}
        self.flooded, self.rest = [], b""
        self.active = self.live = False
        self.gens = []
        self.prefix = random.getrandbits(31) << 32
        self.count = 0

    def append(self, payload):
        self.count += 1
        origin = self.prefix | self.count
        self.mine[origin] = payload
        self.ipc.send(3, struct.pack(">QHB", origin, SHARD, 7) + payload)
        return origin

    def flood(self, size, count, wait=False):
        """Appends without an end, as far as they are taken; wait: all of them.  How many."""
        sock, taken, end = self.ipc.sock, 0, now() + 20
        rest, self.rest = self.rest, b""
        while taken < count or rest:
            if not rest:
                self.count += 1
                origin = self.prefix | self.count
                self.mine[origin] = b"f" * size
                self.flooded.append(origin)
                rest = struct.pack(">IHBBIQHB", 11 + size, 3, 1, 0, 0, origin, SHARD, 7) + \
                    self.mine[origin]
                taken += 1
            if not select.select([], [sock], [], 0.5)[1]:
                # Half a second without room: not read any more.  The rest of the last one
                # has to follow before anything else.
                if not wait:
                    self.rest = rest
                    return taken
                assert now() < end, "not taken"
                self.poll()
                continue
            rest = rest[sock.send(rest):]
            self.poll()
        return taken

    def poll(self):
        for type_, body in self.ipc.receive():
            if type_ == 32:
                self.active, self.live, self.copies = body[0], body[1], body[2]
            elif type_ == 33:
                lsn, gen, origin, shard, kind, copies, t = struct.unpack(">QQQHBBQ", body[:36])
                assert shard == SHARD
                if kind == 0:
                    self.gens.append(struct.unpack(GEN, body[36:])[0])
                else:
                    assert lsn not in self.records, "record twice"
                    assert not self.records or lsn > max(self.records), "out of order"
                    self.records[lsn] = body[36:]
            elif type_ == 34:
                origin, lsn, gen, copies, t = struct.unpack(">QQQBQ", body)
                assert lsn not in self.records, "record twice"
                self.records[lsn] = self.mine[origin]
                self.acked[origin] = (lsn, gen, copies)
            elif type_ == 36:
                origin, why = struct.unpack(">QB", body)
                self.refused[origin] = why


class Mistake(AssertionError):
    """What a planned mistake does, and nothing else."""


class SyncGate:
    """Holds a syncd in its next fdatasync(), by tests/lab/failsync.c and a FIFO."""

    def __init__(self, folder):
        self.fifo, self.lib = folder + "/gate", folder + "/failsync.so"
        self.held = None
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", self.lib,
                        os.path.join(TOP, "tests/lab/failsync.c")], check=True)

    def env(self):
        # A build with sanitizers wants its own library first; this one does not mind.
        return {"LD_PRELOAD": self.lib, "SYNC_GATE": self.fifo,
                "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def close(self):
        os.mkfifo(self.fifo)
        os.chmod(self.fifo, 0o666)

    def holds(self):
        """Is a sync waiting?  It goes on waiting until open()."""
        if self.held is None:
            try:
                self.held = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as e:
                assert e.errno == errno.ENXIO, e
        return self.held is not None

    def open(self):
        os.unlink(self.fifo)
        if self.held is not None:
            os.close(self.held)
        self.held = None


class Node:
    def __init__(self, pair, index):
        self.pair, self.index = pair, index
        self.name = "ha-%d" % (index + 1)
        self.dir = "%s/%s" % (pair.dir, self.name)
        self.run, self.log = self.dir + "/run", self.dir + "/log"
        self.conf = self.dir + "/syncd.conf"
        os.makedirs(self.dir)
        self.process = self.agent = self.owner = None

    def start(self, attach=True, hook=None, gate=False, files=1024, more=None):
        """hook: a planned mistake; gate: its syncs can be held up (see SyncGate); more: of
        the environment."""
        env = dict(os.environ, **(more or {}))
        env.pop("MAILPAIR_HOOK", None)
        if hook:
            env["MAILPAIR_HOOK"] = hook
        if gate:
            self.gate = SyncGate(self.pair.dir)
            env.update(self.gate.env())
        self.err = open(self.dir + "/stderr", "a")
        self.process = subprocess.Popen([SYNCD, "-f", "-d", "-c", self.conf, "-N", self.name],
                                        stderr=self.err, env=env, cwd=self.dir, preexec_fn=lambda:
                                        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        end = now() + 10
        while now() < end:
            try:
                self.agent = Agent(self)
                if attach:
                    self.attach()
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None:
                    raise AssertionError("syncd ended: %s" % self.process.returncode)
                time.sleep(0.01)
        raise AssertionError("syncd does not start")

    def attach(self, keep=True, start=None):
        old = self.owner
        if start is None:
            start = max(old.records) if keep and old and old.records else 0
        self.owner = Owner(self, start)
        if keep and old and start != LOST:
            self.owner.records = old.records

    def kill(self, sig=signal.SIGKILL):
        if self.process is None:
            return
        self.process.send_signal(sig)
        self.process.send_signal(signal.SIGCONT)
        code = self.process.wait(20)
        self.process = None
        self.poll()
        self.agent.ipc.close()
        if self.owner:
            self.owner.ipc.close()
        self.err.close()
        if sig == signal.SIGTERM:
            assert code == 0, "exit %s" % code

    def poll(self):
        for part in (self.agent, self.owner):
            if part is not None:
                part.poll()

    def ctl(self, op, **more):
        return self.ask(dict(more, op=op), 60)[-1]

    def ask(self, request, timeout):
        """All lines of the answer."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(self.run + "/syncd.sock")
        s.sendall(json.dumps(request).encode() + b"\n")
        lines, data = [], b""
        while not lines or "exit" not in lines[-1]:
            got = s.recv(1 << 20)
            assert got, "syncd hung up"
            *whole, data = (data + got).split(b"\n")
            lines += [json.loads(x) for x in whole]
        s.close()
        return lines


class Pair:
    def __init__(self, within=None, **options):
        self.dir = tempfile.mkdtemp(prefix="syncd-pair-", dir=within)
        os.chmod(self.dir, 0o755)
        self.newest = 0
        self.nodes = [Node(self, 0), Node(self, 1)]
        self.port = random.randint(20000, 30000)
        self.options = {"hold-ms": 400, "rejoin-stable-ms": 300, "silent-ms": 400,
                        "ping-ms": 50, "retry-ms": 50, "segment-size": '"4M"',
                        "low-water-size": '"0"', "retain-size": '"64M"'}
        self.options.update(options)
        pins = ["", ""]
        for n in self.nodes:
            self.write(n, pins)
            out = subprocess.run([SYNCD, "-k", "-c", n.conf, "-N", n.name], check=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            pins[n.index] = out.stdout.decode().strip()
        for n in self.nodes:
            self.write(n, pins)

    def write(self, n, pins):
        with open(n.conf, "w") as f:
            f.write('cluster = "test"\nuser = "%s"\nport = %d\n' %
                    (os.environ.get("SYNCD_USER", ""), self.port))
            f.write('node "ha-1" { address = { "127.0.0.1", "127.0.0.3" } certificate = "%s" }\n'
                    % pins[0])
            f.write('node "ha-2" { address = { "127.0.0.2", "127.0.0.1" } certificate = "%s" }\n'
                    % pins[1])
            f.write('certificate-file = "%s/crt"\nkey-file = "%s/key"\n' % (n.dir, n.dir))
            f.write('log-directory = "%s"\nrun-directory = "%s"\n' % (n.log, n.run))
            for k, v in self.options.items():
                f.write("%s %s %s\n" % (k, "" if v.startswith("{") else "=", v)
                        if isinstance(v, str) else "%s = %s\n" % (k, v))

    def gen(self, node, kind, insync):
        no = self.newest + 1
        if no & 1 != node:
            no += 1
        self.newest = no
        return Gen(no, kind, insync)

    def until(self, what, cond, timeout=10.0):
        end = now() + timeout
        while now() < end:
            for n in self.nodes:
                n.poll()
                if n.process is not None and n.process.poll() is not None:
                    raise AssertionError("%s ended by itself" % n.name)
            if cond():
                return
            time.sleep(0.002)
        raise AssertionError("timeout: %s; states %s" % (what, [
            (n.agent.state, n.agent.heard[-3:]) if n.agent else None for n in self.nodes]))

    def run_for(self, seconds):
        end = now() + seconds
        while now() < end:
            for n in self.nodes:
                n.poll()
            time.sleep(0.002)

    def promote(self, i, kind, wait=True):
        n = self.nodes[i]
        g = self.gen(i, kind, 1 << i)
        n.agent.heard = []
        n.agent.ipc.send(PROMOTE, g.pack())
        if wait:
            self.until("promoted", lambda: n.agent.has(PROMOTED))
        return g

    def in_step(self, i=0, timeout=10.0):
        a, b = self.nodes[i].agent, self.nodes[1 - i].agent
        self.until("in step", lambda: a.state.get("mode") == SYNC and
                   b.state.get("mode") == INSYNC, timeout)

    def serving(self, i=0):
        self.until("serving", lambda: self.nodes[i].owner.active)

    def start(self, gate=None):
        """gate: the syncs of this node can be held up."""
        for n in self.nodes:
            n.start(gate=n.index == gate)
        self.promote(0, CLEAN)
        self.in_step()
        self.serving()
        return self.nodes

    def load(self, owner, count, size=200, prefix=b"m"):
        return [owner.append(prefix + b"%d-" % i + os.urandom(size)) for i in range(count)]

    def settled(self, owner, origins, timeout=20.0):
        self.until("settled", lambda: all(o in owner.acked or o in owner.refused
                                          for o in origins), timeout)

    def equal(self, timeout=10.0):
        a, b = self.nodes
        self.until("equal owners", lambda: a.owner.records == b.owner.records, timeout)

    def close(self):
        for n in self.nodes:
            if n.process is not None:
                n.kill(signal.SIGTERM)
        shutil.rmtree(self.dir)


# ---- cases: each takes a fresh pair -------------------------------------------

def case_append(p):
    """new pair, appends are committed on both and delivered to both owners"""
    a, b = p.start()
    origins = p.load(a.owner, 500)
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins), "copies"
    p.equal()
    assert len(b.owner.records) == 500
    st = a.ctl("sync-status")["status"]
    assert st["mode"] == "sync" and st["copies"] == 2 and st["at_risk"] == 0, st
    # Every record was synced once, by this process; some of them together.
    w = st["writer"]
    assert w["records"] == st["durable_lsn"] and w["waiting_bytes"] == 0, w
    assert 1 < w["syncs"] < w["records"] and 1 < w["batch_max"] <= 500, w
    assert w["bytes"] >= 72 * w["records"], w


def case_disk_pending(p):
    """a disk that stands still: owners are not read any more, and go on with it"""
    a, b = p.start(gate=0)
    a.gate.close()
    p.until("a sync is held", lambda: a.gate.holds() or a.owner.append(b"x") is None)
    sent = a.owner.flood(100000, 80)
    assert sent < 80, "taken without an end"
    waiting = a.ctl("sync-status")["status"]["writer"]["waiting_bytes"]
    assert (2 << 20) < waiting < (4 << 20), waiting
    a.gate.open()
    a.owner.flood(100000, 80 - sent, wait=True)
    p.settled(a.owner, a.owner.flooded)
    p.equal()


def case_demoted_pending(p):
    """an owner that is not read because of the standby is read when this node stops serving"""
    case_standby_pending(p, "demote")


def case_standby_pending(p, then=None):
    """a standby whose disk stands still: what only one disk has is bounded"""
    a, b = p.start(gate=1)
    b.gate.close()
    p.until("a sync is held", lambda: b.gate.holds() or a.owner.append(b"x") is None)
    sent = a.owner.flood(100000, 80)
    assert sent < 80, "taken without an end"
    st = a.ctl("sync-status")["status"]
    open_ = (st["durable_lsn"] - st["commit_lsn"]) * 100072
    assert st["mode"] == "sync" and (2 << 20) - 200000 < open_ < (4 << 20), st
    # It serves no more: what is open may stay so for long, and the owner is heard again.
    if then == "demote":
        a.agent.ipc.send(DEMOTE, struct.pack(">QI", p.newest, 0))
        a.owner.flood(0, 0, wait=True)
        p.until("the next one is refused", lambda: a.owner.flooded[-1] in a.owner.refused)
        b.gate.open()
        return
    b.gate.open()
    a.owner.flood(100000, 80 - sent, wait=True)
    p.settled(a.owner, a.owner.flooded)
    p.equal()


def case_held_pending(p):
    """appends held while the standby is away: as many as have room, also empty ones"""
    a, b = p.start()
    b.kill()
    p.until("frozen", lambda: a.agent.state.get("mode") == FROZEN)
    most = (2 << 20) // 72
    a.owner.flood(0, most + 500, wait=True)
    p.until("the last is refused", lambda: a.owner.flooded[-1] in a.owner.refused)
    assert set(a.owner.refused.values()) == {BUSY}, set(a.owner.refused.values())
    assert 0 < a.ctl("sync-status")["status"]["held"] <= most
    assert len(a.owner.refused) >= 500


def case_unsent(p):
    """an owner that reads nothing, and a standby that reads nothing: what waits is bounded"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 300, 100000))

    if os.environ.get("SAN") == "1":
        return "with sanitizers what is freed stays in memory"

    def rss():
        with open("/proc/%d/status" % a.process.pid) as f:
            return next(int(x.split()[1]) for x in f if x.startswith("VmRSS"))
    before = rss()
    deaf = owner_ipc(a)
    deaf.send(1, struct.pack(">HH", 1, 4) + b"deaf")
    deaf.send(2, struct.pack(">HQ", SHARD + 1, 0))
    deaf.send(2, struct.pack(">HQ", SHARD, 0))
    p.until("it is given records", lambda: select.select([deaf.sock], [], [], 0)[0])
    for _ in range(30):
        a.ctl("sync-status")
    assert rss() - before < 8000, "%d kB more for an owner that does not read" % (rss() - before)
    deaf.close()
    a.attach()
    p.until("a live owner", lambda: a.owner.active)
    b.process.send_signal(signal.SIGSTOP)
    a.owner.flood(100000, 80)
    unsent = [a.ctl("sync-status")["status"]["unsent_bytes"] for _ in range(30)]
    b.process.send_signal(signal.SIGCONT)
    # One batch more than the limit; without one the two megabytes that are open would wait.
    assert max(unsent) <= 64 * 1024 + (1 << 20) + 200000, max(unsent)
    a.owner.flood(0, 0, wait=True)
    p.until("all committed", lambda: all(o in a.owner.acked for o in a.owner.flooded))


def case_latency(p):
    """an idle log commits in about one fdatasync of each side"""
    a, b = p.start()
    times = []
    for i in range(50):
        t = now()
        o = a.owner.append(b"x" * 1000)
        while o not in a.owner.acked:
            a.owner.poll()
        times.append(now() - t)
    times.sort()
    print("   commit p50 %.2f ms, p90 %.2f ms" % (times[25] * 1e3, times[45] * 1e3))
    assert times[25] < 0.040, times[25]


def case_large(p):
    """records of the largest size, many segments"""
    a, b = p.start()
    origins = p.load(a.owner, 40, size=1000000)
    p.settled(a.owner, origins)
    p.equal()


def case_solo_and_return(p):
    """standby killed: held, then alone with one copy, then joined again"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 50))
    p.equal()
    a.agent.grant_alone = PRESUMED
    b.kill()
    p.until("frozen", lambda: a.agent.state.get("mode") == FROZEN)
    t = now()
    origins = p.load(a.owner, 50)
    p.run_for(0.15)
    assert not any(o in a.owner.acked for o in origins), "acknowledged while frozen"
    p.settled(a.owner, origins)
    assert 0.2 < now() - t < 2, now() - t
    assert all(a.owner.acked[o][2] == 1 for o in origins)
    assert all(a.owner.acked[o][1] == p.newest for o in origins), "generation of one copy"
    p.until("risk", lambda: a.agent.state["risk"] >= 50)
    b.start()
    p.until("joining", lambda: a.agent.state.get("mode") == JOINING)
    p.in_step()
    p.until("no risk", lambda: a.agent.state["risk"] == 0)
    origins = p.load(a.owner, 10)
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins)
    p.equal()


def case_denied(p):
    """the agent denies: what is held is refused, new ones at once; back, accepted"""
    a, b = p.start()
    a.agent.grant_alone = DENY
    b.kill()
    p.until("frozen", lambda: a.agent.state.get("mode") == FROZEN)
    origins = p.load(a.owner, 5)
    p.settled(a.owner, origins)
    assert all(a.owner.refused[o] == NOT_TWICE for o in origins)
    t = now()
    o = a.owner.append(b"no")
    p.settled(a.owner, [o])
    assert now() - t < 0.2 and a.owner.refused[o] == NOT_TWICE
    b.start()
    p.in_step()
    o = a.owner.append(b"yes")
    p.settled(a.owner, [o])
    assert a.owner.acked[o][2] == 2


def case_strict(p):
    """commit = strict never asks"""
    a, b = p.start()
    a.agent.grant_alone = PRESUMED
    b.kill()
    p.until("frozen", lambda: a.agent.state.get("mode") == FROZEN)
    origins = p.load(a.owner, 5)
    p.settled(a.owner, origins)
    assert all(a.owner.refused[o] == NOT_TWICE for o in origins)
    assert not a.agent.has(ALONE_WANTED)
    b.start()
    p.in_step()
    o = a.owner.append(b"yes")
    p.settled(a.owner, [o])
    assert a.owner.acked[o][2] == 2


def case_short_absence(p):
    """a standby's syncd that is away for less than hold-ms: nothing is refused"""
    a, b = p.start()
    b.kill()
    origins = p.load(a.owner, 20)
    b.start()
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins)
    assert not a.agent.has(ALONE_WANTED)
    p.in_step()
    p.equal()


def case_blip(p):
    """a stopped standby that goes on: same generation, in step again"""
    a, b = p.start()
    gen = a.agent.state["gen"]
    b.process.send_signal(signal.SIGSTOP)
    origins = p.load(a.owner, 20)
    p.until("frozen", lambda: a.agent.state.get("mode") == FROZEN)
    assert not any(o in a.owner.acked for o in origins)
    b.process.send_signal(signal.SIGCONT)
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins)
    p.in_step()
    assert a.agent.state["gen"] == gen
    p.equal()


def case_takeover(p):
    """active killed under load: everything acknowledged is on the other; the tail of the
    old active is set aside and it joins"""
    a, b = p.start()
    origins = p.load(a.owner, 3000)
    p.until("some acked", lambda: len(a.owner.acked) > 500)
    a.kill()
    acked = {o: a.owner.mine[o] for o in a.owner.acked}
    p.promote(1, PRESUMED)
    p.serving(1)
    have = set(b.owner.records.values())
    lost = [o for o in acked if acked[o] not in have]
    assert not lost, "lost %d of %d" % (len(lost), len(acked))
    o = b.owner.append(b"after")
    p.settled(b.owner, [o])
    assert b.owner.acked[o][2] == 1
    a.owner.records = {}
    a.owner = None
    a.start()
    p.in_step(1)
    p.equal()
    o = b.owner.append(b"both")
    p.settled(b.owner, [o])
    assert b.owner.acked[o][2] == 2


def case_syncd_killed_on_active(p):
    """kill -9 of the active's own syncd during load: promoted again, nothing lost"""
    a, b = p.start()
    for turn in range(3):
        p.load(a.owner, 1000, prefix=b"t%d-" % turn)
        goal = len(a.owner.acked) + 100
        p.until("some acked", lambda: len(a.owner.acked) > goal)
        a.kill()
        acked = [a.owner.mine[o] for o in a.owner.acked]
        t = now()
        a.start()
        p.promote(0, CLEAN)
        p.serving()
        took = now() - t
        assert took < 3, took
        have = set(a.owner.records.values())
        assert not [x for x in acked if x not in have], "lost"
        p.in_step()
        p.equal()
    print("   back after %.2f s" % took)


def case_undecided_after_restart(p):
    """what a killed syncd wrote and nobody confirmed is open until the promotion decides"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 10))
    b.process.send_signal(signal.SIGSTOP)
    first = a.owner.append(b"open")
    p.until("written here", lambda: a.ctl("sync-status")["status"]["durable_lsn"] >
            a.ctl("sync-status")["status"]["commit_lsn"])
    a.kill()
    a.start()
    p.run_for(0.3)
    assert not a.owner.live, "told to propose anew what may yet be committed"
    b.process.send_signal(signal.SIGCONT)
    p.promote(0, CLEAN)
    p.serving()
    assert a.owner.live and list(a.owner.records.values()).count(b"open") == 1
    assert first not in a.owner.refused


def case_old_generation(p):
    """a paused old active cannot acknowledge anything after the takeover"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 20))
    a.process.send_signal(signal.SIGSTOP)
    p.promote(1, PRESUMED)
    p.serving(1)
    origins = p.load(a.owner, 5, prefix=b"old")
    a.process.send_signal(signal.SIGCONT)
    p.until("newer", lambda: a.agent.has(NEWER))
    p.run_for(0.5)
    assert not any(o in a.owner.acked for o in origins), "two writers"
    o = a.owner.append(b"late")
    p.settled(a.owner, [o])
    assert a.owner.refused[o] == NOT_ACTIVE
    a.agent.ipc.send(DEMOTE, struct.pack(">QI", 0, 100))
    p.until("demoted", lambda: a.agent.has(DEMOTED))
    p.in_step(1)
    p.settled(a.owner, origins)
    assert all(a.owner.refused[o] == NOT_ACTIVE for o in origins)
    p.equal()


def check_older_batch(p):
    """node 1 goes; in its name comes one that still lives in the generation before"""
    a, b = p.nodes
    if a.agent.state["role"] == ACTIVE:
        a.agent.ipc.send(DEMOTE, struct.pack(">QI", 0, 100))
        p.until("demoted", lambda: a.agent.has(DEMOTED))
        p.promote(1, CLEAN)
        p.in_step(1)
    b.kill()
    tip = a.agent.state["durable"]
    old = OldActive("127.0.0.1", p.port, b.dir + "/crt", b.dir + "/key")
    ruling, lsn, prev = old.facts()
    assert lsn == tip and ruling == a.agent.state["gen"]
    old.batch(ruling - 1, lsn + 1, prev, SHARD, b"of an older generation")
    try:
        answer = old.wait_for(PEER_ACK, PEER_NEWER)[0]
    except (ConnectionError, TimeoutError):
        answer = None
    p.run_for(0.2)
    taken = a.agent.state["durable"] > tip
    old.sock.close()
    if answer != PEER_NEWER or taken:
        raise Mistake("a batch of an older generation was taken")


def case_older_batch(p):
    """a standby refuses a batch of an older generation though it follows its log"""
    p.start()
    check_older_batch(p)


def case_full_standby(p):
    """a standby without room takes nothing, and says where its log ends when there is room"""
    if os.geteuid() != 0:
        return "needs root, for a small disk"
    a, b = p.nodes
    user = pwd.getpwnam(os.environ.get("SYNCD_USER") or "root")
    os.makedirs(a.log)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=0700,uid=%d" % user.pw_uid,
                    "syncd-pair", a.log], check=True)
    try:
        p.start()
        a.agent.ipc.send(DEMOTE, struct.pack(">QI", 0, 100))
        p.until("demoted", lambda: a.agent.has(DEMOTED))
        p.promote(1, CLEAN)
        p.in_step(1)
        b.kill()
        peer = OldActive("127.0.0.1", p.port, b.dir + "/crt", b.dir + "/key")
        ruling, tip, prev = peer.facts()
        ballast = a.log + "/ballast"
        with open(ballast, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 54 << 20)
        assert peer.wait_for(PEER_TROUBLE)[1] == b"\x02"
        p.until("the agent knows", lambda: a.agent.state["trouble"] == 2)
        peer.batch(ruling, tip + 1, prev, SHARD, b"sent before it was known")
        os.unlink(ballast)
        assert peer.wait_for(PEER_TROUBLE)[1] == b"\x00"
        assert peer.facts() == (ruling, tip, prev), "it took what it has no room for"
        peer.batch(ruling, tip + 1, prev, SHARD, b"and again")
        p.until("it is taken", lambda: a.agent.state["durable"] == tip + 1)
        peer.sock.close()
    finally:
        a.kill()
        subprocess.run(["umount", "-l", a.log], check=True)
    return None


def said(node, text):
    with open(node.dir + "/stderr") as f:
        return f.read().count(text)


def case_far_behind(p):
    """the log of the active names a standby that cannot follow, not one that is off"""
    a, b = p.nodes
    serve(p)
    a.agent.grant_alone = PRESUMED
    b.gate.close()
    p.load(a.owner, 100, 30000)
    p.until("it lags", lambda: b.gate.holds() and said(a, "is too far behind") == 1)
    b.gate.open()
    p.until("it came closer", lambda: said(a, "has come closer") == 1)
    b.kill()
    p.until("alone", lambda: a.agent.state.get("mode") == SOLO)
    p.settled(a.owner, p.load(a.owner, 100, 30000))
    assert said(a, "is too far behind") == 1


def case_switch_roles(p):
    """planned switch back and forth under load"""
    a, b = p.start()
    acked = []
    for turn in range(6):
        i = turn % 2
        me, other = p.nodes[i], p.nodes[1 - i]
        origins = p.load(me.owner, 200, prefix=b"s%d-" % turn)
        p.run_for(0.02)
        me.agent.heard = []
        me.agent.ipc.send(DEMOTE, struct.pack(">QI", p.newest, 2000))
        p.until("demoted", lambda: me.agent.has(DEMOTED))
        drained = [h for h in me.agent.heard if h[0] == DEMOTED][0][2][-1]
        assert drained == 1
        t = now()
        p.promote(1 - i, CLEAN)
        p.in_step(1 - i)
        p.serving(1 - i)
        assert now() - t < 2, now() - t
        p.settled(me.owner, origins)
        acked += [me.owner.mine[o] for o in origins if o in me.owner.acked]
    p.equal()
    have = list(a.owner.records.values())
    assert len(set(have)) == len(have)
    assert not [x for x in acked if x not in set(have)]


def case_first_gen_alone(p):
    """a new pair whose standby never came: alone, then the empty standby catches up"""
    a, b = p.nodes
    a.start()
    a.agent.grant_alone = UNSAFE
    p.promote(0, CLEAN)
    p.until("alone", lambda: a.agent.state.get("mode") == SOLO)
    p.serving()
    origins = p.load(a.owner, 2000, size=4000)
    p.settled(a.owner, origins)
    b.start()
    p.in_step()
    p.equal()


def case_split(p):
    """both acknowledged alone: nothing is thrown away, the older side stays out"""
    a, b = p.start()
    a.agent.grant_alone = PRESUMED
    b.kill()
    origins = p.load(a.owner, 10, prefix=b"A")
    p.settled(a.owner, origins)
    a.kill()
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    origins = p.load(b.owner, 10, prefix=b"B")
    p.settled(b.owner, origins)
    a.start()
    p.until("split", lambda: a.agent.state.get("mode") == SPLIT)
    durable = a.agent.state["durable"]
    p.run_for(0.5)
    assert a.agent.state.get("mode") == SPLIT and a.agent.state["durable"] == durable
    assert b.agent.state.get("mode") == SOLO
    assert "two histories" in b.ctl("sync-status")["status"]["peer"]["trouble"]
    assert a.ctl("sync-status")["status"]["mode"] == "split"


def case_split_trimmed(p):
    """both acknowledged alone, and the fork is trimmed at the active: no seed over it"""
    a, b = p.start()
    a.agent.grant_alone = PRESUMED
    b.kill()
    p.settled(a.owner, p.load(a.owner, 10, prefix=b"A"))
    a.kill()
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    p.settled(b.owner, p.load(b.owner, 30, size=900000, prefix=b"B"))
    b.owner.ipc.send(5, struct.pack(">HQ", SHARD, max(b.owner.records)))
    p.until("trimmed", lambda: b.ctl("sync-status")["status"]["oldest_lsn"] > 20, 30)
    a.start()
    p.until("split", lambda: a.agent.state.get("mode") == SPLIT)
    durable = a.agent.state["durable"]
    p.run_for(0.5)
    assert a.agent.state.get("mode") == SPLIT and a.agent.state["durable"] == durable
    assert not os.path.exists(a.log + "/seeding"), "marked for seeding"
    assert b.agent.state.get("mode") == SOLO
    assert "two histories" in b.ctl("sync-status")["status"]["peer"]["trouble"]


def case_split_trimmed_standby(p):
    """the standby has trimmed the fork, and none of its owners is there: it is split, and does not
    exchange FACTS and TRUNCATE without an end"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 5))
    p.equal()
    b.kill()
    shutil.copytree(b.log, b.dir + "/old")
    b.start()
    p.in_step()
    p.settled(a.owner, p.load(a.owner, 30, size=900000))
    p.equal()
    for n in p.nodes:
        n.owner.ipc.send(5, struct.pack(">HQ", SHARD, max(n.owner.records)))
    p.until("trimmed", lambda: a.ctl("sync-status")["status"]["oldest_lsn"] > 20, 30)
    a.kill()
    b.kill()
    shutil.rmtree(b.log)            # an old copy of its disk comes back
    os.rename(b.dir + "/old", b.log)
    for top, _, files in os.walk(b.log):
        for f in [top] + [os.path.join(top, f) for f in files]:
            if os.environ.get("SYNCD_USER"):
                shutil.chown(f, os.environ["SYNCD_USER"])
    b.owner = None
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    p.settled(b.owner, p.load(b.owner, 3, prefix=b"B"))
    a.owner = None
    a.start(attach=False)
    p.until("split", lambda: a.agent.state.get("mode") == SPLIT)
    assert not os.path.exists(a.log + "/seeding"), "marked for seeding"
    assert "two histories" in b.ctl("sync-status")["status"]["peer"]["trouble"]


def damage(log, what):
    """Flips one bit inside the payload `what` in the oldest segment of a log."""
    path = "%s/%s" % (log, min(f for f in os.listdir(log) if f.endswith(".seg")))
    with open(path, "r+b") as f:
        at = f.read().index(what)
        f.seek(at)
        f.write(bytes([what[0] ^ 1]))


def case_damaged_active(p):
    """a place that the active cannot read is no place in common: nothing is seeded over it"""
    a, b = p.start()
    a.agent.grant_alone = PRESUMED
    last = p.load(a.owner, 1, prefix=b"the-last-one-in-common")
    p.settled(a.owner, last)
    p.equal()
    b.kill()
    p.settled(a.owner, p.load(a.owner, 30, size=900000))
    damage(a.log, b"the-last-one-in-common")
    b.start()
    p.until("trouble", lambda: "damaged" in
            (a.ctl("sync-status")["status"]["peer"].get("trouble") or ""))
    p.run_for(0.5)
    with open(a.dir + "/stderr") as f:
        assert "seeding the standby" not in f.read(), "seeded from a damaged log"
    assert a.agent.state.get("mode") == SOLO and not b.agent.state["insync"]


def case_tail(p):
    """the standby was ahead of an active that lost its unsynced end: the tail is set aside"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 50))
    p.equal()
    # freeze the standby so that records reach only the active's disk
    b.process.send_signal(signal.SIGSTOP)
    before = a.ctl("sync-status")["status"]["durable_lsn"]
    p.load(a.owner, 20, prefix=b"tail")
    p.until("on one disk", lambda: a.ctl("sync-status")["status"]["durable_lsn"] >= before + 20)
    a.kill()
    b.process.send_signal(signal.SIGKILL)
    b.process.wait()
    b.process = None
    b.agent.ipc.close()
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    o = b.owner.append(b"winner")
    p.settled(b.owner, [o])
    a.owner = None
    a.start()
    p.in_step(1)
    forks = os.listdir(a.log + "/forks")
    assert forks and os.path.getsize("%s/forks/%s/tail" % (a.log, forks[0])) > 20 * 200, forks
    p.equal()


def case_outdated(p):
    """OUTDATE is durable and keeps a standby from being promoted until it joined again"""
    a, b = p.start()
    b.agent.ipc.send(OUTDATE, struct.pack(">Q", b.agent.state["gen"]))
    p.until("outdated", lambda: b.agent.has(OUTDATED) and b.agent.state["outdated"])
    assert not b.agent.state["insync"]
    a.agent.grant_join = False
    b.kill()
    b.start()
    p.until("still outdated", lambda: b.agent.state.get("outdated"))
    p.promote(1, TAKEOVER, wait=False)
    p.until("refused", lambda: b.agent.has(REFUSED))
    a.agent.grant_join = True
    p.in_step()
    assert not b.agent.state["outdated"]


def case_agent_restart(p):
    """the agent goes and comes: syncd stays what it is"""
    a, b = p.start()
    a.agent.ipc.close()
    origins = p.load(a.owner, 20)
    p.settled(a.owner, origins)
    a.agent = Agent(a)
    p.until("state", lambda: a.agent.state.get("mode") == SYNC)
    assert all(a.owner.acked[o][2] == 2 for o in origins)


def case_query(p):
    """an agent that hears nothing asks whether syncd does, and is answered at once"""
    a, b = p.start()
    assert a.agent.state["every"] == 50, a.agent.state
    b.process.send_signal(signal.SIGSTOP)
    try:
        p.run_for(0.4)
        before, begun = a.agent.states, now()
        for n in range(1, 6):
            a.agent.ipc.send(QUERY, b"")
            p.until("an answer", lambda: a.agent.states >= before + n)
        took = now() - begun
        assert took < 0.5, "5 answers took %.2f s" % took
        assert a.agent.state["heard"] > 100, a.agent.state
    finally:
        b.process.send_signal(signal.SIGCONT)


def case_owner_restart(p):
    """an owner that comes back is given everything after its mark, once"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 300))
    before = dict(a.owner.records)
    a.owner.ipc.close()
    keep = sorted(before)[100]
    a.owner = Owner(a, keep)
    p.serving()
    assert sorted(a.owner.records) == [l for l in sorted(before) if l > keep]


def check_trim(p):
    """Nothing is trimmed before both owners gave up what is in it."""
    a, b = p.nodes

    def oldest():
        return a.ctl("sync-status")["status"]["oldest_lsn"]

    p.settled(a.owner, p.load(a.owner, 30, size=900000))
    p.equal()
    p.run_for(3.5)
    if oldest() != 1:
        raise Mistake("trimmed without the own checkpoint")
    last = max(a.owner.records)
    a.owner.ipc.send(5, struct.pack(">HQ", SHARD, last))
    p.run_for(2.5)
    if oldest() != 1:
        raise Mistake("trimmed without the peer's checkpoint")


def case_trim(p):
    """segments go when both nodes' owners have a checkpoint behind them"""
    a, b = p.start()
    check_trim(p)
    b.owner.ipc.send(5, struct.pack(">HQ", SHARD, max(b.owner.records)))
    p.until("trimmed", lambda: a.ctl("sync-status")["status"]["oldest_lsn"] > 20 and
            b.ctl("sync-status")["status"]["oldest_lsn"] > 20, 30)
    b.kill()
    b.start()
    p.in_step()


def case_retain_time(p):
    """a standby that is away for longer than retain-s is waited for no more"""
    a, b = p.start()
    check_trim(p)
    b.kill()
    oldest = lambda: a.ctl("sync-status")["status"]["oldest_lsn"]  # noqa: E731
    p.run_for(2.5)
    if oldest() != 1:
        raise Mistake("trimmed before retain-s")
    p.until("trimmed", lambda: oldest() > 20, 30)
    b.start()                   # it has what was trimmed, and goes on
    p.in_step()


def case_lost_index(p):
    """an owner that lost its index is given nothing; a standby is filled anew, an active fills nobody"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 20))
    last = max(a.owner.records)
    a.attach(start=LOST)
    p.run_for(1.0)
    assert not a.owner.records and not a.owner.gens and not a.owner.active and not a.owner.live
    lost = a.owner.append(b"x")
    p.until("refused", lambda: a.owner.refused.get(lost) == NOT_ACTIVE)
    assert not os.path.exists(a.log + "/seeding"), "the active has to serve until the other one does"
    # Its index is back.
    a.owner.ipc.close()
    a.owner = Owner(a, last)
    p.serving()
    p.settled(a.owner, p.load(a.owner, 5))
    b.attach(start=LOST)
    p.until("marked", lambda: os.path.exists(b.log + "/seeding"))
    assert not b.owner.records and not b.owner.active
    p.until("not in step", lambda: a.agent.state.get("mode") != SYNC)
    # A standby that has to be filled is not filled from an index that is lost.
    a.attach(start=LOST)
    p.until("said", lambda: said(a, "the owner of shard %d is away" % SHARD) > 0, 30)
    assert os.path.exists(b.log + "/seeding"), "filled"


def case_path_change(p):
    """a silent connection is dropped and the other address is used"""
    a, b = p.start()

    def path():
        return b.ctl("sync-status")["status"]["peer"]["path"]

    for _ in range(2):          # there and back
        before = path()
        assert before in ("127.0.0.1", "127.0.0.3"), before
        a.process.send_signal(signal.SIGSTOP)
        p.until("dropped as silent", lambda: path() == "")
        a.process.send_signal(signal.SIGCONT)
        p.until("connected again", lambda: path() != "")
        assert path() != before, "the same address again: %s" % before
        p.in_step()
        origins = p.load(a.owner, 10)
        p.settled(a.owner, origins)
        assert all(a.owner.acked[o][2] == 2 for o in origins)


class Strangers(threading.Thread):
    """Connections to the peer's port that say nothing, made anew as soon as they are closed."""

    def __init__(self, port, count=30):
        super().__init__(daemon=True)
        self.port, self.count, self.made, self.ends = port, count, 0, False

    def connect(self):
        s = socket.socket()
        s.bind(("127.0.0.9", 0))
        s.connect(("127.0.0.1", self.port))
        self.made += 1
        return s

    def run(self):
        conns = []
        while not self.ends:
            try:
                conns += [self.connect() for _ in range(self.count - len(conns))]
                for s in select.select(conns, [], [], 0.05)[0]:
                    s.close()
                    conns.remove(s)
            except OSError:     # the daemon is away, or has gone in the middle
                self.ends = self.ends or self.made > 1000000
        for s in conns:
            s.close()


def case_strangers(p):
    """connections of others to the peer's port keep the other node out for no moment"""
    a, b = p.start()
    b.kill()
    others = Strangers(p.port)
    others.start()
    try:
        p.until("many strangers", lambda: others.made > 100)
        b.start()
        p.in_step(timeout=5)
        o = a.owner.append(b"nevertheless")
        p.settled(a.owner, [o])
        assert a.owner.acked[o][2] == 2
    finally:
        others.ends = True
        others.join()


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def case_no_descriptors(p):
    """a syncd without descriptors rests and goes on, with those it has and with new ones"""
    a, b = p.nodes
    a.start(files=40)
    b.start()
    p.promote(0, CLEAN)
    p.in_step()
    p.serving()
    pid = a.process.pid
    others = [owner_ipc(a) for _ in range(45 - len(os.listdir("/proc/%d/fd" % pid)))]
    p.until("none left", lambda: len(os.listdir("/proc/%d/fd" % pid)) == 40)
    before = cpu_ticks(pid)
    p.run_for(1.0)
    spent = (cpu_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")
    assert spent < 0.5, "%.2f s of the processor in one second" % spent
    o = a.owner.append(b"meanwhile")
    p.settled(a.owner, [o])
    assert a.owner.acked[o][2] == 2
    with open(a.dir + "/stderr") as f:
        told = f.read().count("cannot accept a connection at syncd-owner.sock")
    assert told == 1, "said %d times" % told
    for s in others:
        s.close()
    a.agent = Agent(a)
    p.until("a new agent is heard", lambda: a.agent.state.get("mode") == SYNC)


def case_owners_max(p):
    """so many owners and no more, and who has a place keeps it"""
    a, b = p.start()
    others = [owner_ipc(a) for _ in range(8)]
    p.until("five of eight are refused", lambda: [o.receive() for o in others] and
            sum(o.dead for o in others) == 5)
    for o in others:
        o.close()
    o = a.owner.append(b"the first has its place")
    p.settled(a.owner, [o])


def case_configuration(p):
    """what cannot work is named with file and line, and ends both -n and a start with 19"""
    a = p.nodes[0]
    with open(a.conf) as f:
        good = f.read()

    def run(text, *args):
        with open(a.conf, "w") as f:
            f.write(text)
        r = subprocess.run([SYNCD, "-c", a.conf, "-N", a.name, *args], stderr=subprocess.PIPE,
                           stdout=subprocess.DEVNULL, timeout=10)
        return r.returncode, r.stderr.decode()

    for lag in ("0", "1M", "128M"):
        text = good + 'lag-max-size = "%s"\n' % lag
        assert run(text, "-n") == (0, ""), run(text, "-n")
    for source in ('"auto"', '"none" full-walk-interval-s = 0'):
        text = good + 'mirror "/srv/x" { change-source = %s }\n' % source
        assert run(text, "-n") == (0, ""), run(text, "-n")
    assert run(good, "-n") == (0, ""), run(good, "-n")
    crt, key = a.dir + "/crt", a.dir + "/key"
    for old, new, where, what in (
            ('"127.0.0.3"', '"foo"', "node", "address must be"),
            ("ping-ms = 50", "join-lag = -5", "join-lag", "expected a number from 0"),
            ("ping-ms = 50", "owners-max = 3", "owners-max", "expected a number from 4"),
            ("ping-ms = 50", "ping-ms = 200", "silent-ms", "silent-ms must be at least"),
            ("ping-ms = 50", "slow-sync-ms = 9", "slow-sync-ms", "expected a number from 10"),
            ("ping-ms = 50", "ping-ms = 50\nslow-window-ms = 1500", "slow-window-ms",
             "slow-window-ms must be at least"),
            ("ping-ms = 50", 'lag-max-size = "129M"', "lag-max-size", "0, or a size from"),
            ("ping-ms = 50", 'lag-max-size = "1023k"', "lag-max-size", "0, or a size from"),
            ("ping-ms = 50", 'ping-ms = 50\nmirror "/srv/x" { change-source = "dnotify" }',
             "mirror", "change-source must be auto or none"),
            ("ping-ms = 50", 'ping-ms = 50\nmirror "/srv/x" { full-walk-interval-s = -1 }',
             "mirror", "full-walk-interval-s must be from 0"),
            ("ping-ms = 50", 'bandwidth-limit = "15k"', "bandwidth-limit", "0, or a size from"),
            ("ping-ms = 50", 'mirror "/x" { compress-level = 20 }', "mirror",
             "compress-level must be from 0 to 19"),
            ("ping-ms = 50", 'low-water-size = "x"', "low-water-size", "size: a size from 0"),
            (crt, crt + "-missing", "certificate-file", "crt-missing: No such file"),
            (key, key + "-missing", "key-file", "key-missing: No such file"),
            (key, crt, "key-file", crt)):
        assert old in good
        bad = good.replace(old, new)
        assert bad != good
        for args in (("-n",), ("-f",)):
            code, text = run(bad, *args)
            assert code == 19 and text.startswith("ERROR %s:" % a.conf) and what in text, \
                (new, code, text)
            line = int(text.split(":")[1])
            named = bad.splitlines()[line - 1]
            assert named.split()[0] == where, (line, named, text)
    pin = re.sub(r'(ha-2.*certificate = )"sha256:[0-9a-f]*"', r'\1""', good)
    code, text = run(pin, "-n")
    assert pin != good and code == 19 and "ERROR %s:5: " % a.conf in text, (code, text)
    run(good, "-n")


def hook_case(hook, where, check, gate=1):
    """A planned mistake has to be found: the check fails with it.  Without it the same
    check passes, in a case of its own."""
    def run(p):
        probe = subprocess.run(["grep", "-c", "MAILPAIR_HOOK", SYNCD], stdout=subprocess.PIPE)
        if probe.stdout.strip() == b"0":
            return "built without HOOKS=1"
        serve(p, hook, where, gate)
        try:
            check(p)
        except Mistake as e:
            print("   found: %s" % e)
            return None
        raise RuntimeError("the planned mistake %s was not found" % hook)
    run.__doc__ = "planned mistake: " + hook
    return run


BOTH = 2


def serve(p, hook=None, where=None, gate=1):
    """Both in step, the first active, one of them with a gate before its disk."""
    for n in p.nodes:
        n.start(hook=hook if where in (n.index, BOTH) else None, gate=n.index == gate)
    p.promote(0, CLEAN)
    p.in_step()
    p.serving()


EARLY_S = 1.0       # so long an acknowledgement that must not come is waited for


def early(p, origins):
    """Is any of them acknowledged, though the standby stands still?"""
    a = p.nodes[0]
    end = now() + EARLY_S
    while now() < end:
        a.poll()
        if any(o in a.owner.acked for o in origins):
            return True
        time.sleep(0.002)
    return False


def check_two_disks(p):
    a, b = p.nodes
    b.process.send_signal(signal.SIGSTOP)
    origins = p.load(a.owner, 5)
    bad = early(p, origins)
    b.process.send_signal(signal.SIGCONT)
    if bad:
        raise Mistake("acknowledged before the peer had it")
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins), a.owner.acked


def check_fsync(p):
    a, b = p.nodes
    b.gate.close()
    origins = p.load(a.owner, 5)
    p.until("the standby syncs", b.gate.holds)
    bad = early(p, origins)
    b.gate.open()
    if bad:
        raise Mistake("acknowledged before fdatasync")
    p.settled(a.owner, origins)
    assert all(a.owner.acked[o][2] == 2 for o in origins), a.owner.acked


def check_read(p):
    """What the standby has on its disk, and the active not, is nobody's to see."""
    a, b = p.nodes
    a.gate.close()
    p.until("equal", lambda: a.agent.state["durable"] == b.agent.state["durable"])
    had, tip = dict(b.owner.records), b.agent.state["durable"]
    origins = p.load(a.owner, 5)
    p.until("the active syncs", a.gate.holds)
    p.until("the standby has it", lambda: b.ctl("sync-status")["status"]["durable_lsn"] > tip)
    bad = False
    end = now() + EARLY_S
    while now() < end and not bad:
        b.poll()
        bad = b.owner.records != had
        time.sleep(0.002)
    a.gate.open()
    if bad:
        raise Mistake("given to an owner before it was committed")
    p.settled(a.owner, origins)
    p.equal()


def case_read_committed(p):
    """owners are given what is committed, and nothing before"""
    serve(p, gate=0)
    check_read(p)


def case_two_disks(p):
    """acknowledged only when the other node has it"""
    serve(p)
    check_two_disks(p)


def case_two_syncs(p):
    """acknowledged only when it is on the other node's disk"""
    serve(p)
    check_fsync(p)


class NthCall:
    """The n-th call of one syncd on its log's folder fails, or is its last
    (tests/lab/nthcall.c)."""

    def __init__(self, pair, victim, n, how, err):
        self.pair, self.victim = pair, pair.nodes[victim]
        self.how = how
        lib = pair.dir + "/nthcall.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", lib,
                        os.path.join(TOP, "tests/lab/nthcall.c")], check=True)
        self.env = {"LD_PRELOAD": lib, "ASAN_OPTIONS": "verify_asan_link_order=0",
                    "NTHCALL": "%d %s %d %s %s" % (n, how, err, self.victim.log, self.victim.run + "/once")}

    def start(self):
        for n in self.pair.nodes:
            n.start(more=self.env if n is self.victim else None)
        self.pair.nodes[0].agent.grant_alone = PRESUMED
        self.pair.promote(0, CLEAN)
        self.pair.in_step()
        self.pair.serving()

    def died(self):
        """Has it ended?  Only as it may."""
        code = self.victim.process.poll()
        if code is None:
            return False
        assert code == 1 if self.how in ("fail", "all") else \
            code in (-signal.SIGKILL, 128 + signal.SIGKILL), "exit %d" % code
        return True

    def run(self):
        """Appends until the fault has come, and all are settled or the active is dead."""
        a, b = self.pair.nodes
        origins, end = [], now() + 20
        while now() < end and not self.died():
            if len(origins) < 400:
                origins.append(a.owner.append(b"n%d-" % len(origins) + os.urandom(15000)))
            a.poll()
            b.poll()
            if len(origins) == 400 and all(o in a.owner.acked for o in origins):
                break
            time.sleep(0.002)
        return self.died()

    def back(self):
        """A start without the fault is enough for both to be in step again."""
        a, b = self.pair.nodes
        mine = dict(a.owner.mine)
        if self.died():
            self.victim.kill()
            if self.victim is a:
                self.pair.promote(1, TAKEOVER)
                self.pair.serving(1)
            self.victim.start()
        leader = 1 if self.victim is a and a.owner.mine != mine else 0
        self.pair.in_step(leader)
        self.pair.equal()
        return mine


def case_nth_call(p):
    """a call on the disk of either node fails or is its last: nothing acknowledged is lost"""
    rng = random.Random(4)
    for victim, how, err in ((0, "fail", errno.EIO), (1, "fail", errno.EIO), (0, "kill", 0),
                             (1, "after", 0), (0, "fail", errno.EDQUOT),
                             (0, "all", errno.EROFS), (1, "all", errno.EROFS)):
        q = Pair(within=p.dir, **{"hold-ms": 500})
        n = rng.randrange(40, 160)
        what = "node %d %s %d at %d" % (victim, how, err, n)
        try:
            fault = NthCall(q, victim, n, how, err)
            fault.start()
            died = fault.run()
            acked = dict(q.nodes[0].owner.acked)
            mine = fault.back()
            kept = set(q.nodes[0].owner.records.values())
            lost = [o for o in acked if mine[o] not in kept]
            assert not lost, "%d of %d acknowledged are lost" % (len(lost), len(acked))
            assert acked, "nothing was acknowledged"
            print("   %s: %s, %d acknowledged" % (what, "ended" if died else "went on",
                                                  len(acked)))
        except Exception as e:
            p.nodes += q.nodes      # whose last words are shown, and which are ended
            raise AssertionError("%s: %s" % (what, e)) from e
        q.close()


CASES = {n[5:]: f for n, f in list(globals().items()) if n.startswith("case_")}
CASES["hook_ack_before_peer"] = hook_case("ack-before-peer", 0, check_two_disks)
CASES["hook_ack_before_fsync"] = hook_case("ack-before-fsync", 1, check_fsync)
CASES["hook_trim_ignores_peer"] = hook_case("trim-ignores-peer", 0, check_trim)
# Without its own word the other node gives no leave either.
CASES["hook_trim_ignores_own"] = hook_case("trim-ignores-own", BOTH, check_trim)
CASES["hook_read_uncommitted"] = hook_case("read-uncommitted", 1, check_read, gate=0)
CASES["hook_accept_old_generation"] = hook_case("accept-old-generation", 0, check_older_batch)
SMALL = {"pending-max": '"2M"', "silent-ms": 60000, "hold-ms": 60000, "ping-ms": 1000}
OPTIONS = {"disk_pending": SMALL, "standby_pending": SMALL, "demoted_pending": SMALL, "held_pending": SMALL,
           "unsent": {**SMALL, "unsent-max": '"64K"', "recent-size": '"1M"'},
           "strict": {"commit": "strict"}, "short_absence": {"hold-ms": 3000},
           "far_behind": {"lag-max-size": '"1M"', "silent-ms": 10000},
           "full_standby": {"low-water-size": '"16M"', "silent-ms": 10000},
           "blip": {"hold-ms": 3000}, "split": {"hold-ms": 200},
           "damaged_active": {"recent-size": '"1M"'},
           "split_trimmed_standby": {"hold-ms": 200, "retain-size": '"1G"'},
           "split_trimmed": {"hold-ms": 200, "retain-size": '"8M"'},
           "hook_ack_before_peer": {"hold-ms": 20000},
           "hook_ack_before_fsync": {"hold-ms": 20000},
           "hook_read_uncommitted": {"hold-ms": 20000}, "read_committed": {"hold-ms": 20000},
           "two_disks": {"hold-ms": 20000}, "two_syncs": {"hold-ms": 20000},
           "tail": {"hold-ms": 3000}, "syncd_killed_on_active": {"hold-ms": 3000},
           "undecided_after_restart": {"hold-ms": 5000},
           "strangers": {"silent-ms": 3000, "hold-ms": 20000},
           "no_descriptors": {"hold-ms": 3000}, "owners_max": {"owners-max": 4},
           "switch_roles": {"hold-ms": 3000}, "trim": {"retain-size": '"1G"'},
           "retain_time": {"retain-size": '"1G"', "retain-s": 4},
           "hook_trim_ignores_peer": {"retain-size": '"1G"'},
           "hook_trim_ignores_own": {"retain-size": '"1G"'}}


def main(cases=CASES, options=OPTIONS, suite="syncd_pair"):
    global SYNCD
    SYNCD = os.path.join(TOP, os.environ.get("O", "build"), "syncd")
    names = sys.argv[1:] or [n for n in cases if not n.startswith("hook_")]
    failed = 0
    for name in names:
        pair = Pair(**options.get(name, options.get("*", {})))
        start = now()
        try:
            why = cases[name](pair)
            pair.close()
            print("%s %s %s (%.1f s)%s" % ("skip" if why else "ok", suite, name, now() - start,
                                           ": " + why if why else ""), flush=True)
        except Exception as e:
            failed += 1
            print("not ok %s %s: %s: %s" % (suite, name, type(e).__name__, e), flush=True)
            for n in pair.nodes:
                if n.process is not None:
                    n.process.kill()
                    n.process.wait()
                print("--- %s" % n.dir)
                if os.path.exists(n.dir + "/stderr"):
                    with open(n.dir + "/stderr") as f:
                        print("".join(f.readlines()[-25:]), flush=True)
            if not os.environ.get("KEEP"):
                shutil.rmtree(pair.dir)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
