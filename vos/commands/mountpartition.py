"""vos mountpartition"""

from __future__ import annotations

from typing import Annotated

from afs.rpc.volpartitions import PMOUNT, VOP, VOPS, VPCAP
from vos.command import command
from vos.follow import carry_out, new_order, summary
from vos.kinds import PartitionPlace, Server
from vos.output import vice_name
from vos.places import get_object, get_on, need_objects, need_partitions
from vos.replicas import need_spread
from vos.session import Session


@command(stock=False)
async def mountpartition(
    session: Session,
    server: Server,
    partition: PartitionPlace,
    force: Annotated[
        bool, "take it from a server that does not let go of it, and let all read-only sites be here"
    ] = False,
    takeover: Annotated[bool, "answer at that server's address too"] = False,
) -> None:
    """mount a vice partition on a server"""
    await need_objects(session)
    target = await need_partitions(session, server, VPCAP.MOUNT | VPCAP.TAKEOVER if takeover else VPCAP.MOUNT)
    found = (await get_on(session, server, partition)).partition
    place = f"{found.uuid} on {session.name(server)} as {vice_name(found.number)}"
    if not force:
        await need_spread(session, await get_object(session, found.uuid), target, session.name(server))
    flags = PMOUNT.FORCE * force | PMOUNT.TAKEOVER * takeover
    order = new_order(found.uuid, "vos mountpartition", flags=flags)
    ended = await carry_out(session, server, VOP.MOUNT, session.partitions(server).MountPartition, order)
    if ended.state == VOPS.ALREADY:
        session.output.say(f"Partition {place} is mounted already")
    else:
        session.output.say(f"Mounted partition {place}: {summary(ended)}")
