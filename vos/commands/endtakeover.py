"""vos endtakeover"""

from __future__ import annotations

from errno import ENOENT
from typing import Annotated
from uuid import uuid4

from afs.rpc.partitions import PREASON, PartitionRequest
from afs.rpc.volpartitions import VPCAP
from rx.errors import Abort
from vos.command import command
from vos.kinds import Server
from vos.places import need_objects, need_partitions
from vos.session import Session


@command(stock=False)
async def endtakeover(
    session: Session,
    server: Server,
    address: Annotated[Server, "address of the server that was down"],
) -> None:
    """let a server answer at a dead server's address no more"""
    await need_objects(session)
    await need_partitions(session, server, VPCAP.TAKEOVER)
    try:
        request = PartitionRequest(uuid4(), PREASON.OPERATOR, b"vos endtakeover")
        await session.partitions(server).EndTakeover(int(address), request)
    except Abort as refusal:
        if refusal.code != ENOENT:
            raise
        session.output.say(f"{session.name(server)} does not answer at {address}")
        return
    session.output.say(f"{session.name(server)} answers at {address} no more")
