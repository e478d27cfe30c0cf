"""e2e_sessions.py - IMAP sessions and mailboxes across a change of the active node.

What a mail program keeps in its cache must stay true: (UIDVALIDITY, UID) names one
message for ever, UIDNEXT does not go back, flags and deletions do not return.
"""
import imaplib
import re
import smtplib

import exercise
import load
import mailgen
from harness import test
from lab import NODES, VIP, wait_for

FAST = {"syncd": [("rejoin-stable-ms", 500), ("hold-ms", 1000)]}


def _open(lab, user, mailbox="INBOX"):
    box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=20)
    box.login(user, load.PASSWORD)
    typ, data = box.select(mailbox)
    if typ != "OK":
        raise imaplib.IMAP4.error("SELECT: %r" % data)
    return box


def _picture(box):
    """(UIDVALIDITY, UIDNEXT, {uid: (flags without \\Recent, bytes)}) of what is selected."""
    validity, following = (int(box.response(n)[1][0]) for n in ("UIDVALIDITY", "UIDNEXT"))
    found = {}
    typ, data = box.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
    for item in data:
        if isinstance(item, tuple):
            flags = re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).split()
            found[int(re.search(rb"UID (\d+)", item[0]).group(1))] = (
                frozenset(flags) - {b"\\Recent"}, item[1])
    return validity, following, found


def _look(lab, user):
    def body():
        box = _open(lab, user)
        seen = _picture(box)
        box.logout()
        return seen
    return load.in_client(lab, body)


def _send(lab, user, text):
    def body():
        s = smtplib.SMTP(VIP, 25, timeout=20, local_hostname="client.example")
        s.sendmail("a@client.example", [user],
                   b"Subject: %b\r\n\r\n%b\r\n" % (text.encode(), text.encode()))
        s.close()
    load.in_client(lab, body)


def _follows(t, before, after, added):
    """after: the same mailbox later, with nothing but `added` new messages."""
    t.equal(after[0], before[0], "UIDVALIDITY")
    t.true(after[1] >= before[1], "UIDNEXT went from %d to %d" % (before[1], after[1]))
    for uid, (flags, data) in before[2].items():
        t.equal(after[2].get(uid), (flags, data), "flags and bytes of UID %d" % uid)
    fresh = sorted(set(after[2]) - set(before[2]))
    t.equal(len(fresh), added, "new messages")
    t.true(all(before[1] <= uid < after[1] for uid in fresh),
           "new UIDs %r, UIDNEXT was %d, is %d" % (fresh, before[1], after[1]))


def _mark(lab, user):
    """Flags the first, and expunges the second and the last message."""
    def body():
        box = _open(lab, user)
        uids = box.uid("SEARCH", None, "ALL")[1][0].split()
        box.uid("STORE", uids[0], "+FLAGS", "(\\Seen \\Flagged custom)")
        for uid in (uids[1], uids[-1]):
            box.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
        box.expunge()
        box.logout()
        return [int(uids[1]), int(uids[-1])]
    return load.in_client(lab, body)


@test
def uids_after_takeover(t):
    """Deliver, kill the active, deliver: no (UIDVALIDITY, UID) names another message."""
    lab = t.lab(**FAST)
    ex = exercise.Exercise(lab, mailgen.generate(30), say=t.say, users=3)
    ex.add_users()
    ex.run(probes=())
    user, seen, gone = ex.users[0], [], []
    for turn in range(3):
        seen.append(_look(lab, user))
        gone += _mark(lab, user)
        before = _look(lab, user)
        t.true(before[1] >= seen[-1][1], "UIDNEXT after EXPUNGE")
        dead = lab.active()
        lab.kill(dead)
        wait_for("take-over", 30, lambda: lab.active() not in (None, dead), 0.05)
        after = _look(lab, user)
        _follows(t, before, after, 0)
        for n in range(2):
            _send(lab, user, "turn %d number %d" % (turn, n))
        _follows(t, after, _look(lab, user), 2)
        t.true(not set(gone) & set(_look(lab, user)[2]), "expunged messages return")
        lab.power_on(dead)
        lab.wait_in_step(60)
    # Over the whole history: the same number never named different bytes.
    names = {}
    for validity, _, found in seen + [_look(lab, user)]:
        for uid, (_, data) in found.items():
            t.equal(names.setdefault((validity, uid), data), data, "message of UID %d" % uid)


@test
def uids_after_a_lone_active(t):
    """The active goes on alone, dies, and the other is told to take over without what
    the dead one alone had: its UIDs must not name other messages."""
    lab = t.lab(**FAST)
    ex = exercise.Exercise(lab, mailgen.generate(12), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())
    user, active, standby = ex.users[0], lab.active(), lab.standby()
    lab.kill(standby)
    for n in range(3):
        def attempt():
            try:
                _send(lab, user, "alone %d" % n)
                return True
            except (OSError, smtplib.SMTPException):
                return False
        wait_for("an acknowledgement alone", 30, attempt, 0.2)
    alone = _look(lab, user)
    lab.kill(active)
    lab.power_on(standby)

    def forced():
        r = lab.execute(standby, "hactl", "failover", "--to", standby, "--peer-is-off",
                        "--accept-loss", "--yes", check=False)
        return r.returncode == 0
    wait_for("the failover", 60, forced, 0.5)
    wait_for("service", 20, lambda: lab.active() == standby, 0.1)
    for n in range(3):
        _send(lab, user, "other %d" % n)
    other = _look(lab, user)
    t.equal(other[0], alone[0], "UIDVALIDITY")
    for uid in set(alone[2]) & set(other[2]):
        t.equal(other[2][uid][1], alone[2][uid][1], "message of UID %d" % uid)


@test
def session_across_switchover(t):
    """An IMAP client in IDLE hears BYE, comes back, and its cache is true."""
    lab = t.lab(**FAST)
    ex = exercise.Exercise(lab, mailgen.generate(9), say=t.say, users=3)
    ex.add_users()
    ex.run(probes=())
    user = ex.users[0]
    before, box = None, None

    def enter():
        nonlocal box, before
        box = _open(lab, user)
        box.uid("STORE", "1", "+FLAGS", "(\\Seen \\Answered)")
        before = _picture(box)
        box.send(b"I1 IDLE\r\n")
        t.true(box.readline().startswith(b"+"), "IDLE")
    load.in_client(lab, enter)
    to = lab.standby()
    lab.execute(lab.active(), "hactl", "switchover", "--to", to, "--yes")

    def last_words():
        lines = []
        while True:
            line = box.readline()
            if not line:
                return lines
            lines.append(line)
    lines = load.in_client(lab, last_words)
    t.true(any(x.startswith(b"* BYE") for x in lines), "last words: %r" % lines)
    wait_for("the other serves", 20, lambda: lab.active() == to, 0.05)
    after = _look(lab, user)
    _follows(t, before, after, 0)
    _send(lab, user, "after the switchover")
    _follows(t, after, _look(lab, user), 1)
    t.equal(NODES[NODES.index(to)], lab.active(), "still active")
