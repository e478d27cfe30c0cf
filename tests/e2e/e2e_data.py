"""e2e_data.py - the data link: mirror, seeding, full disk, restarts of everything."""
import imaplib
import json
import os
import poplib
import re
import shutil
import smtplib
import sqlite3
import time

import exercise
import load
import mailgen
from harness import test
from lab import NODES, VIP, wait_for


@test
def mirror_makes_a_tree_equal(t):
    lab = t.lab(syncd=[("mirror", "/var/lib/mailpair/tree", [("interval-s", 300)])],
                in_step=False)
    active = lab.wait_in_step(60)
    standby = lab.standby()

    def sh(node, text):
        return lab.execute(node, "/bin/sh", "-c", text).stdout
    tree = "/var/lib/mailpair/tree"
    # What a pass deleted is held in a folder that is not part of the mirror; making it
    # may change the time of the tree's own folder, which is no entry of the tree.
    only = "-mindepth 1 -path ./.mailpair-held -prune -o"
    listing = "cd %s && find . %s -printf '%%P %%y %%m %%U %%G %%T@ %%l\\n' | sort && " \
        "find . %s -type f -exec sha256sum {} + | sort; stat -c '%%A %%u %%g' ." \
        % (tree, only, only)
    sh(active, "mkdir -p %s/a/b && cd %s && head -c 3000000 /dev/urandom > big && "
       "for i in $(seq 200); do echo $i > a/f$i; done && ln -s f1 a/link && ln a/f2 a/hard && "
       "chmod 640 a/f3 && chown 64002:64000 a/f4 && mkdir 'a/b/odd name' && : > a/empty"
       % (tree, tree))
    lab.execute(active, "hactl", "sync", "now", "--timeout", "60")
    t.equal(sh(standby, listing), sh(active, listing), "the trees after the first pass")
    sh(active, "cd %s && printf x | dd of=big bs=1 seek=1000000 conv=notrunc 2>/dev/null && "
       "rm a/f9 && mv a/f8 a/f8new && chmod 600 a/f10 && echo more >> a/f11" % tree)
    lab.execute(active, "hactl", "sync", "now", "--timeout", "60")
    t.equal(sh(standby, listing), sh(active, listing), "the trees after the second pass")
    # The source loses nearly everything: refused, with a reason.
    sh(active, "cd %s && rm -rf a" % tree)
    r = lab.execute(active, "hactl", "sync", "now", "--timeout", "60", check=False)
    t.true(r.returncode != 0 and tree in r.stderr, "a pass that deletes much: exit %d: %s"
           % (r.returncode, r.stderr))
    t.true("a/f11" in sh(standby, "cd %s && find . -path ./a/f11 -printf %%P" % tree), "it is kept")
    r = lab.execute(standby, "hactl", "sync", "now", "--accept-deletes", check=False)
    t.equal(r.returncode, 14, "sync now on the standby")
    t.true("run it on %s" % active in r.stderr, "it says where to run it: " + r.stderr)
    lab.execute(active, "hactl", "sync", "now", "--path", tree, "--accept-deletes")
    t.equal(sh(standby, listing), sh(active, listing), "the trees after accepted deletes")
    r = lab.execute(active, "hactl", "sync", "now", "--path", "/none", check=False)
    t.equal(r.returncode, 12, "a tree that is not mirrored")


@test
def empty_standby_is_seeded(t):
    """The standby's disk is replaced by an empty one, and the log behind is trimmed."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000), ("segment-size", "4M"),
                       ("retain-size", "8M")],
                maild=[("checkpoint-s", 1)])
    ex = exercise.Exercise(lab, mailgen.generate(300, seed=5), say=t.say, users=4)
    ex.add_users()
    ex.run(probes=())
    standby = lab.standby()
    lab.kill(standby)
    var = os.path.join(lab.node_dir(standby), "var")
    shutil.rmtree(var)
    os.makedirs(var)
    more = exercise.Exercise(lab, mailgen.generate(1200, seed=6), say=t.say, users=4)
    more.books = ex.books
    more.run(probes=())

    def oldest():
        r = lab.execute(lab.active(), "hactl", "sync", "status", "--json")
        return json.loads(r.stdout)["status"]["oldest_lsn"]
    wait_for("the log is trimmed", 30, lambda: oldest() > 1, 0.2)
    lab.power_on(standby)
    lab.wait_in_step(90)
    t.true(re.search(r"seeded lsn=\d+ files", lab.log(standby, "syncd")), "it was seeded")
    # Now it must be able to serve alone what it never saw being delivered.
    active = lab.active()
    lab.kill(active)
    wait_for("take-over by %s" % standby, 30, lambda: lab.active() == standby, 0.1)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " on the seeded node")


def _sync(lab, node):
    r = lab.execute(node, "hactl", "sync", "status", "--json", check=False)
    return json.loads(r.stdout).get("status") or {"mirror": {"seed": {"running": False}}}


def _seed(lab, node):
    return _sync(lab, node)["mirror"]["seed"]


def _stopped(lab, node):
    return not _seed(lab, node)["running"]


def _object_bytes(lab, node):
    """What a seeding must carry at least: the messages, and the indexes."""
    shards, total = os.path.join(lab.node_dir(node), "var/shards"), 0
    for where, _, names in os.walk(shards):
        total += sum(os.path.getsize(os.path.join(where, n)) for n in names
                     if len(n) == 64 or n == "index.db")
    return total


def _digests(lab, node):
    """Each mailbox's messages, as the rows of its index say."""
    shards, found = os.path.join(lab.node_dir(node), "var/shards"), {}
    for d in sorted(os.listdir(shards)):
        if not d.startswith("store-"):
            continue
        db = sqlite3.connect("file:%s/%s/index.db?mode=ro" % (shards, d), uri=True)
        found[d] = db.execute("SELECT name, uidvalidity, uidnext, digest FROM boxes "
                              "ORDER BY id").fetchall()
        db.close()
    return found


@test
def seeding_goes_on_where_it_was_cut(t):
    """An empty standby is filled over a slow line, its syncd is killed again and again, and the
    line is cut: what came is not sent again, and both nodes are equal in the end."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000), ("segment-size", "4M"),
                       ("retain-size", "8M")],
                maild=[("checkpoint-s", 1)])
    ex = exercise.Exercise(lab, mailgen.generate(900, seed=12), say=t.say, users=4)
    ex.add_users()
    ex.run(probes=())
    standby = lab.standby()
    active = lab.active()
    lab.kill(standby)
    var = os.path.join(lab.node_dir(standby), "var")
    shutil.rmtree(var)
    os.makedirs(var)
    more = exercise.Exercise(lab, mailgen.generate(600, seed=13), say=t.say, users=4)
    more.books = ex.books
    more.run(probes=())
    wait_for("the log is trimmed", 30, lambda: _sync(lab, active)["oldest_lsn"] > 1, 0.2)
    lab.power_on(standby)
    lab.slow_down(standby, "30mbit")
    sent = 0
    for i in range(3):
        wait_for("a piece of the seeding", 60, lambda: _seed(lab, active)["running"] and
                 _seed(lab, active)["bytes"] > 700000 * (1 + i % 3), 0.02)
        told = _seed(lab, standby)
        t.true(told["running"] and 0 <= told["permille"] < 1000, "the standby shows it, too")
        if i == 2:
            for cut in (True, False):
                for wire in ("eth0", "eth1"):
                    lab.unplug(standby, wire, cut)
                wait_for("the end of the attempt, and the next", 30,
                         lambda: cut is _stopped(lab, active), 0.02)
                sent += _seed(lab, active)["bytes"] if cut else 0
        else:
            lab.kill_service(standby, "syncd")
            wait_for("the end of the attempt", 30, lambda: _stopped(lab, active), 0.02)
            sent += _seed(lab, active)["bytes"]
    lab.wait_in_step(120)
    done = re.findall(r"seeded the standby lsn=\d+ objects=\d+ bytes=(\d+)", lab.log(active, "syncd"))
    t.equal(len(done), 1, "seeded once")
    size = _object_bytes(lab, active)
    t.say("stored %d bytes, sent %d in pieces and %s at the end" % (size, sent, done[0]))
    t.true(sent + int(done[0]) <= 1.2 * size, "little was sent twice")
    t.true(not os.path.exists(os.path.join(var, "log/seed")), "nothing is left of it")
    t.equal(_digests(lab, active), _digests(lab, standby), "both nodes are equal")


@test
def full_disk_answers_452_and_recovers(t):
    """A full disk of the active node, which cannot hand over."""
    lab = t.lab(var_size="96M", maild=[("store-low-water", "24M")],
                syncd=[("segment-size", "4M"), ("low-water-size", "16M")])
    active = lab.active()
    ex = exercise.Exercise(lab, mailgen.generate(60, seed=9), say=t.say, users=2, connections=2)
    ex.add_users()
    ex.run(probes=())
    # It would hand over to the node that has room.
    lab.execute(active, "hactl", "maintenance", "on", "--for", "10m", "--yes")
    lab.execute(active, "/bin/sh", "-c",
                "free=$(df --output=avail -B1 /var/lib/mailpair | tail -1); "
                "fallocate -l $((free - 8388608)) /var/lib/mailpair/ballast")

    def send():
        s = smtplib.SMTP(VIP, 25, timeout=20)
        try:
            s.sendmail("a@client.example", [ex.users[0]], b"Subject: full\r\n\r\n" + b"x" * 70 +
                       b"\r\n")
            return 250
        except smtplib.SMTPRecipientsRefused as e:
            return list(e.recipients.values())[0][0]
        except smtplib.SMTPResponseException as e:
            return e.smtp_code
        finally:
            s.close()

    def append():
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=20)
        box.login(ex.users[0], load.PASSWORD)
        typ = box.append("INBOX", None, None, b"Subject: full\r\n\r\nx\r\n")[0]
        box.logout()
        return typ
    wait_for("452", 20, lambda: load.in_client(lab, send) == 452, 0.2)
    t.equal(load.in_client(lab, append), "NO", "APPEND on a full disk")
    # Now the rest of it, to the last byte, again and again: whatever becomes free is taken.
    children = lab.children(active, lab.pid_of(active, "maild"))
    daemons = {s: lab.pid_of(active, s) for s in ("hagentd", "syncd", "maild")}
    for i in range(8):
        lab.execute(active, "/bin/sh", "-c", "for size in 65536 512 1; do dd if=/dev/zero bs=$size "
                    "of=/var/lib/mailpair/ballast.%d oflag=append conv=notrunc 2>/dev/null; done; "
                    "[ $(df --output=avail -B1 /var/lib/mailpair | tail -1) = 0 ]" % i)
        code = load.in_client(lab, send)
        t.true(code in (451, 452), "not a byte left: answer %s" % code)
        r = lab.execute(active, "mailctl", "domain", "add", "full%d.example" % i, check=False)
        t.true(r.returncode != 0, "a domain is made on a full disk")
    t.equal(lab.children(active, lab.pid_of(active, "maild")), children, "processes of maild")
    t.equal({s: lab.pid_of(active, s) for s in daemons}, daemons, "daemons")
    t.equal(lab.active(), active, "who serves")
    lab.execute(active, "/bin/sh", "-c", "rm /var/lib/mailpair/ballast*")
    wait_for("250", 30, lambda: load.in_client(lab, send) == 250, 0.2)
    t.equal(load.in_client(lab, append), "OK", "APPEND after it")
    wait_for("a domain", 30, lambda: lab.execute(
        lab.active(), "mailctl", "domain", "add", "room.example", check=False).returncode == 0, 0.5)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated), (0, 0), name + ": lost, duplicated")


@test
def standby_with_other_shards_is_refused(t):
    """An empty node that was set up with another number of shards learns it from the log."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500)])
    standby = lab.standby()
    # The boot number of a node without a state is the second of its first start: a disk
    # that is replaced within the same second would look like a replay.
    began = int(time.time())
    wait_for("another second", 5, lambda: int(time.time()) > began + 1)
    lab.kill(standby)
    var = os.path.join(lab.node_dir(standby), "var")
    shutil.rmtree(var)
    os.makedirs(var)
    path = os.path.join(lab.node_dir(standby), "etc/mailpair/maild.conf")
    with open(path) as f:
        good = f.read()
    with open(path, "w") as f:
        f.write(good + "shards = 8\n")
    lab.power_on(standby)
    wait_for("the refusal", 30, lambda: re.search(
        r"ERROR /\S+/maild.conf: shards is 8, expected 16", lab.log(standby, "maild")), 0.2)
    r = lab.execute(standby, "maild", "-n", check=False)
    t.equal(r.returncode, 19, "maild -n: " + r.stderr)
    with open(path, "w") as f:
        f.write(good)
    lab.wait_in_step(60)
    ex = exercise.Exercise(lab, mailgen.generate(20, seed=14), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())
    lab.kill(lab.active())
    wait_for("take-over", 30, lambda: lab.active() == standby, 0.1)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name)


@test
def both_nodes_lose_power_and_return(t):
    """Their disks lose what was not synced; the log has it, and that it is to be looked for is
    known by the machine's boot id."""
    lab = t.lab(var_size="768M", syncd=[("rejoin-stable-ms", 500)])
    ex = exercise.Exercise(lab, mailgen.generate(600, seed=11), say=t.say, users=4)

    def boots():
        return [lab.execute(n, "cat", "/proc/sys/kernel/random/boot_id").stdout for n in NODES]
    before = boots()
    ex.add_users()
    ex.run(probes=())
    for node in NODES:
        lab.kill(node)
    for node in reversed(NODES):
        lab.power_on(node)
    lab.wait_in_step(90)
    t.equal(len(set(before + boots())), 4, "each start of a node is another boot")
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name)
    r = lab.execute(lab.active(), "mailctl", "store", "verify", "--timeout", "60", check=False)
    t.equal(r.returncode, 0, "store verify: " + r.stdout + r.stderr)


@test
def stale_node_alone_does_not_serve(t):
    """I16: a node that was standby and returns alone waits."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)],
                hagent=[("initdead-ms", 2000)])
    standby = lab.standby()
    lab.kill(standby)
    ex = exercise.Exercise(lab, mailgen.generate(30, seed=12), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())
    lab.kill(lab.active())
    lab.power_on(standby)
    status = wait_for("an answer of the agent", 20, lambda: lab.status(standby), 0.1)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        status = lab.status(standby) or status
        t.true(status["self"]["role"] != "active", "the stale node serves alone")
        wait_for("a tick", 1, lambda: True)
    addresses = lab.execute(standby, "ip", "-br", "addr").stdout
    t.true(VIP + "/" not in addresses, "the address is up on the stale node")


@test
def a_rotten_object_is_found(t):
    """I18: one flipped bit of a stored message, on the disk of either node."""
    lab = t.lab()
    ex = exercise.Exercise(lab, mailgen.generate(40, seed=13), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())

    def verify(node):
        return lab.execute(node, "mailctl", "store", "verify", "--timeout", "60", check=False)
    for node in NODES:
        def clean():
            return verify(node).returncode == 0
        wait_for("a clean store on " + node, 20, clean, 0.2)
        shards = os.path.join(lab.node_dir(node), "var/shards")
        path = next(os.path.join(top, f) for top, _, files in sorted(os.walk(shards))
                    for f in files if re.fullmatch("[0-9a-f]{64}", f))
        with open(path, "r+b") as f:
            data = f.read()
            f.seek(len(data) // 2)
            f.write(bytes([data[len(data) // 2] ^ 4]))
        r = verify(node)
        t.equal(r.returncode, 2, "exit of verify on %s: %s%s" % (node, r.stdout, r.stderr))
        t.true(os.path.basename(path) in r.stdout + r.stderr,
               "the object is named: " + r.stdout + r.stderr)
        with open(path, "r+b") as f:
            f.write(data)
        t.true(clean(), "clean again")
        os.unlink(path)
        t.equal(verify(node).returncode, 2, "an object that is gone")


def objects_of(lab, node):
    """The files of the messages on a node's disk."""
    shards = os.path.join(lab.node_dir(node), "var/shards")
    return [os.path.join(top, f) for top, _, files in sorted(os.walk(shards))
            for f in sorted(files) if re.fullmatch("[0-9a-f]{64}", f)]


def rot(path, at=None, bit=4):
    """Turns one bit over, by default in the middle."""
    with open(path, "r+b") as f:
        data = f.read()
        at = len(data) // 2 if at is None else at
        f.seek(at)
        f.write(bytes([data[at] ^ bit]))


@test
def a_rotten_object_is_mended(t):
    """I18: every message of the active rots or goes; readers get each from the other node,
    and the disk is whole again.  The same on the standby, when it has taken over.  What is
    rotten on both nodes is refused, not served."""
    lab = t.lab()
    ex = exercise.Exercise(lab, mailgen.generate(60, seed=15), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())

    def clean(node):
        return lab.execute(node, "mailctl", "store", "verify", "--timeout", "60",
                           check=False).returncode == 0

    def damage(node):
        wait_for("a clean store on " + node, 20, lambda: clean(node), 0.2)
        files = objects_of(lab, node)
        for n, path in enumerate(files):
            if n % 3 == 0:
                os.unlink(path)
            elif n % 3 == 1:
                rot(path)
            else:
                os.truncate(path, os.path.getsize(path) // 2)
        t.true(not clean(node), "damage on " + node + " is not seen")
        return files

    def whole(node, files):
        for name, r in ex.read_back().items():
            t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " on " + node)
        t.true(clean(node), "the store is whole again on " + node)
        told = re.findall("object ([0-9a-f]{64}) was missing or damaged: mended",
                          lab.log(node, "maild"))
        t.equal(sorted(told), sorted(os.path.basename(f) for f in files), "told once each")
    active, standby = lab.active(), lab.standby()
    whole(active, damage(active))
    files = damage(standby)
    lab.execute(active, "hactl", "switchover", "--to", standby, "--timeout", "30")
    wait_for("the switch", 30, lambda: lab.active() == standby, 0.1)
    lab.wait_in_step(30)
    whole(standby, files)
    for node in NODES:
        for path in objects_of(lab, node):
            rot(path)

    def read():
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=30)
        box.login(ex.users[0], load.PASSWORD)
        box.select("INBOX")
        answer = box.fetch("1:3", "(BODY.PEEK[])")
        box.logout()
        pop = poplib.POP3_SSL(VIP, 995, context=load.tls_context(lab.ca), timeout=30)
        pop.user(ex.users[0])
        pop.pass_(load.PASSWORD)
        try:
            answer += (pop.retr(1),)
        except poplib.error_proto as e:
            answer += (e.args[0],)
        pop.quit()
        return answer
    typ, data, retr = load.in_client(lab, read)
    t.equal((typ, b"UNAVAILABLE" in data[-1], data[:-1]), ("NO", True, []),
            "FETCH of what is rotten on both nodes")
    t.true(isinstance(retr, bytes) and retr.startswith(b"-ERR [SYS/TEMP]"), "RETR: %r" % (retr,))


def flag_all(lab, users):
    for user in users:
        box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=15)
        box.login(user, load.PASSWORD)
        box.select("INBOX")
        box.store("1:*", "+FLAGS", "\\Flagged")
        box.logout()


def refilled(lab, node, verify, t):
    """A standby whose index or log is damaged is filled anew from the active."""
    code, summary, bad, r = verify(node, "--repair")
    t.equal(code, 2, "repair of what is no message: " + r.stdout + r.stderr)
    t.true("filled anew" in r.stdout, "it says what it does: " + r.stdout)
    wait_for("seeding", 30, lambda: "seeded: the log goes on" in lab.log(node, "syncd"), 0.1)
    lab.wait_in_step(60)
    wait_for("a clean verify", 20, lambda: verify(node)[0] == 0, 0.2)


@test
def verify_finds_and_repairs(t):
    """I18: `hactl sync verify` on both nodes: clean, then with rotten and missing messages, a
    flipped bit in a page of an index and one in a record of the log of the standby."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    ex = exercise.Exercise(lab, mailgen.generate(40, seed=16), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())

    def verify(node, *more):
        r = lab.execute(node, "hactl", "sync", "verify", "--json", "--timeout", "60", *more,
                        check=False)
        lines = [json.loads(x) for x in r.stdout.splitlines()]
        return r.returncode, lines[-1].get("verify"), [x for x in lines[:-1] if "what" in x], r
    for node in NODES:
        wait_for("a clean verify of " + node, 20, lambda: verify(node)[0] == 0, 0.2)
        code, summary, bad, r = verify(node)
        t.equal((summary["bad"], bad, summary["not_looked_at"]), (0, [], []), r.stdout)
        t.true(summary["messages"] > 20 and summary["records"] > 20, "it looked: %r" % summary)
        files = objects_of(lab, node)
        rot(files[0])
        os.unlink(files[1])
        names = sorted(os.path.basename(f) for f in files[:2])
        code, summary, bad, r = verify(node)
        t.equal((code, summary["bad"], summary["mended"]), (2, 2, 0), node + r.stdout + r.stderr)
        t.equal(sorted(x["name"] for x in bad), names, "what is named on " + node)
        t.true("hactl sync verify --repair" in r.stdout, "the way out is shown: " + r.stdout)
        code, summary, bad, r = verify(node, "--repair")
        t.equal((code, summary["bad"], summary["mended"]), (1, 2, 2), node + r.stdout + r.stderr)
        t.equal([x["mended"] for x in bad], [True, True], "each is said to be mended")
        t.equal(verify(node)[0], 0, "clean again")
    node = lab.standby()
    lab.execute(node, "mailctl", "store", "checkpoint", check=False)
    log = os.path.join(lab.node_dir(node), "var/log")
    segment = os.path.join(log, sorted(f for f in os.listdir(log) if f.endswith(".seg"))[-1])
    rot(segment, 8192 + 100)
    code, summary, bad, r = verify(node)
    t.equal(code, 2, "a rotten record: " + r.stdout + r.stderr)
    t.equal([(x["file"], x["offset"], x["lsn"]) for x in bad if "file" in x],
            [("/var/lib/mailpair/log/" + os.path.basename(segment), 8192, 1)], "where it is")
    refilled(lab, node, verify, t)
    # A page of an index.  What is in its write-ahead log hides the file: first it is
    # taken in, and begun anew by the next change.
    lab.execute(node, "mailctl", "store", "checkpoint")
    load.in_client(lab, flag_all, lab, ex.users)
    lab.wait_in_step(30)
    shards = os.path.join(lab.node_dir(node), "var/shards")
    for top, _, files in os.walk(shards):
        if "index.db" in files and os.path.basename(top).startswith("store-"):
            path = os.path.join(top, "index.db")
            for at in range(4096 + 2000, os.path.getsize(path), 4096):
                rot(path, at)
    code, summary, bad, r = verify(node)
    t.equal(code, 2, "rotten pages: " + r.stdout + r.stderr)
    t.true(any("index.db is damaged" in x["what"] for x in bad), "it is named: %r" % bad)
    refilled(lab, node, verify, t)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.changed), (0, 0), name)
    lab.execute(lab.active(), "hactl", "switchover", "--to", node, "--timeout", "30")
    wait_for("the switch", 30, lambda: lab.active() == node, 0.1)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.changed), (0, 0), name + " on the refilled node")
    r = lab.execute(node, "hactl", "sync", "status")
    t.true(re.search(r"VERIFY +\d+ records, \d+ messages", r.stdout), "the last one: " + r.stdout)


@test
def a_rotten_log_is_refused(t):
    """I18: a durable record is damaged while the standby is off.  syncd says where and
    changes nothing; with the log moved away, as syncd(8) says, the node is whole again."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000)])
    ex = exercise.Exercise(lab, mailgen.generate(60, seed=14), say=t.say, users=2)
    ex.add_users()
    ex.run(probes=())
    standby = lab.standby()
    lab.kill(standby)
    log = os.path.join(lab.node_dir(standby), "var/log")
    segment = os.path.join(log, sorted(f for f in os.listdir(log) if f.endswith(".seg"))[-1])
    with open(segment, "r+b") as f:
        data = f.read().rstrip(b"\0")
        at = (8192 + len(data)) // 2
        f.seek(at)
        f.write(bytes([data[at] ^ 16]))
    before = os.path.getsize(segment)
    lab.power_on(standby)
    wait_for("the damage is named", 10,
             lambda: re.search(r"\.seg: damaged at offset \d+", lab.log(standby, "syncd")))
    t.equal(os.path.getsize(segment), before, "the damaged segment")
    # Not before that is "in step" anything but a memory of the time before the cut.
    wait_for("the active serves alone", 20, lambda: lab.active() and not lab.in_step(), 0.1)
    os.rename(log, log + ".damaged")
    lab.wait_in_step(60)
    lab.kill(lab.active())
    wait_for("take-over by %s" % standby, 30, lambda: lab.active() == standby, 0.1)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " on the mended node")


@test
def idle_shards_are_seeded(t):
    """The log is trimmed past the last record of shards in which nothing happens."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000), ("segment-size", "4M"),
                       ("retain-size", "8M")], maild=[("checkpoint-s", 1)])
    ex = exercise.Exercise(lab, mailgen.generate(300, seed=22), say=t.say, users=3)
    ex.add_users()
    ex.run(probes=())
    active, standby = lab.active(), lab.standby()
    lab.kill(standby)
    wait_for("one copy", 60, lambda: ((lab.status(active) or {}).get("data") or {}).get("mode")
             == "SOLO", 0.2)

    def oldest():
        r = lab.execute(active, "hactl", "sync", "status", "--json")
        return json.loads(r.stdout)["status"]["oldest_lsn"]
    before = oldest()
    more = exercise.Exercise(lab, mailgen.generate(2500, seed=23), say=t.say, users=3)
    more.run(probes=())
    wait_for("the log is trimmed past what the standby has", 60, lambda: oldest() > before + 1000,
             0.5)
    lab.power_on(standby)
    lab.wait_in_step(60)
    t.true(re.search(r"seeded lsn=\d+ files", lab.log(standby, "syncd")), "it was seeded")
    lab.kill(active)
    wait_for("take-over by %s" % standby, 30, lambda: lab.active() == standby, 0.1)
    for e in (ex, more):        # in the same mailboxes: each finds the other's, too
        for name, r in e.read_back().items():
            t.equal(r.lost, 0, name)


def trimmed_pair(t, seed):
    """A pair with mail, whose logs do not hold all of it any more."""
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 1000), ("segment-size", "4M"),
                       ("retain-size", "64M")],
                maild=[("checkpoint-s", 1)])
    ex = exercise.Exercise(lab, mailgen.generate(900, seed=seed), say=t.say, users=4)
    ex.add_users()
    ex.run(probes=())

    def oldest(node):
        r = lab.execute(node, "hactl", "sync", "status", "--json")
        return json.loads(r.stdout)["status"]["oldest_lsn"]
    wait_for("the logs are trimmed", 30, lambda: min(map(oldest, NODES)) > 1, 0.2)
    return lab, ex


def stores_with_mail(lab, node):
    shards = os.path.join(lab.node_dir(node), "var/shards")
    return [d for d in (os.path.join(shards, n) for n in sorted(os.listdir(shards))
                        if n.startswith("store-"))
            if sum(len(f) for _, _, f in os.walk(os.path.join(d, "objects")))]


def set_aside(t, lab, node, shards):
    """Each of these waits for an index no more, and what was damaged is there to be looked at."""
    wait_for("it is filled anew", 60,
             lambda: re.search(r"seeded lsn=\d+ files", lab.log(node, "syncd")), 0.2)
    lab.wait_in_step(60)
    for d in shards:
        kept = [n for n in os.listdir(d) if n.startswith("damaged-")]
        t.equal(len(kept), 1, "what was damaged is kept in " + d)
        t.true("unfilled" not in os.listdir(d), "filled: " + d)


@test
def a_damaged_index_is_filled_anew(t):
    """Indexes of the standby are damaged, empty or gone while it is off, and the log is trimmed: what
    is left is set aside, and the node is filled anew by itself."""
    lab, ex = trimmed_pair(t, 21)
    standby = lab.standby()
    lab.kill(standby)
    full = stores_with_mail(lab, standby)
    t.true(len(full) > 1, "stores with mail: %r" % full)
    shards = os.path.dirname(full[0])
    queue, directory = os.path.join(shards, "queue"), os.path.join(shards, "directory")
    hurt = full[:2] + [queue, directory]
    for d in hurt:
        for name in ("index.db-wal", "index.db-shm"):
            if os.path.exists(os.path.join(d, name)):
                os.unlink(os.path.join(d, name))
    for d in (full[0], queue):
        with open(os.path.join(d, "index.db"), "r+b") as f:
            f.write(b"Z" * 100)
    os.unlink(os.path.join(full[1], "index.db"))
    os.truncate(os.path.join(directory, "index.db"), 0)
    lab.power_on(standby)
    set_aside(t, lab, standby, hurt)
    active = lab.active()
    lab.kill(active)
    wait_for("take-over by %s" % standby, 30, lambda: lab.active() == standby, 0.1)
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " on the refilled node")


@test
def a_damaged_index_on_the_active(t):
    """Processes of the active's maild start again and find the indexes of a store and of the
    directory gone, and the log is trimmed: they tell nobody that something is not there, the other
    node takes over, and this one is filled anew; the standby's good ones are never filled from it."""
    lab, ex = trimmed_pair(t, 22)
    active, standby = lab.active(), lab.standby()
    store = stores_with_mail(lab, active)[0]
    directory = os.path.join(os.path.dirname(store), "directory")

    def rcpt():
        try:
            with smtplib.SMTP(VIP, 25, timeout=3) as s:
                s.ehlo()
                s.mail("a@b.test")
                return s.rcpt(ex.users[0])[0]
        except (OSError, smtplib.SMTPException):
            return None

    def folders():
        try:
            box = imaplib.IMAP4_SSL(VIP, 993, ssl_context=load.tls_context(lab.ca), timeout=3)
            box.login(ex.users[0], load.PASSWORD)
            return box.list()[1]
        except imaplib.IMAP4.error as e:
            return "[AUTHENTICATIONFAILED]" in str(e) and "denied" or None
        except OSError:
            return None
    before = load.in_client(lab, folders)
    t.true(load.in_client(lab, rcpt) == 250 and b"INBOX" in b" ".join(before), "before: %r" % before)
    for d in (store, directory):                    # its processes have the old files still
        os.unlink(os.path.join(d, "index.db"))
    began = time.monotonic()
    for pid in lab.children(active, lab.pid_of(active, "maild")):
        lab.execute(active, "/bin/sh", "-c", "kill -9 %d" % pid)
    while lab.active() != standby:
        t.true(time.monotonic() - began < 60, "take-over by %s" % standby)
        t.true(load.in_client(lab, rcpt) in (250, 421, 450, 451, None), "a user is unknown")
        seen = load.in_client(lab, folders)
        t.true(seen in (None, before), "folders are gone: %r" % seen)
    t.say("taken over after %.1f s" % (time.monotonic() - began))
    for name, r in ex.read_back().items():
        t.equal((r.lost, r.duplicated, r.changed), (0, 0, 0), name + " on the other node")
    set_aside(t, lab, active, [store, directory])
    t.true(not re.search(r"seeded lsn=\d+ files", lab.log(standby, "syncd")), "the standby was not filled")
