"""What no honest peer sends: a silent drop or a clear abort, bounded memory, and the honest still served."""

from __future__ import annotations

from random import Random

from rx.constants import CHANNELS, Flag, PacketType, RxCode
from rx.events import CallArrived, CallCompleted
from rx.limits import STRAY_ANSWERS, Limits
from rx.packet import abort_body, abort_code, unpack_header
from tests.rx.cases import DirectCase
from tests.support.budget import budget
from tests.support.craft import ack_body, craft, data
from tests.support.pair import CLIENT


class GarbageTests(DirectCase):
    """Bytes that are no Rx, or hardly."""

    def test_short(self) -> None:
        """Anything shorter than a header is counted and dropped."""
        for size in range(28):
            self.assertEqual(self.give(bytes([0xFF]) * size), [])
        self.assertEqual(self.server.statistics.bogus_packets, 28)

    def test_truncations(self) -> None:
        """Every beginning of every kind of packet, with a call in progress: no exception, and the call lives."""
        call = self.arrive().call
        kinds = [
            data(bytes(100), seq=2),
            craft(PacketType.ACK, ack_body(1, b"\1")),
            craft(PacketType.DEBUG, bytes(8), number=0),
            craft(PacketType.VERSION, bytes(1), number=0),
            craft(PacketType.RESPONSE, bytes(100), number=0),
            craft(PacketType.CHALLENGE, bytes(16), number=0),
            craft(PacketType.BUSY),
            craft(PacketType.ACK, ack_body(1, b"\1" * 255)),
        ]
        for packet in kinds[1:]:
            for size in range(len(packet)):
                self.give(packet[:size])
        self.assertIsNone(call.error)

    def test_oversized(self) -> None:
        """A 64 KiB datagram of each type is no more than a packet."""
        call = self.arrive().call
        for type_ in range(256):
            if type_ not in (PacketType.ABORT, PacketType.DATA):
                self.give(craft(type_, bytes(65_000), number=1))
        self.assertIsNone(call.error)
        self.give(data(bytes(65_000), number=2))
        self.assertEqual(self.server.events()[-1].call.readable, 65_000)

    def test_unknown_types(self) -> None:
        """Types 0, 9 to 12 and from 14 are ignored, on calls, connections and from strangers."""
        call = self.arrive().call
        for type_ in (0, 9, 10, 11, 12, *range(14, 256)):
            for number in (0, 1, 2):
                self.assertEqual(self.give(craft(type_, bytes(40), number=number)), [])
                self.assertEqual(self.give(craft(type_, bytes(40), number=number, cid=0x500)), [])
        self.assertIsNone(call.error)
        self.assertEqual(len(list(self.server.server_connections)), 1)

    def test_random(self) -> None:
        """Random bytes make no connection, no call and no exception."""
        spent = budget("rx.garbage", full=500_000, least=2000)
        random = Random(spent.seed)
        for _ in range(spent.count // 10):
            self.give(*(random.randbytes(random.randrange(120)) for _ in range(10)))
        self.assertEqual(self.server.server_calls, 0)

    def test_never_an_abort_for_an_abort(self) -> None:
        """No ABORT is ever answered by an ABORT: unknown service, unknown security, dead connection, dead call."""
        for fields in ({"service_id": 99}, {"security_index": 7}, {}, {"number": 0}):
            self.assertEqual(self.give(craft(PacketType.ABORT, abort_body(1), **fields)), [])
        call = self.arrive().call
        call.abort(5)
        self.sent()
        self.assertEqual(self.give(craft(PacketType.ABORT, abort_body(1))), [])
        assert call.error is not None
        call.connection.fail(call.error, self.now)
        self.sent()
        self.assertEqual(self.give(craft(PacketType.ABORT, abort_body(1))), [])
        self.assertEqual(self.types(self.give(data(b"x", number=9))), ["ABORT"])


class StrangerTests(DirectCase):
    """Packets that belong to nothing here."""

    def test_unknown_service(self) -> None:
        """A call to a service nobody offers is refused under its own header, the client bit turned, serial 0."""
        (reply,) = self.give(data(b"x", service_id=77, cid=0x203, number=9, serial=12))
        fields = unpack_header(reply)
        self.assertEqual(fields[1:7], (0x203, 9, 0, 0, PacketType.ABORT, 0))
        self.assertEqual(fields[10], 77)
        self.assertEqual(abort_code(reply), RxCode.RX_INVALID_OPERATION)

    def test_unknown_security(self) -> None:
        """So is a security index the service does not have."""
        for index in (1, 2, 3, 4, 5, 255):
            (reply,) = self.give(data(b"x", security_index=index))
            self.assertEqual(abort_code(reply), RxCode.RX_INVALID_OPERATION)

    def test_only_data_makes_connections(self) -> None:
        """Nothing but data of a call makes the server remember a stranger."""
        for type_ in (2, 3, 4, 5, 6, 7, 9):
            self.assertEqual(self.give(craft(type_, bytes(40))), [])
        self.assertEqual(self.give(data(b"x", number=0)), [])
        self.assertEqual(list(self.server.server_connections), [])

    def test_nat_keepalive(self) -> None:
        """Stock's keepalives for NATs are not answered."""
        keepalive = craft(PacketType.VERSION, b"\0", epoch=999, cid=0, number=0, serial=0, flags=int(Flag.LAST_PACKET))
        self.assertEqual(self.give(keepalive), [])

    def test_flood_of_questions(self) -> None:
        """A thousand questions in one batch get a batch of answers."""
        answers = self.give(*([craft(PacketType.VERSION, b"\0", number=0)] * 1000))
        self.assertEqual(len(answers), STRAY_ANSWERS)


class ForgedAckTests(DirectCase):
    """Acknowledgements that lie."""

    def setUp(self) -> None:
        super().setUp()
        self.call = self.arrive().call
        self.call.write(bytes(100_000))
        self.serial = 1
        self.first = self.sent()

    def ack(self, body: bytes) -> list[bytes]:
        self.serial += 1
        return self.give(craft(PacketType.ACK, body, serial=self.serial))

    def test_count_beyond_the_body(self) -> None:
        """A count of acknowledgements larger than the packet is taken for what is there."""
        for count in range(256):
            body = ack_body(1, count=count)
            self.ack(body[:18])
            self.ack(body)
        self.assertIsNone(self.call.error)

    def test_window(self) -> None:
        """A window of 0 is one packet, one of 2^32-1 is ours; neither stops or floods."""
        self.ack(ack_body(len(self.first) + 1, words=(1444, 1444, 0, 1)))
        self.assertEqual(self.call.sender.window, 1)
        self.ack(ack_body(self.call.sender.next, words=(1444, 1444, 2**32 - 1, 1)))
        self.assertEqual(self.call.sender.window, 255)

    def test_sizes(self) -> None:
        """Packet sizes of 0, 1, 27 and 2^32-1 are brought into the range Rx allows; every packet still fits."""
        for maximum in (0, 1, 27, 519, 2**32 - 1):
            for natural in (0, 1, 27, 519, 2**32 - 1):
                packets = self.ack(ack_body(self.call.sender.next, words=(maximum, natural, 32, 1)))
                self.assertTrue(all(28 < len(packet) <= 1444 for packet in packets))
        self.assertIsNone(self.call.error)

    def test_acknowledging_the_future(self) -> None:
        """An acknowledgement of what was never sent changes nothing."""
        before = (self.call.sender.first, self.call.sender.next, self.call.sender.in_flight)
        for first in (self.call.sender.next + 1, 2**31, 2**32 - 1):
            self.ack(ack_body(first, b"\1" * 255))
        self.ack(ack_body(0, b"\1" * 255))
        self.assertEqual((self.call.sender.first, self.call.sender.next, self.call.sender.in_flight), before)

    def test_never_anything(self) -> None:
        """A peer that denies everything for ever is sent again what it denies, but never more than its window."""
        for _ in range(300):
            packets = self.ack(ack_body(1, b"\0" * 16))
            self.assertLessEqual(len(packets), 32)
            self.now += 0.5
            self.server.handle_timeout(self.now)
        self.assertLessEqual(self.call.sender.next, 33)

    def test_wrong_reasons(self) -> None:
        """Every reason byte is survived."""
        for reason in range(256):
            self.ack(ack_body(1, reason=reason, serial=reason))
        self.assertIsNone(self.call.error)


class SequenceTests(DirectCase):
    """Data packets with absurd numbers."""

    def test_huge_seq(self) -> None:
        """A sequence number beyond the window is refused with an acknowledgement and not kept."""
        call = self.arrive(b"x", last=False).call
        for seq in (257, 2**16, 2**31, 2**32 - 1):
            self.assertEqual(self.types(self.give(data(bytes(1000), seq=seq, last=False))), ["ACK"])
        self.assertEqual(call.receiver.aside_size, 0)

    def test_zero_seq(self) -> None:
        """Sequence number 0 is a duplicate of nothing."""
        self.give(data(b"x", seq=0))
        self.assertEqual(self.server.events(), [])


class FloodTests(DirectCase):
    """More of everything than the limits allow."""

    limits = Limits(
        server_connections=50,
        server_connections_per_host=20,
        server_calls=30,
        server_calls_per_host=10,
        buffered_bytes=200_000,
        buffered_bytes_per_host=100_000,
    )

    def test_connections_of_one_host(self) -> None:
        """One host's connections end at its share, whatever ports it uses; another host is still served."""
        for index in range(500):
            self.give(data(b"", cid=index * 4, last=False, seq=1), source=("10.0.0.2", 1000 + index))
        self.assertEqual(len(list(self.server.server_connections)), 20)
        self.assertEqual(self.server.statistics.refused_connections, 480)
        self.give(data(b"other", epoch=0x8000_0002), source=("10.0.0.3", 7001))
        self.assertEqual(len(list(self.server.server_connections)), 21)

    def test_shares_are_used_again(self) -> None:
        """A host whose share is used up gets new connections for its idle ones, never for calls or another host's."""
        self.give(data(b"", epoch=0x8000_0002, last=False, seq=1), source=("10.0.0.3", 7001))
        for index in range(20):
            self.give(data(b"", cid=index * 4, last=False, seq=2), source=("10.0.0.2", 7001))
        self.now += 31.0
        for index in range(30, 60):
            self.give(data(b"", cid=index * 4, last=False, seq=2), source=("10.0.0.2", 7001))
        hosts = [connection.peer[0] for connection in self.server.server_connections]
        self.assertEqual((hosts.count("10.0.0.2"), hosts.count("10.0.0.3")), (20, 1))
        self.assertEqual(self.server.server_calls, 11, "the host's ten, and the other's")
        self.assertEqual(self.server.statistics.refused_connections, 20)

    def test_connections_of_many_hosts(self) -> None:
        """All together end at the limit; calls in progress are never evicted, idle connections make room."""
        for index in range(200):
            self.give(data(b"x", cid=index * 4), source=(f"10.1.0.{index}", 7001))
        self.assertEqual(len(list(self.server.server_connections)), 50)
        self.assertEqual(self.server.server_calls, 30)
        for event in self.server.events():
            if isinstance(event, CallArrived):
                event.call.abort(1)
        self.sent()
        self.now += 31.0
        self.give(data(b"x", cid=0x9000), source=("10.2.0.1", 7001))
        self.assertEqual(len(list(self.server.server_connections)), 50)
        self.assertEqual(self.server.server_calls, 1)

    def test_calls_of_one_host(self) -> None:
        """One host's calls end at its share, the others get BUSY, and nothing of them is kept."""
        replies = []
        for index in range(5):
            for channel in range(CHANNELS):
                replies += self.give(data(b"x", cid=index * 4 + channel))
        self.assertEqual(self.server.server_calls, 10)
        self.assertEqual(self.types(replies).count("BUSY"), 10)

    def test_bytes(self) -> None:
        """Unread data ends at the limit, of all calls together; reading makes room again."""
        calls = []
        for host in range(8):
            source = (f"10.1.0.{host}", 7001)
            for seq in range(1, 61):
                self.give(data(bytes(1416), cid=host * 4, seq=seq, last=False), source=source)
        calls = [event.call for event in self.server.events() if isinstance(event, CallArrived)]
        held = sum(call.receiver.size + call.receiver.aside_size for call in calls)
        self.assertEqual(held, self.server.buffered_bytes)
        self.assertLess(held, self.limits.buffered_bytes + 8 * 2 * 1416)
        for call in calls:
            call.read()
        self.assertEqual(self.server.buffered_bytes, 0)

    def test_bytes_of_one_host(self) -> None:
        """Unread data of one host ends at its share, from whatever port; another's is still taken."""
        for port in range(4):
            for seq in range(1, 61):
                self.give(data(bytes(1416), cid=port * 4, seq=seq, last=False), source=("10.1.0.1", 7001 + port))
        share = self.limits.buffered_bytes_per_host
        self.assertGreater(self.server.buffered_bytes, share // 2)
        self.assertLess(self.server.buffered_bytes, share + 4 * 2 * 1416)
        before = self.server.buffered_bytes
        for seq in range(1, 11):
            self.give(data(bytes(1416), cid=0x900, seq=seq, last=False), source=("10.1.0.2", 7001))
        self.assertEqual(self.server.buffered_bytes, before + 10 * 1416)

    def test_bytes_beyond_holes(self) -> None:
        """Packets that wait beyond a hole count like any other."""
        for host in range(8):
            for seq in range(2, 62):
                self.give(data(bytes(1416), cid=host * 4, seq=seq, last=False), source=(f"10.1.0.{host}", 7001))
        self.assertLess(self.server.buffered_bytes, self.limits.buffered_bytes + 1416)
        self.assertGreater(self.server.buffered_bytes, self.limits.buffered_bytes // 2)

    def test_idle_connections_are_collected(self) -> None:
        """A connection unused for the idle time is forgotten, and its peer with it."""
        for index in range(10):
            call = self.arrive(cid=index * 4).call
            call.abort(1)
            self.server.events()
        self.now += self.limits.connection_idle_seconds + 1
        self.server.handle_timeout(self.now)
        self.assertEqual(list(self.server.server_connections), [])
        self.assertEqual(list(self.server.peers), [])
        self.assertEqual(self.server._connections._hosts, {})

    def test_one_call_for_each_completion(self) -> None:
        """Through a storm of new calls on one channel every arrival has its completion and nothing is left."""
        for number in range(1, 1000):
            self.give(data(b"x", number=number))
        events = self.server.events()
        arrived = [event.call for event in events if isinstance(event, CallArrived)]
        completed = [event.call for event in events if isinstance(event, CallCompleted)]
        self.assertEqual(len(arrived), 999)
        self.assertEqual(arrived[:-1], completed)
        self.assertEqual(self.server.server_calls, 1)
        self.assertEqual(self.addresses, [])
        self.assertEqual(arrived[0].connection.peer, CLIENT)
