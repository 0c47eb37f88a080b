"""vos online"""

from __future__ import annotations

from typing import Annotated

from vos.command import CommandError, command
from vos.errors import OperationFailed
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import partition_named, server_named
from vos.words import need_volume


@command
async def online(
    session: Session,
    server: Annotated[str, "server name"],
    partition: Annotated[str, "partition name"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """force the volume status to online"""
    address = server_named(session, server, status=USAGE_STATUS)
    number = partition_named(partition, USAGE_STATUS)
    volume = await need_volume(session, id, f"Unknown volume ID or name '{server}'")
    try:
        await session.cell.volumes.online(address, number, volume)
    except OperationFailed as failure:
        raise CommandError(f"Failed to set volume. Code = {failure.code}\n") from failure
