#!/usr/bin/python3
"""lab.py - a mailpair on one machine: two nodes, their wires, and hosts around them.

    switch namespace: two bridges with a port for every cable
    lan  192.0.2.0/24, 2001:db8:2::/64   ha-1:eth0 ha-2:eth0 client:eth0 target:eth0
    x    10.99.1.0/24                    ha-1:eth1 ha-2:eth1      (the second path)
    serial line                          ha-1:/dev/ttyS0 ha-2:/dev/ttyS0 (a pty pair)

Each node is a set of network, PID, mount, UTS and IPC namespaces whose process 1 is
nodeinit.py, so both nodes use the default paths and the unchanged binaries.  All
names carry the run's identity; Lab.stop() removes everything in every exit path.

As a library: Lab(...).start(), then kill(), power_on(), cut(), heal(), execute().
As a command: lab.py status|stop|exec DIR ... for a lab that was left running.
"""
import ctypes
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
NODES = ("ha-1", "ha-2")
VIP, VIP6 = "192.0.2.5", "2001:db8:2::5"
LAN = {"ha-1": 11, "ha-2": 12, "client": 100, "target": 1}
CLUSTER = "mail.example.org"
CLONE_NEWNET = 0x40000000
EXT4_IOC_SHUTDOWN, EXT4_NOLOGFLUSH = 0x8004587d, 2
libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    pass


def run(*cmd, check=True, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False, **kw)
    if check and r.returncode != 0:
        raise LabError("%s: exit %d: %s" % (" ".join(cmd), r.returncode, r.stdout.strip()))
    return r


def wait_for(what, limit_s, condition, every_s=0.02):
    """Waits for a condition with a limit; the value of the condition is returned."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError("%s did not happen within %g s" % (what, limit_s))
        threading.Event().wait(every_s)


def sections(name, conf):
    """Configuration text from a list of (option, value); a tuple of three is a section
    (option, title or None, list)."""
    out = []
    for item in conf:
        if len(item) == 3:
            body = sections(name, item[2])
            title = "" if item[1] is None else '"%s" ' % item[1]
            out.append("%s %s{\n%s}\n" % (item[0], title,
                                         "".join("\t" + x + "\n" for x in body.splitlines())))
            continue
        key, value = item
        if isinstance(value, (list, tuple)):
            value = "{ " + ", ".join('"%s"' % v for v in value) + " }"
        elif isinstance(value, bool):
            value = "true" if value else "false"
        elif not isinstance(value, int):
            value = '"%s"' % value
        out.append("%s = %s\n" % (key, value))
    return "".join(out)


class Lab:
    def __init__(self, build=None, hagent=(), syncd=(), maild=(), env=None, home=None,
                 wrap=None, services=("syncd", "maild", "hagentd"), install=None,
                 var_size=None, preload=None):
        """hagent, syncd, maild: options put into the three files besides the lab's own.
        wrap: a command prefix for the daemons (valgrind ...).  install: a folder that
        holds what `make install` made, to share it between labs.  var_size: the nodes'
        disks are ext4 images of this size ("96M"); else folders of this machine.
        preload: a library for every process of the nodes."""
        self.build = build or os.path.join(TOP, "build")
        self.extra = {"hagent": list(hagent), "syncd": list(syncd), "maild": list(maild)}
        self.env = dict(env or {})
        self.wrap = list(wrap or [])
        self.services, self.var_size, self.preload = services, var_size, preload
        if preload:
            self.env["LD_PRELOAD"] = "/usr/local/lib/" + os.path.basename(preload)
        self.home = home or tempfile.mkdtemp(prefix="mailpair-lab-")
        os.chmod(self.home, 0o755)
        self.run_id = "mp%x" % (os.getpid() % 0xfffff)
        self.installed = install
        self.inits = {}
        self.serial = None
        self.hosts = set()
        self.cuts = set()
        self.parted = False

    # ---- names ----------------------------------------------------------
    def ns(self, host):
        return "%s-%s" % (self.run_id, host)

    def port(self, host, wire):
        """The switch's end of a cable; at most 15 bytes."""
        return "%s%s" % ({"eth0": "l", "eth1": "x"}[wire], host)

    def node_dir(self, node):
        return os.path.join(self.home, node)

    # ---- set-up -----------------------------------------------------------
    def start(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self):
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes network namespaces")
        if not self.installed:
            self.installed = os.path.join(self.home, "inst")
            run("make", "-s", "-C", TOP, "O=" + self.build, "install",
                "DESTDIR=" + self.installed, "PREFIX=/usr/local")
        self._switch()
        self._serial()
        for host in ("client", "target"):
            self._host(host)
        for node in NODES:
            self._disk(node)
        self._keys()
        for node in NODES:
            self._configure(node)
        self.save()
        for node in NODES:
            self.power_on(node)

    def _switch(self):
        sw = self.ns("sw")
        run("ip", "netns", "add", sw)
        for bridge in ("lan", "x"):
            run("ip", "-n", sw, "link", "add", bridge, "type", "bridge", "stp_state", "0",
                "forward_delay", "0", "mcast_snooping", "0")
            run("ip", "-n", sw, "link", "set", bridge, "up")
        self._nft_reset()

    def _nft(self, text):
        subprocess.run(["ip", "netns", "exec", self.ns("sw"), "nft", "-f", "-"],
                       input=text, text=True, check=True)

    def _nft_reset(self):
        rules = "".join('  iifname "%s" drop\n  oifname "%s" drop\n' % (p, p)
                        for p in sorted(self.cuts))
        # Without "probes" every frame; else what asks who has an address goes through.
        what = ("ip protocol { tcp, udp }", "ip6 nexthdr { tcp, udp }") \
            if self.parted == "probes" else ("",)
        for wire in ("eth0", "eth1") if self.parted else ():
            a, b = (self.port(n, wire) for n in NODES)
            rules += "".join('  iifname "%s" oifname "%s" %s drop\n' % (x, y, w)
                             for x, y in ((a, b), (b, a)) for w in what)
        self._nft("add table bridge lab\ndelete table bridge lab\n"
                  "table bridge lab {\n chain f {\n  type filter hook forward priority 0;\n%s }\n}\n"
                  % rules)

    def _host(self, host):
        ns, sw = self.ns(host), self.ns("sw")
        run("ip", "netns", "add", ns)
        self.hosts.add(host)
        run("ip", "-n", ns, "link", "set", "lo", "up")
        wires = [("eth0", "lan")] + ([("eth1", "x")] if host in NODES else [])
        for wire, bridge in wires:
            port = self.port(host, wire)
            run("ip", "-n", ns, "link", "add", wire, "type", "veth", "peer", "name", port,
                "netns", sw)
            run("ip", "-n", sw, "link", "set", port, "master", bridge, "up")
            run("ip", "netns", "exec", ns, "sysctl", "-qw",
                "net.ipv6.conf.%s.accept_dad=0" % wire)
            run("ip", "-n", ns, "link", "set", wire, "up")
        last = LAN[host]
        run("ip", "-n", ns, "addr", "add", "192.0.2.%d/24" % last, "dev", "eth0")
        run("ip", "-n", ns, "addr", "add", "2001:db8:2::%x/64" % last, "dev", "eth0", "nodad")
        if host in NODES:
            run("ip", "-n", ns, "addr", "add", "10.99.1.%d/24" % last, "dev", "eth1")

    def _serial(self):
        fifo = os.path.join(self.home, "serial")
        os.mkfifo(fifo)
        self.serial = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "serialline.py"), fifo],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True)
        self.ttys = dict(zip(NODES, self.serial.stdout.readline().split()))
        if len(self.ttys) != 2:
            raise LabError("the serial line did not start")

    def _disk(self, node):
        d = self.node_dir(node)
        for sub in ("var", "log"):
            os.makedirs(os.path.join(d, sub))
        if self.var_size:
            run("truncate", "-s", self.var_size, d + "/disk")
            run("mkfs.ext4", "-q", "-m", "0", "-F", d + "/disk")
            self._mount(node)
        run("cp", "-a", "/etc", os.path.join(d, "etc"))
        run("cp", "-a", self.installed + "/usr/local", os.path.join(d, "usr"))
        if self.preload:
            shutil.copy(self.preload, os.path.join(d, "usr/lib"))
        etc = os.path.join(d, "etc")
        # The service users exist in the node only, not on this machine.
        groups, users = ["mailpair"], ["hagent", "mailstore", "mailauth", "mailgate", "mailqueue"]
        with open(etc + "/group") as f:
            have = [x for x in f.read().splitlines() if x.split(":")[0] not in groups + users]
        base = 64000
        have += ["%s:x:%d:" % (u, base + 1 + i) for i, u in enumerate(users)]
        have.append("mailpair:x:%d:%s" % (base, ",".join(users)))
        with open(etc + "/group", "w") as f:
            f.write("\n".join(have) + "\n")
        with open(etc + "/passwd") as f:
            have = [x for x in f.read().splitlines() if x.split(":")[0] not in users]
        have += ["%s:x:%d:%d::/nonexistent:/usr/sbin/nologin" % (u, base + 1 + i, base + 1 + i)
                 for i, u in enumerate(users)]
        with open(etc + "/passwd", "w") as f:
            f.write("\n".join(have) + "\n")
        shutil.rmtree(etc + "/mailpair", ignore_errors=True)
        os.makedirs(etc + "/mailpair/tls", mode=0o755)

    def _mount(self, node):
        run("mount", "-o", "loop", self.node_dir(node) + "/disk", self.node_dir(node) + "/var")

    def _disk_off(self, node):
        """The disk loses power: what was not synced is gone."""
        fd = os.open(self.node_dir(node) + "/var", os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_NOLOGFLUSH))
        finally:
            os.close(fd)

    def _disk_again(self, node):
        """Mounts the disk anew, which reads its journal; the node is off.  As a copy: mount
        namespaces of others may hold the old mount for as long as they live."""
        d = self.node_dir(node)
        run("umount", "-l", d + "/var")
        os.rename(d + "/disk", d + "/disk.old")
        run("cp", "--sparse=always", d + "/disk.old", d + "/disk")
        os.unlink(d + "/disk.old")
        self._mount(node)

    def disk_read_only(self, node):
        """What errors=remount-ro does: from now on the node's disk is read only, also for
        files that are open.  Another power_on() ends it."""
        var = self.node_dir(node) + "/var"
        if not os.statvfs(var).f_flag & os.ST_RDONLY:
            run("mount", "-o", "remount,abort", var)

    def _keys(self):
        cluster_key = os.urandom(32).hex() + "\n"
        tls = os.path.join(self.home, "tls")
        os.makedirs(tls)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "3650", "-subj", "/CN=" + CLUSTER, "-addext",
            "subjectAltName=DNS:%s,IP:%s,IP:%s" % (CLUSTER, VIP, VIP6),
            "-keyout", tls + "/mail.key", "-out", tls + "/mail.crt")
        self.pins = {}
        for node in NODES:
            etc = os.path.join(self.node_dir(node), "etc/mailpair")
            with open(os.open(etc + "/cluster.key", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                f.write(cluster_key)
            for name in ("mail.key", "mail.crt"):
                shutil.copy(os.path.join(tls, name), os.path.join(etc, "tls", name))
            os.chmod(etc + "/tls/mail.key", 0o600)
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj", "/CN=" + node,
                "-keyout", etc + "/syncd.key", "-out", etc + "/syncd.crt")
            os.chmod(etc + "/syncd.key", 0o600)
            der = subprocess.run(["openssl", "x509", "-in", etc + "/syncd.crt", "-outform", "DER"],
                                 check=True, stdout=subprocess.PIPE).stdout
            import hashlib
            self.pins[node] = "sha256:" + hashlib.sha256(der).hexdigest()
        self.ca = tls + "/mail.crt"

    def own_conf(self):
        """What the lab says in the three files; options of the caller replace it."""
        x = {n: "10.99.1.%d" % LAN[n] for n in NODES}
        lan = {n: "192.0.2.%d" % LAN[n] for n in NODES}
        pairs = lambda a: ["%s=%s" % (n, a[n]) for n in NODES]
        hagent = [("cluster", CLUSTER)] + [("node", n, []) for n in NODES] + [
            ("link", "eth1", [("medium", "udp"), ("interface", "eth1"), ("address", pairs(x))]),
            ("link", "eth0", [("medium", "udp"), ("interface", "eth0"), ("address", pairs(lan))]),
            ("link", "ttyS0", [("medium", "serial"), ("device", "/dev/ttyS0"), ("baud", 115200)]),
            ("vip", VIP + "/24", [("interface", "eth0")]),
            ("vip", VIP6 + "/64", [("interface", "eth0")]),
            ("ping", ["192.0.2.1"]),
            ("resource", "syncer", [("script", "syncer")]),
            ("resource", "maild", [("script", "maild"), ("drain", True),
                                   ("pidfile", "/run/mailpair/maild.pid")])]
        syncd = [("cluster", CLUSTER)] + [
            ("node", n, [("address", [x[n], lan[n]]), ("certificate", self.pins[n])])
            for n in NODES]
        maild = [("hostname", CLUSTER)]
        return {"hagent": hagent, "syncd": syncd, "maild": maild}

    def _configure(self, node):
        etc = os.path.join(self.node_dir(node), "etc/mailpair")
        for name, conf in self.own_conf().items():
            extra = self.extra[name]
            replaced = {e[:-1] for e in extra}
            conf = [c for c in conf if c[:-1] not in replaced] + extra
            with open("%s/%s.conf" % (etc, name), "w") as f:
                f.write(sections(name, conf))

    def commands(self, node):
        """What process 1 starts, and starts again when it ends: [[name, argv]...]; a
        third member that is false: only once."""
        del node
        return [[s, self.wrap + ["/usr/local/sbin/" + s, "-f"]] for s in self.services]

    # ---- power ------------------------------------------------------------
    def power_on(self, node):
        """Starts a node with the disk it has; returns when process 1 is up."""
        if node in self.inits:
            raise LabError(node + " is on already")
        if node not in self.hosts:
            self._host(node)
        d = self.node_dir(node)
        conf = {"name": node, "serial": self.ttys[node], "run": self.run_id, "env": self.env,
                "services": self.commands(node)}
        with open(d + "/node.json", "w") as f:
            json.dump(conf, f)
        if os.path.exists(d + "/ready"):
            os.unlink(d + "/ready")
        with open(d + "/log/init.log", "ab") as out:
            proc = subprocess.Popen(
                ["ip", "netns", "exec", self.ns(node), "unshare", "--mount", "--pid", "--uts",
                 "--ipc", "--fork", "--kill-child", "/usr/bin/python3",
                 os.path.join(HERE, "nodeinit.py"), d],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.inits[node] = proc

        def ready():
            if proc.poll() is not None:
                raise LabError("%s did not start: %s" % (node, self.log(node, "init")[-2000:]))
            return os.path.exists(d + "/ready")
        wait_for(node + " is up", 20, ready)
        self.save()

    def init_pid(self, node):
        """This machine's number of the node's process 1."""
        pid = self.inits[node] if isinstance(self.inits[node], int) else self.inits[node].pid
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            children = f.read().split()
        if not children:
            raise LabError(node + " is not running")
        return int(children[0])

    def kill(self, node, off=lambda: None):
        """A power cut: the wires go dead first, then every process at once, so that
        the kernel of the dead node says nothing to anybody.  The disk stays; one of its own
        (var_size) loses what was not synced.
        off() is called as soon as the node is off."""
        sw = self.ns("sw")
        for wire in ("eth0", "eth1"):
            run("ip", "-n", sw, "link", "set", self.port(node, wire), "down")
        proc = self.inits.pop(node)
        pid = proc if isinstance(proc, int) else proc.pid
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if self.var_size:
            self._disk_off(node)
        self._reap(proc)
        off()
        if self.var_size:
            self._disk_again(node)
        self._unhost(node)
        return killed_at

    def _unhost(self, node):
        """The network of a node that is off; a cut cable is a whole one next time."""
        for wire in ("eth0", "eth1"):
            run("ip", "-n", self.ns("sw"), "link", "del", self.port(node, wire))
        run("ip", "netns", "del", self.ns(node))
        self.hosts.discard(node)
        self.cuts -= {self.port(node, w) for w in ("eth0", "eth1")}
        self._nft_reset()
        self.save()

    @staticmethod
    def _reap(proc):
        if isinstance(proc, int):
            wait_for("the end of process %d" % proc, 10,
                     lambda: not os.path.exists("/proc/%d" % proc))
        else:
            proc.wait(timeout=20)

    def shutdown(self, node):
        """An orderly shutdown: SIGTERM to process 1, then the power goes."""
        os.kill(self.init_pid(node), signal.SIGTERM)
        self._reap(self.inits.pop(node))
        self._unhost(node)

    # ---- wires --------------------------------------------------------------
    def cut(self, node, wire):
        """Drops every frame of this cable, silently; wire: eth0, eth1."""
        self.cuts.add(self.port(node, wire))
        self._nft_reset()

    def heal(self, node, wire):
        self.cuts.discard(self.port(node, wire))
        self._nft_reset()

    def part(self, parted=True):
        """Nothing passes between the two nodes; other hosts hear both.  "probes": nothing but
        ARP and neighbour discovery, as through a filter that somebody put between them."""
        self.parted = parted
        self._nft_reset()
        self.cut_serial(parted)

    def unplug(self, node, wire, out=True):
        """Takes the cable out (no carrier) or puts it back."""
        run("ip", "-n", self.ns("sw"), "link", "set", self.port(node, wire),
            "down" if out else "up")

    def slow_down(self, node, rate):
        """What comes to this node by either cable comes no faster ("30mbit"), until it is off."""
        for wire in ("eth0", "eth1"):
            run("ip", "netns", "exec", self.ns("sw"), "tc", "qdisc", "replace", "dev",
                self.port(node, wire), "root", "tbf", "rate", rate, "burst", "64kb",
                "latency", "200ms")

    def cut_serial(self, cut=True):
        fd = os.open(os.path.join(self.home, "serial"), os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"cut\n" if cut else b"heal\n")
        os.close(fd)

    def lose_sync(self, node, on=True):
        """The next fdatasync() of this node's syncd fails (needs failsync.c preloaded)."""
        path = os.path.join(self.node_dir(node), "fail-fdatasync")
        if on:
            open(path, "w").close()
        elif os.path.exists(path):
            os.unlink(path)

    def slow_sync(self, node, ms):
        """Each fdatasync() of this node's syncd takes so much longer (failsync.c); 0: no more."""
        path = os.path.join(self.node_dir(node), "slow-fdatasync")
        if ms:
            with open(path + ".new", "w") as f:
                f.write("%d\n" % ms)
            os.rename(path + ".new", path)
        elif os.path.exists(path):
            os.unlink(path)

    # ---- inside -------------------------------------------------------------
    def command(self, node, *cmd):
        return ["nsenter", "-t", str(self.init_pid(node)), "-m", "-p", "-u", "-i", "-n", "--"] + \
            list(cmd)

    def execute(self, node, *cmd, check=True, input=None, timeout=60):
        """Runs a command inside a node; gives the CompletedProcess with text output."""
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "LANG": "C.UTF-8", **self.env}
        r = subprocess.run(self.command(node, *cmd), input=input if input is not None else "",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                           timeout=timeout, check=False)
        if check and r.returncode != 0:
            raise LabError("%s: %s: exit %d: %s%s" % (node, " ".join(cmd), r.returncode, r.stdout,
                                                      r.stderr))
        return r

    def pid_of(self, node, service):
        """The pid, inside the node, that a daemon wrote down; 0 when there is none."""
        path = "/proc/%d/root/run/mailpair/%s.pid" % (self.init_pid(node), service)
        try:
            with open(path) as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def children(self, node, pid):
        """Children, inside the node, of a process inside the node: {pid: command line}."""
        out = self.execute(node, "/bin/sh", "-c",
                           "for c in $(cat /proc/%d/task/%d/children); do "
                           "echo $c $(tr '\\0' ' ' < /proc/$c/cmdline); done" % (pid, pid)).stdout
        return {int(line.split(" ", 1)[0]): line.split(" ", 1)[1]
                for line in out.splitlines() if " " in line}

    def kill_service(self, node, service, sig=signal.SIGKILL):
        pid = self.pid_of(node, service)
        if not pid:
            raise LabError("%s does not run on %s" % (service, node))
        self.execute(node, "/bin/sh", "-c", "kill -%d %d" % (int(sig), pid))
        return pid

    def log(self, node, service):
        try:
            with open(os.path.join(self.node_dir(node), "log", service + ".log"),
                      errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    # ---- the pair -------------------------------------------------------------
    def status(self, node):
        """hactl status --json as a dict, or None when the agent does not answer.  "self"
        is the entry of the node itself."""
        if node not in self.inits:
            return None
        r = self.execute(node, "hactl", "status", "--json", "--timeout", "2", check=False)
        try:
            s = json.loads(r.stdout)
            s["self"] = next(n for n in s["nodes"] if n["local"])
            return s
        except (ValueError, KeyError):
            return None

    @staticmethod
    def _serves(s):
        return bool(s) and s["self"]["role"] == "active" and all(v["here"] for v in s["vips"])

    def on_nodes(self):
        return [n for n in NODES if n in self.inits]

    def active(self):
        """The node that says it is active and has its resources up, or None."""
        for node in self.on_nodes():
            if self._serves(self.status(node)):
                return node
        return None

    def standby(self):
        a = self.active()
        return None if a is None else NODES[1 - NODES.index(a)]

    def in_step(self):
        for node in self.on_nodes():
            s = self.status(node)
            if self._serves(s) and (s.get("data") or {}).get("mode", "").lower() == "sync":
                return node
        return None

    def wait_active(self, limit_s=30):
        return wait_for("an active node", limit_s, self.active, 0.1)

    def wait_in_step(self, limit_s=60):
        return wait_for("both nodes in step", limit_s, self.in_step, 0.1)

    # ---- threads of this process as other hosts -----------------------------
    def enter(self, host):
        """Moves the calling thread into a host's network (not its file system)."""
        fd = os.open("/run/netns/" + self.ns(host), os.O_RDONLY)
        try:
            if libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)

    def client_command(self, *cmd):
        return ["ip", "netns", "exec", self.ns("client")] + list(cmd)

    # ---- the end --------------------------------------------------------------
    def save(self):
        state = {"run": self.run_id, "home": self.home, "ttys": getattr(self, "ttys", {}),
                 "inits": {n: p if isinstance(p, int) else p.pid for n, p in self.inits.items()},
                 "serial": self.serial.pid if hasattr(self.serial, "pid") else self.serial,
                 "hosts": sorted(self.hosts)}
        path = os.path.join(self.home, "lab.json")
        with open(path + ".new", "w") as f:
            json.dump(state, f)
        os.rename(path + ".new", path)

    @classmethod
    def load(cls, home):
        with open(os.path.join(home, "lab.json")) as f:
            state = json.load(f)
        lab = cls(home=home)
        lab.run_id, lab.ttys, lab.inits = state["run"], state["ttys"], state["inits"]
        lab.serial, lab.hosts = state["serial"], set(state["hosts"])
        return lab

    def collect(self, into):
        """Copies every log of both nodes into a folder."""
        for node in NODES:
            src = os.path.join(self.node_dir(node), "log")
            if os.path.isdir(src):
                shutil.copytree(src, os.path.join(into, node), dirs_exist_ok=True)

    def detach(self):
        """Leaves the lab running when this process ends; lab.py stop DIR ends it."""
        self.save()

    def stop(self):
        for node, proc in list(self.inits.items()):
            pid = proc if isinstance(proc, int) else proc.pid
            try:
                os.kill(pid, signal.SIGKILL)
                self._reap(proc)
            except (ProcessLookupError, LabError, subprocess.TimeoutExpired):
                pass
            self.inits.pop(node, None)
        if self.serial is not None:
            pid = self.serial if isinstance(self.serial, int) else self.serial.pid
            try:
                os.kill(pid, signal.SIGKILL)
                self._reap(self.serial)
            except (ProcessLookupError, LabError):
                pass
            self.serial = None
        for host in NODES + ("client", "target", "sw"):
            run("ip", "netns", "del", self.ns(host), check=False)
        if self.var_size:
            for node in NODES:
                run("umount", "-l", self.node_dir(node) + "/var", check=False)
        shutil.rmtree(self.home, ignore_errors=True)


def main(argv):
    if len(argv) < 3 or argv[1] not in ("status", "stop", "exec", "kill", "on"):
        print("usage: lab.py status|stop DIR | exec DIR NODE COMMAND... | kill|on DIR NODE",
              file=sys.stderr)
        return 10
    lab = Lab.load(argv[2])
    if argv[1] == "stop":
        lab.stop()
    elif argv[1] == "status":
        for node in lab.on_nodes():
            print(lab.execute(node, "hactl", "status", check=False).stdout, end="")
    elif argv[1] == "exec":
        return subprocess.run(lab.command(argv[3], *argv[4:]), check=False).returncode
    elif argv[1] == "kill":
        lab.kill(argv[3])
    else:
        lab.power_on(argv[3])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (LabError, OSError, IndexError) as e:
        print("ERROR %s" % e, file=sys.stderr)
        sys.exit(1)
