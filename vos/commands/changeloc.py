"""vos changeloc"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import command
from vos.session import Session
from vos.volservers import FAILED, need_partition, server_named
from vos.where import NO_VOLUME
from vos.words import need_volume


@command(failure=FAILED)
async def changeloc(
    session: Session,
    server: Annotated[str, "machine name for new location"],
    partition: Annotated[str, "partition name for new location"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """change an RW volume's location in the VLDB"""
    volume = await need_volume(session, id, NO_VOLUME.format(id), FAILED)
    address = server_named(session, server)
    number = await need_partition(session, address, partition)
    await session.cell.vldb.change_location(address, number, volume)
    session.output.say(f"Changed location to {server} {partition_name(number)} for volume {id}")
