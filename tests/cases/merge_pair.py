#!/usr/bin/env python3
"""Two histories become one: two syncds on loopback, with a fake agent and a fake owner
each, which answers what a merge asks of owners.

Usage: [O=build] merge_pair.py [case...]
"""
import json, os, shutil, signal, socket, struct, sys, tempfile, threading

import syncd_pair as base
from syncd_pair import (CLEAN, FORCED, PRESUMED, SHARD, SOLO, SPLIT, INSYNC, SYNC, Ipc, Owner, Pair,
                        owner_ipc)

(APPLIED, SNAPSHOT_DONE, SNAPSHOT_LIST, OFFER_ANSWER, CHANGES, MERGED) = 4, 6, 7, 9, 10, 11
(BATCH_END, SNAPSHOT, OBJECT_OFFERED, INDEX_OFFERED, CHANGES_WANTED, MERGE, THEIRS) = \
    35, 38, 40, 41, 43, 44, 45
VERIFY, VERIFY_STOP = 61, 62
OK, REFUSED, HALF_DONE = 0, 14, 18


class FdIpc(Ipc):
    """The same with descriptors."""

    def __init__(self, path):
        super().__init__(path)
        self.fds = []

    def receive(self):
        while not self.dead:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 4)
            except BlockingIOError:
                break
            except OSError:
                data, fds = b"", []
            self.fds += fds
            if not data:
                self.dead = True
            self.buf += data
        out = []
        while len(self.buf) >= 12:
            n, type_, _, flags, _ = struct.unpack(">IHBBI", self.buf[:12])
            if len(self.buf) < 12 + n:
                break
            out.append((type_, bytes(self.buf[12:12 + n]), self.fds.pop(0) if flags & 1 else -1))
            del self.buf[:12 + n]
        return out

    def send_fd(self, type_, body, data):
        """data: bytes that travel as a file."""
        with tempfile.TemporaryFile() as f:
            f.write(data)
            f.flush()
            f.seek(0)
            self.sock.setblocking(True)
            socket.send_fds(self.sock, [struct.pack(">IHBBI", len(body), type_, 1, 1, 0) + body],
                            [f.fileno()])
            self.sock.setblocking(False)


def content(fd):
    with os.fdopen(fd, "rb") as f:
        f.seek(0)
        return f.read()


def tail_payloads(data):
    """What a tail of records (lib/ownertail.h) holds, without generations."""
    out, at, lsn = [], 0, 0
    while at < len(data):
        n, = struct.unpack(">I", data[at:at + 4])
        record = data[at + 4:at + 4 + n]
        this, _, shard, kind = struct.unpack(">QQHB", record[:19])
        assert shard == SHARD and this > lsn
        lsn = this
        if kind != 0:
            out.append(record[28:])
        at += 4 + n
    return out


class Merger(Owner):
    """An owner whose state is the set of its payloads: a merge proposes those that are
    not there."""

    def __init__(self, node, start=0):
        self.node = node
        self.connect(start)
        self.records, self.acked, self.refused, self.mine = {}, {}, {}, {}
        self.active = self.live = False
        self.gens, self.open = [], set()
        self.prefix, self.count = int.from_bytes(os.urandom(4), "big") >> 1 << 32, 0
        self.fail = self.mute = self.ignore = None
        self.newest = start
        self.asked = self.merges = self.verifies = self.stops = 0
        self.report = None

    def connect(self, start):
        self.ipc = owner_ipc(self.node, FdIpc)
        self.ipc.send(1, struct.pack(">HH", 1, 4) + b"test")
        self.ipc.send(2, struct.pack(">HQ", SHARD, start))

    def poll(self):
        if self.ipc.dead and self.node.process is not None:
            self.connect(self.newest)       # as lib/owner.c does
        for type_, body, fd in self.ipc.receive():
            if type_ == CHANGES_WANTED:
                self.changes(body, fd)
            elif type_ == MERGE:
                self.merge_head = struct.unpack(">HQBB", body[:12])
                self.stamp = body[14:].decode()
                self.own_tail = tail_payloads(content(fd))
            elif type_ == THEIRS:
                self.merge(content(fd))
            elif type_ == SNAPSHOT:
                self.snapshot()
            elif type_ == INDEX_OFFERED:
                self.install(struct.unpack(">HQ", body)[1], content(fd))
            elif type_ in (VERIFY, VERIFY_STOP):     # it never answers
                self.verifies += type_ == VERIFY
                self.stops += type_ == VERIFY_STOP
            elif type_ == BATCH_END:
                self.ipc.send(APPLIED, struct.pack(">HQ", SHARD, self.newest))
            else:
                assert fd == -1
                if type_ in (33, 34):       # also generations
                    self.newest = struct.unpack(">Q", body[8:16] if type_ == 34 else body[:8])[0]
                self.plain(type_, body)
        if self.open and all(o in self.acked or o in self.refused for o in self.open):
            ok = all(o in self.acked for o in self.open)
            self.open = set()
            self.end(ok)

    def plain(self, type_, body):
        ipc, self.ipc = self.ipc, None
        self.ipc = type("One", (), {"receive": lambda _: [(type_, body)]})()
        try:
            super().poll()
        finally:
            self.ipc = ipc

    def changes(self, body, fd):
        shard, fork, whole = struct.unpack(">HQB", body)
        assert shard == SHARD
        self.asked += 1
        self.tail = tail_payloads(content(fd))
        self.fork, self.whole = fork, whole
        if self.fail == "changes":
            self.ipc.send(CHANGES, struct.pack(">HB", SHARD, 0))
            return
        # What is applied by now: the whole log of this node is.
        mine = [p.hex() for lsn, p in sorted(self.records.items()) if lsn > fork]
        self.said = mine
        self.ipc.send_fd(CHANGES, struct.pack(">HB", SHARD, 1), json.dumps(mine).encode())

    def merge(self, theirs):
        _, fork, whole, dry = self.merge_head
        have = set(self.records.values())
        new = [bytes.fromhex(p) for p in json.loads(theirs) if bytes.fromhex(p) not in have]
        self.merges += 1
        self.report = {"added": len(new), "winner_changes": len(self.own_tail)}
        if self.fail == "merge":
            self.report = {"error": "as the test wants it"}
            self.end(False)
        elif self.mute:
            pass
        elif dry or not new or self.ignore:
            self.end(True)
        else:
            self.open = {self.append(p) for p in new}

    def end(self, ok):
        self.ipc.send(MERGED, struct.pack(">HB", SHARD, ok) + json.dumps(self.report).encode())

    def snapshot(self):
        lsn = max(self.records) if self.records else 0
        data = json.dumps({lsn: p.hex() for lsn, p in self.records.items()}).encode()
        self.ipc.send_fd(SNAPSHOT_DONE, struct.pack(">HQB", SHARD, lsn, 1), data)
        self.ipc.send_fd(SNAPSHOT_LIST, struct.pack(">HB", SHARD, 1), b"")

    def install(self, lsn, data):
        self.records = {int(k): bytes.fromhex(v) for k, v in json.loads(data).items()}
        self.newest = lsn
        self.ipc.send(OFFER_ANSWER, struct.pack(">HB", SHARD, 1))
        self.ipc.send(2, struct.pack(">HQ", SHARD, lsn))


base.Owner = Merger


class Ask(threading.Thread):
    """A request that takes its time, while the fakes go on."""

    def __init__(self, node, op, **more):
        super().__init__(daemon=True)
        self.node, self.op, self.more, self.answer = node, op, more, None
        self.start()

    def run(self):
        self.answer = self.node.ctl(self.op, **self.more)


def ask(p, node, op, **more):
    a = Ask(node, op, **more)
    p.until(op, lambda: a.answer is not None, 30)
    return a.answer


def part(p, big=0, alone=10, trim=False):
    """Both acknowledged alone; node 1 is the active one when they meet again.  trim: the
    place where they parted is not in the other one's log any more."""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 20, prefix=b"both"))
    p.equal()
    a.agent.grant_alone = PRESUMED
    b.kill()
    p.settled(a.owner, p.load(a.owner, alone, prefix=b"A"))
    p.settled(a.owner, p.load(a.owner, big, size=900000, prefix=b"big"))
    if trim:
        a.owner.ipc.send(5, struct.pack(">HQ", SHARD, max(a.owner.records)))
        p.until("trimmed", lambda: a.ctl("sync-status")["status"]["oldest_lsn"] > 30, 30)
    a.kill()
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    p.settled(b.owner, p.load(b.owner, 7, prefix=b"B"))
    a.start()
    p.until("split", lambda: a.agent.state.get("mode") == SPLIT)
    p.until("known", lambda: b.ctl("split-show")["split"])
    return a, b


def case_merge(p):
    """what the loser acknowledged is in the winner's log; then the loser follows it"""
    a, b = part(p)
    alone = [x for x in a.owner.records.values() if x.startswith(b"A")]
    before = dict(b.owner.records)
    show = b.ctl("split-show")
    assert show["split"] and not show["here"], show
    assert a.ctl("split-show")["here"]
    assert ask(p, a, "split-resolve")["exit"] == REFUSED

    dry = ask(p, b, "split-resolve", dry_run=True)
    assert dry["exit"] == OK and dry["dry_run"] and dry["totals"]["added"] == 10, dry
    assert dry["totals"]["winner_changes"] == 7, dry
    assert b.owner.records == before and a.agent.state.get("mode") == SPLIT
    assert not [f for f in os.listdir(a.log + "/forks") if f.startswith("split")]

    done = ask(p, b, "split-resolve")
    assert done["exit"] == OK and done["totals"]["added"] == 10, done
    have = list(b.owner.records.values())
    assert not [x for x in alone if have.count(x) != 1], "lost or doubled"
    assert all(b.owner.records[lsn] == x for lsn, x in before.items())
    assert a.owner.whole == 1 and a.owner.tail == alone and len(a.owner.said) == 10
    p.in_step(1, 20)
    p.equal()
    assert not b.ctl("split-show")["split"] and not os.path.exists(a.log + "/seeding")
    fork, = [f for f in os.listdir(a.log + "/forks") if f.startswith("split")]
    kept = sorted(os.listdir("%s/forks/%s" % (a.log, fork)))
    assert kept == ["shard-%d" % SHARD, "tail"], kept
    with open("%s/forks/%s/shard-%d" % (a.log, fork, SHARD)) as f:
        assert json.load(f) == a.owner.said
    # and the pair works on, in two copies, also after a restart of who gave way
    a.kill()
    a.start()
    p.in_step(1, 20)
    origins = p.load(b.owner, 5)
    p.settled(b.owner, origins)
    assert all(b.owner.acked[o][2] == 2 for o in origins)
    p.equal()


def case_merge_longer(p):
    """the loser's log is longer than what comes of the merge: nothing of it is seen again"""
    longer(p, *part(p, alone=60))


def case_merge_longer_trimmed(p):
    """the same when it cannot be cut where they parted"""
    longer(p, *part(p, alone=30, big=30, trim=True))
    assert p.nodes[0].owner.whole == 0


def longer(p, a, b):
    known = set(a.owner.records.values()) | set(b.owner.records.values())
    b.owner.ignore = True       # merges nothing: the winner's log stays short
    assert ask(p, b, "split-resolve")["exit"] == OK
    p.in_step(1, 20)
    short = max(b.owner.records)
    p.until("seeded", lambda: a.owner.records == b.owner.records, 10)
    assert short < 40 and set(a.owner.records.values()) < known
    # Numbers that its old log had too, one by one: each is seen once, and in both.
    for n in range(60):
        p.settled(b.owner, p.load(b.owner, 1, prefix=b"later%d" % n))
    p.equal()
    assert max(b.owner.records) > short + 50
    with open(a.dir + "/stderr") as f:
        assert "the log is another one now" in f.read()


def case_merge_again(p):
    """a merge that stops at its end changes nothing there, and adds nothing the next time"""
    a, b = part(p)
    b.owner.mute = True             # the owner never answers, and goes away
    wait = Ask(b, "split-resolve")
    p.until("merging", lambda: b.owner.merges == 1)
    assert ask(p, b, "split-resolve")["error"] == "a merge is running"
    b.owner.ipc.close()
    b.attach()
    p.until("answer", lambda: wait.answer is not None)
    assert wait.answer["exit"] == REFUSED and "went away" in wait.answer["error"], wait.answer
    assert a.agent.state.get("mode") == SPLIT
    p.serving(1)
    b.owner.fail = "merge"
    bad = ask(p, b, "split-resolve")
    assert bad["exit"] == REFUSED and "as the test wants it" in bad["error"], bad
    b.owner.fail = None
    a.owner.fail = "changes"
    bad = ask(p, b, "split-resolve")
    assert bad["exit"] == REFUSED and "could not say" in bad["error"], bad
    a.owner.fail = None
    # the loser dies between its last word and the winner's
    b.owner.mute = True
    wait = Ask(b, "split-resolve")
    p.until("merging", lambda: b.owner.merges == 2)
    a.kill()
    p.until("answer", lambda: wait.answer is not None)
    assert wait.answer["exit"] == REFUSED, wait.answer
    a.start()
    p.until("split", lambda: a.agent.state.get("mode") == SPLIT)
    # its answer comes late, and is not taken for one to what is asked next
    again = ask(p, b, "split-resolve")
    assert again["exit"] == 13 and "still works" in again["error"], again
    b.owner.mute = False
    b.owner.end(True)
    for _ in range(50):         # it comes by another socket
        done = ask(p, b, "split-resolve")
        if done["exit"] != 13:
            break
    assert done["exit"] == OK and done["totals"]["added"] == 10, done
    p.in_step(1, 20)
    p.equal()
    have = list(b.owner.records.values())
    assert len(have) == len(set(have)) == 37, len(have)


def case_merge_power_cut(p):
    """the loser is cut off right behind its mark: it is seeded, and nothing is doubled"""
    a, b = part(p)
    done = ask(p, b, "split-resolve")
    assert done["exit"] == OK
    a.kill()
    assert os.path.exists(a.log + "/seeding") or a.agent.state.get("mode") in (INSYNC, 1)
    a.start(attach=False)
    # its index is still that of before: it says so, and gets a new one
    a.owner = Merger(a, 40)
    p.in_step(1, 20)
    p.equal()
    have = list(b.owner.records.values())
    assert len(have) == len(set(have)) == 37, len(have)


def case_merge_big(p):
    """a tail of many megabytes, in pieces, while the winner goes on serving"""
    a, b = part(p, big=20)
    wait = Ask(b, "split-resolve")
    origins = []
    p.until("asked", lambda: a.owner.asked > 0, 20)
    while wait.answer is None:
        origins += p.load(b.owner, 5)
        p.run_for(0.02)
    assert wait.answer["exit"] == OK and wait.answer["totals"]["added"] == 30, wait.answer
    p.settled(b.owner, origins)
    assert all(o in b.owner.acked for o in origins)
    p.in_step(1, 30)
    p.equal()


def case_merge_trimmed(p):
    """the winner has trimmed the fork: the owners hear that their tail is not whole"""
    a, b = part(p)
    p.settled(b.owner, p.load(b.owner, 30, size=900000, prefix=b"C"))
    b.owner.ipc.send(5, struct.pack(">HQ", SHARD, max(b.owner.records)))
    p.until("trimmed", lambda: b.ctl("sync-status")["status"]["oldest_lsn"] > 30, 30)
    done = ask(p, b, "split-resolve")
    assert done["exit"] == OK and done["totals"]["added"] == 10, done
    assert b.owner.merge_head[2] == 0 and a.owner.whole == 1
    p.in_step(1, 20)
    p.equal()


def case_owner_hangs(p):
    """the owner of a shard takes a merge, or a look through, and says nothing more: both end"""
    a, b = part(p)
    b.owner.mute = True
    done = ask(p, b, "split-resolve")
    assert done["exit"] == REFUSED and "owner-stall-s" in done["error"], done
    assert "shard %d" % SHARD in done["error"], done
    # It still owes an answer; when it is there anew the merge goes on.
    b.owner.ipc.close()
    b.owner.mute = False
    p.serving(1)
    done = ask(p, b, "split-resolve")
    assert done["exit"] == OK and done["totals"]["added"] == 10, done
    p.in_step(1, 20)
    done = ask(p, b, "sync-verify")
    assert done["exit"] == HALF_DONE, done
    assert any("owner-stall-s" in x for x in done["verify"]["not_looked_at"]), done
    assert b.owner.stops == 1


def case_verify_interrupted(p):
    """who asked for a look through goes away: it ends, and the owner is told"""
    a, b = p.start()
    s = socket.socket(socket.AF_UNIX)
    s.connect(a.run + "/syncd.sock")
    s.sendall(b'{"op": "sync-verify"}\n')
    p.until("asked", lambda: a.owner.verifies == 1)
    s.close()
    p.until("told", lambda: a.owner.stops == 1)

    def verify():
        return a.ctl("sync-status")["status"]["verify"]
    p.until("ended", lambda: not verify()["running"])
    assert any("who asked is gone" in x for x in verify()["last"]["not_looked_at"]), verify()


def case_numbers_taken(p):
    """a node alone made only generations, which its owners have applied: what the other one
    wrote under the same numbers is not lost there"""
    a, b = p.start()
    p.settled(a.owner, p.load(a.owner, 20, prefix=b"both"))
    p.equal()
    a.agent.grant_alone = PRESUMED
    b.kill()
    p.until("alone", lambda: a.agent.state.get("mode") == SOLO)
    for _ in range(2):
        had = dict(a.owner.records)
        a.kill()
        a.start(attach=False)
        a.owner = Merger(a, max(had))
        a.owner.records = had
        p.promote(0, PRESUMED)
        p.until("applied", lambda: a.owner.active and a.owner.newest == a.agent.state["commit"])
    applied, had = a.owner.newest, dict(a.owner.records)
    assert not [x for x in had.values() if not x.startswith(b"both")]
    a.kill()
    b.start()
    p.promote(1, FORCED)
    p.serving(1)
    p.settled(b.owner, p.load(b.owner, 10, prefix=b"B"))
    before = {lsn: x for lsn, x in b.owner.records.items() if lsn <= applied}
    assert [x for x in before.values() if x.startswith(b"B")], "no number is taken twice"
    a.start(attach=False)
    a.owner = Merger(a, applied)        # as it says after a restart
    a.owner.records = had
    p.in_step(1, 20)
    p.equal()


base.CASES.clear()
base.CASES.update({n[5:]: f for n, f in list(globals().items()) if n.startswith("case_")})
base.OPTIONS.clear()
base.OPTIONS.update({n: {"hold-ms": 200, "silent-ms": 5000} for n in base.CASES})
base.OPTIONS["owner_hangs"]["owner-stall-s"] = 3
base.OPTIONS["merge_trimmed"]["retain-size"] = '"8M"'
base.OPTIONS["merge_longer_trimmed"]["retain-size"] = '"8M"'

if __name__ == "__main__":
    base.main()
