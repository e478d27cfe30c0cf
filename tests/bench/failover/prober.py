"""prober.py - a client that opens a new TCP connection every few milliseconds.

    prober.py ADDRESS PORT PERIOD_MS LIMIT_S

Each connection is given up after GIVE_UP_S, and more are opened meanwhile, so a dead
address does not slow the clock.  A success is the first byte of a greeting ("220",
"* OK").  On standard output: a "+" every 0.1 s in which there was a success, else a "-",
for whoever waits for the service; at the end, when standard input is closed or after
LIMIT_S, one line of JSON: [[began, ended or null], ...] in CLOCK_MONOTONIC.
"""
import heapq
import json
import os
import select
import socket
import sys
import time

GIVE_UP_S = 1.0
GREETINGS = (b"220", b"* O", b"+OK")


class Prober:
    def __init__(self, address, port, period_s):
        self.target, self.period = (address, port), period_s
        self.epoll = select.epoll()
        self.open = {}          # fd -> (socket, index)
        self.limits = []        # heap of (when, fd, index)
        self.tries = []         # [began, ended]

    def begin(self, now):
        s = socket.socket()
        s.setblocking(False)
        self.tries.append([now, None])
        try:
            s.connect(self.target)
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            return
        fd = s.fileno()
        self.open[fd] = (s, len(self.tries) - 1)
        self.epoll.register(fd, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
        heapq.heappush(self.limits, (now + GIVE_UP_S, fd, len(self.tries) - 1))

    def close(self, fd):
        s, _ = self.open.pop(fd)
        self.epoll.unregister(fd)
        s.close()

    def ready(self, fd):
        s, index = self.open[fd]
        try:
            if s.recv(200)[:3] in GREETINGS:
                self.tries[index][1] = time.monotonic()
        except OSError:
            pass
        self.close(fd)

    def give_up(self, now):
        while self.limits and self.limits[0][0] <= now:
            _, fd, index = heapq.heappop(self.limits)
            if fd in self.open and self.open[fd][1] == index:
                self.close(fd)

    def last_success(self):
        for began, ended in reversed(self.tries[-int(GIVE_UP_S / self.period) - 1:]):
            if ended is not None:
                return ended
            del began
        return 0.0

    def run(self, limit_s):
        now = time.monotonic()
        end, due, told = now + limit_s, now, now
        self.epoll.register(0, select.EPOLLIN | select.EPOLLHUP)
        while now < end:
            for fd, _ in self.epoll.poll(max(0.0, due - now)):
                if fd == 0:
                    return
                self.ready(fd)
            now = time.monotonic()
            self.give_up(now)
            if now >= due:
                self.begin(now)
                due = max(due + self.period, now)
            if now - told >= 0.1:
                told = now
                os.write(1, b"+" if now - self.last_success() < 0.1 else b"-")


def main(argv):
    prober = Prober(argv[1], int(argv[2]), float(argv[3]) / 1000)
    try:
        os.nice(-10)
    except OSError:
        pass
    prober.run(float(argv[4]))
    print("\n" + json.dumps(prober.tries), flush=True)


if __name__ == "__main__":
    main(sys.argv)
