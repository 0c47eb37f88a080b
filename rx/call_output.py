"""What a call puts on the wire: data as the windows admit it, acknowledgements, pings, and its abort.

Everything leaves at `flush`, once a turn: several writes share packets, and a reply makes the acknowledgement of its
request superfluous.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from rx.constants import HEADER_SIZE, AckReason, CallState, Flag, PacketType
from rx.events import Writable
from rx.timers import REACH_PING_SECONDS, SOFT_ACK_SECONDS, Timer
from rx.wire import WORD_MASK

if TYPE_CHECKING:
    from rx.call import Call

_ACK = int(PacketType.ACK)
_ACK_FLAGS = int(Flag.SLOW_START_OK)
_PING_FLAGS = int(Flag.SLOW_START_OK | Flag.REQUEST_ACK)
_PING = int(AckReason.PING)
_PING_RESPONSE = int(AckReason.PING_RESPONSE)
_UNASKED = (0, int(AckReason.DELAY), int(AckReason.IDLE), int(AckReason.REQUESTED))
_RESEND, _ACK_TIMER, _REACH = int(Timer.RESEND), int(Timer.ACK), int(Timer.REACH)

PROBE_WORTH = 64 << 10
"""Bytes that wait to be sent when it pays to find out whether the path carries larger packets: some 45 of them."""


def flush(call: Call, now: float) -> None:
    """Send what is to be sent: data, then an acknowledgement that the data did not make superfluous."""
    call.unflushed = False
    if call.abort_code is not None:
        call.connection.send_abort(call.wire_cid, call.number, call.abort_code, now, call.user_status)
        call.abort_code = None
        return
    if call.error is not None:
        return
    sender = call.sender
    sent = 0
    if sender.pending.size or sender.lost or (sender.ended and not sender.last):
        path = call.connection.wire.peer.path
        if sender.pending.size > PROBE_WORTH and path.probe_at <= now and call.newest_ack:
            _probe_path(call, path.probe(now), now)
        sent = transmit(call, now)
    receiver = call.receiver
    reason = call.ack_reason
    if sent and reason in _UNASKED and receiver.complete and not call.connection.is_client:
        call.ack_reason = 0
        call.deadlines[_ACK_TIMER] = inf
        receiver.unacked = receiver.read_unacked = 0
    elif reason:
        send_ack(call, reason, call.ack_serial, now)
    elif (receiver.unacked or receiver.read_unacked) and call.deadlines[_ACK_TIMER] == inf:
        call.arm(_ACK_TIMER, now + SOFT_ACK_SECONDS)


def transmit(call: Call, now: float) -> int:
    """Send data as far as the windows admit it. Returns how many packets that was."""
    sender = call.sender
    connection = call.connection
    idle = sender.in_flight == 0
    resent = sender.resent
    sent = sender.transmit(now, connection.wire, call.wire_cid, call.number, call.user_status)
    if sent:
        call.last_sent = now
        connection.wire.peer.packets_sent += sent
        if sender.resent != resent:
            connection.wire.peer.packets_resent += sender.resent - resent
            connection.output.statistics.data_resent += sender.resent - resent
        if idle:
            call.arm(_RESEND, now + call.retransmit_seconds())
        if sender.last and call.state == CallState.ACTIVE and not connection.is_client:
            call.state = CallState.HOLD
    if call.wants_room and sender.pending.size <= connection.output.limits.send_buffer // 2:
        call.wants_room = False
        connection.output.events.append(Writable(call))
    return sent


def send_ack(call: Call, reason: int, serial: int, now: float, size: int = 0) -> None:
    """Acknowledge what has come, because of `reason` and the packet `serial` (0: no packet), or ping.

    `size`: fill the datagram up to this.
    """
    if call.ack_reason != _PING_RESPONSE or reason == _PING_RESPONSE:
        call.ack_reason = 0
    call.deadlines[_ACK_TIMER] = inf
    call.last_sent = now
    connection = call.connection
    flags = _ACK_FLAGS
    if reason == _PING:
        flags = _PING_FLAGS
        connection.output.statistics.pings_sent += 1
        call.ping_serial = connection.wire.serial + 1 & WORD_MASK
        call.ping_mark = call.sender.mark()
    everything = call.state == CallState.DALLY
    peer = connection.wire.peer
    trailer = connection.output.ack_trailer(peer.interface_mtu, peer.host)
    body = call.receiver.ack_body(reason, serial, trailer, everything)
    if size:
        body += bytes(size - HEADER_SIZE - len(body))
    connection.wire.send(call.wire_cid, call.number, _ACK, body, flags, call.user_status)


def _probe_path(call: Call, size: int, now: float) -> None:
    """Ask whether datagrams of this size arrive; 0 when there is nothing to ask."""
    if size:
        send_ack(call, _PING, 0, now, size)
        call.probe_serial, call.probe_size = call.ping_serial, size


def ping_reach(call: Call, now: float) -> None:
    """Ask whether our packets reach the client, and again if it does not answer."""
    call.arm(_REACH, now + REACH_PING_SECONDS)
    send_ack(call, _PING, 0, now)
