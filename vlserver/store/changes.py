"""The change log's part that every back end shares: which rows a write changed, as text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from uuid import UUID

from vlserver.schema import Definition, Partition, Row, RowChange, Server, Site, Volume

KEPT_REVISIONS = 100_000
"""Changes a store keeps: days of a busy cell's history, in some 50 MB."""

KINDS: dict[type, tuple[str, tuple[str, ...]]] = {
    Server: ("server", ("slot",)),
    Partition: ("partition", ("uuid",)),
    Definition: ("definition", ("partition", "server")),
    Volume: ("volume", ("key",)),
}
"""The name of each kind of row, and the fields that are its key."""


@dataclass(slots=True)
class ChangedRows:
    """Collects what one write changes."""

    rows: list[RowChange] = field(default_factory=list)

    def note(self, before: Row | None, after: Row | None) -> None:
        """A row changed; None stands for its absence. The same row again is no change."""
        row = after or before
        if row is None or before == after:
            return
        kind, key_fields = KINDS[type(row)]
        key = " ".join(str(getattr(row, name)) for name in key_fields)
        self.rows.append(RowChange(kind, key, _text(before), _text(after)))

    def note_setting(self, name: str, before: int | None, after: int) -> None:
        """A setting changed."""
        if before != after:
            self.rows.append(RowChange("setting", name, "" if before is None else str(before), str(after)))


def _text(row: Row | None) -> str:
    return "" if row is None else json.dumps(_plain(row), separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, Server | Partition | Definition | Volume | Site):
        return {name: _plain(getattr(value, name)) for name in value.__slots__}
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
