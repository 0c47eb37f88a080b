"""Locks of entries, held without an operation: until they are released by hand."""

from __future__ import annotations

from afs.rpc.vl import VLOP_DELETE
from vos.operations.entries import ANY, RELEASE
from vos.operations.steps import explained, step
from vos.operations.subject import Subject, Volume


async def lock(self: Subject, volume: Volume) -> None:
    """Lock an entry, as for a deletion. Raises RxError."""
    await self.session.vl.SetLock(await self.volume(volume), ANY, VLOP_DELETE)


async def unlock(self: Subject, volume: Volume) -> None:
    """Release the lock of an entry, whoever has taken it. Raises OperationFailed."""
    session = self.session
    volid = await self.volume(volume)
    session.output.part("Binding to the VLDB server\n")
    with explained(session), step(session, f"Could not unlock the entry for volume number {volid} in VLDB "):
        await session.vl.ReleaseLock(volid, ANY, RELEASE)
    session.output.part("VLDB updated\n")
