"""vos syncserv"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import command
from vos.session import Session
from vos.volservers import FAILED, need_partition, server_named


@command(failure=FAILED)
async def syncserv(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str | None, "partition name"] = None,
    dryrun: Annotated[bool, "list what would be done, don't do it"] = False,
) -> None:
    """synchronize server with VLDB"""
    address = server_named(session, server, "host")
    number = None if partition is None else await need_partition(session, address, partition)
    await session.cell.vldb.sync_server(address, number, dryrun=dryrun)
    where = "" if number is None else f" partition {partition_name(number)}"
    session.output.say(f"Server {server}{where} synchronized with VLDB")
