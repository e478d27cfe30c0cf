"""packets.py - what travels on a wire of a case's namespaces, seen as a bridge sees it and
not as the programs tell it: announcements of addresses counted, frames carried elsewhere.
"""
import ctypes
import os
import socket
import struct
import threading
import time

CLONE_NEWNET = 0x40000000
ARP, IP4, IP6 = 0x0806, 0x0800, 0x86dd
ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
libc = ctypes.CDLL(None, use_errno=True)


def packet_socket(pair, i, interface, ethertype):
    """Of an interface in the network of node i; opened by a thread that enters it."""
    made = []

    def enter():
        fd = os.open("/run/netns/%s-%d" % (pair.id, i), os.O_RDONLY)
        try:
            if libc.setns(fd, CLONE_NEWNET) == 0:
                made.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                made[0].bind((interface, ethertype))
        finally:
            os.close(fd)

    t = threading.Thread(target=enter)
    t.start()
    t.join()
    made[0].settimeout(0.1)
    return made[0]


def mac(pair, i, interface):
    words = pair.net(i, "ip -o link show dev %s" % interface).split()
    return bytes.fromhex(words[words.index("link/ether") + 1].replace(":", ""))


class Tap(threading.Thread):
    """Hands every packet of an interface to take(), until close()."""

    def __init__(self, pair, i, interface, ethertype):
        super().__init__(daemon=True)
        self.sock = packet_socket(pair, i, interface, ethertype)
        self.ending = False

    def run(self):
        while not self.ending:
            try:
                packet, address = self.sock.recvfrom(4096)
            except socket.timeout:
                continue
            except OSError:
                break                   # the interface is down or gone
            if address[2] != socket.PACKET_OUTGOING:
                self.take(packet)

    def close(self):
        self.ending = True
        self.join()
        self.sock.close()


class Carry(Tap):
    """Takes what comes in at one interface for an IPv4 address and a UDP port, and sends it
    out of another one, to a host there; as it is, but for the Ethernet addresses."""

    def __init__(self, pair, taken, sent, to_mac, address, port):
        super().__init__(pair, taken[0], taken[1], IP4)
        self.out = packet_socket(pair, sent[0], sent[1], 0)
        self.head = to_mac + mac(pair, sent[0], sent[1]) + IP4.to_bytes(2, "big")
        self.address, self.port = socket.inet_aton(address), port
        self.carried = 0
        self.start()

    def take(self, packet):
        if (len(packet) < 42 or packet[14] != 0x45 or packet[23] != socket.IPPROTO_UDP
                or packet[30:34] != self.address
                or int.from_bytes(packet[36:38], "big") != self.port):
            return
        # The kernel leaves the sum of UDP to an adapter, which a pair of veth never is.
        self.out.send(self.head + packet[14:40] + b"\0\0" + packet[42:])
        self.carried += 1

    def close(self):
        super().close()
        self.out.close()


def sum16(data):
    s = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return s


def announced4(p):
    """(kind, address) when an Ethernet packet is a gratuitous ARP that is right in all."""
    if len(p) < 42 or p[12:20] != bytes.fromhex("0806 0001 0800 06 04"):
        return None
    op, sender, address, other, target = struct.unpack(">H6s4s6s4s", p[20:42])
    if address != target:
        return None
    right = (p[:6] == b"\xff" * 6 and p[6:12] == sender
             and (op, other) in ((1, bytes(6)), (2, sender)))
    return ("arp request" if op == 1 else "arp reply") if right else "wrong", address


def announced6(p):
    """The same of an unsolicited neighbour advertisement."""
    if len(p) < 86 or p[12:14] != b"\x86\xdd" or p[20] != 58 or p[54] != 136:
        return None
    source, to, address = p[22:38], p[38:54], p[62:78]
    pseudo = source + to + struct.pack(">II", len(p) - 54, 58)
    right = (p[:6] == bytes.fromhex("333300000001") and to == ALL_NODES and source == address
             and p[21] == 255 and p[55] == 0 and p[58] == 0x20      # override, not solicited
             and p[78:80] == b"\x02\x01" and p[80:86] == p[6:12] and len(p) == 86
             and sum16(pseudo + p[54:]) == 0xffff)
    return "advertisement" if right else "wrong", address


class Announcements(Tap):
    """Of IPv4 or of IPv6 addresses."""

    def __init__(self, pair, i, interface, six):
        super().__init__(pair, i, interface, IP6 if six else ARP)
        self.read = announced6 if six else announced4
        self.heard = []                 # (when, kind, address, MAC)
        self.start()

    def take(self, packet):
        got = self.read(packet)
        if got is not None:
            self.heard.append((time.monotonic(), got[0], got[1], packet[6:12]))

    def times(self, kind, address, sender, since=0.0):
        return [t for t, k, a, m in list(self.heard)
                if (k, a, m) == (kind, address, sender) and t >= since]

    def senders(self, address, since):
        """Who told of it, and whether that was wrong."""
        return {(k == "wrong", m) for t, k, a, m in list(self.heard)
                if a == address and t >= since}
