"""vos size"""

from __future__ import annotations

from typing import Annotated

from vos.command import command
from vos.dates import need_date
from vos.session import Session
from vos.where import NO_VOLUME, need_dump_place
from vos.words import need_volume


@command
async def size(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    partition: Annotated[str | None, "partition name"] = None,
    server: Annotated[str | None, "machine name"] = None,
    dump: Annotated[bool, "Obtain the size of the dump"] = False,
    time: Annotated[str | None, "dump from time"] = None,
) -> None:
    """obtain various sizes of the volume."""
    volume = await need_volume(session, id, NO_VOLUME.format(id))
    at = await need_dump_place(session, volume, server, partition)
    since = need_date(time)
    session.output.say(f"Volume: {id}")
    if dump:
        found = await session.cell.volumes.dump_size(at.server, at.partition, volume, since=since)
        session.output.say(f"dump_size: {found}")
