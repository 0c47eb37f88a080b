"""Partition objects seen as (server, number), which is all the old entry forms know, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from afs.rpc.vl import VLSF_BACKVOL, VLSF_ROVOL, VLSF_RWVOL
from vlserver.interfaces import ITransaction
from vlserver.schema import Partition, Server, Volume

SITE_TYPES = VLSF_RWVOL | VLSF_ROVOL | VLSF_BACKVOL
"""The site flags that say which volumes are there: a read-write and a read-only site at one place are two sites."""


@dataclass(frozen=True, slots=True)
class Place:
    """A partition's number on the server that has it mounted, or had it last."""

    server: Server
    number: int


@dataclass(frozen=True, slots=True)
class PlacedSite:
    """A site as an entry names it."""

    server: Server
    number: int
    flags: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A volume with its sites as they are seen now: what every entry form is made of."""

    volume: Volume
    sites: tuple[PlacedSite, ...]


class Places:
    """Where partition objects are, for the length of one transaction; each is looked up once."""

    def __init__(self, transaction: ITransaction) -> None:
        self._transaction = transaction
        self._servers: dict[int, Server | None] = {}
        self._places: dict[UUID, Place | None] = {}

    def place(self, uuid: UUID) -> Place | None:
        """Where this partition is or was last; None for one that never was anywhere."""
        if uuid not in self._places:
            partition = self._transaction.partition(uuid)
            self._places[uuid] = self._place(partition) if partition else None
        return self._places[uuid]

    def _place(self, partition: Partition) -> Place | None:
        slot = partition.last_owner if partition.owner is None else partition.owner
        if slot is None:
            return None
        if slot not in self._servers:
            self._servers[slot] = self._transaction.server(slot)
        server = self._servers[slot]
        return Place(server, partition.number) if server else None

    def entry(self, volume: Volume) -> Entry:
        """The volume with its sites placed. Two partitions that are seen as one place make one site of each type."""
        sites: list[PlacedSite] = []
        seen: dict[tuple[int, int, int], UUID] = {}
        for site in volume.sites:
            place = self.place(site.partition)
            if place is None:
                continue
            seen_as = place.server.slot, place.number, site.flags & SITE_TYPES
            if seen.setdefault(seen_as, site.partition) == site.partition:
                sites.append(PlacedSite(place.server, place.number, site.flags))
        return Entry(volume, tuple(sites))


def partition_for(
    transaction: ITransaction, slot: int, number: int, volume: Volume | None, new_uuid: Callable[[], UUID]
) -> UUID:
    """The partition object that an old form means by (server, number).

    First one the volume is on already and that is seen there; then what the server has mounted there, or had last and
    nobody has now; then what may be mounted there; else a new implicit object: the server is one that knows nothing of
    partition objects.
    """
    places = Places(transaction)
    for site in volume.sites if volume else ():
        place = places.place(site.partition)
        if place is not None and (place.server.slot, place.number) == (slot, number):
            return site.partition
    found = transaction.partition_at(slot, number)
    if found is not None:
        return found.uuid
    for definition in transaction.definitions_on(slot):
        if definition.number == number and places.place(definition.partition) is not None:
            return definition.partition
    made = Partition(new_uuid(), number, owner=slot, last_owner=slot, implicit=True)
    transaction.put_partition(made)
    return made.uuid


def is_used(transaction: ITransaction, slot: int) -> bool:
    """Whether an entry has a site that is seen on this server."""
    return any(transaction.volumes_on(partition.uuid, 0, 1) for partition in transaction.partitions_of(slot))
