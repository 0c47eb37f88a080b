"""vos offline"""

from __future__ import annotations

import re
from typing import Annotated

from afs.rpc.volser import ITBusy, ITOffline, VTOutOfService
from vos.command import CommandError, command
from vos.errors import OperationFailed
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import partition_named, server_named
from vos.words import need_volume

_SECONDS = re.compile(r"\s*(\d+)")


@command
async def offline(
    session: Session,
    server: Annotated[str, "server name"],
    partition: Annotated[str, "partition name"],
    id: Annotated[str, "volume name or ID"],  # noqa: A002  # a switch
    sleep: Annotated[str | None, "seconds to sleep"] = None,
    busy: Annotated[bool, "busy volume"] = False,
) -> None:
    """force the volume status to offline"""
    address = server_named(session, server, status=USAGE_STATUS)
    number = partition_named(partition, USAGE_STATUS)
    volume = await need_volume(session, id, f"Unknown volume ID or name '{server}'")
    if busy and sleep is None:
        raise CommandError("-sleep option must be used with -busy flag\n")
    found = _SECONDS.match(sleep or "")
    seconds = int(found[1]) if found else 0
    flags = 0 if seconds or busy else VTOutOfService
    mode = ITBusy if busy else ITOffline
    try:
        await session.cell.volumes.set_flags(address, number, volume, mode=mode, flags=flags, seconds=seconds)
    except OperationFailed as failure:
        raise CommandError(f"Failed to set volume. Code = {failure.code}\n") from failure
