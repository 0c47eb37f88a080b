"""vos zap"""

from __future__ import annotations

from typing import Annotated

from afs.location import BACKUP, RW
from afs.names import parse_partition
from rx.errors import RxError
from vos.command import CommandError, command
from vos.entries import volume_id
from vos.errors import error_text
from vos.operations.entries import ANY
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import FAILED, need_partition, partition_named, server_named
from vos.where import NO_VOLUME
from vos.words import need_volume


@command(failure=FAILED)
async def zap(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str, "partition name"],
    id: Annotated[str, "volume ID"],  # noqa: A002  # a switch
    force: Annotated[bool, "force deletion of bad volumes"] = False,
    backup: Annotated[bool, "also delete backup volume if one is found"] = False,
) -> None:
    """delete the volume, don't bother with VLDB"""
    if force:
        await _nuke(session, server, partition, id)
        return
    volumes = session.cell.volumes
    volume = await need_volume(session, id, NO_VOLUME.format(id), FAILED)
    partition_named(partition)
    address = server_named(session, server, "host")
    number = await need_partition(session, address, partition)
    clone = await _listed_backup(session, volume)
    if backup:
        if not clone:
            clone = await _backup_there(session, server, partition, volume)
        if clone:
            await volumes.zap(address, number, clone)
            session.output.say(f"Backup Volume {clone} deleted")
    await volumes.zap(address, number, volume)
    session.output.say(f"Volume {volume} deleted")


async def _listed_backup(session: Session, volume: int) -> int:
    """The backup volume of a read-write one by its entry; that there is one is a warning."""
    try:
        entry = await session.vl.GetEntryByIDN(volume, ANY)
    except RxError:
        return 0
    session.output.complain(f"Warning: Entry for volume number {volume} exists in VLDB (but we're zapping it anyway!)")
    return entry.volumeId[BACKUP] if volume == entry.volumeId[RW] else 0


async def _backup_there(session: Session, server: str, partition: str, volume: int) -> int:
    """The same by its header."""
    try:
        (info,) = await session.volser(session.server(server)).ListOneVolume(partition_named(partition), volume)
    except RxError as problem:
        session.output.complain(f"Could not fetch the information about volume {volume} from the server")
        session.output.complain(error_text(problem.code))
        return 0
    return info.backupID if volume == info.parentID else 0


async def _nuke(session: Session, server: str, partition: str, word: str) -> None:
    address = server_named(session, server, status=USAGE_STATUS)
    try:
        number = parse_partition(partition)
    except ValueError:
        session.output.err.write(f"vos: could not parse '{partition}' as a partition name")
        raise CommandError("") from None
    try:
        volume = await volume_id(session, word)
    except RxError as problem:
        raise CommandError(f"{error_text(problem.code)}\n") from problem
    if not volume:
        session.output.err.write(f"vos: could not parse '{word}' as a numeric volume ID")
        raise CommandError("")
    session.output.now(f"vos: forcibly removing all traces of volume {volume}, please wait...")
    try:
        await session.cell.volumes.nuke(address, number, volume)
    except RxError as problem:
        session.output.say(f"failed with code {problem.code}.")
        raise CommandError("") from problem
    session.output.say("done.")
