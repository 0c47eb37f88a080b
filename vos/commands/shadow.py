"""vos shadow"""

from __future__ import annotations

from typing import Annotated

from vos.command import CommandError, command
from vos.entries import text
from vos.errors import OperationFailed
from vos.operations.copying import copy_volume
from vos.output import vice_name
from vos.session import Session
from vos.volservers import FAILED
from vos.where import NO_VOLUME_ID, need_info, need_places, need_room
from vos.words import encoded, need_new_name, need_volume


@command
async def shadow(
    session: Session,
    id: Annotated[str, "volume name or ID on source"],  # noqa: A002  # a switch
    fromserver: Annotated[str, "machine name on source"],
    frompartition: Annotated[str, "partition name on source"],
    toserver: Annotated[str, "machine name on destination"],
    topartition: Annotated[str, "partition name on destination"],
    toname: Annotated[str | None, "volume name on destination"] = None,
    toid: Annotated[str | None, "volume ID on destination"] = None,
    offline: Annotated[bool, "leave shadow volume offline"] = False,
    readonly: Annotated[bool, "make shadow volume read-only"] = False,
    live: Annotated[bool, "copy live volume without cloning"] = False,
    incremental: Annotated[bool, "do incremental update if target exists"] = False,
) -> None:
    """make or update a shadow volume"""
    volume, source, target = await need_places(session, id, fromserver, frompartition, toserver, topartition)
    if toname is not None:
        need_new_name(toname, "name of the root volume")
    name = toname if toname is not None else text((await need_info(volume, source)).name)
    word = toid if toid is not None else name
    copy = await need_volume(session, word, NO_VOLUME_ID.format(word))
    await need_room(volume, source, target, "copy", given_back=copy)
    try:
        await copy_volume(
            volume,
            source,
            target,
            encoded(name),
            copy=copy,
            readonly=readonly,
            offline=offline,
            live=live,
            incremental=incremental,
            listed=False,
        )
    except OperationFailed:
        raise CommandError("", FAILED) from None
    here, there = vice_name(source.partition), vice_name(target.partition)
    session.output.say(f"Volume {volume} shadowed from {fromserver} {here} to {toserver} {there} ")
