"""A cell's database servers by the DNS, against a server of this test's own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from ipaddress import IPv4Address
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from afs import dns
from afs.dns import TYPE_AFSDB, TYPE_SRV, BadAnswer, answers, find_vlservers, nameservers, query

CELL = "example.com"
NUMBER = 4711
POINTER = b"\xc0\x0c"
"""The name that was asked for, in an answer: it is behind the header."""


def name(text: str) -> bytes:
    """As it travels."""
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(kind: int, data: bytes) -> bytes:
    """One about the name that was asked for."""
    return POINTER + struct.pack(">2HIH", kind, 1, 60, len(data)) + data


def srv(priority: int, port: int, host: str) -> bytes:
    """A record of a server."""
    return record(TYPE_SRV, struct.pack(">3H", priority, 0, port) + name(host))


def afsdb(subtype: int, host: str) -> bytes:
    """A record of a server, as of old."""
    return record(TYPE_AFSDB, struct.pack(">H", subtype) + name(host))


def answer(question: bytes, *records: bytes) -> bytes:
    """To a question, with these records."""
    number, _, _, _, _, _ = struct.unpack_from(">6H", question)
    end = question.index(b"\0", 12) + 5
    return struct.pack(">6H", number, 0x8180, 1, len(records), 0, 0) + question[12:end] + b"".join(records)


class NameServer:
    """Answers so many questions at a port of its own, by their type."""

    def __init__(self, case: SynchronousTestCase, records: dict[int, list[bytes]]) -> None:
        self.records = records
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.asked: list[int] = []
        thread = threading.Thread(target=self.serve)
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(self.socket.sendto, b"", self.address)

    def serve(self) -> None:
        """Until an empty message comes."""
        with self.socket:
            while True:
                question, peer = self.socket.recvfrom(dns.MESSAGE_MAX)
                if not question:
                    return
                end = question.index(b"\0", 12)
                (kind,) = struct.unpack_from(">H", question, end + 1)
                self.asked.append(kind)
                self.socket.sendto(answer(question, *self.records.get(kind, [])), peer)


class Asking(SynchronousTestCase):
    """A name server on the loopback network."""

    def test_srv(self) -> None:
        """SRV records say which servers there are and on which ports, those of lower priority first."""
        records = [srv(20, 7003, "127.0.0.3"), srv(10, 17003, "127.0.0.2"), afsdb(1, "127.0.0.4")]
        server = NameServer(self, {TYPE_SRV: records})
        found = find_vlservers(CELL, [server.address])
        self.assertEqual(found, [(IPv4Address("127.0.0.2"), 17003), (IPv4Address("127.0.0.3"), 7003)])
        self.assertEqual(server.asked, [TYPE_SRV])

    def test_afsdb(self) -> None:
        """Without them AFSDB records do, those about DCE aside."""
        server = NameServer(self, {TYPE_AFSDB: [afsdb(2, "127.0.0.5"), afsdb(1, "127.0.0.4")]})
        self.assertEqual(find_vlservers(CELL, [server.address]), [(IPv4Address("127.0.0.4"), 7003)])
        self.assertEqual(server.asked, [TYPE_SRV, TYPE_AFSDB])

    def test_nobody(self) -> None:
        """A cell that the DNS does not know has none; nor is there one where no server answers."""
        server = NameServer(self, {})
        self.assertEqual(find_vlservers(CELL, [server.address]), [])
        self.patch(dns, "ANSWER_SECONDS", 0.05)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            self.assertEqual(find_vlservers(CELL, [silent.getsockname()]), [])
            known = NameServer(self, {TYPE_AFSDB: [afsdb(1, "127.0.0.4")]})
            self.assertEqual(len(find_vlservers(CELL, [silent.getsockname(), known.address])), 1)
        self.assertEqual(find_vlservers(CELL, []), [])

    def test_resolver(self) -> None:
        """Whom to ask is in resolv.conf; comments, other lines and IPv6 aside."""
        path = Path(self.mktemp())
        path.write_text("# x\nsearch a.b\nnameserver 10.0.0.1\nnameserver ::1\nnameserver\nnameserver 10.0.0.2 # y\n")
        self.assertEqual(nameservers(path), [("10.0.0.1", 53), ("10.0.0.2", 53)])
        self.assertEqual(nameservers(Path(self.mktemp())), [])


class Answers(SynchronousTestCase):
    """What a name server may say."""

    def test_cut_off(self) -> None:
        """An answer that ends early is none, wherever it ends."""
        whole = answer(query(NUMBER, CELL, TYPE_SRV), srv(1, 2, "a.b"))
        self.assertEqual([each.host for each in answers(whole, NUMBER, TYPE_SRV)], ["a.b"])
        for end in range(len(whole)):
            self.assertRaises(BadAnswer, list, answers(whole[:end], NUMBER, TYPE_SRV))

    def test_another_question(self) -> None:
        """An answer to something else is none, nor is a question."""
        question = query(NUMBER, CELL, TYPE_SRV)
        self.assertRaises(BadAnswer, list, answers(answer(question), NUMBER + 1, TYPE_SRV))
        self.assertRaises(BadAnswer, list, answers(question, NUMBER, TYPE_SRV))

    def test_circle(self) -> None:
        """A name that points at itself is none."""
        circle = record(TYPE_SRV, struct.pack(">3H", 0, 0, 1) + b"\xc0\x2b")
        question = query(NUMBER, CELL, TYPE_SRV)
        message = answer(question, circle)
        pointing = message[:-2] + struct.pack(">H", 0xC000 | len(message) - 2)
        self.assertRaises(BadAnswer, list, answers(pointing, NUMBER, TYPE_SRV))

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_anything(self, tail: bytes) -> None:
        """Whatever comes is an answer or is refused."""
        message = struct.pack(">6H", NUMBER, 0x8180, 1, 2, 0, 0) + tail
        with contextlib.suppress(BadAnswer):
            list(answers(message, NUMBER, TYPE_SRV))
