"""The receiving half of a call: order, duplicates, windows, and what acknowledgements say."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import AckReason, Flag
from rx.packet import ACK_HEAD
from rx.receiver import VIOLATION, Receiver
from tests.support.budget import budget

LAST, REQUEST_ACK = int(Flag.LAST_PACKET), int(Flag.REQUEST_ACK)
TRAILER = b"\0\0\0" + bytes(16)


def acknowledged(receiver: Receiver, everything_read: bool = False) -> tuple[int, bytes]:
    """First packet and vector of the acknowledgement the receiver would send."""
    body = receiver.ack_body(int(AckReason.IDLE), 0, TRAILER, everything_read)
    head = ACK_HEAD.unpack(body)
    assert len(body) == ACK_HEAD.size + head.count + len(TRAILER)
    return head.first_packet, body[ACK_HEAD.size : ACK_HEAD.size + head.count]


class ReceiverTests(SynchronousTestCase):
    """Receiver."""

    def test_any_order(self) -> None:
        """However packets are shuffled, repeated and read piecemeal, the bytes read are the bytes sent."""
        spent = budget("rx.receiver.order", full=20_000, least=300)
        random = Random(spent.seed)
        for _ in range(spent.count):
            bodies = [random.randbytes(random.choice((0, 1, 50, 1416))) for _ in range(random.randrange(1, 40))]
            wire = [(seq, LAST if seq == len(bodies) else 0, body) for seq, body in enumerate(bodies, 1)]
            wire = random.sample(wire, len(wire)) + random.choices(wire, k=5)
            receiver, got = Receiver(255), bytearray()
            for packet in wire:
                self.assertIn(receiver.accept(*packet), (0, AckReason.DUPLICATE, AckReason.OUT_OF_SEQUENCE))
                if random.random() < 0.5:
                    got += receiver.read(random.choice((-1, 0, 1, 7, 1500, 10**6)))
            self.assertTrue(receiver.complete)
            got += receiver.read()
            self.assertTrue(receiver.at_end)
            self.assertEqual(bytes(got), b"".join(bodies))
            self.assertEqual((receiver.size, receiver.aside_size), (0, 0))

    def test_reasons(self) -> None:
        """Each way of arriving has its reason: requested, gap, repeated, beyond the window."""
        receiver = Receiver(4)
        self.assertEqual(receiver.accept(1, 0, b"a"), 0)
        self.assertEqual(receiver.accept(2, REQUEST_ACK, b"b"), AckReason.REQUESTED)
        self.assertEqual(receiver.accept(4, 0, b"d"), AckReason.OUT_OF_SEQUENCE)
        self.assertEqual(receiver.accept(4, 0, b"d"), AckReason.DUPLICATE)
        self.assertEqual(receiver.accept(1, 0, b"a"), AckReason.DUPLICATE)
        self.assertEqual(receiver.accept(5, 0, b"e"), AckReason.EXCEEDS_WINDOW)
        self.assertEqual(receiver.accept(2**32 - 1, 0, b"z"), AckReason.EXCEEDS_WINDOW)
        self.assertEqual(acknowledged(receiver), (1, b"\1\1\0\1"))

    def test_window_closes_until_read(self) -> None:
        """Unread packets keep the window shut; reading them opens it by whole packets only."""
        receiver = Receiver(2)
        receiver.accept(1, 0, b"aa")
        receiver.accept(2, 0, b"bb")
        self.assertEqual(receiver.accept(3, 0, b"cc"), AckReason.EXCEEDS_WINDOW)
        receiver.read(1)
        self.assertEqual(receiver.accept(3, 0, b"cc"), AckReason.EXCEEDS_WINDOW)
        self.assertEqual(receiver.read(1), b"a")
        self.assertEqual(receiver.accept(3, 0, b"cc"), 0)
        self.assertEqual(acknowledged(receiver), (2, b"\1\1"))

    def test_two_ends(self) -> None:
        """Data beyond the last packet, or a second last packet, is a violation however it arrives."""
        for packets in (
            [(1, LAST), (2, 0)],
            [(2, LAST), (3, 0)],
            [(2, LAST), (1, LAST)],
            [(3, 0), (2, LAST)],
            [(3, LAST), (2, LAST)],
            [(2, 0), (1, LAST)],
        ):
            receiver = Receiver(16)
            reasons = [receiver.accept(seq, flags, b"x") for seq, flags in packets]
            self.assertEqual(reasons[-1], VIOLATION, packets)

    def test_previous_never_falls(self) -> None:
        """previousPacket is the highest seen: stock drops acknowledgements in which it goes backwards."""
        receiver = Receiver(16)
        for seq in (1, 4, 2):
            receiver.accept(seq, 0, b"x")
        body = receiver.ack_body(int(AckReason.IDLE), 0, TRAILER, False)
        self.assertEqual(ACK_HEAD.unpack(body).previous_packet, 4)

    def test_everything_read(self) -> None:
        """A complete call acknowledges unread data as read."""
        receiver = Receiver(16)
        receiver.accept(1, 0, b"x")
        receiver.accept(2, LAST, b"y")
        self.assertEqual(acknowledged(receiver), (1, b"\1\1"))
        self.assertEqual(acknowledged(receiver, everything_read=True), (3, b""))

    def test_full_vector(self) -> None:
        """A window of 255 with only its far end received still fits one byte of count."""
        receiver = Receiver(255)
        receiver.accept(255, 0, b"x")
        first, vector = acknowledged(receiver)
        self.assertEqual((first, len(vector), vector[-1], sum(vector)), (1, 255, 1, 1))
