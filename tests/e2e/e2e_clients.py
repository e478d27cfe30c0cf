"""e2e_clients.py - foreign clients against the virtual address, with TLS.

MAIL=dir: the mail of this folder instead of generated messages.
"""
import email
import imaplib
import os
import poplib
import re
import shutil
import smtplib
import subprocess

import exercise
import lab as lab_module
import load
import mailgen
from harness import Skip, test
from lab import VIP, VIP6


def _lab(t, count=12):
    lab = t.lab()
    real = os.environ.get("MAIL")
    messages = mailgen.from_dir(real) if real else mailgen.generate(count)
    ex = exercise.Exercise(lab, messages, say=t.say, users=3, connections=2)
    ex.add_users()
    ex.run(probes=())
    return lab, ex


def _tool(name):
    if not shutil.which(name):
        raise Skip(name + " is not installed")


def _client(lab, *cmd, hosts=None, **kw):
    """Runs a program on the client host; hosts: the text of its /etc/hosts."""
    if hosts:
        # `ip netns exec` gave the program mounts of its own already.
        path = os.path.join(lab.home, "client-hosts")
        with open(path, "w") as f:
            f.write(hosts)
        cmd = ("/bin/sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", path) + cmd
    r = subprocess.run(lab.client_command(*cmd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60, check=False, **kw)
    if r.returncode != 0:
        raise AssertionError("%s: exit %d: %s%s" % (" ".join(cmd), r.returncode,
                                                    r.stdout.decode(errors="replace"),
                                                    r.stderr.decode(errors="replace")))
    return r.stdout


@test
def clients_of_python(t):
    """imaplib, poplib and smtplib: every verb that they know and we announce."""
    lab, ex = _lab(t)
    user = ex.users[0]
    context = load.tls_context(lab.ca)
    body = b"Subject: from imaplib\r\n\r\nline\r\n.\r\nend\r\n"

    def imap(host):
        box = imaplib.IMAP4(host, 143, timeout=20)
        t.true("LOGINDISABLED" in box.capabilities, "no plain login before TLS")
        box.starttls(ssl_context=context)
        box.login(user, load.PASSWORD)
        for answer in (box.noop(), box.create("Work"), box.create("Work/Old"),
                       box.subscribe("Work"), box.rename("Work/Old", "Work/New"),
                       box.append("Work", "(\\Seen custom)", None, body)):
            t.equal(answer[0], "OK", "answer %r" % (answer,))
        names = b" ".join(box.list()[1])
        t.true(b"Work/New" in names and b"INBOX" in names, "LIST: %r" % names)
        t.true(b"Work" in b" ".join(box.lsub()[1]), "LSUB")
        t.equal(box.select("Work")[1], [b"1"], "EXISTS")
        typ, data = box.fetch("1", "(FLAGS UID RFC822.SIZE BODY[] BODYSTRUCTURE ENVELOPE)")
        t.equal(data[0][1], body, "the appended bytes")
        t.true(b"\\Seen" in data[0][0] + data[1] and b"custom" in data[0][0] + data[1], "flags")
        t.equal(box.search(None, "SUBJECT", "imaplib")[1], [b"1"], "SEARCH")
        t.equal(box.search(None, "UNSEEN")[1], [b""], "SEARCH UNSEEN")
        t.equal(box.store("1", "+FLAGS", "\\Flagged")[0], "OK", "STORE")
        t.equal(box.copy("1", "INBOX")[0], "OK", "COPY")
        t.equal(box.uid("MOVE", "1", "Work/New")[0], "OK", "MOVE")
        t.equal(box.status("Work/New", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")[0], "OK", "STATUS")
        box.select("Work/New")
        box.store("1:*", "+FLAGS", "\\Deleted")
        t.equal(box.expunge()[1], [b"1"], "EXPUNGE")
        t.equal(box.close()[0], "OK", "CLOSE")
        for name in ("Work/New", "Work"):
            t.equal(box.delete(name)[0], "OK", "DELETE")
        box.logout()

    def pop():
        box = poplib.POP3(VIP, 110, timeout=20)
        t.true("STLS" in box.capa(), "CAPA")
        box.stls(context)
        box.user(user)
        box.pass_(load.PASSWORD)
        count, size = box.stat()
        t.true(count > 0 and size > 0, "STAT")
        lines = b"\r\n".join(box.retr(count)[1]) + b"\r\n"
        t.true(lines.endswith(body), "RETR")
        t.true(len(box.top(count, 0)[1]) > 0, "TOP")
        t.equal(len(box.uidl()[1]), count, "UIDL")
        box.dele(count)
        box.rset()
        box.dele(count)
        box.quit()
        box = poplib.POP3_SSL(VIP, 995, context=context, timeout=20)
        box.user(user)
        box.pass_(load.PASSWORD)
        t.equal(box.stat()[0], count - 1, "STAT after DELE and QUIT")
        box.quit()

    def smtp():
        for port in (465, 587):
            s = smtplib.SMTP_SSL(VIP, 465, timeout=20, context=context) if port == 465 else \
                smtplib.SMTP(VIP, 587, timeout=20)
            if port == 587:
                s.starttls(context=context)
            for method in ("auth_plain", "auth_login"):
                s.ehlo()
                s.user, s.password = user, load.PASSWORD
                if method == "auth_plain":
                    t.equal(s.auth("PLAIN", s.auth_plain)[0], 235, "AUTH PLAIN")
                    s.sendmail(user, [ex.users[1], ex.users[2]], body)
                    s.quit()
                    s = smtplib.SMTP_SSL(VIP, 465, timeout=20, context=context)
                else:
                    t.equal(s.auth("LOGIN", s.auth_login)[0], 235, "AUTH LOGIN")
                    s.quit()
        s = smtplib.SMTP(VIP, 25, timeout=20)
        try:
            s.sendmail("a@b.example", ["stranger@elsewhere.example"], body)
            t.true(False, "relayed for a stranger")
        except smtplib.SMTPRecipientsRefused as e:
            t.equal(list(e.recipients.values())[0][0] // 100, 5, "relaying is refused")
        s.quit()
    load.in_client(lab, imap, VIP)
    load.in_client(lab, imap, VIP6)
    load.in_client(lab, pop)
    load.in_client(lab, smtp)


@test
def client_curl(t):
    _tool("curl")
    lab, ex = _lab(t)
    user, host = ex.users[0], lab_module.CLUSTER
    base = ["curl", "-sS", "--cacert", lab.ca, "--user", "%s:%s" % (user, load.PASSWORD)]
    res = lambda port: ["--resolve", "%s:%d:%s" % (host, port, VIP)]
    mail = os.path.join(t.folder(), "mail")
    with open(mail, "wb") as f:
        f.write(b"Subject: from curl\r\n\r\nhello\r\n")
    _client(lab, *base, *res(465), "smtps://%s:465" % host, "--mail-from", user, "--mail-rcpt",
            user, "-T", mail)
    _client(lab, *base, *res(587), "--ssl-reqd", "smtp://%s:587" % host, "--mail-from", user,
            "--mail-rcpt", user, "-T", mail)
    _client(lab, *base, *res(993), "imaps://%s/INBOX" % host, "-T", mail)
    found = _client(lab, *base, *res(993), "imaps://%s/INBOX?SUBJECT%%20%%22from%%20curl%%22" % host)
    t.equal(len(found.split()) - 2, 3, "SEARCH by curl: %r" % found)
    n = found.split()[-1].decode()
    got = _client(lab, *base, *res(993), "imaps://%s/INBOX;MAILINDEX=%s" % (host, n))
    t.true(got.endswith(b"Subject: from curl\r\n\r\nhello\r\n"), "FETCH by curl: %r" % got[-80:])
    listed = _client(lab, *base, *res(995), "pop3s://%s/" % host)
    last = listed.split(b"\r\n")[-2].split()[0].decode()
    got = _client(lab, *base, *res(995), "pop3s://%s/%s" % (host, last))
    t.true(got.endswith(b"hello\r\n"), "RETR by curl")


@test
def client_swaks(t):
    _tool("swaks")
    lab, ex = _lab(t)
    base = ["swaks", "--to", ex.users[0], "--from", ex.users[1], "--timeout", "20"]
    _client(lab, *base, "--server", VIP)
    _client(lab, *base, "--server", VIP, "--tls")
    for auth in ("PLAIN", "LOGIN"):
        sign = ["--auth", auth, "--auth-user", ex.users[1], "--auth-password", load.PASSWORD]
        _client(lab, *base, "--server", VIP, "--port", "587", "--tls", *sign)
        _client(lab, *base, "--server", VIP, "--port", "465", "--tls-on-connect", *sign)
    _client(lab, *base, "--server", VIP, "--pipeline")
    r = subprocess.run(lab.client_command(*base, "--server", VIP, "--port", "587", "--tls", "--auth",
                                          "PLAIN", "--auth-user", ex.users[1],
                                          "--auth-password", "wrong"),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    t.true(r.returncode != 0 and re.search(rb"535", r.stdout), "a wrong password is refused")


@test
def client_mbsync(t):
    """mbsync pulls the INBOX, pushes a flag, a deletion and a new message, and agrees."""
    _tool("mbsync")
    lab, ex = _lab(t)
    user, home = ex.users[0], t.folder()
    # mbsync compares the certificate with the host's name, and knows no addresses in it.
    hosts = "%s %s\n" % (VIP, lab_module.CLUSTER)
    rc = os.path.join(home, "rc")
    with open(rc, "w") as f:
        f.write("IMAPAccount a\nHost %s\nPort 993\nUser %s\nPass \"%s\"\nSSLType IMAPS\n"
                "CertificateFile %s\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\n"
                "MaildirStore near\nPath %s/\nInbox %s/inbox\nSubFolders Verbatim\n\n"
                "Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
                "SyncState *\n" % (lab_module.CLUSTER, user, load.PASSWORD, lab.ca, home, home))
    _client(lab, "mbsync", "-c", rc, "c", hosts=hosts)
    folder = os.path.join(home, "inbox")

    def local():
        return sorted(os.path.join(folder, d, n) for d in ("cur", "new")
                      for n in os.listdir(os.path.join(folder, d)))
    expected = load.in_client(lab, load.read_imap, VIP, user, lab.ca)
    near = local()
    t.equal(len(near), len(expected), "messages after the pull")
    def body(data):
        return re.sub(rb"X-TUID: \S+\n", b"", data.replace(b"\r\n", b"\n"))
    t.equal(sorted(body(open(n, "rb").read()) for n in near),
            sorted(body(m) for m in expected.values()), "bytes after the pull")
    first, second = near[0], near[1]
    name = os.path.basename(first).split(":2,")[0]
    os.rename(first, os.path.join(folder, "cur", name + ":2,FS"))
    name = os.path.basename(second).split(":2,")[0]
    os.rename(second, os.path.join(folder, "cur", name + ":2,T"))
    with open(os.path.join(folder, "cur", "1.local:2,S"), "wb") as f:
        f.write(b"Subject: pushed by mbsync\n\nhello\n")
    _client(lab, "mbsync", "-c", rc, "c", hosts=hosts)
    after = load.in_client(lab, load.read_imap, VIP, user, lab.ca)
    t.equal(len(after), len(expected), "messages after one came and one went")
    t.true(any(b"pushed by mbsync" in m for m in after.values()), "the pushed message")

    def flagged():
        import imaplib as il
        box = il.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=20)
        box.login(user, load.PASSWORD)
        box.select("INBOX", readonly=True)
        out = box.search(None, "FLAGGED")[1]
        box.logout()
        return out
    t.equal(len(load.in_client(lab, flagged)[0].split()), 1, "flagged messages")


def _value(data, pos=0):
    """One value of an IMAP answer and the position behind it: list, bytes, int, None."""
    while data[pos:pos + 1] == b" ":
        pos += 1
    if data[pos:pos + 1] == b"(":
        out, pos = [], pos + 1
        while data[pos:pos + 1] != b")":
            value, pos = _value(data, pos)
            out.append(value)
            while data[pos:pos + 1] == b" ":
                pos += 1
        return out, pos + 1
    m = re.compile(rb'"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([^\s()"{]+)', re.S).match(data, pos)
    if m.group(1) is not None:
        return re.sub(rb"\\(.)", rb"\1", m.group(1), flags=re.S), m.end()
    if m.group(2) is not None:
        return data[m.end():m.end() + int(m.group(2))], m.end() + int(m.group(2))
    word = m.group(3)
    return (None if word == b"NIL" else int(word) if word.isdigit() else word), m.end()


def _fetched(box, what):
    """{uid: value of one item}, literals included."""
    out, waiting = {}, b""
    typ, data = box.uid("FETCH", "1:*", "(UID %s)" % what)
    for item in data:
        if isinstance(item, tuple):
            waiting += item[0] + b"\r\n" + item[1]
            continue
        waiting += item
        pairs = _value(waiting, waiting.index(b"("))[0]
        pairs = dict(zip(pairs[0::2], pairs[1::2]))
        out[pairs[b"UID"]] = pairs[what.replace(".PEEK", "").encode()]
        waiting = b""
    return out


def _shape(structure):
    """Content types of BODYSTRUCTURE, outer first."""
    if isinstance(structure[0], list):
        parts = [p for p in structure if isinstance(p, list)]
        n = next(i for i, p in enumerate(structure) if not isinstance(p, list))
        return ["multipart/" + structure[n].decode().lower()] + \
            [x for p in parts[:n] for x in _shape(p)]
    own = (structure[0] + b"/" + structure[1]).decode(errors="replace").lower()
    inner = _shape(structure[8]) if own == "message/rfc822" else []
    return [own] + inner


def _expected(message):
    """The same by Python's email package, where both may be right only one way."""
    own = message.get_content_type()
    inner = message.get_payload() if message.is_multipart() and own not in (
        "message/delivery-status",) else []
    if own.startswith("multipart/") and not (message.is_multipart() and message.get_boundary()):
        return None                         # a multipart without parts: shown as text
    shapes = [_expected(m) for m in inner]
    if None in shapes or (own.startswith("message/") and own != "message/rfc822"):
        return None
    return [own] + [x for s in shapes for x in s]


@test
def structures_agree_with_python(t):
    """BODYSTRUCTURE and ENVELOPE of every message against Python's email package."""
    lab, ex = _lab(t, 300)
    seen = {}

    def body():
        imaplib._MAXLINE = 10000000
        for user in ex.users:
            box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=60)
            box.login(user, load.PASSWORD)
            box.select("INBOX", readonly=True)
            seen[user] = [_fetched(box, w) for w in ("BODY.PEEK[]", "BODYSTRUCTURE", "ENVELOPE")]
            box.logout()
    load.in_client(lab, body)
    compared = 0
    for user, (whole, structures, envelopes) in seen.items():
        t.equal((set(structures), set(envelopes)), (set(whole), set(whole)), "UIDs")
        for uid, data in whole.items():
            message = email.message_from_bytes(data)
            expected = _expected(message)
            if expected is not None:
                compared += 1
                t.equal(_shape(structures[uid]), expected, "structure of %s %d" % (user, uid))
            given = message.get("message-id")
            if given is not None:
                t.equal((envelopes[uid][9] or b"").decode(errors="replace").split(),
                        given.split(), "Message-ID of %s %d" % (user, uid))
    t.say("compared %d structures" % compared)
    t.true(compared > 2 * len(ex.messages) // 3, "only %d structures were compared" % compared)
