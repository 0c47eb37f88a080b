"""vos umountpartition"""

from __future__ import annotations

from typing import Annotated

from afs.rpc.volpartitions import PMOUNT, VOP, VOPS
from rx.errors import CallLost
from vos.command import command
from vos.errors import error_text
from vos.follow import carry_out, new_order, summary
from vos.kinds import Count, PartitionPlace, Server
from vos.output import vice_name
from vos.places import get_on, need_objects, need_partitions
from vos.session import Session


@command(stock=False)
async def umountpartition(
    session: Session,
    server: Server,
    partition: PartitionPlace,
    deadline: Annotated[Count | None, "seconds for running calls"] = None,
    force: Annotated[bool, "cut off the calls that do not end"] = False,
) -> None:
    """unmount a vice partition from a server"""
    try:
        await need_objects(session)
    except CallLost as silence:
        session.output.complain(f"vos: no vlserver answers ({error_text(silence.code)}): only the file server is asked")
    await need_partitions(session, server)
    found = (await get_on(session, server, partition)).partition
    place = f"{found.uuid} on {session.name(server)} as {vice_name(found.number)}"
    order = new_order(found.uuid, "vos umountpartition", flags=PMOUNT.FORCE * force, deadline=deadline)
    ended = await carry_out(session, server, VOP.UNMOUNT, session.partitions(server).UnmountPartition, order)
    if ended.state == VOPS.ALREADY:
        session.output.say(f"Partition {place} is not mounted")
    else:
        session.output.say(f"Unmounted partition {place}: {summary(ended)}")
    if ended.text:
        session.output.complain(f"vos: {ended.text.decode(errors='replace')}")
