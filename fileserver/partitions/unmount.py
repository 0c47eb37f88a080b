"""Unmount a partition: no new calls, the running ones to their end, volumes offline, label and VLDB given up."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger

from afs.rpc.volpartitions import VCOUNT, VSTEP
from fileserver.interfaces import StoreError
from fileserver.partitions.hooks import Verb, run_hook
from fileserver.partitions.journal import Contact, read_journal
from fileserver.partitions.means import DRAIN_SECONDS, Means, Mounted, Order
from fileserver.partitions.operations import Operation
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused
from fileserver.partitions.tell import Told

log = Logger(namespace="fileserver.partitions")


async def take_down(means: Means, mounted: Mounted, operation: Operation, order: Order) -> None:
    """Serve it no more, and let go of the label. Raises StoreError, OSError: what is left is done by unmounting
    again; Refused: it is served as before.
    """
    known = mounted.known
    gate = means.registry.freeze(known.number)
    operation.step(VSTEP.FROZEN)
    seconds = DRAIN_SECONDS if order.deadline is None else order.deadline
    if not await means.registry.drained(known.number, seconds, order.force):
        gate.thaw()
        raise Refused(f"{known.name} is in use: -force cuts running calls off")
    told = Told(means.teller, means.teller.hosts(means.registry.used(known.number)))
    volumes = await means.registry.vacate(known.number)
    operation.step(VSTEP.OFFLINE)
    try:
        unreached = await told.everybody()
        operation.count(VCOUNT.TOLD, len(told) - len(unreached))
        operation.count(VCOUNT.UNREACHED, len(unreached))
        await _let_go(means, mounted, [Contact(each.address, each.uuid, told.volumes(each)) for each in unreached])
        operation.step(VSTEP.RELEASED)
    finally:
        means.registry.dismiss(volumes, told.refusal)
    if known.hook:
        await means.in_thread(run_hook, known.hook, Verb.UNMOUNT, known.uuid, known.path)
        operation.step(VSTEP.HOOKED)


async def _let_go(means: Means, mounted: Mounted, unreached: list[Contact]) -> None:
    """The journal keeps those who are still to be told, by the next owner."""
    if mounted.journal is not None:
        await means.in_thread(mounted.journal.rewrite, unreached)
        mounted.journal.close()
    if mounted.tenure is not None:
        await mounted.tenure.release()


async def tell_journal(means: Means, mounted: Mounted) -> None:
    """Tell whoever used the partition's volumes under its last owner that nothing promised then holds."""
    if mounted.journal is None:
        return
    contacts = await means.in_thread(read_journal, mounted.known.path)
    heard = await gatherResults([ensureDeferred(means.teller.tell_contact(contact)) for contact in contacts])
    log.info("{name}: {heard} of {all} clients told", name=mounted.known.name, heard=sum(heard), all=len(contacts))


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
    if mounted.journal is not None:
        mounted.journal.close()
    if mounted.tenure is not None:
        await mounted.tenure.stop()
