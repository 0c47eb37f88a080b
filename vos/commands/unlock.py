"""vos unlock"""

from __future__ import annotations

from typing import Annotated

from vos.command import command
from vos.session import Session
from vos.volservers import FAILED
from vos.where import NO_VOLUME
from vos.words import need_volume


@command(failure=FAILED)
async def unlock(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """release lock on VLDB entry for a volume"""
    volume = await need_volume(session, id, NO_VOLUME.format(id), FAILED)
    await session.cell.vldb.unlock(volume)
    session.output.say(f"Released lock on vldb entry for volume {id}")
