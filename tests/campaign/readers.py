"""readers.py - what clients see while a pair is in trouble, and what must hold of it.

Watcher  reads one mailbox as it grows: what was read once stays there under its UID, and a
         UID never names another message.
Changer  appends, flags and expunges in a mailbox of its own, one command at a time: what
         was answered OK holds.  A command whose answer did not come may have happened or not.
"""
import hashlib
import imaplib
import re
import threading

import load
from lab import VIP

FLAGS = ("\\Flagged", "\\Answered", "$Forwarded", "campaign")
ERRORS = (OSError, EOFError, imaplib.IMAP4.error, ValueError)


class Trouble(Exception):
    """A client cannot do its part though the pair is whole."""


class Message:
    def __init__(self, uid, flags, data):
        self.uid, self.flags, self.data = uid, flags, data
        self.digest = hashlib.sha256(load.below_trace(data)).digest()


class Box:
    def __init__(self, validity, messages, uidnext=0):
        self.validity, self.messages, self.uidnext = validity, messages, uidnext


def connect(lab, user, timeout=3.0):
    imaplib._MAXLINE = 10000000
    box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=timeout)
    box.login(user, load.PASSWORD)
    return box


def validity_of(box):
    return int(box.response("UIDVALIDITY")[1][0])


def uidnext_of(box):
    """0 if it was not told."""
    return int(box.response("UIDNEXT")[1][0] or 0)


def parse(data):
    """Messages of a FETCH of UID, FLAGS and the bytes."""
    out = []
    for item in data:
        if isinstance(item, tuple):
            flags = re.search(rb"FLAGS \(([^)]*)\)", item[0])
            out.append(Message(int(re.search(rb"UID (\d+)", item[0]).group(1)),
                               set(flags.group(1).decode().split()) if flags else set(), item[1]))
    return out


def read_all(lab, user, name):
    """The whole mailbox, from a pair that is whole."""
    try:
        box = connect(lab, user, 60)
        typ, why = box.select(name, readonly=True)
        if typ != "OK" and b"NONEXISTENT" in why[0]:
            return Box(0, [])           # the Changer may never have made it
        if typ != "OK":
            raise Trouble("cannot open %s of %s: %s" % (name, user, why[0].decode()))
        validity, uidnext = validity_of(box), uidnext_of(box)
        typ, data = box.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
        box.shutdown()
    except ERRORS as e:
        raise Trouble("cannot read %s of %s: %s" % (name, user, e)) from e
    if typ != "OK":
        raise Trouble("cannot read %s of %s" % (name, user))
    return Box(validity, parse(data), uidnext)


def read_named(lab, user, name):
    """[Box] of the mailbox, and of those that a merge made of another one of that name."""
    box = connect(lab, user, 60)
    try:
        typ, data = box.list('""', '"%s*"' % name)
    except ERRORS as e:
        raise Trouble("cannot list the mailboxes of %s: %s" % (user, e)) from e
    finally:
        box.shutdown()
    if typ != "OK":
        raise Trouble("cannot list the mailboxes of %s" % user)
    names = [re.search(rb'"/" (.*)$', item).group(1).decode() for item in data if item]
    return [read_all(lab, user, n) for n in names]


class Client(threading.Thread):
    """Comes again and again until it is told to stop."""

    def __init__(self, lab, user):
        super().__init__(daemon=True)
        self.lab, self.user = lab, user
        self.stop_event = threading.Event()
        self.box = None

    def stop(self):
        self.stop_event.set()

    def run(self):
        self.lab.enter("client")
        while not self.stop_event.is_set():
            try:
                self.session()
            except ERRORS:
                pass
            finally:
                if self.box is not None:
                    self.box.shutdown()
                    self.box = None
            self.stop_event.wait(0.1)


class Watcher(Client):
    def __init__(self, lab, user):
        super().__init__(lab, user)
        self.seen = {}                  # (uidvalidity, uid) -> digest
        self.reused = []
        self.highest = {}               # uidvalidity -> highest UIDNEXT told
        self.back = []

    def note(self, validity, message):
        key = (validity, message.uid)
        if self.seen.setdefault(key, message.digest) != message.digest:
            self.reused.append("uid %d of %s names another message now"
                               % (message.uid, self.user))

    def uidnext(self, validity, value):
        if value == 0:
            return
        if value < self.highest.get(validity, 0):
            self.back.append("UIDNEXT of %s went back from %d to %d"
                             % (self.user, self.highest[validity], value))
        self.highest[validity] = max(self.highest.get(validity, 0), value)

    def session(self):
        self.box = connect(self.lab, self.user)
        typ, _ = self.box.select("INBOX", readonly=True)
        if typ != "OK":
            return
        validity = validity_of(self.box)
        self.uidnext(validity, uidnext_of(self.box))
        last = max((u for v, u in self.seen if v == validity), default=0)
        while not self.stop_event.is_set():
            typ, data = self.box.uid("FETCH", "%d:*" % (last + 1), "(UID FLAGS BODY.PEEK[])")
            if typ != "OK":
                return
            for m in parse(data):
                self.note(validity, m)
                last = max(last, m.uid)
            self.stop_event.wait(0.1)
            self.box.noop()

    def check(self, box, counts, merged=False, blind=False):
        """merged: two histories were made one.  blind: a node that stood still while the
        other one went away told what it knew, which was old."""
        for m in box.messages:
            self.note(box.validity, m)
        counts.uid_reused += len(self.reused)
        counts.notes += self.reused
        if merged or blind:
            self.back = []      # of two nodes that cannot hear each other; now it holds
        self.uidnext(box.validity, box.uidnext)
        for text in self.back:
            counts.violation(text)
        if any(v != box.validity for v, _ in self.seen):
            counts.violation("UIDVALIDITY of %s changed" % self.user)
        there = {m.uid for m in box.messages}
        bytes_there = {m.digest for m in box.messages}
        for (_, uid), digest in sorted(self.seen.items()):
            if uid not in there and not (merged and digest in bytes_there):
                counts.violation("uid %d of %s was read, and then gone" % (uid, self.user))


class Changer(Client):
    NAME = "Changes"

    def __init__(self, lab, user, rng):
        super().__init__(lab, user)
        self.rng, self.validity = rng, 0
        self.acknowledged = 0
        self.made = {}          # token -> state: "asked", "ok", "expunge asked", "gone"
        self.flags = {}         # token -> {flag: True | False | None (not known)}
        self.uids = {}          # token -> (uidvalidity, uid)
        self.count = 0

    def session(self):
        self.box = connect(self.lab, self.user)
        self.box.create(self.NAME)
        typ, _ = self.box.select(self.NAME)
        if typ != "OK":
            return
        self.validity = validity_of(self.box)
        while not self.stop_event.is_set():
            self.rng.choice((self.append, self.append, self.flag, self.flag, self.expunge))()
            self.stop_event.wait(0.02)

    def ok(self, answer):
        if answer[0] == "OK":
            self.acknowledged += 1
            return True
        return False

    def append(self):
        self.count += 1
        token = "c%d" % self.count
        self.made[token] = "asked"
        self.flags[token] = {f: False for f in FLAGS}
        data = ("Subject: %s\r\nX-Token: %s\r\n\r\nbody of %s\r\n" % ((token,) * 3)).encode()
        answer = self.box.append(self.NAME, None, None, data)
        if self.ok(answer):
            self.made[token] = "ok"
            m = re.search(rb"APPENDUID (\d+) (\d+)", answer[1][0])
            self.uids[token] = (int(m.group(1)), int(m.group(2)))

    def some(self):
        """One that is there for certain."""
        there = [t for t, state in self.made.items() if state == "ok"]
        return self.rng.choice(there) if there else None

    def flag(self):
        token, flag, on = self.some(), self.rng.choice(FLAGS), self.rng.random() < 0.6
        if token is None:
            return
        before = self.flags[token][flag]
        self.flags[token][flag] = None if before != on else on
        if self.ok(self.box.uid("STORE", str(self.uids[token][1]), "+FLAGS" if on else "-FLAGS",
                                "(%s)" % flag)):
            self.flags[token][flag] = on

    def expunge(self):
        token = self.some()
        if token is None:
            return
        uid = str(self.uids[token][1])
        self.made[token] = "expunge asked"
        if self.ok(self.box.uid("STORE", uid, "+FLAGS", "(\\Deleted)")) and \
                self.ok(self.box.uid("EXPUNGE", uid)):
            self.made[token] = "gone"

    def check(self, boxes, counts, merged=False):
        there = {}
        for box in boxes:
            for m in box.messages:
                token = re.search(rb"X-Token: (\S+)", m.data).group(1).decode()
                there.setdefault(token, []).append((box, m))
                self.reused(token, (box.validity, m.uid), counts)
        for token, state in self.made.items():
            have = there.get(token, [])
            if state == "ok" and not have:
                counts.lost += 1
                counts.notes.append("lost: APPEND %s was answered OK" % token)
            if len(have) > 1:
                counts.duplicated += len(have) - 1
                counts.notes.append("duplicated: APPEND %s" % token)
            if state == "gone" and have and not merged:
                counts.violation("%s was expunged and is back" % token)
            if state == "ok" and have and not merged:
                self.check_one(token, have[0][1], have[0][0], counts)

    def reused(self, token, uid, counts):
        """Was another APPEND told this UID?"""
        for other, told in self.uids.items():
            if told == uid and other != token:
                counts.uid_reused += 1
                counts.notes.append("uid %d of %s was told for %s and names %s now"
                                    % (uid[1], self.user, other, token))

    def check_one(self, token, message, box, counts):
        if (box.validity, message.uid) != self.uids[token]:
            counts.violation("%s: UID %s told, %s seen" % (token, self.uids[token],
                                                          (box.validity, message.uid)))
        for flag, on in self.flags[token].items():
            if on is not None and (flag in message.flags) != on:
                counts.violation("%s: %s was set to %s, answered OK" % (token, flag, on))
