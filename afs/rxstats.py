"""The RXSTATS service: the call counters of a process, as stock's administration library reads them.

Everybody may read them; only administrators switch, and zero, them. Stock's servers do not count until they are told
to, and neither do we.
"""
# ruff: noqa: N802 (RPC names are the protocol's)

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from errno import EPERM
from math import isinf

from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.rpc.partitions import VLPartitions
from afs.rpc.pr import PR
from afs.rpc.rxstats import RX_STATS_RETRIEVAL_VERSION, RXSTATS
from afs.rpc.ubik import DISK, VOTE
from afs.rpc.vl import VL
from afs.rpc.volpartitions import AFSVolPartitions
from afs.rpc.volser import AFSVol
from rx.errors import Abort
from rx.peer import Address
from rx.rpcstats import Counters, RpcStatistics, Table, Times
from rx.server import Server, ServerCall
from rx.service import Operation, Service

STAT_INDICES: dict[type[Service], int] = {
    RXAFSCB: 6,
    RXAFS: 7,
    PR: 8,
    VOTE: 11,
    DISK: 12,
    VL: 15,
    AFSVol: 16,
    RXSTATS: 9,
    VLPartitions: 40,
    AFSVolPartitions: 41,
}
"""By which number each interface goes in the counters: `statindex` in its .xg. What a service adds to another is an
interface of its own.
"""

NEWER = ("StoreACL",)
"""RPCs that stock 1.8 does not have: behind those it has."""

FIRST: dict[type[Service], tuple[int, ...]] = {
    VL: (514, 504, 519, 527, 533, 501, 502, 503, 505, 506, 507, 508, 509, 510, 511, 512, 513)
}
"""vldbint.xg does not declare its RPCs in the order of their opcodes; the other interfaces do."""

WORDS = 28
"""Of one RPC's counters (rx.h rx_function_entry_v1_t)."""

NO_TIME = (9_999_999, 9_999_999)
"""The least of no times at all."""

EVERYBODY = 0xFFFF_FFFF
"""In place of a peer in the counters of the process."""

CLEAR_CALLS, CLEAR_SENT, CLEAR_RECEIVED = 0x1, 0x2, 0x4
CLEAR_TIMES = {"queued": 0x8, "executed": 0x80}
"""Bits of what to zero (rx.h AFS_RX_STATS_CLEAR_*): four for the times of each kind."""

_WORD = 0xFFFF_FFFF
_NONE = Counters()

Permission = Callable[[ServerCall], bool]
"""Whether a caller is an administrator."""


class Statistics(RXSTATS):
    """Serves one call."""

    def __init__(self, statistics: RpcStatistics, allowed: Permission, now: Callable[[], float], call: ServerCall):
        self._statistics = statistics
        self._allowed = allowed
        self._now = now
        self._call = call

    async def RetrieveProcessRPCStats(self, client_version: int) -> tuple[int, int, int, int, tuple[int, ...]]:
        statistics = self._statistics
        peers = [((EVERYBODY, EVERYBODY), serves, table) for serves, table in statistics.process.items()]
        seconds, microseconds, count, words = self._retrieve(client_version, statistics.process_on, peers)
        return RX_STATS_RETRIEVAL_VERSION, seconds, microseconds, count, words

    async def RetrievePeerRPCStats(self, client_version: int) -> tuple[int, int, int, int, tuple[int, ...]]:
        statistics = self._statistics
        peers = [(_numbers(peer), serves, table) for (peer, serves), table in statistics.peers.items()]
        seconds, microseconds, count, words = self._retrieve(client_version, statistics.peers_on, peers)
        return RX_STATS_RETRIEVAL_VERSION, seconds, microseconds, count, words

    def _retrieve(
        self, version: int, on: bool, peers: Iterable[tuple[tuple[int, int], bool, Table]]
    ) -> tuple[int, int, int, tuple[int, ...]]:
        if not on:
            return 0, 0, 0, ()
        words: list[int] = []
        if version >= RX_STATS_RETRIEVAL_VERSION:
            for peer, serves, table in peers:
                for entry in _entries(peer, serves, table):
                    words += entry
        return *_clock(self._now()), len(words) // WORDS, tuple(words)

    async def QueryProcessRPCStats(self) -> int:
        return int(self._statistics.process_on)

    async def QueryPeerRPCStats(self) -> int:
        return int(self._statistics.peers_on)

    async def EnableProcessRPCStats(self) -> None:
        self._check()
        self._statistics.process_on = True

    async def EnablePeerRPCStats(self) -> None:
        self._check()
        self._statistics.peers_on = True

    async def DisableProcessRPCStats(self) -> None:
        self._check()
        self._statistics.process_on = False

    async def DisablePeerRPCStats(self) -> None:
        self._check()
        self._statistics.peers_on = False

    async def QueryRPCStatsVersion(self) -> int:
        return RX_STATS_RETRIEVAL_VERSION

    async def ClearProcessRPCStats(self, clear_flag: int) -> None:
        self._check()
        _clear(self._statistics.process.values(), clear_flag)

    async def ClearPeerRPCStats(self, clear_flag: int) -> None:
        self._check()
        _clear(self._statistics.peers.values(), clear_flag)

    def _check(self) -> None:
        if not self._allowed(self._call):
            raise Abort(EPERM)


def serve(
    server: Server,
    statistics: RpcStatistics,
    allowed: Permission,
    now: Callable[[], float],
    security_indices: tuple[int, ...],
) -> None:
    """Offer the service on a server's port, and count what that server serves. `now` is Unix time."""
    server.rpc_statistics = statistics
    server.add(RXSTATS, lambda call: Statistics(statistics, allowed, now, call), security_indices=security_indices)


def in_order(service: type[Service]) -> list[Operation]:
    """A service's own RPCs by their places in the counters."""
    first = FIRST.get(service, ())
    others = [base.operations for base in service.__bases__ if base in STAT_INDICES]

    def place(operation: Operation) -> tuple[bool, int]:
        return operation.name in NEWER, first.index(operation.opcode) if operation.opcode in first else len(first)

    own = [each for opcode, each in service.operations.items() if not any(opcode in other for other in others)]
    return sorted(own, key=place)


def _entries(peer: tuple[int, int], serves: bool, table: Table) -> Iterator[tuple[int, ...]]:
    """Of every interface that was called every RPC, called or not."""
    for service, index in STAT_INDICES.items():
        rows = [table.get(operation) for operation in in_order(service)]
        if any(rows):
            for number, row in enumerate(rows):
                yield (*peer, int(serves), index, len(rows), number, *_words(row or _NONE))


def _words(row: Counters) -> Iterator[int]:
    for count in (row.calls, row.bytes_sent, row.bytes_received):
        yield count >> 32 & _WORD
        yield count & _WORD
    for times in (row.queued, row.executed):
        for seconds in (times.sum, times.squares, times.least, times.most):
            yield from _clock(seconds)


def _clock(seconds: float) -> tuple[int, int]:
    if isinf(seconds):
        return NO_TIME
    whole = int(seconds)
    return whole & _WORD, int((seconds - whole) * 1_000_000)


def _numbers(peer: Address) -> tuple[int, int]:
    """A peer's address and port as stock sends them from x86, and takes them there: each turned round."""
    return int.from_bytes(bytes(map(int, peer[0].split("."))), "little"), int.from_bytes(peer[1].to_bytes(2, "little"))


def _clear(tables: Iterable[Table], what: int) -> None:
    for table in tables:
        for row in table.values():
            _clear_row(row, what)


def _clear_row(row: Counters, what: int) -> None:
    if what & CLEAR_CALLS:
        row.calls = 0
    if what & CLEAR_SENT:
        row.bytes_sent = 0
    if what & CLEAR_RECEIVED:
        row.bytes_received = 0
    fresh = Times()
    for kind, first in CLEAR_TIMES.items():
        times: Times = getattr(row, kind)
        for bit, name in enumerate(("sum", "squares", "least", "most")):
            if what & first << bit:
                setattr(times, name, getattr(fresh, name))
