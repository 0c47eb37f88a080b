"""Taking back one change of the log: what it changed in each row is put back as it was before.

Some things never go back, because others have seen them: ids given away and other counters, the epoch of a partition
and the uniquifier of a server (which rise instead), and locks (which are clear).
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar
from uuid import UUID

from vlserver.interfaces import ITransaction
from vlserver.operations.locks import ALL_OPERATIONS
from vlserver.operations.servers import RETIRED_UNIQUIFIER
from vlserver.schema import Change, Definition, Partition, Row, RowChange, Server, Volume
from vlserver.store.changes import row_of

R = TypeVar("R", Server, Partition, Definition, Volume)

CHANGES_AT_ONCE = 1000
"""Changes read together."""

REPORTED_FIELDS = ("size", "free", "reported")
"""Of a partition, what its server reports all the time: there is nothing to put back."""


class UndoRefused(Exception):
    """Why a change cannot be taken back, a line each."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


def undo(transaction: ITransaction, revision: int, force: bool) -> list[str]:
    """Take back the change that made this revision; returns a line for each row that changes.

    A row that was changed again since is refused, unless `force`: then the fields that this change set, and only those,
    are as before. Raises UndoRefused, and Inconsistent where the rows would contradict others.
    """
    change = _change(transaction, revision)
    rows = [row for row in reversed(change.rows) if row.kind != "setting"]
    plans = [(row, row_of(row.kind, row.before), row_of(row.kind, row.after)) for row in rows]
    if not force:
        reasons = [reason for plan in plans for reason in _obstacles(transaction, revision, *plan)]
        if reasons:
            raise UndoRefused(*reasons)
    done = [line for plan in plans for line in _put_back(transaction, *plan)]
    if not done:
        raise UndoRefused(f"revision {revision} changed only what is never put back: counters, locks or reports")
    return done


def _change(transaction: ITransaction, revision: int) -> Change:
    found = transaction.changes(revision - 1, 1)
    if not found or found[0].revision != revision:
        raise UndoRefused(f"the change log has no revision {revision}, or no more")
    if not found[0].rows:
        raise UndoRefused(f"revision {revision} ({found[0].author.operation}) replaced the whole database")
    return found[0]


def _obstacles(
    transaction: ITransaction, revision: int, row: RowChange, before: Row | None, after: Row | None
) -> list[str]:
    if isinstance(before, Volume) and after is None:
        return _in_use(transaction, before)  # its key may be another's by now: it gets a new one
    if _comparable(_current(transaction, before or after)) == _comparable(after):
        return []
    later = ", ".join(str(number) for number in _later(transaction, revision, row)) or "unlogged ones"
    return [f"{row.kind} {row.key} was changed again, by the revisions {later}"]


def _in_use(transaction: ITransaction, volume: Volume) -> list[str]:
    name = volume.name.decode("latin-1")
    reasons = [f"there is another entry {name}"] if transaction.volume_named(volume.name) else []
    used = [each for each in volume.ids if each and any(transaction.volume_with_id(each, kind) for kind in range(3))]
    return reasons + [f"the id {volume_id} of {name} is in use" for volume_id in used]


def _later(transaction: ITransaction, since: int, row: RowChange) -> list[int]:
    found: list[int] = []
    while changes := transaction.changes(since, CHANGES_AT_ONCE):
        found += [
            change.revision
            for change in changes
            if any((each.kind, each.key) == (row.kind, row.key) for each in change.rows)
        ]
        since = changes[-1].revision
    return found


def _comparable(row: Row | None) -> Row | None:
    """The row without what its server reports and a report changes, such as that it is mounted."""
    if isinstance(row, Partition):
        return replace(row, size=0, free=0, reported=0, changed=0, state="", backend="")
    return row


def _current(transaction: ITransaction, row: Row | None) -> Row | None:
    """The row of the same key as it is now."""
    match row:
        case Server(slot=slot):
            return transaction.server(slot)
        case Partition(uuid=uuid):
            return transaction.partition(uuid)
        case Definition(partition=uuid, server=slot):
            return _definition(transaction, uuid, slot)
        case Volume(key=key):
            return transaction.volume(key)
    return None


def _definition(transaction: ITransaction, uuid: UUID, slot: int) -> Definition | None:
    return next((each for each in transaction.definitions_on(slot) if each.partition == uuid), None)


def _put_back(transaction: ITransaction, row: RowChange, before: Row | None, after: Row | None) -> list[str]:
    """Rows of one key are of one kind."""
    what = f"{row.kind} {row.key}"
    now: Any = _current(transaction, before or after)
    then: Any = after
    match before:
        case None:
            return _remove(transaction, what, now)
        case Volume():
            return _put_volume(transaction, what, before, then, now)
        case Server():
            _put_server(transaction, before, then, now)
        case Partition():
            if _comparable(_merged(now, before, then)) == _comparable(now):
                return []
            _put_partition(transaction, before, then, now)
        case Definition():
            transaction.put_definition(_merged(now, before, then))
    return [f"{what}: {'as before' if after else 'there again'}"]


def _merged(now: R | None, before: R, after: R | None) -> R:
    """The row as it is now, with what the change set as it was before."""
    if now is None or after is None:
        return before
    set_by_change: dict[str, Any] = {
        field.name: getattr(before, field.name)
        for field in fields(before)
        if getattr(before, field.name) != getattr(after, field.name) and field.name not in REPORTED_FIELDS
    }
    return replace(now, **set_by_change)


def _put_server(transaction: ITransaction, before: Server, after: Server | None, now: Server | None) -> None:
    """A server that clients know under a uniquifier gets a new one, so that they ask for its addresses again."""
    retired = 0 if before.record is None else transaction.setting(RETIRED_UNIQUIFIER % before.record) or 0
    uniquifier = max(before.uniquifier, now.uniquifier if now else retired)
    merged = _merged(now, before, after)
    transaction.put_server(replace(merged, uniquifier=uniquifier + 1 if merged.uuid else merged.uniquifier))


def _put_partition(
    transaction: ITransaction, before: Partition, after: Partition | None, now: Partition | None
) -> None:
    """A change of owner, this one too, raises the epoch."""
    merged = _merged(now, before, after)
    epoch = before.epoch if now is None else max(before.epoch, now.epoch)
    moved = now is not None and now.owner != merged.owner
    transaction.put_partition(replace(merged, epoch=epoch + 1 if moved else epoch))


def _put_volume(
    transaction: ITransaction, what: str, before: Volume, after: Volume | None, now: Volume | None
) -> list[str]:
    if after is None or now is None:
        added = transaction.add_volume(_unlocked(replace(before, key=0)))
        return [f"{what} ({before.name.decode('latin-1')}): there again, as volume {added.key}"]
    merged = _merged(now, before, after)
    merged = replace(
        merged,
        flags=merged.flags & ~ALL_OPERATIONS | now.flags & ALL_OPERATIONS,
        lock_timestamp=now.lock_timestamp,
        lock_afs_id=now.lock_afs_id,
    )
    if merged == now:
        return []
    transaction.put_volume(merged)
    return [f"{what} ({merged.name.decode('latin-1')}): as before"]


def _unlocked(volume: Volume) -> Volume:
    return replace(volume, flags=volume.flags & ~ALL_OPERATIONS, lock_timestamp=0, lock_afs_id=0)


def _remove(transaction: ITransaction, what: str, now: Row | None) -> list[str]:
    match now:
        case Server():
            if now.record is not None:
                transaction.set_setting(RETIRED_UNIQUIFIER % now.record, now.uniquifier)
            transaction.remove_server(now.slot)
        case Partition():
            transaction.remove_partition(now.uuid)
        case Definition():
            transaction.remove_definition(now.partition, now.server)
        case Volume():
            transaction.remove_volume(now.key)
        case None:
            return []
    return [f"{what}: gone"]
