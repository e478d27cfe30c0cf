#!/usr/bin/python3
"""questions.py - what hagentd asks a syncd that does not answer: one hagentd whose peer is
silent, and this program as its syncd (lib/agentlink.h).
"""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentpair        # noqa: E402

LINKS = """
link "u1" { interface = "eth1" address = { "ha-1=10.1.0.1", "ha-2=10.1.0.2" } }
syncd-socket = "%(work)s/syncd.sock"
keepalive-ms = 100
warntime-ms = 300
deadtime-ms = 1000
"""
HELLO, QUERY, STATE = 1, 7, 32
# A standby that waits and has just heard its peer; no generation yet.
ANSWER = struct.pack(">8B", 0, 0, 0, 0, 1, 0, 1, 0) + bytes(8 + 16 + 8 + 16 + 3 + 8) + \
    bytes(3 * 8 + 16 + 4 * 8) + struct.pack(">qI", 0, 500)


class Syncd:
    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(1)
        self.listener.settimeout(20)
        self.sock, self.buffer = None, b""

    def accept(self):
        self.sock, self.buffer = self.listener.accept()[0], b""
        self.answer()

    def answer(self):
        self.sock.sendall(struct.pack(">IHBBI", len(ANSWER), STATE, 1, 0, 0) + ANSWER)

    def questions(self, seconds, most=None):
        """So many came within that time; waits no longer when there are `most`."""
        end, n = time.monotonic() + seconds, 0
        while n != most and (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                got = self.sock.recv(65536)
            except TimeoutError:
                break
            if not got:
                raise OSError("hagentd closed the channel")
            self.buffer += got
            while len(self.buffer) >= 12:
                size, kind = struct.unpack_from(">IH", self.buffer)
                if len(self.buffer) < 12 + size:
                    break
                self.buffer = self.buffer[12 + size:]
                n += kind == QUERY
        return n


def main():
    with agentpair.Pair("questions", LINKS) as pair:
        os.chmod(pair.work, 0o711)
        syncd = Syncd(pair.work + "/syncd.sock")
        pair.veth("eth1")
        pair.net(1, "ip addr add 10.1.0.1/24 dev eth1")
        pair.start((1,))
        syncd.accept()
        pair.check("a silent peer makes it ask syncd", syncd.questions(10, 1) == 1)
        more = syncd.questions(2)
        pair.check("once, while there is no answer (%d more)" % more, more == 0)
        many = 0
        for _ in range(20):
            syncd.answer()
            many += syncd.questions(2, 1)
        pair.check("again after each answer (%d of 20)" % many, many == 20)
        syncd.sock.close()
        syncd.accept()
        pair.check("a question that died with its channel is asked anew",
                   syncd.questions(10, 1) == 1)
        syncd.sock.close()


agentpair.case(main)
