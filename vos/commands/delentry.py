"""vos delentry"""

from __future__ import annotations

from typing import Annotated

from afs.location import RW
from afs.names import VLDB_NAME_MAX, partition_name
from rx.errors import RxError
from vos.command import CommandError, Hidden, command
from vos.entries import text
from vos.errors import error_text
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import failing, partition_named, server_named
from vos.words import need_volume

MISUSED = 254
"""The exit status where switches contradict each other."""


@command
async def delentry(
    session: Session,
    id: Annotated[tuple[str, ...], "volume name or ID"] = (),  # noqa: A002  # a switch
    prefix: Annotated[str | None, "prefix of the volume whose VLDB entry is to be deleted"] = None,
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
    noexecute: Annotated[bool, Hidden(), "as -dryrun"] = False,
    dryrun: Annotated[bool, "list what would be done, don't do it"] = False,
) -> None:
    """delete VLDB entry for a volume"""
    dry = dryrun or noexecute
    if id:
        if not (prefix is None and server is None and partition is None):
            raise CommandError("You cannot use -server, -partition, or -prefix with the -id argument\n", MISUSED)
        await _delete_these(session, id, dry)
        return
    if server is None:
        if prefix is None and partition is None:
            raise CommandError("You must specify an option\n", MISUSED)
        switch = "-prefix" if partition is None else "-partition"
        raise CommandError(f"You must provide -server with the {switch} argument\n", MISUSED)
    await _delete_there(session, server, partition, prefix, dry)


async def _delete_these(session: Session, words: tuple[str, ...], dry: bool) -> None:
    deleted = failed = 0
    for word in words:
        try:
            volume = await need_volume(session, word, f"vos: can't find volume '{word}'")
        except CommandError as missing:
            session.output.complain(missing.text.removesuffix("\n"))
            continue
        if dry:
            session.output.say(f"Would have deleted VLDB entry for {word} ")
            continue
        try:
            await session.cell.vldb.delete(volume)
            deleted += 1
        except RxError as problem:
            session.output.complain(f"Could not delete entry for volume {word}")
            session.output.complain("You must specify a RW volume name or ID (the entire VLDB entry will be deleted)")
            session.output.complain(error_text(problem.code))
            failed += 1
    session.output.say(f"Deleted {deleted} VLDB entries")
    if failed:
        raise CommandError("")


async def _delete_there(session: Session, server: str, partition: str | None, prefix: str | None, dry: bool) -> None:
    output = session.output
    address = server_named(session, server, status=USAGE_STATUS)
    number = None if partition is None else partition_named(partition, USAGE_STATUS)
    start = (prefix or "")[: VLDB_NAME_MAX + 1]
    on = "" if number is None else f"partition {partition_name(number)} "
    which = "" if prefix is None else f"which are prefixed with {start} "
    output.say(f"Deleting VLDB entries for server {server} {on}{which}")
    with failing("Could not access the VLDB for attributes\n", status=USAGE_STATUS):
        entries = [entry async for entry in session.cell.vldb.entries(server=address, partition=number)]
    deleted = failed = 0
    for entry in entries:
        name = text(entry.name)
        if not name.startswith(start):
            output.detail(f"Omitting to delete {name} due to prefix {start} mismatch")
        elif dry:
            output.say(f"Would have deleted VLDB entry for {name} ")
        else:
            try:
                await session.cell.vldb.delete(entry.volumeId[RW])
                output.detail(f"Deleted VLDB entry for {name} ")
                deleted += 1
            except RxError as problem:
                output.say(f"Could not delete VLDB entry for  {name}")
                output.complain(error_text(problem.code))
                failed += 1
    output.say("----------------------")
    output.say(f"Total VLDB entries deleted: {deleted}; failed to delete: {failed}")
