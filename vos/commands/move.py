"""vos move"""

from __future__ import annotations

from typing import Annotated

from vos.command import CommandError, command
from vos.errors import OperationFailed
from vos.operations.moving import NotThere, move_volume
from vos.output import vice_name
from vos.session import Session
from vos.volservers import FAILED
from vos.where import need_places, need_room


@command
async def move(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    fromserver: Annotated[str, "machine name on source"],
    frompartition: Annotated[str, "partition name on source"],
    toserver: Annotated[str, "machine name on destination"],
    topartition: Annotated[str, "partition name on destination"],
    live: Annotated[bool, "copy live volume without cloning"] = False,
) -> None:
    """move a volume"""
    volume, source, target = await need_places(session, id, fromserver, frompartition, toserver, topartition)
    await need_room(volume, source, target, "move")
    try:
        await move_volume(volume, source, target, live=live)
    except NotThere:
        raise
    except OperationFailed:
        raise CommandError("", FAILED) from None
    here, there = vice_name(source.partition), vice_name(target.partition)
    session.output.say(f"Volume {volume} moved from {fromserver} {here} to {toserver} {there} ")
