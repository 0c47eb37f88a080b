"""RXSTATS, the call counters that every Rx server may offer on its own port (rxstat.xg)."""
# mypy: disable-error-code="empty-body"
# ruff: noqa: N816 (type names are the protocol's)

from typing import Annotated

from rx.service import Service, rpc
from xdr import Array, Int32, UInt32

RX_STATS_RETRIEVAL_VERSION = 1

rpcStats = Annotated[tuple[UInt32, ...], Array(None)]


class RXSTATS(Service, service_id=409):
    """Call counters, by interface and by peer."""

    @rpc(0)
    async def RetrieveProcessRPCStats(self, client_version: UInt32) -> tuple[UInt32, UInt32, UInt32, UInt32, rpcStats]:
        """Counters of every interface of the process.

        Returns (server_version, clock_sec, clock_usec, stat_count, stats).
        """

    @rpc(1)
    async def RetrievePeerRPCStats(self, client_version: UInt32) -> tuple[UInt32, UInt32, UInt32, UInt32, rpcStats]:
        """Counters by peer: returns the same. The .xg has stat_count before the clock, but stock's ends both mistake
        them for those of the process, and so agree.
        """

    @rpc(2)
    async def QueryProcessRPCStats(self) -> Int32:
        """Are process counters kept: returns on."""

    @rpc(3)
    async def QueryPeerRPCStats(self) -> Int32:
        """Are peer counters kept: returns on."""

    @rpc(4)
    async def EnableProcessRPCStats(self) -> None:
        """Keep process counters."""

    @rpc(5)
    async def EnablePeerRPCStats(self) -> None:
        """Keep peer counters."""

    @rpc(6)
    async def DisableProcessRPCStats(self) -> None:
        """Stop keeping process counters."""

    @rpc(7)
    async def DisablePeerRPCStats(self) -> None:
        """Stop keeping peer counters."""

    @rpc(8)
    async def QueryRPCStatsVersion(self) -> UInt32:
        """Version of the counters: returns ver."""

    @rpc(9)
    async def ClearProcessRPCStats(self, clear_flag: UInt32) -> None:
        """Zero the chosen process counters."""

    @rpc(10)
    async def ClearPeerRPCStats(self, clear_flag: UInt32) -> None:
        """Zero the chosen peer counters."""
