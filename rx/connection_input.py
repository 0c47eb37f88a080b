"""What a connection does with a packet that arrives for it: find the call or begin one, unwrap it, shake hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rx.call import Call
from rx.call_input import receive_abort, receive_ack, receive_ackall, receive_answer, receive_busy, receive_data
from rx.constants import CHANNEL_MASK, HEADER_SIZE, Flag, PacketType, RxCode
from rx.errors import Abort
from rx.packet import Fields, abort_code, split_jumbo
from rx.wire import WORD_MASK

if TYPE_CHECKING:
    from rx.connection import Connection

_JUMBO = int(Flag.JUMBO)
_ABORT = int(PacketType.ABORT)
_BUSY = int(PacketType.BUSY)
_RESPONSE = int(PacketType.RESPONSE)


def receive(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    """One packet that belongs to this connection. Unknown packet types are ignored."""
    connection.wire.peer.bytes_received += len(datagram)
    if connection.error is not None:
        if fields[5] != _ABORT and not connection.is_client:
            connection.send_abort(connection.cid, 0, connection.error.code, now)
        return
    connection.last_used = now
    table = _FOR_CALL if fields[2] else _FOR_CONNECTION
    take = table.get(fields[5])
    if take is not None:
        take(connection, fields, datagram, now)


def _data(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    _, cid, number, seq, serial, _, flags, user_status, _, _, _ = fields
    call = connection.calls[cid & CHANNEL_MASK]
    if call is None or call.number != number:
        call = _call_for_data(connection, fields, datagram, now)
        if call is None:
            return
    if call.error is not None:
        _repeat_abort(connection, cid, number, now)
        return
    if connection.is_client:
        receive_answer(call, now)
    call.peer_status = user_status
    if flags & _JUMBO or connection.wire.sealing:
        _unwrap(connection, call, fields, datagram, now)
    else:
        receive_data(call, seq, serial, flags, datagram[HEADER_SIZE:], now)


def _unwrap(connection: Connection, call: Call, fields: Fields, datagram: bytes, now: float) -> None:
    """Jumbograms and sealed packets: packet by packet."""
    _, cid, number, seq, serial, _, flags, _, _, spare, _ = fields
    unix = now + connection.output.unix_offset
    for packet_flags, packet_spare, body in split_jumbo(datagram, flags, spare):
        if connection.wire.sealing:
            try:
                body = connection.security.open(cid & CHANNEL_MASK, number, seq, packet_spare, body, unix)
            except Abort as refusal:
                connection.fail(refusal, now)
                return
        receive_data(call, seq, serial, packet_flags, body, now)
        if call.error is not None:
            return
        seq, serial = seq + 1 & WORD_MASK, serial + 1 & WORD_MASK


def _call_for_data(connection: Connection, fields: Fields, datagram: bytes, now: float) -> Call | None:
    """The call that a DATA packet for no present call may begin."""
    _, cid, number, seq, *_ = fields
    channel = cid & CHANNEL_MASK
    if connection.is_client or number < connection.numbers[channel]:
        return None
    if number == connection.numbers[channel]:
        _repeat_abort(connection, cid, number, now)
        return None
    if seq > connection.output.limits.window:
        return None  # the middle of a call that began before we were here
    if not connection.security.authenticated:
        connection.handshake.keep(fields, datagram, now)
        connection.arm(connection.handshake.deadline)
        return None
    previous = connection.calls[channel]
    if previous is not None:
        previous.supersede()
    if not connection.quota.take(connection.peer[0]):
        connection.wire.send(cid, number, _BUSY)
        return None
    connection.numbers[channel] = number
    call = Call(connection, channel, number, now)
    connection.calls[channel] = call
    return call


def _ack(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    call = _current(connection, fields[1], fields[2])
    if call is None or call.error is not None:
        _repeat_abort(connection, fields[1], fields[2], now)
        return
    if not receive_ack(call, fields[4], fields[6], fields[7], datagram, now):
        connection.output.statistics.spurious_read += 1


def _ackall(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    call = _current(connection, fields[1], fields[2])
    if call is not None and not call.completed:
        receive_ackall(call, now)


def _abort(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    call = _current(connection, fields[1], fields[2])
    code = abort_code(datagram)
    if call is not None and code is not None:
        receive_abort(call, code)


def _busy(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    call = _current(connection, fields[1], fields[2])
    if call is None or not connection.is_client or call.completed:
        return
    connection.busy_until[call.channel] = now + connection.dead_seconds
    receive_busy(call, now)


def _current(connection: Connection, cid: int, number: int) -> Call | None:
    call = connection.calls[cid & CHANNEL_MASK]
    return call if call is not None and call.number == number else None


def _repeat_abort(connection: Connection, cid: int, number: int, now: float) -> None:
    """The peer goes on with a call that we may have aborted."""
    if connection.aborts is not None:
        connection.aborts.repeat(cid, number, now)
        connection.arm(connection.aborts.deadline)


def _connection_abort(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    code = abort_code(datagram)
    if code is not None:
        connection.die(Abort(code or RxCode.RX_PROTOCOL_ERROR, "the peer ended the connection"))


def _challenge(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    if not connection.is_client or not connection.active:
        return
    try:
        numbers = (connection.numbers[0], connection.numbers[1], connection.numbers[2], connection.numbers[3])
        response = connection.security.respond(datagram[HEADER_SIZE:], numbers)
    except Abort as refusal:
        connection.fail(refusal, now)
        return
    connection.wire.send(connection.cid, 0, _RESPONSE, response)


def _response(connection: Connection, fields: Fields, datagram: bytes, now: float) -> None:
    if connection.is_client or not connection.handshake.waiting or connection.security.authenticated:
        return
    try:
        numbers = connection.security.check_response(datagram[HEADER_SIZE:], now + connection.output.unix_offset)
    except Abort as refusal:
        connection.fail(refusal, now)
        return
    connection.prove(numbers)
    for kept, packet in connection.handshake.end():
        receive(connection, kept, packet, now)


Receive = Callable[["Connection", Fields, bytes, float], None]

_FOR_CALL: dict[int, Receive] = {
    int(PacketType.DATA): _data,
    int(PacketType.ACK): _ack,
    int(PacketType.ACKALL): _ackall,
    int(PacketType.ABORT): _abort,
    int(PacketType.BUSY): _busy,
}
"""What is done with a packet of a call, by type."""

_FOR_CONNECTION: dict[int, Receive] = {
    int(PacketType.ABORT): _connection_abort,
    int(PacketType.CHALLENGE): _challenge,
    int(PacketType.RESPONSE): _response,
}
"""The same for packets with call number 0."""
