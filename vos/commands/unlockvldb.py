"""vos unlockvldb"""

from __future__ import annotations

from typing import Annotated

from afs.location import RW
from afs.names import partition_name
from rx.errors import RxError
from vos.command import command
from vos.entries import text
from vos.errors import error_text
from vos.operations.entries import ANY, RELEASE
from vos.session import Session
from vos.volservers import failing, need_partition, partition_named, server_named


@command
async def unlockvldb(
    session: Session,
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
) -> None:
    """unlock all the locked entries in the VLDB"""
    address = None if server is None else server_named(session, server)
    number = None
    if partition is not None:
        number = partition_named(partition)
        if address is not None:
            await need_partition(session, address, partition)
    with failing("Could not access the VLDB for attributes\n"):
        found = session.cell.vldb.entries(server=address, partition=number, locked=True)
        entries = [entry async for entry in found]
    failed = 0
    for entry in entries:
        try:
            await session.vl.ReleaseLock(entry.volumeId[RW], ANY, RELEASE)
        except RxError as problem:
            session.output.complain(f"Could not unlock entry for volume {text(entry.name)}")
            session.output.complain(error_text(problem.code))
            failed += 1
    if failed:
        session.output.say(f"Could not lock {failed} VLDB entries of {len(entries)} locked entries")
        return
    where = "" if number is None else f"partition {partition_name(number)}"
    if server is not None:
        session.output.say(f"Unlocked all the VLDB entries for volumes on server {server} {where}")
    elif where:
        session.output.say(f"Unlocked all the VLDB entries for volumes on {where} on all servers")
