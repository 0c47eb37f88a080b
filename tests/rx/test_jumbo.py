"""Jumbograms, joined and split."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import HEADER_SIZE, JUMBO_BODY, JUMBO_HEADER_SIZE, JUMBO_MAX_PACKETS, Flag, PacketType
from rx.jumbo import JUMBO_PACKET, join
from rx.limits import Limits
from rx.packet import split_jumbo, unpack_header
from tests.rx.cases import PairCase
from tests.support.budget import budget
from tests.support.craft import ack_body, craft, data
from tests.support.pair import SERVER, Network
from tests.support.sealing import INDEX, Sealing

FULL = bytes(JUMBO_BODY)
Packet = tuple[int, ...]


def split(datagrams: list[bytes]) -> list[tuple[Packet, bytes]]:
    """Every packet as its header's fields, jumbo flag off, and its body."""
    packets = []
    for datagram in datagrams:
        fields = unpack_header(datagram)
        if fields[5] != PacketType.DATA:
            packets.append((fields, datagram[HEADER_SIZE:]))
            continue
        for index, (flags, spare, body) in enumerate(split_jumbo(datagram, fields[6], fields[9])):
            header = (
                *fields[:3],
                fields[3] + index,
                fields[4] + index,
                fields[5],
                flags,
                *fields[7:9],
                spare,
                fields[10],
            )
            packets.append((header, body))
    return packets


def row(count: int, seq: int = 1, serial: int = 1, **fields: int) -> list[bytes]:
    """Full packets of one call, one after the other."""
    return [data(FULL, seq=seq + each, serial=serial + each, last=False, **fields) for each in range(count)]


class JoinTests(SynchronousTestCase):
    """What may share a datagram."""

    def sizes(self, datagrams: list[bytes], most: int = JUMBO_MAX_PACKETS) -> list[int]:
        """How many packets are in each datagram; nothing may be lost, changed or out of order."""
        joined = join(datagrams, most)
        self.assertEqual(split(joined), split(datagrams))
        sizes = [len(split([each])) for each in joined]
        for size, datagram in zip(sizes, joined, strict=True):
            longest = HEADER_SIZE + size * (JUMBO_BODY + JUMBO_HEADER_SIZE)
            self.assertLessEqual(len(datagram), longest)
        return sizes

    def test_row(self) -> None:
        """A row of full packets, and a last one of any size, share datagrams of at most so many."""
        self.assertEqual(self.sizes(row(12)), [6, 6])
        self.assertEqual(self.sizes([*row(5), data(b"end", seq=6, serial=6)]), [6])
        self.assertEqual(self.sizes(row(5), 2), [2, 2, 1])
        self.assertEqual(self.sizes(row(8), 255), [6, 2])
        self.assertEqual(self.sizes(row(3), 1), [1, 1, 1])
        self.assertEqual(self.sizes([]), [])

    def test_short_packet_ends_it(self) -> None:
        """After a packet that is not full, and after one too large, another datagram begins."""
        for body in (b"", b"short", FULL[:-1], FULL + b"x"):
            middle = [data(body, seq=2, serial=2, last=False)]
            self.assertEqual(self.sizes(row(1) + middle + row(2, 3, 3)), [2, 2], len(body))

    def test_only_what_follows(self) -> None:
        """A gap in sequence or serials, another call, connection, status or service, and other types stay apart."""
        first = row(1)
        for other in (
            row(1, 3, 2),
            row(1, 2, 3),
            row(1, 2, 2, number=2),
            row(1, 2, 2, cid=0x101),
            row(1, 2, 2, epoch=0x8000_0002),
            row(1, 2, 2, user_status=1),
            row(1, 2, 2, service_id=2),
            row(1, 2, 2, security_index=2),
            [craft(PacketType.ACK, ack_body(1), seq=2, serial=2)],
        ):
            self.assertEqual(self.sizes(first + other), [1, 1])

    def test_flags_and_checksums(self) -> None:
        """Each packet keeps its own flags and its own checksum."""
        packets = [
            data(
                FULL,
                seq=1 + each,
                serial=1 + each,
                last=each == 2,
                flags=int(Flag.REQUEST_ACK) * (each & 1),
                spare=7 + each,
            )
            for each in range(3)
        ]
        self.assertEqual(self.sizes(packets), [3])

    def test_random(self) -> None:
        """Any mixture comes out as it went in."""
        spent = budget("rx.jumbo", full=20_000, least=400)
        random = Random(spent.seed)
        for _ in range(spent.count):
            packets, seq, serial = [], 1, 1
            for _ in range(random.randrange(12)):
                seq += random.choice((1, 1, 1, 1, 2))
                serial += random.choice((1, 1, 1, 1, 2))
                body = random.choice((FULL, FULL, FULL, b"x", FULL + b"y"))
                kind = random.choice((PacketType.DATA,) * 9 + (PacketType.ACK,))
                packets.append(craft(kind, body, seq=seq, serial=serial, spare=random.randrange(3)))
            self.sizes(packets, random.randrange(1, 10))


class SendingTests(PairCase):
    """Two ends that would send them."""

    client_limits = server_limits = Limits(jumbograms=True, jumbo_packets=4)
    payload = bytes(range(256)) * 1000

    def jumbograms(self) -> set[int]:
        return {len(split([datagram])) for _, datagram in self.wire if datagram[20] == 1 and datagram[21] & Flag.JUMBO}

    def transfer(self) -> None:
        call = self.call(self.payload)
        self.assertIsNone(self.finish(call))
        self.assertTrue(self.reply(call) == self.payload)
        self.nothing_left(60.0)

    def test_taken(self) -> None:
        """As soon as the peer said so, up to as many packets as it takes, both ways."""
        self.transfer()
        self.assertEqual(max(self.jumbograms()), 4)
        self.assertEqual({who for who, datagram in self.wire if len(datagram) > 4 * JUMBO_BODY}, {"client", "server"})

    def test_lossy(self) -> None:
        """Over a network that loses and reorders everything arrives as well."""
        self.pair.network = Network(loss=0.05, jitter=0.01)
        self.transfer()
        self.assertGreater(max(self.jumbograms()), 1)

    def test_sealed(self) -> None:
        """Sealed packets go together when they come out full, and arrive either way."""
        self.pair.server.secure(INDEX, lambda: Sealing(server=True))
        self.pair.server.offer(2, (INDEX,))
        self.connection = self.pair.client.connect(SERVER, 2, Sealing())
        self.transfer()
        self.assertGreater(max(self.jumbograms()), 1)


class LargePacketTests(SendingTests):
    """On a network of larger packets those are used instead."""

    network = Network(interface_mtu=9000)

    def test_taken(self) -> None:
        """Jumbograms end where larger packets begin."""
        self.transfer()
        self.wire.clear()
        self.transfer()
        self.assertEqual(self.jumbograms(), set())
        self.assertEqual(max(len(datagram) for _, datagram in self.wire), 9000)

    def test_lossy(self) -> None:
        """The same as on a network of small ones."""
        self.pair.network = Network(interface_mtu=9000, loss=0.05, jitter=0.01)
        self.transfer()

    def test_sealed(self) -> None:
        """And so for sealed packets."""
        self.pair.server.secure(INDEX, lambda: Sealing(server=True))
        self.pair.server.offer(2, (INDEX,))
        self.connection = self.pair.client.connect(SERVER, 2, Sealing())
        self.transfer()


class NotTakenTests(PairCase):
    """A peer that takes none, as stock servers are by default."""

    client_limits = Limits(jumbograms=True)

    def test_none(self) -> None:
        """No datagram has more than one packet."""
        self.finish(self.call(bytes(100_000)))
        self.assertFalse(any(datagram[20] == 1 and datagram[21] & Flag.JUMBO for _, datagram in self.wire))
        self.assertLessEqual(max(len(datagram) for _, datagram in self.wire), JUMBO_PACKET + 4)
