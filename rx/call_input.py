"""What a call does with the packets that arrive for it, already known to be its own (`rx/connection_input.py`).

Packets only change the call; `settle`, after a batch of them, tells the application, and `rx/call_output.py` answers.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from rx.call_output import ping_reach, transmit
from rx.constants import HEADER_SIZE, AckReason, CallState, Flag, RxCode
from rx.errors import Abort, ProtocolViolation
from rx.events import CallArrived, DataArrived
from rx.packet import ACK_ACKS, unpack_ack
from rx.receiver import PACKETS_PER_ACK, VIOLATION
from rx.timers import BEGINNING_SECONDS, BUSY_PATIENCE_SECONDS, REACH_VALID_SECONDS, Timer

if TYPE_CHECKING:
    from rx.call import Call
    from rx.connection import Connection

_REQUEST_ACK = int(Flag.REQUEST_ACK)
_DUPLICATE = int(AckReason.DUPLICATE)
_EXCEEDS_WINDOW = int(AckReason.EXCEEDS_WINDOW)
_PING_RESPONSE = int(AckReason.PING_RESPONSE)
_DELAY = int(AckReason.DELAY)
_IDLE = int(AckReason.IDLE)
_RESEND, _REACH = int(Timer.RESEND), int(Timer.REACH)

_OLDER = 0x8000_0000
"""Set in the difference of two serials, taken modulo 2^32, when the first is the older."""


def receive_data(call: Call, seq: int, serial: int, flags: int, body: bytes, now: float) -> None:
    """One DATA packet (or one packet of a jumbogram), opened already."""
    output = call.connection.output
    receiver = call.receiver
    limits, host = output.limits, call.connection.wire.peer.host
    full = output.buffered_bytes > limits.buffered_bytes or host.buffered_bytes > limits.buffered_bytes_per_host
    if full and (receiver.size or seq != receiver.next):
        return
    before = receiver.next
    reason = receiver.accept(seq, flags, body)
    if reason == VIOLATION:
        call.refuse(ProtocolViolation(RxCode.RX_PROTOCOL_ERROR, "data beyond the last packet"))
        return
    if reason and receiver.next == 1 and _began_elsewhere(call, now):
        call.abort(RxCode.RX_MSGSIZE)
        return
    if reason == _DUPLICATE:
        output.statistics.duplicates_read += 1
    if call.ack_reason != _PING_RESPONSE:
        call.ack_serial = serial
        if reason:
            call.ack_reason = reason
        elif receiver.unacked >= PACKETS_PER_ACK and not call.ack_reason:
            call.ack_reason = _IDLE
    if receiver.next != before:
        call.untold = True
        call.last_progress = now
    call.last_received = now
    if not call.unflushed:
        call.want_flush()


def _began_elsewhere(call: Call, now: float) -> bool:
    """A request without its first packet: another server at this address had that, and acknowledged it. The code it is
    ended with makes OpenAFS clients repeat the whole call at once.
    """
    return not call.connection.is_client and now > call.started + BEGINNING_SECONDS


def receive_ack(call: Call, serial: int, flags: int, user_status: int, datagram: bytes, now: float) -> bool:
    """One ACK packet. False when it was malformed, old, or impossible."""
    if len(datagram) < ACK_ACKS:
        return False
    _, _, first, _, acked_serial, reason, count = unpack_ack(datagram, HEADER_SIZE)
    if flags & _REQUEST_ACK:
        call.ack_reason, call.ack_serial = _PING_RESPONSE, serial
        if not call.unflushed:
            call.want_flush()
    if acked_serial == call.probe_serial and reason == _PING_RESPONSE:
        call.connection.wire.peer.path.answered(call.probe_size)
    if serial - call.newest_ack & _OLDER:
        return False
    call.newest_ack = serial
    sender = call.sender
    if acked_serial == call.ping_serial and reason == _PING_RESPONSE:
        sender.overtaken(call.ping_mark)
    acks = datagram[ACK_ACKS : ACK_ACKS + count]
    newly = sender.acknowledge(first, acks)
    if newly < 0:
        return False
    call.peer_status = user_status
    call.last_received = now
    connection = call.connection
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
        _announce_arrived(connection, now)
    if newly:
        _progress(call, now)
    if not call.unflushed and not call.completed:
        call.want_flush()
    return True


def receive_ackall(call: Call, now: float) -> None:
    """The peer has everything we sent."""
    call.last_received = now
    if call.sender.acknowledge_all():
        _progress(call, now)


def receive_answer(call: Call, now: float) -> None:
    """The server began its reply: it needs nothing of the request again."""
    if call.sender.outstanding and call.sender.acknowledge_all():
        _progress(call, now)


def receive_abort(call: Call, code: int) -> None:
    """The peer ended the call."""
    call.complete(Abort(code or RxCode.RX_PROTOCOL_ERROR))


def receive_busy(call: Call, now: float) -> None:
    """The peer lives but cannot take the call yet; retransmission goes on."""
    if now < call.started + BUSY_PATIENCE_SECONDS:
        call.last_received = now


def settle(call: Call, now: float) -> None:
    """A batch of datagrams is through: tell the application what it brought."""
    call.account()
    if call.untold:
        call.untold = False
        _tell(call, now)
    if call.wants_room and not call.completed:
        transmit(call, now)


def _tell(call: Call, now: float) -> None:
    connection = call.connection
    if call.state >= CallState.RESET:
        return
    if connection.is_client:
        connection.output.events.append(DataArrived(call))
        if call.receiver.complete:
            call.ack_reason = call.ack_reason or _IDLE
            call.complete(None)
    elif call.announced:
        connection.output.events.append(DataArrived(call))
    else:
        announce(call, now)


def _announce_arrived(connection: Connection, now: float) -> None:
    """The client is known to receive our packets: its calls may run."""
    for call in connection.calls:
        if call is not None and call.state == CallState.PRECALL:
            announce(call, now)


def announce(call: Call, now: float) -> None:
    """Tell the application of a call that arrived, once its client is known to receive our packets."""
    if call.announced or call.receiver.next == 1:
        return
    connection = call.connection
    if connection.check_reach and connection.wire.peer.reachable_until < now:
        if call.deadlines[_REACH] == inf:
            ping_reach(call, now)
        return
    call.deadlines[_REACH] = inf
    call.announced = True
    call.state = CallState.ACTIVE
    connection.output.statistics.calls_executed += 1
    connection.output.events.append(CallArrived(call))


def _progress(call: Call, now: float) -> None:
    """The peer has received more than we knew."""
    call.last_progress = now
    sender = call.sender
    if sender.in_flight:
        call.arm(_RESEND, now + call.retransmit_seconds())
        return
    call.deadlines[_RESEND] = inf
    if sender.finished and not call.connection.is_client:
        call.complete(None)
