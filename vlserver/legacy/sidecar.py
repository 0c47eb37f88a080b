"""What a vldb.DB0 cannot hold, as lines of JSON beside it: partition objects, their epochs, where they may be mounted.

The first line says of which file, the last one how many lines there are; each between is one row, written as the change
log writes rows (vlserver/store/changes.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TextIO
from uuid import UUID

from vlserver.interfaces import ITransaction, StoreError
from vlserver.legacy.layout import Label
from vlserver.legacy.reader import StoredVldb, StoredVolume
from vlserver.operations.places import PlacedSite
from vlserver.schema import Definition, Partition, Row, Server, Site, Volume
from vlserver.store.changes import KINDS, row_of, text_of

FORMAT = "txafs vldb sidecar"
VERSION = 1

STORED_FIELDS = (
    "key",
    "name",
    "ids",
    "clone_id",
    "flags",
    "lock_timestamp",
    "lock_afs_id",
    "name_order",
)
"""Of an entry, what the stock file says itself; the sites it says only as they are seen."""

Seen = tuple[tuple[int, int, int], ...]
"""Sites as the stock file has them: server slot, partition number, flags."""


class SidecarWriter:
    """Writes the sidecar of a file while that is written; `notice` is what the writer of the file tells."""

    def __init__(self, transaction: ITransaction, file: TextIO, label: Label) -> None:
        self._file = file
        self._lines = 0
        self._homes = homes(transaction.partitions())
        file.write(json.dumps({"format": FORMAT, "version": VERSION, "label": str(label)}) + "\n")
        rows: list[Row] = [*transaction.servers(), *transaction.partitions(), *transaction.definitions()]
        for row in rows:
            self._line(kind=KINDS[type(row)][0], row=text_of(row))
        for name, value in transaction.settings().items():
            self._line(kind="setting", name=name, value=value)

    def notice(self, volume: Volume, sites: Sequence[PlacedSite]) -> None:
        """An entry of which more is known than the file and the partitions say is a line of its own."""
        seen = tuple((site.server.slot, site.number, site.flags) for site in sites)
        if rebuilt(volume, seen, self._homes) != volume:
            self._line(kind="volume", seen=seen, row=text_of(volume))

    def finish(self) -> None:
        """The last line."""
        self._file.write(json.dumps({"lines": self._lines}) + "\n")

    def _line(self, **line: object) -> None:
        self._lines += 1
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def homes(partitions: Iterable[Partition]) -> dict[tuple[int, int], UUID]:
    """For each (slot, number) the partition that is meant by it: the one mounted there, else one that was last."""
    found: dict[tuple[int, int], UUID] = {}
    for each in sorted(partitions, key=lambda each: (each.owner is None, each.uuid)):
        slot = each.last_owner if each.owner is None else each.owner
        if slot is not None:
            found.setdefault((slot, each.number), each.uuid)
    return found


def rebuilt(volume: Volume, seen: Seen, partitions: dict[tuple[int, int], UUID]) -> Volume:
    """The entry as it comes back from the stock file alone; of several of one name the order is kept otherwise."""
    told = {name: getattr(volume, name) for name in STORED_FIELDS}
    return Volume(sites=tuple(Site(partitions[slot, number], flags) for slot, number, flags in seen), **told)


@dataclass(slots=True)
class Sidecar:
    """A sidecar that was read. `volumes` are the entries of which it knows more, by read-write id."""

    label: str
    servers: dict[int, Server] = field(default_factory=dict)
    partitions: list[Partition] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    volumes: dict[int, tuple[Seen, Volume]] = field(default_factory=dict)

    def take(self, line: dict[str, Any]) -> None:
        """One line between the first and the last."""
        if line["kind"] == "setting":
            self.settings[str(line["name"])] = int(line["value"])
            return
        match row_of(line["kind"], line["row"]):
            case Server() as server:
                self.servers[server.slot] = server
            case Partition() as partition:
                self.partitions.append(partition)
            case Definition() as definition:
                self.definitions.append(definition)
            case Volume() as volume:
                seen = tuple((int(slot), int(number), int(flags)) for slot, number, flags in line["seen"])
                self.volumes[volume.ids[0]] = seen, volume

    def fitted(self, stored: StoredVldb) -> Sidecar:
        """What of it still holds for this file, which a stock server may have changed since: rows of servers that are
        who they were.
        """
        same = {server.slot for server in stored.servers if _is_same(server, self.servers.get(server.slot))}
        partitions = [each for each in self.partitions if {each.owner, each.last_owner} - {None} <= same]
        known = {each.uuid for each in partitions}
        return replace(
            self,
            servers={slot: server for slot, server in self.servers.items() if slot in same},
            partitions=partitions,
            definitions=[each for each in self.definitions if each.server in same and each.partition in known],
        )

    def volume(self, stored: StoredVolume, plain: Volume) -> Volume:
        """The entry with what the sidecar knows of it, if its sites are what they were."""
        seen, more = self.volumes.get(stored.ids[0], ((), plain))
        if seen != stored.sites or more is plain:
            return plain
        known = {each.uuid for each in self.partitions}
        if not {site.partition for site in more.sites} <= known:
            return plain
        told = {name: getattr(plain, name) for name in STORED_FIELDS}
        return replace(more, **told)


def _is_same(server: Server, before: Server | None) -> bool:
    """Whether a slot still has the server it had: by UUID, else by address."""
    return (
        before is not None
        and server.uuid == before.uuid
        and (server.uuid or server.addresses) == (before.uuid or before.addresses)
    )


def read_sidecar(lines: Iterable[str], name: str) -> Sidecar:
    """A sidecar's lines. Raises StoreError when they are not one, or not all of one."""
    number = 0
    try:
        parsed: Iterator[dict[str, Any]] = (json.loads(line) for line in lines)
        first = next(parsed, {})
        if first.get("format") != FORMAT or first.get("version") != VERSION:
            raise StoreError(f"{name} is not a sidecar of version {VERSION}")
        sidecar = Sidecar(str(first["label"]))
        for line in parsed:
            if "lines" in line:
                if line["lines"] != number or next(parsed, None) is not None:
                    raise StoreError(f"{name}: {line['lines']} lines were written, not {number}")
                return sidecar
            number += 1
            sidecar.take(line)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"{name}, line {number + 1}: {problem!r}") from problem
    raise StoreError(f"{name} ends after {number + 1} lines, without its last")
