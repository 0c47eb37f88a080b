"""A VLDB of any size for the benches: `python -m tests.bench.vldb_fill FILE VOLUMES [PARTITIONS]` makes one.

Volumes are called v0, v1, ... with ids from FIRST_ID on, three to a volume; each has one read-write site, on the
partitions in turn. Two servers with UUIDs have the partitions between them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.rpc.vl import VLF_RWEXISTS, VLSF_RWVOL
from vlserver.interfaces import ITransaction, IVLStore
from vlserver.schema import MAX_VOLUME_ID, Author, Definition, Partition, Server, Site, Volume
from vlserver.store.sqlite import SqliteStore

BY = Author("bench", "fill")
FIRST_ID = 0x20000000
AT_ONCE = 5000
"""Volumes added in a transaction."""
SERVERS = (Server(0, (0x0A000001,), UUID(int=0xF1), 0, 1), Server(1, (0x0A000002,), UUID(int=0xF2), 1, 1))


def partition_id(number: int) -> UUID:
    """The partition object with this number."""
    return UUID(int=0xA0000 + number)


def ids_of(number: int) -> tuple[int, int, int]:
    """The ids of volume `number`: a read-only and a backup id are set aside, as `vos create` does."""
    first = FIRST_ID + 3 * number
    return first, first + 1, first + 2


def volume(number: int, partition: UUID) -> Volume:
    """An entry as `vos create` leaves it."""
    return Volume(0, b"v%d" % number, ids_of(number), (Site(partition, VLSF_RWVOL),), flags=VLF_RWEXISTS)


async def fill(store: IVLStore, volumes: int, partitions: int = 1) -> None:
    """Servers, partition objects and volumes, as a running server would have come to have them: with a change log."""

    def furnish(transaction: ITransaction) -> None:
        for server in SERVERS:
            transaction.put_server(server)
        for number in range(partitions):
            transaction.put_partition(Partition(partition_id(number), number, owner=0, last_owner=0))
            for server in SERVERS:
                path = f"/vicep{chr(ord('a') + number)}"
                transaction.put_definition(Definition(partition_id(number), server.slot, number, path))

    def adding(start: int, end: int) -> Callable[[ITransaction], None]:
        def add(transaction: ITransaction) -> None:
            for number in range(start, end):
                transaction.add_volume(volume(number, partition_id(number % partitions)))
            transaction.set_setting(MAX_VOLUME_ID, FIRST_ID + 3 * end)

        return add

    await store.write(furnish, BY)
    for start in range(0, volumes, AT_ONCE):
        await store.write(adding(start, min(start + AT_ONCE, volumes)), BY)


async def make(path: str, volumes: int, partitions: int) -> None:
    """A database file."""
    any_reactor: Any = reactor
    store = SqliteStore(path, any_reactor, any_reactor.seconds)
    await fill(store, volumes, partitions)
    await store.close()


def main() -> None:
    """Make the one the command line asks for."""
    path, volumes, *partitions = sys.argv[1:]
    react(lambda _: Deferred.fromCoroutine(make(path, int(volumes), int(partitions[0]) if partitions else 1)))


if __name__ == "__main__":
    main()
