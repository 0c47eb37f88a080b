"""vos lock"""

from __future__ import annotations

from typing import Annotated

from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import error_text
from vos.session import Session
from vos.volservers import FAILED
from vos.where import NO_VOLUME
from vos.words import need_volume


@command
async def lock(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
) -> None:
    """lock VLDB entry for a volume"""
    volume = await need_volume(session, id, NO_VOLUME.format(id), FAILED)
    try:
        await session.cell.vldb.lock(volume)
    except RxError as problem:
        text = f"Could not lock VLDB entry for volume {id}\n{error_text(problem.code)}\n"
        raise CommandError(text, FAILED) from problem
    session.output.say(f"Locked VLDB entry for volume {id}")
