"""e2e_config.py - a pair's configuration: imported, changed while it runs, made anew."""
import os

import load
from harness import test
from lab import CLUSTER, NODES, wait_for

# What the guides to Heartbeat 1 to 3 have in ha.cf, but for the names.
HA_CF = """
keepalive 2
deadtime 10
warntime 8
initdead 120
udpport 694
bcast eth1
serial /dev/ttyS0
baud 115200
watchdog /dev/watchdog
auto_failback off
node ha-1
node ha-2
ping 192.0.2.1
respawn hacluster /usr/lib/heartbeat/ipfail
"""
IMPORTED_VIP = "192.0.2.50"


def put(lab, node, path, text, mode=0o644):
    with open(os.open(os.path.join(lab.node_dir(node), path), os.O_CREAT | os.O_WRONLY |
                      os.O_TRUNC, mode), "w") as f:
        f.write(text)


def greeting(address):
    import socket
    with socket.create_connection((address, 25), timeout=5) as s:
        return s.recv(100).decode()


def serves(lab, address):
    try:
        return load.in_client(lab, greeting, address).startswith("220")
    except OSError:
        return False


@test
def import_heartbeat(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500)])
    for node in NODES:
        etc = "etc/old.d/"
        os.makedirs(os.path.join(lab.node_dir(node), etc))
        put(lab, node, etc + "ha.cf", HA_CF)
        put(lab, node, etc + "haresources", "ha-1 %s maild\n" % IMPORTED_VIP)
        put(lab, node, etc + "authkeys", "auth 1\n1 sha1 OldSecret\n", 0o600)
    first, second = NODES

    def convert(node, *args, code):
        r = lab.execute(node, "hactl", "import-heartbeat", "/etc/old.d", "--cluster", CLUSTER,
                        *args, check=False)
        t.equal(r.returncode, code, "import on %s: %s%s" % (node, r.stdout, r.stderr))
        return r.stdout, r.stderr
    # bcast needs both addresses here; ours is on the interface, the other is asked for.
    _, err = convert(first, code=19)
    t.true("ERROR /etc/old.d/ha.cf:7: bcast eth1: the address of ha-2" in err, err)
    ask = ("--address", "ha-2:eth1=10.99.1.12")
    text, err = convert(first, *ask, code=1)
    for word in ("ha.cf:10: watchdog", "authkeys:1: its keys are not used again"):
        t.true(word in err, "no note %r:\n%s" % (word, err))
    t.true("OldSecret" not in text + err, "the old key is shown")
    output = ("--output", "/etc/mailpair/hagent.conf")
    convert(first, *ask, *output, code=13)
    convert(first, *ask, *output, "--force", code=1)
    convert(second, "--address", "ha-1:eth1=10.99.1.11", *output, "--force", code=1)
    same = [open(lab.node_dir(n) + "/etc/mailpair/hagent.conf", encoding="ascii").read()
            for n in NODES]
    t.equal(same[0], same[1], "the configuration on both nodes")
    for node in NODES:
        lab.execute(node, "hagentd", "-n")
        # Both links change their place: both at once.
        lab.kill_service(node, "hagentd", 15)
    active = lab.wait_in_step(60)
    status = lab.status(active)
    t.equal([v["address"].split("/")[0] for v in status["vips"]], [IMPORTED_VIP], "addresses")
    wait_for("a greeting on the address", 10, lambda: serves(lab, IMPORTED_VIP), 0.2)
    lab.kill(active)
    other = NODES[1 - NODES.index(active)]
    wait_for("the other node serves", 40, lambda: lab.active() == other, 0.2)
    wait_for("a greeting from it", 10, lambda: serves(lab, IMPORTED_VIP), 0.2)
