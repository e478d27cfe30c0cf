"""e2e_merge.py - both nodes served at once, and are made one again.

What a client was told by either node holds afterwards: its messages are there, its flags,
its mailboxes; what it removed is gone, unless somebody on the other node touched it.
"""
import imaplib
import json
import os
import re
import smtplib

import load
from harness import test
from lab import CLUSTER, LAN, NODES, VIP, wait_for

COUNTS = ("added", "same", "removed", "kept", "flags", "boxes_created", "boxes_deleted",
          "boxes_renamed", "boxes_kept", "names")
USER, OTHER = "user00@" + CLUSTER, "user01@" + CLUSTER


def message(name, size=300):
    return (b"Message-ID: <%s@split.test>\r\nSubject: %s\r\nFrom: s@client.example\r\n\r\n" %
            (name, name)) + (b"%s %s\r\n" % (name, b"x" * 60)) * (size // 70)


def deliver(host, name, user=USER):
    s = smtplib.SMTP(host, 25, timeout=20)
    try:
        s.sendmail("s@client.example", [user], message(name))
    finally:
        s.close()


class Session:
    """An IMAP client of one node."""

    def __init__(self, lab, host, user=USER):
        self.imap = imaplib.IMAP4_SSL(host, 993, ssl_context=load.tls_context(lab.ca), timeout=30)
        self.imap.login(user, load.PASSWORD)
        self.box = None

    def do(self, verb, *args):
        typ, data = getattr(self.imap, verb)(*args)
        if typ != "OK":
            raise AssertionError("%s %r: %s %r" % (verb, args, typ, data))
        return data

    def select(self, box):
        self.do("select", '"%s"' % box)
        self.box = box
        return int(self.imap.response("UIDVALIDITY")[1][0])

    def boxes(self):
        return sorted(re.search(rb' "?([^"]+)"?$', line).group(1).decode()
                      for line in self.do("list") if b"\\Noselect" not in line)

    def uid(self, *args):
        typ, data = self.imap.uid(*args)
        if typ != "OK":
            raise AssertionError("uid %r: %s %r" % (args, typ, data))
        return data

    def all(self, box):
        """{uid: (name, flags)} of a mailbox, and its UIDVALIDITY."""
        validity, out = self.select(box), {}
        for item in self.uid("fetch", "1:*", "(FLAGS BODY.PEEK[])") or []:
            if isinstance(item, tuple):
                head, body = item[0].decode(), item[1]
                name = re.search(rb"<([^@]+)@split\.test>", body).group(1)
                assert body.endswith(message(name)), "other bytes: %r" % name
                flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", head).group(1).split())
                out[int(re.search(r"UID (\d+)", head).group(1))] = (name.decode(), flags)
        return validity, out

    def find(self, box, *names):
        _, there = self.all(box)
        return ",".join(str(u) for u, (n, _) in sorted(there.items()) if n in names)

    def flag(self, box, name, flags, how="+FLAGS"):
        self.uid("store", self.find(box, name), how, "(%s)" % flags)

    def expunge(self, box, *names):
        self.uid("store", self.find(box, *names), "+FLAGS", r"(\Deleted)")
        self.do("expunge")

    def append(self, box, name):
        self.do("append", '"%s"' % box, None, None, message(name))

    def everything(self):
        return {box: self.all(box) for box in self.boxes()}

    def next_uids(self):
        """{UIDVALIDITY: UIDNEXT}"""
        out = {}
        for box in self.boxes():
            text = self.do("status", '"%s"' % box, "(UIDVALIDITY UIDNEXT)")[0]
            out[int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))] = \
                int(re.search(rb"UIDNEXT (\d+)", text).group(1))
        return out

    def end(self):
        self.imap.logout()


def prepare(t):
    lab = t.lab(syncd=[("rejoin-stable-ms", 500), ("hold-ms", 500)])
    lab.execute(lab.active(), "mailctl", "domain", "add", CLUSTER)
    lab.execute(lab.active(), "mailctl", "user", "import", "/dev/stdin",
                input="".join("%s,%s\n" % (u, load.PASSWORD) for u in (USER, OTHER)))

    def base():
        for i in range(12):
            deliver(VIP, b"m%d" % i)
        s = Session(lab, VIP)
        for box in ("Work", "Old", "Plans", "Plans/2026"):
            s.do("create", box)
        for i in range(4):
            s.append("Work", b"w%d" % i)
            s.append("Old", b"o%d" % i)
            s.append("Plans/2026", b"p%d" % i)
        seen = s.everything()
        s.end()
        return seen
    return lab, load.in_client(lab, base)


def first_side(lab, host):
    """What a client did on one node."""
    for name in (b"a0", b"a1", b"big-a"):
        deliver(host, name)
    deliver(host, b"a-other", OTHER)
    s = Session(lab, host)
    s.flag("INBOX", "m0", r"\Seen")
    s.flag("INBOX", "m1", r"\Seen")
    s.expunge("INBOX", "m4")
    s.expunge("INBOX", "m6")
    s.select("INBOX")
    s.uid("move", s.find("INBOX", "m3"), "Work")
    s.select("INBOX")
    s.uid("copy", s.find("INBOX", "m8"), "Old")
    s.do("rename", "Work", "Projects")
    s.append("Old", b"a-old")
    s.do("create", "New")
    s.append("New", b"a-new")
    s.append("INBOX", b"a-gone")
    s.expunge("INBOX", "a-gone")
    seen = s.everything()
    s.end()
    return seen


def second_side(lab, host):
    for name in (b"b0", b"b1", b"b2"):
        deliver(host, name)
    deliver(host, b"b-other", OTHER)
    s = Session(lab, host)
    s.flag("INBOX", "m0", r"\Flagged")
    s.flag("INBOX", "m2", r"\Answered keyword-b")
    s.expunge("INBOX", "m5")
    s.flag("INBOX", "m6", r"\Answered")
    s.append("Work", b"b-work")
    s.expunge("Work", "w0")
    s.do("delete", "Old")
    s.do("create", "New")
    s.append("New", b"b-new")
    s.do("rename", "Plans", "Ideas")
    seen = s.everything()
    s.end()
    return seen


def names(state):
    out = {}
    for box, (_, there) in state.items():
        for name, _ in there.values():
            out.setdefault(name, []).append(box)
    return out


def check_union(t, after, first_stays):
    where = names(after)
    flags = {n: f for n, f in after["INBOX"][1].values()}
    t.true({n for n in where if n.startswith("m")} >=
           {"m%d" % i for i in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)}, "messages of before: %r" % where)
    for gone in ("m4", "m5", "w0", "a-gone"):
        t.true(gone not in where, "%s is back in %r" % (gone, where.get(gone)))
    for new in ("a0", "a1", "big-a", "b0", "b1", "b2"):
        t.equal(where.get(new), ["INBOX"], "where %s is" % new)
    t.equal(where.get("b-work"), ["Projects"], "the mailbox that one side renamed")
    t.equal(where.get("m3"), ["Projects"], "what was moved")
    t.true("Work" not in after, "the old name is there: %r" % sorted(after))
    t.equal(where.get("a-old"), ["Old"], "new in what the other side deleted")
    t.true("o1" not in where, "what was deleted with its mailbox")
    t.equal(where["m8"].count("INBOX"), 1, "copied, and still there")
    t.true("Old" in where["m8"], "the copy: %r" % where["m8"])
    t.equal(sorted(b for b in after if b.startswith("New"))[0], "New", "two of one name")
    stamp = [b for b in after if b.startswith("New (recovered")]
    t.equal(len(stamp), 1, "the name that gave way: %r" % sorted(after))
    t.equal((where["a-new"], where["b-new"]),
            (["New"], stamp) if first_stays else (stamp, ["New"]), "who kept the name New")
    t.equal([where["p%d" % i] for i in range(4)], [["Ideas/2026"]] * 4, "renamed with children")
    t.true({r"\Seen", r"\Flagged"} <= flags["m0"], "flags of both: %r" % (flags["m0"],))
    t.true(r"\Seen" in flags["m1"], "a flag of the one: %r" % (flags["m1"],))
    t.true({r"\Answered", "keyword-b"} <= flags["m2"], "of the other: %r" % (flags["m2"],))
    t.true(r"\Answered" in flags["m6"] and r"\Deleted" not in flags["m6"],
           "removed here, touched there: %r" % (flags["m6"],))


def check_uids(t, stays, gave, after, nexts):
    """No UID that a client saw names another message, now or later; what stays keeps its
    UIDs."""
    known = {}
    for state in (*gave, *stays, after):
        for box, (validity, there) in state.items():
            for uid, (name, _) in there.items():
                # A mailbox is known by its UIDVALIDITY: names change.
                was = known.setdefault((validity, uid), name)
                t.equal(name, was, "%s UIDVALIDITY %d UID %d" % (box, validity, uid))
    for validity, uid in known:
        t.true(uid < nexts.get(validity, uid + 1), "UIDNEXT %s of %d, though UID %d was given"
               % (nexts.get(validity), validity, uid))
    kept = {(v, u) for v, there in after.values() for u in there}
    gone = [(box, uid, name) for box, (v, there) in stays[-1].items()
            for uid, (name, _) in there.items() if (v, uid) not in kept]
    t.equal([g for g in gone if g[2] not in ("m4", "m5", "w0")
             and not (g[0] == "Old" and g[2].startswith("o"))
             and g[2] not in ("m3",)], [], "UIDs of the node that stayed")


@test
def split_is_merged(t):
    """Everything between the nodes cut, also the probes: both serve.  Then they are made one."""
    lab, before = prepare(t)
    first = lab.active()
    second = lab.standby()
    lab.part()
    wait_for("both serve", 30, lambda: all(
        (lab.status(n) or {}).get("data", {}).get("mode") == "SOLO" for n in NODES), 0.1)
    hosts = {n: "192.0.2.%d" % LAN[n] for n in NODES}
    seen = {first: load.in_client(lab, lambda: first_side(lab, hosts[first])),
            second: load.in_client(lab, lambda: second_side(lab, hosts[second]))}
    for node, user in ((first, "first@"), (second, "second@")):
        lab.execute(node, "mailctl", "user", "import", "/dev/stdin",
                    input="%s,%s\n" % (user + CLUSTER, load.PASSWORD))
    load.in_client(lab, lambda: deliver(hosts[first], b"for-first", "first@" + CLUSTER))
    load.in_client(lab, lambda: deliver(hosts[second], b"for-second", "second@" + CLUSTER))
    lab.part(False)

    def split():
        modes = [((lab.status(n) or {}).get("data") or {}).get("mode") for n in NODES]
        return "SPLIT" in modes and NODES[modes.index("SPLIT")]
    old = wait_for("one gives way", 30, split, 0.1)
    stays = lab.active()
    t.true(stays is not None and stays != old, "who serves: %s" % stays)
    show = lab.execute(stays, "hactl", "split", "show").stdout
    t.true("SPLIT   yes" in show and "part behind LSN" in show, show)
    dry = lab.execute(stays, "hactl", "split", "resolve", "--dry-run", "--json", timeout=120)
    dry = json.loads(dry.stdout.splitlines()[-1])
    t.true(dry["totals"]["added"] >= 6, "what would be added: %r" % dry["totals"])
    t.equal(split(), old, "a dry run changes nothing")

    done = lab.execute(stays, "hactl", "split", "resolve", "--json", timeout=180)
    done = json.loads(done.stdout.splitlines()[-1])
    t.say("report: %r" % done["totals"])
    t.equal({k: done["totals"].get(k) for k in COUNTS},
            {k: dry["totals"].get(k) for k in COUNTS}, "the report beside the dry run's")
    lab.wait_in_step(90)
    t.equal(lab.active(), stays, "who serves afterwards")

    def state(user=USER):
        s = Session(lab, VIP, user)
        try:
            return s.everything()
        finally:
            s.end()

    def next_uids():
        s = Session(lab, VIP)
        try:
            return s.next_uids()
        finally:
            s.end()

    def whole(what):
        after = load.in_client(lab, state)
        check_union(t, after, stays == first)
        check_uids(t, [before, seen[stays]], [seen[old]], after,
                   load.in_client(lab, next_uids))
        for user, wanted in ((OTHER, {"a-other", "b-other"}), ("first@" + CLUSTER, {"for-first"}),
                             ("second@" + CLUSTER, {"for-second"})):
            there = names(load.in_client(lab, lambda: state(user)))
            t.equal(set(there), wanted, "%s: mail of %s" % (what, user))
        return after
    merged = whole("after the merge")
    kept = os.listdir(os.path.join(lab.node_dir(old), "var/log/forks"))
    t.true([k for k in kept if k.startswith("split-")], "what was given up is kept: %r" % kept)
    # And the node that gave way has all of it, and can serve.
    lab.kill(stays)
    wait_for("take-over by %s" % old, 30, lambda: lab.active() == old, 0.1)
    again = whole("on the other node")
    t.equal(names(again), names(merged), "the same on both nodes")
