"""systems.py - the cluster managers under comparison, each as a lab of two nodes.

A System knows how its nodes are configured and started, how an operator moves the
service on purpose, and whether both nodes are ready for the next fault.  All use
the wires, the address and the hosts of tests/lab, and all but "mail" serve the
same small TCP service (banner).  Whoever is started by a unit file with Restart=
is started again here too, with the same delay; the others are not.
"""
import os
import shutil
import signal
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "lab"))
import lab as lab_module
from lab import LabError, NODES, VIP, run, wait_for

LAN = {n: "192.0.2.%d" % lab_module.LAN[n] for n in NODES}
OTHER = {n: "10.99.1.%d" % lab_module.LAN[n] for n in NODES}
BUILT = os.path.join(os.path.abspath(os.environ.get("O") or "build"), "tests/bench/banner")
BANNER = "/usr/local/lib/mailpair/resource.d/banner"


def other(node):
    return NODES[1 - NODES.index(node)]


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    os.chmod(path, mode)


def processes(lab, node):
    """Every process of a node by this machine's numbers: {pid: (parent, command line)}."""
    init = lab.init_pid(node)
    space = os.readlink("/proc/%d/ns/pid" % init)
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/ns/pid" % pid) != space:
                continue
            with open("/proc/%s/cmdline" % pid) as f:
                words = f.read().replace("\0", " ").strip()
            with open("/proc/%s/stat" % pid) as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        found[int(pid)] = (parent, words)
    return found


class PeerLab(lab_module.Lab):
    """A lab whose nodes run somebody else's cluster manager."""

    def __init__(self, system, **kw):
        super().__init__(**kw)
        self.system = system

    def _configure(self, node):
        put_banner(self, node)
        self.system.configure(self.node_dir(node) + "/etc", node)

    def commands(self, node):
        return self.system.commands(node)


class OurLab(lab_module.Lab):
    def __init__(self, bare, **kw):
        super().__init__(**kw)
        self.bare = bare

    def own_conf(self):
        conf = super().own_conf()
        if self.bare:
            conf["hagent"] = [c for c in conf["hagent"] if c[0] != "resource"]
            conf["hagent"] += [("resource", "banner", [("script", "banner"),
                                                        ("pidfile", "/run/banner.pid")]),
                               ("syncd-socket", "")]
        return conf

    def _configure(self, node):
        put_banner(self, node)
        super()._configure(node)


def put_banner(lab, node):
    path = lab.node_dir(node) + "/usr/lib/mailpair/resource.d/banner"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(BUILT, path)


# Asks for the power switch of the lab, which FencedLab serves.
FENCE = """#!/bin/sh
# SCRIPT off|status NODE: 0 done or on, 3 off
case $1 in
off)
	: >"/run/lab/off-$2"
	until [ -e "/run/lab/is-off-$2" ]; do
		sleep 0.005
	done
	;;
status)
	[ ! -e "/run/lab/is-off-$2" ] || exit 3
	;;
esac
"""


class FencedLab(OurLab):
    """A power switch for each node, at the other node's hand: it works at once, where a
    real one needs seconds."""

    def __init__(self, bare, **kw):
        super().__init__(bare, **kw)
        self.fencing = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def own_conf(self):
        conf = super().own_conf()
        conf["hagent"].append(("mode", "fencing"))
        conf["hagent"] += [("fence", "power-" + n, [("agent", "lab-power"), ("node", n)])
                           for n in NODES]
        return conf

    def _configure(self, node):
        write(self.node_dir(node) + "/usr/lib/mailpair/fence.d/lab-power", FENCE, 0o755)
        super()._configure(node)

    def _start(self):
        super()._start()
        self.thread.start()

    def power_on(self, node):
        done = os.path.join(self.node_dir(other(node)), "is-off-" + node)
        if os.path.exists(done):
            os.unlink(done)
        super().power_on(node)

    def _serve(self):
        while not self.fencing.wait(0.002):
            for node in NODES:
                asked = os.path.join(self.node_dir(other(node)), "off-" + node)
                if not os.path.exists(asked):
                    continue
                os.unlink(asked)
                said = os.path.join(self.node_dir(other(node)), "is-off-" + node)
                if node in self.inits:
                    self.kill(node, lambda: write(said, ""))
                else:
                    write(said, "")

    def stop(self):
        self.fencing.set()
        if self.thread.is_alive():
            self.thread.join(10)
        super().stop()


class System:
    name, peer = "", True
    cases = None            # all
    ports = (7,)
    daemon = ""             # part of the main process's command line
    service = "banner start"
    needs = ""              # a program of its package
    dead_s = 0.0            # silence that it takes for death
    settle_s = 60

    def lab(self, installed):
        return PeerLab(self, install=installed)

    def configure(self, etc, node):
        raise NotImplementedError

    def commands(self, node):
        raise NotImplementedError

    def switchover(self, lab, active):
        raise NotImplementedError

    # ---- the same for all ---------------------------------------------------
    def holders(self, lab):
        """Nodes that have the service address."""
        found = []
        for node in lab.on_nodes():
            out = run("ip", "-n", lab.ns(node), "-o", "addr", "show", "to", VIP).stdout
            if VIP in out:
                found.append(node)
        return found

    def ready(self, lab):
        """The active node, when both are ready for a fault; else None."""
        holders = self.holders(lab)
        return holders[0] if len(holders) == 1 and len(lab.on_nodes()) == 2 else None

    def settle(self, lab):
        for node in NODES:
            if node not in lab.inits:
                lab.power_on(node)
        return wait_for(self.name + " is ready", self.settle_s, lambda: self.ready(lab), 0.1)

    def pid(self, lab, node, part):
        """The oldest process with this in its command line."""
        found = [pid for pid, (_, words) in sorted(processes(lab, node).items()) if part in words]
        return found[0] if found else 0

    def kill(self, lab, node, part):
        pid = self.pid(lab, node, part)
        if not pid:
            raise LabError("%s: no %s on %s" % (self.name, part, node))
        os.kill(pid, signal.SIGKILL)


class Keepalived(System):
    daemon, needs = "/usr/sbin/keepalived", "/usr/sbin/keepalived"

    def __init__(self, name, advert_s):
        self.name, self.advert_s = name, advert_s
        self.dead_s = 3 * advert_s + advert_s * (256 - 100) / 256

    def configure(self, etc, node):
        write(etc + "/keepalived/check", "#!/bin/sh\nexec %s status\n" % BANNER, 0o755)
        write(etc + "/keepalived/keepalived.conf", """global_defs {
    script_user root
    enable_script_security
}
vrrp_script banner {
    script "/etc/keepalived/check"
    interval 1
    fall 1
    rise 1
}
vrrp_instance mail {
    state BACKUP
    nopreempt
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int %g
    unicast_src_ip %s
    unicast_peer { %s }
    virtual_ipaddress { %s/24 dev eth0 }
    track_script { banner }
}
""" % (100 - NODES.index(node), self.advert_s, LAN[node], LAN[other(node)], VIP))

    def commands(self, node):
        return [["banner", [BANNER, "start"], False],
                ["keepalived", ["/usr/sbin/keepalived", "-n", "-l", "-f",
                                "/etc/keepalived/keepalived.conf"], False]]

    def ready(self, lab):
        active = super().ready(lab)
        up = all(self.pid(lab, n, "keepalived") and self.pid(lab, n, "banner start")
                 for n in lab.on_nodes())
        return active if up else None

    def switchover(self, lab, active):
        """As an operator does: systemctl stop."""
        os.kill(self.pid(lab, active, "keepalived"), signal.SIGTERM)


class Heartbeat(System):
    daemon, needs = "heartbeat: master", "/usr/libexec/heartbeat/heartbeat"

    def __init__(self, name, keepalive, deadtime, dead_s):
        self.name, self.keepalive, self.deadtime, self.dead_s = name, keepalive, deadtime, dead_s
        self.settle_s = 3 * dead_s + 60

    def configure(self, etc, node):
        write(etc + "/ha.d/ha.cf", """keepalive %s
deadtime %s
warntime %s
initdead %d
udpport 694
ucast eth0 %s
ucast eth1 %s
auto_failback off
logfile /run/lab/log/ha.log
node ha-1 ha-2
crm no
""" % (self.keepalive, self.deadtime, self.deadtime, max(2 * self.dead_s, 5), LAN[other(node)],
            OTHER[other(node)]))
        write(etc + "/ha.d/haresources", "ha-1 IPaddr::%s/24/eth0 banner\n" % VIP)
        write(etc + "/ha.d/authkeys", "auth 1\n1 sha1 comparison\n", 0o600)
        shutil.copy(BUILT, etc + "/ha.d/resource.d/banner")

    def commands(self, node):
        folders = "/var/lib/heartbeat/cores/root /var/lib/heartbeat/cores/hacluster " \
            "/run/heartbeat/ccm /run/heartbeat/rsctmp /run/heartbeat/dopd /run/resource-agents"
        return [["heartbeat", ["/bin/sh", "-c", "mkdir -p %s && chown hacluster "
                               "/run/heartbeat /run/heartbeat/ccm /var/lib/heartbeat/cores/hacluster "
                               "&& exec /usr/libexec/heartbeat/heartbeat -f" % folders], False]]

    def ready(self, lab):
        active = super().ready(lab)
        if active is None or not self.pid(lab, active, "banner start"):
            return None
        for node in NODES:
            for peer in NODES:
                r = lab.execute(node, "cl_status", "nodestatus", peer, check=False)
                if r.stdout.strip() != "active":
                    return None
            r = lab.execute(node, "cl_status", "rscstatus", check=False)
            if r.stdout.strip() not in ("all", "local", "foreign", "none"):
                return None
        return active

    def switchover(self, lab, active):
        lab.execute(active, "/usr/share/heartbeat/hb_standby")


CIB = """<cib admin_epoch="1" epoch="1" num_updates="0" validate-with="pacemaker-3.5">
<configuration>
<crm_config><cluster_property_set id="options">
<nvpair id="options-1" name="stonith-enabled" value="false"/>
<nvpair id="options-2" name="no-quorum-policy" value="ignore"/>
</cluster_property_set></crm_config>
<nodes/>
<resources><group id="mail">
<primitive id="banner" class="lsb" type="banner"><operations>
<op id="banner-m" name="monitor" interval="1s" timeout="5s"/></operations></primitive>
<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2">
<instance_attributes id="vip-a"><nvpair id="vip-1" name="ip" value="%s"/>
<nvpair id="vip-2" name="cidr_netmask" value="24"/><nvpair id="vip-3" name="nic" value="eth0"/>
</instance_attributes><operations>
<op id="vip-m" name="monitor" interval="10s" timeout="5s"/></operations></primitive>
</group></resources>
<constraints/>
<rsc_defaults><meta_attributes id="defaults">
<nvpair id="defaults-1" name="resource-stickiness" value="100"/></meta_attributes></rsc_defaults>
</configuration><status/></cib>
""" % VIP


class Pacemaker(System):
    daemon, needs = "/usr/sbin/pacemakerd", "/usr/sbin/pacemakerd"
    settle_s = 90

    def __init__(self, name, token_ms):
        self.name, self.token_ms = name, token_ms
        self.dead_s = (token_ms or 3000) / 1000

    def configure(self, etc, node):
        token = "token: %d\n" % self.token_ms if self.token_ms else ""
        nodes = "".join("node {\nname: %s\nnodeid: %d\nring0_addr: %s\nring1_addr: %s\n}\n"
                        % (n, i + 1, OTHER[n], LAN[n]) for i, n in enumerate(NODES))
        write(etc + "/corosync/corosync.conf", "totem {\nversion: 2\ncluster_name: mail\n"
              "transport: knet\ncrypto_cipher: none\ncrypto_hash: none\n%s}\n"
              "logging {\nto_syslog: no\nto_stderr: yes\n}\n"
              "quorum {\nprovider: corosync_votequorum\ntwo_node: 1\nwait_for_all: 0\n}\n"
              "nodelist {\n%s}\n" % (token, nodes))
        write(etc + "/cib.xml", CIB)
        shutil.copy(BUILT, etc + "/init.d/banner")

    def commands(self, node):
        var = "/var/lib/pacemaker"
        return [["corosync", ["/bin/sh", "-c", "mkdir -p /var/lib/corosync /var/log/cluster && "
                              "exec /usr/sbin/corosync -f"], False],
                ["pacemaker", ["/bin/sh", "-c", "cd / && mkdir -p %s/cib %s/pengine %s/cores "
                               "%s/blackbox && cp /etc/cib.xml %s/cib && chown -R "
                               "hacluster:haclient %s && until corosync-cfgtool -s; do sleep 0.1; "
                               "done >/dev/null 2>&1; exec /usr/sbin/pacemakerd"
                               % ((var,) * 6)]]]

    def ready(self, lab):
        active = super().ready(lab)
        if active is None or not self.pid(lab, active, "banner start"):
            return None
        r = lab.execute(active, "crm_mon", "-1", check=False)
        return active if "Online: [ ha-1 ha-2 ]" in r.stdout else None

    def switchover(self, lab, active):
        lab.execute(active, "crm_standby", "-N", active, "-l", "reboot", "-v", "on")


class Ours(System):
    peer = False
    daemon = "hagentd -f"
    FAST = [("keepalive-ms", 40), ("serial-keepalive-ms", 80), ("deadtime-ms", 200),
            ("warntime-ms", 100), ("initdead-ms", 2000)]
    FAST_SYNCD = [("ping-ms", 50)]

    def __init__(self, name, fast, mail, fenced=False):
        self.name, self.fast, self.mail, self.fenced = name, fast, mail, fenced
        if fenced:
            self.cases = ("power", "frozen")
        self.dead_s = 0.2 if fast else 2.0
        if mail:
            self.ports, self.service = (25, 143), "maild -f"

    def lab(self, installed):
        conf = self.FAST if self.fast else []
        kind = FencedLab if self.fenced else OurLab
        return kind(not self.mail, install=installed, hagent=conf,
                    syncd=self.FAST_SYNCD if self.fast else [],
                    services=("syncd", "maild", "hagentd") if self.mail else ("hagentd",))

    def ready(self, lab):
        active = super().ready(lab)
        if active is None or not lab._serves(lab.status(active)):
            return None
        there = lab.status(other(active))
        if there is None or there["self"]["role"] != "standby":
            return None
        return active if not self.mail or lab.in_step() else None

    def switchover(self, lab, active):
        lab.execute(active, "hactl", "switchover")


def every():
    return [
        Keepalived("keepalived", 1.0),
        Keepalived("keepalived-fast", 0.1),
        Heartbeat("heartbeat", "2", "30", 30.0),
        Heartbeat("heartbeat-fast", "100ms", "500ms", 0.5),
        Pacemaker("pacemaker", 0),
        Pacemaker("pacemaker-fast", 300),
        Ours("ours", False, False),
        Ours("ours-fast", True, False),
        Ours("ours-mail", False, True),
        Ours("ours-mail-fast", True, True),
        Ours("ours-fenced-fast", True, False, fenced=True),
    ]
