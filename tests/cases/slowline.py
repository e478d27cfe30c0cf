"""slowline.py - a serial line made of two ptys that carries as many bytes a second as a
real one of its speed, in a thread.  What waits to be carried is counted, never dropped:
a sender that does not know the speed of the line shows as a backlog.
"""
import os
import select
import termios
import threading
import time
import tty

STEP_S = 0.01


class Line:
    def __init__(self, links, baud):
        """links: paths that become symbolic links to the two terminals."""
        self.rate = baud / 10.0         # bytes a second: start, eight bits, stop
        self.most = 0
        self.links = links
        self.masters = []
        for link in links:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.symlink(os.ttyname(slave), link)
            os.set_blocking(master, False)
            os.close(slave)
            self.masters.append(master)
        self.waiting = [b"", b""]       # read from master i, for the other one
        self.ending = False
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def read(self, i):
        try:
            self.waiting[i] += os.read(self.masters[i], 4096)
        except OSError:
            pass                        # nothing, or nobody has the terminal open

    def write(self, i, count):
        try:
            sent = os.write(self.masters[1 - i], self.waiting[i][:count])
            self.waiting[i] = self.waiting[i][sent:]
        except OSError:
            self.waiting[i] = self.waiting[i][count:]   # nobody listens

    def carry(self):
        credit, before = [0.0, 0.0], time.monotonic()
        while not self.ending:
            ready, _, _ = select.select(self.masters, [], [], STEP_S)
            now = time.monotonic()
            for i in (0, 1):
                if self.masters[i] in ready:
                    self.read(i)
                self.most = max(self.most, len(self.waiting[i]))
                credit[i] = min(credit[i] + (now - before) * self.rate,
                                max(1.0, len(self.waiting[i])))
                count = int(credit[i])
                if count > 0 and self.waiting[i]:
                    self.write(i, count)
                    credit[i] -= count
            before = now
            if len(ready) > 0:
                time.sleep(STEP_S)      # a hung up terminal is always ready

    def put(self, i, data):
        """Noise for the terminal of links[i], between what comes over the line."""
        self.waiting[1 - i] += data

    def modes(self, i):
        """termios of the terminal of links[i]."""
        return termios.tcgetattr(self.masters[i])

    def close(self):
        self.ending = True
        self.thread.join()
        for fd, link in zip(self.masters, self.links):
            os.close(fd)
            os.unlink(link)
        return self.most
