"""Partition objects: which one is meant, and whether the servers know any at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from errno import ENOENT
from ipaddress import IPv4Address
from uuid import UUID

from afs.errors import VLError
from afs.names import partition_name
from afs.rpc.partitions import PARTITION_PAGE, PSTATE, PartitionObject, PartitionSelector, PartitionServer
from afs.rpc.volpartitions import VPCAP, VolPartitionState
from afs.types import NIL_UUID
from rx.constants import RxgenCode
from rx.errors import Abort, CallLost
from vos.command import CommandError
from vos.kinds import Place
from vos.session import Session


async def need_objects(session: Session) -> None:
    """The cell's VLDB has partition objects. Raises CommandError."""
    try:
        await session.objects.PartitionCapabilities()
    except Abort as refusal:
        if refusal.code != RxgenCode.RXGEN_OPCODE:
            raise
        raise CommandError(
            f"vos: the vlservers of cell {session.cell_name} know no partition objects; nothing was changed\n"
        ) from None


async def need_partitions(session: Session, server: IPv4Address, needed: VPCAP = VPCAP.MOUNT) -> UUID:
    """The UUID of a file server, which can do what is needed. Raises CommandError."""
    name = session.name(server)
    try:
        _, bits, uuid = await session.partitions(server).PartitionCapabilities()
    except Abort as refusal:
        if refusal.code != RxgenCode.RXGEN_OPCODE:
            raise
        raise CommandError(
            f"vos: the volume server on {name} knows no partition objects; nothing was changed\n"
        ) from None
    except CallLost as silence:
        raise CommandError(f"vos: the volume server on {name} does not answer; nothing was changed\n") from silence
    missing = needed & ~VPCAP(bits & needed)
    if missing:
        what = _CANNOT.get(missing, "do that")
        raise CommandError(f"vos: the volume server on {name} cannot {what}; nothing was changed\n")
    return uuid


_CANNOT = {
    VPCAP.MOUNT: "mount partitions while it runs",
    VPCAP.SALVAGE: "salvage a whole partition on request",
    VPCAP.MOVE: "move partitions",
    VPCAP.TAKEOVER: "take over the address of another server",
}


async def find_on(session: Session, server: IPv4Address, place: Place) -> VolPartitionState | None:
    """The partition that is meant, as that server has it: by number what is mounted there, else defined there."""
    if isinstance(place, UUID):
        try:
            return await session.partitions(server).GetPartition(place)
        except Abort as refusal:
            if refusal.code != ENOENT:
                raise
            return None
    found = [state async for state in known_partitions(session, server) if state.partition.number == place]
    mounted = [state for state in found if state.state == PSTATE.MOUNTED]
    return next(iter(mounted or found), None)


async def get_on(session: Session, server: IPv4Address, place: Place) -> VolPartitionState:
    """The same. Raises CommandError where there is none."""
    found = await find_on(session, server, place)
    if found is None:
        raise CommandError(f"vos: {place_name(place)} is not defined on {session.name(server)}; nothing was changed\n")
    return found


async def known_partitions(session: Session, server: IPv4Address) -> AsyncIterator[VolPartitionState]:
    """All that a server may mount."""
    after = NIL_UUID
    while True:
        states, after = await session.partitions(server).ListKnownPartitions(after, PARTITION_PAGE)
        for state in states:
            yield state
        if after == NIL_UUID:
            return


async def partition_objects(session: Session, selector: PartitionSelector) -> AsyncIterator[PartitionObject]:
    """Those of the VLDB that are selected."""
    after = NIL_UUID
    while True:
        objects, after = await session.objects.ListPartitions(selector, after, PARTITION_PAGE)
        for each in objects:
            yield each
        if after == NIL_UUID:
            return


async def get_object(session: Session, partition: UUID) -> PartitionObject:
    """One of them. Raises CommandError where there is none."""
    try:
        return await session.objects.GetPartition(partition)
    except Abort as refusal:
        if refusal.code != VLError.VL_NOENT:
            raise
        raise CommandError(f"vos: the VLDB has no partition {partition}\n") from None


def is_server(server: PartitionServer) -> bool:
    """Whether it is one at all."""
    return server.uuid != NIL_UUID or server.address != 0


async def reach(session: Session, server: PartitionServer) -> IPv4Address:
    """Where to call a server that the VLDB names. Raises CommandError."""
    if server.uuid != NIL_UUID:
        addresses = await session.addresses(server.uuid)
        if addresses:
            return addresses[0]
    if server.address:
        return IPv4Address(server.address & 0xFFFF_FFFF)
    raise CommandError(f"vos: the VLDB has no address of server {server.uuid}\n")


def server_name(session: Session, server: PartitionServer) -> str:
    """How to show a server that the VLDB names."""
    if server.address:
        return session.name(IPv4Address(server.address & 0xFFFF_FFFF))
    return str(server.uuid) if is_server(server) else "-"


def place_name(place: Place) -> str:
    """`/vicepX`, or `partition` and its UUID."""
    return f"partition {place}" if isinstance(place, UUID) else partition_name(place)
