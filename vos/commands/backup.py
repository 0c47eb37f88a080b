"""vos backup"""

from __future__ import annotations

from typing import Annotated

from afs.location import BACKUP, RW
from afs.rpc.vl import VLF_BACKEXISTS
from rx.errors import RxError
from vos.command import CommandError, command
from vos.operations.entries import same_server
from vos.session import Session
from vos.volservers import FAILED
from vos.where import NO_VOLUME_ID, find_volume
from vos.words import need_volume


@command
async def backup(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """make backup of a volume"""
    volume = await need_volume(session, id, NO_VOLUME_ID.format(id))
    found = await find_volume(session, volume, FAILED)
    if found.kind != RW:
        raise CommandError(f"{id} not RW volume\n", FAILED)
    if found.entry.flags & VLF_BACKEXISTS:
        clone = found.entry.volumeId[BACKUP]
        there = await find_volume(session, clone, FAILED)
        try:
            same = await same_server(session, there.at.server, found.at.server)
        except RxError:
            number = int.from_bytes(there.at.server.packed, "little", signed=True)
            text = f"Failed to get info about server's {number} address(es) from vlserver; aborting call!\n"
            raise CommandError(text, FAILED) from None
        if not same:
            raise CommandError(f"FATAL ERROR: backup volume {clone} exists on server {there.at.server}\n", FAILED)
    await session.cell.volumes.backup(volume, found.at.server, found.at.partition)
    session.output.say(f"Created backup volume for {id} ")
