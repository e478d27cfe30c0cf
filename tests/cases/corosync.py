#!/usr/bin/python3
"""corosync.py - a pair of hagentd and a pair of real corosync daemons, with a quorum
device on a third host: heartbeats in a process group, quorum and facts; corosync absent,
stopped, hung, killed under load, without encryption, and without a majority.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402
import coropair         # noqa: E402

LINKS = """
link "eth0" { interface = "eth0" address = { "ha-1=192.0.2.11", "ha-2=192.0.2.12" } }
link "ring" { medium = "corosync" }
"""
PASSWORD = "relay-Password-4711"
FENCE = """
fence "bmc" { agent = "/usr/bin/true" node = "ha-2" args = { "passwd=%s" } }
""" % PASSWORD


class Case(coropair.CoroPair):
    def __init__(self, conf=""):
        super().__init__("corosync", LINKS, conf=conf)
        self.key = os.urandom(32)
        with open(self.work + "/key", "w") as f:
            f.write(self.key.hex() + "\n")
        os.chmod(self.work + "/hagent.conf", 0o600)

    def relays(self):
        """Processes of hagentd's that speak to corosync, on both nodes."""
        return sum(len(agentpair.run("pgrep -P %d -x hagentd-corosyn" % self.pid(i),
                                     check=False).split()) for i in (1, 2))

    def relay_is_ignorant(self):
        """It hears the network, and needs neither the key nor a fence device's password."""
        relay = int(agentpair.run("pgrep -P %d -x hagentd-corosyn" % self.pid(1)))
        secrets = (self.key, PASSWORD.encode())
        return (not self.holds(relay, secrets) and
                all(self.holds(self.pid(1), (s,)) for s in secrets))

    def serves_since(self, epoch):
        return self.active() is not None and self.epoch() == epoch


def absent(pair):
    pair.check("without corosync the link says so", all(
        "corosync is not there" in pair.ring(i)["why"] for i in (1, 2)))
    pair.check("and there is no quorum", all(pair.quorum(i)["state"] == "lost" for i in (1, 2)))
    pair.check("it is told once", pair.log(1).count("link ring is down") == 1)


def present(pair):
    pair.qnetd()
    for i in (1, 2):
        pair.corosync(i)
    pair.until("heartbeats go through the process group", lambda: pair.rings(state="ok"))
    if os.environ.get("SAN") != "1":    # which keeps freed memory
        pair.check("its process holds no secrets", pair.relay_is_ignorant())
    for i in (1, 2):
        pair.qdevice(i)
    pair.until("the quorum device votes", lambda: all(
        pair.ring(i)["corosync"]["qdevice"] == "votes"
        and pair.ring(i)["corosync"]["votes"] == 3 for i in (1, 2)))
    pair.check("quorum", all(pair.quorum(i)["state"] == "have" for i in (1, 2)))
    c = pair.ring(2)["corosync"]
    pair.check("the facts", (c["node"], c["peer_node"], c["members"], c["transport"], c["cipher"])
               == (2, 1, 2, "knet", "aes256"))
    pair.until("the state of knet", lambda: pair.rings(links_connected=1))
    pair.check("both are of the group", c["peer_joined"] and c["peer_member"])


def alone(pair, epoch):
    """Only the process group is left."""
    for i in (1, 2):
        pair.net(i, "nft add table inet cut")
        pair.net(i, "nft add chain inet cut in { type filter hook input priority 0 ; }")
        pair.net(i, "nft add rule inet cut in udp dport 694 drop")
    pair.until("without the other link", lambda: all(
        pair.link(i, "eth0")["state"] == "dead" for i in (1, 2)))
    pair.check("the process group alone is enough",
               pair.rings(state="ok") and pair.serves_since(epoch))
    for i in (1, 2):
        pair.net(i, "nft delete table inet cut")
    pair.until("healed", lambda: all(pair.link(i, "eth0")["state"] == "ok" for i in (1, 2)))


def hung(pair, epoch):
    pair.signal_corosync(2, signal.SIGSTOP)
    pair.until("a corosync that hangs gives no quorum", lambda: pair.quorum(2) == {
        "state": "lost", "with_peer": True, "why": "corosync does not answer"}, limit=3)
    pair.until("and is told", lambda: "corosync does not answer" in pair.ring(2)["why"])
    pair.until("the other node goes on with the device's vote",
               lambda: pair.quorum(1)["state"] == "have" and not pair.quorum(1)["with_peer"])
    pair.signal_corosync(2, signal.SIGCONT)
    pair.until("it goes on", lambda: pair.rings(state="ok")
               and pair.quorum(2)["state"] == "have")
    pair.check("this costs nothing", pair.serves_since(epoch))


def killed(pair, epoch):
    burn = [subprocess.Popen(["nice", "-n", "10", "sh", "-c", "while :; do :; done"])
            for _ in (1, 2)]
    try:
        for i in (1, 2, 1):
            pair.kill_corosync(i)
            pair.until("killed on ha-%d under load: the link is broken" % i,
                       lambda: not pair.ring(i)["open"] or pair.ring(i)["why"])  # noqa: B023
            pair.corosync(i)
            pair.until("and joins again", lambda: pair.rings(state="ok"))
    finally:
        for p in burn:
            p.kill()
            p.wait()
    pair.check("killing corosync costs nothing", pair.serves_since(epoch))


def split(pair, epoch):
    pair.until("three votes again", lambda: pair.keep_devices() and all(
        pair.ring(i)["corosync"]["votes"] == 3 for i in (1, 2)), limit=40)
    pair.net(2, "ip link set eth1 down")
    pair.until("of a split ring, one half has quorum and knows that the other has none",
               lambda: sorted((pair.quorum(i)["state"], pair.quorum(i)["with_peer"])
                              for i in (1, 2)) == [("have", False), ("lost", False)])
    pair.net(2, "ip link set eth1 up")
    pair.until("whole again", lambda: pair.rings(state="ok")
               and all(pair.quorum(i)["state"] == "have" for i in (1, 2)))
    pair.check("a split ring costs nothing while another link works", pair.serves_since(epoch))


def serves(pair, i):
    return pair.status(i)["serving"]


def gates(pair):
    """The active node dies while the third vote is missing: nobody takes over before it
    is there."""
    old = pair.active()
    new = 3 - old
    pair.third.terminate()
    pair.third.wait()
    pair.until("without the quorum device, two votes are enough", lambda: all(
        pair.ring(i)["corosync"]["votes"] == 2 and pair.quorum(i)["state"] == "have"
        for i in (1, 2)))
    for name in ("eth0", "eth1"):
        pair.net(old, "ip link set %s down" % name)
    pair.crash(old)
    pair.until("the other node is silent, and one vote of three is no quorum",
               lambda: pair.quorum(new)["state"] == "lost"
               and pair.status(new)["peer"]["state"] == "silent")
    pair.stays("nobody takes over", lambda: not serves(pair, new), 5)
    pair.qnetd()
    pair.until("with the device's vote the standby does", lambda: serves(pair, new), limit=40)
    for name in ("eth0", "eth1"):
        pair.net(old, "ip link set %s up" % name)
    pair.start((old,))
    pair.until("the old one is standby when it is back",
               lambda: pair.status(old)["self"]["role"] == "standby", limit=25)
    pair.corosync(old)
    pair.until("and of the ring", lambda: pair.rings(state="ok"))


def restart_all(pair, **conf):
    for i in (1, 2):
        pair.kill_corosync(i)
    pair.write_conf(**conf)
    for i in (1, 2):
        pair.corosync(i)


def two_node(pair):
    restart_all(pair, device="    two_node: 1\n    wait_for_all: 0")
    pair.until("two_node proves nothing", lambda: pair.rings(state="ok") and all(
        pair.quorum(i)["why"].startswith("two_node") for i in (1, 2)))


def unencrypted(pair, epoch):
    restart_all(pair, cipher="none", hash_="none")
    pair.until("a corosync without encryption is refused", lambda: all(
        "does not encrypt" in pair.ring(i)["why"] for i in (1, 2)))
    pair.check("and nothing else happens", pair.serves_since(epoch))
    path = pair.work + "/hagent.conf"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace('medium = "corosync"',
                             'medium = "corosync" allow-unencrypted = true'))
    pair.crash(2)
    pair.start((2,))
    pair.until("hagentd is there again", lambda: pair.status(2)["peer"]["role"] == "active")
    pair.corosync(2)
    pair.until("unless it is told otherwise", lambda: pair.ring(2)["open"]
               and pair.ring(2)["why"] == "" and pair.ring(2)["corosync"]["cipher"] == "none")


def main():
    with Case('quorum = "require"\nping = { "192.0.2.1" }\n' + FENCE) as pair:
        pair.network()
        pair.start()
        pair.until("one node is active without corosync", lambda: pair.active() is not None)
        epoch = pair.epoch()
        absent(pair)
        present(pair)
        for part in (alone, hung, killed, split):
            part(pair, epoch)
        gates(pair)
        two_node(pair)
        unencrypted(pair, pair.epoch())
        pair.check("no process of corosync's stays behind", pair.relays() <= 2)


agentpair.case(main)
