"""vos copy"""

from __future__ import annotations

from typing import Annotated

from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import OperationFailed
from vos.operations.copying import copy_volume
from vos.operations.locations import Location
from vos.output import vice_name
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import FAILED, need_partition, server_named
from vos.where import NO_VOLUME_ID, need_room
from vos.words import encoded, need_new_name, need_volume


@command
async def copy(
    session: Session,
    id: Annotated[str, "volume name or ID on source"],  # noqa: A002  # a switch
    fromserver: Annotated[str, "machine name on source"],
    frompartition: Annotated[str, "partition name on source"],
    toname: Annotated[str, "volume name on destination"],
    toserver: Annotated[str, "machine name on destination"],
    topartition: Annotated[str, "partition name on destination"],
    offline: Annotated[bool, "leave new volume offline"] = False,
    readonly: Annotated[bool, "make new volume read-only"] = False,
    live: Annotated[bool, "copy live volume without cloning"] = False,
) -> None:
    """copy a volume"""
    volume = await need_volume(session, id, NO_VOLUME_ID.format(id))
    source_server, target_server = (server_named(session, word, status=USAGE_STATUS) for word in (fromserver, toserver))
    need_new_name(toname, "name of the root volume")
    await _need_unused(session, toname)
    source = Location(session, source_server, await need_partition(session, source_server, frompartition, USAGE_STATUS))
    target = Location(session, target_server, await need_partition(session, target_server, topartition, USAGE_STATUS))
    await need_room(volume, source, target, "copy")
    try:
        await copy_volume(volume, source, target, encoded(toname), readonly=readonly, offline=offline, live=live)
    except OperationFailed:
        raise CommandError("", FAILED) from None
    here, there = vice_name(source.partition), vice_name(target.partition)
    session.output.say(f"Volume {volume} copied from {fromserver} {here} to {toname} on {toserver} {there} ")


async def _need_unused(session: Session, name: str) -> None:
    try:
        await session.vl.GetEntryByNameN(encoded(name))
    except RxError:
        return
    raise CommandError(f"Volume {name} already exists\nError in vos copy command.\n")
