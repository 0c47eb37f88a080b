"""Volumes that go from one place to another, for programs: the verbs of `cell.volumes` that carry data."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from afs.errors import VolserError
from afs.location import RO
from rx.streams import Sink, Source
from vos.errors import OperationFailed
from vos.operations import entries
from vos.operations.clones import BACKUP, clone_volume
from vos.operations.converting import convert_volume
from vos.operations.copying import copy_volume
from vos.operations.dumping import dump_clone, dump_volume
from vos.operations.locations import Location
from vos.operations.moving import move_volume
from vos.operations.releasing import release_volume
from vos.operations.restoring import Restore, restore_volume
from vos.operations.subject import Partition, Server, Subject, Volume
from vos.transfer.dumps import DumpOrigin, DumpTarget


async def move(
    self: Subject,
    volume: Volume,
    server: Server,
    partition: Partition,
    to_server: Server,
    to_partition: Partition,
    *,
    live: bool = False,
) -> None:
    """Move a read-write volume; with `live` without a clone, so that nobody can write meanwhile.

    Raises OperationFailed.
    """
    volid = await self.volume(volume)
    await move_volume(volid, _at(self, server, partition), _at(self, to_server, to_partition), live=live)


async def copy(
    self: Subject,
    volume: Volume,
    server: Server,
    partition: Partition,
    name: str,
    to_server: Server,
    to_partition: Partition,
    *,
    readonly: bool = False,
    offline: bool = False,
    live: bool = False,
) -> int:
    """Copy a volume to a new one of another name, with an entry; its id. Raises OperationFailed."""
    source, target = _at(self, server, partition), _at(self, to_server, to_partition)
    volid = await self.volume(volume)
    return await copy_volume(volid, source, target, _encoded(name), readonly=readonly, offline=offline, live=live)


async def shadow(
    self: Subject,
    volume: Volume,
    server: Server,
    partition: Partition,
    to_server: Server,
    to_partition: Partition,
    *,
    name: str = "",
    id: Volume | None = None,  # noqa: A002  # what everybody calls it
    readonly: bool = False,
    offline: bool = False,
    live: bool = False,
    incremental: bool = False,
) -> int:
    """Make a copy that no entry names, of the same id and name unless others are given, or with `incremental` bring one
    up to date; its id. Raises OperationFailed.
    """
    source, target = _at(self, server, partition), _at(self, to_server, to_partition)
    volid = await self.volume(volume)
    encoded = _encoded(name)
    if not encoded:
        (info,) = await source.volser.ListOneVolume(source.partition, volid)
        encoded = info.name
    return await copy_volume(
        volid,
        source,
        target,
        encoded,
        copy=volid if id is None else await self.volume(id),
        readonly=readonly,
        offline=offline,
        live=live,
        incremental=incremental,
        listed=False,
    )


async def clone(
    self: Subject,
    volume: Volume,
    server: Server,
    partition: Partition,
    *,
    name: str = "",
    id: int = 0,  # noqa: A002  # what everybody calls it
    kind: int = BACKUP,
    offline: bool = False,
) -> int:
    """Make a clone of a volume beside it, or bring the one with this id up to date; its id. Raises OperationFailed."""
    at = _at(self, server, partition)
    volid = await self.volume(volume)
    return await clone_volume(at, volid, clone=id, name=_encoded(name), kind=kind, offline=offline)


async def release(self: Subject, volume: Volume, *, force: bool = False, reclone: bool = False) -> None:
    """Release a read-write volume to its read-only sites. Raises OperationFailed, also if some of them lack it then."""
    volid = await self.volume(volume)
    entry = await self.session.vl.GetEntryByIDN(volid, entries.ANY)
    site = entries.readwrite_site(entry)
    if site is None:
        raise OperationFailed(VolserError.VOLSERNOVOL, f"there is no read-write volume {volid}")
    await release_volume(volid, Location(self.session, site[0], site[1]), force=force, reclone=reclone)


async def dump(
    self: Subject,
    volume: Volume,
    server: Server,
    partition: Partition,
    to: str | Path | Sink,
    *,
    since: int = 0,
    clone: bool = False,
    omitdirs: bool = False,
) -> None:
    """Dump a volume, or what of it changed `since` a Unix time, to a file or a sink; with `clone` from a clone, so that
    the volume can be written meanwhile. Raises OperationFailed, and NotWritten or what the sink raises.
    """
    at = _at(self, server, partition)
    volid = await self.volume(volume)
    work = dump_clone if clone else dump_volume
    if not isinstance(to, str | Path):
        await work(volid, at, to, since=since, omitdirs=omitdirs)
        return
    with closing(DumpTarget(self.session, str(to))) as target:
        await work(volid, at, target, since=since, omitdirs=omitdirs)
        await target.finish()


async def restore(
    self: Subject, server: Server, partition: Partition, how: Restore, source: str | Path | Source
) -> int:
    """Restore a volume from a dump in a file or a source; its id. Raises OperationFailed, and what a source raises."""
    at = _at(self, server, partition)
    if not isinstance(source, str | Path):
        return await restore_volume(at, source, how)
    with closing(DumpOrigin(self.session, str(source))) as origin:
        return await restore_volume(at, origin, how, check=origin.check)


async def convert(self: Subject, volume: Volume, server: Server, partition: Partition) -> None:
    """Make the read-only volume at a place the read-write one, which is lost. Raises OperationFailed."""
    at = _at(self, server, partition)
    entry = await self.session.vl.GetEntryByIDN(await self.volume(volume), entries.ANY)
    await convert_volume(entry.volumeId[RO], at, entry)


def _at(subject: Subject, server: Server, partition: Partition) -> Location:
    return Location(subject.session, subject.server(server), subject.partition(partition))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
