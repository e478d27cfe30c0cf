"""nodeinit.py - process 1 of a lab node.

Runs inside fresh PID, mount, UTS, IPC and network namespaces.  It gives the node
its name, its own /etc, /usr/local, /var/lib, /run, /dev and /tmp, then starts the
services of node.json with their default paths and starts them again when they end,
as a service manager would.  When it is killed the kernel kills every process of the
node at once: a power cut.  SIGTERM is an orderly shutdown.

Arguments: the node's folder, which holds etc/ (a whole /etc), usr/ (what `make
install` made), var/ (the node's disk), log/ and node.json.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid

# As in the units: etc/*.service.
RESTART_AFTER_S = {"maild": 0.02}
OTHERS_AFTER_S = 0.1


def run(*cmd):
    subprocess.run(cmd, check=True)


def bind(src, dst):
    run("mount", "--bind", src, dst)


def tmpfs(path, mode="0755"):
    run("mount", "-t", "tmpfs", "-o", "mode=" + mode, "tmpfs", path)


def mount_all(home, conf):
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    # The devices that a server has; the serial line is one end of a pty pair.
    keep = os.path.join(home, "dev")
    shutil.rmtree(keep, ignore_errors=True)
    os.makedirs(keep)
    names = ["null", "zero", "full", "random", "urandom", "tty"]
    for name in names:
        open(os.path.join(keep, name), "w").close()
        bind("/dev/" + name, os.path.join(keep, name))
    if conf["serial"]:
        open(os.path.join(keep, "ttyS0"), "w").close()
        bind(conf["serial"], os.path.join(keep, "ttyS0"))
    os.makedirs(os.path.join(keep, "pts"))
    os.makedirs(os.path.join(keep, "shm"))
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(target, os.path.join(keep, name))
    run("mount", "--rbind", keep, "/dev")
    tmpfs("/dev/shm", "1777")
    bind(os.path.join(home, "etc"), "/etc")
    os.makedirs("/usr/local", exist_ok=True)
    bind(os.path.join(home, "usr"), "/usr/local")
    # The node's folder stays reachable under /run/lab after its parents are hidden.
    tmpfs("/run")
    os.makedirs("/run/lab")
    run("mount", "--rbind", home, "/run/lab")
    # Each start is another boot: what the disk lost at a power cut is looked for.
    with open("/run/boot_id", "w") as f:
        f.write("%s\n" % uuid.uuid4())
    bind("/run/boot_id", "/proc/sys/kernel/random/boot_id")
    tmpfs("/var/lib")
    os.makedirs("/var/lib/mailpair")
    run("mount", "--rbind", "/run/lab/var", "/var/lib/mailpair")


class Service:
    def __init__(self, env, name, argv, again=True):
        self.name, self.argv, self.env, self.again = name, argv, env, again
        self.proc, self.again_at, self.wanted, self.asked = None, 0.0, True, False

    def start(self):
        out = open("/run/lab/log/%s.log" % self.name, "ab", buffering=0)
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=out, env=self.env, start_new_session=True)
        out.close()


def main():
    home = sys.argv[1]
    with open(os.path.join(home, "node.json")) as f:
        conf = json.load(f)
    run("hostname", conf["name"])
    mount_all(home, conf)
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
           "LANG": "C.UTF-8"}
    env.update(conf["env"])
    services = [Service(env, *s) for s in conf["services"]]
    by_pid = {}
    ending, to_end = False, []
    # Signals are taken with sigtimedwait, so that none is lost between two looks.
    waited = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)

    def spawn(s):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
        s.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        by_pid[s.proc.pid] = s

    for s in services:
        spawn(s)
    with open("/run/lab/ready", "w") as f:
        f.write(conf["run"])
    while True:
        due = [s.again_at for s in services if s.again_at]
        wait = max(0.0, min(due) - time.monotonic()) if due else 3600.0
        got = signal.sigtimedwait(waited, wait)
        if got is not None and got.si_signo == signal.SIGTERM and not ending:
            ending, to_end = True, list(services)
            for s in services:
                s.wanted, s.again_at = False, 0.0
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            s = by_pid.pop(pid, None)
            if s is not None and s.wanted and s.again:
                s.again_at = time.monotonic() + RESTART_AFTER_S.get(s.name, OTHERS_AFTER_S)
        # Orderly: last started first, each when the one before has ended.
        while to_end:
            s = to_end[-1]
            if s.proc is None or s.proc.pid not in by_pid:
                to_end.pop()
                continue
            if not s.asked:
                s.asked = True
                os.kill(s.proc.pid, signal.SIGTERM)
            break
        if ending and not by_pid:
            return 0
        for s in services:
            if s.again_at and time.monotonic() >= s.again_at:
                s.again_at = 0.0
                spawn(s)


if __name__ == "__main__":
    sys.exit(main())
