"""vos addsite"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from rx.errors import RxError
from vos.command import CommandError, Hidden, command
from vos.entries import volume_id
from vos.session import Session
from vos.volservers import FAILED, need_partition, server_named
from vos.where import NO_VOLUME
from vos.words import base_word, need_volume


@command(failure=FAILED)
async def addsite(
    session: Session,
    server: Annotated[str, "machine name for new site"],
    partition: Annotated[str, "partition name for new site"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    roid: Annotated[str | None, "volume name or ID for RO"] = None,
    valid: Annotated[bool, "publish as an up-to-date site in VLDB"] = False,
    force: Annotated[bool, Hidden(), "also where the server has a read-only site already"] = False,
) -> None:
    """add a replication site"""
    volume = await need_volume(session, base_word(id), NO_VOLUME.format(id), FAILED)
    readonly = 0 if roid is None else await _readonly(session, roid)
    address = server_named(session, server)
    number = await need_partition(session, address, partition)
    await session.cell.vldb.add_site(address, number, volume, roid=readonly, valid=valid, force=force)
    session.output.say(f"Added replication site {server} {partition_name(number)} for volume {id}")


async def _readonly(session: Session, word: str) -> int:
    try:
        found = await volume_id(session, base_word(word))
    except RxError:
        found = 0
    if not found:
        raise CommandError(f"vos: invalid ro volume id '{word}'\n", FAILED)
    return found
