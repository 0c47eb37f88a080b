"""vos partinfo"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import Hidden, command
from vos.session import Session
from vos.volservers import list_partitions, need_partition, partition_named, partition_space, server_named

_UNITS = (("KB", 0, 32), ("MB", 10, 42), ("GB", 20, 52), ("TB", 30, 62), ("PB", 40, 64))
"""A unit of sizes in KiB, what to shift them by, and below which power of two it is used."""


@command
async def partinfo(
    session: Session,
    server: Annotated[str, "machine name"],
    partition: Annotated[str | None, "partition name"] = None,
    summary: Annotated[bool, "print storage summary"] = False,
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """list partition information"""
    address = server_named(session, server)
    if partition is None:
        numbers = await list_partitions(session, address, "listpart")
    else:
        partition_named(partition)
        numbers = [await need_partition(session, address, partition)]
    spaces = []
    for number in numbers:
        free, total = await partition_space(session, address, number)
        spaces.append((free, total))
        if not json:
            name = partition_name(number)
            session.output.say(f"Free space on partition {name}: {free} K blocks out of total {total}")
    if json:
        names = [partition_name(number) for number in numbers]
        session.output.json(
            [
                {"partition": name, "free": free, "size": total}
                for name, (free, total) in zip(names, spaces, strict=True)
            ]
        )
    elif summary:
        free, total = (sum(column) for column in zip((0, 0), *spaces, strict=True))
        session.output.say(f"Summary: {size_text(free)} free out of {size_text(total)} on {len(spaces)} partitions")


def size_text(size: int) -> str:
    """A size in KiB with the unit that stock vos gives it: the smallest in which it has 32 bits."""
    unit, shift = next((unit, shift) for unit, shift, bits in _UNITS if size < 1 << bits)
    return f"{size >> shift} {unit}"
