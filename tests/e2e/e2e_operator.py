"""e2e_operator.py - hactl and mailctl on a live pair, bad input, strangers."""
import json
import os
import random
import re
import socket
import ssl
import subprocess

import exercise
import load
import mailgen
from harness import BUILD, test
from lab import NODES, VIP, wait_for


@test
def hactl_commands(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    active, standby = lab.active(), lab.standby()

    def hactl(node, *args, code=0):
        r = lab.execute(node, "hactl", *args, check=False)
        t.equal(r.returncode, code, "hactl %s on %s: %s%s" % (" ".join(args), node, r.stdout,
                                                              r.stderr))
        return r.stdout + r.stderr
    for node in NODES:
        text = hactl(node, "status")
        for word in ("PAIR", "HEALTHY", "NODE", "LINKS", "VIP", VIP, "LOSS IF", "in step"):
            t.true(word in text, "status on %s lacks %r:\n%s" % (node, word, text))
        t.equal(json.loads(hactl(node, "status", "--json"))["schema"], 1, "schema")
        text = hactl(node, "links")
        for word in ("eth0", "eth1", "ttyS0"):
            t.true(word in text, "links lacks %r:\n%s" % (word, text))
    hactl(active, "no-such-verb", code=10)
    hactl(active, "status", "--no-such-option", code=10)
    # An option that would be ignored is refused, and nothing is done.
    for args, option in ((("status", "--to", standby), "--to"),
                         (("switchover", "--accept-loss"), "--accept-loss"),
                         (("standby", standby, "--peer-is-off"), "--peer-is-off"),
                         (("links", "--yes"), "--yes"), (("failover", "-w"), "--watch"),
                         (("status", "-w", "0"), "--watch"),
                         (("sync", "now", "--fire"), "--fire"),
                         (("sync", "status", "--path", "/srv"), "--path")):
        text = hactl(active, *args, code=10)
        t.true("ERROR " in text and option in text, "%s: %s" % (" ".join(args), text))
    hactl(active, "switchover", "--to", "nobody", code=12)
    text = hactl(standby, "failover", "--to", standby, code=14)
    for word in ("LOSS     acknowledged mail 0   flag changes 0: in step with %s, which is heard\n"
                 % active, "ERROR refused: ", "\nWHY ", "\nHINT "):
        t.true(word in text, "refusal lacks %r:\n%s" % (word, text))
    # Nothing that is only tried changes anything, wherever it is tried.
    for node in NODES:
        text = hactl(node, "switchover", "--to", standby, "--dry-run")
        for word in ("CHECKED ", "WOULD ", "CANNOT CHECK "):
            t.true(word in text, "dry run lacks %r:\n%s" % (word, text))
        t.true(re.search(r"^CHECKED .*, clocks [0-9]+ ms apart$", text, re.M), text)
        for name in NODES:
            hactl(node, "standby", name, "--dry-run")
            hactl(node, "online", name, "--dry-run")
        hactl(node, "resource", "cleanup", "--dry-run")
    t.equal(lab.active(), active, "active after dry runs")
    for node in NODES:
        hactl(node, "status")
    # Asked on the standby: it goes to the active.
    hactl(standby, "switchover", "--to", standby, "--yes")
    t.equal(lab.wait_in_step(30), standby, "active after the switchover")
    for node in NODES:
        wait_for("the history on " + node, 10,
                 lambda: re.search(r"(?<!un)planned %s -> %s" % (active, standby),
                                   lab.execute(node, "hactl", "history").stdout), 0.2)
    active, standby = standby, active
    hactl(active, "standby", standby)
    text = hactl(active, "status", code=1)
    hactl(active, "switchover", "--to", standby, "--yes", code=14)
    hactl(active, "online", standby)
    wait_for("healthy again", 30,
             lambda: lab.execute(active, "hactl", "status", check=False).returncode == 0, 0.2)
    # A node that is kept out hands over first when it is the active.
    lab.wait_in_step(30)
    hactl(active, "standby", active)
    wait_for("the other is active", 20, lambda: lab.active() == standby, 0.1)
    hactl(standby, "online", active)
    lab.wait_in_step(60)
    text = hactl(standby, "sync", "status")
    for word in ("LOG ", "commit auto", "DURABLE", "LAG", "PEER    connected", *NODES):
        t.true(word in text, "sync status lacks %r:\n%s" % (word, text))
    lab.kill(active)
    wait_for("going on alone", 30, lambda: lab.execute(standby, "hactl", "status", check=False)
             .returncode == 1, 0.2)


def asked(lab, node, answer, *args):
    """hactl at a terminal that gives this answer: exit code, and what was written before the
    question and behind it."""
    ours, theirs = os.openpty()
    with subprocess.Popen(lab.command(node, "/usr/local/sbin/hactl", *args), stdin=theirs, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as p:
        os.close(theirs)
        before = ""
        while not before.endswith("Type yes to go on: "):
            c = p.stdout.read(1)
            if c == "":
                break
            before += c
        os.write(ours, answer.encode() + b"\n")
        behind = p.stdout.read()
    os.close(ours)
    return p.returncode, before, behind


@test
def failover_shows_the_loss_first(t):
    """Before the question, in a dry run and in a refusal."""
    lab = t.lab(hagent=[("mode", "manual")], syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    active, standby = lab.active(), lab.standby()

    def failover(node, *args, code):
        r = lab.execute(node, "hactl", "failover", *args, check=False)
        t.equal(r.returncode, code, "%s: %s%s" % (" ".join(args), r.stdout, r.stderr))
        return r.stdout

    def alone(node):
        wait_for(node + " is alone", 20, lambda: (lab.status(node) or {"peer": {"state": ""}})
                 ["peer"]["state"] == "silent", 0.1)
    # In step until the other one fell silent.
    lab.kill(active)
    alone(standby)
    text = failover(standby, "--dry-run", code=14)
    t.true(re.match(r"LOSS     acknowledged mail 0   flag changes 0: in step until %s fell silent "
                    r"[0-9]+ s ago\n         %s log [0-9]+:[0-9]+, heard [0-9]+ s ago   %s log "
                    r"[0-9]+:[0-9]+\n"
                    r"         not known: what %s acknowledged alone" % (
                        active, active, standby, active), text), text)
    text = failover(standby, "--peer-is-off", "--dry-run", code=0)
    t.true(text.startswith("LOSS ") and "WOULD " in text, text)
    failover(standby, "--peer-is-off", "--yes", code=0)
    t.equal(lab.wait_active(20), standby, "who took over")
    # What it acknowledged alone is not on the other disk, and that one cannot know of it.
    lab.kill(standby)
    lab.power_on(active)
    alone(active)
    text = failover(active, "--peer-is-off", code=14)
    t.true("LOSS     not known, %s was not heard since hagentd started here: not in step" % standby
           in text, text)
    args = ("failover", "--peer-is-off", "--accept-loss")
    code, before, behind = asked(lab, active, "no", *args)
    t.equal(code, 10, "not confirmed: %s%s" % (before, behind))
    t.true(before.startswith("LOSS     not known, ") and "\nThis overrides a safety rule" in before
           and "nothing changed" in behind, before + behind)
    t.true(lab.status(active)["self"]["role"] in ("wait", "target"), "role behind a no")
    code, before, behind = asked(lab, active, "yes", *args)
    t.equal(code, 0, "confirmed: %s%s" % (before, behind))
    t.equal(lab.wait_active(20), active, "who serves by the operator's word")


@test
def mailctl_commands(t):
    lab = t.lab()
    active, standby = lab.active(), lab.standby()

    def mailctl(*args, code=0, node=None, input=None):
        r = lab.execute(node or active, "mailctl", *args, check=False, input=input)
        t.equal(r.returncode, code, "mailctl %s: %s%s" % (" ".join(args), r.stdout, r.stderr))
        return r.stdout + r.stderr
    mailctl("domain", "add", "example.net")
    mailctl("domain", "add", "example.net", code=13)
    t.true("example.net" in mailctl("domain", "list"), "domain list")
    mailctl("user", "add", "alice@example.net", "--password-stdin", input="secret word\n")
    mailctl("user", "add", "alice@example.net", "--password-stdin", input="x\n", code=13)
    mailctl("user", "add", "bob@nowhere.example", "--password-stdin", input="x\n", code=12)
    t.true("alice@example.net" in mailctl("user", "list"), "user list")
    mailctl("user", "show", "alice@example.net")
    mailctl("user", "show", "carol@example.net", code=12)
    mailctl("alias", "add", "info@example.net", "alice@example.net")
    t.true("alice@example.net" in mailctl("alias", "members", "info@example.net"), "members")
    mailctl("alias", "add", code=10)
    mailctl("nonsense", code=10)
    t.true("--password-stdin" in mailctl("user", "show", "alice@example.net", "--password-stdin",
                                         code=10), "an option that would be ignored")
    # What is only tried is checked and not done.
    for args, code in ((("domain", "delete", "example.net"), 13),
                       (("domain", "add", "new.example"), 0),
                       (("user", "delete", "alice@example.net"), 0),
                       (("user", "delete", "carol@example.net"), 12),
                       (("user", "suspend", "alice@example.net"), 0),
                       (("alias", "delete", "info@example.net"), 0),
                       (("user", "list"), 10), (("listeners", "close"), 10)):
        mailctl(*args, "--dry-run", code=code)
    mailctl("user", "import", "/dev/stdin", "--dry-run", input="dave@example.net,x\n")
    t.true("new.example" not in mailctl("domain", "list"), "a domain that was only tried")
    text = mailctl("user", "list")
    t.true("alice@example.net" in text and "suspended" not in text and "dave" not in text,
           "users after dry runs: " + text)
    t.true("alice@example.net" in mailctl("alias", "members", "info@example.net"), "members")
    for line in mailctl("user", "list", "--json").splitlines():
        t.equal(json.loads(line)["schema"], 1, "schema of " + line)
    # What changes is refused on the standby, with a hint; what was made is there too.
    t.true("HINT" in mailctl("domain", "add", "example.com", node=standby, code=14), "hint")
    wait_for("alice on the standby", 10, lambda: "alice@example.net" in lab.execute(
        standby, "mailctl", "user", "list").stdout, 0.1)

    def send(to):
        import smtplib
        s = smtplib.SMTP(VIP, 25, timeout=20)
        try:
            s.sendmail("a@b.example", [to], b"Subject: to %b\r\n\r\nx\r\n" % to.encode())
            return 250
        except smtplib.SMTPRecipientsRefused as e:
            return list(e.recipients.values())[0][0]
        finally:
            s.close()
    for to, code in (("alice@example.net", 250), ("info@example.net", 250),
                     ("alice+box@example.net", 250), ("carol@example.net", 550)):
        t.equal(load.in_client(lab, send, to), code, "mail to " + to)

    def login(password):
        import imaplib
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=20)
        try:
            box.login("alice@example.net", password)
            n = int(box.select("INBOX")[1][0])
            box.logout()
            return n
        except imaplib.IMAP4.error:
            return None
    t.equal(load.in_client(lab, login, "secret word"), 3, "messages of alice")
    mailctl("user", "passwd", "alice@example.net", "--password-stdin", input="other word\n")
    t.equal(load.in_client(lab, login, "secret word"), None, "the old password")
    t.equal(load.in_client(lab, login, "other word"), 3, "the new password")
    mailctl("store", "stat")
    mailctl("store", "verify", "--timeout", "60")
    mailctl("user", "delete", "alice@example.net", "--yes")
    t.equal(load.in_client(lab, login, "other word"), None, "a deleted user")


@test
def garbage_on_every_port(t):
    """Random bytes, long lines, bare line ends, pipelining over STARTTLS: the RFC's
    error or a closed connection, and the service goes on."""
    lab = t.lab()
    ex = exercise.Exercise(lab, mailgen.generate(4), say=t.say, users=1, connections=1)
    ex.add_users()
    rng = random.Random(7)

    def talk(port, *sends, tls=False):
        s = socket.create_connection((VIP, port), 10)
        s.settimeout(10)
        if tls:
            s = load.tls_context(lab.ca).wrap_socket(s)
        out = b""
        try:
            if not tls and port not in (465, 993, 995):
                out += s.recv(4096)
            for data in sends:
                s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while True:
                got = s.recv(65536)
                if not got:
                    break
                out += got
        except (OSError, ssl.SSLError):
            pass
        s.close()
        return out

    def body():
        for port in (25, 587, 465, 110, 995, 143, 993):
            for size in (1, 100, 100000):
                talk(port, rng.randbytes(size))
            talk(port, b"A" * 3000000 + b"\r\n")
        for port in (465, 993, 995):
            talk(port, rng.randbytes(5000), tls=True)
        out = talk(25, b"EHLO x\r\n" + b"MAIL FROM:<" + b"a" * 5000 + b">\r\nNOOP\r\nQUIT\r\n")
        t.true(b"\r\n500 " in out and b"\r\n221 " in out, "a long command line: %r" % out[-300:])
        user = ex.users[0].encode()
        for bad in (b"a\nb", b"a\rb", b"a\n.\nMAIL FROM:<x@y.example>", b"a\r\n.\nb"):
            out = talk(25, b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<" + user +
                       b">\r\nDATA\r\n", b"Subject: x\r\n\r\n" + bad + b"\r\n.\r\n", b"QUIT\r\n")
            t.true(re.search(rb"\r\n5\d\d ", out) and b"queued" not in out,
                   "bare line ends in DATA: %r" % out[-200:])
        out = talk(25, b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@b.example>\r\n")
        t.true(b"MAIL" not in out and out.count(b"\r\n250 ") == 1,
               "pipelining over STARTTLS: %r" % out[-200:])
        out = talk(143, b"a STARTTLS\r\nb LOGIN x y\r\n")
        t.true(b"\r\nb OK" not in out and b"\r\nb NO" not in out, "IMAP: %r" % out)
        out = talk(110, b"STLS\r\nUSER x\r\n")
        t.true(out.count(b"+OK") <= 2, "POP3: %r" % out)
    load.in_client(lab, body)
    ex.run(probes=())
    for name, r in ex.read_back().items():
        t.true(r.good() and r.found == 4, name)
    for node in NODES:
        t.true("Sanitizer" not in lab.log(node, "maild"), "sanitizer report on " + node)


@test
def stranger_with_another_key(t):
    """Frames of another key are dropped, counted and logged once a minute."""
    from lab import Lab
    lab = Lab(build=BUILD, install=t.install)
    real = lab._keys

    def keys():
        real()
        with open(os.path.join(lab.node_dir("ha-2"), "etc/mailpair/cluster.key"), "w") as f:
            f.write("ab" * 32 + "\n")
    lab._keys = keys
    t.labs.append(lab)
    lab.start()

    def refused():
        r = lab.execute("ha-1", "hactl", "links", "--json", check=False)
        try:
            return sum(link["refused"] for link in json.loads(r.stdout)["links"]) > 20
        except ValueError:
            return False
    wait_for("refused frames", 20, refused, 0.2)
    for node in NODES:
        t.true(lab.status(node)["self"]["role"] != "active", node + " is active")
        lines = [x for x in lab.log(node, "hagentd").splitlines() if "refused" in x]
        t.true(0 < len(lines) <= 6, "log lines about it: %d" % len(lines))


def start_different(t, name, line):
    """A pair whose second node has one more line in one file."""
    from lab import Lab
    lab = Lab(build=BUILD, install=t.install)
    real = lab._configure

    def configure(node):
        real(node)
        if node == "ha-2":
            with open(os.path.join(lab.node_dir(node), "etc/mailpair", name), "a") as f:
                f.write(line)
    lab._configure = configure
    t.labs.append(lab)
    lab.start()
    node = lab.wait_active(40)
    r = wait_for("the alarm", 20, lambda: (lambda r: r if "configurations" in r.stderr else None)(
        lab.execute(node, "hactl", "status", check=False)), 0.2)
    t.true(r.returncode in (1, 2), "exit %d" % r.returncode)
    # Each node says which file it is; the digests of the others are equal.
    for n in NODES:
        wait_for("the name of the file on " + n, 10, lambda: "WHY   not the same on both: %s\n" % name
                 in lab.execute(n, "hactl", "status", check=False).stderr, 0.2)
        text = lab.execute(n, "hactl", "check", "config-equal", check=False).stdout
        t.true(": %s differs, here " % name in text and text.count(".conf") == 1, text)
    return lab, node


@test
def different_configuration_is_an_alarm(t):
    start_different(t, "hagent.conf", "warntime-ms = 1100\n")


@test
def different_mail_configuration_is_an_alarm(t):
    lab, node = start_different(t, "maild.conf", "message-size-max = 31M\n")
    # The other file is copied while everything runs: the alarm ends by itself.
    good, bad = (os.path.join(lab.node_dir(n), "etc/mailpair/maild.conf") for n in NODES)
    with open(good) as f:
        text = f.read()
    with open(bad, "w") as f:
        f.write(text)
    wait_for("the end of the alarm", 30, lambda: "configurations" not in lab.execute(
        node, "hactl", "status", check=False).stderr, 0.5)


BAD_FILES = [
    ("hagentd", "no-such-option = 1\n", 1), ("hagentd", "keepalive-ms = fast\n", 1),
    ("hagentd", "\n\nmode = \"guess\"\n", 3), ("syncd", "commit = \"sometimes\"\n", 1),
    ("syncd", "cluster = \"x\"\nport = 99999\n", 2), ("maild", "\nhostname = \n", 3),
    ("maild", "gates = -1\n", 1), ("maild", "smtp-listen = { \"nowhere:25\" }\n", 1),
]


@test
def bad_configuration_is_named(t):
    path = os.path.join(t.folder(), "bad.conf")
    for daemon, text, line in BAD_FILES:
        with open(path, "w") as f:
            f.write(text)
        for args in (["-n"], ["-f"]):
            r = subprocess.run([os.path.join(BUILD, daemon), *args, "-c", path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, timeout=10, check=False)
            t.equal(r.returncode, 19, "%s with %r: %s" % (daemon, text, r.stderr))
            t.true(re.search(r"^ERROR %s:\d+: " % re.escape(path), r.stderr, re.M),
                   "%s with %r names file and line: %s" % (daemon, text, r.stderr))
    for daemon in ("hagentd", "syncd", "maild"):
        r = subprocess.run([os.path.join(BUILD, daemon), "-n", "-c", path + ".missing"],
                           stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=10,
                           check=False)
        t.equal(r.returncode, 19, daemon + " without a file: " + r.stderr)
        r = subprocess.run([os.path.join(BUILD, daemon), "--no-such-option"],
                           stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=10,
                           check=False)
        t.equal(r.returncode, 10, daemon + " with an unknown option: " + r.stderr)
