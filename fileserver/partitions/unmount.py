"""Unmount a partition: no new calls, the running ones to their end, volumes offline, label and VLDB given up."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

from twisted.internet.defer import TimeoutError, ensureDeferred  # noqa: A004
from twisted.logger import Logger

from afs.rpc.volpartitions import VCOUNT, VSTEP
from fileserver.interfaces import StoreError
from fileserver.partitions.hooks import Verb, run_hook
from fileserver.partitions.journal import Contact
from fileserver.partitions.label import HeldLabel, Label
from fileserver.partitions.lingering import Left
from fileserver.partitions.means import DRAIN_SECONDS, MEMORY, Means, Mounted, Order, hook_seconds
from fileserver.partitions.operations import Operation
from fileserver.partitions.table import Known
from fileserver.partitions.take import Refused
from fileserver.partitions.tell import Told
from fileserver.partitions.vldb import NoAnswer

log = Logger(namespace="fileserver.partitions")

VLDB_SECONDS = 5.0
"""How long an unmount, whose partition is nobody's on its label already, waits for the VLDB to know: a vlserver that
runs answers in milliseconds, and who wants the partition elsewhere waits for this one.
"""


async def take_down(means: Means, mounted: Mounted, operation: Operation, order: Order, asked: bool = False) -> Left:
    """Serve it no more, and let go of the label; its calls wait until it is decided what becomes of them. Raises
    StoreError, OSError: what is left is done by unmounting again; Refused: it is served as before.

    `asked`: another server waits for it. That one finds all clients in the journal, and does not have to wait until we
    have told those that answer, or given up those that do not.
    """
    known = mounted.known
    if mounted.inherited is not None:
        mounted.inherited.leave()
    gate = means.registry.freeze(known.number)
    operation.step(VSTEP.FROZEN)
    seconds = DRAIN_SECONDS if order.deadline is None else order.deadline
    if not await means.registry.drained(known.number, seconds, order.force):
        gate.thaw()
        if mounted.inherited is not None:
            mounted.inherited.resume()
        raise Refused(f"{known.name} is in use: -force cuts running calls off")
    told = Told(means.teller, means.teller.hosts(means.registry, known.number))
    volumes = await means.registry.vacate(known.number)
    operation.step(VSTEP.OFFLINE)
    async with AsyncExitStack() as failing:
        if mounted.tenure is not None:
            failing.push_async_callback(mounted.tenure.stop)  # what is served no more must not be held either
        failing.callback(means.registry.dismiss, volumes)
        if asked:
            await _let_go(mounted)
            operation.step(VSTEP.RELEASED)
            await put_away(means, known, operation, order)
        unreached = await told.everybody()
        operation.count(VCOUNT.TOLD, len(told) - len(unreached))
        operation.count(VCOUNT.UNREACHED, len(unreached))
        if not asked:
            still = [Contact(each.address, each.uuid, told.volumes(each)) for each in unreached]
            await _leave(means, mounted, still)
            await _let_go(mounted)
            operation.step(VSTEP.RELEASED)
            await put_away(means, known, operation, order)
        failing.pop_all()
    return Left(volumes, told.refusal)


async def _leave(means: Means, mounted: Mounted, unreached: list[Contact]) -> None:
    """The journal keeps those who are still to be told, by the next owner."""
    if mounted.journal is not None and not mounted.untold:
        await means.in_thread(mounted.journal.rewrite, [*unreached, *mounted.owed])


async def _let_go(mounted: Mounted) -> None:
    if mounted.journal is not None:
        mounted.journal.close()
    if mounted.tenure is not None:
        await mounted.tenure.release()


async def put_away(means: Means, known: Known, operation: Operation, order: Order) -> None:
    """Have the hook let go of the storage, and lift its fence if other hosts were kept away. Raises HookFailed."""
    if not known.hook:
        return
    await means.in_thread(run_hook, known.hook, Verb.UNMOUNT, known.uuid, known.path, hook_seconds(order))
    row = means.table.get(known.uuid)
    if row is not None and row.fenced:
        await means.in_thread(run_hook, known.hook, Verb.UNFENCE, known.uuid, known.path, hook_seconds(order))
        means.table.put(replace(row, fenced=False))
    operation.step(VSTEP.HOOKED)


async def release(means: Means, known: Known, operation: Operation, order: Order) -> None:
    """Give up in the VLDB what is unmounted. Where no vlserver answers soon the unmount is done all the same, and says
    so: the VLDB hears of it by a report (keeper.py). Raises VldbError.
    """
    giving = ensureDeferred(_released(means, known, order))
    try:
        await giving.addTimeout(VLDB_SECONDS, means.reactor)
    except (NoAnswer, TimeoutError):
        operation.text = "no vlserver answers: the VLDB has it as this server's until one does"


async def finish(means: Means, known: Known, operation: Operation, order: Order) -> bool:
    """The same for what is not mounted here: an unmount that was killed, or could not be finished, is brought to its
    end. Whether it was ours until now. Raises StoreError, OSError.
    """
    if not await _may_be_ours(means, known):
        await put_away(means, known, operation, order)
        return False
    await means.in_thread(_disown, known, means.own)
    await put_away(means, known, operation, order)
    return await _released(means, known, order)


async def _may_be_ours(means: Means, known: Known) -> bool:
    """Where no VLDB counts, the label alone says whose it is."""
    if not await means.vldb.has_partitions():
        return True
    found = await means.vldb.get(known.uuid)
    return found is not None and found.owner.uuid == means.own


async def _released(means: Means, known: Known, order: Order) -> bool:
    """Whether it was ours in the VLDB."""
    if not await means.vldb.has_partitions():
        return False
    found = await means.vldb.get(known.uuid)
    if found is None or found.owner.uuid != means.own:
        return False
    await means.vldb.release(known.uuid, found.epoch, order.request)
    return True


def _disown(known: Known, own: UUID) -> None:
    """Take our name off a label that a server which was killed left so. Its state goes on saying how that was. Nothing
    is done where the storage is not there any more. Raises OSError (EBUSY: a process has it open), Damaged.
    """
    if known.backend == MEMORY or not os.path.isdir(known.path):
        return
    label = Label.read(known.path)
    if label is None or (label.uuid, label.owner) != (known.uuid, own):
        return
    held, label = HeldLabel.acquire(known.path)
    try:
        if label.owner == own:
            held.write(replace(label, owner=None))
    finally:
        held.close()


async def abandon(means: Means, mounted: Mounted) -> None:
    """Another server has it: forget it, writing nothing. Clients are told, as an answer that was made in time may have
    left us late, with a promise that nobody would keep.
    """
    if mounted.inherited is not None:
        mounted.inherited.leave()
    told = Told(means.teller, means.teller.hosts(means.registry, mounted.known.number))
    telling = ensureDeferred(told.everybody())  # at once: what is under way on the storage may never end
    try:
        await means.registry.remove_partition(mounted.known.number)
    except (StoreError, OSError) as problem:
        log.warn("{name} was left as it is: {problem}", name=mounted.known.name, problem=problem)
    if mounted.journal is not None:
        mounted.journal.close()
    if mounted.tenure is not None:
        await mounted.tenure.stop()
    await telling
