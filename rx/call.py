"""One call: what the application does with it, its timers' settings, and its end.

Applications call the methods of the first half between `Endpoint.events()` and `Endpoint.datagrams_to_send(now)`;
these only note what is wanted. The rest is for the engine: what arrives for a call is `rx/call_input.py`, what it sends
`rx/call_output.py`, what it does with time `rx/call_timers.py`; the order of packets is its `Receiver`'s and their fate
its `Sender`'s. Whatever way a call ends, it ends in `complete`, and the first outcome wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rx.constants import CHANNEL_MASK, AckReason, CallMode, CallState, RxCode
from rx.errors import Abort, CallLost, RxError
from rx.events import CallCompleted
from rx.receiver import PACKETS_PER_ACK, Receiver
from rx.rtt import MAXIMUM_SECONDS
from rx.sender import Sender
from rx.timers import NO_DEADLINES, Timer

if TYPE_CHECKING:
    from rx.connection import Connection

_IDLE = int(AckReason.IDLE)
_KEEPALIVE, _LIFE, _HARD = int(Timer.KEEPALIVE), int(Timer.LIFE), int(Timer.HARD)


class Call:
    """A remote procedure call in progress, from either end."""

    __slots__ = (
        "_accounted",
        "abort_code",
        "ack_reason",
        "ack_serial",
        "announced",
        "completed",
        "connection",
        "deadlines",
        "error",
        "last_progress",
        "last_received",
        "last_sent",
        "newest_ack",
        "number",
        "peer_status",
        "ping_mark",
        "ping_serial",
        "probe_serial",
        "probe_size",
        "queued",
        "receiver",
        "sender",
        "started",
        "state",
        "unflushed",
        "untold",
        "user_status",
        "wants_room",
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
        self.abort_code: int | None = None
        self._accounted = 0
        self.ack_reason = 0
        self.ack_serial = 0
        self.newest_ack = 0  # serial of the newest acknowledgement received
        self.ping_serial = -1
        self.ping_mark = 0
        self.probe_serial = -1  # of a padded ping that asks what the path carries
        self.probe_size = 0
        self.announced = False  # the application knows of this call
        self.unflushed = False  # in output.unflushed
        self.untold = False  # received something the application was not told of
        self.wants_room = False  # `writable` was zero: tell when it is not
        self.started = self.last_sent = self.last_received = self.last_progress = now
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
        room = self.connection.output.limits.send_buffer - self.sender.pending.size
        if room > 0:
            return room
        self.wants_room = True
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
        self.sender.pending.add(data)
        if not self.unflushed:
            self.want_flush()

    def end_writing(self) -> None:
        """Nothing more will be written. On the server's end that is the reply's end."""
        self._check_open()
        self.sender.ended = True
        if not self.unflushed:
            self.want_flush()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all there are by default); empty when there are none now, or no more at all (`at_end`).

        Raises the call's error when it failed.
        """
        if self.error is not None:
            raise self.error
        receiver = self.receiver
        data = receiver.read(size)
        self.account()
        if receiver.read_unacked and not receiver.complete:
            if receiver.read_unacked >= PACKETS_PER_ACK and not self.ack_reason:
                self.ack_reason, self.ack_serial = _IDLE, 0  # of no packet: the time until the read is no round trip
            if not self.unflushed:
                self.want_flush()
        return data

    def abort(self, code: int) -> None:
        """End the call with this error and tell the peer. Nothing happens when it is over already."""
        self.refuse(Abort(code))

    # For the engine.

    def retransmit_seconds(self) -> float:
        """How long to wait for an acknowledgement before sending again."""
        return min(self.connection.wire.peer.round_trip.retransmit_seconds * self.sender.backoff, MAXIMUM_SECONDS)

    def arm(self, timer: int, when: float) -> None:
        """Run this timer at `when`."""
        self.deadlines[timer] = when
        connection = self.connection
        if when < connection.wake_at:
            connection.arm(when)

    # The end.

    def supersede(self) -> None:
        """The client began another call on this channel: it has our answer, or no longer wants it."""
        if self.state == CallState.HOLD:
            self.complete(None)
        else:
            self.complete(CallLost(RxCode.RX_CALL_DEAD, "the client began another call"))

    def fail(self, error: RxError) -> None:
        """The connection is dead, and this call with it; the peer is told by the connection."""
        self.complete(error)

    def lose(self, code: int, why: str) -> None:
        """Give up, and let the peer stop too."""
        self.refuse(CallLost(code, why))

    def refuse(self, error: RxError) -> None:
        """End in this error, and tell the peer its code."""
        if self.completed:
            return
        self.complete(error)
        self.abort_code = error.code
        self.want_flush()

    def complete(self, error: RxError | None) -> None:
        """The one place where a call ends."""
        if self.completed:
            return
        self.error = error
        self.completed = True
        self.state = CallState.DALLY if error is None else CallState.RESET
        self.deadlines = NO_DEADLINES.copy()
        sender = self.sender
        if sender.next > 1:
            self.connection.wire.peer.congestion_window = sender.congestion_window
        sender.discard()
        if error is not None:
            self.ack_reason = 0
            self.receiver.discard()
        connection = self.connection
        connection.output.hold(connection.wire.peer.host, -self._accounted)
        self._accounted = 0
        if self.announced or connection.is_client:
            connection.output.events.append(CallCompleted(self, error))
        connection.release(self)

    def _check_open(self) -> None:
        if self.error is not None:
            raise self.error
        if self.completed:
            raise CallLost(RxCode.RX_EOF, "the call is over")

    def account(self) -> None:
        """Bring the endpoint's count of buffered bytes up to date. What a call has when it completes is its owner's."""
        if self.completed:
            return
        receiver = self.receiver
        held = receiver.size + receiver.aside_size
        if held != self._accounted:
            self.connection.output.hold(self.connection.wire.peer.host, held - self._accounted)
            self._accounted = held

    def want_flush(self) -> None:
        """There is something to send."""
        self.unflushed = True
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
