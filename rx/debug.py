"""Answers to packets that belong to no connection: VERSION, and DEBUG as rxdebug asks (protocol page rx.md, section 7).

There is no packet pool and there are no server threads here: "free packets" are those whose data could still wait to
be read, "idle threads" are the calls that could begin at once, and those "waiting for a thread" wait for their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from rx.connections import Connections
from rx.constants import NATURAL_MTU, VERSION_SIZE, CallState, DebugType, Flag, PacketType
from rx.output import Output
from rx.packet import (
    DEBUG_CONNECTION,
    DEBUG_PEER,
    DEBUG_REQUEST,
    DEBUG_STATS,
    RX_STATISTICS,
    debug_request,
    pack_header,
)
from rx.peer import Address, Peer
from rx.security.interfaces import SecurityStatistics
from rx.turns import Turns

if TYPE_CHECKING:
    from rx.call import Call
    from rx.connection import Connection, Key

T = TypeVar("T")

DEFAULT_VERSION = b"txafs"

VERSION_LETTER = b"S"
"""RX_DEBUGI_VERSION: the newest set of features rxdebug knows, all of which are answered here."""

SNAPSHOT_SECONDS = 1.0
"""rxdebug asks for one entry after the other by index. A list taken once a second makes each a look-up, not a walk."""

END_OF_CONNECTIONS = 0xFFFF_FFFF
END_OF_PEERS = b"\xff\xff\xff\xff"

_WORD = 0xFFFF_FFFF
_SHORT = 0xFFFF
_BYTE = 0xFF
_FROM_SERVER = _BYTE ^ Flag.CLIENT_INITIATED
_PACKETS_IN, _PACKETS_OUT = 1, 2  # rx.h RX_OTHER_*
_CHECKSUMS, _ATTACH_WAIT = 4, 64  # rx.h RX_CONN_*
_WAIT_WINDOW, _WAIT_PROCESS, _RECEIVE_DONE = 4, 16, 32  # rx.h RX_CALL_*
_AUTHENTICATED, _CHECKSUMS_SEEN = 2, 8  # secStats.flags
_SERVER_TYPE = 1

# Records of zeros, to be filled in with _replace.
_STATS = DEBUG_STATS.unpack(bytes(DEBUG_STATS.size))
_CONNECTION = DEBUG_CONNECTION.unpack(bytes(DEBUG_CONNECTION.size))
_PEER = DEBUG_PEER.unpack(bytes(DEBUG_PEER.size))
_RX_STATISTICS = RX_STATISTICS.unpack(bytes(RX_STATISTICS.size))
_CLOCK = _RX_STATISTICS.total_rtt


def answer_version(fields: tuple[int, ...], version: bytes) -> bytes:
    """Our version text, under the question's own header."""
    return _reply_header(fields) + version[: VERSION_SIZE - 1].ljust(VERSION_SIZE, b"\0")


def _reply_header(fields: tuple[int, ...]) -> bytes:
    epoch, cid, number, seq, serial, type_, flags, *rest = fields
    return pack_header(epoch, cid, number, seq, serial, type_, flags & _FROM_SERVER, *rest)


class DebugAnswers:
    """Answers DEBUG packets about one endpoint's connections, peers and counters."""

    def __init__(self, connections: Connections, output: Output) -> None:
        self._servers = connections.servers
        self._clients = connections.clients
        self._peers = connections.peers
        self._output = output
        self._statistics = output.statistics
        self._descriptors_at: tuple[float, int] = (-inf, 0)
        self.count_descriptors: Callable[[], int] = lambda: 0
        """The driver's: how many files the process has open, rxdebug's "used FDs"."""
        self._connection_lists: dict[int, tuple[float, list[tuple[bool, Key]]]] = {}
        self._peer_list: tuple[float, list[Address]] = (-inf, [])

    def answer(self, fields: tuple[int, ...], datagram: bytes, now: float, turns: Turns[Any] | None) -> bytes | None:
        """The reply to one DEBUG packet, None when it asks nothing."""
        request = debug_request(datagram)
        if request is None:
            return None
        type_, index = request
        if type_ == DebugType.GETSTATS:
            body = self._stats(turns, now)
        elif type_ in (DebugType.GETCONN, DebugType.GETALLCONN):
            body = self._connection(type_, max(index, 0), now)
        elif type_ == DebugType.RXSTATS:
            body = RX_STATISTICS.pack(self.figures())
        elif type_ == DebugType.GETPEER:
            body = self._peer(max(index, 0), now)
        else:
            body = DEBUG_REQUEST.pack(type=int(DebugType.BADTYPE), index=int(DebugType.BADTYPE))
        return _reply_header(fields) + body

    def _stats(self, turns: Turns[Any] | None, now: float) -> bytes:
        limit, buffered = self._output.limits.buffered_bytes, self._output.buffered_bytes
        record = _STATS._replace(
            free_packets=max(0, limit - buffered) // NATURAL_MTU,
            packets=limit // NATURAL_MTU,
            used_fds=self._descriptors(now),
            calls_executed=self._statistics.calls_executed & _WORD,
            version=VERSION_LETTER,
            waiting=turns.waiting if turns else 0,
            waited=turns.waited & _WORD if turns else 0,
            idle_threads=turns.idle if turns else 0,
        )
        return DEBUG_STATS.pack(record)

    def _descriptors(self, now: float) -> int:
        taken, count = self._descriptors_at
        if now >= taken + SNAPSHOT_SECONDS:
            count = self.count_descriptors()
            self._descriptors_at = now, count
        return count

    def _connection(self, type_: int, index: int, now: float) -> bytes:
        for is_client, key in _following(self._listed_connections(type_, now), index):
            connection = (self._clients if is_client else self._servers).get(key)
            if connection is not None:
                return DEBUG_CONNECTION.pack(describe_connection(connection))
        return DEBUG_CONNECTION.pack(_CONNECTION._replace(cid=END_OF_CONNECTIONS))

    def _listed_connections(self, type_: int, now: float) -> list[tuple[bool, Key]]:
        taken, keys = self._connection_lists.get(type_, (-inf, []))
        if now >= taken + SNAPSHOT_SECONDS:
            keys = [
                (is_client, key)
                for is_client, table in ((False, self._servers), (True, self._clients))
                for key, connection in table.items()
                if type_ == DebugType.GETALLCONN or connection.active
            ]
            self._connection_lists[type_] = now, keys
        return keys

    def _peer(self, index: int, now: float) -> bytes:
        taken, addresses = self._peer_list
        if now >= taken + SNAPSHOT_SECONDS:
            addresses = list(self._peers)
            self._peer_list = now, addresses
        for address in _following(addresses, index):
            if address in self._peers:
                return DEBUG_PEER.pack(describe_peer(self._peers[address]))
        return DEBUG_PEER.pack(_PEER._replace(host=END_OF_PEERS))

    def figures(self) -> Any:
        """struct rx_statistics, as a record of RX_STATISTICS."""
        counted = self._statistics
        read, sent = counted.packets_read, counted.packets_sent
        return _RX_STATISTICS._replace(
            bogus_packets=counted.bogus_packets & _WORD,
            bogus_host=_host(counted.bogus_host),
            packets_read=[count & _WORD for count in read[1:]],
            data_read=max(0, read[PacketType.DATA] - counted.duplicates_read) & _WORD,
            acks_read=read[PacketType.ACK] & _WORD,
            duplicates_read=counted.duplicates_read & _WORD,
            spurious_read=counted.spurious_read & _WORD,
            packets_sent=[count & _WORD for count in sent[1:]],
            acks_sent=sent[PacketType.ACK] & _WORD,
            pings_sent=counted.pings_sent & _WORD,
            aborts_sent=sent[PacketType.ABORT] & _WORD,
            busies_sent=sent[PacketType.BUSY] & _WORD,
            data_sent=max(0, sent[PacketType.DATA] - counted.data_resent) & _WORD,
            data_resent=counted.data_resent & _WORD,
            total_rtt=_clock(counted.rtt_total),
            minimum_rtt=_clock(counted.rtt_minimum if counted.rtt_samples else 0.0),
            maximum_rtt=_clock(counted.rtt_maximum),
            rtt_samples=counted.rtt_samples & _WORD,
            server_connections=len(self._servers),
            client_connections=len(self._clients),
            peers=len(self._peers),
            calls=counted.calls_executed & _WORD,
            busies=sent[PacketType.BUSY] & _WORD,
        )


def describe_connection(connection: Connection) -> tuple[object, ...]:
    """A connection as the record DEBUG_CONNECTION packs."""
    calls, wire = connection.calls, connection.wire
    flags = _CHECKSUMS if wire.sealing else 0
    if any(call is not None and call.state == CallState.PRECALL for call in calls):
        flags |= _ATTACH_WAIT
    record: tuple[object, ...] = _CONNECTION._replace(
        host=_host(connection.peer[0]),
        port=connection.peer[1],
        cid=connection.cid,
        epoch=connection.epoch,
        serial=wire.serial & _WORD,
        call_numbers=connection.numbers,
        error=0 if connection.error is None else connection.error.code,
        flags=flags,
        type=0 if connection.is_client else _SERVER_TYPE,
        security_index=wire.security_index,
        call_states=bytes(CallState.NOTINIT if call is None else call.state for call in calls),
        call_modes=bytes(0 if call is None else call.mode for call in calls),
        call_flags=bytes(0 if call is None else _flags(call) for call in calls),
        call_other=bytes(
            0
            if call is None
            else (_PACKETS_IN if call.receiver.size else 0) | (_PACKETS_OUT if call.sender.outstanding else 0)
            for call in calls
        ),
        security=_security(connection.security.statistics()),
        natural_mtu=connection.wire.peer.mtu,
    )
    return record


def _security(told: SecurityStatistics) -> Any:
    return _CONNECTION.security._replace(
        type=told.type,
        level=told.level,
        flags=_AUTHENTICATED * told.authenticated | _CHECKSUMS_SEEN * told.checksums,
        expires=told.expires & _WORD,
        packets_received=told.packets_received & _WORD,
        packets_sent=told.packets_sent & _WORD,
        bytes_received=told.bytes_received & _WORD,
        bytes_sent=told.bytes_sent & _WORD,
    )


def _flags(call: Call) -> int:
    """What a call waits for (rx.h RX_CALL_*), and whether all its data has come."""
    waits = _WAIT_PROCESS if call.queued else _WAIT_WINDOW if call.sender.blocked else 0
    return waits | (_RECEIVE_DONE if call.receiver.complete else 0)


def describe_peer(peer: Peer) -> tuple[object, ...]:
    """A peer as the record DEBUG_PEER packs."""
    timeout = _clock(peer.round_trip.retransmit_seconds)
    record: tuple[object, ...] = _PEER._replace(
        host=_host(peer.address[0]),
        port=peer.address[1],
        interface_mtu=peer.interface_mtu,
        references=min(peer.connections, _SHORT),
        rtt=int(peer.round_trip.smoothed * 8000) & _WORD,
        rtt_deviation=int(peer.round_trip.deviation * 4000) & _WORD,
        timeout=(timeout.seconds, timeout.microseconds),
        sent=peer.packets_sent & _WORD,
        resent=peer.packets_resent & _WORD,
        natural_mtu=peer.path.limit,
        maximum_mtu=peer.maximum_mtu,
        maximum_datagram_packets=peer.jumbo_packets,
        interface_datagram_packets=1,
        mtu=peer.mtu,
        congestion_window=peer.congestion_window,
        datagram_packets=peer.jumbo_packets,
        bytes_sent=peer.bytes_sent,
        bytes_received=peer.bytes_received,
    )
    return record


def _following(items: list[T], index: int) -> Iterator[T]:
    """What there is from this index on, without a copy of it: a stranger's question costs one step, not thousands."""
    return (items[at] for at in range(index, len(items)))


def _host(address: str) -> bytes:
    """An IPv4 address as four bytes; zeros for what is none."""
    parts = address.split(".")
    return bytes(map(int, parts)) if len(parts) == 4 else bytes(4)


def _clock(seconds: float) -> Any:
    whole = int(seconds)
    return _CLOCK._replace(seconds=whole & _WORD, microseconds=int((seconds - whole) * 1_000_000))
