"""One call: a sender, a receiver, its timers and its end.

Applications call the methods of the first half between `Endpoint.events()` and `Endpoint.datagrams_to_send(now)`;
these only note what is wanted. The second half is for the connection. Whatever way a call ends, it ends in
`_complete`, and the first outcome wins.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from rx.constants import CHANNEL_MASK, HEADER_SIZE, AckReason, CallMode, CallState, Flag, PacketType, RxCode
from rx.errors import Abort, CallLost, ProtocolViolation, RxError
from rx.events import CallArrived, CallCompleted, DataArrived, Writable
from rx.packet import ACK_ACKS, unpack_ack
from rx.receiver import VIOLATION, Receiver
from rx.rtt import MAXIMUM_SECONDS
from rx.sender import Sender
from rx.timers import (
    BUSY_PATIENCE_SECONDS,
    NO_DEADLINES,
    PINGS_IN_SILENCE,
    REACH_PING_SECONDS,
    REACH_VALID_SECONDS,
    SOFT_ACK_SECONDS,
    Timer,
)
from rx.wire import WORD_MASK

if TYPE_CHECKING:
    from rx.connection import Connection

_ACK = int(PacketType.ACK)
_ACK_FLAGS = int(Flag.SLOW_START_OK)
_PING_FLAGS = int(Flag.SLOW_START_OK | Flag.REQUEST_ACK)
_REQUEST_ACK = int(Flag.REQUEST_ACK)
_DUPLICATE = int(AckReason.DUPLICATE)
_EXCEEDS_WINDOW = int(AckReason.EXCEEDS_WINDOW)
_PING = int(AckReason.PING)
_PING_RESPONSE = int(AckReason.PING_RESPONSE)
_DELAY = int(AckReason.DELAY)
_IDLE = int(AckReason.IDLE)
_REQUESTED = int(AckReason.REQUESTED)
_UNASKED = (0, _DELAY, _IDLE, _REQUESTED)

_RESEND, _ACK_TIMER, _KEEPALIVE, _LIFE, _HARD, _REACH = (
    int(Timer.RESEND),
    int(Timer.ACK),
    int(Timer.KEEPALIVE),
    int(Timer.LIFE),
    int(Timer.HARD),
    int(Timer.REACH),
)

_OLDER = 0x8000_0000
"""Set in the difference of two serials, taken modulo 2^32, when the first is the older."""

PACKETS_PER_ACK = 2
"""An acknowledgement leaves at once when this many packets wait for one (rxi_SoftAckRate and rxi_HardAckRate of 1)."""

PROBE_WORTH = 64 << 10
"""Bytes that wait to be sent when it pays to find out whether the path carries larger packets: some 45 of them."""

STALLED = 4
"""Backed off twice in a row: whatever is wrong with the path, larger packets may be it."""


class Call:
    """A remote procedure call in progress, from either end."""

    __slots__ = (
        "__weakref__",
        "_abort_code",
        "_accounted",
        "_ack_reason",
        "_ack_serial",
        "_announced",
        "_last_progress",
        "_last_received",
        "_last_sent",
        "_newest_ack",
        "_ping_mark",
        "_ping_serial",
        "_probe_serial",
        "_probe_size",
        "_unflushed",
        "_untold",
        "_wants_room",
        "completed",
        "connection",
        "deadlines",
        "error",
        "number",
        "peer_status",
        "queued",
        "receiver",
        "sender",
        "started",
        "state",
        "user_status",
        "wire_cid",
    )

    def __init__(self, connection: Connection, channel: int, number: int, now: float) -> None:
        limits = connection.output.limits
        self.connection = connection
        self.number = number
        self.wire_cid = connection.wire.cid | channel
        self.sender = Sender(limits.window, connection.wire.peer.round_trip)
        self.receiver = Receiver(limits.window)
        self.sender.window = connection.peer_window
        self.state = CallState.PRECALL
        self.completed = False  # CallCompleted was emitted, or would have been had the call ever been announced
        self.error: RxError | None = None
        self.user_status = 0
        self.peer_status = 0
        self.queued = False  # the server has no place to run it yet
        self.deadlines = deadlines = NO_DEADLINES.copy()
        self._abort_code: int | None = None
        self._accounted = 0
        self._ack_reason = 0
        self._ack_serial = 0
        self._newest_ack = 0  # serial of the newest acknowledgement received
        self._ping_serial = -1
        self._ping_mark = 0
        self._probe_serial = -1  # of a padded ping that asks what the path carries
        self._probe_size = 0
        self._announced = False  # the application knows of this call
        self._unflushed = False  # in output.unflushed
        self._untold = False  # received something the application was not told of
        self._wants_room = False  # `writable` was zero: tell when it is not
        self.started = self._last_sent = self._last_received = self._last_progress = now
        deadlines[_KEEPALIVE] = now + connection.ping_seconds
        deadlines[_LIFE] = now + connection.life_seconds
        deadlines[_HARD] = now + connection.hard_seconds
        wake = now + connection.wake_seconds
        if wake < connection.wake_at:
            connection.arm(wake)

    @property
    def channel(self) -> int:
        return self.wire_cid & CHANNEL_MASK

    # What the application calls.

    @property
    def writable(self) -> int:
        """Bytes that may be written now. When it is zero a Writable event will follow."""
        room = self.connection.output.limits.send_buffer - self.sender.pending_size
        if room > 0:
            return room
        self._wants_room = True
        return 0

    @property
    def readable(self) -> int:
        """Bytes that can be read now."""
        return self.receiver.size

    @property
    def at_end(self) -> bool:
        """The peer has ended writing and everything was read."""
        return self.receiver.at_end

    def write(self, data: bytes) -> None:
        """Queue bytes to send. Takes all of them, even beyond `writable`; they must not change afterwards.

        Raises the call's error when it is over.
        """
        self._check_open()
        assert not self.sender.ended, "write after end_writing"
        self.sender.queue(data)
        if not self._unflushed:
            self._want_flush()

    def end_writing(self) -> None:
        """Nothing more will be written. On the server's end that is the reply's end."""
        self._check_open()
        self.sender.ended = True
        if not self._unflushed:
            self._want_flush()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all there are by default); empty when there are none now, or no more at all (`at_end`).

        Raises the call's error when it failed.
        """
        if self.error is not None:
            raise self.error
        receiver = self.receiver
        data = receiver.read(size)
        self._account()
        if receiver.read_unacked and not receiver.complete:
            if receiver.read_unacked >= PACKETS_PER_ACK and not self._ack_reason:
                self._ack_reason, self._ack_serial = _IDLE, 0  # of no packet: the time until the read is no round trip
            if not self._unflushed:
                self._want_flush()
        return data

    def abort(self, code: int) -> None:
        """End the call with this error and tell the peer. Nothing happens when it is over already."""
        self._refuse(Abort(code))

    # What the connection calls.

    def receive_data(self, seq: int, serial: int, flags: int, body: bytes, now: float) -> None:
        """One DATA packet (or one packet of a jumbogram), opened already."""
        output = self.connection.output
        receiver = self.receiver
        if output.buffered_bytes > output.limits.buffered_bytes and (receiver.size or seq != receiver.next):
            return
        before = receiver.next
        reason = receiver.accept(seq, flags, body)
        if reason == VIOLATION:
            self._refuse(ProtocolViolation(RxCode.RX_PROTOCOL_ERROR, "data beyond the last packet"))
            return
        if reason == _DUPLICATE:
            output.statistics.duplicates_read += 1
        if self._ack_reason != _PING_RESPONSE:
            self._ack_serial = serial
            if reason:
                self._ack_reason = reason
            elif receiver.unacked >= PACKETS_PER_ACK and not self._ack_reason:
                self._ack_reason = _IDLE
        if receiver.next != before:
            self._untold = True
            self._last_progress = now
        self._last_received = now
        if not self._unflushed:
            self._want_flush()

    def receive_ack(self, serial: int, flags: int, user_status: int, datagram: bytes, now: float) -> bool:
        """One ACK packet. False when it was malformed, old, or impossible."""
        if len(datagram) < ACK_ACKS:
            return False
        _, _, first, _, acked_serial, reason, count = unpack_ack(datagram, HEADER_SIZE)
        if flags & _REQUEST_ACK:
            self._ack_reason, self._ack_serial = _PING_RESPONSE, serial
            if not self._unflushed:
                self._want_flush()
        if acked_serial == self._probe_serial and reason == _PING_RESPONSE:
            self.connection.wire.peer.path.answered(self._probe_size)
        if serial - self._newest_ack & _OLDER:
            return False
        self._newest_ack = serial
        sender = self.sender
        if acked_serial == self._ping_serial and reason == _PING_RESPONSE:
            sender.overtaken(self._ping_mark)
        acks = datagram[ACK_ACKS : ACK_ACKS + count]
        newly = sender.acknowledge(first, acks)
        if newly < 0:
            return False
        self.peer_status = user_status
        self._last_received = now
        connection = self.connection
        if acked_serial and reason != _DELAY:
            sent = sender.sent_at(acked_serial)
            if sent is not None:
                connection.wire.peer.round_trip.sample(now - sent)
                connection.output.statistics.note_rtt(now - sent)
        trailer = datagram[ACK_ACKS + count :]
        if trailer != connection.peer_trailer:
            connection.receive_trailer(trailer)
        sender.window = connection.peer_window
        if reason == _EXCEEDS_WINDOW:
            sender.refused()
        if reason == _PING_RESPONSE:
            connection.wire.peer.reachable_until = now + REACH_VALID_SECONDS
            connection.announce_arrived(now)
        if newly:
            self._progress(now)
        if not self._unflushed:
            self._want_flush()
        return True

    def receive_ackall(self, now: float) -> None:
        """The peer has everything we sent."""
        self._last_received = now
        if self.sender.acknowledge_all():
            self._progress(now)

    def receive_answer(self, now: float) -> None:
        """The server began its reply: it needs nothing of the request again."""
        if self.sender.outstanding and self.sender.acknowledge_all():
            self._progress(now)

    def receive_abort(self, code: int) -> None:
        """The peer ended the call."""
        self._complete(Abort(code or RxCode.RX_PROTOCOL_ERROR))

    def receive_busy(self, now: float) -> None:
        """The peer lives but cannot take the call yet; retransmission goes on."""
        if now < self.started + BUSY_PATIENCE_SECONDS:
            self._last_received = now

    def _progress(self, now: float) -> None:
        """The peer has received more than we knew."""
        self._last_progress = now
        sender = self.sender
        if sender.in_flight:
            self._arm(_RESEND, now + min(self._retransmit_seconds(), MAXIMUM_SECONDS))
            return
        self.deadlines[_RESEND] = inf
        if sender.finished and not self.connection.is_client:
            self._complete(None)

    def settle(self, now: float) -> None:
        """A batch of datagrams is through: tell the application what it brought."""
        self._account()
        if self._untold:
            self._untold = False
            self._tell(now)
        if self._wants_room and not self.completed:
            self._transmit(now)

    def _tell(self, now: float) -> None:
        connection = self.connection
        if self.state >= CallState.RESET:
            return
        if connection.is_client:
            connection.output.events.append(DataArrived(self))
            if self.receiver.complete:
                self._ack_reason = self._ack_reason or _IDLE
                self._complete(None)
        elif self._announced:
            connection.output.events.append(DataArrived(self))
        else:
            self.announce(now)

    def announce(self, now: float) -> None:
        """Tell the application of a call that arrived, once its client is known to receive our packets."""
        if self._announced or self.receiver.next == 1:
            return
        connection = self.connection
        if connection.check_reach and connection.wire.peer.reachable_until < now:
            if self.deadlines[_REACH] == inf:
                self._ping_reach(now)
            return
        self.deadlines[_REACH] = inf
        self._announced = True
        self.state = CallState.ACTIVE
        connection.output.statistics.calls_executed += 1
        connection.output.events.append(CallArrived(self))

    def flush(self, now: float) -> None:
        """Send what is to be sent: data, then an acknowledgement that the data did not make superfluous."""
        self._unflushed = False
        if self._abort_code is not None:
            self.connection.send_abort(self.wire_cid, self.number, self._abort_code, now, self.user_status)
            self._abort_code = None
            return
        if self.error is not None:
            return
        sender = self.sender
        sent = 0
        if sender.pending_size or sender.lost or (sender.ended and not sender.last):
            path = self.connection.wire.peer.path
            if sender.pending_size > PROBE_WORTH and path.probe_at <= now and self._newest_ack:
                self._probe_path(path.probe(now), now)
            sent = self._transmit(now)
        receiver = self.receiver
        reason = self._ack_reason
        if sent and reason in _UNASKED and receiver.complete and not self.connection.is_client:
            self._ack_reason = 0
            self.deadlines[_ACK_TIMER] = inf
            receiver.unacked = receiver.read_unacked = 0
        elif reason:
            self._send_ack(reason, self._ack_serial, now)
        elif (receiver.unacked or receiver.read_unacked) and self.deadlines[_ACK_TIMER] == inf:
            self._arm(_ACK_TIMER, now + SOFT_ACK_SECONDS)

    def _transmit(self, now: float) -> int:
        sender = self.sender
        connection = self.connection
        idle = sender.in_flight == 0
        resent = sender.resent
        sent = sender.transmit(now, connection.wire, self.wire_cid, self.number, self.user_status)
        if sent:
            self._last_sent = now
            connection.wire.peer.packets_sent += sent
            if sender.resent != resent:
                connection.wire.peer.packets_resent += sender.resent - resent
                connection.output.statistics.data_resent += sender.resent - resent
            if idle:
                self._arm(_RESEND, now + min(self._retransmit_seconds(), MAXIMUM_SECONDS))
            if sender.last and self.state == CallState.ACTIVE and not connection.is_client:
                self.state = CallState.HOLD
        if self._wants_room and sender.pending_size <= connection.output.limits.send_buffer // 2:
            self._wants_room = False
            connection.output.events.append(Writable(self))
        return sent

    def _send_ack(self, reason: int, serial: int, now: float, size: int = 0) -> None:
        """`size`: fill the datagram up to this."""
        if self._ack_reason != _PING_RESPONSE or reason == _PING_RESPONSE:
            self._ack_reason = 0
        self.deadlines[_ACK_TIMER] = inf
        self._last_sent = now
        connection = self.connection
        flags = _ACK_FLAGS
        if reason == _PING:
            flags = _PING_FLAGS
            connection.output.statistics.pings_sent += 1
            self._ping_serial = connection.wire.serial + 1 & WORD_MASK
            self._ping_mark = self.sender.mark()
        everything = self.state == CallState.DALLY
        peer = connection.wire.peer
        body = self.receiver.ack_body(reason, serial, connection.output.ack_trailer(peer.interface_mtu), everything)
        if size:
            body += bytes(size - HEADER_SIZE - len(body))
        connection.wire.send(self.wire_cid, self.number, _ACK, body, flags, self.user_status)

    def _probe_path(self, size: int, now: float) -> None:
        """Ask whether datagrams of this size arrive; 0 when there is nothing to ask."""
        if size:
            self._send_ack(_PING, 0, now, size)
            self._probe_serial, self._probe_size = self._ping_serial, size

    # Timers.

    def expire(self, now: float) -> float:
        """Run every timer that is due. Returns the next deadline."""
        for timer, when in enumerate(self.deadlines):
            if when <= now:
                self.deadlines[timer] = inf
                _ON_TIMER[timer](self, now)
        return min(self.deadlines)

    def _on_resend(self, now: float) -> None:
        if not self.sender.in_flight:
            return
        self.sender.timed_out()
        if self.sender.backoff >= STALLED:
            self.connection.wire.peer.path.stalled(now)
        self._want_flush()
        self._arm(_RESEND, now + min(self._retransmit_seconds(), MAXIMUM_SECONDS))

    def _on_ack(self, now: float) -> None:
        self._ack_reason = self._ack_reason or _DELAY
        self._ack_serial = 0
        self._want_flush()

    def _on_keepalive(self, now: float) -> None:
        interval = self.connection.ping_seconds
        if self._last_received + interval < now:
            interval /= PINGS_IN_SILENCE
        due = self._last_sent + interval
        if due <= now:
            self._probe(now)
            due = now + interval
        self._arm(_KEEPALIVE, due)

    def _probe(self, now: float) -> None:
        """Ask the peer for a sign of life. A server that has seen nothing of a call yet only answers its data."""
        sender = self.sender
        if self.connection.is_client and not self._newest_ack and sender.outstanding:
            sender.presume_lost()
            self._want_flush()
        else:
            self._send_ack(_PING, 0, now)

    def _on_life(self, now: float) -> None:
        connection = self.connection
        allowance = connection.wire.peer.round_trip.allowance()
        dead_at = self._last_received + connection.dead_seconds + allowance
        idle_at = self._last_progress + connection.idle_seconds + allowance
        if dead_at <= now:
            self._lose(RxCode.RX_CALL_DEAD, "the peer fell silent")
        elif idle_at > now:
            self._arm(_LIFE, min(dead_at, idle_at))
        elif self._waits_for_peer():
            self._lose(RxCode.RX_CALL_TIMEOUT, "the peer lives but the call makes no progress")
        else:
            self._last_progress = now
            self._arm(_LIFE, min(dead_at, now + connection.idle_seconds))

    def _waits_for_peer(self) -> bool:
        """Whether lack of progress is the peer's doing: it owes us bytes we have room for, or takes none of ours."""
        if self.sender.outstanding or self.sender.blocked:
            return True
        if self.connection.is_client:
            return self.sender.ended and self.receiver.size == 0
        return not self.receiver.complete and self.receiver.size == 0

    def _on_hard(self, now: float) -> None:
        self._lose(RxCode.RX_CALL_TIMEOUT, "the call took longer than it may")

    def _on_reach(self, now: float) -> None:
        if not self._announced:
            self.announce(now)

    def _ping_reach(self, now: float) -> None:
        self._arm(_REACH, now + REACH_PING_SECONDS)
        self._send_ack(_PING, 0, now)

    def _retransmit_seconds(self) -> float:
        return self.connection.wire.peer.round_trip.retransmit_seconds * self.sender.backoff

    def _arm(self, timer: int, when: float) -> None:
        self.deadlines[timer] = when
        connection = self.connection
        if when < connection.wake_at:
            connection.arm(when)

    # The end.

    def supersede(self) -> None:
        """The client began another call on this channel: it has our answer, or no longer wants it."""
        if self.state == CallState.HOLD:
            self._complete(None)
        else:
            self._complete(CallLost(RxCode.RX_CALL_DEAD, "the client began another call"))

    def fail(self, error: RxError) -> None:
        """The connection is dead, and this call with it; the peer is told by the connection."""
        self._complete(error)

    def _lose(self, code: int, why: str) -> None:
        """Give up, and let the peer stop too."""
        self._refuse(CallLost(code, why))

    def _refuse(self, error: RxError) -> None:
        if self.completed:
            return
        self._complete(error)
        self._abort_code = error.code
        self._want_flush()

    def _complete(self, error: RxError | None) -> None:
        """The one place where a call ends."""
        if self.completed:
            return
        self.error = error
        self.completed = True
        self.state = CallState.DALLY if error is None else CallState.RESET
        self.deadlines = NO_DEADLINES.copy()
        self.sender.discard()
        if error is not None:
            self._ack_reason = 0
            self.receiver.discard()
        connection = self.connection
        connection.output.buffered_bytes -= self._accounted
        self._accounted = 0
        if self._announced or connection.is_client:
            connection.output.events.append(CallCompleted(self, error))
        connection.release(self)

    def _check_open(self) -> None:
        if self.error is not None:
            raise self.error
        if self.completed:
            raise CallLost(RxCode.RX_EOF, "the call is over")

    def _account(self) -> None:
        """Bring the endpoint's count of buffered bytes up to date. What a call has when it completes is its owner's."""
        if self.completed:
            return
        receiver = self.receiver
        held = receiver.size + receiver.aside_size
        if held != self._accounted:
            self.connection.output.buffered_bytes += held - self._accounted
            self._accounted = held

    def _want_flush(self) -> None:
        self._unflushed = True
        self.connection.output.unflushed.append(self)

    @property
    def mode(self) -> int:
        """As rxdebug shows it (RX_MODE_*)."""
        if self.error is not None:
            return CallMode.ERROR
        if self.state == CallState.DALLY:
            return CallMode.EOF
        sending = not self.sender.ended if self.connection.is_client else self.receiver.complete
        return CallMode.SENDING if sending else CallMode.RECEIVING


_ON_TIMER = {
    _RESEND: Call._on_resend,
    _ACK_TIMER: Call._on_ack,
    _KEEPALIVE: Call._on_keepalive,
    _LIFE: Call._on_life,
    _HARD: Call._on_hard,
    _REACH: Call._on_reach,
}
