"""vos movepartition"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated
from uuid import UUID

from afs.rpc.partitions import PartitionServer
from afs.rpc.volpartitions import PMOVE, VOP, VOPS, VPCAP, VolOperation, VolPartition, VolPartitionOrder
from rx.errors import CallLost
from vos.command import CommandError, command
from vos.follow import carry_out, new_order, summary
from vos.kinds import PartitionPlace, Server
from vos.output import vice_name
from vos.places import get_object, get_on, is_server, need_objects, need_partitions, reach
from vos.replicas import need_spread
from vos.session import Session


@command(stock=False)
async def movepartition(
    session: Session,
    partition: Annotated[PartitionPlace, "partition UUID, or its name on the target"],
    toserver: Annotated[Server, "machine name on destination"],
    dryrun: Annotated[bool, "list what would be done, don't do it"] = False,
    force: Annotated[bool, "let all read-only sites of a volume be there"] = False,
) -> None:
    """move a vice partition to another server"""
    await need_objects(session)
    target = await need_partitions(session, toserver)
    wanted = (await get_on(session, toserver, partition)).partition
    found = await get_object(session, wanted.uuid)
    if not force:
        await need_spread(session, found, target, session.name(toserver))
    there = f"{session.name(toserver)} as {vice_name(wanted.number)}"
    if not is_server(found.owner) or found.owner.uuid == target:
        await _mount(session, toserver, wanted, there, dryrun)
        return
    source = await reach(session, found.owner)
    here = f"{session.name(source)}, where it is {vice_name(found.number)}"
    await _need_source(session, source, wanted.uuid, toserver)

    async def begin(order: VolPartitionOrder) -> VolOperation:
        return await session.partitions(source).MovePartition(order, PartitionServer(target))

    order = new_order(wanted.uuid, "vos movepartition", flags=PMOVE.DRYRUN * dryrun)
    ended = await carry_out(session, source, VOP.MOVE, begin, order, peer=target)
    if dryrun:
        session.output.say(f"Partition {wanted.uuid} could move to {there} from {here}: nothing was changed")
    elif ended.state == VOPS.ALREADY:
        session.output.say(f"Partition {wanted.uuid} is on {there} already")
    else:
        session.output.say(f"Moved partition {wanted.uuid} to {there} from {here}: {summary(ended)}")


async def _mount(session: Session, server: IPv4Address, wanted: VolPartition, there: str, dryrun: bool) -> None:
    """Nobody else has it: what is left of the move, if anything, is to mount it."""
    if dryrun:
        session.output.say(f"No server has to give up partition {wanted.uuid}: it would be mounted on {there}")
        return
    order = new_order(wanted.uuid, "vos movepartition")
    ended = await carry_out(session, server, VOP.MOUNT, session.partitions(server).MountPartition, order)
    if ended.state == VOPS.ALREADY:
        session.output.say(f"Partition {wanted.uuid} is on {there} already")
    else:
        session.output.say(f"Mounted partition {wanted.uuid}, which no other server had, on {there}: {summary(ended)}")


async def _need_source(session: Session, source: IPv4Address, partition: UUID, target: IPv4Address) -> None:
    """The server that has it can move it. Raises CommandError."""
    try:
        await session.partitions(source).GetPartition(partition)
    except CallLost:
        raise CommandError(
            f"vos: {session.name(source)}, which has partition {partition}, does not answer; nothing was changed\n"
            f"vos: if it is down: vos mountpartition {session.name(target)} {partition} -force\n"
        ) from None
    await need_partitions(session, source, VPCAP.MOVE)
