"""vos definepartition"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID, uuid4

from afs.names import parse_partition, partition_name
from afs.rpc.partitions import PREASON, PSTATE, PartitionRequest
from afs.rpc.volpartitions import VPART, VolPartition
from afs.types import NIL_UUID
from vos.command import CommandError, command
from vos.kinds import Count, HostPath, PartitionNumber, PartitionPlace, Place, Server, Uuid
from vos.output import vice_name
from vos.places import find_on, known_partitions, need_objects, need_partitions
from vos.session import Session


@command(stock=False)
async def definepartition(
    session: Session,
    server: Server,
    partition: PartitionPlace,
    uuid: Annotated[Uuid | None, "partition UUID"] = None,
    path: Annotated[HostPath | None, "directory on the server"] = None,
    number: Annotated[PartitionNumber | None, "partition name"] = None,
    backend: Annotated[str, "namei, namei-user or memory"] = "",
    hook: Annotated[HostPath | None, "program on the server"] = None,
    priority: Annotated[Count, "the higher is tried first"] = 0,
    create: Annotated[bool, "label a directory that has no label"] = False,
) -> None:
    """let a server mount a vice partition"""
    await need_objects(session)
    await need_partitions(session, server)
    known = [state.partition async for state in known_partitions(session, server)]
    wanted = _wanted(partition, uuid, path, number, known)
    wanted.backend, wanted.hook = backend.encode(), (hook or "").encode()
    wanted.priority = priority
    name = f"{vice_name(wanted.number)} on {session.name(server)}"
    flags = VPART.CREATE if create else VPART(0)
    request = PartitionRequest(uuid4(), PREASON.OPERATOR, b"vos definepartition")
    state = await session.partitions(server).DefinePartition(replace(wanted, flags=flags), request)
    if state.state == PSTATE.FAILED:
        raise CommandError(f"vos: {name} was not defined: {state.reason.decode(errors='replace')}\n")
    now = await find_on(session, server, state.partition.uuid)
    defined = now.partition if now else state.partition
    same = any(replace(each, flags=0) == replace(defined, flags=0) for each in known)
    where = f" at {defined.path.decode(errors='replace')}" if defined.path else ""
    already = " already" if same else ""
    session.output.say(f"Partition {defined.uuid} is defined as {name}{where}{already}")


def _wanted(
    partition: Place, uuid: UUID | None, path: str | None, number: int | None, known: list[VolPartition]
) -> VolPartition:
    """What was said in one way or another: by name it is a number, and without -path at the path of that name.

    Raises CommandError where two ways contradict each other, or a number is not said at all.
    """
    if isinstance(partition, UUID):
        if uuid not in (None, partition):
            raise CommandError(f"vos: -uuid {uuid} is not partition {partition}\n")
        uuid = partition
        before = next((each for each in known if each.uuid == uuid), None)
        if number is None and before is not None:
            number = before.number
        if path is None and before is not None and number == before.number:
            path = before.path.decode(errors="surrogateescape")
        number = _number_of(path) if number is None else number
    elif number not in (None, partition):
        raise CommandError(f"vos: -number {partition_name(number or 0)} is not {partition_name(partition)}\n")
    else:
        number = partition
    path = partition_name(number) if path is None else path
    return VolPartition(uuid or NIL_UUID, path.encode("utf-8", "surrogateescape"), number)


def _number_of(path: str | None) -> int:
    """What a path like /vicepX says."""
    if path is None:
        raise CommandError("vos: -number says as which /vicepX it shall be mounted\n")
    try:
        return parse_partition(path)
    except ValueError:
        raise CommandError(f"vos: -number says as which /vicepX {path} shall be mounted\n") from None
