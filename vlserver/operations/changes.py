"""The change log as watchers read it: pages of changes beyond a revision, of one partition or all."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vlserver.interfaces import ITransaction
from vlserver.operations.surveys import page_size
from vlserver.schema import Change, RowChange

CHANGES_LOOKED_AT = 4096
"""Changes one read goes through for those of one partition: some 50 ms; the caller goes on from there."""

ROWS_PER_REPLY = 1024
"""Rows in one reply, 2.5 MB of the largest; the change that exceeds it is the next reply's first."""

_CHANGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """Changes, the revision up to which all that were wanted are among them, and the oldest one that is kept."""

    changes: tuple[Change, ...]
    revision: int
    oldest: int


def changes_since(transaction: ITransaction, since: int, partition: UUID | None, limit: int) -> Seen:
    """What has changed beyond `since`. A revision below `since` says that the database is another than the caller's."""
    oldest = next((each.revision for each in transaction.changes(0, 1)), 0)
    if since >= transaction.revision:
        return Seen((), transaction.revision, oldest)
    found: list[Change] = []
    reached, looked_at, rows = since, 0, 0
    while looked_at < CHANGES_LOOKED_AT:
        page = transaction.changes(reached, _CHANGES_AT_ONCE)
        for change in page:
            if partition is None or any(_concerns(row, str(partition)) for row in change.rows):
                rows += len(change.rows)
                if len(found) == page_size(limit) or (found and rows > ROWS_PER_REPLY):
                    return Seen(tuple(found), reached, oldest)
                found.append(change)
            reached = change.revision
        looked_at += len(page)
        if len(page) < _CHANGES_AT_ONCE:
            return Seen(tuple(found), transaction.revision, oldest)
    return Seen(tuple(found), reached, oldest)


def _concerns(row: RowChange, partition: str) -> bool:
    """The object itself or one of its definitions; volumes that come and go on it are too many."""
    return row.kind in ("partition", "definition") and row.key.split(" ")[0] == partition
