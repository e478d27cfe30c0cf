#!/usr/bin/env python3
"""Power cuts on a real file system: power_cut.py FAULT [ROUNDS [SEED [SUBJECT...]]]

FAULT is the program of fault.c.  For each of its subjects: an ext4 of its own in an image
file; the work begins on it; at a random moment the file system is shut down by
EXT4_IOC_SHUTDOWN, with its journal written out or not; it is mounted again, and everything
that the work was promised has to be there.  Mounts are in a namespace of our own, which
ends with this process.  Prints "ok", "not ok" or "skip" lines.
"""
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SHUTDOWN = 0x8004587d           # _IOR('X', 125, __u32)
WITH_JOURNAL, WITHOUT_JOURNAL = 1, 2
SUBJECTS = ["log", "store", "seed", "directory", "queue", "state", "files"]
# Of the work, to the first call: where a cut says nothing.
LIMIT_S = 30


class Wrong(Exception):
    pass


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Disk:
    def __init__(self, folder):
        self.image, self.root = folder + "/image", folder + "/mnt"
        os.mkdir(self.root)
        with open(self.image, "wb") as f:
            f.truncate(96 << 20)

    def make(self):
        run("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def mount(self):
        # What no sync asked for stays out of the journal as long as possible.
        run("mount", "-o", "loop,commit=300", self.image, self.root)

    def unmount(self):
        run("umount", self.root)

    def cut(self, flag, victim=None):
        """victim: dies with the power.  A sync under way when ext4 is shut down may say that
        all is well though it wrote nothing: who is killed first cannot take it for a promise,
        as a kill is heeded before a system call returns."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            if victim is not None:
                victim.kill()
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(fd)


class Bench:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.model, self.errors = folder + "/model", folder + "/errors"
        self.disk = Disk(folder)

    def start(self, what, subject):
        """The process, after all that needs no disk of ours."""
        with open(self.errors, "w") as err:
            p = subprocess.Popen([self.program, "-d", self.disk.root + "/d", "-M", self.model, what,
                                  subject], stdout=subprocess.PIPE, stderr=err)
        if p.stdout.readline() != b"begins\n":
            raise Wrong("%s %s does not begin: exit %d" % (what, subject, p.wait()))
        return p

    def end(self, p):
        try:
            return p.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            raise Wrong("hangs") from None

    def fresh(self):
        self.disk.make()
        os.mkdir(self.disk.root + "/d")
        os.sync()
        if os.path.exists(self.model):
            os.unlink(self.model)

    def check(self, subject):
        if self.end(self.start("check", subject)) != 0:
            with open(self.errors) as f:
                raise Wrong("after the cut: %s" % f.read().strip()[-600:])

    def length(self, subject):
        """Seconds that the work takes without a cut."""
        self.fresh()
        try:
            p = self.start("work", subject)
            began = time.monotonic()
            if self.end(p) != 0:
                raise Wrong("the work fails without a cut")
            return time.monotonic() - began
        finally:
            self.disk.unmount()

    def one(self, subject, after, flag):
        self.fresh()
        try:
            p = self.start("work", subject)
            try:
                p.wait(after)           # the cut comes at its end, then
            except subprocess.TimeoutExpired:
                pass
            self.disk.cut(flag, p)
            if self.end(p) < 0 and p.returncode != -signal.SIGKILL:
                raise Wrong("the work ended by signal %d" % -p.returncode)
        finally:
            self.disk.unmount()
        self.disk.mount()
        try:
            self.check(subject)
        finally:
            self.disk.unmount()

    def subject(self, subject, rounds, rng):
        length = self.length(subject)
        for _ in range(rounds):
            for flag in (WITHOUT_JOURNAL, WITH_JOURNAL):
                after = rng.uniform(0, length * 1.1)
                try:
                    self.one(subject, after, flag)
                except Wrong as e:
                    raise Wrong("%s journal, %.0f of %.0f ms: %s" % (
                        "with" if flag == WITH_JOURNAL else "without", after * 1000,
                        length * 1000, e)) from None


def why_not(folder):
    """Why it cannot be done here, or None."""
    if os.geteuid() != 0:
        return "only root may mount an image"
    disk = Disk(folder)
    try:
        disk.make()
    except (OSError, subprocess.CalledProcessError) as e:
        err = getattr(e, "stderr", None)
        return "no ext4 on a loop device: %s" % (err.decode().strip() if err else e)
    try:
        disk.cut(WITHOUT_JOURNAL)
    except OSError as e:
        return "no EXT4_IOC_SHUTDOWN: %s" % e
    finally:
        disk.unmount()
        os.rmdir(disk.root)
    return None


def main():
    if os.environ.get("POWER_CUT_NS") is None and os.geteuid() == 0:
        os.environ["POWER_CUT_NS"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable]
                  + sys.argv)
    program, rest = os.path.abspath(sys.argv[1]), sys.argv[2:]
    rounds = int(rest[0]) if rest else 1
    seed = int(rest[1]) if len(rest) > 1 else int(time.time())
    folder = tempfile.mkdtemp(prefix="mailpair-power-cut-")
    failed = 0
    try:
        why = why_not(folder)
        if why is not None:
            print("skip power-cut: %s" % why)
            return 0
        bench = Bench(program, folder)
        for subject in rest[2:] or SUBJECTS:
            try:
                bench.subject(subject, rounds, random.Random("%d %s" % (seed, subject)))
                print("ok power-cut %s  # seed=%d cuts=%d" % (subject, seed, rounds * 2))
            except Wrong as e:
                failed = 1
                print("not ok power-cut %s  # seed=%d %s" % (subject, seed, e))
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)
    return failed


sys.exit(main())
