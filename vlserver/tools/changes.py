"""vldb log and vldb undo."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from vlserver.interfaces import ITransaction
from vlserver.operations.undo import undo
from vlserver.schema import Change, RowChange
from vlserver.store.sqlite.copies import snapshot
from vlserver.tools.stores import author, file_of, own_file_of, with_store

CHANGES_AT_ONCE = 1000
"""Changes read together."""


def show_log(chosen: argparse.Namespace) -> int:
    """Each change a line, below it a line for each row: what it was and what it became."""
    with snapshot(file_of(chosen.database)) as transaction:
        since = chosen.since or 0
        if chosen.limit is not None:
            since = max(since, transaction.revision - chosen.limit)
        while changes := transaction.changes(since, CHANGES_AT_ONCE):
            for change in changes:
                sys.stdout.writelines(f"{line}\n" for line in lines_of(change))
            since = changes[-1].revision
    return 0


def lines_of(change: Change) -> Iterator[str]:
    """A change for people to read."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.time))
    yield f"{change.revision}  {when}  {change.author.who}: {change.author.operation}"
    for row in change.rows:
        yield f"    {row.kind} {row.key}: {_difference(row)}"


def _difference(row: RowChange) -> str:
    if not row.before:
        return f"new {row.after}"
    if not row.after:
        return f"gone, was {row.before}"
    before, after = json.loads(row.before), json.loads(row.after)
    if not isinstance(after, dict):
        return f"{before} -> {after}"
    return ", ".join(_field(name, before.get(name), after[name]) for name in after if before.get(name) != after[name])


def _field(name: str, before: Any, after: Any) -> str:
    return f"{name} {json.dumps(before)} -> {json.dumps(after)}"


def undo_revision(chosen: argparse.Namespace) -> int:
    """One change of the log back, as one more change of the log."""
    path = own_file_of(chosen.database)
    with snapshot(path):
        pass  # there is such a database, of this schema

    def work(transaction: ITransaction) -> tuple[int, list[str]]:
        return transaction.revision, undo(transaction, chosen.revision, chosen.force)

    revision, done = with_store(path, lambda store: store.write(work, author(f"undo {chosen.revision}")))
    sys.stdout.writelines(f"{line}\n" for line in done)
    sys.stdout.write(f"revision {chosen.revision} taken back: this is revision {revision}\n")
    return 0
