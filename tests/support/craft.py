"""Rx packets made by hand, for tests of what no honest peer sends."""

from __future__ import annotations

from rx.constants import AckReason, Flag, PacketType
from rx.packet import ACK_HEAD, ACK_TRAILER, HEADER

EPOCH = 0x8000_0001


def craft(
    type_: int,
    body: bytes = b"",
    *,
    epoch: int = EPOCH,
    cid: int = 0x100,
    number: int = 1,
    seq: int = 0,
    serial: int = 1,
    flags: int = int(Flag.CLIENT_INITIATED),
    user_status: int = 0,
    security_index: int = 0,
    spare: int = 0,
    service_id: int = 1,
) -> bytes:
    """Any packet; by default from the client of an anonymous connection."""
    header = HEADER.pack(
        epoch=epoch,
        cid=cid,
        call_number=number,
        seq=seq,
        serial=serial,
        type=type_,
        flags=flags,
        user_status=user_status,
        security_index=security_index,
        spare=spare,
        service_id=service_id,
    )
    return header + body


def data(body: bytes = b"", *, seq: int = 1, last: bool = True, **fields: int) -> bytes:
    """A client's DATA packet."""
    flags = fields.pop("flags", 0) | Flag.CLIENT_INITIATED | (Flag.LAST_PACKET if last else 0)
    return craft(PacketType.DATA, body, seq=seq, flags=int(flags), **fields)


def ack_body(
    first: int,
    acks: bytes = b"",
    *,
    count: int | None = None,
    previous: int = 0,
    serial: int = 0,
    reason: int = int(AckReason.IDLE),
    words: tuple[int, int, int, int] = (1444, 1444, 32, 1),
) -> bytes:
    """The body of an ACK. `count` lies about the number of acknowledgements."""
    head = ACK_HEAD.pack(
        buffer_space=0,
        maximum_skew=0,
        first_packet=first,
        previous_packet=previous,
        serial=serial,
        reason=reason,
        count=len(acks) if count is None else count,
    )
    maximum_mtu, interface_mtu, window, jumbo_packets = words
    trailer = ACK_TRAILER.pack(
        maximum_mtu=maximum_mtu, interface_mtu=interface_mtu, window=window, jumbo_packets=jumbo_packets
    )
    return head + acks + trailer
