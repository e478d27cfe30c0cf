"""e2e_resources.py - resources of every class on a live pair: a service whose process ends
is started again at once, moves when that does not help, and obeys the operator."""
import json
import os
import statistics
import subprocess

import exercise
import mailgen
from harness import BUILD, test
from lab import NODES, wait_for

KILLS = 5
LIMIT_S = 0.1
# A service that says when its start began, in seconds since 1970 on this machine.
WORKER = """#!/bin/sh
# worker start|stop|status NAME
run=/run/worker-$2
case $1 in
start)
	date +%s.%N >$run.began
	kill -0 "$(cat $run.pid 2>/dev/null)" 2>/dev/null && exit 0
	setsid sleep 86400 </dev/null >/dev/null 2>&1 &
	echo $! >$run.pid
	;;
stop)
	kill "$(cat $run.pid 2>/dev/null)" 2>/dev/null
	rm -f $run.pid
	;;
status) kill -0 "$(cat $run.pid 2>/dev/null)" 2>/dev/null || exit 3 ;;
*) exit 2 ;;
esac
exit 0
"""
INIT = """#!/bin/sh
exec /usr/local/sbin/worker "$1" init
"""
SYSTEMCTL = """#!/bin/sh
# What hagentd asks of the real one, for one unit.
[ "$1" = --no-ask-password ] || exit 1
shift
case $1 in
start | stop) [ "$2 $3" = "-- worker@1.service" ] && exec /usr/local/sbin/worker "$1" unit ;;
show)
	[ "$2 $3 $4" = "--property=LoadState,ActiveState,MainPID -- worker@1.service" ] || exit 1
	echo LoadState=loaded
	if /usr/local/sbin/worker status unit; then
		echo ActiveState=active
		echo "MainPID=$(cat /run/worker-unit.pid)"
	else
		echo ActiveState=inactive
		echo MainPID=0
	fi
	exit 0
	;;
esac
exit 1
"""
RESOURCES = [
    ("systemctl", "/usr/local/sbin/systemctl"),
    ("resource", "dummy", [("script", "ocf:heartbeat:Dummy"), ("start-timeout-ms", 20000),
                           ("params", ["state=/run/dummy.state", "fake=a b; c"])]),
    ("resource", "unit", [("script", "systemd:worker@1.service"), ("restarts", KILLS)]),
    ("resource", "init", [("script", "lsb:worker"), ("pidfile", "/run/worker-init.pid"),
                          ("restarts", KILLS), ("monitor-interval-ms", 60000)]),
]


def _lab(t):
    from lab import Lab
    lab = Lab(build=BUILD, install=t.install, hagent=RESOURCES,
              syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    real = lab._disk

    def disk(node):
        real(node)
        for path, text in (("usr/sbin/worker", WORKER), ("usr/sbin/systemctl", SYSTEMCTL),
                           ("etc/init.d/worker", INIT)):
            path = os.path.join(lab.node_dir(node), path)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)
    lab._disk = disk
    t.labs.append(lab)
    lab.start()
    lab.wait_in_step(90)
    return lab


def _read(lab, node, path):
    return lab.execute(node, "cat", path, check=False).stdout.strip()


def _states(lab, node):
    r = lab.execute(node, "hactl", "resource", "list", "--json", check=False)
    try:
        return {x["name"]: x for x in json.loads(r.stdout.splitlines()[0])["resources"]}
    except (ValueError, IndexError):
        return {}


def _up(lab, node):
    return bool(_states(lab, node)) and all(
        x["state"] == "up" for x in _states(lab, node).values())


def _kill(t, lab, node, name):
    """Seconds from the end of the process to the beginning of the start behind it."""
    pid = _read(lab, node, "/run/worker-%s.pid" % name)
    inside = "date +%%s.%%N; kill -9 %s" % pid
    killed = float(lab.execute(node, "/bin/sh", "-c", inside).stdout)
    wait_for("another process of " + name, 10,
             lambda: _read(lab, node, "/run/worker-%s.pid" % name) not in ("", pid))
    return float(_read(lab, node, "/run/worker-%s.began" % name)) - killed


@test
def resource_of_every_class(t):
    lab = _lab(t)
    active = lab.active()
    standby = NODES[1 - NODES.index(active)]
    wait_for("all resources", 20, lambda: _up(lab, active))
    t.true(_read(lab, standby, "/run/worker-unit.pid") == "", "a unit runs on the standby")
    t.equal(_states(lab, standby)["dummy"]["state"], "down", "the agent on the standby")
    for name in ("unit", "init"):
        took = []
        for _ in range(KILLS):
            took.append(_kill(t, lab, active, name))
            wait_for(name + " is up", 10, lambda: _up(lab, active))
        t.say("%s: start began %s ms behind the end, median %.0f" % (
            name, " ".join("%.0f" % (1000 * s) for s in took), 1000 * statistics.median(took)))
        t.true(statistics.median(took) <= LIMIT_S, "%s was started again after %r s"
               % (name, took))
    # What the OCF agent says is believed too: it is asked, nothing can be watched.
    lab.execute(active, "rm", "/run/dummy.state")
    wait_for("the agent's monitor", 15,
             lambda: _states(lab, active).get("dummy", {}).get("failures") == 1)
    wait_for("all resources", 20, lambda: _up(lab, active))
    # One more failure than the budget: the whole group moves.
    pid = _read(lab, active, "/run/worker-init.pid")
    lab.execute(active, "kill", "-9", pid)
    wait_for("the group on " + standby, 20, lambda: lab.active() == standby, 0.05)
    wait_for("all resources", 20, lambda: _up(lab, standby))
    t.equal(_read(lab, active, "/run/worker-unit.pid"), "", "what is left on " + active)
    text = lab.execute(active, "hactl", "history").stdout
    t.true("resource" in text.splitlines()[-1], "history: " + text)


@test
def resource_commands(t):
    lab = _lab(t)
    active = lab.active()
    standby = NODES[1 - NODES.index(active)]
    wait_for("all resources", 20, lambda: _up(lab, active))

    def hactl(node, *args, code=0):
        r = lab.execute(node, "hactl", *args, check=False)
        t.equal(r.returncode, code, "hactl %s on %s: %s%s" % (" ".join(args), node, r.stdout,
                                                              r.stderr))
        return r.stdout + r.stderr

    def pid(name):
        return _read(lab, active, "/run/worker-%s.pid" % name)
    text = hactl(active, "resource", "list")
    for word in ("RESOURCE", "syncer", "ocf:heartbeat:Dummy", "systemd:worker@1.service", "up"):
        t.true(word in text, "list lacks %r:\n%s" % (word, text))
    hactl(active, "resource", "stop", code=10)
    hactl(active, "resource", "stop", "nothing", code=12)
    unit, init = pid("unit"), pid("init")
    for verb in ("stop", "start", "restart"):
        t.true("WOULD " in hactl(active, "resource", verb, "unit", "--dry-run"), "dry run")
        hactl(standby, "resource", verb, "unit", "--dry-run")
    t.equal((pid("unit"), pid("init")), (unit, init), "processes after dry runs")
    # Stopped with what depends on it, and left alone by everybody.
    hactl(active, "resource", "stop", "unit")
    t.equal((pid("unit"), pid("init")), ("", ""), "processes after the stop")
    states = _states(lab, active)
    t.equal([states[n]["state"] for n in ("maild", "dummy", "unit", "init")],
            ["up", "up", "stopped by operator", "waits for unit"], "states")
    text = hactl(active, "status", code=1)
    t.true("resource unit is stopped by operator" in text, "status: " + text)
    hactl(active, "resource", "start", "init", code=13)
    # Not even a new agent starts it.
    executor = lab.pid_of(active, "hagentd")
    agent = next(iter(lab.children(active, executor)))
    lab.execute(active, "kill", "-9", str(agent))
    wait_for("the agent is back", 20, lambda: _states(lab, active).get("unit", {}).get("state") ==
             "stopped by operator" and lab.active() == active, 0.1)
    t.equal((pid("unit"), pid("init")), ("", ""), "processes behind the agent's restart")
    # Asked on the other node it goes to the active.
    wait_for("asked on the standby", 20, lambda: lab.execute(
        standby, "hactl", "resource", "start", "unit", check=False).returncode == 0, 0.2)
    wait_for("all resources", 20, lambda: _up(lab, active))
    unit, init = pid("unit"), pid("init")
    hactl(active, "resource", "restart", "init")
    t.equal(pid("unit"), unit, "the process before the one that was restarted")
    t.true(pid("init") not in ("", init), "no new process of init")
    init = pid("init")
    hactl(active, "resource", "restart", "unit")
    t.true(pid("unit") != unit and pid("init") != init, "restart takes what depends on it along")
    hactl(active, "resource", "cleanup", "unit")
    # The role takes an operator's wish with it.
    hactl(active, "resource", "stop", "init")
    lab.wait_in_step(30)
    hactl(active, "switchover", "--yes")
    wait_for("all resources", 20, lambda: _up(lab, standby))


FRAIL = """#!/bin/sh
# Its start fails where /run/frail-broken is.
case $1 in
start)
	[ ! -e /run/frail-broken ] || { echo "told to fail" >&2; exit 1; }
	: >/run/frail
	;;
stop) rm -f /run/frail ;;
status) [ -e /run/frail ] || exit 3 ;;
*) exit 2 ;;
esac
"""


@test
def switchover_to_where_it_cannot_start(t):
    """Exit 17: the old node serves again, and what was acknowledged meanwhile is there."""
    from lab import Lab
    lab = Lab(build=BUILD, install=t.install, hagent=[("resource", "frail", [
        ("script", "lsb:frail"), ("restarts", 0)])],
        syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    real = lab._disk

    def disk(node):
        real(node)
        path = os.path.join(lab.node_dir(node), "etc/init.d/frail")
        with open(path, "w") as f:
            f.write(FRAIL)
        os.chmod(path, 0o755)
    lab._disk = disk
    t.labs.append(lab)
    lab.start()
    lab.wait_in_step(90)
    old, new = lab.active(), lab.standby()
    lab.execute(new, "touch", "/run/frail-broken")
    answers = {}

    def switch(ex):
        for node in (old, new):         # asked where it is active, and on the other one
            lab.wait_in_step(60)
            ex.mark_fault()
            answers[node] = lab.execute(node, "hactl", "switchover", "--to", new, check=False)
            wait_for("service on " + old, 30, lambda: lab.active() == old, 0.05)
            lab.execute(new, "hactl", "resource", "cleanup")
            lab.execute(new, "hactl", "online", new)
    ex = exercise.Exercise(lab, mailgen.generate(200, seed=17), fault=switch, fault_at=0.2,
                           say=t.say, users=4, rate=4.0)
    ex.add_users()
    ex.run()
    for node, r in answers.items():
        text = "asked on %s: exit %d %s%s" % (node, r.returncode, r.stdout, r.stderr)
        t.say(text)
        t.equal(r.returncode, 17, text)
        t.true(r.stderr.startswith("ERROR ") and "HINT  hactl status" in r.stderr, text)
    t.true("could not take over; this one serves again" in answers[old].stderr, "words")
    t.equal(lab.active(), old, "who serves")
    t.true(_up(lab, old), "resources on %s: %r" % (old, _states(lab, old)))
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + ": lost, duplicated, changed")
    # Mended, the same command works.
    lab.execute(new, "rm", "/run/frail-broken")
    lab.execute(new, "hactl", "resource", "cleanup")
    lab.wait_in_step(60)
    wait_for("the switchover", 30, lambda: lab.execute(
        old, "hactl", "switchover", "--to", new, check=False).returncode == 0, 0.5)
    t.equal(lab.wait_active(30), new, "who serves behind the repair")


HELPER = """#!/bin/sh
echo $$ >>/var/lib/mailpair/helper-$1
id -un >>/var/lib/mailpair/helper-$1
exec sleep 86400
"""


@test
def helpers_are_kept_running(t):
    from lab import Lab
    lab = Lab(build=BUILD, install=t.install, hagent=[
        ("respawn", "always", [("command", ["/usr/local/sbin/helper", "always"])]),
        ("respawn", "active", [("command", ["/usr/local/sbin/helper", "active"]),
                               ("when", "active")])])
    real = lab._disk

    def disk(node):
        real(node)
        path = os.path.join(lab.node_dir(node), "usr/sbin/helper")
        with open(path, "w") as f:
            f.write(HELPER)
        os.chmod(path, 0o755)
    lab._disk = disk
    t.labs.append(lab)
    lab.start()
    lab.wait_in_step(90)
    active, standby = lab.active(), lab.standby()

    def starts(node, name):
        return _read(lab, node, "/var/lib/mailpair/helper-" + name).split()[0::2]

    def alive(node, pid):
        return lab.execute(node, "kill", "-0", pid, check=False).returncode == 0
    wait_for("the helpers", 10, lambda: starts(active, "active") and starts(active, "always") and
             starts(standby, "always"))
    t.equal(starts(standby, "active"), [], "starts of the active's helper on the standby")
    first = starts(active, "always")[0]
    lab.execute(active, "kill", "-9", first)
    wait_for("another helper", 10, lambda: len(starts(active, "always")) == 2)
    text = lab.execute(active, "hactl", "resource", "list").stdout
    t.true("helper always" in text and "started 2 times" in text, text)
    lab.execute(active, "hactl", "switchover", "--yes")
    wait_for("the helper follows the role", 20, lambda: starts(standby, "active") and
             not alive(active, starts(active, "active")[-1]))
    # Nothing of it is left behind when the daemon is gone at once.
    last = starts(active, "always")[-1]
    t.true(alive(active, last), "the helper on both nodes")
    lab.kill_service(active, "hagentd", 9)
    wait_for("the end of its helper", 10, lambda: not alive(active, last))
    wait_for("a helper of the next one", 20, lambda: alive(active, starts(active, "always")[-1]))


@test
def ocf_parameters_are_checked(t):
    """Against the agent's own metadata, with file and line, before anything starts."""
    path = os.path.join(t.folder(), "hagent.conf")
    key = os.path.join(t.folder(), "key")
    with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write("ab" * 32 + "\n")
    head = ('cluster = "c"\nkey-file = "%s"\nnode "a" { }\nnode "b" { }\n'
            'link "s" { medium = "serial" device = "/dev/ttyS9" }\n' % key)

    def check(agent, params):
        with open(path, "w") as f:
            f.write(head + 'resource "r" {\n\tscript = "ocf:heartbeat:%s"\n\t%s\n}\n' % (agent, params))
        return subprocess.run([os.path.join(BUILD, "hagentd"), "-n", "-N", "a", "-c", path],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    for agent, params, want in (
            ("Dummy", 'params = { "stat=/run/x" }', 'Dummy takes no "stat"; it takes: state, '),
            ("Dummy", 'params = { "fake=1", "fake=2" }', "fake stands there twice"),
            ("IPaddr2", 'params = { "nic=eth0" }', 'IPaddr2 needs "ip"; it takes: ip, '),
            ("IPaddr2", 'params = { "ip=192.0.2.9", "lvs_support=perhaps" }',
             'lvs_support: expected a boolean, not "perhaps"'),
            ("IPaddr2", 'params = { "ip=192.0.2.9", "arp_count=many" }',
             'arp_count: expected an integer, not "many"'),
            ("NoSuchAgent", "", "no executable program")):
        r = check(agent, params)
        t.equal(r.returncode, 19, "%s %s: %s" % (agent, params, r.stderr))
        t.true("ERROR %s:" % path in r.stderr and want in r.stderr, "%s: %s" % (params, r.stderr))
    r = check("IPaddr2", 'params = { "ip=192.0.2.9", "nic=eth0" }\n\tstart-timeout-ms = 5000')
    t.equal(r.returncode, 0, r.stderr)
    t.true("WARN  %s:" % path in r.stderr and "start-timeout-ms is 5000" in r.stderr, r.stderr)
