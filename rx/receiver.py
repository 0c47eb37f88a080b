"""One call's incoming half: put packets in order, drop what repeats, and say what to acknowledge and why.

Packets below `first` have been read by the application; those from `first` to `next - 1` wait for it in order. What
arrived beyond a hole waits aside. The caller owns the delayed-acknowledgement timer.
"""

from __future__ import annotations

from collections import deque

from rx.constants import MAX_ACKS, AckReason, Flag
from rx.packet import pack_ack

_LAST = int(Flag.LAST_PACKET)
_REQUEST_ACK = int(Flag.REQUEST_ACK)
_NO_REASON = 0
_REQUESTED = int(AckReason.REQUESTED)
_DUPLICATE = int(AckReason.DUPLICATE)
_OUT_OF_SEQUENCE = int(AckReason.OUT_OF_SEQUENCE)
_EXCEEDS_WINDOW = int(AckReason.EXCEEDS_WINDOW)

PACKETS_PER_ACK = 2
"""An acknowledgement leaves at once when this many packets wait for one (rxi_SoftAckRate and rxi_HardAckRate of 1)."""

VIOLATION = -1
"""Instead of a reason: two ends, or data beyond the end. No honest peer sends that, however the network reorders."""


class Receiver:
    """What one end of a call receives."""

    __slots__ = (
        "_aside",
        "_offset",
        "_ready",
        "aside_size",
        "first",
        "last",
        "next",
        "previous",
        "read_unacked",
        "size",
        "unacked",
        "window",
    )

    def __init__(self, window: int) -> None:
        self.first = 1
        self.next = 1
        self.last = 0  # sequence number of the last packet once seen
        self.previous = 0  # highest received; rising only, because stock drops acknowledgements in which it falls
        self.window = window
        self.unacked = 0  # packets received since the last acknowledgement
        self.read_unacked = 0  # packets read since then
        self.size = 0  # bytes readable
        self.aside_size = 0  # bytes waiting beyond a hole
        self._offset = 0
        self._ready: deque[bytes] = deque()
        self._aside: dict[int, bytes] = {}

    @property
    def complete(self) -> bool:
        """Everything up to the last packet is here."""
        return self.last != 0 and self.next > self.last

    @property
    def at_end(self) -> bool:
        """Complete, and all of it read."""
        return self.size == 0 and self.complete

    def accept(self, seq: int, flags: int, body: bytes) -> int:
        """Take one data packet. Returns the AckReason to answer with at once, 0 for none, or VIOLATION."""
        if seq > self.previous:
            self.previous = seq
        if seq != self.next:
            return self._accept_out_of_order(seq, flags, body)
        if seq >= self.first + self.window:
            return _EXCEEDS_WINDOW
        last = self.last
        if last:
            if seq > last or (flags & _LAST and seq < last):
                return VIOLATION
        elif flags & _LAST:
            if self._aside:
                return VIOLATION
            self.last = seq
        self._ready.append(body)
        self.size += len(body)
        self.next = seq + 1
        self.unacked += 1
        if self._aside:
            self._take_from_aside()
        return _REQUESTED if flags & _REQUEST_ACK else _NO_REASON

    def _take_from_aside(self) -> None:
        aside, seq = self._aside, self.next
        while seq in aside:
            body = aside.pop(seq)
            self._ready.append(body)
            self.size += len(body)
            self.aside_size -= len(body)
            seq += 1
        self.next = seq

    def _accept_out_of_order(self, seq: int, flags: int, body: bytes) -> int:
        if seq < self.next or seq in self._aside:
            return _DUPLICATE
        if seq >= self.first + self.window:
            return _EXCEEDS_WINDOW
        if flags & _LAST:
            if self.last or any(other > seq for other in self._aside):
                return VIOLATION
            self.last = seq
        elif seq > self.last > 0:
            return VIOLATION
        self._aside[seq] = body
        self.aside_size += len(body)
        self.unacked += 1
        return _OUT_OF_SEQUENCE

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes in order, or all there are; empty when nothing is there."""
        ready, offset = self._ready, self._offset
        if size < 0 or size >= self.size:
            packets = len(ready)
            if not packets:
                return b""
            self.first += packets
            self.read_unacked += packets
            self.size = 0
            if packets == 1:
                body = ready.popleft()
                if offset:
                    self._offset = 0
                    return body[offset:]
                return body
            if offset:
                ready[0] = ready[0][offset:]
                self._offset = 0
            data = b"".join(ready)
            ready.clear()
            return data
        return self._read_part(size)

    def _read_part(self, size: int) -> bytes:
        ready, offset = self._ready, self._offset
        self.size -= size
        head = ready[0]
        if offset + size < len(head):
            self._offset = offset + size
            return head[offset : offset + size]
        parts = []
        while size >= len(ready[0]) - offset:
            head = ready.popleft()
            parts.append(head[offset:] if offset else head)
            size -= len(head) - offset
            offset = 0
            self.first += 1
            self.read_unacked += 1
        if size:
            parts.append(ready[0][:size])
        self._offset = size
        return b"".join(parts)

    def ack_body(self, reason: int, serial: int, trailer: bytes, everything_read: bool) -> bytes:
        """The body of an ACK packet, and forget that one was due.

        `everything_read` says that all that is in order counts as read: the call is complete and nothing will be
        refused.
        """
        self.unacked = self.read_unacked = 0
        first = self.next if everything_read else self.first
        waiting = self.next - first
        if not self._aside:
            acks = b"\x01" * min(waiting, MAX_ACKS)
        else:
            vector = bytearray(min(max(self._aside) + 1 - first, MAX_ACKS))
            vector[:waiting] = b"\x01" * min(waiting, len(vector))
            for seq in self._aside:
                if seq - first < MAX_ACKS:
                    vector[seq - first] = 1
            acks = bytes(vector)
        return pack_ack(0, 0, first, self.previous, serial, reason, len(acks)) + acks + trailer

    def discard(self) -> None:
        """The call failed: keep nothing."""
        self._ready.clear()
        self._aside.clear()
        self.size = self.aside_size = self._offset = 0
