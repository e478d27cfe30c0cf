#!/usr/bin/env python3
"""fake_syncd.py - the owner side of syncd (lib/owner.h) for tests of maild alone.

Every append is committed at once, in one process, without a second node.  Records are
kept in memory and, with --journal, in a file, so that owners can be replayed.
SIGUSR1 toggles between active and standby, SIGUSR2 between taking appends and refusing
them ("not stored twice yet").  It promises no durability: it is a test fixture.
"""
import argparse
import asyncio
import os
import signal
import struct
import sys
import time

HELLO, ATTACH, APPEND, APPLIED, CHECKPOINT = 1, 2, 3, 4, 5
ROLE, RECORD, COMMITTED, BATCH_END, REFUSED, LIVE = 32, 33, 34, 35, 36, 37
NOT_ACTIVE, NOT_TWICE = 1, 2
GEN_JOIN = 2


class Syncd:
    def __init__(self, args):
        self.active = args.role == "active"
        self.copies = args.copies
        self.refusing = False
        self.gen_no = 2
        self.gen_id = os.urandom(16)
        self.records = []           # (lsn, origin, shard, type, time_ms, payload)
        self.clients = set()
        self.journal = None
        if args.journal:
            self.load(args.journal)
            self.journal = open(args.journal, "ab")

    def load(self, path):
        if not os.path.exists(path):
            return
        data = open(path, "rb").read()
        at = 0
        while at + 31 <= len(data):
            lsn, origin, shard, kind, ms, size = struct.unpack_from(">QQHBQI", data, at)
            at += 31
            if at + size > len(data):
                break
            self.records.append((lsn, origin, shard, kind, ms, data[at:at + size]))
            at += size

    def add(self, origin, shard, kind, payload):
        lsn = self.records[-1][0] + 1 if self.records else 1
        record = (lsn, origin, shard, kind, int(time.time() * 1000), payload)
        self.records.append(record)
        if self.journal:
            self.journal.write(struct.pack(">QQHBQI", *record[:5], len(payload)) + payload)
            self.journal.flush()
        return record

    def role(self):
        gen = struct.pack(">Q16sQ16sBBBQ", self.gen_no, self.gen_id, 0, bytes(16), GEN_JOIN,
                          0, 3, int(time.time() * 1000))
        lsn = self.records[-1][0] if self.records else 0
        return struct.pack(">BBB", self.active, 1, self.copies) + gen + struct.pack(">Q", lsn)


class Client:
    def __init__(self, syncd, reader, writer):
        self.s, self.reader, self.writer = syncd, reader, writer
        self.shards = set()

    def send(self, kind, body=b""):
        self.writer.write(struct.pack(">IHBBI", len(body), kind, 1, 0, 0) + body)

    def send_record(self, record):
        lsn, origin, shard, kind, ms, payload = record
        self.send(RECORD, struct.pack(">QQQHBBQ", lsn, self.s.gen_no, origin, shard, kind,
                                      self.s.copies, ms) + payload)

    def attach(self, body):
        shard, after = struct.unpack(">HQ", body)
        self.shards.add(shard)
        for record in self.s.records:
            if record[2] == shard and record[0] > after:
                self.send_record(record)
        self.send(BATCH_END)
        self.send(LIVE, struct.pack(">H", shard))
        self.send(ROLE, self.s.role())

    def append(self, body):
        origin, shard, kind = struct.unpack_from(">QHB", body)
        if not self.s.active or self.s.refusing:
            why = NOT_TWICE if self.s.active else NOT_ACTIVE
            self.send(REFUSED, struct.pack(">QB", origin, why))
            return
        record = self.s.add(origin, shard, kind, body[11:])
        self.send(COMMITTED, struct.pack(">QQQBQ", origin, record[0], self.s.gen_no,
                                         self.s.copies, record[4]))
        self.send(BATCH_END)
        for other in self.s.clients:
            if other is not self and shard in other.shards:
                other.send_record(record)
                other.send(BATCH_END)

    async def run(self):
        self.s.clients.add(self)
        try:
            while True:
                head = await self.reader.readexactly(12)
                size, kind, _, _, _ = struct.unpack(">IHBBI", head)
                body = await self.reader.readexactly(size)
                if kind == HELLO:
                    self.send(ROLE, self.s.role())
                elif kind == ATTACH:
                    self.attach(body)
                elif kind == APPEND:
                    self.append(body)
                await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.s.clients.discard(self)
            self.writer.close()


def toggle(syncd, what):
    if what == "role":
        syncd.active = not syncd.active
        syncd.gen_no += 2
    else:
        syncd.refusing = not syncd.refusing
    for client in syncd.clients:
        client.send(ROLE, syncd.role())
    # Who sent the signal reads this line: from here on it holds.
    print("active=%d refusing=%d" % (syncd.active, syncd.refusing), flush=True)


async def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("socket")
    p.add_argument("--role", choices=["active", "standby"], default="active")
    p.add_argument("--copies", type=int, default=2)
    p.add_argument("--journal")
    args = p.parse_args()
    syncd = Syncd(args)
    if os.path.exists(args.socket):
        os.unlink(args.socket)
    server = await asyncio.start_unix_server(
        lambda r, w: Client(syncd, r, w).run(), args.socket, limit=4 << 20)
    os.chmod(args.socket, 0o666)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, toggle, syncd, "role")
    loop.add_signal_handler(signal.SIGUSR2, toggle, syncd, "refuse")
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
