"""Jumbograms: several DATA packets of a call in one datagram (protocol page rx.md, section 5). Splitting them is in
`rx/packet.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from rx.constants import HEADER_SIZE, JUMBO_BODY, JUMBO_MAX_PACKETS, Flag, PacketType
from rx.packet import JUMBO_HEADER, Fields, unpack_header

JUMBO_PACKET = HEADER_SIZE + JUMBO_BODY
"""Size of the packets jumbograms are made of; only the last in one may differ."""

_DATA = int(PacketType.DATA)
_JUMBO = int(Flag.JUMBO)
_FLAGS_AT = 21


def join(datagrams: Iterable[bytes], most: int) -> list[bytes]:
    """The same packets in fewer datagrams, at most `most` in one."""
    joined: list[bytes] = []
    parts: list[bytes] = []  # of the jumbogram being made
    last: Fields | None = None
    for datagram in datagrams:
        fields: Fields = unpack_header(datagram)
        if last is not None and len(parts) < min(most, JUMBO_MAX_PACKETS) and _follows(last, fields):
            parts.append(datagram)
        else:
            joined += _jumbogram(parts)
            parts = [datagram]
        last = fields if fields[5] == _DATA and len(datagram) == JUMBO_PACKET else None
    return joined + _jumbogram(parts)


def _follows(last: Fields, fields: Fields) -> bool:
    """Whether a jumbogram that ends with one packet may go on with the other: all but these fields are implied."""
    epoch, cid, number, seq, serial, type_, _, user_status, security_index, _, service_id = last
    implied = epoch, cid, number, seq + 1, serial + 1, type_, user_status, security_index, service_id
    return implied == (*fields[:6], *fields[7:9], fields[10])


def _jumbogram(packets: list[bytes]) -> list[bytes]:
    if len(packets) < 2:
        return packets
    pieces = [_marked(packets[0][:HEADER_SIZE]), packets[0][HEADER_SIZE:]]
    for index, packet in enumerate(packets[1:], 2):
        fields = unpack_header(packet)
        flags = fields[6] if index == len(packets) else fields[6] | _JUMBO
        pieces += JUMBO_HEADER.pack(flags=flags, spare=fields[9]), packet[HEADER_SIZE:]
    return [b"".join(pieces)]


def _marked(header: bytes) -> bytes:
    return header[:_FLAGS_AT] + bytes([header[_FLAGS_AT] | _JUMBO]) + header[_FLAGS_AT + 1 :]
