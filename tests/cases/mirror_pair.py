#!/usr/bin/env python3
"""Mirror passes between two syncds on loopback (see syncd_pair.py, whose pair this is).

Usage: [O=build] [SYNCD_USER=name] mirror_pair.py [case...]
Both nodes of a pair name a tree by the same path; here that is /proc/self/cwd/tree, and
each syncd runs in its own folder.  Trees are compared by a walk of our own and, where it
is installed, by rsync.
"""
import hashlib, json, mailbox, os, random, shutil, signal, stat, subprocess, threading

import syncd_pair
from syncd_pair import now

TREE = "/proc/self/cwd/tree"


def mirror(path=TREE, **options):
    lines = {"interval-s": "0", "max-delete-percent": "50"}
    lines.update({k.replace("_", "-"): v for k, v in options.items()})
    return {'mirror "%s"' % path: "{ %s }" % "\n".join("%s = %s" % i for i in lines.items())}


def tree(node, name="tree"):
    path = os.path.join(node.dir, name)
    os.makedirs(path, exist_ok=True)
    return path


def start(p, *names):
    for n in p.nodes:
        for name in names or ("tree",):
            os.chmod(tree(n, name), 0o755)
            user = os.environ.get("SYNCD_USER")
            if user:
                shutil.chown(tree(n, name), user)
    return p.start()


def sync(node, timeout=25, **request):
    """The rows of a dry run, the passes, and the last line."""
    lines = node.ask(dict(request, op="sync-now"), timeout)
    parts = [x["part"] for x in lines[:-1]]
    return ([x for x in parts if "what" in x], [x for x in parts if "outcome" in x], lines[-1])


def sync_ok(node, **request):
    rows, passes, last = sync(node, **request)
    assert last["exit"] == 0, last
    return passes[0]


def entry(path, links):
    st = os.lstat(path)
    what = [stat.S_IFMT(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns]
    if stat.S_ISLNK(st.st_mode):
        return what + [os.readlink(path)]
    what.append(st.st_mode & 0o7777)
    what += sorted((k, os.getxattr(path, k)) for k in os.listxattr(path)
                   if k != "security.selinux")
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as f:
            what += [st.st_size, hashlib.sha256(f.read()).hexdigest()]
        what.append(links.setdefault(st.st_ino, os.fsencode(path)[links["root"]:]))
    elif not stat.S_ISDIR(st.st_mode):
        what.append(st.st_rdev)
    return what


def listing(root):
    root = os.fsencode(root)
    out, links = {}, {"root": len(root)}
    for at, dirs, files in os.walk(root):
        if at == root and b".mailpair-held" in dirs:
            dirs.remove(b".mailpair-held")
        dirs.sort()
        for name in [b""] + sorted(files) + [d for d in dirs]:
            path = os.path.join(at, name) if name else at
            out[path[len(root):]] = entry(path, links)
    return out


def compare(a, b):
    """Nothing may differ, by our own walk and by rsync's."""
    x, y = listing(a), listing(b)
    different = [k for k in sorted(set(x) | set(y)) if x.get(k) != y.get(k)]
    assert not different, [(k, x.get(k), y.get(k)) for k in different[:5]]
    if shutil.which("rsync") is None:
        return "compared without rsync, which is not installed"
    told = subprocess.run(["rsync", "-aHAXn", "--delete", "--itemize-changes",
                           "--exclude=/.mailpair-held", a + "/", b + "/"],
                          stdout=subprocess.PIPE, check=True).stdout
    assert told == b"", told
    return "compared by rsync too"


def put(root, name, data, mtime=None):
    path = os.path.join(os.fsencode(root), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    if mtime is not None:
        os.utime(path, ns=(mtime, mtime))
    return path


# ---- cases ---------------------------------------------------------------------

def case_dry_run(p):
    """a dry run lists what the next pass does, and nothing changes on the standby"""
    a, b = start(p)
    src, dst = tree(a), tree(b)
    for i in range(30):
        put(src, "d%d/f%d" % (i % 3, i), b"x" * i)
    put(src, b"odd \xff\n", b"odd")
    sync_ok(a)
    compare(src, dst)
    before = listing(dst)
    os.unlink(src + "/d0/f3")
    put(src, "d1/f1", b"changed content")
    put(src, "new/file", b"new")
    os.symlink("file", src + "/new/link")
    os.link(src + "/d1/f4", src + "/new/hard")
    os.chmod(src + "/d2/f2", 0o600)
    os.unlink(os.fsencode(src) + b"/odd \xff\n")
    rows, passes, last = sync(a, dry_run=True)
    assert last["exit"] == 0 and passes[0]["dry_run"] == 1, last
    seen = {(r["what"], r["type"], r["path"]) for r in rows if r["type"] != "directory"}
    assert seen == {
        ("delete", "file", "d0/f3"), ("content", "file", "d1/f1"),
        ("create", "file", "new/file"), ("create", "symbolic link", "new/link"),
        ("link", "hard link", "new/hard"), ("metadata", "file", "d2/f2"),
        ("delete", "file", "odd \\xff\\x0a")}, seen
    assert ("create", "directory", "new") in {(r["what"], r["type"], r["path"]) for r in rows}
    odd = [r for r in rows if "path_hex" in r]
    assert [bytes.fromhex(r["path_hex"]) for r in odd] == [b"odd \xff\n"], odd
    assert all(r["tree"] == TREE for r in rows)
    assert listing(dst) == before, "a dry run changed something"
    assert a.ctl("sync-status")["status"]["mirror"]["trees"][0]["last"]["dry_run"] == 0
    # It says what the guard would say.
    shutil.rmtree(src + "/d2")
    shutil.rmtree(src + "/d0")
    rows, passes, last = sync(a, dry_run=True)
    assert last["exit"] == 14 and "--accept-deletes" in last["hint"], last
    assert len([r for r in rows if r["what"] == "delete"]) >= 22, rows
    assert listing(dst) == before, "a dry run changed something"
    rows, passes, last = sync(a)
    assert last["exit"] == 14 and listing(dst) == before, last
    assert sync_ok(a, accept_deletes=True)["deleted"] >= 22
    compare(src, dst)
    # Many rows, and a client that reads them slowly: nothing waits for ever.
    for i in range(5000):
        put(src, "many/%s-%d" % ("n" * 150, i), b"")
    rows, passes, last = sync(a, dry_run=True)
    assert last["exit"] == 0 and len(rows) >= 5001, len(rows)


def hactl(node, *args):
    tool = os.path.join(syncd_pair.TOP, os.environ.get("O", "build"), "hactl")
    r = subprocess.run([tool, *args, "--run-dir", node.run], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=60)
    return r.returncode, r.stdout.decode()


def case_dry_run_by_hactl(p):
    """hactl sync now --dry-run: one line each, in text and as JSON"""
    a, b = start(p)
    put(tree(a), "one\nline", b"x")
    put(tree(a), "two", b"x")
    code, text = hactl(a, "sync", "now", "--dry-run")
    lines = [x.split(None, 2) for x in text.splitlines() if x.startswith("create ")]
    assert (code, lines) == (0, [["create", "file", TREE + "/one\\x0aline"],
                                 ["create", "file", TREE + "/two"]]), (code, lines, text)
    code, text = hactl(a, "sync", "now", "--dry-run", "--json")
    rows = [json.loads(x) for x in text.splitlines()]
    assert code == 0 and [r["path"] for r in rows if r.get("what") == "create"] == \
        ["one\nline", "two"], text
    assert os.listdir(tree(b)) == [], os.listdir(tree(b))
    code, text = hactl(a, "sync", "now")
    assert code == 0, text
    compare(tree(a), tree(b))


def case_several(p):
    """several trees, each with its own rules: includes, excludes, special files"""
    a, b = start(p, "tree", "tree2")
    one, two = tree(a), tree(a, "tree2")
    for root in (one, two):
        for name in ("a.tmp", "keep.tmp", "d/b.tmp", "d/c", "cache/x"):
            put(root, name, name.encode())
        os.mkfifo(root + "/pipe")
    put(tree(b), "mine.tmp", b"stays")
    rows, passes, last = sync(a)
    assert last["exit"] == 0 and [x["path"] for x in passes] == [TREE, TREE + "2"], last
    got = sorted(os.fsdecode(k) for k in listing(tree(b)))
    assert got == ["", "/d", "/d/c", "/keep.tmp", "/mine.tmp"], got
    compare(two, tree(b, "tree2"))
    put(one, "d/c", b"changed")
    put(two, "d/c", b"changed")
    passes = sync(a, path=TREE + "2")[1]
    assert [x["path"] for x in passes] == [TREE + "2"], passes
    compare(two, tree(b, "tree2"))
    with open(tree(b) + "/d/c") as f:
        assert f.read() == "d/c", "a pass of the other tree"
    assert sync(a, path="/nowhere")[2]["exit"] == 12
    assert sync_ok(a, path=TREE)["changed"] == 1


RATE = 1 << 20


def case_bandwidth(p):
    """bandwidth-limit holds for a pass, to 10 %, and the log does not feel it"""
    a, b = start(p)
    size = 6 * RATE
    put(tree(a), "noise", os.urandom(size))
    begun = now()
    done = []
    t = threading.Thread(target=lambda: done.append(sync(a)), daemon=True)
    t.start()
    worst, count = 0.0, 0
    while t.is_alive():
        begin, o = now(), a.owner.append(b"x" * 500)
        p.settled(a.owner, [o])
        worst, count = max(worst, now() - begin), count + 1
    took = now() - begun
    rows, passes, last = done[0]
    assert last["exit"] == 0, last
    rate = passes[0]["bytes_sent"] / took
    print("   %.0f bytes/s of %d; %d commits meanwhile, the slowest %.0f ms" %
          (rate, RATE, count, worst * 1e3))
    # What a pass needs besides sending (it begins, syncs, ends) counts as well.
    assert rate < 1.1 * RATE, rate
    assert took < 1.1 * size / RATE + 1.5, took
    assert count > 50 and worst < 2, (count, worst)
    compare(tree(a), tree(b))


def case_cut_line(p):
    """the connection is cut in the middle, again and again: nothing is sent twice"""
    a, b = start(p)
    size = 4 * RATE
    put(tree(a), "noise", os.urandom(size))
    for i in range(40):
        put(tree(a), "small/%d" % i, os.urandom(5000))
    sent, cuts, b_pid = 0, 0, b.process.pid
    while True:
        done = []
        t = threading.Thread(target=lambda: done.append(sync(a)), daemon=True)
        t.start()
        end = now() + 1.2 if cuts < 3 else now() + 30
        while t.is_alive() and now() < end:
            p.run_for(0.02)
        if t.is_alive():
            # Silent for longer than silent-ms: every connection of the pair is dropped.
            os.kill(b_pid, signal.SIGSTOP)
            p.until("cut", lambda: not a.ctl("sync-status")["status"]["peer"]["connected"])
            os.kill(b_pid, signal.SIGCONT)
            p.until("joined", lambda: a.agent.state.get("mode") == syncd_pair.SYNC, 20)
            cuts += 1
        t.join(30)
        rows, passes, last = done[0]
        sent += passes[0]["bytes_sent"] if passes else 0
        if last["exit"] == 0:
            break
        assert last["exit"] in (15, 18), last
        assert cuts < 8
    print("   %d cuts, %d bytes sent for %d" % (cuts, sent, size + 40 * 5000))
    assert cuts >= 2
    # Sent and not arrived: what filled the sockets and buffers at each cut.
    assert sent < size + 40 * 5000 + cuts * (3 << 20) + RATE // 4, sent
    literal = passes[0]["literal_bytes"]
    assert literal < size - RATE, "the last pass began anew: %d" % literal
    compare(tree(a), tree(b))


class MailProgram(threading.Thread):
    """Deliveries, flags, moves and expunges in Maildirs, by Python's mailbox module, and
    what Dovecot keeps beside them: a log that grows, a list that is replaced."""

    def __init__(self, root, seed):
        super().__init__(daemon=True)
        self.root, self.random, self.ends = root, random.Random(seed), False
        self.error, self.count = None, 0
        self.bodies = {}        # unique part of the name -> digests of its content
        self.boxes = []
        for user in ("alice", "bob", "carol"):
            os.mkdir("%s/%s" % (root, user))
            box = mailbox.Maildir("%s/%s/Maildir" % (root, user), create=True)
            self.boxes += [box, box.add_folder("Sent"), box.add_folder("Archiv.2026")]

    def deliver(self, box, large=False):
        text = "From: a@x.example\nTo: b@x.example\nSubject: %d\n\n" % self.count
        text += "".join("line %d of the message\n" % self.random.randrange(10 ** 9)
                        for _ in range(self.random.randrange(5, 20000 if large else 200)))
        key = box.add(text)
        with open(self.path(box, key), "rb") as f:
            self.bodies[key] = hashlib.sha256(f.read()).hexdigest()

    def path(self, box, key):
        return os.path.join(box._path, box._lookup(key))

    def step(self):
        box = self.random.choice(self.boxes)
        keys = list(box.keys())
        what = self.random.random()
        if what < 0.45 or len(keys) < 5:
            self.deliver(box, self.random.random() < 0.02)
        elif what < 0.80:
            key = self.random.choice(keys)
            m = mailbox.MaildirMessage()
            message = box.get_message(key)
            message.set_subdir("cur")
            message.set_flags("".join(sorted(self.random.sample("FRSDT", 2))))
            old = self.path(box, key)
            new = os.path.join(box._path, "cur", key + ":" + message.get_info())
            os.rename(old, new)
        elif what < 0.87:
            box.discard(self.random.choice(keys))
        elif what < 0.93:
            key, to = self.random.choice(keys), self.random.choice(self.boxes)
            if to is not box:       # as Dovecot copies
                os.link(self.path(box, key), "%s/cur/%s.copy%d:2,S" % (to._path, key, self.count))
                self.bodies["%s.copy%d" % (key, self.count)] = self.bodies[key.split(".copy")[0]] \
                    if key not in self.bodies else self.bodies[key]
        else:
            with open(box._path + "/dovecot.index.log", "ab") as f:
                f.write(os.urandom(200))
            with open(box._path + "/dovecot-uidlist.lock", "wb") as f:
                f.write(("3 V1 N%d\n" % self.count).encode() * 20)
            os.rename(box._path + "/dovecot-uidlist.lock", box._path + "/dovecot-uidlist")
        self.count += 1

    def run(self):
        try:
            while not self.ends:
                self.step()
        except Exception as e:      # shown by the case
            self.error = e


def messages(root):
    for at, _, files in os.walk(root):
        if os.path.basename(at) in ("cur", "new") and "/.mailpair-held/" not in at + "/":
            for name in files:
                if not name.startswith(".mailpair.tmp."):
                    yield name.split(":")[0], os.path.join(at, name)


def case_maildir(p):
    """Maildirs under deliveries, flag changes, moves and expunges: whole at any time, equal
    at the end"""
    a, b = start(p)
    src, dst = tree(a), tree(b)
    mail = MailProgram(src, 4)
    for _ in range(600):
        mail.step()
    sync_ok(a)
    print("   %s" % compare(src, dst))
    mail.start()
    passes, vanished, moved = 0, 0, 0
    end = now() + 4
    while now() < end or passes < 4:
        rows, done, last = sync(a)
        assert last["exit"] == 0, last
        passes, vanished = passes + 1, vanished + done[0]["vanished"]
        moved += done[0]["moved"]
        for key, path in messages(dst):
            with open(path, "rb") as f:
                got = hashlib.sha256(f.read()).hexdigest()
            assert got == mail.bodies[key], "torn: %s" % path
    mail.ends = True
    mail.join()
    if mail.error is not None:
        raise mail.error
    sync_ok(a)
    print("   %d passes during %d changes, %d got another name, %d files went under way; %s" %
          (passes, mail.count - 600, moved, vanished, compare(src, dst)))
    assert moved > 20, moved
    # All is read at once: every name in it changes, and nobody has to say that this is right.
    for box in mail.boxes:
        for key in list(box.keys()):
            os.rename(mail.path(box, key), "%s/cur/%s:2,ST" % (box._path, key))
    done = sync_ok(a)
    total = sum(os.path.getsize(path) for _, path in messages(dst))
    # Messages that have several names are copied anew; the others are not.
    assert done["literal_bytes"] < total / 2 and done["moved"] > 100, (total, done)
    compare(src, dst)
    assert mail.count > 650, mail.count


CASES = {n[5:]: f for n, f in list(globals().items()) if n.startswith("case_")}
OPTIONS = {"*": mirror(),
           "several": dict(mirror(exclude='{ "*.tmp", "/cache" }', include='{ "keep.tmp" }',
                                  special_files="false"), **mirror(TREE + "2")),
           "bandwidth": dict(mirror(), **{"bandwidth-limit": '"1M"', "hold-ms": 5000,
                                          "silent-ms": 3000}),
           "cut_line": dict(mirror(), **{"bandwidth-limit": '"1M"', "hold-ms": 60000}),
           "maildir": dict(mirror(max_delete_percent="5"), **{"silent-ms": 3000, "hold-ms": 5000}),
           "dry_run": dict(mirror(), **{"silent-ms": 3000, "hold-ms": 5000})}

if __name__ == "__main__":
    syncd_pair.main(CASES, OPTIONS, "mirror_pair")
