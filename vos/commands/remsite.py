"""vos remsite"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import command
from vos.session import Session
from vos.volservers import FAILED, partition_named, server_named
from vos.where import NO_VOLUME
from vos.words import base_word, need_volume


@command(failure=FAILED)
async def remsite(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str, "partition name"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """remove a replication site"""
    volume = await need_volume(session, base_word(id), NO_VOLUME.format(id), FAILED)
    address = server_named(session, server)
    number = partition_named(partition)  # which the server may not have any more
    await session.cell.vldb.remove_site(address, number, volume)
    session.output.say(f"Removed replication site {server} {partition_name(number)} for volume {id}")
