"""vos create"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from rx.errors import RxError
from vos.command import CommandError, command
from vos.operations.creating import QUOTA
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import need_partition, server_named
from vos.words import encoded, integer, is_numeric, kilobytes, need_new_name


@command
async def create(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str, "partition name"],
    name: Annotated[str, "volume name"],
    maxquota: Annotated[str | None, "initial quota (KB)"] = None,
    id: Annotated[str | None, "volume ID"] = None,  # noqa: A002  # a switch
    roid: Annotated[str | None, "readonly volume ID"] = None,
) -> None:
    """create a new volume"""
    address = server_named(session, server, "host", USAGE_STATUS)
    number = await need_partition(session, address, partition, USAGE_STATUS)
    need_new_name(name, "name of the root volume")
    await _need_unlisted(session, name)
    quota = QUOTA if maxquota is None else kilobytes(maxquota)
    if quota is None:
        raise CommandError("vos: bad integer specified for quota.\n")
    volume = _id(id, "volume ID")
    readonly: int | None = _id(roid, "RO volume ID")
    if roid is not None and not readonly:
        readonly = None
    made = await session.cell.volumes.create(address, number, name, maxquota=quota, id=volume, roid=readonly)
    session.output.say(f"Volume {made} created on partition {partition_name(number)} of {server}")


async def _need_unlisted(session: Session, name: str) -> None:
    try:
        await session.vl.GetEntryByNameN(encoded(name))
    except RxError:
        return
    raise CommandError(f"Volume {name} already exists\nError in vos create command.\n")


def _id(word: str | None, what: str) -> int:
    if word is None:
        return 0
    if not is_numeric(word):
        raise CommandError(f"vos: Given {what} {word} should be numeric.\n")
    found = integer(word)
    if found is None:
        raise CommandError("vos: bad integer specified for volume ID.\n")
    return found & 0xFFFF_FFFF
