"""e2e_config.py - a pair's configuration: imported, changed while it runs, made anew."""
import os
import re

import exercise
import load
import mailgen
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


def read_conf(lab, node):
    with open(lab.node_dir(node) + "/etc/mailpair/hagent.conf", encoding="ascii") as f:
        return f.read()


def write_conf(lab, node, text):
    put(lab, node, "etc/mailpair/hagent.conf", text)


def hactl(t, lab, node, *args, code=0):
    r = lab.execute(node, "hactl", *args, check=False)
    t.equal(r.returncode, code, "hactl %s on %s: %s%s" % (" ".join(args), node, r.stdout,
                                                          r.stderr))
    return r.stdout + r.stderr


def agent_pid(lab, node):
    return next(iter(lab.children(node, lab.pid_of(node, "hagentd"))))


def addresses(lab, node):
    return lab.execute(node, "ip", "-br", "addr", "show", "dev", "eth0").stdout


def wait_agent(lab, node, old):
    """The successor answers; its pid."""
    def there():
        kids = lab.children(node, lab.pid_of(node, "hagentd"))
        pids = [p for p in kids if p != old]
        return pids[0] if pids and lab.status(node) else 0
    return wait_for("another agent on " + node, 15, there, 0.05)


@test
def reload_keeps_the_role(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500)])
    active, standby = lab.active(), lab.standby()
    conf = read_conf(lab, active)
    epoch = lab.status(active)["epoch"]
    maild = lab.pid_of(active, "maild")
    daemons = {n: lab.pid_of(n, "hagentd") for n in NODES}
    agents = {n: agent_pid(lab, n) for n in NODES}
    # A mistake changes nothing and is named with its line, by hactl and after SIGHUP.
    write_conf(lab, active, conf + "nonsense = 1\n")
    text = hactl(t, lab, active, "reload", code=19)
    t.true("hagent.conf:%d: no such option 'nonsense'" % (conf.count("\n") + 1) in text, text)
    lab.kill_service(active, "hagentd", 1)
    wait_for("the second refusal in the log", 10, lambda: lab.log(active, "hagentd").count(
        "configuration not taken: ") == 2, 0.1)
    # What services that are up depend on is refused, with the way out.
    for changed, word in ((conf.replace('cluster = "', 'cluster = "x'), "cluster cannot"),
                          (conf.replace("192.0.2.5/24", "192.0.2.6/24"), "is up here"),
                          (conf.split('resource "maild"')[0], "is up here"),
                          (conf.replace('10.99.1.', '10.99.9.').replace("=192.0.2.1", "=192.0.9.1")
                           .replace("115200", "9600"), "no link stays")):
        write_conf(lab, active, changed)
        text = hactl(t, lab, active, "reload", code=14)
        t.true(word in text and "\nHINT " in text, "%s: %s" % (word, text))
    # An address that another host has is not taken.
    new_vip = 'vip "192.0.2.%d/24" {\n\tinterface = "eth0"\n}\n'
    write_conf(lab, active, conf + new_vip % 1)
    t.true("another host" in hactl(t, lab, active, "reload", code=14), "an address in use")
    t.equal({n: agent_pid(lab, n) for n in NODES}, agents, "agents so far")
    # Added on the active: it goes up; times are taken; nothing else moves.
    more = conf + "warntime-ms = 900\n" + new_vip % 7 + (
        'resource "extra" {\n\tscript = "dummy"\n\targs = { "dir=/run/extra" }\n}\n')
    for node in NODES:
        os.makedirs(lab.node_dir(node) + "/var/extra", exist_ok=True)
    more = more.replace("/run/extra", "/var/lib/mailpair/extra")
    write_conf(lab, active, more)
    before = addresses(lab, active)
    hactl(t, lab, active, "reload", "--dry-run")
    t.equal(agent_pid(lab, active), agents[active], "agent after a dry run")
    hactl(t, lab, active, "reload")
    wait_agent(lab, active, agents[active])
    wait_for("the new address", 10, lambda: "192.0.2.7/24" in addresses(lab, active), 0.1)
    wait_for("the new resource", 10, lambda: os.path.exists(
        lab.node_dir(active) + "/var/extra/extra"), 0.1)
    for word in before.split()[2:]:
        t.true(word in addresses(lab, active), "%s went away: %s" % (word, before))
    wait_for("the difference in status", 20, lambda: "onfiguration" in lab.execute(
        standby, "hactl", "status", check=False).stderr, 0.2)
    # The other node, by SIGHUP: equal again.
    write_conf(lab, standby, more)
    lab.kill_service(standby, "hagentd", 1)
    wait_agent(lab, standby, agents[standby])
    wait_for("both are equal and healthy", 30, lambda: lab.execute(
        active, "hactl", "status", check=False).returncode == 0, 0.2)
    t.equal(lab.active(), active, "active node")
    t.equal(lab.status(active)["epoch"], epoch, "epoch")
    t.equal(lab.pid_of(active, "maild"), maild, "maild")
    t.equal({n: lab.pid_of(n, "hagentd") for n in NODES}, daemons, "daemons")
    t.equal(lab.status(active)["self"]["role"], "active", "role")
    # On the standby everything may go; then it takes over with what it has.
    write_conf(lab, standby, conf)
    hactl(t, lab, standby, "reload")


@test
def key_rotation(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500)],
                hagent=[("keepalive-ms", 100), ("warntime-ms", 600)])
    active = lab.active()
    nodes = (active, lab.standby())
    epoch = lab.status(active)["epoch"]
    old = open(lab.node_dir(active) + "/etc/mailpair/cluster.key", encoding="ascii").read()
    ex = exercise.Exercise(lab, mailgen.generate(400, 3), connections=4, say=t.say, rate=5)
    ex.add_users()
    done, began = [], {}

    def step(*verb):
        """On one node, copied to the other, taken by both while mail flows."""
        hactl(t, lab, nodes[0], "key", *verb)
        path = "/etc/mailpair/cluster.key"
        with open(lab.node_dir(nodes[0]) + path, encoding="ascii") as f:
            put(lab, nodes[1], path[1:], f.read(), 0o600)
        for node in nodes:
            pid = agent_pid(lab, node)
            hactl(t, lab, node, "reload")
            wait_agent(lab, node, pid)
        wait_for("both hear each other", 20, lambda: all(
            lab.execute(n, "hactl", "status", check=False).returncode == 0 for n in nodes), 0.2)
        done.append(verb)

    def rotate(_):
        began.update({n: len(lab.log(n, "hagentd")) for n in nodes})
        for verb in ("new", "use", "drop"):
            step(verb)
    ex.fault = rotate
    ex.run(probes=("smtp",))
    t.equal(len(done), 3, "steps of the rotation")
    t.equal(lab.active(), active, "active node")
    t.equal(lab.status(active)["epoch"], epoch, "epoch")
    for node in nodes:
        log = lab.log(node, "hagentd")[began[node]:]
        found = re.findall(r".*(?:link (?:eth|tty)\S+ (?:silent|dead|is down)|frame refused|active ->).*", log)
        t.equal(found, [], "what the log says on " + node)
    # A node with the dropped key is not heard, and cannot drop what the other signs with.
    put(lab, nodes[1], "etc/mailpair/cluster.key", old, 0o600)
    t.true("still signs with key" in hactl(t, lab, nodes[1], "reload", code=14), "refusal")
    lab.kill_service(nodes[1], "hagentd")
    wait_for("frames with the dropped key are refused", 20, lambda: "frame refused: key" in
             lab.log(nodes[0], "hagentd"), 0.2)
    t.equal(lab.active(), active, "active node at the end")
