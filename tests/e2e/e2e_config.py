"""e2e_config.py - a pair's configuration: imported, changed while it runs, made anew."""
import os
import re

import exercise
import load
import mailgen
from harness import Skip, test
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
    t.true("authkeys:1: its keys are not used again" in err, "notes:\n" + err)
    t.true('device = "/dev/watchdog"' in text, "watchdog:\n" + text)
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
    # The first look may have met the agents of before.  Who is not in step has to wait for
    # the other one, and rightly.
    active = lab.wait_in_step(60)
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
    # Nor is one taken that somebody else could have written; nor such a key.
    write_conf(lab, active, conf)
    for name, spoil, mend in (("hagent.conf", "chmod 646", "chmod go-w"),
                              ("cluster.key", "chown 1", "chown root"),
                              ("", "chmod 777", "chmod go-w")):
        path = ("/etc/mailpair/" + name).rstrip("/")
        lab.execute(active, "sh", "-c", "%s %s" % (spoil, path))
        text = hactl(t, lab, active, "reload", code=19)
        t.true("%s %s" % (mend, path) in text, "%s: %s" % (spoil, text))
        t.equal(lab.execute(active, "hagentd", "-n", check=False).returncode, 19, "hagentd -n")
        lab.execute(active, "sh", "-c", "%s %s" % (mend, path))
    lab.execute(active, "hagentd", "-n")
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


def scheduling(lab, node):
    """Of the executor and its agent: 0 ordinary, 2 round robin."""
    executor = lab.pid_of(node, "hagentd")
    return [int(lab.execute(node, "awk", "{print $41}", "/proc/%d/stat" % p).stdout)
            for p in (executor, agent_pid(lab, node))]


@test
def reload_takes_realtime(t):
    lab = t.lab()
    node = lab.active()
    if scheduling(lab, node) != [2, 2]:
        raise Skip("no real-time scheduling on this machine")
    conf = read_conf(lab, node)
    for more, policy in (("realtime = false\n", 0), ("", 2)):
        old = agent_pid(lab, node)
        write_conf(lab, node, conf + more)
        hactl(t, lab, node, "reload")
        wait_agent(lab, node, old)
        t.equal(scheduling(lab, node), [policy] * 2, "scheduling with \"%s\"" % more.strip())
    t.equal(lab.active(), node, "active node")


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


ANSWERS = """
cluster = mail.example.org
node-1 = ha-1 192.0.2.11
node-2 = ha-2 192.0.2.12
second-path = eth1 10.99.1.11 10.99.1.12 /dev/ttyS0
vip = 192.0.2.5/24 eth0
ping = 192.0.2.1
"""


def stopped(lab):
    """Nodes without a configuration: the daemons end, are started again and end."""
    for node in NODES:
        lab.execute(node, "sh", "-c", "rm -rf /etc/mailpair/*; mkdir -p /etc/mailpair/tls;"
                    " cp /usr/local/lib/mailpair/etc/*.conf /etc/mailpair/")
    for node in NODES:
        for service in ("hagentd", "maild", "syncd"):
            lab.kill_service(node, service)
        lab.execute(node, "sh", "-c", "rm -rf /var/lib/mailpair/*")


@test
def setup_and_join(t):
    lab = t.lab()
    stopped(lab)
    first, second = NODES
    put(lab, first, "etc/answers", ANSWERS)
    text = hactl(t, lab, first, "setup", "--answers", "/etc/answers", "--dry-run")
    t.true("WOULD  write /etc/mailpair/cluster.key 0600" in text and "PRIVATE KEY" not in text,
           text)
    t.true("hostname = " in text, "the configuration: " + text)
    t.true(not os.path.exists(lab.node_dir(first) + "/etc/mailpair/cluster.key"), "a dry run")
    # The shipped examples may be replaced, what somebody wrote may not.
    text = hactl(t, lab, first, "setup", "--answers", "/etc/answers")
    printed = re.search(r"fingerprint ([0-9a-f]{4}(-[0-9a-f]{4}){3})", text).group(1)
    hactl(t, lab, first, "setup", "--answers", "/etc/answers", code=13)
    with open(lab.node_dir(first) + "/etc/mailpair/join.bundle", encoding="ascii") as f:
        bundle = f.read()
    t.equal(os.stat(lab.node_dir(first) + "/etc/mailpair/join.bundle").st_mode & 0o777, 0o600,
            "mode of the bundle")
    put(lab, second, "etc/join.bundle", bundle, 0o600)
    hactl(t, lab, second, "join", "/etc/join.bundle", "--fingerprint", "0000-" + printed[5:], code=14)
    t.true(not os.path.exists(lab.node_dir(second) + "/etc/mailpair/cluster.key"), "refused")
    put(lab, first, "etc/join.bundle", bundle, 0o600)
    hactl(t, lab, first, "join", "/etc/join.bundle", "--fingerprint", printed, code=13)
    hactl(t, lab, second, "join", "/etc/join.bundle", "--fingerprint", printed)
    t.true(not os.path.exists(lab.node_dir(second) + "/etc/join.bundle"), "bundle is removed")
    for node in NODES:
        for daemon in ("hagentd", "syncd", "maild"):
            lab.execute(node, daemon, "-n")
        for name in ("cluster.key", "syncd.key", "tls/mail.key"):
            t.equal(os.stat(lab.node_dir(node) + "/etc/mailpair/" + name).st_mode & 0o777, 0o600,
                    "mode of %s on %s" % (name, node))
    # The lab starts what ended again: a pair of the new configuration.
    lab.wait_in_step(90)
    wait_for("a greeting on the address", 20, lambda: serves(lab, "192.0.2.5"), 0.2)


@test
def report_has_no_secrets(t):
    lab = t.lab()
    node = lab.active()
    # hagentd would refuse it; in a report it is still no password.
    write_conf(lab, node, read_conf(lab, node) + 'fence "ipmi" {\n\targs = { "ip=10.0.0.9", '
               '"passwd=hunter2secret" }\n}\n')
    out = hactl(t, lab, node, "report", "--output", "/var/lib/mailpair/report.tar.gz")
    t.true("secrets taken out" in out, out)
    hactl(t, lab, node, "report", "--output", "/var/lib/mailpair/report.tar.gz", code=13)
    path = lab.node_dir(node) + "/var/report.tar.gz"
    t.equal(os.stat(path).st_mode & 0o777, 0o600, "mode")
    import tarfile
    with tarfile.open(path) as tar:
        texts = {m.name.split("/")[-1]: tar.extractfile(m).read() for m in tar if m.isfile()}
    for name in ("hagent.conf", "syncd.conf", "status.json", "links.json", "events.json",
                 "ip-addr.txt", "modes.txt", "version.txt"):
        t.true(texts.get(name), "no %s in %s" % (name, sorted(texts)))
    t.true(b'"nodes"' in texts["status.json"] and b"192.0.2." in texts["ip-addr.txt"], "content")
    secrets = [b"hunter2secret"]
    for name in ("cluster.key", "syncd.key", "tls/mail.key"):
        with open(lab.node_dir(node) + "/etc/mailpair/" + name, "rb") as f:
            secrets += [x for x in f.read().split(b"\n") if x and not x.startswith(b"---")]
    for name, text in texts.items():
        for secret in secrets:
            for form in (secret, secret.lower(), secret.upper()):
                t.true(form not in text, "a secret is in " + name)


@test
def preflight(t):
    lab = t.lab()
    for node in NODES:
        # No watchdog and no fence device: fit, with less protection.
        text = hactl(t, lab, node, "preflight", code=1)
        for word in ("OK    config", "OK    keys", "OK    users", "OK    serial", "OK    ping",
                     "OK    vip", "OK    daemons", "OK    links      eth0 is heard", "OK    disk",
                     "WARN  watchdog", "WARN  fence", "HINT  "):
            t.true(word in text, "%s: no %r in\n%s" % (node, word, text))
        t.true("FAIL" not in text, text)
    node = lab.standby()
    lab.execute(node, "chmod", "644", "/etc/mailpair/syncd.key")
    lab.unplug(node, "eth1")
    write_conf(lab, node, read_conf(lab, node).replace('"192.0.2.1"', '"192.0.2.77"'))
    wait_for("the silent link", 20, lambda: "FAIL  links      eth1" in lab.execute(
        node, "hactl", "preflight", check=False).stdout, 0.5)
    text = hactl(t, lab, node, "preflight", code=2)
    for word in ("FAIL  keys", "FAIL  ping       192.0.2.77 does not answer", "not fit",
                 "FAIL  network    eth1: eth1 has no carrier"):
        t.true(word in text, "no %r in\n%s" % (word, text))
    write_conf(lab, node, "nonsense\n")
    text = hactl(t, lab, node, "preflight", code=2)
    t.true("FAIL  config     hagent.conf: ERROR /etc/mailpair/hagent.conf:" in text, text)
    # What the running pair complains of stands there in its words.
    t.true("WARN  pair       " in text and "without words" not in text, text)
