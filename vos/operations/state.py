"""The state of a volume on its server: in service or not, its quota and counters, how large a dump would be."""

from __future__ import annotations

from twisted.internet.task import deferLater

from afs.rpc.volser import ITBusy, ITOffline, VTOutOfService, volintInfo
from vos.operations.steps import doing, explained, step
from vos.operations.subject import Partition, Server, Subject, Volume
from vos.operations.transactions import begin
from vos.undo import Undo


async def online(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Take a volume into service. Raises OperationFailed."""
    await set_flags(self, server, partition, volume)


async def offline(self: Subject, server: Server, partition: Partition, volume: Volume) -> None:
    """Take a volume out of service, until it is taken into it again. Raises OperationFailed."""
    await set_flags(self, server, partition, volume, flags=VTOutOfService)


async def set_flags(
    self: Subject,
    server: Server,
    partition: Partition,
    volume: Volume,
    *,
    mode: int = ITOffline,
    flags: int = 0,
    seconds: int = 0,
) -> None:
    """Set the VT flags of a volume in a transaction of one of the IT modes that is kept for so many seconds.

    Raises OperationFailed.
    """
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    async with Undo(session.output) as undo:
        with step(session, "SetVolumeStatus: TransCreate Failed"):
            ended = "SetVolumeStatus: EndTrans Failed"
            transaction = await begin(session, undo, address, number, volid, mode, unended=ended)
        with step(session, "SetVolumeStatus: SetFlags Failed"):
            await session.volser(address).SetFlags(transaction.id, flags)
        if seconds > 0:
            await deferLater(session.reactor, seconds)


async def set_fields(self: Subject, server: Server, partition: Partition, volume: Volume, info: volintInfo) -> None:
    """Set quota and counters; see `vos.operations.creating.no_changes`. Raises OperationFailed."""
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    async with Undo(session.output) as undo:
        with step(session, "SetVolumeInfo: TransCreate Failed"):
            ended = "SetVolumeInfo: EndTrans Failed"
            transaction = await begin(session, undo, address, number, volid, ITOffline, unended=ended)
        with step(session, "SetVolumeInfo: SetInfo Failed"):
            await session.volser(address).SetInfo(transaction.id, info)


async def dump_size(self: Subject, server: Server, partition: Partition, volume: Volume, *, since: int = 0) -> int:
    """How many bytes a dump would have, of all or of what has changed since a Unix time. Raises OperationFailed."""
    session = self.session
    address, number, volid = self.server(server), self.partition(partition), await self.volume(volume)
    with explained(session):
        async with Undo(session.output) as undo:
            said = f"Could not start transaction on the volume {volid} to be measured"
            unmeasured = "Could not start the measurement process "
            unended = f"Could not end transaction on the volume {volid}"
            with doing(session, f"Starting transaction on volume {volid}...", said):
                transaction = await begin(session, undo, address, number, volid, ITBusy, unended=unended)
            with doing(session, f"Getting size of volume on volume {volid}...", unmeasured):
                found = await session.volser(address).GetSize(transaction.id, since)
            with doing(session, f"Ending transaction on volume {volid}...", unended, explained=False):
                await transaction.end()
    return found.dump_size
