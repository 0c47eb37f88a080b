"""Partition objects, definitions and volumes listed a page at a time, and an entry with its partition objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from afs.rpc.partitions import PARTITION_PAGE
from vlserver.interfaces import ITransaction
from vlserver.operations.definitions import known_partition
from vlserver.schema import Definition, Partition, Server, Site, Volume

LAST_KEY = (1 << 63) - 1
"""Keys of entries are below this."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which partitions: one of these, or none of them for all. `owner` also means who had it last."""

    owner: Server | None = None
    defined: Server | None = None
    partition: UUID | None = None


def page_size(limit: int) -> int:
    """How many a page has when so many are asked for."""
    return limit if 0 < limit < PARTITION_PAGE else PARTITION_PAGE


def partitions(transaction: ITransaction, wanted: Wanted, after: UUID, limit: int) -> tuple[list[Partition], bool]:
    """ListPartitions: by UUID from the first beyond `after`, and whether there are more."""
    found = sorted((each for each in _chosen(transaction, wanted) if each.uuid > after), key=lambda each: each.uuid)
    return found[: page_size(limit)], len(found) > page_size(limit)


def _chosen(transaction: ITransaction, wanted: Wanted) -> Iterable[Partition]:
    if wanted.partition is not None:
        return [known_partition(transaction, wanted.partition)]
    if wanted.owner is not None:
        return transaction.partitions_of(wanted.owner.slot)
    if wanted.defined is not None:
        return [
            known_partition(transaction, each.partition) for each in transaction.definitions_on(wanted.defined.slot)
        ]
    return transaction.partitions()


def definitions(transaction: ITransaction, wanted: Wanted) -> list[Definition]:
    """ListDefinitions, all at once: a server has 256 at most."""
    if wanted.defined is not None:
        return transaction.definitions_on(wanted.defined.slot)
    return [each for each in transaction.definitions() if wanted.partition in (None, each.partition)]


def volumes(transaction: ITransaction, uuid: UUID, after: int, limit: int) -> tuple[list[tuple[Volume, Site]], bool]:
    """ListPartitionVolumes: each with its first site there, and whether there are more."""
    known_partition(transaction, uuid)
    if after >= LAST_KEY:
        return [], False
    size = page_size(limit)
    found = transaction.volumes_on(uuid, after, size + 1)
    placed = [(each, next(site for site in each.sites if site.partition == uuid)) for each in found[:size]]
    return placed, len(found) > size
