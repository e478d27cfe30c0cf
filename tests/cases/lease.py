#!/usr/bin/python3
"""lease.py [BUILD] - a maild whose lease has run out tells clients nothing (lib/lease.h).

A real maild over fake_syncd.py as in queue_relay.py; this script is the agent and writes the
lease.  Prints "ok NAME" and "not ok NAME"; needs root.
"""
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

import queue_relay
from queue_relay import Host, Node, TOP, wait

failed = 0
QUIET_S = 0.4           # forty looks of maild's at the lease


def check(name, good, more=""):
    global failed
    failed += not good
    print("%sok lease: %s%s" % ("" if good else "not ", name, "" if good else " # %r" % (more,)),
          flush=True)


class Lease:
    def __init__(self, path):
        self.path = path

    def put(self, ms):
        fd = os.open(self.path, os.O_RDWR)
        os.pwrite(fd, struct.pack("=q", ms), 0)
        os.close(fd)

    def grant(self):
        self.put(int((time.clock_gettime(time.CLOCK_BOOTTIME) + 3600) * 1000))


class Client:
    """One that waits for one line at a time, and notices what comes unasked."""
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), 10)
        self.left = b""

    def say(self, line):
        self.s.sendall(line + b"\r\n")

    def quiet(self):
        """What came within QUIET_S; b"" is silence, None the end."""
        if self.left:
            return self.left
        self.s.settimeout(QUIET_S)
        try:
            return self.s.recv(65536) or None
        except socket.timeout:
            return b""
        finally:
            self.s.settimeout(10)

    def line(self, begin=b""):
        """The next line that begins so; None when the client is cut off."""
        while True:
            while b"\r\n" not in self.left:
                try:
                    part = self.s.recv(65536)
                except OSError:
                    return None
                if not part:
                    return None
                self.left += part
            line, self.left = self.left.split(b"\r\n", 1)
            if line.startswith(begin):
                return line

    def tls(self):
        self.s = ssl._create_unverified_context().wrap_socket(self.s)


def login(node):
    c = Client(node.ports["imap"])
    c.line()
    c.say(b"a STARTTLS")
    c.line(b"a ")
    c.tls()
    c.say(b"b LOGIN alice@our.test secret")
    c.line(b"b ")
    return c


def before_the_agent(node, lease):
    """maild starts first, and waits with the greeting."""
    clients = [Client(node.ports[name]) for name in ("smtp", "imap")]
    check("no greeting before the agent's first word", [c.quiet() for c in clients] == [b"", b""])
    lease.grant()
    check("then they come", (clients[0].line() or b"").startswith(b"220")
          and (clients[1].line() or b"").startswith(b"* OK"))


def runs_out(node, lease):
    """Between two commands of an SMTP, a clear and an encrypted IMAP session."""
    smtp, imap = Client(node.ports["smtp"]), login(node)
    for line in (None, b"EHLO x", b"MAIL FROM:<a@b.test>"):
        if line:
            smtp.say(line)
        while (smtp.line() or b"   -")[3:4] == b"-":
            pass
    imap.say(b"c SELECT INBOX")
    imap.line(b"c ")
    lease.put(0)
    smtp.say(b"RCPT TO:<nobody@our.test>")
    imap.say(b"d STATUS INBOX (UIDNEXT)")
    check("no word about a user while it has run out", smtp.quiet() == b"")
    check("no word about a mailbox while it has run out", imap.quiet() == b"")
    lease.grant()
    check("the answers come when it holds again", (smtp.line() or b"").startswith(b"550")
          and (imap.line(b"d ") or b"").startswith(b"d OK"))


def expires(node, lease):
    """It ends by time, without a word of the agent, which stands still perhaps."""
    imap = login(node)
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.15
    lease.put(int(until * 1000))
    wait(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > until, 5)
    imap.say(b"c NOOP")
    check("it ends by itself", imap.quiet() == b"")
    lease.grant()
    check("and is renewed", (imap.line(b"c ") or b"").startswith(b"c OK"))


def changes(node, lease):
    """A change that was committed is told when the lease holds again, not before."""
    imap = login(node)
    os.kill(node.syncd.pid, signal.SIGSTOP)     # nothing is committed
    imap.say(b"c APPEND INBOX {9+}\r\nA: b\r\n\r\nc")
    waits = imap.quiet() == b""
    lease.put(0)
    os.kill(node.syncd.pid, signal.SIGCONT)
    check("an answer that comes of a commit waits as well", waits and imap.quiet() == b"")
    lease.grant()
    check("and is told", (imap.line(b"c ") or b"").startswith(b"c OK"))


def says_goodbye(node, lease):
    """A session that ends, and whose last words wait, does not hold up a node that gives way."""
    pop3 = Client(node.ports["pop3"])
    pop3.line()
    pop3.say(b"STLS")
    pop3.line()
    pop3.tls()
    for line in (b"USER alice@our.test", b"PASS secret", b"DELE 1"):
        pop3.say(line)
        answer = pop3.line()
    os.kill(node.syncd.pid, signal.SIGSTOP)     # nothing is committed
    pop3.say(b"QUIT")
    waits = pop3.quiet() == b""
    lease.put(0)
    os.kill(node.syncd.pid, signal.SIGCONT)
    check("a last word waits as well", answer.startswith(b"+OK") and waits and pop3.quiet() == b"",
          answer)
    began = time.monotonic()
    closed = node.ctl("listeners", "drain")[0] == 0
    took = time.monotonic() - began
    check("and does not hold up a drain", closed and took < 1 and pop3.line() is None, took)
    node.ctl("listeners", "open")
    lease.grant()


def leaves(node, lease):
    """The node stops serving while it has run out: clients are cut off, and told nothing."""
    imap, smtp = login(node), Client(node.ports["smtp"])
    smtp.line()
    lease.put(0)
    imap.say(b"c STATUS INBOX (UIDNEXT)")
    smtp.say(b"EHLO x")
    quiet = imap.quiet() == b"" and smtp.quiet() == b""
    began = time.monotonic()
    closed = node.ctl("listeners", "drain")[0] == 0
    took = time.monotonic() - began
    check("clients that wait are cut off without an answer", quiet and imap.line() is None
          and smtp.line() is None)
    check("at once", closed and took < 2, took)
    node.ctl("listeners", "open")
    lease.grant()
    check("and it serves again", (Client(node.ports["smtp"]).line() or b"").startswith(b"220"))


def queue(node, lease, host):
    """What the other node may have sent already is not sent."""
    lease.grant()
    queue_relay.submit(node, ["first@far.test"], b"Subject: x\r\n\r\nx\r\n")
    sent = wait(lambda: len(host.mail) == 1, 10)
    host.rules["later@far.test"] = ["450 4.2.0 later"]
    queue_relay.submit(node, ["later@far.test"], b"Subject: x\r\n\r\ny\r\n")
    tried = wait(lambda: any("later@far.test" in line for line in host.seen), 10)
    lease.put(0)
    host.rules.clear()
    # The second attempt is due after one second at the latest, with queue-retry-max-s = 2.
    held = not wait(lambda: len(host.mail) > 1, 5)
    check("nothing is sent while it has run out", sent and tried and held, (sent, tried, held))
    lease.grant()
    check("and then it is", wait(lambda: len(host.mail) == 2, 10))


def main():
    if os.geteuid() != 0:
        print("skip lease: needs root")
        return
    if subprocess.run(["id", "mailqueue"], capture_output=True).returncode != 0:
        os.execv(TOP + "/tests/with_users.sh", [TOP + "/tests/with_users.sh", *sys.argv])
    build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, os.environ.get("O", "build"))
    dir = tempfile.mkdtemp(prefix="lease.")
    os.chmod(dir, 0o755)
    host = Host(None)
    node = Node(build, dir, host.server_address[1])
    node.options["serving-lease"] = '"%s/lease"' % dir
    node.options["auth-delay-ms"] = 0
    lease = Lease(dir + "/lease")
    try:
        node.start()
        node.ctl("domain", "add", "our.test")
        node.ctl("user", "add", "alice@our.test", "--password-stdin", stdin="secret\n")
        before_the_agent(node, lease)
        runs_out(node, lease)
        expires(node, lease)
        changes(node, lease)
        says_goodbye(node, lease)
        leaves(node, lease)
        queue(node, lease, host)
    finally:
        rc = node.stop()
        check("maild ends in order", rc == 0, rc)
        if failed:
            print(node.text().decode(errors="replace")[-6000:])
        shutil.rmtree(dir)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
