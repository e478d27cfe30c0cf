#!/usr/bin/python3
"""queue_relay.py [BUILD] - mail to other hosts, end to end on one machine.

A real maild over fake_syncd.py, and a smart host made of a few lines of Python, all on
127.0.0.1.  Prints "ok NAME" and "not ok NAME"; needs root.
"""
import contextlib
import errno
import json
import os
import shutil
import signal
import smtplib
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
failed = 0


def check(name, good, more=""):
    global failed
    failed += not good
    print("%sok queue_relay: %s%s" % ("" if good else "not ", name,
                                      "" if good else " # " + str(more)), flush=True)


class Host(socketserver.ThreadingTCPServer):
    """A smart host that does what rules say: {recipient or "dot": [replies]}."""
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass                    # a client that was killed

    def __init__(self, tls):
        super().__init__(("127.0.0.1", 0), Session)
        self.rules, self.mail, self.seen = {}, [], []
        self.tls, self.auth = tls, False
        self.open, self.lock = 0, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def process_request_thread(self, request, client_address):
        with self.lock:
            self.open += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.lock:
                self.open -= 1

    def say(self, what):
        left = self.rules.get(what)
        if not left:
            return "250 2.0.0 ok"
        return left.pop(0) if len(left) > 1 else left[0]


class Session(socketserver.StreamRequestHandler):
    def put(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.put("220 smart.example ready")
        sender, rcpts, secure = "", [], False
        while True:
            line = self.rfile.readline().decode().rstrip("\r\n")
            if not line:
                return
            self.server.seen.append(line)
            verb = line.upper()
            if verb.startswith("EHLO"):
                self.put("250-smart.example")
                self.put("250-PIPELINING")
                if self.server.tls and not secure:
                    self.put("250-STARTTLS")
                if secure:
                    self.put("250-AUTH PLAIN")
                self.put("250-8BITMIME")
                self.put("250 SIZE 20000000")
            elif verb == "STARTTLS":
                self.put("220 go on")
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
                secure = True
            elif verb.startswith("AUTH PLAIN"):
                self.server.auth = True
                self.put("235 2.7.0 welcome")
            elif verb.startswith("MAIL"):
                sender, rcpts = line[10:].split(">")[0].lstrip("<"), []
                self.put("250 2.1.0 ok")
            elif verb.startswith("RCPT"):
                rcpt = line[8:].strip("<>")
                answer = self.server.say(rcpt)
                if answer[0] == "2":
                    rcpts.append(rcpt)
                self.put(answer)
            elif verb == "DATA":
                self.put("354 go on")
                text = b""
                while True:
                    part = self.rfile.readline()
                    if not part or part == b".\r\n":
                        break
                    text += part[1:] if part.startswith(b".") else part
                answer = self.server.say("dot")
                if answer == "drop":
                    return
                if answer[0] == "2":
                    self.server.mail.append((sender, rcpts, text))
                self.put(answer)
            elif verb == "QUIT":
                self.put("221 bye")
                return
            else:
                self.put("250 ok")


class Node:
    def __init__(self, build, dir, smart_port):
        self.build, self.dir = os.path.abspath(build), dir
        self.ports = {}
        for name in ("smtp", "submission", "imap", "pop3"):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.ports[name] = s.getsockname()[1]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", dir + "/k",
                        "-out", dir + "/c", "-days", "2", "-subj", "/CN=localhost"],
                       check=True, capture_output=True)
        self.options = {"queue-retry-min-s": 1, "queue-retry-max-s": 2, "queue-warn-s": 0,
                        "queue-lifetime-s": 60, "smart-host": '"127.0.0.1:%d"' % smart_port}
        self.syncd = self.maild = None

    def conf(self):
        text = 'hostname = "mail.test"\nstores = 1\ngates = 1\n'
        text += 'tls-certificate-file = "%s/c"\ntls-key-file = "%s/k"\n' % (self.dir, self.dir)
        text += 'state-directory = "%s/var"\nrun-directory = "%s/run"\n' % (self.dir, self.dir)
        text += 'syncd-owner-socket = "%s/owner.sock"\nstore-low-water = "0"\n' % self.dir
        for name in ("submissions", "pop3s", "imaps"):
            text += "%s-listen = {}\n" % name
        for name, port in self.ports.items():
            text += '%s-listen = {"127.0.0.1:%d"}\n' % (name, port)
        for name, value in {"shards": 2, "serving-lease": '""', **self.options}.items():
            text += "%s = %s\n" % (name, value)
        with open(self.dir + "/maild.conf", "w") as f:
            f.write(text)

    def ctl(self, *args, stdin=None):
        p = subprocess.run([self.build + "/mailctl", "--socket", self.dir + "/run/maild.sock",
                            "--json", *args], input=stdin, text=True, capture_output=True)
        lines = [json.loads(line) for line in p.stdout.splitlines()]
        return p.returncode, lines[-1] if lines else {}

    def start(self):
        self.conf()
        log = open(self.dir + "/log", "ab")
        if self.syncd is None:
            self.syncd = subprocess.Popen(
                ["/usr/bin/python3", HERE + "/fake_syncd.py", self.dir + "/owner.sock", "--journal",
                 self.dir + "/journal"], stdout=subprocess.PIPE, stderr=log)
            self.syncd.stdout.readline()
        self.maild = subprocess.Popen([self.build + "/maild", "-f", "-c", self.dir + "/maild.conf"],
                                      stdout=log, stderr=log)
        wait(lambda: self.ctl("listeners", "open")[0] == 0, 10)

    def toggle(self, sig):
        """Changes what syncd does; returns when it holds."""
        os.kill(self.syncd.pid, sig)
        return self.syncd.stdout.readline()

    def children(self):
        return sorted(subprocess.run(["pgrep", "-P", str(self.maild.pid)], text=True,
                                     capture_output=True).stdout.split())

    def kill(self):
        """Like a power cut: no process gets to say anything."""
        for pid in [self.maild.pid] + [int(k) for k in self.children()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.maild.wait()

    def text(self):
        with open(self.dir + "/log", "rb") as f:
            return f.read()

    def stop_maild(self):
        if self.maild is None or self.maild.poll() is not None:
            return None
        self.maild.terminate()
        return self.maild.wait(15)

    def stop(self):
        rc = self.stop_maild()
        if self.syncd:
            self.syncd.terminate()
            self.syncd.wait()
        return rc

    def queued(self):
        return self.ctl("queue", "list")[1].get("messages", [])


def wait(what, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


def submit(node, rcpts, text, sender="alice@our.test"):
    with smtplib.SMTP("127.0.0.1", node.ports["submission"], timeout=30) as s:
        s.starttls(context=ssl._create_unverified_context())
        s.login("alice@our.test", "secret")
        return s.sendmail(sender, rcpts, text)


def answer(node, rcpts, text="Subject: x\r\n\r\nx\r\n"):
    """The code that a submission ends with."""
    try:
        submit(node, rcpts, text)
        return 250
    except smtplib.SMTPRecipientsRefused as e:
        return list(e.recipients.values())[0][0]
    except smtplib.SMTPResponseException as e:
        return e.smtp_code


def inbox(node):
    import imaplib
    with imaplib.IMAP4("127.0.0.1", node.ports["imap"]) as m:
        m.starttls(ssl._create_unverified_context())
        m.login("alice@our.test", "secret")
        m.select()
        return [m.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in m.search(None, "ALL")[1][0].split()]


def strangers(node):
    with smtplib.SMTP("127.0.0.1", node.ports["smtp"], timeout=30) as s:
        s.ehlo("x")
        s.mail("a@b.test")
        code, text = s.rcpt("bob@far.test")
        check("strangers are refused", code == 554 and b"5.7.1" in text, (code, text))


def slow_reader(node):
    """Short answers without end to a client that does not read: all come, in order."""
    answer = b"252 2.5.0 send some mail, I will do my best\r\n"
    pieces = 5000                       # more than the sockets hold
    expected = (answer * 20 + b"250 2.0.0 Ok\r\n") * pieces
    with contextlib.ExitStack() as stack:
        def client(room):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.settimeout(30)
            s.connect(("127.0.0.1", node.ports["smtp"]))
            f = s.makefile("rb")
            f.readline()
            return s, f
        slow, slow_file = client(4096)
        others = [client(65536) for _ in range(3)]
        for _ in range(pieces):
            slow.sendall(b"VRFY x\r\n" * 20 + b"NOOP\r\n")
            for s, f in others:         # one of them has the same gate: it was there since
                s.sendall(b"NOOP\r\n")
                f.readline()
        try:
            got = slow_file.read(len(expected))
        except OSError:
            got = b""
    check("a client that reads late gets all answers in order", got == expected,
          (len(got), len(expected)))


def plain(node, host):
    body = "Subject: one\r\n\r\n.dots\r\n..more\r\n\xe4\r\n".encode("latin1")
    submit(node, ["bob@far.test", "eve@far.test"], body)
    check("a message is relayed", wait(lambda: len(host.mail) == 1, 10))
    sender, rcpts, text = host.mail[0] if host.mail else ("", [], b"")
    check("envelope", sender == "alice@our.test" and rcpts == ["bob@far.test", "eve@far.test"],
          (sender, rcpts))
    check("text is unchanged below the trace", text.endswith(body) and text.startswith(b"Received:"),
          text)
    check("8BITMIME is declared", any("BODY=8BITMIME" in line for line in host.seen))
    check("TLS and login", host.auth)
    check("the queue is empty again", wait(lambda: not node.queued(), 5), node.queued())


def large(node, host):
    body = b"Subject: large\r\n\r\n" + os.urandom(1500000).hex().encode().replace(b"0a", b"0a\r\n")
    submit(node, ["bob@far.test"], body + b"\r\n")
    check("a large message is relayed", wait(lambda: len(host.mail) == 2, 20))
    check("large: bytes are equal", host.mail[-1][2].endswith(body + b"\r\n"))


def mixed(node, host):
    host.rules = {"no@far.test": ["550 5.1.1 nobody here"],
                  "later@far.test": ["451 4.2.1 busy", "250 ok"]}
    n = len(host.mail)
    submit(node, ["no@far.test", "later@far.test", "yes@far.test"], "Subject: mixed\r\n\r\nx\r\n")
    check("mixed: all that can be delivered are", wait(lambda: len(host.mail) == n + 2, 15))
    got = [rcpt for _, rcpts, _ in host.mail[n:] for rcpt in rcpts]
    check("mixed: each once", sorted(got) == ["later@far.test", "yes@far.test"], got)
    check("mixed: the sender gets a report", wait(lambda: len(inbox(node)) == 1, 10))
    report = (inbox(node) or [b""])[0]
    check("report: RFC 3464", b"report-type=delivery-status" in report
          and b"Final-Recipient: rfc822; no@far.test" in report and b"Status: 5.1.1" in report
          and b"Action: failed" in report and b"Return-Path: <>" in report, report)
    check("mixed: the queue is empty again", wait(lambda: not node.queued(), 5), node.queued())


def dropped(node, host):
    host.rules = {"dot": ["drop", "250 ok"]}
    n = len(host.mail)
    submit(node, ["bob@far.test"], "Subject: drop\r\n\r\nx\r\n")
    check("dropped behind the dot: sent again", wait(lambda: len(host.mail) == n + 1, 15))
    check("dropped: the queue is empty again", wait(lambda: not node.queued(), 5), node.queued())


def operators(node, host):
    host.rules = {"bob@far.test": ["450 4.2.0 not now"]}
    n = len(host.mail)
    submit(node, ["bob@far.test"], "Subject: hold\r\n\r\nx\r\n")
    wait(lambda: node.queued() and node.queued()[0]["attempts"] > 0, 10)
    message = node.queued()[0]["id"]
    check("hold", node.ctl("queue", "hold", message)[0] == 0 and node.queued()[0]["held"])
    host.rules = {}
    one = node.ctl("queue", "show", message)[1]["messages"][0]
    check("show", one["recipients"][0]["reply"].startswith("450 4.2.0"), one)
    check("held messages stay", not wait(lambda: len(host.mail) > n, 2.5))
    node.kill()
    node.start()
    check("held after a crash", node.queued() and node.queued()[0]["held"])
    check("release", node.ctl("queue", "release", message)[0] == 0)
    check("released messages go", wait(lambda: len(host.mail) == n + 1, 10))
    check("no such message", node.ctl("queue", "delete", "00000000000000ff")[0] == 12)
    host.rules = {"bob@far.test": ["450 4.2.0 not now"]}
    submit(node, ["bob@far.test"], "Subject: delete\r\n\r\nx\r\n")
    check("delete", node.ctl("queue", "delete", node.queued()[0]["id"])[0] == 0
          and wait(lambda: not node.queued(), 5))
    host.rules = {}


def crashed(node, host):
    """Acknowledged mail survives; what was delivered before is not sent again."""
    host.rules = {"dot": ["451 4.3.0 wait"]}
    n = len(host.mail)
    for i in range(20):
        submit(node, ["u%d@far.test" % i], "Subject: %d\r\n\r\nx\r\n" % i)
    node.kill()
    # A transfer that was under way may be accepted when nobody hears it any more, and
    # would rightly be sent again: the host says 451 until all of them have ended.
    check("crash: its connections end", wait(lambda: host.open == 0, 10))
    host.rules = {}
    node.start()
    check("crash: all are delivered", wait(lambda: len(host.mail) >= n + 20, 20))
    got = sorted(mail[1][0] for mail in host.mail[n:])
    check("crash: each once", got == sorted("u%d@far.test" % i for i in range(20)), got)


def expired(node, host):
    node.stop_maild()
    node.options.update({"queue-lifetime-s": 60, "queue-warn-s": 2})
    node.start()
    host.rules = {"bob@far.test": ["450 4.2.0 not now"]}
    n = len(inbox(node))
    submit(node, ["bob@far.test"], "Subject: slow\r\n\r\nx\r\n")
    check("a delay is reported", wait(lambda: len(inbox(node)) == n + 1, 15))
    check("delay: RFC 3464", b"Action: delayed" in inbox(node)[-1])
    check("delay: the message stays", len(node.queued()) == 1)
    node.ctl("queue", "delete", node.queued()[0]["id"])
    n = len(host.mail)
    host.rules = {"no@far.test": ["550 5.1.1 nobody here"]}
    submit(node, ["no@far.test"], "Subject: x\r\n\r\nx\r\n", sender="friend@else.test")
    check("a sender elsewhere gets the report by the queue", wait(lambda: len(host.mail) == n + 1, 15)
          and host.mail[-1][:2] == ("", ["friend@else.test"]))
    host.rules = {"bad@else.test": ["550 5.1.1 nobody here"], "no@far.test": ["550 5.1.1 nobody"]}
    submit(node, ["no@far.test"], "Subject: x\r\n\r\nx\r\n", sender="bad@else.test")
    check("no bounce of a bounce", wait(lambda: not node.queued(), 10) and len(host.mail) == n + 1)
    host.rules = {}


def frozen(node, host):
    n = len(host.mail)
    node.toggle(signal.SIGUSR2)
    code = answer(node, ["bob@far.test"])
    check("not stored twice: 451", code == 451, code)
    node.toggle(signal.SIGUSR2)
    check("not stored twice: not sent", not wait(lambda: len(host.mail) > n, 1.5))


def standby(node, host):
    host.rules = {"bob@far.test": ["450 4.2.0 not now"]}
    n = len(host.mail)
    submit(node, ["bob@far.test"], "Subject: x\r\n\r\nx\r\n")
    node.toggle(signal.SIGUSR1)
    wait(lambda: node.ctl("queue", "retry", "all")[0] == 14, 5)
    host.rules = {}
    check("a standby does not send", not wait(lambda: len(host.mail) > n, 2.5))
    check("a standby refuses changes", node.ctl("queue", "retry", "all")[0] == 14)
    check("a standby shows the queue", len(node.queued()) == 1)
    node.toggle(signal.SIGUSR1)
    check("active again: sent", wait(lambda: len(host.mail) > n, 20))
    check("active again: sent once", len(host.mail) == n + 1, host.mail[n:])


def no_host(node):
    node.stop_maild()
    node.options["smart-host"] = '""'
    node.start()
    code = answer(node, ["bob@far.test"])
    check("without a smart host: 550", code == 550, code)


def other_shards(node):
    """The number of shards is law once the store is made."""
    node.stop_maild()
    node.options["shards"] = 1
    node.conf()
    for flag in ("-n", "-f"):
        p = subprocess.run([node.build + "/maild", flag, "-c", node.dir + "/maild.conf"],
                           text=True, capture_output=True, timeout=20)
        check("other shards, %s: 19, and what is expected" % flag, p.returncode == 19 and
              "shards is 1, expected 2" in p.stderr, (p.returncode, p.stderr))
    # The log is above the file: a node that was set up differently ends, and stays so.
    shutil.rmtree(node.dir + "/var/shards")
    p = subprocess.run([node.build + "/maild", "-f", "-c", node.dir + "/maild.conf"],
                       text=True, capture_output=True, timeout=20)
    check("other shards than the pair: 19", p.returncode == 19 and
          "shards is 1, expected 2" in p.stderr, (p.returncode, p.stderr[-500:]))
    del node.options["shards"]
    node.start()
    check("the right number: starts", node.ctl("queue", "list")[0] == 0)


def fill(path):
    """Not a byte is left."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while f.write(bytes(size)) == size:
                    pass
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise


def full_disk(node, host):
    """The log goes on (it is elsewhere here), the files of directory, queue and stores do
    not: nothing dies, what was promised is kept, and all comes back by itself."""
    host.rules = {}
    n, kids = len(host.mail), node.children()
    ballast = node.dir + "/var/ballast"
    fill(ballast)
    check("full: mail for elsewhere is refused", answer(node, ["bob@far.test"]) in (451, 452))
    acked = 0
    for i in range(60):         # until the stores' and the directory's files need room
        acked += answer(node, ["alice@our.test"], "Subject: full %d\r\n\r\nx\r\n" % i) == 250
        node.ctl("domain", "add", "d%d.test" % i)
        node.ctl("queue", "hold", "all")
        fill(ballast + ".%d" % i)
        if b"directory cannot apply" in node.text() and b"queue cannot apply" in node.text():
            break
    check("full: directory and queue had no room", b"directory cannot apply" in node.text() and
          b"queue cannot apply" in node.text())
    check("full: nobody is unknown", answer(node, ["alice@our.test"]) in (250, 451, 452))
    check("full: a change is not said to be done", node.ctl("domain", "add", "late.test")[0] != 0)
    check("full: no process died", node.children() == kids, (kids, node.children()))
    for name in os.listdir(node.dir + "/var"):
        if name.startswith("ballast"):
            os.unlink(os.path.join(node.dir, "var", name))

    def sent():
        node.ctl("queue", "release", "all")
        return answer(node, ["bob@far.test"]) == 250
    check("room again: mail for elsewhere", wait(sent, 40))
    check("room again: it is sent", wait(lambda: len(host.mail) > n, 20))
    check("room again: changes", wait(lambda: node.ctl("domain", "add", "room.test")[0] == 0, 40))
    check("what the log took is there", wait(
        lambda: sum(b"Subject: full" in m for m in inbox(node)) >= acked, 40), acked)
    check("afterwards: no process died", node.children() == kids)


def main():
    if os.geteuid() != 0:
        print("skip queue_relay: needs root")
        return
    if subprocess.run(["id", "mailqueue"], capture_output=True).returncode != 0:
        os.execv(TOP + "/tests/with_users.sh", [TOP + "/tests/with_users.sh", *sys.argv])
    build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, os.environ.get("O", "build"))
    dir = tempfile.mkdtemp(prefix="queue_relay.")
    os.chmod(dir, 0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", dir + "/hk", "-out",
                    dir + "/hc", "-days", "2", "-subj", "/CN=smart"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(dir + "/hc", dir + "/hk")
    host = Host(tls)
    node = Node(build, dir, host.server_address[1])
    with open(dir + "/credentials", "w") as f:
        f.write("relay:pass:word\n")
    shutil.chown(dir + "/credentials", "mailqueue")
    node.options["smart-host-credentials-file"] = '"%s/credentials"' % dir
    os.mkdir(dir + "/var")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", dir + "/var"], check=True)
    try:
        node.start()
        node.ctl("domain", "add", "our.test")
        node.ctl("user", "add", "alice@our.test", "--password-stdin", stdin="secret\n")
        strangers(node)
        slow_reader(node)
        plain(node, host)
        large(node, host)
        mixed(node, host)
        dropped(node, host)
        operators(node, host)
        crashed(node, host)
        frozen(node, host)
        expired(node, host)
        standby(node, host)
        full_disk(node, host)
        other_shards(node)
        no_host(node)
    finally:
        rc = node.stop()
        check("maild ends in order", rc == 0, rc)
        with open(dir + "/log", errors="replace") as f:
            text = f.read()
        bad = [line for line in text.splitlines() if "Sanitizer" in line or "runtime error" in line
               or "ended with" in line]
        check("nothing broke in the log", not bad, bad[:3])
        if failed:
            print(text[-6000:])
        subprocess.run(["umount", dir + "/var"], check=True)
        shutil.rmtree(dir)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
