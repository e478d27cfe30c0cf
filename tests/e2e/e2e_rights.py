"""e2e_rights.py - who runs as whom: the table of processes in the READMEs, read from
/proc of a live pair; and heartbeats by broadcast.
"""
import os

import exercise
import mailgen
from harness import test
from lab import NODES

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
