"""What a call does when its time comes: one function for each `rx.timers.Timer`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from rx.call_input import announce
from rx.call_output import send_ack
from rx.constants import AckReason, RxCode
from rx.timers import PINGS_IN_SILENCE, Timer

if TYPE_CHECKING:
    from rx.call import Call

_DELAY = int(AckReason.DELAY)
_PING = int(AckReason.PING)
_RESEND, _KEEPALIVE, _LIFE = int(Timer.RESEND), int(Timer.KEEPALIVE), int(Timer.LIFE)

STALLED = 4
"""Backed off twice in a row: whatever is wrong with the path, larger packets may be it."""


def expire(call: Call, now: float) -> float:
    """Run every timer that is due. Returns the next deadline."""
    for timer, when in enumerate(call.deadlines):
        if when <= now:
            call.deadlines[timer] = inf
            _ON_TIMER[timer](call, now)
    return min(call.deadlines)


def _on_resend(call: Call, now: float) -> None:
    if not call.sender.in_flight:
        return
    call.sender.timed_out()
    if call.sender.backoff >= STALLED:
        call.connection.wire.peer.path.stalled(now)
    call.want_flush()
    call.arm(_RESEND, now + call.retransmit_seconds())


def _on_ack(call: Call, now: float) -> None:
    call.ack_reason = call.ack_reason or _DELAY
    call.ack_serial = 0
    call.want_flush()


def _on_keepalive(call: Call, now: float) -> None:
    interval = call.connection.ping_seconds
    if call.last_received + interval < now:
        interval /= PINGS_IN_SILENCE
    due = call.last_sent + interval
    if due <= now:
        _probe(call, now)
        due = now + interval
    call.arm(_KEEPALIVE, due)


def _probe(call: Call, now: float) -> None:
    """Ask the peer for a sign of life. A server that has seen nothing of a call yet only answers its data."""
    sender = call.sender
    if call.connection.is_client and not call.newest_ack and sender.outstanding:
        sender.presume_lost()
        call.want_flush()
    else:
        send_ack(call, _PING, 0, now)


def _on_life(call: Call, now: float) -> None:
    connection = call.connection
    allowance = connection.wire.peer.round_trip.allowance()
    dead_at = call.last_received + connection.dead_seconds + allowance
    idle_at = call.last_progress + connection.idle_seconds + allowance
    if dead_at <= now:
        call.lose(RxCode.RX_CALL_DEAD, "the peer fell silent")
    elif idle_at > now:
        call.arm(_LIFE, min(dead_at, idle_at))
    elif _waits_for_peer(call):
        call.lose(RxCode.RX_CALL_TIMEOUT, "the peer lives but the call makes no progress")
    else:
        call.last_progress = now
        call.arm(_LIFE, min(dead_at, now + connection.idle_seconds))


def _waits_for_peer(call: Call) -> bool:
    """Whether lack of progress is the peer's doing: it owes us bytes we have room for, or takes none of ours."""
    if call.sender.outstanding or call.sender.blocked:
        return True
    if call.connection.is_client:
        return call.sender.ended and call.receiver.size == 0
    return not call.receiver.complete and call.receiver.size == 0


def _on_hard(call: Call, now: float) -> None:
    call.lose(RxCode.RX_CALL_TIMEOUT, "the call took longer than it may")


def _on_reach(call: Call, now: float) -> None:
    if not call.announced:
        announce(call, now)


_ON_TIMER: dict[int, Callable[[Call, float], None]] = {
    Timer.RESEND: _on_resend,
    Timer.ACK: _on_ack,
    Timer.KEEPALIVE: _on_keepalive,
    Timer.LIFE: _on_life,
    Timer.HARD: _on_hard,
    Timer.REACH: _on_reach,
}
