"""Who has a partition mounted: claimed, given up and handed over, each a compare-and-swap on the epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from afs.errors import VLError
from afs.rpc.partitions import PCLAIM, POUT, PSTATE
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.operations.definitions import Outcome, definition_of, known_partition, make_room, state_text
from vlserver.schema import EPOCH_LIMIT, Partition, Server


@dataclass(frozen=True, slots=True)
class Request:
    """One wish, told apart by its id; the same again is the same wish. Times as the schema has them."""

    id: UUID
    reason: int
    note: str
    now: int


@dataclass(frozen=True, slots=True)
class Claim:
    """`server` wants to own the partition, which it knows at `expected_epoch`; its label says `label_epoch`."""

    partition: UUID
    server: Server
    request: Request
    expected_epoch: int
    label_epoch: int
    heartbeat_age: int | None
    lease: int
    flags: int


@dataclass(frozen=True, slots=True)
class Release:
    """`server` gives up what it owns at `epoch`, to a successor if there is one."""

    partition: UUID
    server: Server
    request: Request
    epoch: int
    successor: Server | None
    flags: int


def claim(transaction: ITransaction, wanted: Claim) -> Outcome:
    """ClaimPartition. Of two who claim at one epoch the first wins, and the second is told who that was."""
    found = known_partition(transaction, wanted.partition)
    if found.owner == wanted.server.slot and found.request == wanted.request.id:
        return Outcome(POUT.ALREADY, found)
    if found.epoch != wanted.expected_epoch or not _may_take(found, wanted):
        return Outcome(POUT.LOST, found)
    new = replace(
        found,
        epoch=_next_epoch(found.epoch, wanted.label_epoch),
        heartbeat_age=wanted.heartbeat_age,
        lease=wanted.lease,
    )
    return _given(transaction, new, wanted.server, wanted.request, wanted.flags)


def _may_take(found: Partition, wanted: Claim) -> bool:
    """Nobody's, the claimant's own, by force; or the label shows that the database has forgotten an owner."""
    if found.owner in (None, wanted.server.slot) or wanted.flags & PCLAIM.FORCE:
        return True
    return bool(wanted.flags & PCLAIM.LABELLED) and wanted.label_epoch > found.epoch


def release(transaction: ITransaction, wanted: Release) -> Outcome:
    """ReleasePartition. Without a successor the partition goes on being seen where it was."""
    found = known_partition(transaction, wanted.partition)
    if wanted.successor is not None and wanted.successor.slot == wanted.server.slot:
        raise Abort(VLError.VL_BADENTRY)
    if _is_released(found, wanted):
        return Outcome(POUT.ALREADY, found)
    if found.epoch != wanted.epoch or not (found.owner == wanted.server.slot or _is_forced(found, wanted)):
        return Outcome(POUT.LOST, found)
    plain = replace(found, heartbeat_age=None, lease=0)
    if wanted.successor is not None:
        new = replace(plain, epoch=_next_epoch(found.epoch, found.epoch))
        return _given(transaction, new, wanted.successor, wanted.request, wanted.flags)
    new = _asked(replace(plain, owner=None, state=state_text(PSTATE.RELEASED)), wanted.request, wanted.flags)
    transaction.put_partition(new)
    return Outcome(POUT.DONE, new)


def _is_released(found: Partition, wanted: Release) -> bool:
    """By this request or, where there is no successor, by another at the same epoch."""
    if wanted.successor is None and (found.owner, found.last_owner) == (None, wanted.server.slot):
        return found.epoch == wanted.epoch
    successor = wanted.successor.slot if wanted.successor else None
    return found.request == wanted.request.id and found.owner == successor


def _is_forced(found: Partition, wanted: Release) -> bool:
    return found.owner is not None and bool(wanted.flags & PCLAIM.FORCE)


def _given(transaction: ITransaction, new: Partition, server: Server, request: Request, flags: int) -> Outcome:
    """The object at its new epoch becomes the server's, if it may be mounted there and its number is free."""
    definition = definition_of(transaction, new.uuid, server.slot)
    if definition is None:
        return Outcome(POUT.UNDEFINED, known_partition(transaction, new.uuid))
    there = make_room(transaction, new.uuid, server.slot, definition.number)
    if there is not None:
        return Outcome(POUT.NUMBER, there)
    new = replace(new, owner=server.slot, last_owner=server.slot, number=definition.number)
    new = _asked(replace(new, implicit=False, state=state_text(PSTATE.UNKNOWN)), request, flags)
    transaction.put_partition(new)
    return Outcome(POUT.DONE, new)


def _asked(partition: Partition, request: Request, flags: int) -> Partition:
    return replace(
        partition,
        request=request.id,
        reason=request.reason,
        note=request.note,
        since=request.now,
        claim_flags=flags,
        changed=request.now,
    )


def _next_epoch(known: int, label: int) -> int:
    """Above both, so that a database restored from a backup can still claim. Raises VL_BADENTRY at the end of all."""
    epoch = max(known, label) + 1
    if epoch >= EPOCH_LIMIT:
        raise Abort(VLError.VL_BADENTRY)
    return epoch
