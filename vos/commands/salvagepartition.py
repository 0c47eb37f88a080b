"""vos salvagepartition"""

from __future__ import annotations

from typing import Annotated

from afs.rpc.volpartitions import VOP, VPCAP
from vos.command import command
from vos.follow import carry_out, new_order, summary
from vos.kinds import PartitionPlace, Server
from vos.output import vice_name
from vos.places import get_on, need_objects, need_partitions
from vos.session import Session


@command(stock=False)
async def salvagepartition(
    session: Session,
    server: Server,
    partition: PartitionPlace,
    nowait: Annotated[bool, "begin it and do not wait for its end"] = False,
) -> None:
    """check and repair all volumes of a vice partition"""
    await need_objects(session)
    await need_partitions(session, server, VPCAP.SALVAGE)
    found = (await get_on(session, server, partition)).partition
    place = f"{found.uuid} on {session.name(server)} as {vice_name(found.number)}"
    order = new_order(found.uuid, "vos salvagepartition")
    begin = session.partitions(server).SalvagePartition
    ended = await carry_out(session, server, VOP.SALVAGE, begin, order, wait=not nowait)
    if nowait:
        session.output.say(f"Salvaging partition {place}: 'vos listpartitions {found.uuid}' shows how it goes on")
    else:
        session.output.say(f"Salvaged partition {place}: {summary(ended)}")
