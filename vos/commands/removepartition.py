"""vos removepartition"""

from __future__ import annotations

from errno import EBUSY
from uuid import uuid4

from afs.rpc.partitions import PREASON, PSTATE, PartitionRequest
from rx.errors import Abort
from vos.command import CommandError, command
from vos.kinds import PartitionPlace, Server
from vos.output import vice_name
from vos.places import find_on, need_objects, need_partitions, place_name
from vos.session import Session


@command(stock=False)
async def removepartition(session: Session, server: Server, partition: PartitionPlace) -> None:
    """let a server mount a vice partition no more"""
    await need_objects(session)
    await need_partitions(session, server)
    name = session.name(server)
    found = await find_on(session, server, partition)
    if found is None:
        session.output.say(f"{place_name(partition)} is not defined on {name}")
        return
    uuid, place = found.partition.uuid, vice_name(found.partition.number)
    mounted = CommandError(f"vos: partition {uuid} is mounted on {name} as {place}: unmount it first\n")
    if found.state == PSTATE.MOUNTED:
        raise mounted
    try:
        request = PartitionRequest(uuid4(), PREASON.OPERATOR, b"vos removepartition")
        await session.partitions(server).RemovePartition(uuid, request)
    except Abort as refusal:
        if refusal.code != EBUSY:
            raise
        raise mounted from None
    session.output.say(f"Partition {uuid} is not defined on {name} any more; its data are untouched")
