"""What rxdebug is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from rx.constants import CallState, DebugType, Flag, PacketType
from rx.packet import DEBUG_CONNECTION, DEBUG_PEER, DEBUG_REQUEST, DEBUG_STATS, RX_STATISTICS
from rx.security.interfaces import Binding
from rx.security.rxkad import Level
from rx.turns import Turns
from tests.rx.cases import DirectCase
from tests.support.captures import VECTORS
from tests.support.craft import EPOCH, craft, data
from tests.support.pcap import datagrams
from tests.support.rxkad import NOW, USER, client, server

ASKER = ("10.0.0.9", 40000)


class DebugTests(DirectCase):
    """Answers to DEBUG and VERSION packets."""

    def ask(self, type_: int, index: int = 0) -> bytes:
        """The body of the answer to one question; its header is the question's without the client bit."""
        question = craft(PacketType.DEBUG, DEBUG_REQUEST.pack(type=type_, index=index), epoch=999, cid=0, number=5)
        (answer,) = self.give(question, source=ASKER)
        self.assertEqual(self.addresses, [ASKER])
        self.assertEqual(answer[:21], question[:21])
        self.assertFalse(answer[21] & Flag.CLIENT_INITIATED)
        return answer[28:]

    def test_version(self) -> None:
        """The version text, padded to 65 bytes."""
        (answer,) = self.give(craft(PacketType.VERSION, b"\0", number=0), source=ASKER)
        self.assertEqual(answer[28:], b"txafs".ljust(65, b"\0"))

    def test_captured_questions(self) -> None:
        """The questions stock rxdebug asked get answers of the sizes a stock server gave."""
        capture = list(datagrams(VECTORS / "13-rxdebug-udebug-xstat.pcap"))
        asked = 0
        for question, reply in pairwise(capture):
            if question.payload[20] in (PacketType.DEBUG, PacketType.VERSION) and question.payload[21] & 1:
                (answer,) = self.give(question.payload, source=ASKER)
                self.assertEqual(len(answer), len(reply.payload))
                self.assertEqual(answer[:28], reply.payload[:28])
                asked += 1
        self.assertEqual(asked, 3)

    def test_stats(self) -> None:
        """Calls executed are those that arrived; those waiting for their turn wait, to rxdebug, for a thread."""
        self.arrive()
        stats = DEBUG_STATS.unpack(self.ask(DebugType.GETSTATS))
        self.assertEqual((stats.calls_executed, stats.version, stats.waiting, stats.idle_threads), (1, b"S", 0, 0))
        self.server.turns = turns = Turns[str](total=3)
        for expected in ((2, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 1), (0, 2, 2)):
            turns.enter("host", "call")
            stats = DEBUG_STATS.unpack(self.ask(DebugType.GETSTATS))
            self.assertEqual((stats.idle_threads, stats.waiting, stats.waited), expected)
        turns.leave("host")
        stats = DEBUG_STATS.unpack(self.ask(DebugType.GETSTATS))
        self.assertEqual((stats.idle_threads, stats.waiting, stats.waited), (0, 1, 2))

    def connections(self, type_: int) -> list[Any]:
        """Every connection told of, as rxdebug walks them."""
        found: list[Any] = []
        while (record := DEBUG_CONNECTION.unpack(self.ask(type_, len(found)))).cid != 0xFFFF_FFFF:
            found.append(record)
        return found

    def test_connections(self) -> None:
        """GETCONN tells of connections with calls, GETALLCONN of all, each with its numbers and states."""
        self.arrive(cid=0x101, number=7)
        self.arrive(cid=0x200).call.abort(1)
        self.sent()
        self.server.events()
        self.assertEqual(len(self.connections(DebugType.GETALLCONN)), 2)
        (busy,) = self.connections(DebugType.GETCONN)
        self.assertEqual((busy.host, busy.port, busy.cid, busy.type), (b"\x0a\0\0\x02", 7001, 0x100, 1))
        self.assertEqual(busy.call_numbers, (0, 7, 0, 0))
        self.assertEqual(busy.call_states, bytes([0, CallState.ACTIVE, 0, 0]))
        self.assertEqual(busy.call_other, bytes([0, 1, 0, 0]))

    def test_connections_that_vanish(self) -> None:
        """A connection that goes while rxdebug walks ends nothing: the walk still ends with the end marker."""
        for index in range(5):
            self.arrive(cid=index * 4).call.abort(1)
            self.server.events()
        self.sent()
        self.assertEqual(len(self.connections(DebugType.GETALLCONN)), 5)
        self.now += self.limits.connection_idle_seconds + 1
        self.server.handle_timeout(self.now)
        self.assertEqual(self.connections(DebugType.GETALLCONN), [])

    def test_security(self) -> None:
        """What a connection's rxkad has let through is told with its level, its checksums and its ticket's end."""
        here, there = client(level=Level.AUTH), server()
        self.server.secure(2, lambda: there)
        self.server.offer(2, (2,))
        self.server.unix_offset = NOW - self.now
        here.bind(Binding(EPOCH, 0x300, 2))
        fields: dict[str, Any] = {"cid": 0x300, "security_index": 2, "service_id": 2}

        spare, body = here.seal(0, 1, 1, b"request")
        (challenge,) = self.give(data(body, spare=spare, **fields))
        (told,) = self.connections(DebugType.GETALLCONN)
        self.assertEqual((told.security.type, told.security.flags, told.security.expires), (3, 8, 0))

        self.give(craft(PacketType.RESPONSE, here.respond(challenge[28:], (0, 0, 0, 0)), number=0, **fields))
        (event,) = self.server.events()
        event.call.write(b"the reply")
        event.call.end_writing()
        self.sent()
        (told,) = self.connections(DebugType.GETALLCONN)
        security = told.security
        self.assertEqual((security.type, security.level, security.flags, security.expires), (3, 1, 2 | 8, USER.end))
        self.assertEqual((security.packets_received, security.packets_sent), (1, 1))
        self.assertEqual((security.bytes_received, security.bytes_sent), (len(body), len(b"the reply")))

    def test_many_connections(self) -> None:
        """A walk over thousands of connections takes each once, and looks at the whole list but once a second."""
        keys = [index * 4 for index in range(2_000)]
        for cid in keys:
            self.arrive(cid=cid)
        walked: list[int] = []
        debug = self.server.debug
        taken = debug._listed_connections
        lists: set[int] = set()

        def listed(type_: int, now: float) -> list[Any]:
            made = taken(type_, now)
            lists.add(id(made))
            return made

        debug._listed_connections = listed  # type: ignore[method-assign]
        while (record := DEBUG_CONNECTION.unpack(self.ask(DebugType.GETALLCONN, len(walked)))).cid != 0xFFFF_FFFF:
            walked.append(record.cid)
        self.assertEqual(walked, keys)
        self.assertEqual(len(lists), 1)

    def test_packets(self) -> None:
        """ "Free packets" fall by what waits to be read; files open are what the driver counted."""
        before = DEBUG_STATS.unpack(self.ask(DebugType.GETSTATS))
        self.assertEqual(before.packets, self.limits.buffered_bytes // 1444)
        self.assertEqual((before.free_packets, before.used_fds), (before.packets, 0))
        self.server.debug.count_descriptors = lambda: 7
        self.give(*(data(bytes(1000), seq=seq, last=False) for seq in range(1, 11)))
        self.now += 1.0
        after = DEBUG_STATS.unpack(self.ask(DebugType.GETSTATS))
        self.assertIn(before.free_packets - after.free_packets, (6, 7))
        self.assertEqual(after.used_fds, 7)

    def test_peers(self) -> None:
        """GETPEER tells each address once, with what was exchanged."""
        call = self.arrive().call
        call.write(b"answer")
        call.end_writing()
        self.sent()
        peer = DEBUG_PEER.unpack(self.ask(DebugType.GETPEER))
        self.assertEqual((peer.host, peer.port, peer.interface_mtu), (b"\x0a\0\0\x02", 7001, 1444))
        self.assertEqual((peer.sent, peer.resent, peer.congestion_window), (1, 0, 16))
        self.assertEqual((peer.bytes_received, peer.bytes_sent), (28 + 7, 28 + 6))
        self.assertEqual(DEBUG_PEER.unpack(self.ask(DebugType.GETPEER, 1)).host, b"\xff" * 4)

    def test_statistics(self) -> None:
        """RXSTATS counts packets by type, both ways, and what was wrong with them."""
        self.give(b"short", source=("1.2.3.4", 5))
        self.give(data(b"x"), data(b"x"))
        record = RX_STATISTICS.unpack(self.ask(DebugType.RXSTATS))
        self.assertEqual((record.bogus_packets, record.bogus_host), (1, bytes([1, 2, 3, 4])))
        self.assertEqual(record.packets_read[0], 2)
        self.assertEqual((record.data_read, record.duplicates_read), (1, 1))
        self.assertEqual((record.acks_sent, record.packets_sent[1]), (1, 1))
        self.assertEqual((record.server_connections, record.client_connections, record.peers), (1, 0, 1))

    def test_every_opcode(self) -> None:
        """Questions nobody knows get BADTYPE, whatever their number and index."""
        for type_ in (0, 6, 7, 100, -1, -8, 2**31 - 1, -(2**31)):
            for index in (0, 1, -1, 2**31 - 1, -(2**31)):
                self.assertEqual(DEBUG_REQUEST.unpack(self.ask(type_, index)), (-8, -8))
        for type_ in (1, 2, 3, 4, 5):
            for index in (-1, 2**31 - 1, -(2**31)):
                self.ask(type_, index)

    def test_not_asked(self) -> None:
        """Answers are not answered, and a question cut short is none."""
        question = DEBUG_REQUEST.pack(type=1, index=0)
        self.assertEqual(self.give(craft(PacketType.DEBUG, question, flags=0), source=ASKER), [])
        for size in range(8):
            self.assertEqual(self.give(craft(PacketType.DEBUG, question[:size]), source=ASKER), [])
