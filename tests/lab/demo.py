#!/usr/bin/python3
"""demo.py - the main job, shown: two nodes on this machine, mail in, the active one
killed in the middle of it, and everything that was acknowledged read back.

Environment: MAIL=dir sends the files of a folder instead of generated messages;
COUNT=n sends n (default 3000); FAULT=name another fault (see --help); KEEP=1 leaves
the pair running; O=dir is the build.  Exit 0 only when nothing was lost,
duplicated or changed.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import exercise
import lab as lab_module
import load
import mailgen


def table(rows):
    width = max(len(k) for k, _ in rows)
    for key, value in rows:
        print("  %-*s  %s" % (width, key, value))


def how_to_talk(lab):
    me = os.path.join(lab_module.HERE, "lab.py")
    print("\nThe pair is left running in %s." % lab.home)
    print("  status        %s status %s" % (me, lab.home))
    print("  a shell       %s exec %s ha-1 /bin/sh      (then: hactl status, mailctl user list)"
          % (me, lab.home))
    print("  a mail client ip netns exec %s mutt -f imaps://user00%%40mail.example.org@%s/"
          % (lab.ns("client"), lab_module.VIP))
    print("                ip netns exec %s swaks --server %s --to user00@mail.example.org"
          % (lab.ns("client"), lab_module.VIP))
    print("                users user00 to user15 @mail.example.org, password '%s'"
          % load.PASSWORD)
    print("  power         %s kill %s NODE, then: on %s NODE" % (me, lab.home, lab.home))
    print("  end           %s stop %s" % (me, lab.home))


def demo(lab, messages, fault):
    say = lambda text: print(text, flush=True)
    began = time.monotonic()
    say("== two nodes with two Ethernet paths and a serial line; both empty")
    lab.start()
    active = lab.wait_in_step(60)
    say("  %s is active and both nodes are in step after %.1f s"
        % (active, time.monotonic() - began))
    ex = exercise.Exercise(lab, messages, fault=exercise.FAULTS[fault], say=say,
                           rate=exercise.RATES.get(fault))
    ex.add_users()
    say(lab.execute(active, "hactl", "status", check=False).stdout)
    say("== %d messages over %d SMTP connections to %s; then %s"
        % (len(messages), ex.connections, lab_module.VIP, fault))
    ex.run()
    say("== reading everything back through %s" % lab_module.VIP)
    results = ex.read_back()
    survivor = lab.wait_active()
    say("\n== result")
    worst = lambda what: max(getattr(r, what) for r in results.values())
    rows = [("sent", ex.books.count_sent()), ("acknowledged", ex.books.count_acked()),
            ("found", min(r.found for r in results.values())), ("lost", worst("lost")),
            ("duplicated", worst("duplicated")), ("changed", worst("changed"))]
    rows += [("outage " + p.upper(), "%d ms" % ex.outage_ms(p)) for p in ("smtp", "imap")]
    table(rows)
    say("")
    say(lab.execute(survivor, "hactl", "status", check=False).stdout)
    good = all(r.good() for r in results.values()) and \
        all(ex.outage_ms(p) >= 0 for p in ("smtp", "imap")) and \
        ex.books.count_acked() >= len(messages)
    return ex, results, good


def main(argv):
    if len(argv) > 1:
        print("usage: [MAIL=dir] [COUNT=n] [FAULT=%s] [KEEP=1] [O=build] demo.py"
              % "|".join(exercise.FAULTS), file=sys.stderr)
        return 0 if argv[1] in ("-h", "--help") else 10
    fault = os.environ.get("FAULT", "kill-active")
    if fault not in exercise.FAULTS:
        print("ERROR FAULT=%s: expected one of %s" % (fault, " ".join(exercise.FAULTS)),
              file=sys.stderr)
        return 10
    count = int(os.environ.get("COUNT", "3000"))
    path = os.environ.get("MAIL")
    if path and not os.path.isdir(path):
        print("ERROR MAIL=%s: not a folder" % path, file=sys.stderr)
        return 10
    messages = list(mailgen.from_dir(path, count) if path else mailgen.generate(count))
    if not messages:
        print("ERROR MAIL=%s: no message in it" % path, file=sys.stderr)
        return 10
    lab = lab_module.Lab(build=os.path.abspath(os.environ.get("O", "build")))
    keep = os.environ.get("KEEP") == "1"
    try:
        ex, results, good = demo(lab, messages, fault)
        if keep:
            lab.detach()
            how_to_talk(lab)
    except BaseException as e:
        keep = False
        print("\nERROR %s" % (e or type(e).__name__), file=sys.stderr)
        logs = os.environ.get("LOGS")
        if logs:
            lab.collect(logs)
        elif isinstance(e, lab_module.LabError):
            for node in lab_module.NODES:
                for service in ("hagentd", "syncd", "maild"):
                    print("-- %s %s" % (node, service), file=sys.stderr)
                    print("\n".join(lab.log(node, service).splitlines()[-8:]), file=sys.stderr)
        return 1
    finally:
        if not keep:
            if os.environ.get("LOGS"):
                lab.collect(os.environ["LOGS"])
            lab.stop()
    print(ex.last_line(results))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
