"""vos setfields"""

from __future__ import annotations

from typing import Annotated

from afs.location import RW
from vos.command import CommandError, command
from vos.errors import OperationFailed
from vos.operations.creating import no_changes
from vos.operations.entries import readwrite_site
from vos.session import Session
from vos.words import kilobytes, need_volume, saying


@command
async def setfields(
    session: Session,
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    maxquota: Annotated[str | None, "quota (KB)"] = None,
    clearuse: Annotated[bool, "clear dayUse"] = False,
    clearVolUpCounter: Annotated[bool, "clear volUpdateCounter"] = False,  # noqa: N803  # a switch
) -> None:
    """change volume info fields"""
    volume = await need_volume(session, id, f"Unknown volume ID or name '{id}'")
    with saying(f"Could not fetch the entry for volume number {volume} from VLDB "):
        entry = await session.vl.GetEntryByIDN(volume, RW)
    site = readwrite_site(entry)
    if site is None:
        raise CommandError(f"Volume {id} does not exist in VLDB\n\n")
    info = no_changes()
    info.volid = volume
    if maxquota is not None:
        quota = kilobytes(maxquota)
        if quota is None:
            raise CommandError("invalid quota value\n")
        info.maxquota = quota
    if clearuse:
        info.dayUse = 0
    if clearVolUpCounter:
        info.spare2 = 0
    if maxquota is None and not clearuse and not clearVolUpCounter:
        raise CommandError("Nothing to set.\n")
    try:
        await session.cell.volumes.set_fields(site[0], site[1], volume, info)
    except OperationFailed:
        raise CommandError(f"Could not update volume info fields for volume number {volume}\n") from None
