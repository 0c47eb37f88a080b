"""The change log's part that every back end shares: which rows a write changed, as text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, is_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

from vlserver.interfaces import StoreError
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
        self.rows.append(RowChange(kind, key, text_of(before), text_of(after)))

    def note_setting(self, name: str, before: int | None, after: int) -> None:
        """A setting changed."""
        if before != after:
            self.rows.append(RowChange("setting", name, "" if before is None else str(before), str(after)))


def text_of(row: Row | None) -> str:
    """A row as JSON text; empty for none."""
    return "" if row is None else json.dumps(_plain(row), separators=(",", ":"))


def row_of(kind: str, text: str) -> Row | None:
    """The row that `text_of` wrote; a field it lacks, of a later schema, has its default. Raises StoreError."""
    found = next((each for each, (name, _) in KINDS.items() if name == kind), None)
    if found is None:
        raise StoreError(f"there are no rows of the kind {kind!r}")
    if not text:
        return None
    try:
        row: Row = _value(found, json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"not the text of a {kind} row: {text[:200]!r}: {problem!r}") from problem
    return row


def _value(hint: Any, plain: Any) -> Any:
    """What `_plain` made of a value that is annotated so."""
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{name: _value(hints[name], value) for name, value in plain.items()})
    if hint is UUID:
        return UUID(plain)
    if hint is bytes:
        return plain.encode("latin-1")
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        return tuple(_value(kinds[0], item) for item in plain)
    if not kinds:
        if type(plain) is not hint:
            raise TypeError(f"{plain!r} is no {hint.__name__}")
        return plain
    (one,) = (kind for kind in kinds if kind is not NoneType)
    return None if plain is None else _value(one, plain)


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
