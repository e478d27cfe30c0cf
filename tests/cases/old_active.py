"""old_active.py - a syncd that came too late, as node 1: it has the right key and
certificate and the standby's log, and sends a record of a generation that is over.
Speaks just enough of syncer/PROTOCOL.md and LOG.md for that."""
import hashlib
import socket
import ssl
import struct

PEER_HELLO, PEER_FACTS, PEER_BATCH, PEER_ACK, PEER_NEWER, PEER_TROUBLE = 1, 16, 21, 22, 25, 26
CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    CRC_TABLE.append(n)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xffffffff


def record(lsn, gen, prev, shard, payload):
    length = struct.pack(">I", 72 + len(payload))
    middle = struct.pack(">HBBQQQQ", shard, 7, 1, lsn, gen, 12345, 1)[:36]
    chain = hashlib.sha256(prev + length + middle + payload).digest()[:16]
    body = middle + chain + struct.pack(">Q", 0) + payload
    data = b"mpR1" + length + struct.pack(">I", crc32c(body)) + body
    return data + b"\0" * (-len(data) % 8)


class OldActive:
    def __init__(self, host, port, cert, key, cluster="test"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.load_cert_chain(cert, key)
        self.sock = tls.wrap_socket(socket.create_connection((host, port), 5))
        self.sock.settimeout(5)
        name = cluster.encode()
        self.send(PEER_HELLO, struct.pack(">HH", 1, len(name)) + name + bytes([1, 0]))

    def send(self, type_, body):
        self.sock.sendall(struct.pack(">IBBH", len(body), type_, 1, 0) + body)

    def exact(self, n):
        data = b""
        while len(data) < n:
            got = self.sock.recv(n - len(data))
            if not got:
                raise ConnectionError("closed")
            data += got
        return data

    def wait_for(self, *types):
        """The next frame of one of these types."""
        while True:
            n, type_, _, _ = struct.unpack(">IBBH", self.exact(8))
            body = self.exact(n)
            if type_ in types:
                return type_, body

    def facts(self):
        """The standby's (ruling generation, tip, hash of the tip)."""
        body = self.wait_for(PEER_FACTS)[1]
        ruling, _, tip = struct.unpack(">QQQ", body[12:36])
        return ruling, tip, body[36:52]

    def batch(self, gen, lsn, prev, shard, payload):
        self.send(PEER_BATCH, struct.pack(">QQQ", gen, lsn - 1, lsn) + prev +
                  struct.pack(">I", 1) + record(lsn, gen, prev, shard, payload))
