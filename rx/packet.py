"""Rx packets: every layout declared in construct, and the fast paths derived from the declarations.

Read it beside rx.h and rx_packet.h (protocol page rx.md, sections 1 to 7). All words are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from construct import Array, Bytes, GreedyBytes, Int8ub, Int16ub, Int32sb, Int32ub, Int64ub, Padding, Struct, this

from rx.constants import CHANNELS, HEADER_SIZE, JUMBO_BODY, JUMBO_HEADER_SIZE, JUMBO_MAX_PACKETS, PACKET_TYPES, Flag
from xdr.layout import Layout, fast

Header = Struct(
    "epoch" / Int32ub,
    "cid" / Int32ub,  # connection id; the channel in the low two bits
    "call_number" / Int32ub,
    "seq" / Int32ub,
    "serial" / Int32ub,
    "type" / Int8ub,
    "flags" / Int8ub,
    "user_status" / Int8ub,
    "security_index" / Int8ub,
    "spare" / Int16ub,  # the security class's checksum; before the service id, whatever the C structure says
    "service_id" / Int16ub,
)

AckHead = Struct(
    "buffer_space" / Int16ub,
    "maximum_skew" / Int16ub,
    "first_packet" / Int32ub,  # lowest sequence number not yet read by the application
    "previous_packet" / Int32ub,
    "serial" / Int32ub,  # of the packet that caused this, or 0
    "reason" / Int8ub,
    "count" / Int8ub,
)

AckTrailer = Struct(
    Padding(3),  # always three, whatever the alignment
    "maximum_mtu" / Int32ub,
    "interface_mtu" / Int32ub,
    "window" / Int32ub,
    "jumbo_packets" / Int32ub,
)

Ack = Struct("head" / AckHead, "acks" / Bytes(this.head.count), "trailer" / AckTrailer)

JumboHeader = Struct("flags" / Int8ub, Padding(1), "spare" / Int16ub)

AbortBody = Struct("code" / Int32sb)

# rxkad's forms; other security classes have their own bodies in these packet types.
Challenge = Struct("version" / Int32ub, "challenge_id" / Int32ub, "level" / Int32ub, Padding(4))
OldChallenge = Struct("challenge_id" / Int32ub, "level" / Int32ub)
ResponseHead = Struct(
    "version" / Int32ub, Padding(4), "encrypted" / Bytes(40), "kvno" / Int32ub, "ticket_length" / Int32ub
)
OldResponseHead = Struct("encrypted" / Bytes(8), "kvno" / Int32ub, "ticket_length" / Int32ub)
ResponsePlain = Struct(
    "epoch" / Int32ub,
    "cid" / Int32ub,
    "checksum" / Int32ub,
    "security_index" / Int32ub,
    "call_numbers" / Array(CHANNELS, Int32sb),
    "incremented_challenge" / Int32ub,
    "level" / Int32ub,
)
Response = Struct("head" / ResponseHead, "ticket" / GreedyBytes)

DebugRequest = Struct("type" / Int32sb, "index" / Int32sb)

DebugStats = Struct(
    "free_packets" / Int32ub,
    "packet_reclaims" / Int32ub,
    "calls_executed" / Int32ub,
    "waiting_for_packets" / Int8ub,
    "used_fds" / Int8ub,
    "version" / Bytes(1),
    Padding(1),
    "waiting" / Int32ub,
    "idle_threads" / Int32ub,
    "waited" / Int32ub,
    "packets" / Int32ub,
    Padding(24),
)

SecurityStats = Struct(
    "type" / Int8ub,  # 0 unknown, 1 null, 2 vab, 3 rxkad, 4 rxgk
    "level" / Int8ub,
    Padding(10),
    "flags" / Int32ub,  # 1 unallocated, 2 authenticated, 4 expired, 8 checksums
    "expires" / Int32ub,
    "packets_received" / Int32ub,
    "packets_sent" / Int32ub,
    "bytes_received" / Int32ub,
    "bytes_sent" / Int32ub,
    Padding(40),
)

DebugConnection = Struct(
    "host" / Bytes(4),
    "cid" / Int32ub,
    "serial" / Int32ub,
    "call_numbers" / Array(CHANNELS, Int32ub),
    "error" / Int32sb,
    "port" / Int16ub,
    "flags" / Int8ub,
    "type" / Int8ub,  # 0 client, 1 server
    "security_index" / Int8ub,
    Padding(3),
    "call_states" / Bytes(CHANNELS),
    "call_modes" / Bytes(CHANNELS),
    "call_flags" / Bytes(CHANNELS),
    "call_other" / Bytes(CHANNELS),  # 1 packets waiting in, 2 packets waiting out
    "security" / SecurityStats,
    "epoch" / Int32ub,
    "natural_mtu" / Int32ub,
    Padding(36),
)

DebugPeer = Struct(
    "host" / Bytes(4),
    "port" / Int16ub,
    "interface_mtu" / Int16ub,
    "idle_when" / Int32ub,
    "references" / Int16ub,
    "burst_size" / Int8ub,
    "burst" / Int8ub,
    "burst_wait" / Array(2, Int32ub),
    "rtt" / Int32ub,  # eighths of a millisecond
    "rtt_deviation" / Int32ub,  # quarters of a millisecond
    "timeout" / Array(2, Int32ub),  # seconds, microseconds
    "sent" / Int32ub,
    "resent" / Int32ub,
    Padding(12),
    "natural_mtu" / Int16ub,
    "maximum_mtu" / Int16ub,
    "maximum_datagram_packets" / Int16ub,
    "interface_datagram_packets" / Int16ub,
    "mtu" / Int16ub,
    "congestion_window" / Int16ub,
    "datagram_packets" / Int16ub,
    "congestion_sequence" / Int16ub,
    "bytes_sent" / Int64ub,
    "bytes_received" / Int64ub,
    Padding(40),
)

Clock = Struct("seconds" / Int32ub, "microseconds" / Int32ub)

RxStatistics = Struct(
    "packet_requests" / Int32ub,
    "allocation_failures" / Array(3, Int32ub),  # receive, send, special
    "socket_greedy" / Int32ub,
    "bogus_packets" / Int32ub,  # too short for a header
    "bogus_host" / Bytes(4),
    "no_packet_on_read" / Int32ub,
    "no_buffers_on_read" / Int32ub,
    "selects" / Int32ub,
    "send_selects" / Int32ub,
    "packets_read" / Array(PACKET_TYPES, Int32ub),  # by type, from 1
    "data_read" / Int32ub,
    "acks_read" / Int32ub,
    "duplicates_read" / Int32ub,
    "spurious_read" / Int32ub,
    "packets_sent" / Array(PACKET_TYPES, Int32ub),
    "acks_sent" / Int32ub,
    "pings_sent" / Int32ub,
    "aborts_sent" / Int32ub,
    "busies_sent" / Int32ub,
    "data_sent" / Int32ub,
    "data_resent" / Int32ub,
    "data_pushed" / Int32ub,
    "acked_ignored" / Int32ub,
    "total_rtt" / Clock,
    "minimum_rtt" / Clock,
    "maximum_rtt" / Clock,
    "rtt_samples" / Int32ub,
    "server_connections" / Int32ub,
    "client_connections" / Int32ub,
    "peers" / Int32ub,
    "calls" / Int32ub,
    "free_calls" / Int32ub,
    "send_failures" / Int32ub,
    "fatal_errors" / Int32ub,
    "ignored_dally" / Int32ub,
    "buffer_failures" / Array(2, Int32ub),
    "busies" / Int32ub,
    Padding(16),
)

Fields = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""A header as unpacked: epoch, cid, call number, seq, serial, type, flags, user status, security index, spare, service
id.
"""

HEADER = fast(Header, "Header")
ACK_HEAD = fast(AckHead, "AckHead")
ACK_TRAILER = fast(AckTrailer, "AckTrailer")
JUMBO_HEADER = fast(JumboHeader, "JumboHeader")
ABORT_BODY = fast(AbortBody, "AbortBody")
CHALLENGE = fast(Challenge, "Challenge")
OLD_CHALLENGE = fast(OldChallenge, "OldChallenge")
RESPONSE_HEAD = fast(ResponseHead, "ResponseHead")
OLD_RESPONSE_HEAD = fast(OldResponseHead, "OldResponseHead")
RESPONSE_PLAIN = fast(ResponsePlain, "ResponsePlain")
DEBUG_REQUEST = fast(DebugRequest, "DebugRequest")
DEBUG_STATS = fast(DebugStats, "DebugStats")
DEBUG_CONNECTION = fast(DebugConnection, "DebugConnection")
DEBUG_PEER = fast(DebugPeer, "DebugPeer")
RX_STATISTICS = fast(RxStatistics, "RxStatistics")


def _compiled(layout: Layout) -> struct.Struct:
    """The struct.Struct a layout was derived to: on the hottest paths a record around the items costs too much."""
    return layout._struct


unpack_header = _compiled(HEADER).unpack_from
pack_header = _compiled(HEADER).pack
unpack_ack = _compiled(ACK_HEAD).unpack_from
pack_ack = _compiled(ACK_HEAD).pack
pack_trailer = _compiled(ACK_TRAILER).pack

ACK_ACKS = HEADER.size + ACK_HEAD.size
"""Where the acknowledgement bytes begin in an ACK datagram."""

_unpack_trailer = _compiled(ACK_TRAILER).unpack_from
_TRAILER_PADDING = 3


def unpack_trailer(trailer: bytes) -> tuple[int, ...]:
    """The words of what follows an ACK's acknowledgements: maximum MTU, interface MTU, window, jumbogram packets.

    As many as came: ACKs of old peers end after any of them.
    """
    if len(trailer) >= ACK_TRAILER.size:
        return _unpack_trailer(trailer)
    words = (len(trailer) - _TRAILER_PADDING) // 4
    return struct.unpack_from(f">{words}I", trailer, _TRAILER_PADDING) if words > 0 else ()


def abort_code(datagram: bytes) -> int | None:
    """The error an ABORT packet carries, None when the body is too short for one."""
    if len(datagram) < HEADER_SIZE + ABORT_BODY.size:
        return None
    code: int = ABORT_BODY.unpack(datagram, HEADER_SIZE).code
    return code


def abort_body(code: int) -> bytes:
    """An ABORT packet's body. Codes beyond 32 bits, which no peer could have sent, are cut."""
    return ABORT_BODY.pack(code=(code + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000)


def split_jumbo(datagram: bytes, flags: int, spare: int) -> Iterator[tuple[int, int, bytes]]:
    """The packets of a DATA datagram as (flags, spare, body), in sequence.

    A jumbogram cut short yields what is whole; an oversized count of packets stops at what Rx allows.
    """
    offset, end = HEADER_SIZE, len(datagram)
    for _ in range(JUMBO_MAX_PACKETS - 1):
        if not flags & Flag.JUMBO:
            break
        after = offset + JUMBO_BODY + JUMBO_HEADER_SIZE
        if after > end:
            return
        yield flags & ~int(Flag.JUMBO), spare, datagram[offset : offset + JUMBO_BODY]
        flags, spare = JUMBO_HEADER.unpack(datagram, offset + JUMBO_BODY)
        offset = after
    if not flags & Flag.JUMBO:
        yield flags, spare, datagram[offset:]


def debug_request(datagram: bytes) -> tuple[int, int] | None:
    """What a DEBUG packet asks: type and index. None when it is too short to ask anything."""
    if len(datagram) < HEADER_SIZE + DEBUG_REQUEST.size:
        return None
    type_, index = DEBUG_REQUEST.unpack(datagram, HEADER_SIZE)
    return type_, index
