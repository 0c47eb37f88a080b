"""One call's outgoing half: cut the writer's bytes into packets, keep them until they are acknowledged, notice losses.

Packets `first` to `next - 1` have been sent and not hard-acknowledged. `_bodies`, `_orders` and `_status` describe
them in parallel: plain sequences, because this is where bulk data spends its time. Every transmission gets an order
number; a packet is lost when one sent REORDERING transmissions after it has arrived (QUIC's rule, RFC 9002 6.1.1),
which finds lost retransmissions too. The caller owns the retransmission timer.
"""

from __future__ import annotations

from collections import deque

from rx.constants import HEADER_SIZE, UNKNOWN_PEER_WINDOW, Flag, PacketType
from rx.packet import pack_header
from rx.pending import Pending
from rx.rtt import RoundTrip
from rx.window import CongestionWindow
from rx.wire import Wire

REORDERING = 3
"""Transmissions that may overtake a packet before it counts as lost: the threshold of RFC 5681. Fewer when fewer are on
the way (RFC 5827), or the loss would have to wait for a timeout.
"""

MAXIMUM_SEQ = 0xFFFF_FFFF

BURSTS = 64
"""Send times remembered for round-trip samples. A full window in bursts of four; older ones are of no use."""

_UNACKED, _ACKED, _LOST = 0, 1, 2
_LOW_BIT = bytes(byte & 1 for byte in range(256))
_ONES = bytes([_ACKED]) * 256

_DATA = int(PacketType.DATA)
_LAST = int(Flag.LAST_PACKET)
_REQUEST_ACK = int(Flag.REQUEST_ACK)


class Sender:
    """What one end of a call sends."""

    __slots__ = (
        "_bodies",
        "_bursts",
        "_congestion",
        "_disordered_until",
        "_highest_order",
        "_order",
        "_orders",
        "_recovery_order",
        "_rescue",
        "_round_trip",
        "_status",
        "backoff",
        "ended",
        "first",
        "in_flight",
        "last",
        "lost",
        "next",
        "pending",
        "resent",
        "window",
    )

    def __init__(self, maximum_window: int, round_trip: RoundTrip | None = None) -> None:
        """`round_trip`: what is known of the path, without which every loss counts as congestion."""
        self.first = 1
        self.next = 1
        self.last = 0  # sequence number of the last packet once it is cut
        self.window = min(UNKNOWN_PEER_WINDOW, maximum_window)
        self.in_flight = 0
        self.pending = Pending()
        self.ended = False
        self.backoff = 1
        self.resent = 0
        self._bodies: list[bytes | memoryview] = []
        self._orders: list[int] = []
        self._status = bytearray()
        self._order = 0
        self._highest_order = 0
        self._recovery_order = 0
        self._disordered_until = 0
        self._rescue = False  # the first packet lost in a round goes again whatever the window says (RFC 6675 5)
        self.lost = 0
        self._bursts: deque[tuple[int, float]] = deque(maxlen=BURSTS)
        self._congestion = CongestionWindow(maximum_window)
        self._round_trip = round_trip

    @property
    def finished(self) -> bool:
        """Everything including the last packet is with the peer's application."""
        return self.last != 0 and self.first > self.last

    @property
    def outstanding(self) -> bool:
        """The peer owes us an acknowledgement."""
        return self.in_flight > 0 or self.lost > 0

    @property
    def blocked(self) -> bool:
        """There is something to send and the peer's window does not admit it."""
        full = self.next >= self.first + self.window
        return full and (self.pending.size > 0 or self.lost > 0 or (self.ended and not self.last))

    @property
    def congestion_window(self) -> int:
        return self._congestion.size

    def transmit(self, now: float, wire: Wire, cid: int, number: int, user_status: int) -> int:
        """Put on the wire what the windows admit, lost packets first. Returns how many packets that was.

        Until the writer has ended, the last bytes are held back: only full packets leave.
        """
        room = self._congestion.size - self.in_flight
        if room <= 0:
            if not (self._rescue and self.lost):
                return 0
            room = 1
        self._rescue = False
        sent = self._retransmit(room, wire, cid, number, user_status) if self.lost else 0
        if (self.pending.size or self.ended) and not self.last:
            sent += self._transmit_new(room - sent, wire, cid, number, user_status)
        if sent:
            self.in_flight += sent
            bursts = self._bursts
            bursts.append((wire.serial, now))
            if len(bursts) > BURSTS:
                bursts.popleft()
        return sent

    def _transmit_new(self, room: int, wire: Wire, cid: int, number: int, user_status: int) -> int:
        size = wire.peer.mtu - HEADER_SIZE - wire.overhead
        room = min(room, self.first + self.window - self.next)
        if room <= 0:
            return 0
        pending = self.pending
        full = min(room, (pending.size - 1) // size) if pending.size > size else 0
        ends = self.ended and full < room and pending.size - full * size <= size
        count = full + ends
        if not count or self.next + count > MAXIMUM_SEQ:
            return 0
        epoch, security_index, service_id = wire.epoch, wire.security_index, wire.service_id
        flags = wire.client_flag
        seq, serial, order = self.next, wire.serial, self._order
        out = wire.queue()
        bodies, cut = self._bodies, pending.cut
        for left in range(count - 1, -1, -1):
            if left:
                body = cut(size)
            elif ends:
                body = cut(pending.size)
                self.last = seq
                flags |= _LAST
            else:
                body = cut(size)
                flags |= _REQUEST_ACK
            bodies.append(body)
            spare = 0
            if wire.sealing:
                spare, body = wire.seal(cid, number, seq, bytes(body))
            serial += 1
            out.append(
                pack_header(
                    epoch,
                    cid,
                    number,
                    seq,
                    serial & MAXIMUM_SEQ,
                    _DATA,
                    flags,
                    user_status,
                    security_index,
                    spare,
                    service_id,
                )
                + body
            )
            seq += 1
        self._orders.extend(range(order + 1, order + count + 1))
        self._status += bytes(count)
        self.next = seq
        self._order = order + count
        wire.serial = serial
        return count

    def _retransmit(self, room: int, wire: Wire, cid: int, number: int, user_status: int) -> int:
        """Send lost packets again, each asking for an acknowledgement."""
        status = self._status
        out = wire.queue()
        count = 0
        index = status.find(_LOST, 0, self.window)
        while index >= 0 and count < room:
            body = self._bodies[index]
            seq = self.first + index
            flags = wire.client_flag | _REQUEST_ACK | (_LAST if seq == self.last else 0)
            spare = 0
            if wire.sealing:
                spare, body = wire.seal(cid, number, seq, bytes(body))
            wire.serial += 1
            out.append(wire.header(cid, number, seq, _DATA, flags, user_status, spare) + body)
            self._order += 1
            self._orders[index] = self._order
            status[index] = _UNACKED
            count += 1
            index = status.find(_LOST, index + 1, self.window)
        self.lost -= count
        self.resent += count
        self._disordered_until = self.next
        return count

    def acknowledge(self, first: int, acks: bytes) -> int:
        """The peer has handed everything below `first` to its application, and of what follows has what `acks` says.

        `acks` holds one byte a packet whose low bit says received. Returns how many packets are newly known to be
        received, or -1 when the acknowledgement is old or speaks of packets never sent.
        """
        gone = first - self.first
        if gone < 0 or first > self.next:
            return -1
        outstanding = self.in_flight
        newly = self._hard_acknowledge(gone) if gone else 0
        status = self._status
        size = min(len(acks), len(status))
        holes = False
        if size:
            received = acks[:size].translate(_LOW_BIT)
            if received != status[:size]:
                if received == _ONES[:size]:
                    newly += self._soft_acknowledge_all(size)
                else:
                    newly += self._soft_acknowledge(received)
            holes = _UNACKED in received
        if newly:
            self.backoff = 1
        lost = self.lost
        if self.in_flight and (holes or self.first <= self._disordered_until) and self._find_losses():
            queueing = self._round_trip is None or self._round_trip.queueing
            self._congestion.lost(outstanding, self.lost - lost, queueing)
            self._rescue = True
        elif newly:
            self._congestion.acknowledged(newly)
        return newly

    def _hard_acknowledge(self, gone: int) -> int:
        status, orders = self._status, self._orders
        unacked = status.count(_UNACKED, 0, gone)
        lost = status.count(_LOST, 0, gone)
        self.in_flight -= unacked
        self.lost -= lost
        highest = max(orders[:gone]) if self.first <= self._disordered_until else orders[gone - 1]
        if highest > self._highest_order:
            self._highest_order = highest
        del self._bodies[:gone]
        del orders[:gone]
        del status[:gone]
        self.first += gone
        return unacked + lost

    def _soft_acknowledge_all(self, size: int) -> int:
        status, orders = self._status, self._orders
        unacked = status.count(_UNACKED, 0, size)
        lost = status.count(_LOST, 0, size)
        self.in_flight -= unacked
        self.lost -= lost
        status[:size] = _ONES[:size]
        highest = max(orders[:size])
        if highest > self._highest_order:
            self._highest_order = highest
        return unacked + lost

    def _soft_acknowledge(self, received: bytes) -> int:
        """The plain way: some are missing, or one acknowledged before is now withdrawn."""
        newly = 0
        status, orders = self._status, self._orders
        for index, got in enumerate(received):
            before = status[index]
            if got:
                if before == _ACKED:
                    continue
                if before == _LOST:
                    self.lost -= 1
                else:
                    self.in_flight -= 1
                newly += 1
                status[index] = _ACKED
                if orders[index] > self._highest_order:
                    self._highest_order = orders[index]
            elif before == _ACKED:
                status[index] = _UNACKED
                self.in_flight += 1
        return newly

    def _find_losses(self) -> bool:
        """Mark what was overtaken. True when that begins a new round of losses."""
        status, orders = self._status, self._orders
        overtaken = self._highest_order - min(REORDERING, max(1, len(status) - 1))
        worst = 0
        index = status.find(_UNACKED)
        while index >= 0:
            if orders[index] <= overtaken:
                status[index] = _LOST
                self.in_flight -= 1
                self.lost += 1
                worst = max(worst, orders[index])
            index = status.find(_UNACKED, index + 1)
        if worst <= self._recovery_order:
            return False
        self._recovery_order = self._order
        return True

    def acknowledge_all(self) -> int:
        """The peer answered, or sent ACKALL: it has everything sent so far."""
        return self.acknowledge(self.next, b"")

    def mark(self) -> int:
        """A ping leaves now: what to tell `overtaken` when it is answered."""
        return self._order

    def overtaken(self, mark: int) -> None:
        """A ping was answered: what left before it has arrived, or is lost. The acknowledgement that follows tells
        which.

        The path works, so waiting grows no longer. This ends a stall of several losses of the same packet, which would
        double the wait each time.
        """
        self.backoff = 1
        if mark + REORDERING > self._highest_order:
            self._highest_order = mark + REORDERING
            self._disordered_until = self.next

    def refused(self) -> None:
        """The peer's window did not admit what lies beyond it: those packets go again when it does."""
        status = self._status
        beyond = status.count(_UNACKED, self.window)
        if beyond:
            status[self.window :] = status[self.window :].replace(bytes([_UNACKED]), bytes([_LOST]))
            self.in_flight -= beyond
            self.lost += beyond

    def timed_out(self) -> None:
        """Nothing came back in time: begin again with one packet, and wait twice as long the next time."""
        self._congestion.timed_out(self.in_flight)
        self.presume_lost()
        self.backoff *= 2

    def presume_lost(self) -> None:
        """Take everything unacknowledged for lost."""
        lost = self._status.count(_UNACKED)
        self._status = bytearray(self._status.replace(bytes([_UNACKED]), bytes([_LOST])))
        self.in_flight -= lost
        self.lost += lost
        self._recovery_order = self._order

    def sent_at(self, serial: int) -> float | None:
        """When the packet with this serial left, if it belongs to a burst still remembered."""
        bursts = self._bursts
        while bursts:
            last_serial, when = bursts[0]
            if serial <= last_serial:
                return when
            bursts.popleft()
        return None

    def discard(self) -> None:
        """The call is over: keep nothing."""
        self.ended = True
        self.last = self.last or max(self.next - 1, 1)
        if self.first == self.next and not self.pending.size:
            return  # as a call that went well ends
        self._bodies.clear()
        self._orders.clear()
        self._status.clear()
        self.pending.clear()
        self.in_flight = self.lost = 0
        self.first = self.next
