"""Mount a partition: own it in the VLDB, then on its label, then know its volumes. What fails is put back.

The VLDB comes first, because only it decides between two servers; the hook after it, because storage that must never
be in use twice is touched by nobody who has not won; the label last, because its owner may have to close volumes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import uuid4

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from afs.rpc.partitions import PCLAIM, PREASON, PartitionClaim, PartitionObject, PartitionRequest
from afs.rpc.volpartitions import VSTEP
from fileserver.interfaces import Damaged, StoreError
from fileserver.partitions.hooks import HookFailed, Verb, run_hook
from fileserver.partitions.journal import Journal, read_journal
from fileserver.partitions.label import HeldLabel, Label, LabelState
from fileserver.partitions.listing import read_listing
from fileserver.partitions.means import MEMORY, TAKE_SECONDS, Means, Mounted, Order, hook_seconds
from fileserver.partitions.operations import Operation
from fileserver.partitions.salvage import salvage_first
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused, Superseded, Taking, Wanted
from fileserver.partitions.tenure import MARGIN_SECONDS, Tenure
from fileserver.partitions.vldb import VldbError
from fileserver.store.namei import Tenancy

log = Logger(namespace="fileserver.partitions")

CLAIMS = 3
"""Attempts to win an epoch beyond the label's: one is lost to a restored database, one to a server that came first."""


async def mount(
    means: Means, known: Known, operation: Operation, order: Order, ended: Callable[[str], None]
) -> Mounted:
    """Serve the partition. `ended(reason)` is called when another server wants or has it.

    Raises StoreError, OSError: then nothing is mounted, and the VLDB has it ours only where that was forced or so
    before.
    """
    if means.registry.partition(known.number) is not None:
        raise Refused(f"{known.name} is in use here")
    async with AsyncExitStack() as undo:
        epoch = await _own(means, known, order, undo)
        operation.step(VSTEP.CLAIMED)
        if known.hook:
            await _run_hooks(means, known, operation, order, undo)
        if known.backend == MEMORY:
            mounted = Mounted(known, await means.in_thread(means.openers[MEMORY], known, Tenancy()), epoch)
        else:
            mounted = await _open(means, known, epoch, order, ended, undo)
            if known.hook:
                means.table.put(replace(means.table.get(known.uuid) or known, taken=mounted.epoch))
            operation.step(VSTEP.LABELLED)
        undo.push_async_callback(mounted.partition.close)
        await salvage_first(means, mounted.partition, operation)
        listed = order.source is not None and known.backend != MEMORY
        ids = await means.in_thread(read_listing, known.path, order.epoch) if listed else None
        await means.registry.add_partition(mounted.partition, ids)
        undo.pop_all()
    operation.step(VSTEP.ATTACHED)
    count = len(means.registry.ids(mounted.partition))
    log.info("{name}: {count} volumes", name=known.name, count=count)
    return mounted


async def cannot_mount(means: Means, known: Known) -> str:
    """What would prevent a mount now, as far as can be seen without touching anything; empty when nothing."""
    if means.registry.partition(known.number) is not None:
        return f"{known.name} is in use here"
    try:
        if not known.hook:
            await means.in_thread(read_label, known)
    except (StoreError, OSError) as problem:
        return str(problem)
    return ""


async def _own(means: Means, known: Known, order: Order, undo: AsyncExitStack) -> int:
    """Have the partition in the VLDB; returns the epoch. Raises NotGranted, VldbError, Refused."""
    if order.epoch:
        return order.epoch
    label = None if known.hook else await means.in_thread(read_label, known)
    if not await means.vldb.has_partitions():
        if label is not None and order.automatic and label.owner not in (None, means.own):
            raise Refused(f"its label names server {label.owner}")
        return _epoch_of(label, means)
    found = await means.vldb.get(known.uuid)
    if found is None:
        raise Refused(f"the VLDB does not know partition {known.uuid}: define it")
    if known.hook and not order.force and _is_unfenced(found, known, means):
        raise Refused("it was taken by force, and who had it may not have been fenced: mount it by force")
    if found.owner.uuid == means.own and (label is None or label.epoch <= found.epoch):
        if order.automatic and label is not None and label.owner not in (None, means.own):
            raise Refused(f"the VLDB names this server, the label server {label.owner}: mount it by command")
        return found.epoch
    if order.automatic and not _may_resume(found, label, means):
        raise Refused(f"the VLDB names server {found.owner.uuid} at epoch {found.epoch}")
    return await _claim(means, known, found, label, order, undo)


def _is_unfenced(found: PartitionObject, known: Known, means: Means) -> bool:
    """Whether a forced mount of ours has got as far as the VLDB, and perhaps no further."""
    return found.owner.uuid == means.own and bool(found.tenure.flags & PCLAIM.FORCE) and found.epoch != known.taken


def _may_resume(found: PartitionObject, label: Label | None, means: Means) -> bool:
    """Whether a partition that the VLDB does not have as ours may be claimed by nobody's order: one never owned, or
    one that a restored database has forgotten to be ours.
    """
    never_owned = not found.owner.uuid.int and not found.epoch and (label is None or label.owner in (None, means.own))
    return never_owned or (label is not None and label.owner == means.own and label.epoch > found.epoch)


def _epoch_of(label: Label | None, means: Means) -> int:
    """Without a VLDB that counts: one more than the label's, unless that is ours."""
    if label is None:
        return 1
    return label.epoch if label.owner == means.own and label.epoch else label.epoch + 1


async def _claim(
    means: Means, known: Known, found: PartitionObject, label: Label | None, order: Order, undo: AsyncExitStack
) -> int:
    flags = PCLAIM.FORCE if order.force or order.recover else PCLAIM(0)
    if label is not None and label.owner == means.own:
        flags |= PCLAIM.LABELLED
    claim = PartitionClaim(
        known.uuid,
        request=order.request,
        expected_epoch=found.epoch,
        label_epoch=label.epoch if label else 0,
        flags=flags,
    )
    won = await means.vldb.claim(claim)
    if not order.force:
        undo.push_async_callback(_give_back, means, known, won.epoch)
    return won.epoch


async def _give_back(means: Means, known: Known, epoch: int) -> None:
    request = PartitionRequest(uuid4(), PREASON.RECOVER, b"the mount failed")
    try:
        await means.vldb.release(known.uuid, epoch, request)
    except VldbError as problem:
        log.error("{name}: the VLDB still has it as ours: {problem}", name=known.name, problem=problem)


async def _run_hooks(means: Means, known: Known, operation: Operation, order: Order, undo: AsyncExitStack) -> None:
    if order.force:
        await means.in_thread(run_hook, known.hook, Verb.FENCE, known.uuid, known.path, hook_seconds(order))
        means.table.put(replace(means.table.get(known.uuid) or known, fenced=True))
        operation.step(VSTEP.FENCED)
    undo.push_async_callback(_unmount_again, means, known)  # one that failed may have come half way
    await means.in_thread(run_hook, known.hook, Verb.MOUNT, known.uuid, known.path, hook_seconds(order))
    operation.step(VSTEP.HOOKED)


async def _unmount_again(means: Means, known: Known) -> None:
    try:
        await means.in_thread(run_hook, known.hook, Verb.UNMOUNT, known.uuid, known.path)
    except HookFailed as problem:
        log.error("{name}: {problem}", name=known.name, problem=problem)


async def _open(
    means: Means, known: Known, epoch: int, order: Order, ended: Callable[[str], None], undo: AsyncExitStack
) -> Mounted:
    """Take the label, and open the partition on the terms it sets."""
    held, label, taking = await _take(means, known, epoch, order, undo)
    tenure = Tenure(known.path, held, label, means.reactor, ended)
    try:
        await means.in_thread(tenure.start)
    except (StoreError, OSError):
        held.close()
        raise
    undo.push_async_callback(_let_go, tenure, known)
    if taking.replaced:
        await _confirm(means, known, label)
        await tenure.write(state=LabelState.MOUNTED)
    partition = await means.in_thread(
        means.openers[label.backend], known, Tenancy(tenure, taking.replaced, means.registry.salvages is not None)
    )
    journal = await means.in_thread(Journal, known.path, tenure.check)
    undo.callback(journal.close)
    if journal.full:
        await means.in_thread(journal.rewrite, await means.in_thread(read_journal, known.path))
    return Mounted(known, partition, label.epoch, tenure, journal, taking.before)


async def _confirm(means: Means, known: Known, label: Label) -> None:
    """Of two that replace a silent owner's label the one with the lower epoch may be the last. It serves nothing, and
    holds the label until the other has found out. Raises Refused, VldbError.
    """
    try:
        if not await means.vldb.has_partitions():
            return
        found = await means.vldb.get(known.uuid)
        if found is None or (found.owner.uuid, found.epoch) != (means.own, label.epoch):
            raise Refused(f"{known.name} was claimed by another server meanwhile")
    except StoreError:
        await deferLater(means.reactor, label.tenure + MARGIN_SECONDS)
        raise


async def _let_go(tenure: Tenure, known: Known) -> None:
    try:
        await tenure.release()
    except (StoreError, OSError) as problem:
        log.error("{name}: the label still names us: {problem}", name=known.name, problem=problem)


async def _take(
    means: Means, known: Known, epoch: int, order: Order, undo: AsyncExitStack
) -> tuple[HeldLabel, Label, Taking]:
    """The label, ours from now on, and how it was had."""
    for attempt in range(CLAIMS):
        taking = Taking(known.path, Wanted(known.uuid, means.own, epoch, order.request.id))
        try:
            held, label = await means.in_thread(taking.run, TAKE_SECONDS if order.deadline is None else order.deadline)
        except Superseded as newer:
            if order.automatic and newer.label.owner not in (None, means.own):
                raise
            if attempt + 1 == CLAIMS or not await means.vldb.has_partitions():
                raise
            found = await means.vldb.get(known.uuid)
            if found is None or found.owner.uuid != means.own:
                raise
            again = replace(order, request=replace(order.request, id=uuid4()))  # the first claim was granted
            epoch = await _claim(means, known, found, newer.label, again, undo)
        except CancelledError:
            taking.cancel()
            raise
        else:
            return held, label, taking
    raise AssertionError("every attempt returns or raises")


def read_label(known: Known) -> Label | None:
    """The label at its path, None for a partition in memory. Raises Refused where there is none, or another's;
    Damaged, OSError.
    """
    if known.backend == MEMORY:
        return None
    if not os.path.isdir(known.path):
        raise Refused(f"{known.path} is not a directory")
    label = Label.read(known.path)
    if label is None:
        raise Refused(f"{known.path} has no label: the file system is not mounted, or was never defined")
    if label.uuid != known.uuid:
        raise Refused(f"{known.path} is partition {label.uuid}, not {known.uuid}")
    if label.converting_to:
        raise Damaged(f"{known.path} is being converted to {label.converting_to}")
    return label
