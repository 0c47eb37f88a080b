"""The partitions this server may mount: which, where, how, and whether they are wanted now.

Kept in the state directory and changed only through the server. `--partition` seeds it on the first start; afterwards
it decides, so that what was unmounted by command stays so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self
from uuid import UUID

from afs.names import partition_name
from fileserver.interfaces import Damaged, StoreError
from fileserver.partitions.label import write_atomically

TABLE_NAME = "partitions.json"
TABLE_VERSION = 1


class Taken(StoreError):
    """Another partition of this server has that number or path already."""


@dataclass(frozen=True, slots=True)
class Known:
    """One partition cleared for mounting here.

    `hook` is a program (hooks.py), empty for none. `wanted`: to be mounted whenever the server runs. `backend` is a
    back-end type's name. `taken` is the epoch at which this server has last made the label its own; `fenced`: its hook
    keeps other hosts from the storage, until it is told to unfence. `left` is the epoch at which it was last unmounted
    here by command: while the VLDB has it as this server's at that one, it is still to hear.
    """

    uuid: UUID
    path: str
    number: int
    backend: str
    hook: str = ""
    priority: int = 0
    wanted: bool = False
    taken: int = 0
    fenced: bool = False
    left: int = 0

    @property
    def name(self) -> str:
        """`/vicepX`."""
        return partition_name(self.number)


class Table:
    """The table in its file. Every change is on disk when the method returns."""

    def __init__(self, path: Path, known: dict[UUID, Known], is_new: bool = False) -> None:
        self._path = path
        self._known = known
        self.is_new = is_new
        """Nobody has ever stored anything: the first start."""

    @classmethod
    def read(cls, state: Path) -> Self:
        """The table of a state directory. Raises Damaged, OSError."""
        path = state / TABLE_NAME
        try:
            stored = json.loads(path.read_bytes())
            if stored["version"] > TABLE_VERSION:
                raise Damaged(f"{path} was written by a newer program (version {stored['version']})")
            rows = [_known(row) for row in stored["partitions"]]
        except FileNotFoundError:
            return cls(path, {}, is_new=True)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{path} is not a table of partitions: {error!r}") from error
        return cls(path, {row.uuid: row for row in rows})

    def __iter__(self) -> Iterator[Known]:
        """By number."""
        return iter(sorted(self._known.values(), key=lambda each: each.number))

    def get(self, uuid: UUID) -> Known | None:
        """The row of this partition object."""
        return self._known.get(uuid)

    def numbered(self, number: int) -> Known | None:
        """The row with this number."""
        return next((each for each in self if each.number == number), None)

    def put(self, row: Known) -> None:
        """Add or replace the row of this partition object. Raises Taken, OSError."""
        for other in self:
            if other.uuid != row.uuid and (other.number == row.number or (row.path and other.path == row.path)):
                raise Taken(f"{other.name} at {other.path} is partition {other.uuid} here")
        self._store(self._known | {row.uuid: row})

    def remove(self, uuid: UUID) -> None:
        """Forget a partition object. Raises OSError."""
        self._store({key: row for key, row in self._known.items() if key != uuid})

    def _store(self, known: dict[UUID, Known]) -> None:
        rows = [asdict(row) for row in known.values()]
        text = json.dumps({"version": TABLE_VERSION, "partitions": rows}, indent=1, default=str)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(str(self._path), text.encode() + b"\n")
        self._known = known
        self.is_new = False


def _known(row: dict[str, object]) -> Known:
    names = {each.name for each in fields(Known)}
    return Known(**{name: value for name, value in row.items() if name in names} | {"uuid": UUID(str(row["uuid"]))})  # type: ignore[arg-type]
