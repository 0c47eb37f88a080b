"""vos listpart"""

from __future__ import annotations

from typing import Annotated

from afs.names import partition_name
from vos.command import Hidden, command
from vos.session import Session
from vos.volservers import list_partitions, server_named

IN_A_LINE = 5


@command
async def listpart(
    session: Session,
    server: Annotated[str, "machine name"],
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """list partitions"""
    numbers = await list_partitions(session, server_named(session, server), "listpart")
    if json:
        session.output.json([partition_name(number) for number in numbers])
        return
    session.output.say("The partitions on the server are:")
    ends = ["\n" if index and index % IN_A_LINE == 0 else "" for index in range(len(numbers))]
    session.output.say("".join(f" {partition_name(each):>10} {end}" for each, end in zip(numbers, ends, strict=True)))
    session.output.say(f"Total: {len(numbers)}")
