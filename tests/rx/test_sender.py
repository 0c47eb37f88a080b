"""The sending half of a call: cutting, windows, acknowledgements, losses."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import HEADER_SIZE, Flag
from rx.packet import unpack_header
from rx.peer import Peer
from rx.security.null import Null
from rx.sender import Sender
from rx.wire import Outbox, Wire
from tests.support.budget import budget

ADDRESS = ("10.0.0.1", 7000)
BODY = 1444 - HEADER_SIZE
LAST, REQUEST_ACK = int(Flag.LAST_PACKET), int(Flag.REQUEST_ACK)


class SenderTests(SynchronousTestCase):
    """Sender, with the wire it writes to laid open."""

    def setUp(self) -> None:
        self.outbox: Outbox = {}
        self.wire = Wire(self.outbox, Peer(ADDRESS, 1444), 0x80000001, 4, 1, True, Null())
        self.sender = Sender(255)

    def transmit(self, now: float = 0.0) -> list[tuple[int, int, bytes]]:
        """What leaves: (seq, flags, body) of each packet."""
        self.sender.transmit(now, self.wire, 4, 1, 0)
        packets = self.outbox.pop(ADDRESS, [])
        return [(unpack_header(each)[3], unpack_header(each)[6] & 0xFE, each[HEADER_SIZE:]) for each in packets]

    def begin(self, packets: int, window: int = 255) -> None:
        """Have `packets` full packets on the way and more waiting."""
        self.sender.window = window
        self.sender.pending.add(bytes(BODY * 1000))
        while self.sender.next <= packets:
            before = self.sender.next
            self.transmit()
            if self.sender.next == before:
                break

    def test_cutting(self) -> None:
        """Whatever sizes are written, full packets leave in order, the rest with the last, the bytes unchanged."""
        spent = budget("rx.cutting", full=20_000, least=300)
        random = Random(spent.seed)
        for _ in range(spent.count):
            self.setUp()
            sizes = random.choices((0, 1, 5, BODY - 1, BODY, BODY + 1, 3 * BODY, 5000), k=random.randrange(6))
            pieces = [random.randbytes(size) for size in sizes]
            for piece in pieces:
                self.sender.pending.add(piece)
                if random.random() < 0.3:
                    self.sender.window = random.randrange(1, 256)
            packets = self.transmit()
            self.sender.ended = True
            while not self.sender.finished:
                packets += self.transmit()
                self.sender.acknowledge_all()
            self.assertEqual(b"".join(body for _, _, body in packets), b"".join(pieces))
            self.assertEqual([seq for seq, _, _ in packets], list(range(1, len(packets) + 1)))
            self.assertEqual([bool(flags & LAST) for _, flags, _ in packets], [False] * (len(packets) - 1) + [True])
            self.assertTrue(all(len(body) == BODY for _, _, body in packets[:-1]))

    def test_nothing_written(self) -> None:
        """A call that writes nothing sends one empty last packet."""
        self.sender.ended = True
        self.assertEqual(self.transmit(), [(1, LAST, b"")])
        self.assertEqual(self.transmit(), [])

    def test_partial_packet_waits(self) -> None:
        """Less than a packet is held back until the writer ends."""
        self.sender.pending.add(b"abc")
        self.assertEqual(self.transmit(), [])
        self.sender.ended = True
        self.assertEqual(self.transmit(), [(1, LAST, b"abc")])

    def test_peer_window(self) -> None:
        """Never more than the peer's window beyond what it has read, soft acknowledgements or not."""
        self.begin(8, window=8)
        self.assertEqual(self.sender.next, 9)
        self.sender.acknowledge(1, b"\1" * 8)
        self.assertEqual(self.transmit(), [])
        self.sender.acknowledge(4, b"\1" * 5)
        self.assertEqual([seq for seq, _, _ in self.transmit()], [9, 10, 11])

    def test_burst_asks_for_acknowledgement(self) -> None:
        """The last packet of a burst asks to be acknowledged, unless it is the call's last."""
        self.sender.pending.add(bytes(BODY * 4 + 1))
        self.assertEqual([flags for _, flags, _ in self.transmit()], [0, 0, 0, REQUEST_ACK])
        self.sender.ended = True
        self.assertEqual([flags for _, flags, _ in self.transmit()], [LAST])

    def test_overtaken_packet_is_lost(self) -> None:
        """A packet is sent again once three sent after it have arrived, no earlier, and only once."""
        self.begin(16)
        self.sender.acknowledge(1, b"\0\1\1")
        self.assertNotIn(1, [seq for seq, _, _ in self.transmit()])
        self.sender.acknowledge(1, b"\0\1\1\1")
        self.assertEqual(self.transmit()[0][:2], (1, REQUEST_ACK))
        self.sender.acknowledge(1, b"\0\1\1\1\1\1")
        self.assertNotIn(1, [seq for seq, _, _ in self.transmit()])

    def test_lost_retransmission(self) -> None:
        """A retransmission that was itself overtaken by three is lost too."""
        self.begin(16)
        self.sender.acknowledge(1, b"\0" + b"\1" * 15)
        self.assertEqual(self.transmit()[0][0], 1)
        following = self.sender.next
        self.assertGreaterEqual(following, 20)
        self.sender.acknowledge(1, b"\0" + b"\1" * (following - 2))
        self.assertIn(1, [seq for seq, _, _ in self.transmit()])

    def test_one_halving_a_round(self) -> None:
        """Many losses of one flight halve the congestion window once."""
        self.begin(16)
        self.sender.acknowledge(1, b"\0\1\0\1\0\1\0\1\1\1\1\1\1\1\1\1")
        self.assertEqual(self.sender.congestion_window, 8)
        self.sender.acknowledge(2, b"\1\0\1\0\1\0\1\1\1\1\1\1\1\1\1")
        self.assertGreaterEqual(self.sender.congestion_window, 8)

    def test_withdrawn(self) -> None:
        """A packet once said to have arrived and then said to be missing counts as under way again."""
        self.begin(4, window=4)
        self.sender.acknowledge(1, b"\1\1\1\1")
        self.assertFalse(self.sender.outstanding)
        self.sender.acknowledge(1, b"\1\0\1\1")
        self.assertTrue(self.sender.outstanding)
        self.sender.timed_out()
        self.assertEqual([seq for seq, _, _ in self.transmit()], [2])

    def test_timeout(self) -> None:
        """After a timeout everything unacknowledged goes again, one packet first."""
        self.begin(8, window=8)
        self.sender.acknowledge(3, b"\0\1")
        self.sender.timed_out()
        self.assertEqual([seq for seq, _, _ in self.transmit()], [3])
        self.sender.acknowledge(4, b"\1")
        self.assertEqual([seq for seq, _, _ in self.transmit()], [5, 6])

    def test_impossible(self) -> None:
        """Acknowledgements of what was never sent, or below what is settled, are refused and change nothing."""
        self.begin(4, window=4)
        self.assertEqual(self.sender.acknowledge(6, b""), -1)
        self.assertEqual(self.sender.acknowledge(2**32 - 1, b"\1" * 255), -1)
        self.sender.acknowledge(3, b"")
        self.assertEqual(self.sender.acknowledge(2, b"\1\1\1"), -1)
        self.assertEqual((self.sender.first, self.sender.next, self.sender.in_flight), (3, 5, 2))

    def test_claims_beyond_the_sent_are_cut(self) -> None:
        """A vector that runs beyond what was sent counts only as far as that."""
        self.begin(4, window=4)
        self.assertEqual(self.sender.acknowledge(1, b"\1" * 255), 4)
        self.assertFalse(self.sender.outstanding)

    def test_answered_ping(self) -> None:
        """What left before a ping and is not in its answer is lost; what left after is not."""
        self.begin(2, window=2)
        mark = self.sender.mark()
        self.sender.window = 4
        self.transmit()
        self.sender.overtaken(mark)
        self.sender.acknowledge(1, b"\0\1")
        self.assertEqual([seq for seq, _, _ in self.transmit() if seq < 5], [1])

    def test_counts_add_up(self) -> None:
        """Under random acknowledgements, honest or not, the counts stay those of the packets."""
        spent = budget("rx.sender.counts", full=20_000, least=200)
        random = Random(spent.seed)
        for _ in range(spent.count):
            self.setUp()
            self.sender.pending.add(bytes(BODY * 200))
            self.sender.ended = True
            for _ in range(30):
                self.transmit()
                first = self.sender.first + random.choice((0, 0, 0, 1, 2, 5, -1))
                acks = bytes(random.choices((0, 1, 1, 1, 255, 254), k=random.randrange(20)))
                self.sender.acknowledge(max(first, 0), acks)
                if random.random() < 0.1:
                    self.sender.timed_out()
                status = self.sender._status
                self.assertEqual(self.sender.in_flight, status.count(0))
                self.assertEqual(self.sender.lost, status.count(2))
                self.assertEqual(len(status), self.sender.next - self.sender.first)
                self.assertEqual(len(self.sender._bodies), len(status))
                self.assertEqual(len(self.sender._orders), len(status))
                self.assertGreaterEqual(self.sender.congestion_window, 1)

    def test_small_packets_for_a_small_peer(self) -> None:
        """A peer that takes less is sent less."""
        self.wire.peer.announce_mtu(520, 520)
        self.sender.pending.add(bytes(1000))
        self.sender.ended = True
        self.assertEqual([len(body) for _, _, body in self.transmit()], [492, 492, 16])
