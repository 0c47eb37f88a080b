"""What each RPC has cost, of the whole process and by peer: the counters behind the RXSTATS service (rx.c
rxi_AddRpcStat). Nothing is counted until somebody asks for it.
"""

from __future__ import annotations

from math import inf

from rx.peer import Address
from rx.service import Operation

PEERS = 4096
"""Peers counted apart. Beyond it the one counted longest is dropped, so that a scan of strangers is no leak."""


class Times:
    """Seconds, summed up."""

    __slots__ = ("least", "most", "squares", "sum")

    def __init__(self) -> None:
        self.sum = 0.0
        self.squares = 0.0
        self.least = inf
        self.most = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        seconds = max(seconds, 0.0)
        self.sum += seconds
        self.squares += seconds * seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)


class Counters:
    """One RPC, as server or as client. `queued` is the time until it was begun."""

    __slots__ = ("bytes_received", "bytes_sent", "calls", "executed", "queued")

    def __init__(self) -> None:
        self.calls = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.queued = Times()
        self.executed = Times()


class Table:
    """RPC -> what it cost."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[Operation, Counters] = {}

    def __getitem__(self, operation: Operation) -> Counters:
        counters = self._rows.get(operation)
        if counters is None:
            counters = self._rows[operation] = Counters()
        return counters

    def get(self, operation: Operation) -> Counters | None:
        """Its counters, None when there was no call."""
        return self._rows.get(operation)

    def values(self) -> list[Counters]:
        """Every RPC's."""
        return list(self._rows.values())


class RpcStatistics:
    """One process's. In the tables' keys True says that the peer was the server."""

    def __init__(self) -> None:
        self.process: dict[bool, Table] = {}
        self.peers: dict[tuple[Address, bool], Table] = {}
        self._process_on = self._peers_on = False
        self.on = False
        """Whether `note` need be called at all."""

    @property
    def process_on(self) -> bool:
        return self._process_on

    @process_on.setter
    def process_on(self, on: bool) -> None:
        self._process_on = on
        self.on = on or self._peers_on
        if not on:
            self.process.clear()

    @property
    def peers_on(self) -> bool:
        return self._peers_on

    @peers_on.setter
    def peers_on(self, on: bool) -> None:
        self._peers_on = on
        self.on = on or self._process_on
        if not on:
            self.peers.clear()

    def note(
        self,
        operation: Operation,
        peer: Address,
        peer_serves: bool,
        sent: int,
        received: int,
        queued: float,
        executed: float,
    ) -> None:
        """A call is over. Bytes are of arguments and results, times in seconds."""
        tables = []
        if self._process_on:
            tables.append(self.process.setdefault(peer_serves, Table()))
        if self._peers_on:
            tables.append(self._table_of(peer, peer_serves))
        for table in tables:
            counters = table[operation]
            counters.calls += 1
            counters.bytes_sent += sent
            counters.bytes_received += received
            counters.queued.note(queued)
            counters.executed.note(executed)

    def _table_of(self, peer: Address, peer_serves: bool) -> Table:
        table = self.peers.get((peer, peer_serves))
        if table is None:
            if len(self.peers) >= PEERS:
                del self.peers[next(iter(self.peers))]
            table = self.peers[peer, peer_serves] = Table()
        return table
