"""agentpair.py - two hagentd without syncd, each in network, mount and process namespaces
of its own, for cases that look at links.  Everything is removed at the end.

    with Pair("name", links) as p:      # links: sections of hagent.conf; %(dev)s is a
        p.veth("eth1")                  # folder of the node's own for devices
        p.start()
        p.until("something happens", lambda: ...)
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import slowline         # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LETTERS = iter("abcdefghijklmnopqrstuvwxyz")
BUILD = os.environ.get("BUILD") or os.path.join(TOP, "build")
CONF = """
cluster = "case"
key-file = "%(work)s/key"
node "ha-1" { }
node "ha-2" { }
resource-path = { "/opt/resource.d" }
resource "one" { script = "dummy" }
syncd-socket = ""
initdead-ms = 3000
"""
START = """
mount -t tmpfs -o mode=755 t /run
mount -t tmpfs -o mode=755 t /opt && mkdir /opt/resource.d
cp %(top)s/resource.d/dummy /opt/resource.d/
mkdir -p /run/mailpair /var/lib/mailpair
mount --bind %(work)s/var%(i)d /var/lib/mailpair
mount --bind %(work)s/dev%(i)d %(work)s/dev
%(more)s
exec %(build)s/hagentd %(flags)s -f -c %(work)s/hagent.conf -N ha-%(i)d
"""


class Pair:
    def __init__(self, name, links, conf="", flags="", more="", baud=9600):
        # The name of a namespace; a case may have several pairs at a time.
        self.name, self.id = name, "al%d%s" % (os.getpid(), next(LETTERS))
        self.baud = baud
        self.failed, self.procs, self.line = 0, {}, None
        self.flags, self.more = flags, more
        self.work = tempfile.mkdtemp(prefix="mailpair-%s-" % name)
        self.fill = {"work": self.work, "dev": self.work + "/dev", "top": TOP, "build": BUILD}
        for d in ("dev", "dev1", "dev2", "var1", "var2"):
            os.mkdir(os.path.join(self.work, d))
        with open(os.path.join(self.work, "key"), "w") as f:
            f.write("%064d\n" % 42)
        os.chmod(os.path.join(self.work, "key"), 0o600)
        with open(os.path.join(self.work, "hagent.conf"), "w") as f:
            f.write((CONF + links + conf) % self.fill)

    def __enter__(self):
        for i in (1, 2):
            run("ip netns add %s-%d" % (self.id, i))
            self.net(i, "ip link set lo up")
            # What the kernel would think of by itself.
            self.net(i, "sysctl -qw net.ipv6.conf.default.accept_dad=0 "
                     "net.ipv6.conf.default.addr_gen_mode=1")
        self.serial_on()
        return self

    def __exit__(self, kind, *_):
        if kind is not None and kind is not SystemExit:
            self.failed += 1
        if self.failed:
            for i in (1, 2):
                for line in self.log(i).splitlines()[-25:]:
                    print("# ha-%d %s" % (i, line))
        for i in list(self.procs):
            self.crash(i)
        self.serial_off()
        for i in (1, 2, 3):
            run("ip netns del %s-%d" % (self.id, i), check=False)
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- the world ------------------------------------------------------------

    def net(self, i, command, check=True):
        return run("ip netns exec %s-%d %s" % (self.id, i, command), check)

    def veth(self, name):
        """A cable between the two nodes."""
        run("ip -n %s-1 link add %s type veth peer name %s netns %s-2"
            % (self.id, name, name, self.id))
        for i in (1, 2):
            self.net(i, "ip link set %s up" % name)

    def lan(self):
        """eth0 of both nodes at a switch, where 192.0.2.1 lives in a namespace of its own."""
        run("ip netns add %s-3" % self.id)
        self.net(3, "ip link set lo up")
        self.net(3, "ip link add br0 type bridge")
        self.net(3, "ip addr add 192.0.2.1/24 dev br0")
        self.net(3, "ip link set br0 up")
        for i in (1, 2):
            run("ip -n %s-%d link add eth0 type veth peer name p%d netns %s-3"
                % (self.id, i, i, self.id))
            self.net(3, "ip link set p%d master br0 up" % i)
            self.net(i, "ip link set eth0 up")
            self.net(i, "ip addr add 192.0.2.1%d/24 dev eth0" % i)

    def serial_on(self):
        """A line between dev1/tty and dev2/tty; of new terminals each time."""
        self.line = slowline.Line(["%s/dev%d/tty" % (self.work, i) for i in (1, 2)], self.baud)

    def serial_off(self):
        """Both ends hang up.  The most bytes that ever waited to be carried."""
        line, self.line = self.line, None
        return line.close() if line is not None else 0

    # ---- the nodes ------------------------------------------------------------

    def start(self, nodes=(1, 2)):
        for i in nodes:
            script = START % dict(self.fill, i=i, flags=self.flags, more=self.more % {"i": i})
            with open("%s/ha-%d.log" % (self.work, i), "ab") as log:
                self.procs[i] = subprocess.Popen(
                    ["ip", "netns", "exec", "%s-%d" % (self.id, i), "unshare", "-m", "-u", "-p",
                     "-f", "--mount-proc", "sh", "-ec", script],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def inside(self, i, command):
        """A program beside hagentd, in the background; it ends with the node."""
        with open("%s/%s-%d.log" % (self.work, command.split()[0], i), "ab") as log:
            return subprocess.Popen(["nsenter", "-t", str(self.pid(i)), "-m", "-n", "-p"] +
                                    command.split(), stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log)

    def crash(self, i):
        """Everything of the node ends at once."""
        p = self.procs.pop(i)
        run("kill -KILL %d" % self.init(p), check=False)
        p.wait()

    def init(self, proc):
        out = run("pgrep -P %d" % proc.pid, check=False).split()
        return int(out[0]) if out else proc.pid

    def pid(self, i):
        """hagentd's executor."""
        return self.init(self.procs[i])

    def agent(self, i):
        out = run("pgrep -P %d" % self.pid(i), check=False).split()
        for pid in out:
            with open("/proc/%s/status" % pid) as f:
                if "\nUid:\t0\t" not in f.read():
                    return int(pid)
        return None

    @staticmethod
    def holds(pid, secrets):
        """Does one of them stand in the memory of a process that it can write?"""
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                where, rights = line.split()[:2]
                begin, end = (int(x, 16) for x in where.split("-"))
                if not rights.startswith("rw"):
                    continue
                mem.seek(begin)
                text = mem.read(end - begin)
                if any(s in text for s in secrets):
                    return True
        return False

    def log(self, i):
        try:
            with open("%s/ha-%d.log" % (self.work, i), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def ask(self, i, *words):
        """The answer of hactl as an object; raises when there is none."""
        out = run("nsenter -t %d -m -n -p %s/hactl %s --json" % (self.pid(i), BUILD,
                  " ".join(words)), check=False)
        return json.loads(out)

    def status(self, i):
        return self.ask(i, "status")

    def active(self):
        for i in (1, 2):
            if self.status(i)["serving"]:
                return i
        return None

    def epoch(self):
        return self.status(1)["epoch"]

    # ---- what is expected -----------------------------------------------------

    def check(self, what, good):
        print("%s %s %s" % ("ok" if good else "not ok", self.name, what), flush=True)
        self.failed += not good
        return good

    def until(self, what, condition, limit=15, after=0.0):
        """At most limit seconds; not before `after`, and then still."""
        end = time.monotonic() + limit
        begin = time.monotonic() + after
        while time.monotonic() < end:
            try:
                if time.monotonic() >= begin and condition():
                    return self.check(what, True)
            except (ValueError, KeyError, OSError):
                pass
            time.sleep(0.1)
        return self.check(what, False)

    def stays(self, what, condition, seconds):
        end = time.monotonic() + seconds
        good = True
        while good and time.monotonic() < end:
            try:
                good = condition()
            except (ValueError, KeyError, OSError):
                good = False
            time.sleep(0.2)
        return self.check(what, good)


def run(command, check=True):
    p = subprocess.run(command.split(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT if check else subprocess.DEVNULL, text=True)
    if check and p.returncode != 0:
        raise RuntimeError("%s: %s" % (command, p.stdout.strip()))
    return p.stdout


def end_quietly(*_):
    raise SystemExit(1)         # the pair is removed on the way


def case(main):
    if os.geteuid() != 0:
        print("skip %s needs root" % os.path.basename(sys.argv[0]))
        return
    signal.signal(signal.SIGTERM, end_quietly)
    main()
