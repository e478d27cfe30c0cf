"""load.py - clients of a pair: sends mail, keeps the books, reads everything back.

The books: for each message how often it was sent (its final dot left this client)
and how often the server acknowledged it.  What is read back is compared byte by
byte below the trace headers.  Results of verify(), in the words of the README:
  lost        acknowledged and not there
  duplicated  more copies than times the client sent it
  changed     there, but with other bytes than were sent
"""
import hashlib
import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import threading
import time

PASSWORD = "correct horse"
PROBE = "probe@mail.example.org"
QUEUE_ID = re.compile(rb"queued as (\S+)")
TRACE = (b"return-path:", b"received:", b"delivered-to:")


def users(count):
    return ["user%02d@mail.example.org" % i for i in range(count)]


def tls_context(ca):
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    return context


def below_trace(data, wanted=None):
    """The message without the headers that our server put on top: Return-Path and the
    one Received that names us."""
    pos = 0
    for name in (b"return-path:", b"received:"):
        if not data[pos:pos + len(name)].lower() == name:
            continue
        while True:                     # the header and its folded lines
            end = data.find(b"\r\n", pos)
            if end < 0:
                return data[pos:]
            pos = end + 2
            if data[pos:pos + 1] not in (b" ", b"\t"):
                break
    return data[pos:]


class Books:
    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}                  # (user, sha256) -> times
        self.acked = {}                 # (user, sha256) -> times
        self.by_id = {}                 # queue id -> (user, sha256)
        self.ack_times = []             # monotonic seconds
        self.refused = {}               # reply code -> times
        self.errors = 0

    def will_send(self, user, digest):
        with self.lock:
            key = (user, digest)
            self.sent[key] = self.sent.get(key, 0) + 1

    def ack(self, user, digest, reply):
        m = QUEUE_ID.search(reply)
        with self.lock:
            key = (user, digest)
            self.acked[key] = self.acked.get(key, 0) + 1
            self.ack_times.append(time.monotonic())
            if m:
                self.by_id[m.group(1)] = key

    def refuse(self, code):
        with self.lock:
            self.refused[code] = self.refused.get(code, 0) + 1

    def error(self):
        with self.lock:
            self.errors += 1

    def count_acked(self):
        with self.lock:
            return sum(self.acked.values())

    def count_sent(self):
        with self.lock:
            return len(self.sent)


class Sender(threading.Thread):
    """One SMTP client; takes (user, message) from a shared iterator and does not give
    a message up before it is acknowledged, or the limit has passed."""

    def __init__(self, lab, books, source, host, port=25, timeout_s=4.0, stop=None, ca=None,
                 login=False, per_connection=50, deadline=None, rate=None):
        super().__init__(daemon=True)
        self.lab, self.books, self.source = lab, books, source
        self.host, self.port, self.timeout_s = host, port, timeout_s
        self.stop_event = stop or threading.Event()
        self.ca, self.login, self.per_connection = ca, login, per_connection
        self.deadline, self.rate = deadline, rate
        self.smtp, self.used = None, 0
        self.failed = None

    def connect(self):
        self.close()
        if self.port == 465:
            self.smtp = smtplib.SMTP_SSL(self.host, 465, timeout=self.timeout_s,
                                         local_hostname="client.example",
                                         context=tls_context(self.ca))
        else:
            self.smtp = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s,
                                     local_hostname="client.example")
            if self.port == 587:
                self.smtp.starttls(context=tls_context(self.ca))
        self.smtp.ehlo_or_helo_if_needed()
        if self.login:
            self.smtp.login(self.login, PASSWORD)
        self.used = 0

    def close(self):
        if self.smtp is not None:
            self.smtp.close()
            self.smtp = None

    def attempt(self, user, data, digest):
        """True when acknowledged."""
        if self.smtp is None or self.used >= self.per_connection:
            self.connect()
        self.used += 1
        code, _ = self.smtp.mail("sender@client.example",
                                 ["BODY=8BITMIME", "SIZE=%d" % len(data)])
        if code == 250:
            code, _ = self.smtp.rcpt(user)
        if code == 250:
            code, _ = self.smtp.docmd("DATA")
        if code == 354:
            self.books.will_send(user, digest)
            code, reply = self._data(data)
            if code == 250:
                self.books.ack(user, digest, reply)
                return True
        self.books.refuse(code)
        if code == 421 or code == -1:
            self.close()
        else:
            self.smtp.rset()
        if 500 <= code < 600:
            self.failed = "refused for ever: %d to %s" % (code, user)
            return True
        return False

    def _data(self, data):
        quoted = data.replace(b"\r\n.", b"\r\n..")
        if quoted.startswith(b"."):
            quoted = b"." + quoted
        self.smtp.send(quoted + b".\r\n")
        return self.smtp.getreply()

    def run(self):
        self.lab.enter("client")
        for user, data in self.source:
            digest = hashlib.sha256(data).digest()
            while not self.stop_event.is_set():
                if self.deadline and time.monotonic() > self.deadline:
                    self.failed = "no acknowledgement before the limit"
                    return
                try:
                    if self.attempt(user, data, digest):
                        break
                except (OSError, smtplib.SMTPException):
                    self.books.error()
                    self.close()
                self.stop_event.wait(0.05)
            if self.stop_event.is_set() or self.failed:
                break
            if self.rate:
                self.stop_event.wait(1.0 / self.rate)
        try:
            if self.smtp is not None:
                self.smtp.quit()
        except (OSError, smtplib.SMTPException):
            pass


class Shared:
    """An iterator that several threads may take from."""

    def __init__(self, items):
        self.items, self.lock, self.taken = iter(items), threading.Lock(), 0

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            item = next(self.items)
            self.taken += 1
            return item


CONNECT_S = 0.1


def connect(host, port, timeout):
    """A prober gives a dead address up soon, and a slow answer not."""
    sock = socket.create_connection((host, port), CONNECT_S)
    sock.settimeout(timeout)
    return sock


class ProbeSMTP(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        return connect(host, port, timeout)


class ProbeIMAP(imaplib.IMAP4_SSL):
    def _create_socket(self, timeout):
        return self.ssl_context.wrap_socket(connect(self.host, self.port, timeout),
                                            server_hostname=self.host)


class ProbePOP3(poplib.POP3_SSL):
    def _create_socket(self, timeout):
        return self.context.wrap_socket(connect(self.host, self.port, timeout),
                                        server_hostname=self.host)


class Prober(threading.Thread):
    """A client that comes anew again and again: SMTP delivers a message of its own, each
    with another number, to the user "probe" (250 counts), IMAP and POP3 log in.  ok: times of
    the successes; acked: the numbers; refused: (time, reply code)."""

    def __init__(self, lab, host, protocol, user, ca, every_s=0.02):
        super().__init__(daemon=True)
        self.lab, self.host, self.protocol, self.user, self.ca = lab, host, protocol, user, ca
        self.every_s = every_s
        self.stop_event = threading.Event()
        self.ok, self.acked, self.refused, self.number = [], [], [], 0

    def once(self):
        if self.protocol == "smtp":
            s = ProbeSMTP(self.host, 25, timeout=1.0, local_hostname="probe.example")
            try:
                self.number += 1
                s.sendmail("probe@client.example", [PROBE],
                           b"Subject: probe %d\r\n\r\n.\r\n" % self.number)
                self.acked.append(self.number)
            finally:
                s.close()
        elif self.protocol == "imap":
            box = ProbeIMAP(self.host, 993, ssl_context=tls_context(self.ca), timeout=1.0)
            try:
                box.login(self.user, PASSWORD)
            finally:
                box.shutdown()
        else:
            pop = ProbePOP3(self.host, 995, context=tls_context(self.ca), timeout=1.0)
            try:
                if b"OK" not in pop.welcome:
                    raise OSError("no")
            finally:
                pop.close()

    def run(self):
        self.lab.enter("client")
        while not self.stop_event.is_set():
            try:
                self.once()
                self.ok.append(time.monotonic())
            except smtplib.SMTPRecipientsRefused as e:
                self.refused.append((time.monotonic(), list(e.recipients.values())[0][0]))
            except smtplib.SMTPResponseException as e:
                self.refused.append((time.monotonic(), e.smtp_code))
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto,
                    EOFError):
                pass
            self.stop_event.wait(self.every_s)

    def outage_ms(self, since):
        """From `since` to the first success that began after it; -1 when there was none.
        Successes before the fault show that it worked."""
        after = [t for t in self.ok if t > since]
        return int((after[0] - since) * 1000) if after else -1


def in_client(lab, func, *args):
    """Calls func in the client's network, in a thread of its own; raises what it raised."""
    box = {}

    def body():
        try:
            lab.enter("client")
            box["value"] = func(*args)
        except BaseException as e:
            box["error"] = e
    t = threading.Thread(target=body, daemon=True)
    t.start()
    t.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


def read_imap(host, user, ca, mailbox="INBOX"):
    """All messages of a mailbox as bytes, {uid: bytes}."""
    imaplib._MAXLINE = 10000000
    box = imaplib.IMAP4_SSL(host, 993, ssl_context=tls_context(ca), timeout=30)
    box.login(user, PASSWORD)
    typ, _ = box.select(mailbox, readonly=True)
    if typ != "OK":
        raise imaplib.IMAP4.error("cannot select %s" % mailbox)
    found = {}
    typ, data = box.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
    if typ != "OK":
        raise imaplib.IMAP4.error("cannot fetch")
    for item in data:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
            found[uid] = item[1]
    box.logout()
    return found


def read_pop3(host, user, ca):
    poplib._MAXLINE = 10000000
    pop = poplib.POP3_SSL(host, 995, context=tls_context(ca), timeout=30)
    pop.user(user)
    pop.pass_(PASSWORD)
    count = pop.stat()[0]
    found = {}
    for i in range(1, count + 1):
        found[i] = b"".join(line + b"\r\n" for line in pop.retr(i)[1])
    pop.quit()
    return found


class Result:
    def __init__(self):
        self.found = self.lost = self.duplicated = self.changed = self.unexpected = 0
        self.notes = []

    def note(self, text):
        if len(self.notes) < 20:
            self.notes.append(text)

    def good(self):
        return not (self.lost or self.duplicated or self.changed)


def verify(books, boxes):
    """boxes: {user: iterable of messages as read}.  Counts what the README defines."""
    r = Result()
    seen = {}
    for user, messages in boxes.items():
        for data in messages:
            digest = hashlib.sha256(below_trace(data)).digest()
            key = (user, digest)
            if key in books.sent:
                seen[key] = seen.get(key, 0) + 1
                continue
            m = re.search(rb"\bid (\S+)", data[:2000])
            r.changed += 1
            r.note("changed: %s id %s: %r" % (user, m.group(1).decode() if m else "?",
                                              below_trace(data)[:60]))
    for key, times in books.acked.items():
        have = seen.get(key, 0)
        r.found += min(have, times)
        if have < times:
            r.lost += times - have
            r.note("lost: %s %s: %d copies, acknowledged %d times"
                   % (key[0], key[1].hex()[:16], have, times))
    for key, times in seen.items():
        if times > books.sent[key]:
            r.duplicated += times - books.sent[key]
            r.note("duplicated: %s %s: %d copies, sent %d times"
                   % (key[0], key[1].hex()[:16], times, books.sent[key]))
    return r
