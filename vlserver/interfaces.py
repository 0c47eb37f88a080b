"""What a storage back end offers the vlserver.

A back end is one place in `vlserver/store/` and a few lines that subclass the contract tests
(tests/contracts/ivlstore.py). Above this line is the VLDB's meaning, below it is only rows: nothing else in the
program knows how they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from zope.interface import Attribute, Interface

from vlserver.schema import Author, Change, Definition, Partition, Row, Server, Volume

T = TypeVar("T")


class StoreError(Exception):
    """Base of what a back end raises: the database cannot be opened, read or written. The message says why."""


class Inconsistent(StoreError):
    """A write would break a rule of the schema: a key twice, a reference to nothing. Nothing of that write is kept."""


class ITransaction(Interface):
    """The rows as one write or read sees them: ordinary calls, no waiting, all or nothing.

    `put_*` replaces the row of the same key or adds it. A `put` or `remove` in a read raises StoreError.
    """

    revision: int = Attribute("in a read the last committed revision, in a write the one this write will be")

    def servers() -> list[Server]:
        """All servers by slot."""

    def server(slot: int) -> Server | None:
        """The server in this slot."""

    def server_at(address: int) -> Server | None:
        """The server that has this address; an address belongs to one server."""

    def put_server(server: Server) -> None:
        """Raises Inconsistent when another server has one of its addresses, its UUID or its record."""

    def remove_server(slot: int) -> None:
        """Raises Inconsistent while a partition or definition names it."""

    def partitions() -> list[Partition]:
        """All partition objects."""

    def partition(uuid: UUID) -> Partition | None:
        """The partition object of this identity."""

    def partition_at(slot: int, number: int) -> Partition | None:
        """The one this server has mounted at this number, else one without owner that was last there."""

    def partitions_of(slot: int) -> list[Partition]:
        """Those this server has mounted, and those without owner it had last."""

    def put_partition(partition: Partition) -> None:
        """Raises Inconsistent when the owner is unknown or has another partition mounted at that number."""

    def remove_partition(uuid: UUID) -> None:
        """Raises Inconsistent while a volume has a site on it; its definitions go with it."""

    def definitions() -> list[Definition]:
        """All definitions."""

    def definitions_on(slot: int) -> list[Definition]:
        """What may be mounted on this server, highest priority first."""

    def put_definition(definition: Definition) -> None:
        """One a partition and server. Raises Inconsistent when either is unknown."""

    def remove_definition(partition: UUID, slot: int) -> None:
        """Take back that the partition may be mounted there."""

    def volume(key: int) -> Volume | None:
        """The entry with this key."""

    def volume_with_id(volume_id: int, kind: int) -> Volume | None:
        """The entry whose id of this kind (0 RW, 1 RO, 2 BK) is `volume_id`; 0 finds only a read-write id of 0."""

    def volume_named(name: bytes) -> Volume | None:
        """The entry of exactly this name; of several the one named last."""

    def volumes(after: int, limit: int) -> Sequence[Volume]:
        """Up to `limit` entries by key, from the first beyond `after`."""

    def volumes_on(partition: UUID, after: int, limit: int) -> Sequence[Volume]:
        """Up to `limit` entries with a site on this partition, by key, from the first beyond `after`."""

    def last_key() -> int:
        """The highest key ever used, 0 in an empty database."""

    def removed_keys() -> Sequence[int]:
        """Keys of removed entries that are not in use again, in the order of their removal."""

    def next_used_id(volume_id: int) -> int | None:
        """The lowest id of any kind in use that is not below `volume_id`."""

    def add_volume(volume: Volume) -> Volume:
        """Store a new entry and return it with its key: of the removed keys the last one removed, else `last_key` + 1.

        Raises Inconsistent when an id is in use for the same kind or a site names an unknown partition.
        """

    def put_volume(volume: Volume) -> None:
        """Replace an entry. Raises Inconsistent as `add_volume`, and when there is no entry of that key."""

    def remove_volume(key: int) -> None:
        """Remove an entry and its sites."""

    def setting(name: str) -> int | None:
        """A number kept under a name."""

    def settings() -> dict[str, int]:
        """All of them."""

    def set_setting(name: str, value: int) -> None:
        """Keep a number under a name."""

    def changes(since: int, limit: int) -> Sequence[Change]:
        """Up to `limit` committed changes with a revision above `since`, oldest first; the oldest of all are
        forgotten.
        """


class IVLStore(Interface):
    """A VLDB's rows, kept somewhere. A finished write is durable where the back end is."""

    revision: int = Attribute(
        "the revision of the last write that has been answered or that a read has seen; rises by one with each that"
        " changed rows"
    )

    async def read(work: Callable[[ITransaction], T]) -> T:
        """Run `work` on one snapshot. For short work: a few rows or a page of them; it does not leave the calling
        thread.
        """

    async def survey(work: Callable[[ITransaction], T]) -> T:
        """As `read` for long work, all the entries: the reactor goes on meanwhile."""

    async def write(work: Callable[[ITransaction], T], by: Author) -> T:
        """Run `work` as one transaction: all its rows are kept, or none when it raises. Writes run one after another.

        When this returns, what was written is durable. A write that changes no row leaves the revision alone.
        """

    async def load(rows: Iterable[Row], settings: Mapping[str, int], removed_keys: Sequence[int], by: Author) -> None:
        """Fill an empty store in one write. Servers come first, then partitions, then the rest; volumes have keys.

        The rows may be many: they are taken one by one, in a thread where there is one, and the change log tells of the
        load without them. Raises Inconsistent when the store is not empty or the rows break a rule of the schema.
        """

    async def close() -> None:
        """Finish the writes begun and let go of everything."""
