"""e2e_split.py - both nodes served apart from each other; one hactl command makes their
users and their queues one."""
import json
import smtplib
import socketserver
import threading

import exercise
import load
import mailgen
from harness import test
from lab import NODES, VIP, wait_for

FAST = [("rejoin-stable-ms", 500), ("hold-ms", 1000)]
CLIENT = "192.0.2.100"
PORT = 2525


class Session(socketserver.StreamRequestHandler):
    """A smart host that takes everything, but not what is for wait@."""

    def handle(self):
        rcpts, put = [], lambda text: self.wfile.write(text.encode() + b"\r\n")
        put("220 smart.example")
        while True:
            line = self.rfile.readline().decode().strip()
            verb = line.upper()[:4]
            if not line or verb == "QUIT":
                return
            if verb == "RCPT":
                rcpt = line[8:].split(">")[0].lstrip("<")
                if rcpt.startswith("wait") and not self.server.open:
                    put("450 4.2.0 later")
                    continue
                rcpts.append(rcpt)
            elif verb == "DATA":
                put("354 go on")
                while self.rfile.readline() not in (b"", b".\r\n"):
                    pass
                with self.server.lock:
                    self.server.got += rcpts
                rcpts = []
            put("250 2.0.0 ok")


class SmartHost(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__((CLIENT, PORT), Session)
        self.got, self.lock, self.open = [], threading.Lock(), False
        threading.Thread(target=self.serve_forever, daemon=True).start()


def _mailctl(t, lab, node, *args, code=0, **kw):
    r = lab.execute(node, "mailctl", *args, check=False, **kw)
    t.equal(r.returncode, code, "mailctl %s on %s: %s%s" % (" ".join(args), node, r.stdout, r.stderr))
    return r.stdout


def _add_user(t, lab, node, address):
    _mailctl(t, lab, node, "user", "add", address, "--password-stdin", input=load.PASSWORD + "\n")


def _submit(lab, user, rcpts):
    def body():
        s = smtplib.SMTP(VIP, 587, timeout=20, local_hostname="client.example")
        s.starttls(context=load.tls_context(lab.ca))
        s.login(user, load.PASSWORD)
        s.sendmail(user, rcpts, b"Subject: x\r\n\r\nx\r\n")
        s.quit()
    load.in_client(lab, body)


def _deliver(lab, user, text):
    def body():
        s = smtplib.SMTP(VIP, 25, timeout=20, local_hostname="client.example")
        s.sendmail("a@client.example", [user], b"Subject: %b\r\n\r\nx\r\n" % text.encode())
        s.quit()
    load.in_client(lab, body)


def _queue(t, lab, node):
    out = _mailctl(t, lab, node, "queue", "list", "--json")
    return [m for line in out.splitlines() for m in json.loads(line).get("messages", [])]


def _again(what, limit_s, attempt):
    """Until it is taken: one node alone asks for some patience."""
    def body():
        try:
            attempt()
            return True
        except (OSError, smtplib.SMTPException):
            return False
    wait_for(what, limit_s, body, 0.2)


@test
def users_and_queues_of_a_split(t):
    lab = t.lab(syncd=FAST, maild=[("smart-host", "%s:%d" % (CLIENT, PORT)),
                                   ("smart-host-tls", "none"), ("queue-retry-min-s", 60)])
    smart = load.in_client(lab, SmartHost)
    ex = exercise.Exercise(lab, mailgen.generate(4), say=t.say, users=2)
    ex.add_users()
    user, second = ex.users[0], ex.users[1]
    domain = user.split("@")[1]
    first, other = lab.active(), lab.standby()
    _submit(lab, user, ["wait-both@far.example"])

    # The active goes on alone ...
    lab.kill(other)
    _again("a change alone", 30, lambda: _submit(lab, user, ["done-first@far.example",
                                                            "wait-first@far.example"]))
    wait_for("a delivery", 20, lambda: "done-first@far.example" in smart.got)
    _add_user(t, lab, first, "first@" + domain)
    _add_user(t, lab, first, "both@" + domain)
    _mailctl(t, lab, first, "user", "delete", second)
    _again("mail", 20, lambda: _deliver(lab, "both@" + domain, "by first"))
    lab.kill(first)

    # ... and so does the other one, on an operator's word.
    lab.power_on(other)
    wait_for("the failover", 60, lambda: lab.execute(
        other, "hactl", "failover", "--to", other, "--peer-is-off", "--accept-loss", "--yes",
        check=False).returncode == 0, 0.5)
    wait_for("service", 20, lambda: lab.active() == other, 0.1)
    _again("a change alone", 30, lambda: _submit(lab, user, ["wait-other@far.example"]))
    _add_user(t, lab, other, "other@" + domain)
    _add_user(t, lab, other, "both@" + domain)
    _again("mail", 20, lambda: _deliver(lab, "both@" + domain, "by other"))

    lab.power_on(first)
    show = wait_for("the split is known", 60, lambda: [
        o for o in [lab.execute(other, "hactl", "split", "show", "--json", check=False).stdout]
        if '"fork_lsn"' in o], 0.3)
    t.say(show[0])
    for args in (("--dry-run",), ()):
        r = lab.execute(other, "hactl", "split", "resolve", *args, check=False, timeout=120)
        t.equal(r.returncode, 0, "hactl split resolve: %s%s" % (r.stdout, r.stderr))
        for line in ("1 users added", "1 users kept, suspended: one node had deleted them",
                     "1 messages to other hosts added to the queue",
                     "NOTE    user %s was deleted on one node only" % second):
            t.true(line in r.stdout, "the report lacks %r:\n%s" % (line, r.stdout))
    t.equal(lab.wait_in_step(90), other, "the active one")

    names = {json.loads(x)["address"]: json.loads(x) for x in
             _mailctl(t, lab, other, "user", "list", "--json").splitlines() if '"address"' in x}
    for name in ("first@", "other@", "both@"):
        t.equal(names[name + domain]["suspended"], False, name)
    t.equal(names[second]["suspended"], True, "the one that was deleted by one node")
    t.equal(len(names), 6, "users: %r" % sorted(names))
    box = load.in_client(lab, load.read_imap, VIP, "both@" + domain, lab.ca)
    t.equal(sorted(m.split(b"Subject: by ")[1].split(b"\r\n")[0] for m in box.values()),
            [b"first", b"other"], "the mail of a user that both made")

    smart.open = True
    _mailctl(t, lab, other, "queue", "retry", "all")
    wait_for("an empty queue", 60, lambda: not _queue(t, lab, other), 0.3)
    t.equal(sorted(smart.got), ["done-first@far.example", "wait-both@far.example",
                                "wait-first@far.example", "wait-other@far.example"],
            "each recipient once")
    for node in NODES:
        wait_for("the same users on " + node, 20, lambda: sorted(
            json.loads(x)["id"] for x in _mailctl(t, lab, node, "user", "list", "--json").splitlines()
            if '"address"' in x) == sorted(u["id"] for u in names.values()))
