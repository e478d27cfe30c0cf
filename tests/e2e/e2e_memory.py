"""e2e_memory.py - the same work twice more: every daemon under valgrind, and the build
with sanitizers.  Messages in, read back, a switchover, an orderly shutdown; then no
process may have read or written where it must not, nor have lost track of memory.
"""
import os
import re
import signal
import subprocess

import exercise
import load
import mailgen
from harness import BUILD, TOP, Skip, lab_module, test
from lab import NODES, wait_for

# Everything takes some thirty times as long under valgrind, on two cores for ten daemons.
SLOW = {"hagent": [("deadtime-ms", 20000), ("warntime-ms", 10000), ("keepalive-ms", 1000),
                   ("serial-keepalive-ms", 2000), ("initdead-ms", 60000),
                   ("drain-ms", 10000), ("isolated-ms", 60000), ("evidence-ms", 60000),
                   ("syncd-wait-ms", 60000), ("join-wait-ms", 60000), ("switch-ms", 120000),
                   ("ping-timeout-ms", 10000), ("ping-handover-ms", 30000),
                   ("probe-fresh-ms", 30000)],
        "syncd": [("hold-ms", 20000), ("silent-ms", 20000), ("ping-ms", 1000),
                  ("rejoin-stable-ms", 500)],
        "maild": [("password-cost", 1), ("stores", 1), ("gates", 1), ("checkpoint-s", 5)]}
ERRORS = re.compile(r"ERROR SUMMARY: (\d+) errors")
REPORT = re.compile(r"(AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|"
                    r"runtime error:)")


def _installed(t, build, *variables):
    """What make install puts into a folder of its own from another build."""
    into = os.path.join(t.folder(), "inst")
    r = subprocess.run(["make", "-s", "-j2", "-C", TOP, "O=" + build, "install",
                        "DESTDIR=" + into, "PREFIX=/usr/local"] + list(variables),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    t.equal(r.returncode, 0, "make install: " + r.stdout[-2000:])
    return into


def _orderly_end(t, lab, node, limit_s):
    os.kill(lab.init_pid(node), signal.SIGTERM)
    proc = lab.inits[node]
    wait_for("the orderly end of " + node, limit_s, lambda: proc.poll() is not None, 0.1)


def _work(t, lab, count, slow):
    t.labs.append(lab)
    lab.start()
    active = lab.wait_in_step(180)
    t.say("in step")
    ex = exercise.Exercise(lab, mailgen.generate(count, seed=11), say=t.say, users=4,
                           connections=4)
    ex.add_users()
    # Clients must be as patient as the daemons are slow.
    load.Sender.__init__.__defaults__ = tuple(
        60.0 if d == 4.0 else d for d in load.Sender.__init__.__defaults__)
    ex.run(probes=())
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name)
    other = NODES[1 - NODES.index(active)]
    lab.execute(active, "hactl", "switchover", "--to", other, "--yes", timeout=300)
    wait_for("the switchover", 60, lambda: lab.active() == other, 0.2)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " after the switchover")
    lab.wait_in_step(120)
    for node in (active, other):
        _orderly_end(t, lab, node, 60 * slow)


@test
def valgrind_clean(t):
    if subprocess.run(["sh", "-c", "command -v valgrind"], stdout=subprocess.DEVNULL,
                      check=False).returncode:
        raise Skip("valgrind is not installed")
    # Valgrind makes code at run time and needs system calls that our filters refuse.
    install = _installed(t, BUILD + "-valgrind", "SAN=", "CFLAGS=-O1 -g -DMAILPAIR_SAN=1")
    supp = os.path.join(lab_module.HERE, "valgrind.supp")
    wrap = ["valgrind", "--vgdb=no", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            "--num-callers=25", "--log-file=/run/lab/log/valgrind-%p"]
    if os.path.exists(supp):
        wrap.append("--suppressions=" + supp)
    lab = lab_module.Lab(build=BUILD + "-valgrind", install=install, wrap=wrap, **SLOW)
    _work(t, lab, int(os.environ.get("N", "150")), 3)
    # One log a process.  A child that became a script says nothing at its end.
    whole = 0
    for node in NODES:
        folder = os.path.join(lab.node_dir(node), "log")
        for name in sorted(os.listdir(folder)):
            if not name.startswith("valgrind-"):
                continue
            with open(os.path.join(folder, name), errors="replace") as f:
                text = f.read()
            found = ERRORS.search(text)
            whole += bool(found)
            t.true(not (found and found.group(1) != "0"),
                   "valgrind about a process of %s:\n%s" % (node, text[:6000]))
    t.true(whole >= 12, "valgrind saw the end of %d processes" % whole)


@test
def sanitized_pair(t):
    build = BUILD + "-san"
    if not os.path.exists(os.path.join(build, "maild")):
        raise Skip("there is no sanitized build %s" % build)
    lab = lab_module.Lab(build=build, install=_installed(t, build, "SAN=1"), env={
        "UBSAN_OPTIONS": "print_stacktrace=1"}, **SLOW)
    _work(t, lab, int(os.environ.get("N", "400")), 1)
    for node in NODES:
        for service in lab.services:
            text = lab.log(node, service)
            found = REPORT.search(text)
            t.true(found is None, "%s of %s: %s" % (
                service, node, text[found.start():][:3000] if found else ""))
