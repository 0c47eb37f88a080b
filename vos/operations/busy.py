"""What volume servers have and do."""

from __future__ import annotations

from afs.rpc.volser import transDebugInfo, volintInfo
from vos.operations.subject import Partition, Server, Subject
from vos.operations.transactions import end
from vos.volservers import list_partitions


async def transactions(self: Subject, server: Server) -> list[transDebugInfo]:
    """Those that are open. Raises RxError."""
    return list(await self.session.volser(self.server(server)).Monitor())


async def end_transaction(self: Subject, server: Server, transaction: int) -> None:
    """End a transaction that somebody has left open. Raises RxError."""
    await end(self.session, self.server(server), transaction)


async def partitions(self: Subject, server: Server) -> list[int]:
    """The numbers of the partitions that it has attached. Raises CommandError."""
    return await list_partitions(self.session, self.server(server), "")


async def volumes(self: Subject, server: Server, partition: Partition) -> list[volintInfo]:
    """What is on a partition. Raises RxError."""
    return list(await self.session.volser(self.server(server)).ListVolumes(self.partition(partition), 1))
