"""Partition objects made known: what may be mounted where, and what servers report of what they have mounted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import PDEF, POUT, PSTATE, PVERDICT
from afs.types import NIL_UUID
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.schema import Definition, Partition, Server

ADOPTED_VOLUMES = 20_000
"""Volumes that one call moves from an implicit object to another, each a changed row: some 2 s and 20 MB of change
log. A larger partition is given the UUID that the VLDB has for it instead, which changes none.
"""

REPORT_SECONDS = 600
"""How old the sizes of a partition may become while they change little, so that reports are not a write each."""

REPORT_SHARE = 100
"""A size that is off by more than this part of the partition is written down at once."""

_VOLUMES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, and the object it is about as it is now; of POUT.NUMBER the one in the way."""

    result: POUT
    partition: Partition


@dataclass(frozen=True, slots=True)
class Wish:
    """A definition as a caller writes it, checked. An empty name or back-end leaves what is known."""

    partition: UUID
    number: int
    path: str
    priority: int
    name: str
    backend: str
    flags: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a file server says of a partition it has."""

    uuid: UUID
    number: int
    epoch: int
    state: PSTATE
    backend: str
    size: int
    free: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the VLDB says to it. Without `partition` it knows none."""

    verdict: PVERDICT
    partition: Partition | None = None


def state_text(state: PSTATE) -> str:
    """How a state is kept in a row: its name, nothing for UNKNOWN."""
    return state.name.lower() if state else ""


def state_of(partition: Partition) -> PSTATE:
    """The state that a row tells."""
    return PSTATE[partition.state.upper()] if partition.state else PSTATE.UNKNOWN


def known_partition(transaction: ITransaction, uuid: UUID) -> Partition:
    """The object of this UUID. Raises VL_NOENT."""
    found = transaction.partition(uuid)
    if found is None:
        raise Abort(VLError.VL_NOENT)
    return found


def definition_of(transaction: ITransaction, partition: UUID, slot: int) -> Definition | None:
    """The definition of this partition on this server."""
    return next((each for each in transaction.definitions_on(slot) if each.partition == partition), None)


def in_the_way(transaction: ITransaction, uuid: UUID, slot: int, number: int) -> Partition | None:
    """The other partition that is mounted at this number of the server."""
    there = transaction.partition_at(slot, number)
    return there if there is not None and there.owner is not None and there.uuid != uuid else None


def make_room(transaction: ITransaction, uuid: UUID, slot: int, number: int) -> Partition | None:
    """As `in_the_way`; an implicit object that no volume is on, a name once written, does not stay in it."""
    there = in_the_way(transaction, uuid, slot, number)
    if there is not None and there.implicit and not transaction.volumes_on(there.uuid, 0, 1):
        transaction.remove_partition(there.uuid)
        return None
    return there


def define(transaction: ITransaction, server: Server, wish: Wish, now: int, new_uuid: Callable[[], UUID]) -> Outcome:
    """DefinePartition. A new object is seen at its first definition until somebody has mounted it."""
    slot, number = server.slot, wish.number
    uuid = wish.partition if wish.partition != NIL_UUID else _uuid_at(transaction, slot, number, wish, new_uuid)
    found = transaction.partition(uuid)
    if found is None and not wish.flags & PDEF.NEW:
        raise Abort(VLError.VL_NOENT)
    other = next(
        (each for each in transaction.definitions_on(slot) if each.number == number and each.partition != uuid), None
    )
    if other is not None:
        return Outcome(POUT.NUMBER, known_partition(transaction, other.partition))
    if found is not None and found.owner == slot and found.number != number:
        return Outcome(POUT.MOUNTED, found)
    there = make_room(transaction, uuid, slot, number)
    if there is not None and not (there.implicit and wish.flags & PDEF.ADOPT):
        return Outcome(POUT.NUMBER, there)
    new = found or Partition(uuid, number, last_owner=slot, changed=now)
    new = replace(new, implicit=False, name=wish.name or new.name, backend=wish.backend or new.backend)
    if there is not None:
        new = _adopt(transaction, there, new, slot, number)
    definition = Definition(uuid, slot, number, wish.path, wish.priority)
    if new == found and definition == definition_of(transaction, uuid, slot):
        return Outcome(POUT.ALREADY, new)
    transaction.put_partition(new)
    transaction.put_definition(definition)
    return Outcome(POUT.DONE, new)


def _uuid_at(transaction: ITransaction, slot: int, number: int, wish: Wish, new_uuid: Callable[[], UUID]) -> UUID:
    """Without a UUID that of what is there is meant, else a new one."""
    there = transaction.partition_at(slot, number)
    if there is not None:
        return there.uuid
    if not wish.flags & PDEF.NEW:
        raise Abort(VLError.VL_NOENT)
    return new_uuid()


def _adopt(transaction: ITransaction, implicit: Partition, new: Partition, slot: int, number: int) -> Partition:
    """Put the volumes of an implicit object on `new`, and `new` in its place if nobody has it. Raises
    VL_SIZEEXCEEDED.
    """
    if new.owner is None:
        new = replace(new, owner=slot, last_owner=slot, number=number)
        transaction.put_partition(replace(implicit, owner=None))
    transaction.put_partition(new)
    after = count = 0
    while found := transaction.volumes_on(implicit.uuid, after, _VOLUMES_AT_ONCE):
        count += len(found)
        if count > ADOPTED_VOLUMES:
            raise Abort(VLError.VL_SIZEEXCEEDED)
        for volume in found:
            sites = tuple(
                replace(site, partition=new.uuid) if site.partition == implicit.uuid else site for site in volume.sites
            )
            transaction.put_volume(replace(volume, sites=sites))
        after = found[-1].key
    transaction.remove_partition(implicit.uuid)
    return new


def remove(transaction: ITransaction, server: Server, uuid: UUID) -> Outcome:
    """RemoveDefinition. The object goes when no definition, volume or owner names it any more."""
    found = transaction.partition(uuid)
    if found is None:
        return Outcome(POUT.ALREADY, Partition(uuid, 0))
    if found.owner == server.slot:
        return Outcome(POUT.MOUNTED, found)
    if definition_of(transaction, uuid, server.slot) is None:
        return Outcome(POUT.ALREADY, found)
    transaction.remove_definition(uuid, server.slot)
    left = [each for each in transaction.definitions() if each.partition == uuid]
    if found.owner is None and not transaction.volumes_on(uuid, 0, 1):
        if not left:
            transaction.remove_partition(uuid)
        elif found.epoch == 0 and found.last_owner == server.slot:
            first = max(left, key=lambda each: each.priority)
            found = replace(found, last_owner=first.server, number=first.number)
            transaction.put_partition(found)
    return Outcome(POUT.DONE, found)


def register(
    transaction: ITransaction, server: Server, reports: Iterable[Report], now: int
) -> tuple[list[Verdict], list[Partition]]:
    """RegisterPartitions: a verdict for each, and what the server should have besides. Ownership is never changed."""
    reported = list(reports)
    verdicts = [_verdict(transaction, server.slot, report, now) for report in reported]
    known = {report.uuid for report in reported}
    besides = [
        each
        for each in transaction.partitions_of(server.slot)
        if each.owner == server.slot and not each.implicit and each.uuid not in known
    ]
    return verdicts, sorted(besides, key=lambda each: each.number)


def _verdict(transaction: ITransaction, slot: int, report: Report, now: int) -> Verdict:
    if report.uuid == NIL_UUID:
        there = transaction.partition_at(slot, report.number)
        return Verdict(PVERDICT.IMPLICIT, there) if there is not None and there.implicit else Verdict(PVERDICT.UNKNOWN)
    found = transaction.partition(report.uuid)
    if found is None:
        return Verdict(PVERDICT.UNKNOWN)
    if found.owner is None:
        return Verdict(PVERDICT.NOBODYS, found)
    if report.epoch > found.epoch:
        return Verdict(PVERDICT.BEHIND, found)
    if found.owner != slot:
        return Verdict(PVERDICT.ANOTHERS, found)
    new = replace(
        found,
        state=state_text(report.state),
        backend=report.backend or found.backend,
        size=report.size,
        free=report.free,
        reported=now,
    )
    if _is_news(found, new):
        transaction.put_partition(new)
        found = new
    return Verdict(PVERDICT.YOURS if report.epoch == found.epoch else PVERDICT.NEWER, found)


def _is_news(old: Partition, new: Partition) -> bool:
    if (old.state, old.backend, old.size) != (new.state, new.backend, new.size):
        return True
    return abs(new.free - old.free) * REPORT_SHARE > new.size or new.reported - old.reported >= REPORT_SECONDS
