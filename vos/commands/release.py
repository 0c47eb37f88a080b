"""vos release"""

from __future__ import annotations

from typing import Annotated

from afs.location import RW
from afs.names import READWRITE_NAME_MAX
from vos.command import Alias, CommandError, Hidden, command
from vos.entries import text
from vos.operations.releasing import release_volume
from vos.session import Session
from vos.where import NO_VOLUME, find_volume
from vos.words import need_volume


@command
async def release(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    force: Annotated[bool, Alias("-f"), "force a complete release and full dumps"] = False,
    stayonline: Annotated[bool, Hidden(), "release to cloned temp vol, then clone back to repsite RO"] = False,
    force_reclone: Annotated[bool, "force a reclone and complete release with incremental dumps"] = False,
) -> None:
    """release a volume"""
    if stayonline:
        raise CommandError("vos: -stayonline not supported\n")
    volume = await need_volume(session, id, NO_VOLUME.format(id))
    found = await find_volume(session, volume)
    if found.kind != RW:
        raise CommandError(f"{id} not a RW volume\n")
    if len(found.entry.name) > READWRITE_NAME_MAX:
        raise CommandError(f"Volume name {text(found.entry.name)} is too long, rename before releasing\n")
    await release_volume(volume, found.at, force=force, reclone=force_reclone)
    session.output.say(f"Released volume {id} successfully")
