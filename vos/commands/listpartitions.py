"""vos listpartitions"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from vos.command import command
from vos.details import show_partition
from vos.kinds import ServerOrUuid
from vos.listing import show_partitions
from vos.places import need_objects
from vos.session import Session


@command(stock=False)
async def listpartitions(
    session: Session,
    server: Annotated[ServerOrUuid | None, "machine name or partition UUID"] = None,
    json: Annotated[bool, "list as JSON"] = False,
) -> None:
    """list the vice partitions that the VLDB knows"""
    await need_objects(session)
    if isinstance(server, UUID):
        await show_partition(session, server, json)
    else:
        await show_partitions(session, server, json)
