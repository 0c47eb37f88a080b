"""A connection: four channels, their call numbers, and the security handshake. It belongs to an Endpoint, which finds
it for each packet.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from rx.aborts import Aborts
from rx.call import Call
from rx.constants import (
    CHANNEL_MASK,
    CHANNELS,
    HEADER_SIZE,
    JUMBO_MAX_PACKETS,
    MAX_ACKS,
    UNKNOWN_PEER_WINDOW,
    CallState,
    Flag,
    PacketType,
    RxCode,
)
from rx.errors import Abort, CallLost, RxError
from rx.handshake import Handshake
from rx.output import Output
from rx.packet import Fields, abort_code, split_jumbo, unpack_trailer
from rx.peer import Address
from rx.quota import Quota
from rx.security.interfaces import Identity, ISecurity
from rx.timers import LEAST_DEAD_SECONDS, PINGS_PER_DEAD_TIME, Patience
from rx.wire import WORD_MASK, Wire

Key = int | tuple[int, Address]
"""How a connection is found: epoch and cid, and the address too where the epoch does not identify the client alone."""

_JUMBO = int(Flag.JUMBO)
_DATA = int(PacketType.DATA)
_ABORT = int(PacketType.ABORT)
_BUSY = int(PacketType.BUSY)


class Connection:
    """Either end of a connection. Hashable by identity and weak-referenceable, so that servers can keep notes about
    clients.
    """

    __slots__ = (
        "__weakref__",
        "_aborts",
        "_busy_until",
        "_calls",
        "_handshake",
        "_quota",
        "check_reach",
        "dead_seconds",
        "error",
        "hard_seconds",
        "idle_seconds",
        "is_client",
        "last_used",
        "life_seconds",
        "nat_keepalive",
        "numbers",
        "output",
        "peer_trailer",
        "peer_window",
        "ping_seconds",
        "security",
        "service_id",
        "wake_at",
        "wake_seconds",
        "wire",
    )

    def __init__(
        self,
        output: Output,
        wire: Wire,
        patience: Patience,
        quota: Quota,
        is_client: bool,
        check_reach: bool,
        now: float,
    ) -> None:
        self.output = output
        self.wire = wire
        self.security: ISecurity = wire.security
        self.service_id = wire.service_id
        self.is_client = is_client
        self.check_reach = check_reach
        self.dead_seconds = max(patience.dead, LEAST_DEAD_SECONDS)
        self.idle_seconds = patience.idle
        self.hard_seconds = patience.hard
        self.ping_seconds = self.dead_seconds / PINGS_PER_DEAD_TIME
        self.life_seconds = min(self.dead_seconds, self.idle_seconds)
        self.wake_seconds = min(self.ping_seconds, self.life_seconds, self.hard_seconds)
        self.peer_window = UNKNOWN_PEER_WINDOW
        self.peer_trailer = b""
        self.numbers = [0] * CHANNELS
        self.error: RxError | None = None
        self.wake_at = inf
        self.last_used = now
        self.nat_keepalive = False
        self._calls: list[Call | None] = [None] * CHANNELS
        self._aborts: Aborts | None = None  # made for the first abort
        self._busy_until = [-inf] * CHANNELS
        self._quota = quota
        self._handshake = Handshake(output, wire)

    @property
    def peer(self) -> Address:
        """The address this connection's datagrams go to; what is known of it is `wire.peer`."""
        return self.wire.peer.address

    @property
    def epoch(self) -> int:
        return self.wire.epoch

    @property
    def cid(self) -> int:
        """The connection id, its channel bits clear."""
        return self.wire.cid

    @property
    def identity(self) -> Identity:
        """Who the client is, as far as the security class knows."""
        identity: Identity = self.security.identity
        return identity

    @property
    def calls(self) -> list[Call | None]:
        """The call of each channel, running or lately ended."""
        return self._calls

    @property
    def active(self) -> bool:
        """Whether any call is in progress."""
        return any(call is not None and not call.completed for call in self._calls)

    # What the application calls.

    def call(self, now: float) -> Call | None:
        """Begin a call; None when all four channels are taken. Raises the connection's error when it is dead."""
        assert self.is_client
        if self.error is not None:
            raise self.error
        best = None
        for channel, call in enumerate(self._calls):
            if call is None or call.completed:
                if self._busy_until[channel] <= now:
                    return self._begin(channel, now)
                best = channel
        return None if best is None else self._begin(best, now)

    def _begin(self, channel: int, now: float) -> Call:
        self.numbers[channel] += 1
        call = Call(self, channel, self.numbers[channel], now)
        call.state = CallState.ACTIVE
        self._calls[channel] = call
        self.last_used = now
        return call

    def close(self) -> None:
        """End every call with RX_USER_ABORT and take no more."""
        for call in self._calls:
            if call is not None:
                call.abort(RxCode.RX_USER_ABORT)
        self.error = self.error or CallLost(RxCode.RX_USER_ABORT, "the connection was closed")

    # What the endpoint calls.

    def receive(self, fields: Fields, datagram: bytes, now: float) -> None:
        """One packet that belongs to this connection. Unknown packet types are ignored."""
        self.wire.peer.bytes_received += len(datagram)
        if self.error is not None:
            if fields[5] != _ABORT and not self.is_client:
                self.send_abort(self.cid, 0, self.error.code, now)
            return
        self.last_used = now
        table = _FOR_CALL if fields[2] else _FOR_CONNECTION
        receive = table.get(fields[5])
        if receive is not None:
            receive(self, fields, datagram, now)

    def _current(self, cid: int, number: int) -> Call | None:
        call = self._calls[cid & CHANNEL_MASK]
        return call if call is not None and call.number == number else None

    def _receive_data(self, fields: Fields, datagram: bytes, now: float) -> None:
        _, cid, number, seq, serial, _, flags, user_status, _, _, _ = fields
        call = self._calls[cid & CHANNEL_MASK]
        if call is None or call.number != number:
            call = self._call_for_data(fields, datagram, now)
            if call is None:
                return
        if call.error is not None:
            self._repeat_abort(cid, number, now)
            return
        if self.is_client:
            call.receive_answer(now)
        call.peer_status = user_status
        if flags & _JUMBO or self.wire.sealing:
            self._receive_plainly(call, fields, datagram, now)
        else:
            call.receive_data(seq, serial, flags, datagram[HEADER_SIZE:], now)

    def _receive_plainly(self, call: Call, fields: Fields, datagram: bytes, now: float) -> None:
        """Jumbograms and sealed packets: packet by packet."""
        _, cid, number, seq, serial, _, flags, _, _, spare, _ = fields
        unix = now + self.output.unix_offset
        for packet_flags, packet_spare, body in split_jumbo(datagram, flags, spare):
            if self.wire.sealing:
                try:
                    body = self.security.open(cid & CHANNEL_MASK, number, seq, packet_spare, body, unix)
                except Abort as refusal:
                    self.fail(refusal, now)
                    return
            call.receive_data(seq, serial, packet_flags, body, now)
            if call.error is not None:
                return
            seq, serial = seq + 1 & WORD_MASK, serial + 1 & WORD_MASK

    def _call_for_data(self, fields: Fields, datagram: bytes, now: float) -> Call | None:
        """The call that a DATA packet for no present call may begin."""
        _, cid, number, seq, *_ = fields
        channel = cid & CHANNEL_MASK
        if self.is_client or number < self.numbers[channel]:
            return None
        if number == self.numbers[channel]:
            self._repeat_abort(cid, number, now)
            return None
        if seq > self.output.limits.window:
            return None  # the middle of a call that began before we were here
        if not self.security.authenticated:
            self._handshake.keep(fields, datagram, now)
            self.arm(self._handshake.deadline)
            return None
        previous = self._calls[channel]
        if previous is not None:
            previous.supersede()
        if not self._quota.take(self.peer[0]):
            self.wire.send(cid, number, _BUSY)
            return None
        self.numbers[channel] = number
        call = Call(self, channel, number, now)
        self._calls[channel] = call
        return call

    def _repeat_abort(self, cid: int, number: int, now: float) -> None:
        """The peer goes on with a call that we may have aborted."""
        if self._aborts is not None:
            self._aborts.repeat(cid, number, now)
            self.arm(self._aborts.deadline)

    def _receive_ack(self, fields: Fields, datagram: bytes, now: float) -> None:
        call = self._current(fields[1], fields[2])
        if call is None or call.error is not None:
            self._repeat_abort(fields[1], fields[2], now)
            return
        if not call.receive_ack(fields[4], fields[6], fields[7], datagram, now):
            self.output.statistics.spurious_read += 1

    def _receive_ackall(self, fields: Fields, datagram: bytes, now: float) -> None:
        call = self._current(fields[1], fields[2])
        if call is not None and not call.completed:
            call.receive_ackall(now)

    def _receive_abort(self, fields: Fields, datagram: bytes, now: float) -> None:
        call = self._current(fields[1], fields[2])
        code = abort_code(datagram)
        if call is not None and code is not None:
            call.receive_abort(code)

    def _receive_busy(self, fields: Fields, datagram: bytes, now: float) -> None:
        call = self._current(fields[1], fields[2])
        if call is None or not self.is_client or call.completed:
            return
        self._busy_until[call.channel] = now + self.dead_seconds
        call.receive_busy(now)

    def _receive_connection_abort(self, fields: Fields, datagram: bytes, now: float) -> None:
        code = abort_code(datagram)
        if code is not None:
            self._die(Abort(code or RxCode.RX_PROTOCOL_ERROR, "the peer ended the connection"))

    # Security.

    def _receive_challenge(self, fields: Fields, datagram: bytes, now: float) -> None:
        if not self.is_client or not self.active:
            return
        try:
            numbers = (self.numbers[0], self.numbers[1], self.numbers[2], self.numbers[3])
            response = self.security.respond(datagram[HEADER_SIZE:], numbers)
        except Abort as refusal:
            self.fail(refusal, now)
            return
        self.wire.send(self.cid, 0, int(PacketType.RESPONSE), response)

    def _receive_response(self, fields: Fields, datagram: bytes, now: float) -> None:
        if self.is_client or not self._handshake.waiting or self.security.authenticated:
            return
        try:
            numbers = self.security.check_response(datagram[HEADER_SIZE:], now + self.output.unix_offset)
        except Abort as refusal:
            self.fail(refusal, now)
            return
        self.prove(numbers)
        for kept, packet in self._handshake.end():
            self.receive(kept, packet, now)

    def prove(self, numbers: tuple[int, int, int, int]) -> None:
        """The client has proved who it is, and named its call numbers."""
        self.wire.adopt_level()
        for channel, number in enumerate(numbers):
            self.numbers[channel] = max(self.numbers[channel], number - 1)

    # What its calls call.

    def arm(self, when: float) -> None:
        """Be woken at `when` at the latest."""
        self.output.deadlines.arm(self, when)

    def announce_arrived(self, now: float) -> None:
        """The client is known to receive our packets: its calls may run."""
        for call in self._calls:
            if call is not None and call.state == CallState.PRECALL:
                call.announce(now)

    def receive_trailer(self, trailer: bytes) -> None:
        """What an acknowledgement ended with, when it differs from the last: sizes, then the window
        (rx.c rxi_ReceiveAckPacket).
        """
        self.peer_trailer = trailer
        words = unpack_trailer(trailer)
        if len(words) >= 2:
            self.wire.peer.announce_mtu(words[0], words[1])
        jumbo = words[3] if len(words) >= 4 and self.output.jumbograms else 1
        self.wire.peer.jumbo_packets = min(max(jumbo, 1), JUMBO_MAX_PACKETS)
        if len(words) >= 3:
            self.peer_window = min(max(words[2], 1), self.output.limits.window, MAX_ACKS)

    def send_abort(self, cid: int, number: int, code: int, now: float, user_status: int = 0) -> None:
        """Abort a call, or with `number` 0 the connection, and remember it, should the abort get lost."""
        if self._aborts is None:
            self._aborts = Aborts(self.wire, 0 if self.is_client else self.output.limits.abort_threshold)
        self._aborts.send(cid, number, code, now, user_status)
        self.arm(self._aborts.deadline)

    def release(self, call: Call) -> None:
        """A call has ended. A client's stays on its channel to acknowledge what the server repeats."""
        if self.is_client:
            return
        self._quota.give_back(self.peer[0])
        if self._aborts is not None and call.error is None:
            self._aborts.forgive(call.channel)
        if self._calls[call.channel] is call:
            self._calls[call.channel] = None

    # Its end, and time.

    def fail(self, error: RxError, now: float) -> None:
        """Nothing can be right on this connection any more: tell the peer, end every call."""
        self.send_abort(self.cid, 0, error.code, now)
        self._die(error)

    def _die(self, error: RxError) -> None:
        if self.error is None:
            self.error = error
        self._handshake.end()
        for call in self._calls:
            if call is not None:
                call.fail(error)
        if not self.is_client:
            self.arm(self.last_used + self.output.limits.dead_connection_seconds)

    def wake(self, now: float) -> float:
        """Run the timers of the calls and of the handshake; return the next deadline."""
        following = inf
        for call in self._calls:
            if call is not None:
                following = min(following, call.expire(now))
        following = min(following, self._handshake.wake(now))
        if self._aborts is not None:
            following = min(following, self._aborts.wake(now))
        if self.is_client or (following < inf and self.error is None):
            return following
        limits = self.output.limits
        end = self.last_used + (
            limits.connection_idle_seconds if self.error is None else limits.dead_connection_seconds
        )
        if end <= now or self._handshake.waiting:
            self.output.idle.append(self)
            return inf
        return min(following, end)

    def forget(self) -> None:
        """The endpoint knows it no longer: give back what counts against limits."""
        self._handshake.end()

    def idle_since(self) -> float:
        """When it was last used, or failed; inf while a call is in progress."""
        return inf if self.active else self.last_used


Receive = Callable[[Connection, Fields, bytes, float], None]

_FOR_CALL: dict[int, Receive] = {
    int(PacketType.DATA): Connection._receive_data,
    int(PacketType.ACK): Connection._receive_ack,
    int(PacketType.ACKALL): Connection._receive_ackall,
    int(PacketType.ABORT): Connection._receive_abort,
    int(PacketType.BUSY): Connection._receive_busy,
}
"""What is done with a packet of a call, by type."""

_FOR_CONNECTION: dict[int, Receive] = {
    int(PacketType.ABORT): Connection._receive_connection_abort,
    int(PacketType.CHALLENGE): Connection._receive_challenge,
    int(PacketType.RESPONSE): Connection._receive_response,
}
"""The same for packets with call number 0."""
