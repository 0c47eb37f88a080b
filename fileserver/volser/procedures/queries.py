"""The AFSVol RPCs that change nothing: partitions, volumes on them, open transactions."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENODEV

from afs.errors import VolserError
from afs.names import parse_partition
from afs.rpc.volser import (
    AFSVol,
    ITOffline,
    diskPartition,
    diskPartition64,
    pIDs,
    transDebugInfo,
    volintInfo,
    volintXInfo,
)
from fileserver.interfaces import IPartition
from fileserver.volser.listing import BASE, EXTENDED, Info, Listing, entry
from fileserver.volser.transactions import Transactions
from fileserver.volume.registry import Registry
from fileserver.volume.salvage_groups import Salvage
from rx.errors import Abort

OLD_PARTITION_COUNT = 26
"""ListPartitions knows /vicepa to /vicepz only."""

MAX_INT32 = 2**31 - 1


class Queries(AFSVol):
    """What everybody may ask."""

    def __init__(self, registry: Registry, transactions: Transactions, now: Callable[[], int]) -> None:
        self._registry = registry
        self._transactions = transactions
        self._now = now

    async def GetNthVolume(self, index: int) -> tuple[int, int]:
        raise Abort(VolserError.VOLSERNO_OP)

    async def SignalRestore(self, name: bytes, type: int, pid: int, cloneid: int) -> None:  # noqa: A002
        return None

    async def ListPartitions(self) -> pIDs:
        known = {partition.number for partition in self._registry.partitions()}
        return pIDs(partIds=tuple(number if number in known else -1 for number in range(OLD_PARTITION_COUNT)))

    async def XListPartitions(self) -> tuple[int, ...]:
        return tuple(partition.number for partition in self._registry.partitions())

    async def PartitionInfo(self, name: bytes) -> diskPartition:
        wide = await self.PartitionInfo64(name)
        return diskPartition(
            name=wide.name, devName=wide.devName, free=min(wide.free, MAX_INT32), minFree=min(wide.minFree, MAX_INT32)
        )

    async def PartitionInfo64(self, name: bytes) -> diskPartition64:
        try:
            partition = self._partition(parse_partition(name.decode("latin-1")))
        except ValueError:
            raise Abort(VolserError.VOLSERILLEGAL_PARTITION) from None
        space, called = partition.space(), partition.name.encode()
        return diskPartition64(name=called, devName=called, free=space.free, minFree=space.total)

    async def ListVolumes(self, partid: int, flags: int) -> tuple[volintInfo, ...]:
        return await self._list(partid, flags, BASE)

    async def XListVolumes(self, partid: int, flags: int) -> tuple[volintXInfo, ...]:
        return await self._list(partid, flags, EXTENDED)

    async def ListOneVolume(self, partid: int, volid: int) -> tuple[volintInfo, ...]:
        return await self._list_one(partid, volid, BASE)

    async def XListOneVolume(self, partid: int, volid: int) -> tuple[volintXInfo, ...]:
        return await self._list_one(partid, volid, EXTENDED)

    async def Monitor(self) -> tuple[transDebugInfo, ...]:
        """Transactions, the youngest first, then salvages."""
        salvages = self._registry.salvages or ()
        return (
            *(transaction.describe() for transaction in reversed(list(self._transactions))),
            *(_under_salvage(salvage) for salvage in salvages),
        )

    async def _list(self, partid: int, full: int, listing: Listing[Info]) -> tuple[Info, ...]:
        ids = [each for each in self._registry.ids(self._partition(partid)) if not self._deleted(each, partid)]
        if not full:
            return tuple(listing.bare(volume_id, 0, b"") for volume_id in ids)
        entries = []
        for volume_id in ids:
            await self._registry.surroundings.breathe()
            volume = self._registry.find(volume_id, partid)
            if volume is None:
                continue  # destroyed meanwhile
            found = await entry(volume, self._transactions, listing, self._now(), single=False)
            if found is not None:
                entries.append(found)
        return tuple(entries)

    async def _list_one(self, partid: int, volid: int, listing: Listing[Info]) -> tuple[Info, ...]:
        self._partition(partid)
        volume = self._registry.find(volid, partid)
        if volume is None or self._deleted(volid, partid):
            raise Abort(ENODEV)
        found = await entry(volume, self._transactions, listing, self._now(), single=True)
        assert found is not None, volume
        return (found,)

    def _deleted(self, volume_id: int, partition: int) -> bool:
        return self._transactions.deleted(volume_id, partition)

    def _partition(self, number: int) -> IPartition:
        partition = self._registry.partition(number)
        if partition is None:
            raise Abort(VolserError.VOLSERILLEGAL_PARTITION)
        return partition


def _under_salvage(salvage: Salvage) -> transDebugInfo:
    """What `vos status` shows of a group being repaired, or waiting for that: a transaction without a number."""
    return transDebugInfo(
        time=salvage.began,
        creationTime=salvage.began,
        volid=salvage.group,
        partition=salvage.partition.number,
        iflags=ITOffline,
        lastProcName=b"Salvage" if salvage.running else b"SalvageWanted",
    )
