"""e2e_faults.py - mail flows, something breaks, nothing acknowledged is lost."""
import imaplib
import json
import os
import smtplib
import subprocess
import threading
import time

import exercise
import load
import mailgen
from harness import TOP, test
from lab import NODES, VIP, wait_for

N = int(os.environ.get("N", "400"))
# Long enough that the fault, and what follows it, happens under load.
RATE = 6.0


def _run(t, fault, rejoin=False, count=N, rate=RATE, **kw):
    lab = t.lab(syncd=[("rejoin-stable-ms", 1000), ("hold-ms", 2000)], **kw)
    ex = exercise.Exercise(lab, mailgen.generate(count, seed=len(fault)),
                           fault=exercise.FAULTS[fault], say=t.say, users=6, rate=rate)
    ex.add_users()
    ex.run()
    lab.wait_active()
    results = ex.read_back()
    t.say(ex.last_line(results))
    for name, r in results.items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + ": lost, duplicated, changed")
    t.equal(ex.books.count_acked() >= count, True, "all acknowledged")
    if rejoin:
        lab.wait_in_step(60)
    return lab, ex


def _all_there(t, ex):
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name)


def _taken_over(t, lab, ex, by):
    """The active node dies; the other one serves, with everything."""
    lab.kill(lab.active())
    wait_for("take-over by %s" % by, 30, lambda: lab.active() == by, 0.1)
    _all_there(t, ex)


@test
def kill_active(t):
    lab, ex = _run(t, "kill-active")
    for name in ("smtp", "imap"):
        ms = ex.outage_ms(name)
        t.true(0 <= ms <= 10000, "outage of %s: %d ms, at most 10000 wanted" % (name, ms))
    # The dead node returns, catches up, and can take over in its turn.
    dead = [n for n in ("ha-1", "ha-2") if n not in lab.inits][0]
    lab.power_on(dead)
    lab.wait_in_step(60)
    _taken_over(t, lab, ex, dead)


@test
def kill_active_at_short_deadtime(t):
    """The mail service is up soon after a deadtime of 200 ms: nothing on the way waits for
    the next second of somebody's timer."""
    lab = t.lab(syncd=[("ping-ms", 50), ("rejoin-stable-ms", 200)],
                hagent=[("keepalive-ms", 40), ("serial-keepalive-ms", 80), ("deadtime-ms", 200),
                        ("warntime-ms", 100), ("initdead-ms", 2000)])
    seen = []
    for _ in range(4):
        lab.wait_in_step(60)
        dead = lab.active()
        # The new one's history says how long nobody was heard to serve.
        lab.kill(dead)
        active = lab.wait_active()
        last = json.loads(lab.execute(active, "hactl", "history", "--json").stdout)
        seen.append(last["history"][-1]["outage_ms"])
        lab.power_on(dead)
    t.say("outages in ms: %s" % seen)
    t.true(sorted(seen)[2] < 600, "outages in ms: %s" % seen)


@test
def kill_standby_and_return(t):
    _run(t, "kill-standby", rejoin=True)


@test
def cut_lan_path_between_nodes(t):
    _run(t, "cut-eth1", rejoin=True)


@test
def cut_client_path_of_active(t):
    """The active cannot be reached by clients nor reach its ping target: it hands over."""
    _run(t, "cut-eth0")


@test
def cut_serial(t):
    _run(t, "cut-serial", rejoin=True)


@test
def kill_syncd_of_active(t):
    _run(t, "kill-syncd", rejoin=True)


@test
def kill_syncd_of_standby(t):
    _run(t, "kill-syncd-standby", rejoin=True)


@test
def kill_maild(t):
    """It is back on the node where it was: nothing moves."""
    lab, ex = _run(t, "kill-maild", rejoin=True)
    text = lab.execute(lab.active(), "hactl", "history").stdout
    t.true("resource" not in text, "the group moved: " + text)
    for name in ("smtp", "imap"):
        t.true(0 <= ex.outage_ms(name) <= 2000, "outage of %s: %d ms" % (name, ex.outage_ms(name)))


@test
def kill_agent(t):
    _run(t, "kill-agent", rejoin=True)


@test
def kill_whole_hagentd(t):
    _run(t, "kill-hagentd", rejoin=True)


@test
def switchover_back_and_forth(t):
    _run(t, "switchover", rejoin=True, count=800, rate=4.0)


def _failsync(t):
    """tests/lab/failsync.c as a library."""
    lib = os.path.join(t.folder(), "failsync.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", lib,
                    os.path.join(TOP, "tests/lab/failsync.c")], check=True)
    return lib


@test
def disk_of_active_loses_a_write(t):
    """EIO of one fdatasync: syncd ends, the other node serves, this one catches up."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 1000), ("hold-ms", 2000)], preload=_failsync(t))
    bad = []

    def fault(ex):
        bad.append(lab.active())
        ex.mark_fault()
        lab.lose_sync(bad[0])
        wait_for("syncd ends", 10, lambda: "log lost" in lab.log(bad[0], "syncd"))
        lab.lose_sync(bad[0], False)
    ex = exercise.Exercise(lab, mailgen.generate(N, seed=3), fault=fault, say=t.say, users=6,
                           rate=RATE)
    ex.add_users()
    ex.run()
    t.true(lab.wait_active() != bad[0], "the node with the bad disk serves again")
    lab.wait_in_step(60)
    t.true(lab.active() != bad[0], "it took the service back")
    _all_there(t, ex)


@test
def disk_of_standby_loses_a_write(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 1000), ("hold-ms", 2000)], preload=_failsync(t))
    active, standby = lab.active(), lab.standby()

    def fault(ex):
        ex.mark_fault()
        lab.lose_sync(standby)
        wait_for("syncd ends", 10, lambda: "log lost" in lab.log(standby, "syncd"))
        lab.lose_sync(standby, False)
    ex = exercise.Exercise(lab, mailgen.generate(N, seed=4), fault=fault, say=t.say, users=6,
                           rate=RATE)
    ex.add_users()
    ex.run()
    lab.wait_in_step(60)
    t.equal(lab.active(), active, "the active node")
    _taken_over(t, lab, ex, standby)


def _read_only(t, who, seed):
    """(lab, the node whose disk gets read only under load, the exercise that ran)"""
    lab = t.lab(syncd=[("rejoin-stable-ms", 1000), ("hold-ms", 2000), ("segment-size", "4M"),
                       ("low-water-size", "16M"), ("retain-size", "64M")], var_size="256M",
                maild=[("store-low-water", "16M")])
    node = lab.active() if who == "active" else lab.standby()

    def fault(ex):
        ex.mark_fault()
        lab.disk_read_only(node)
    ex = exercise.Exercise(lab, mailgen.generate(N, seed=seed), fault=fault, say=t.say, users=6,
                           rate=RATE)
    ex.add_users()
    ex.run()
    return lab, node, ex


@test
def disk_of_active_gets_read_only(t):
    """As with errors=remount-ro: it must not go on, nor come back before it was mended."""
    lab, bad, ex = _read_only(t, "active", 41)
    good = NODES[1 - NODES.index(bad)]
    t.equal(lab.wait_active(), good, "the active node")
    _all_there(t, ex)
    t.equal(lab.active(), good, "the active node, later")
    lab.kill(bad)
    lab.power_on(bad)
    lab.wait_in_step(60)
    _taken_over(t, lab, ex, bad)


@test
def disk_of_standby_gets_read_only(t):
    lab, bad, ex = _read_only(t, "standby", 42)
    good = NODES[1 - NODES.index(bad)]
    t.equal(lab.active(), good, "the active node")
    lab.kill(bad)
    lab.power_on(bad)
    lab.wait_in_step(60)
    _taken_over(t, lab, ex, bad)


def _full_standby(t, **syncd):
    """A pair whose standby has no room left and has said so."""
    lab = t.lab(var_size="96M", maild=[("store-low-water", "8M")],
                syncd=[("segment-size", "4M"), ("retain-size", "8M"), ("low-water-size", "16M"),
                       ("rejoin-stable-ms", 500), ("hold-ms", 1000), *syncd.items()])
    ex = exercise.Exercise(lab, mailgen.generate(20), say=t.say, users=2, connections=2)
    ex.add_users()
    standby = lab.standby()
    lab.execute(standby, "/bin/sh", "-c", "dd if=/dev/zero bs=65536 "
                "of=/var/lib/mailpair/ballast 2>/dev/null || true")
    active = lab.active()
    wait_for("it is known", 20, lambda: (lab.status(active) or {}).get("data", {}).get("peer_full"),
             0.05)
    wait_for("check disk", 5, lambda: "the log's disk of %s is full" % standby in lab.execute(
        active, "hactl", "check", "disk", check=False).stdout, 0.1)
    return lab, ex, standby


@test
def full_standby_catches_up_without_mail(t):
    """What was not sent to it reaches it when there is room, though nothing new comes."""
    lab, ex, standby = _full_standby(t)
    active = lab.active()
    mode = lambda: ((lab.status(active) or {}).get("data") or {}).get("mode")
    wait_for("one copy", 20, lambda: mode() == "JOINING", 0.1)
    ex.run(probes=())
    t.equal(mode(), "JOINING", "data while the standby is full")
    lab.execute(standby, "rm", "/var/lib/mailpair/ballast")
    lab.wait_in_step(20)
    _taken_over(t, lab, ex, standby)


@test
def full_standby_under_strict(t):
    """Nothing is accepted without it.  What it was sent in vain waits, and is sent again when
    there is room: nothing newer would ever show that it is missing."""
    lab, ex, standby = _full_standby(t, commit="strict")

    def once():
        with smtplib.SMTP(VIP, 25, timeout=15, local_hostname="client.example") as s:
            try:
                s.sendmail("a@client.example", [ex.users[0]], b"Subject: held\r\n\r\nbody\r\n")
                return 250
            except smtplib.SMTPResponseException as e:
                return e.smtp_code
    for _ in range(2):
        t.equal(load.in_client(lab, once), 451, "answer with one copy only")
    lab.execute(standby, "rm", "/var/lib/mailpair/ballast")
    lab.wait_in_step(20)
    t.equal(load.in_client(lab, once), 250, "answer when there is room")


@test
def slow_disks_fill_the_queue_then_451(t):
    """Neither disk answers for a while: so much mail waits as may wait, more is refused, and
    what was accepted in the end is there."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500)], maild=[("store-pending-max", "1M")],
                preload=_failsync(t))
    ex = exercise.Exercise(lab, mailgen.generate(4), say=t.say, users=1, connections=1)
    ex.add_users()
    ex.run(probes=())
    before = [lab.pid_of(n, s) for n in NODES for s in ("hagentd", "syncd", "maild")]
    active, codes, lock = lab.active(), [], threading.Lock()
    body = (b"x" * 70 + b"\r\n") * 4500

    def send(i):
        lab.enter("client")
        with smtplib.SMTP(VIP, 25, timeout=60, local_hostname="client.example") as s:
            try:
                s.sendmail("a@client.example", [ex.users[0]], b"Subject: waits %d\r\n\r\n" % i + body)
                code = 250
            except smtplib.SMTPResponseException as e:
                code = e.smtp_code
        with lock:
            codes.append(code)
    for node in NODES:
        lab.slow_sync(node, 4000)
    senders = [threading.Thread(target=send, args=(i,)) for i in range(10)]
    for s in senders:
        s.start()
    wait_for("451", 10, lambda: 451 in codes, 0.05)
    t.true(250 not in codes, "accepted before it was on a disk: %r" % codes)
    for node in NODES:
        lab.slow_sync(node, 0)
    for s in senders:
        s.join(60)
    t.say("answers: %r" % sorted(codes))
    t.equal(set(codes), {250, 451}, "answers")
    t.equal(lab.active(), active, "who serves")
    t.equal([lab.pid_of(n, s) for n in NODES for s in ("hagentd", "syncd", "maild")], before,
            "daemons")

    def count():
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=15)
        box.login(ex.users[0], load.PASSWORD)
        box.select("INBOX")
        n = len(box.search(None, "SUBJECT", '"waits"')[1][0].split())
        box.logout()
        return n
    t.true(load.in_client(lab, count) >= codes.count(250), "accepted mail is missing")
    lab.wait_in_step(60)


@test
def strict_without_standby_answers_451(t):
    lab = t.lab(syncd=[("commit", "strict"), ("hold-ms", 1000), ("rejoin-stable-ms", 500)])
    ex = exercise.Exercise(lab, mailgen.generate(20), say=t.say, users=2, connections=2)
    ex.add_users()
    ex.run(probes=())
    standby = lab.standby()
    lab.kill(standby)

    def once():
        s = smtplib.SMTP(VIP, 25, timeout=15, local_hostname="client.example")
        try:
            s.sendmail("a@client.example", [ex.users[0]], b"Subject: held\r\n\r\nbody\r\n")
            return 250, b""
        except smtplib.SMTPResponseException as e:
            return e.smtp_code, e.smtp_error
        finally:
            s.close()
    # The first comes before anybody knows that the standby is gone; the next ones find
    # it known.  Nobody waits much longer than hold-ms.
    for limit_s in (4.0, 1.0, 1.0):
        began = time.monotonic()
        code, text = load.in_client(lab, once)
        t.equal((code, text[:5]), (451, b"4.4.0"), "answer with one copy only")
        t.true(time.monotonic() - began < limit_s,
               "the answer took %.1f s" % (time.monotonic() - began))

    def append():
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=15)
        box.login(ex.users[0], load.PASSWORD)
        answers = [box.append("INBOX", None, None, b"Subject: held\r\n\r\nbody\r\n")]
        box.select("INBOX")
        answers += [box.store("1", "+FLAGS", "\\Flagged"), box.create("Kept"),
                    box.copy("1", "Trash"), box.fetch("1", "(UID)")]
        box.logout()
        return answers
    *changes, fetched = load.in_client(lab, append)
    for what, (typ, data) in zip(("APPEND", "STORE", "CREATE", "COPY"), changes):
        t.equal((typ, b"UNAVAILABLE" in data[0]), ("NO", True), what + " with one copy only")
    t.equal(fetched[0], "OK", "reading goes on")
    r = lab.execute(lab.active(), "mailctl", "domain", "add", "late.example", check=False)
    t.equal(r.returncode, 15, "mailctl with one copy only: " + r.stderr)
    lab.power_on(standby)
    lab.wait_in_step(60)
    t.equal(load.in_client(lab, once)[0], 250, "answer when the standby is back")
    for name, r in ex.read_back().items():
        t.equal(r.lost, 0, name + ": lost")
