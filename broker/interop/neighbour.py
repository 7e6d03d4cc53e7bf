#!/usr/bin/env python3
"""A busy neighbour: another tenant that uses the very topics and client ids of the interoperability suites.

    neighbour.py HOST PORT USER [--rate N]        (the password comes by NEIGHBOUR_PASSWORD)

It publishes at QoS 0 and 1, retained and not, lets wills go off, and is subscribed to everything of its own. It ends
when its standard input is closed: with 0 when it heard its own messages and nobody else's and kept its connections, with
1 and the reason otherwise. Only the standard library, MQTT 3.1.1 on plain TCP.
"""
import argparse
import asyncio
import os
import struct
import sys

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90
# Those of the suites, so that an id or a topic that is not kept apart shows at once, on one side or the other.
SUBSCRIBER, PUBLISHER, DYING = "myclientid", "myclientid2", "clean retained"
TOPICS = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA", "client_test5/x", "client_test5/TopicA")
MARK = b"neighbour"


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(first, body):
    length, size = b"", len(body)
    while True:
        size, digit = size >> 7, size & 0x7F
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


async def receive(reader):
    """The next packet: (first byte, body)."""
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return first, await reader.readexactly(length)


class Neighbour:
    def __init__(self, options):
        self.options = options
        self.password = os.environ.get("NEIGHBOUR_PASSWORD", "")
        self.sent = self.acknowledged = self.heard = self.wills = 0

    async def connect(self, client_id, will=None):
        reader, writer = await asyncio.open_connection(self.options.host, self.options.port)
        flags = 0x02 | 0x80 | 0x40 | (0x04 | 0x08 if will else 0)
        payload = text(client_id) + (text(will) + text(MARK + b" will") if will else b"")
        payload += text(self.options.user) + text(self.password)
        writer.write(packet(CONNECT, text("MQTT") + bytes([4, flags]) + struct.pack("!H", 0) + payload))
        first, body = await asyncio.wait_for(receive(reader), 10)
        if first != CONNACK or body[1] != 0:
            raise ConnectionError(f"CONNECT of {client_id} answered with {first:#x} {body.hex()}")
        return reader, writer

    async def listen(self):
        reader, writer = await self.connect(SUBSCRIBER)
        writer.write(packet(SUBSCRIBE, struct.pack("!H", 1) + text("#") + b"\x00"))
        while True:
            first, body = await receive(reader)
            if first & 0xF0 != PUBLISH:
                continue
            end = 2 + struct.unpack("!H", body[:2])[0]
            topic, payload = body[2:end], body[end:]
            if not payload.startswith(MARK):
                raise AssertionError(f"heard a foreign message on {topic!r}: {payload[:80]!r}")
            self.heard += 1

    async def publish(self):
        reader, writer = await self.connect(PUBLISHER)

        async def acknowledgements():
            while True:
                first, _ = await receive(reader)
                self.acknowledged += first == PUBACK

        reading = asyncio.create_task(acknowledgements())
        try:
            while not reading.done():
                qos, retain = self.sent & 1, (self.sent >> 1) & 1
                identifier = struct.pack("!H", self.sent % 60000 + 1) if qos else b""
                body = text(TOPICS[self.sent % len(TOPICS)]) + identifier + MARK + b" %d" % self.sent
                writer.write(packet(PUBLISH | qos << 1 | retain, body))
                await writer.drain()
                self.sent += 1
                await asyncio.sleep(1 / self.options.rate)
            await reading
        finally:
            reading.cancel()

    async def die(self):
        """Goes without a word, again and again: the will is the tenant's too."""
        while True:
            _, writer = await self.connect(DYING, will=TOPICS[2])
            await asyncio.sleep(2)
            writer.transport.abort()
            self.wills += 1
            await asyncio.sleep(1)

    async def run(self):
        loop = asyncio.get_running_loop()
        over = loop.run_in_executor(None, sys.stdin.read)
        work = [asyncio.ensure_future(part) for part in (self.listen(), self.publish(), self.die())]
        done, _ = await asyncio.wait([over, *work], return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in work if task in done), None)
        for task in work:
            task.cancel()
        counts = f"sent {self.sent}, acknowledged {self.acknowledged}, heard {self.heard}, wills {self.wills}"
        if failed:
            return f"{type(failed.exception()).__name__}: {failed.exception()} ({counts})"
        print(f"neighbour: {counts}")
        return None if self.heard else f"heard nothing of its own ({counts})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("--rate", type=float, default=100, help="messages per second")
    trouble = asyncio.run(Neighbour(parser.parse_args()).run())
    if trouble:
        print(f"neighbour: {trouble}", file=sys.stderr, flush=True)
    # The thread that reads the standard input would keep us waiting when we end by ourselves.
    sys.stdout.flush()
    os._exit(1 if trouble else 0)


if __name__ == "__main__":
    main()
