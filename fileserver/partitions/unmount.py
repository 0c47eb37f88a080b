"""Unmount a partition: no new calls, the running ones to their end, volumes offline, label and VLDB given up."""

from __future__ import annotations

from twisted.logger import Logger

from afs.rpc.volpartitions import VSTEP
from fileserver.interfaces import StoreError
from fileserver.partitions.hooks import Verb, run_hook
from fileserver.partitions.means import DRAIN_SECONDS, Means, Mounted, Order
from fileserver.partitions.operations import Operation
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused

log = Logger(namespace="fileserver.partitions")


async def take_down(means: Means, mounted: Mounted, operation: Operation, order: Order) -> None:
    """Serve it no more, and let go of the label. Raises StoreError, OSError: what is left is done by unmounting
    again.
    """
    known = mounted.known
    gate = means.registry.freeze(known.number)
    operation.step(VSTEP.FROZEN)
    if not await means.registry.drained(
        known.number, DRAIN_SECONDS if order.deadline is None else order.deadline, order.force
    ):
        gate.thaw()
        raise Refused(f"{known.name} is in use: -force cuts running calls off")
    await means.registry.remove_partition(known.number)
    operation.step(VSTEP.OFFLINE)
    if mounted.tenure is not None:
        await mounted.tenure.release()
    operation.step(VSTEP.RELEASED)
    if known.hook:
        await means.in_thread(run_hook, known.hook, Verb.UNMOUNT, known.uuid, known.path)
        operation.step(VSTEP.HOOKED)


async def release(means: Means, known: Known, order: Order) -> bool:
    """Give it up in the VLDB, where it may be ours. Whether it was. Raises VldbError."""
    if not await means.vldb.has_partitions():
        return False
    found = await means.vldb.get(known.uuid)
    if found is None or found.owner.uuid != means.own:
        return False
    await means.vldb.release(known.uuid, found.epoch, order.request)
    return True


async def abandon(means: Means, mounted: Mounted) -> None:
    """Another server has it: forget it, writing nothing."""
    try:
        await means.registry.remove_partition(mounted.known.number)
    except (StoreError, OSError) as problem:
        log.warn("{name} was left as it is: {problem}", name=mounted.known.name, problem=problem)
    if mounted.tenure is not None:
        await mounted.tenure.stop()
