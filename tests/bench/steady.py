#!/usr/bin/python3
"""steady.py - does the pair stay as it is while the machine has no time for it?

First the agent at rest, with the default settings: its share of a core over REST_S and
its memory.  Then a pair with deadtime 500 ms for MINUTES (30) beside twice as many busy
processes as there are cores.  Each change of the active node is a false alarm, for
nothing fails.  Ends with one line of key=value figures; exit 1 when a node changed its
role or a target is missed (0.5 % of a core, 10 MiB).  Needs root.
"""
import os
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lab"))
import lab as lab_module
from lab import LabError, NODES

REST_S = 20
CPU_TARGET, MIB_TARGET = 0.5, 10.0
SHORT = [("keepalive-ms", 100), ("serial-keepalive-ms", 100), ("deadtime-ms", 500),
         ("warntime-ms", 250)]
BUSY = "import time\nend = time.monotonic() + %g\nwhile time.monotonic() < end: pass"


def agent(lab, node):
    """This machine's number of the node's agent: the executor's child."""
    with open("/proc/%d/task/%d/children" % ((lab.init_pid(node),) * 2)) as f:
        services = f.read().split()
    for pid in services:
        with open("/proc/%s/cmdline" % pid) as f:
            if "hagentd" in f.read():
                with open("/proc/%s/task/%s/children" % (pid, pid)) as f:
                    return int(f.read().split()[0])
    raise LabError("no agent on " + node)


def cpu_s(pid):
    with open("/proc/%d/stat" % pid) as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(x.split()[1]) for x in f if x.startswith("VmRSS")) / 1024


def at_rest(build):
    """(percent of a core, MiB) of the active node's agent."""
    lab = lab_module.Lab(build=build).start()
    try:
        pid = agent(lab, lab.wait_in_step())
        began, used = time.monotonic(), cpu_s(pid)
        threading.Event().wait(REST_S)
        return 100 * (cpu_s(pid) - used) / (time.monotonic() - began), memory_mib(pid)
    finally:
        lab.stop()


def links(status):
    return {k: max(x[k] for x in status["links"]) for k in ("late_p99_ms", "late_max_ms")}


def under_load(build, seconds):
    """Changes of roles, alarms that were seen, and how late heartbeats came at worst."""
    lab = lab_module.Lab(build=build, hagent=SHORT).start()
    busy = []
    try:
        active = lab.wait_in_step()
        before = lab.status(active)["last_switch"]["epoch"]
        for _ in range(2 * (os.cpu_count() or 1)):
            busy.append(subprocess.Popen([sys.executable, "-c", BUSY % (seconds + 5)],
                                         stdin=subprocess.DEVNULL))
        end, moved, alarms, late = time.monotonic() + seconds, 0, 0, {}
        while time.monotonic() < end:
            threading.Event().wait(min(5.0, max(0.1, end - time.monotonic())))
            s = [lab.status(n) for n in NODES]
            seen = [x for x in s if x]
            moved += any(x["self"]["role"] != ("active" if n == active else "standby")
                         for n, x in zip(NODES, s) if x)
            alarms += any(x["alarms"] for x in seen)
            for x in seen:
                late = {k: max(v, late.get(k, 0)) for k, v in links(x).items()}
        last = lab.status(active)
        switches = -1 if last is None else int(last["last_switch"]["epoch"] != before)
        return {"switches": switches, "looks_in_other_role": moved, "looks_with_alarm": alarms,
                **late}
    finally:
        for p in busy:
            p.kill()
            p.wait()
        lab.stop()


def main():
    if os.geteuid() != 0:
        raise SystemExit("ERROR the lab needs root: it makes network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    build = os.path.abspath(os.environ.get("O") or "build")
    minutes = float(os.environ.get("MINUTES") or 30)
    percent, mib = at_rest(build)
    print("agent at rest: %.2f %% of a core, %.1f MiB" % (percent, mib), flush=True)
    found = under_load(build, minutes * 60)
    good = found["switches"] == 0 and not found["looks_in_other_role"] and \
        percent <= CPU_TARGET and mib <= MIB_TARGET
    print("bench-steady minutes=%g agent_cpu_percent=%.2f agent_rss_mib=%.1f %s"
          % (minutes, percent, mib, " ".join("%s=%s" % i for i in found.items())))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
