"""vos listvldb"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from afs.rpc.vl import VLLIST_FLAG, VLLIST_PARTITION, VLLIST_SERVER, VldbListByAttributes, nvldbentry
from vos.command import CommandError, Hidden, command
from vos.entries import LOCKED, EntryTexts, entry_data, list_entries
from vos.session import Session
from vos.volservers import FAILED, failing, partition_named, server_named


@command
async def listvldb(
    session: Session,
    name: Annotated[str | None, "volume name or ID"] = None,
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
    locked: Annotated[bool, "locked volumes only"] = False,
    quiet: Annotated[bool, "generate minimal information"] = False,
    nosort: Annotated[bool, "do not alphabetically sort the volume names"] = False,
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """list volumes in the VLDB"""
    if name is not None:
        if locked:
            raise CommandError(
                "vos: illegal use of '-locked' switch, need to specify server and/or partition\n", FAILED
            )
        with failing(""):
            entry = await session.vl.GetEntryByNameN(name.encode("utf-8", "surrogateescape"))
        _show(session, [entry], json)
        return
    wanted = VldbListByAttributes()
    if server is not None:
        address = int(server_named(session, server))
        wanted.server = address - (1 << 32) if address >= 1 << 31 else address
        wanted.Mask |= VLLIST_SERVER
    if partition is not None:
        wanted.partition = partition_named(partition)
        wanted.Mask |= VLLIST_PARTITION
    if locked:
        wanted.flag = LOCKED
        wanted.Mask |= VLLIST_FLAG
    if not (quiet or json):
        where = f"server {server}" if server is not None else "all servers"
        on = f" partition {partition_name(wanted.partition)}" if partition is not None else ""
        session.output.say(f"VLDB entries for {where}{on} {'which are locked:' if locked else ''}")
    count = await _list(session, wanted, nosort, json)
    if not (quiet or json):
        session.output.say(f"\nTotal entries: {count}")


async def _list(session: Session, wanted: VldbListByAttributes, nosort: bool, json: bool) -> int:
    """How many were listed; unsorted each page as it comes."""
    found: list[nvldbentry] = []
    count = 0
    with failing("Could not access the VLDB for attributes\n"):
        async for entries in list_entries(session, wanted, ahead=True):
            count += len(entries)
            if nosort and not json:
                _show(session, entries, json)
            else:
                found += entries
    if not nosort:
        found.sort(key=lambda entry: entry.name)
    if json or found:
        _show(session, found, json)
    return count


def _show(session: Session, entries: list[nvldbentry] | tuple[nvldbentry, ...], json: bool) -> None:
    if json:
        session.output.json([entry_data(session, entry) for entry in entries])
        return
    texts = EntryTexts(session)
    session.output.out.writelines(texts.named(entry) for entry in entries)
