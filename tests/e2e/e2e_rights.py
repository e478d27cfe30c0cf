"""e2e_rights.py - who runs as whom: the table of processes in the READMEs, read from
/proc of a live pair; what the agent has no business to know; and heartbeats by broadcast.
"""
import os
import signal
import subprocess

import exercise
import mailgen
from harness import Skip, test
from lab import NODES, wait_for

# What a process may be found as: (daemon, user) -> filtered by seccomp?  The two root
# processes never read what strangers sent.
ROOT = {("hagentd", "root"): False, ("maild", "root"): False}
ALLOWED = {("hagentd", "hagent"): False, ("syncd", "mailstore"): None,
           ("maild", "mailauth"): True, ("maild", "mailgate"): True,
           ("maild", "mailstore"): True, ("maild", "mailqueue"): True}


def _processes(lab, node):
    """[(command, {field: value} of status, root folder)] of the three daemons."""
    text = lab.execute(node, "/bin/sh", "-c",
                       "for p in /proc/[0-9]*; do c=$(tr '\\0' ' ' < $p/cmdline 2>/dev/null);"
                       "case $c in /usr/local/sbin/*) echo \"== $c\"; readlink $p/root;"
                       "grep -E '^(Uid|Gid|NoNewPrivs|Seccomp|CapEff):' $p/status;; esac; done").stdout
    out = []
    for block in text.split("== ")[1:]:
        lines = block.splitlines()
        fields = dict(x.split(":", 1) for x in lines[2:])
        out.append((os.path.basename(lines[0].split()[0]), fields, lines[1]))
    return out


@test
def every_process_has_its_user(t):
    lab = t.lab()
    with open(os.path.join(lab.node_dir("ha-1"), "etc/passwd")) as f:
        names = {x.split(":")[2]: x.split(":")[0] for x in f}
    for node in NODES:
        seen = {}
        for command, fields, root in _processes(lab, node):
            uids = set(fields["Uid"].split())
            t.equal(len(uids), 1, "one uid of %s %s" % (command, fields))
            key = (command, names[uids.pop()])
            seen[key] = seen.get(key, 0) + 1
            t.true(key in ROOT or key in ALLOWED, "%s on %s runs as %s" % (command, node, key[1]))
            if key in ROOT:
                continue
            t.equal(fields["NoNewPrivs"].strip(), "1", "NoNewPrivs of %s %s" % key)
            if ALLOWED[key]:
                t.equal(fields["Seccomp"].strip(), "2", "seccomp filter of %s %s" % key)
            if key[1] != "mailstore":      # the mirror worker keeps a few, see MIRROR.md
                t.equal(int(fields["CapEff"], 16), 0, "capabilities of %s %s" % key)
            if key == ("maild", "mailgate"):
                t.true(root.endswith("/empty"), "the gate's root is %s" % root)
        t.equal(set(seen), set(ROOT) | set(ALLOWED), "processes on " + node)
        t.equal((seen[("hagentd", "root")], seen[("maild", "root")]), (1, 1), "root processes")


# How often each of some words (in hexadecimal) stands in the memory of a process that it
# can write.
COUNT = """
import sys
found = [0] * len(sys.argv[2:])
with open("/proc/%s/maps" % sys.argv[1]) as maps, \\
        open("/proc/%s/mem" % sys.argv[1], "rb", 0) as mem:
    for line in maps:
        where, rights = line.split()[:2]
        if not rights.startswith("rw"):
            continue
        begin, end = (int(x, 16) for x in where.split("-"))
        mem.seek(begin)
        text = mem.read(end - begin)
        for i, word in enumerate(sys.argv[2:]):
            found[i] += text.count(bytes.fromhex(word))
print(*found)
"""
DEVICE = "#!/bin/sh\n# A fence device that hangs.\nexec sleep 60\n"
PASSWORDS = ("conf-Password-4711", "file-Password-0815")


def _counts(lab, node, pid, words=tuple(p.encode().hex() for p in PASSWORDS)):
    out = lab.execute(node, "/usr/bin/python3", "-c", COUNT, str(pid), *words).stdout
    return [int(n) for n in out.split()]


def _fence(victim, *args):
    return ('fence "bmc" {\n\tagent = "/run/lab/bmc"\n\tnode = "%s"\n'
            '\targs = { "passwd=%s" }\n%s}\n' % (victim, PASSWORDS[0], "".join(
                "\t%s\n" % a for a in args)))


def _agent(lab, node, old=()):
    """Waits for one that is none of the old ones, and answers."""
    def there():
        kids = lab.children(node, lab.pid_of(node, "hagentd"))
        pids = [p for p, line in kids.items() if "hagentd" in line and p not in old]
        return pids[0] if pids and lab.status(node) else 0
    return wait_for("an agent on " + node, 20, there, 0.05)


@test
def agent_holds_no_passwords(t):
    """Those of the fence devices are for the executor alone."""
    if os.environ.get("SAN") == "1":
        raise Skip("a sanitizer keeps freed memory")
    lab = t.lab()
    node, home = lab.standby(), lab.node_dir(lab.standby())
    old = {_agent(lab, node)}
    for name, text, mode in (("bmc", DEVICE, 0o755),
                             ("bmc-args", "passwd=%s\n" % PASSWORDS[1], 0o600)):
        with open(os.open(home + "/" + name, os.O_CREAT | os.O_WRONLY, mode), "w") as f:
            f.write(text)
    conf = home + "/etc/mailpair/hagent.conf"
    os.chmod(conf, 0o600)
    with open(conf, "a") as f:
        f.write(_fence(lab.active(), 'args-file = "/run/lab/bmc-args"'))

    def check(what, in_executor):
        agent = _agent(lab, node, old)
        old.add(agent)
        seen = _counts(lab, node, lab.pid_of(node, "hagentd"))
        t.equal([n > 0 for n in seen], in_executor, "passwords in the executor, " + what)
        t.equal(_counts(lab, node, agent), [0, 0], "passwords in the agent, " + what)
        return agent
    lab.execute(node, "hactl", "reload")
    check("after a reload", [True, False])
    # Agents are forked with what an executor has read at its own start, too.
    before = lab.pid_of(node, "hagentd")
    lab.kill_service(node, "hagentd", signal.SIGTERM)
    wait_for("the next hagentd", 20, lambda: lab.pid_of(node, "hagentd") not in (0, before))
    agent = check("after a restart", [True, False])
    # And while a device runs.
    asking = subprocess.Popen(lab.command(node, "/usr/local/sbin/hactl", "fence", "test"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_for("the device runs", 10, lambda: any("sleep" in line for line in lab.children(
        node, lab.pid_of(node, "hagentd")).values()), 0.05)
    lab.execute(node, "/bin/sh", "-c", "kill -9 %d" % agent)
    asking.wait()
    check("while a device runs", [True, True])


@test
def agent_holds_nothing_of_a_reload(t):
    """A new agent while the new configuration and keys are in the executor already: it
    probes for a new address, for five seconds."""
    if os.environ.get("SAN") == "1":
        raise Skip("a sanitizer keeps freed memory")
    lab = t.lab()
    node, home = lab.active(), lab.node_dir(lab.active())
    old = _agent(lab, node)
    with open(os.open(home + "/bmc", os.O_CREAT | os.O_WRONLY, 0o755), "w") as f:
        f.write(DEVICE)
    os.chmod(home + "/etc/mailpair/hagent.conf", 0o600)
    with open(home + "/etc/mailpair/hagent.conf", "a") as f:
        f.write(_fence(lab.standby()) + "probe-wait-ms = 5000\n"
                'vip "192.0.2.7/24" {\n\tinterface = "eth0"\n}\n')
    lab.execute(node, "hactl", "key", "new")
    with open(home + "/etc/mailpair/cluster.key") as f:
        words = (PASSWORDS[0].encode().hex(), f.read().split()[-1])
    asking = subprocess.Popen(lab.command(node, "/usr/local/sbin/hactl", "reload"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    executor = lab.pid_of(node, "hagentd")
    wait_for("the new key is in the executor", 10,
             lambda: all(_counts(lab, node, executor, words)), 0.05)
    lab.execute(node, "/bin/sh", "-c", "kill -9 %d" % old)
    asking.wait()
    agent = _agent(lab, node, {old})
    seen = _counts(lab, node, agent, words)
    t.true("new configuration" not in lab.log(node, "hagentd"), "the reload was over too early")
    t.equal(seen, [0, 0], "password and new key in the agent")
    # Then it is taken, by an agent that needs the new key.
    last = _agent(lab, node, {old, agent})
    t.equal([n > 0 for n in _counts(lab, node, last, words)], [False, True], "in the end")


@test
def heartbeats_by_broadcast(t):
    """The crossover link sends to its broadcast address; the pair works as before."""
    links = ("link", "eth1", [("medium", "udp"), ("interface", "eth1"),
                              ("broadcast", "10.99.1.255"),
                              ("address", ["ha-1=10.99.1.11", "ha-2=10.99.1.12"])])
    lab = t.lab(hagent=[links])
    text = lab.execute("ha-1", "hactl", "links").stdout
    line = next(x for x in text.splitlines() if x.startswith("eth1"))
    t.true(" ok " in line, "the broadcast link: " + line)
    for wire in ("eth0",):
        lab.cut("ha-1", wire)
    lab.cut_serial()
    ex = exercise.Exercise(lab, mailgen.generate(10), say=t.say, users=1, connections=1)
    # Only the broadcast link is left between the nodes: nobody takes over because of
    # silence; the active hands over because its clients cannot reach it.
    lab.wait_active(20)
    lab.heal("ha-1", "eth0")
    lab.cut_serial(False)
    lab.wait_in_step(60)
    ex.add_users()
    ex.run(probes=())
    for name, r in ex.read_back().items():
        t.true(r.good() and r.found == 10, name)
    roles = sorted(lab.status(n)["self"]["role"] for n in NODES)
    t.equal(roles, ["active", "standby"], "roles at the end")
