"""Read-only sites that would all sit on one server: they are there so that one server may go down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from twisted.internet.defer import Deferred, gatherResults

from afs.rpc.partitions import PARTITION_PAGE, PartitionEntry, PartitionObject, PartitionVolume
from afs.rpc.vl import VLSF_ROVOL
from vos.command import CommandError
from vos.session import Session

SHOWN = 20
"""Volumes named in a refusal; of more their number is told."""


async def need_spread(session: Session, found: PartitionObject, target: UUID, target_name: str) -> None:
    """No volume of the partition would have all its read-only sites on the target, unless it has so now.

    Raises CommandError with those that would.
    """
    if target in (found.owner.uuid, found.last_owner.uuid):
        return
    names = [name async for name in _gathered(session, found.uuid, target)]
    if names:
        more = f"\n    and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        listed = "".join(f"\n    {name}" for name in names[:SHOWN])
        raise CommandError(
            f"vos: these volumes would have all their read-only sites on {target_name}; "
            f"nothing was changed, -force does it{listed}{more}\n"
        )


async def _gathered(session: Session, partition: UUID, target: UUID) -> AsyncIterator[str]:
    after = 0
    while True:
        volumes, after = await session.objects.ListPartitionVolumes(partition, after, PARTITION_PAGE)
        replicated = [volume for volume in volumes if volume.vlsf & VLSF_ROVOL and volume.sites > 1]
        entries = await gatherResults([Deferred.fromCoroutine(_entry(session, volume)) for volume in replicated])
        for entry in entries:
            if _all_there(entry, partition, target):
                yield entry.name.decode(errors="replace")
        if not after:
            return


async def _entry(session: Session, volume: PartitionVolume) -> PartitionEntry:
    return await session.objects.GetEntryP(volume.name)


def _all_there(entry: PartitionEntry, partition: UUID, target: UUID) -> bool:
    """Whether its other read-only sites, of which there are some, are on the target."""
    others = [site.server.uuid for site in entry.sites if site.vlsf & VLSF_ROVOL and site.partition != partition]
    return bool(others) and all(server == target for server in others)
