"""Is the server up, and what has it done."""

from __future__ import annotations

from afs.rpc.vl import MAXTYPES, VLDBVERSION, VLDBVERSION_4, vital_vlheader, vldstats
from vlserver.forms import signed
from vlserver.interfaces import ITransaction
from vlserver.operations.entries import max_volume_id
from vlserver.operations.listing import FIRST_INDEX, index_of
from vlserver.operations.servers import uniquifiers
from vlserver.procedures.base import VLProcedures


class StatisticsProcedures(VLProcedures):
    """ProbeServer and GetStats."""

    async def ProbeServer(self) -> None:
        return None

    async def GetStats(self) -> tuple[vldstats, vital_vlheader]:
        counters = self._counters
        stats = vldstats(start_time=counters.started, requests=tuple(counters.requests), aborts=tuple(counters.aborts))
        return stats, await self._read(vital_header)


def vital_header(transaction: ITransaction) -> vital_vlheader:
    """The header of a stock database of this size, in host order (a stock server on x86 sends it swapped)."""
    return vital_vlheader(
        vldbversion=VLDBVERSION_4 if uniquifiers(transaction) else VLDBVERSION,
        headersize=FIRST_INDEX,
        eofPtr=signed(index_of(transaction.last_key() + 1) & 0xFFFFFFFF),
        MaxVolumeId=max_volume_id(transaction),
        totalEntries=(0,) * MAXTYPES,
    )
