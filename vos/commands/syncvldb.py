"""vos syncvldb"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import CommandError, command
from vos.session import Session
from vos.volservers import FAILED, need_partition, partition_named, server_named


@command(failure=FAILED)
async def syncvldb(
    session: Session,
    server: Annotated[str | None, "machine name"] = None,
    partition: Annotated[str | None, "partition name"] = None,
    volume: Annotated[str | None, "volume name or ID"] = None,
    dryrun: Annotated[bool, "list what would be done, don't do it"] = False,
) -> None:
    """synchronize VLDB with server"""
    address = None if server is None else server_named(session, server, "host")
    number = None
    if partition is not None:
        number = partition_named(partition)
        if address is None:
            raise CommandError("The -partition option requires a -server option\n", FAILED)
        await need_partition(session, address, partition, prefix="vos:")
    vldb = session.cell.vldb
    if volume is not None:
        await vldb.sync_volume(volume, address, number, dryrun=dryrun)
    elif address is None:
        raise CommandError("Without a -volume option, the -server option is required\n", FAILED)
    else:
        await vldb.sync_vldb(address, number, dryrun=dryrun)
    done = "VLDB synchronized" if volume is None else f"VLDB volume {volume} synchronized"
    with_server = "" if server is None else f" with state of server {server}"
    on = "" if number is None else f" partition {partition_name(number)}\n"
    session.output.say(f"{done}{with_server}{on}")
