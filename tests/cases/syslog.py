#!/usr/bin/python3
"""syslog.py - a daemon without -f logs to syslog: facility mail, the level, its name.

/dev is a file system of our own here (a mount namespace), with a log that we hold.
The daemon ends at once, because its user does not exist; it says so to syslog.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(os.environ.get("O", "build"))
CONF = """cluster = "log.example"
key-file = "%(dir)s/key"
user = "no-such-user"
run-dir = "%(dir)s/run"
state-dir = "%(dir)s/ha"
node "ha-1" { }
node "ha-2" { }
link "x" { address = { "ha-1=127.0.0.1", "ha-2=127.0.0.2" } }
"""
WANTED = "<19>"         # mail (2) * 8 + err (3)


def inside(home):
    for cmd in (("mount", "--make-rprivate", "/"),
                ("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/dev")):
        subprocess.run(cmd, check=True)
    with open("/dev/null", "w"):
        pass
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind("/dev/log")
    log.settimeout(10)
    r = subprocess.run([BUILD + "/hagentd", "-N", "ha-1", "-c", home + "/conf"],
                       stdin=subprocess.DEVNULL, check=False)
    got = log.recv(4096).decode()
    good = got.startswith(WANTED) and " hagentd/executor[" in got and "no-such-user" in got
    print("%s a daemon logs to syslog with facility and level%s"
          % ("ok" if good else "not ok", "" if good else ": %r" % got))
    print("%s a daemon that cannot start exits 1" % ("ok" if r.returncode == 1 else "not ok"))
    return 0 if good and r.returncode == 1 else 1


def main():
    if len(sys.argv) > 1:
        return inside(sys.argv[1])
    if os.geteuid() != 0:
        print("skip syslog needs root")
        return 0
    home = tempfile.mkdtemp(prefix="mailpair-syslog-")
    try:
        with open(os.open(home + "/key", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("ab" * 32 + "\n")
        with open(home + "/conf", "w") as f:
            f.write(CONF % {"dir": home})
        return subprocess.run(["unshare", "--mount", sys.executable, os.path.abspath(__file__),
                               home], check=False, timeout=60).returncode
    finally:
        shutil.rmtree(home, ignore_errors=True)


sys.exit(main())
