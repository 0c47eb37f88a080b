"""Entries of the VLDB as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

from afs.rpc.vl import VLLIST_FLAG, VLLIST_PARTITION, VLLIST_SERVER, VldbListByAttributes, nvldbentry
from vos.entries import LOCKED, list_entries
from vos.operations.entries import signed
from vos.operations.subject import Partition, Server, Subject, Volume


async def get(self: Subject, volume: Volume) -> nvldbentry:
    """The entry of a volume, by its name or id or those of one of its clones. Raises Abort VL_NOENT."""
    return await self.session.vl.GetEntryByNameN(str(volume).encode("utf-8", "surrogateescape"))


async def entries(
    self: Subject, *, server: Server | None = None, partition: Partition | None = None, locked: bool = False
) -> AsyncIterator[nvldbentry]:
    """All of them, or those with a site there, or that are locked, in no order. Raises RxError."""
    async for page in list_entries(self.session, selector(self, server, partition, locked)):
        for entry in page:
            yield entry


async def delete(self: Subject, volume: Volume) -> None:
    """Delete the entry of a read-write volume, whatever volumes there are. Raises RxError."""
    await self.session.vl.DeleteEntry(await self.volume(volume), 0)


def selector(self: Subject, server: Server | None, partition: Partition | None, locked: bool) -> VldbListByAttributes:
    """What the listing RPCs are asked for."""
    wanted = VldbListByAttributes()
    if server is not None:
        wanted.server = signed(self.server(server))
        wanted.Mask |= VLLIST_SERVER
    if partition is not None:
        wanted.partition = self.partition(partition)
        wanted.Mask |= VLLIST_PARTITION
    if locked:
        wanted.flag = LOCKED
        wanted.Mask |= VLLIST_FLAG
    return wanted
