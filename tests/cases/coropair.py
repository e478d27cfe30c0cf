"""coropair.py - agentpair.Pair with a real corosync beside each hagentd, and a quorum device
on the third host.  The ring is on eth1; what is to be there is started one by one.
"""
import os
import signal
import subprocess

import agentpair

CONF = """totem {
    version: 2
    cluster_name: case
    transport: knet
    crypto_cipher: %(cipher)s
    crypto_hash: %(hash)s
    token: %(token)d
}
nodelist {
    node {
        ring0_addr: 10.1.0.1
        name: ha-1
        nodeid: 1
    }
    node {
        ring0_addr: 10.1.0.2
        name: ha-2
        nodeid: 2
    }
}
quorum {
    provider: corosync_votequorum
%(device)s
}
logging {
    to_stderr: yes
    to_syslog: no
    to_logfile: no
}
"""
DEVICE = """    device {
        model: net
        votes: 1
        sync_timeout: 4000
        timeout: 2000
        net {
            host: 192.0.2.1
            tls: off
            algorithm: ffsplit
            tie_breaker: %s
        }
    }"""
# Folders and shared memory of the node's own.
MOUNTS = """
for d in /etc/corosync /var/lib/corosync /dev/shm; do
    mkdir -p $d; mount -t tmpfs -o mode=1777 t $d
done
mkdir /run/corosync-qdevice
cp %%(work)s/corosync.conf %%(work)s/authkey /etc/corosync/
ln -sf %%(work)s/corosync.conf /etc/corosync/corosync.conf
"""


class CoroPair(agentpair.Pair):
    """Of a ring split in two equal halves, the one of the node `keeps` ("lowest" or
    "highest") gets the device's vote."""

    def __init__(self, name, links, conf="", more="", token_ms=1000, keeps="lowest"):
        super().__init__(name, links, conf=conf)
        self.more = (MOUNTS.replace("%%", "%") % self.fill).replace("%", "%%") + more
        self.coro, self.third, self.devices = {}, None, {}
        self.token_ms, self.device = token_ms, DEVICE % keeps
        with open(self.work + "/authkey", "wb") as f:
            f.write(os.urandom(256))
        self.write_conf()

    def __exit__(self, *why):
        for p in list(self.coro.values()) + list(self.devices.values()) + [self.third]:
            if p is not None and p.poll() is None:
                p.kill()
                p.wait()
        super().__exit__(*why)

    def network(self):
        self.lan()
        self.veth("eth1")
        for i in (1, 2):
            self.net(i, "ip addr add 10.1.0.%d/24 dev eth1" % i)

    def write_conf(self, cipher="aes256", hash_="sha256", device=None):
        with open(self.work + "/corosync.conf", "w") as f:
            f.write(CONF % {"cipher": cipher, "hash": hash_, "token": self.token_ms,
                            "device": device or self.device})

    def corosync(self, i):
        self.coro[i] = self.inside(i, "corosync -f")

    def signal_corosync(self, i, sig):
        """To the daemon itself: nsenter waits for it outside."""
        for pid in agentpair.run("pgrep -P %d" % self.coro[i].pid, check=False).split():
            os.kill(int(pid), sig)
        # What waits for a stopped program stops itself, too.
        if sig != signal.SIGSTOP:
            self.coro[i].send_signal(signal.SIGCONT)

    def kill_corosync(self, i):
        self.signal_corosync(i, signal.SIGKILL)
        self.coro[i].wait()

    def qnetd(self):
        log = open(self.work + "/qnetd.log", "ab")
        self.third = subprocess.Popen(
            ["ip", "netns", "exec", "%s-3" % self.id, "unshare", "-m", "sh", "-ec",
             "mkdir -p /run/corosync-qnetd; mount -t tmpfs t /run/corosync-qnetd;"
             "exec corosync-qnetd -f -s off"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def qdevice(self, i):
        self.devices[i] = self.inside(i, "corosync-qdevice -f")

    def keep_devices(self):
        """A device ends with its corosync, and when it comes while the ring forms; what
        keeps it running starts it again."""
        for i in (1, 2):
            if self.devices[i].poll() is not None:
                self.qdevice(i)
        return True

    def link(self, i, name):
        return [link for link in self.ask(i, "links")["links"] if link["name"] == name][0]

    def ring(self, i):
        return self.link(i, "ring")

    def rings(self, **wanted):
        return all(dict(self.ring(i), **self.ring(i).get("corosync", {})).get(k) == v
                   for i in (1, 2) for k, v in wanted.items())

    def quorum(self, i):
        return self.status(i)["quorum"]
