"""What this server tells the VLDB of the partitions it has mounted, and what it hears of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from twisted.logger import Logger

from afs.rpc.partitions import PSTATE, PVERDICT, PartitionObject, PartitionReport, PartitionVerdict
from fileserver.partitions.means import Means, Mounted
from fileserver.partitions.vldb import VldbError

log = Logger(namespace="fileserver.partitions")

REPORT_SECONDS = 60.0
"""Between two reports of what is mounted here, its size and room."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows from a report: partitions to let go of, with the reason, and those that should be here besides."""

    lost: tuple[tuple[Mounted, str], ...] = ()
    missing: tuple[PartitionObject, ...] = ()


async def report(means: Means, mounted: Mapping[UUID, Mounted]) -> Heard:
    """Report, and hear what the VLDB makes of it as `mounted` is then. Nothing follows while no vlserver answers."""
    try:
        if not await means.vldb.has_partitions():
            return Heard()
        verdicts, besides = await means.vldb.register([_reported(each) for each in mounted.values()])
    except VldbError as problem:
        log.warn("what is mounted here was not reported: {problem}", problem=problem)
        return Heard()
    missing = tuple(each for each in besides if each.owner.uuid == means.own and each.uuid not in mounted)
    return Heard(tuple(_lost(verdicts, mounted)), missing)


def _lost(verdicts: Iterable[PartitionVerdict], mounted: Mapping[UUID, Mounted]) -> Iterable[tuple[Mounted, str]]:
    """Those that another server has won since. What is said of an epoch that we have left meanwhile, or by a database
    that knows less than the label, is no reason.
    """
    for verdict in verdicts:
        if verdict.verdict == PVERDICT.YOURS:
            continue
        log.warn("the VLDB does not say that partition {uuid} is ours: {verdict}", uuid=verdict.uuid, verdict=verdict)
        here = mounted.get(verdict.uuid)
        if here is not None and verdict.verdict == PVERDICT.ANOTHERS and verdict.epoch > here.epoch:
            yield here, f"{here.known.path}: server {verdict.owner.uuid} has it in the VLDB with epoch {verdict.epoch}"


def _reported(mounted: Mounted) -> PartitionReport:
    space = mounted.partition.space()
    return PartitionReport(
        mounted.known.uuid,
        mounted.known.number,
        mounted.epoch,
        PSTATE.MOUNTED,
        mounted.known.backend.encode(),
        space.total,
        space.free,
    )
