"""harness.py - what the end-to-end tests share: a registry, labs, and the ok lines.

A test is a function of (t: Test).  t.lab(...) makes a pair that is removed when the
test ends; t.equal() and t.true() fail it with what was seen.
"""
import multiprocessing
import os
import shutil
import signal
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
        self.labs, self.lines, self.tmp, self.rows = [], [], None, []

    def say(self, text):
        self.lines.append(text)
        if os.environ.get("VERBOSE"):
            print("# " + text, flush=True)

    def row(self, name, expected, seen):
        """A line of a table that is printed whatever comes of the test."""
        self.rows.append("# %s | %s | %s" % (name, expected, seen))

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
    """Runs one test; gives whether all is well, and the lines to print."""
    t = Test(func.__name__)
    began = time.monotonic()
    failed = None
    try:
        func(t)
    except Skip as e:
        t.end(False)
        return True, "skip %s %s" % (t.name, e)
    except BaseException as e:
        failed = e
        t.lines += traceback.format_exc().splitlines()
        if isinstance(e, (KeyboardInterrupt, SystemExit)):
            t.end(True)
            raise
    t.end(failed is not None)
    took = time.monotonic() - began
    if failed is None:
        return True, "\n".join(["ok %s # %.1f s" % (t.name, took)] + t.rows)
    what = str(failed).split("\n", maxsplit=1)[0][:300]
    return False, "\n".join(["not ok %s # %.1f s: %s" % (t.name, took, what)] + t.rows +
                            ["#   " + line[:2000] for line in t.lines])


def run_named(name):
    return run_one(next(f for f in TESTS if f.__name__ == name))


def end_quietly(*_):
    raise SystemExit(1)         # every lab is removed on the way


def run_all(chosen):
    """JOBS tests at a time; they wait more than they work."""
    jobs = int(os.environ.get("JOBS", "2"))
    good = []
    signal.signal(signal.SIGTERM, end_quietly)
    with multiprocessing.get_context("fork").Pool(min(jobs, len(chosen)), maxtasksperchild=1) \
            as pool:
        for ok, text in pool.imap_unordered(run_named, [f.__name__ for f in chosen]):
            print(text, flush=True)
            good.append(ok)
    return good


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
        good = run_all(chosen)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0 if all(good) else 1
