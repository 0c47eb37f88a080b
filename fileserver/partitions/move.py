"""A planned move: the server that has the partition gives it to another, and tells its clients when that one serves.

Clients decide the order: nothing is refused before the VLDB names the new server, that server serves, and the client
has heard (docs/protocol/client-relocation.md). Until the swap in the VLDB whatever fails puts everything back; after
it the partition is the target's, and claimed back only when the target says that it could not take it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from uuid import UUID, uuid4

from twisted.internet.task import deferLater
from twisted.logger import Logger

from afs.errors import describe
from afs.rpc.partitions import PARTITION_PAGE, PREASON, PartitionRequest, PartitionServer
from afs.rpc.volpartitions import VCOUNT, VOPS, VSTEP, AFSVolPartitions, VolHost, VolMove
from afs.types import NIL_UUID
from fileserver.interfaces import StoreError
from fileserver.partitions.journal import Contact
from fileserver.partitions.label import LabelState
from fileserver.partitions.listing import leave_listing
from fileserver.partitions.means import DRAIN_SECONDS, Means, Mounted, Order
from fileserver.partitions.operations import Operation
from fileserver.partitions.take import Refused
from fileserver.partitions.tell import Told
from fileserver.partitions.unmount import put_away
from fileserver.partitions.vldb import NoAnswer
from fileserver.volume.known import Known as KnownVolumes
from rx.constants import RxgenCode
from rx.errors import Abort, RxError

log = Logger(namespace="fileserver.partitions")

RECOVER_SECONDS = 30.0
"""How long it is tried to have the partition back while no vlserver says whose it is: what a restart of one takes."""

RETRY_SECONDS = 0.5
"""Between two attempts."""

Back = Callable[[Order], Awaitable[None]]
"""Mount the partition here again."""


class Down(StoreError):
    """The partition is served nowhere: the message says what to do."""


async def move(
    means: Means, mounted: Mounted, operation: Operation, order: Order, target: UUID, back: Back, dryrun: bool = False
) -> None:
    """Give the partition to the server `target`. Raises StoreError, OSError: it is served here as before; Down: it is
    not.
    """
    server = PartitionServer(target)
    wanted = VolMove(order.request.id, mounted.known.uuid, PartitionServer(means.own), server, mounted.epoch)
    peer = await _prepared(means, wanted)
    operation.step(VSTEP.PREPARED)
    if dryrun:
        return
    await means.registry.thin(mounted.known.number)
    assert mounted.tenure is not None, "a partition in memory is refused before"
    gate = means.registry.freeze(mounted.known.number)
    began = operation.now()
    try:
        await mounted.tenure.write(state=LabelState.FROZEN, successor=target, request=order.request.id)
        operation.step(VSTEP.FROZEN)
        if not await means.registry.drained(mounted.known.number, order.deadline or DRAIN_SECONDS, order.force):
            raise Refused(f"{mounted.known.name} is in use: calls did not end in time")
    except (StoreError, OSError):
        with suppress(StoreError, OSError):
            await mounted.tenure.write(state=LabelState.MOUNTED, successor=None)
        gate.thaw()
        raise
    told = Told(means.teller, means.teller.hosts(means.registry, mounted.known.number))
    volumes = await means.registry.vacate(mounted.known.number)
    if mounted.journal is not None:
        mounted.journal.close()
    if mounted.inherited is not None:
        mounted.inherited.leave()
    operation.step(VSTEP.OFFLINE)
    try:
        await _handed_over(means, mounted, operation, volumes, wanted, order, peer)
    except (StoreError, OSError, RxError) as problem:
        await mounted.tenure.stop()  # or our own lock would keep us from the label
        await _recover(means, mounted, order, volumes, back, str(problem))
        raise
    operation.step(VSTEP.TAKEN)
    await _tell(means, mounted, operation, volumes, told, wanted, peer)
    operation.count(VCOUNT.HELD, gate.held)
    operation.count(VCOUNT.ATTACHED, len(volumes))
    operation.count(VCOUNT.LONGEST, int((operation.now() - began) * 1000) if gate.held else 0)


async def _prepared(means: Means, wanted: VolMove) -> AFSVolPartitions:
    """The target's volume server, which has said that it could mount the partition. Raises Refused, VldbError."""
    addresses = await means.vldb.addresses(wanted.target.uuid)
    if not addresses:
        raise Refused(f"the VLDB does not know server {wanted.target.uuid}")
    peer = means.volser((str(IPv4Address(addresses[0])), means.volser_port))
    try:
        state = await peer.PrepareMove(wanted)
    except Abort as refusal:
        if refusal.code == RxgenCode.RXGEN_OPCODE:
            raise Refused(f"server {wanted.target.uuid} knows no partition objects") from refusal
        raise Refused(f"server {wanted.target.uuid} refuses: {describe(refusal.code)}") from refusal
    except RxError as silence:
        raise Refused(f"server {wanted.target.uuid} does not answer: {silence}") from silence
    if state.reason:
        raise Refused(f"server {wanted.target.uuid} could not mount it: {state.reason.decode(errors='replace')}")
    return peer


async def _handed_over(
    means: Means,
    mounted: Mounted,
    operation: Operation,
    volumes: KnownVolumes,
    wanted: VolMove,
    order: Order,
    peer: AFSVolPartitions,
) -> None:
    """Label, hook and VLDB let go, and the target serves."""
    known = mounted.known
    assert mounted.tenure is not None
    mounted.tenure.check()
    await means.in_thread(leave_listing, known.path, mounted.epoch + 1, list(volumes))
    await mounted.tenure.release(successor=wanted.target.uuid, request=wanted.id)
    operation.step(VSTEP.LABELLED)
    await put_away(means, known, operation, order)
    request = replace(order.request, reason=PREASON.MOVE)
    given = await means.vldb.release(known.uuid, mounted.epoch, request, wanted.target)
    operation.step(VSTEP.RELEASED)
    taken = await peer.TakePartition(replace(wanted, epoch=given.epoch))
    if taken.state not in (VOPS.DONE, VOPS.ALREADY):
        raise Refused(f"server {wanted.target.uuid} could not take it: {taken.text.decode(errors='replace')}")


async def _recover(
    means: Means, mounted: Mounted, order: Order, volumes: KnownVolumes, back: Back, problem: str
) -> None:
    """Serve it here again, if it can be had back; else those who wait look for it anew."""
    log.error("{name}: not handed over: {problem}", name=mounted.known.name, problem=problem)
    request = PartitionRequest(uuid4(), PREASON.RECOVER, b"the move failed")
    until = means.reactor.seconds() + RECOVER_SECONDS
    while True:
        try:
            await back(Order(request, recover=True))
        except (StoreError, OSError, RxError) as worse:
            if isinstance(worse, NoAnswer) and means.reactor.seconds() < until:
                await deferLater(means.reactor, RETRY_SECONDS)
                continue
            means.registry.dismiss(volumes)
            raise Down(f"{problem}; not served here either: {worse}; mount it by command") from worse
        break
    means.registry.readmit(volumes)


async def _tell(
    means: Means,
    mounted: Mounted,
    operation: Operation,
    volumes: KnownVolumes,
    told: Told,
    wanted: VolMove,
    peer: AFSVolPartitions,
) -> None:
    """Clients first, then the calls that wait for that. Who has not heard is left to the target, which tells all of
    them where it does not come to know of that; so it does where some still believe what the owner before us promised.
    """
    means.registry.dismiss(volumes, told.refusal)
    unreached = await told.everybody()
    operation.count(VCOUNT.TOLD, len(told) - len(unreached))
    operation.count(VCOUNT.UNREACHED, len(unreached))
    if mounted.untold:
        return
    left = [Contact(each.address, each.uuid, told.volumes(each)) for each in unreached] + mounted.owed
    try:
        for start in range(0, len(left), PARTITION_PAGE):
            await peer.TellHosts(wanted, tuple(map(_host, left[start : start + PARTITION_PAGE])))
    except RxError as problem:
        log.warn("{count} clients were not told: {problem}", count=len(left), problem=problem)
    else:
        operation.step(VSTEP.TOLD)


def _host(contact: Contact) -> VolHost:
    address, port = contact.address
    ids = tuple(sorted(contact.volumes)) if len(contact.volumes) <= PARTITION_PAGE else ()
    return VolHost(contact.uuid or NIL_UUID, int(IPv4Address(address)), port, ids)
