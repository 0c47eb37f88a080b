"""vos clone"""

from __future__ import annotations

from typing import Annotated

from afs.names import VOLUME_NAME_MAX
from vos.command import CommandError, command
from vos.operations.clones import BACKUP, READ_ONLY, READ_WRITE, clone_volume
from vos.session import Session
from vos.where import NO_VOLUME_ID, need_given_place
from vos.words import encoded, is_numeric, need_volume


@command
async def clone(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    server: Annotated[str | None, "server"] = None,
    partition: Annotated[str | None, "partition"] = None,
    toname: Annotated[str | None, "volume name on destination"] = None,
    toid: Annotated[str | None, "volume ID on destination"] = None,
    offline: Annotated[bool, "leave clone volume offline"] = False,
    readonly: Annotated[bool, "make clone volume read-only, not readwrite"] = False,
    readwrite: Annotated[bool, "make clone volume readwrite, not read-only"] = False,
) -> None:
    """make clone of a volume"""
    volume = await need_volume(session, id, NO_VOLUME_ID.format(id))
    at = await need_given_place(session, volume, server, partition)
    if toname is not None:
        if len(encoded(toname)) > VOLUME_NAME_MAX:
            what = f"the name of the root volume {toname} exceeds the size limit of {VOLUME_NAME_MAX}"
            raise CommandError(f"vos: {what}\n")
        if is_numeric(toname):
            raise CommandError(f"Illegal volume name {toname}, should not be a number\n")
    copy = 0 if toid is None else await need_volume(session, toid, NO_VOLUME_ID.format(toid))
    if readonly and readwrite:
        raise CommandError("vos: cannot specify that a volume be -readwrite and -readonly\n")
    kind = READ_WRITE if readwrite else READ_ONLY if readonly else BACKUP
    await clone_volume(at, volume, clone=copy, name=encoded(toname or ""), kind=kind, offline=offline)
    session.output.say(f"Created clone for volume {id}")
