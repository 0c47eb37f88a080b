"""vos rename"""

from __future__ import annotations

from typing import Annotated

from afs.errors import VLError
from afs.location import RW
from afs.rpc.vl import nvldbentry
from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import error_text
from vos.session import Session
from vos.volservers import FAILED
from vos.words import encoded, need_base_name, need_new_name


@command(failure=FAILED)
async def rename(
    session: Session,
    oldname: Annotated[str, "old volume name "],
    newname: Annotated[str, "new volume name "],
) -> None:
    """rename a volume"""
    entry = await _entry(session, oldname, f"vos: Could not find entry for volume {oldname}")
    assert entry is not None
    other = await _entry(session, newname, f"vos: Could not check entry for volume {newname}", optional=True)
    if other is not None and other.volumeId[RW] != entry.volumeId[RW]:
        raise CommandError(
            f"vos: Cannot rename volume {oldname} ({entry.volumeId[RW]}) to {newname};"
            f" volume {newname} ({other.volumeId[RW]}) already exists\n",
            FAILED,
        )
    need_base_name(oldname, FAILED)
    need_new_name(newname, "new volume name", FAILED)
    await session.cell.vldb.rename(entry, newname)
    session.output.say(f"Renamed volume {oldname} to {newname}")


async def _entry(session: Session, word: str, missing: str, *, optional: bool = False) -> nvldbentry | None:
    """The entry of that name; None if there is none and that is allowed."""
    try:
        return await session.vl.GetEntryByNameN(encoded(word))
    except RxError as problem:
        if optional and problem.code == VLError.VL_NOENT:
            return None
        raise CommandError(f"{missing}\n{error_text(problem.code)}\n", FAILED) from problem
