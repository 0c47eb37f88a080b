"""A connection: four channels, their call numbers, and the security handshake.

It belongs to an Endpoint, which finds it for each packet; what packets do to it is `rx/connection_input.py`.
"""

from __future__ import annotations

from math import inf

from rx.aborts import Aborts
from rx.call import Call
from rx.call_timers import expire
from rx.constants import (
    CHANNELS,
    JUMBO_MAX_PACKETS,
    MAX_ACKS,
    UNKNOWN_PEER_WINDOW,
    CallState,
    RxCode,
)
from rx.errors import CallLost, RxError
from rx.handshake import Handshake
from rx.output import Output
from rx.packet import unpack_trailer
from rx.peer import Address
from rx.quota import Quota
from rx.security.interfaces import Identity, ISecurity
from rx.timers import LEAST_DEAD_SECONDS, PINGS_PER_DEAD_TIME, Patience
from rx.wire import Wire

Key = int | tuple[int, Address]
"""How a connection is found: epoch and cid, and the address too where the epoch does not identify the client alone."""


class Connection:
    """Either end of a connection. `client` is whatever a server keeps of the one who calls, as long as the connection
    lasts.
    """

    __slots__ = (
        "aborts",
        "busy_until",
        "calls",
        "check_reach",
        "client",
        "dead_seconds",
        "error",
        "handshake",
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
        "quota",
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
        self.client: object = None
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
        self.calls: list[Call | None] = [None] * CHANNELS  # of each channel, running or lately ended
        self.aborts: Aborts | None = None  # made for the first abort
        self.busy_until = [-inf] * CHANNELS
        self.quota = quota
        self.handshake = Handshake(output, wire)

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
    def active(self) -> bool:
        """Whether any call is in progress."""
        return any(call is not None and not call.completed for call in self.calls)

    # What the application calls.

    def call(self, now: float) -> Call | None:
        """Begin a call; None when all four channels are taken. Raises the connection's error when it is dead."""
        assert self.is_client
        if self.error is not None:
            raise self.error
        best = None
        for channel, call in enumerate(self.calls):
            if call is None or call.completed:
                if self.busy_until[channel] <= now:
                    return self._begin(channel, now)
                best = channel
        return None if best is None else self._begin(best, now)

    def _begin(self, channel: int, now: float) -> Call:
        self.numbers[channel] += 1
        call = Call(self, channel, self.numbers[channel], now)
        call.state = CallState.ACTIVE
        self.calls[channel] = call
        self.last_used = now
        return call

    def close(self) -> None:
        """End every call with RX_USER_ABORT and take no more."""
        for call in self.calls:
            if call is not None:
                call.abort(RxCode.RX_USER_ABORT)
        self.error = self.error or CallLost(RxCode.RX_USER_ABORT, "the connection was closed")

    # For the engine.

    def prove(self, numbers: tuple[int, int, int, int]) -> None:
        """The client has proved who it is, and named its call numbers."""
        self.wire.adopt_level()
        for channel, number in enumerate(numbers):
            self.numbers[channel] = max(self.numbers[channel], number - 1)

    def arm(self, when: float) -> None:
        """Be woken at `when` at the latest."""
        self.output.deadlines.arm(self, when)

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
        if self.aborts is None:
            self.aborts = Aborts(self.wire, 0 if self.is_client else self.output.limits.abort_threshold)
        self.aborts.send(cid, number, code, now, user_status)
        self.arm(self.aborts.deadline)

    def release(self, call: Call) -> None:
        """A call has ended. A client's stays on its channel to acknowledge what the server repeats."""
        if self.is_client:
            return
        self.quota.give_back(self.peer[0])
        if self.aborts is not None and call.error is None:
            self.aborts.forgive(call.channel)
        if self.calls[call.channel] is call:
            self.calls[call.channel] = None

    # Its end, and time.

    def fail(self, error: RxError, now: float) -> None:
        """Nothing can be right on this connection any more: tell the peer, end every call."""
        self.send_abort(self.cid, 0, error.code, now)
        self.die(error)

    def die(self, error: RxError) -> None:
        """End every call in this error, and answer further packets with it."""
        if self.error is None:
            self.error = error
        self.handshake.end()
        for call in self.calls:
            if call is not None:
                call.fail(error)
        if not self.is_client:
            self.arm(self.last_used + self.output.limits.dead_connection_seconds)

    def wake(self, now: float) -> float:
        """Run the timers of the calls and of the handshake; return the next deadline."""
        following = inf
        for call in self.calls:
            if call is not None:
                following = min(following, expire(call, now))
        following = min(following, self.handshake.wake(now))
        if self.aborts is not None:
            following = min(following, self.aborts.wake(now))
        if self.is_client or (following < inf and self.error is None):
            return following
        limits = self.output.limits
        end = self.last_used + (
            limits.connection_idle_seconds if self.error is None else limits.dead_connection_seconds
        )
        if end <= now or self.handshake.waiting:
            self.output.idle.append(self)
            return inf
        return min(following, end)

    def forget(self) -> None:
        """The endpoint knows it no longer: give back what counts against limits."""
        self.handshake.end()

    def idle_since(self) -> float:
        """When it was last used, or failed; inf while a call is in progress."""
        return inf if self.active else self.last_used
