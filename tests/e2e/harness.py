"""harness.py - what the end-to-end tests share: a registry, labs, and the ok lines.

A test is a function of (t: Test).  t.lab(...) makes a pair that is removed when the
test ends; t.equal() and t.true() fail it with what was seen.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests/lab"))
import exercise          # noqa: E402
import lab as lab_module  # noqa: E402
import load              # noqa: E402
import mailgen           # noqa: E402

TESTS = []
BUILD = os.path.abspath(os.environ.get("O", os.path.join(TOP, "build")))


class Skip(Exception):
    pass


def test(func):
    TESTS.append(func)
    return func


class Test:
    install = None

    def __init__(self, name):
        self.name = name
        self.labs, self.lines, self.tmp = [], [], None

    def say(self, text):
        self.lines.append(text)
        if os.environ.get("VERBOSE"):
            print("# " + text, flush=True)

    def folder(self):
        if self.tmp is None:
            self.tmp = tempfile.mkdtemp(prefix="mailpair-e2e-")
        return self.tmp

    def lab(self, in_step=True, **kw):
        lab = lab_module.Lab(build=BUILD, install=Test.install, **kw)
        self.labs.append(lab)
        lab.start()
        if in_step:
            lab.wait_in_step(90)
        return lab

    def true(self, value, what):
        if not value:
            raise AssertionError(what)

    def equal(self, seen, expected, what):
        if seen != expected:
            raise AssertionError("%s: saw %r, expected %r" % (what, seen, expected))

    def end(self, failed):
        for lab in self.labs:
            if failed:
                keep = os.environ.get("LOGS")
                if keep:
                    lab.collect(os.path.join(keep, self.name))
                for node in lab_module.NODES:
                    for service in ("init",) + tuple(lab.services):
                        tail = lab.log(node, service).splitlines()[-15:]
                        self.lines += ["-- %s %s" % (node, service)] + tail
            lab.stop()
        if self.tmp:
            shutil.rmtree(self.tmp, ignore_errors=True)


def run_one(func):
    t = Test(func.__name__)
    began = time.monotonic()
    failed = None
    try:
        func(t)
    except Skip as e:
        print("skip %s %s" % (t.name, e), flush=True)
        t.end(False)
        return True
    except BaseException as e:
        failed = e
        t.lines += traceback.format_exc().splitlines()
        if isinstance(e, KeyboardInterrupt):
            t.end(True)
            raise
    t.end(failed is not None)
    if failed is None:
        print("ok %s # %.1f s" % (t.name, time.monotonic() - began), flush=True)
        return True
    print("not ok %s # %.1f s: %s" % (t.name, time.monotonic() - began, failed), flush=True)
    for line in t.lines:
        print("#   " + line, flush=True)
    return False


def main(argv):
    """run [NAME...]: all tests, or those whose names begin so."""
    chosen = [f for f in TESTS
              if len(argv) < 2 or any(f.__name__.startswith(a) for a in argv[1:])]
    if not chosen:
        print("no such test; there are: " + " ".join(f.__name__ for f in TESTS), file=sys.stderr)
        return 10
    if os.geteuid() != 0:
        for f in chosen:
            print("skip %s needs root" % f.__name__)
        return 0
    home = tempfile.mkdtemp(prefix="mailpair-inst-")
    try:
        Test.install = os.path.join(home, "inst")
        subprocess.run(["make", "-s", "-C", TOP, "O=" + BUILD, "install",
                        "DESTDIR=" + Test.install, "PREFIX=/usr/local"] +
                       [v for v in (os.environ.get("MAKEVARS") or "").split()],
                       check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        good = [run_one(f) for f in chosen]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0 if all(good) else 1
