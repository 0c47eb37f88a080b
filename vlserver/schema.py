"""What the VLDB holds: volumes point at partition objects, partition objects at the server that has them mounted.

Plain immutable rows, the same for every back end. A change of a row is a new row (`dataclasses.replace`) put in its
place.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

SERVER_SLOTS = 255
"""Servers a VLDB holds: the old entry forms number them in one byte, whose last value means none (vlserver.h
MAXSERVERID).
"""

SERVER_RECORDS = 252
"""Servers with a UUID: four extension blocks of 63 records (vlserver.h VL_MAX_ADDREXTBLKS, VL_MHSRV_PERBLK)."""

PARTITION_NUMBERS = 256
"""Numbers a partition can have on a server: one byte (vlserver.h MAXPARTITIONID)."""

EPOCH_LIMIT = (1 << 63) - 1
"""Epochs are below this: what SQLite's integers hold, and far beyond one change a nanosecond."""

VOLUME_SITES = 13
"""Sites of a volume: what the entry forms N and U carry (NMAXNSERVERS)."""

SERVER_ADDRESSES = 15
"""Addresses of a server: what its record holds (VL_MAXIPADDRS_PERMH)."""

MAX_VOLUME_ID = "max_volume_id"
FIRST_VOLUME_ID = 0x20000000
"""The setting that holds the next volume id to give away, and its value in a new database (vlutils.c)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A file server. Addresses are host-order integers in the order registered.

    One without `uuid` was only ever named by an address (stock: a single-homed slot); `record` numbers the others'
    records.
    """

    slot: int
    addresses: tuple[int, ...]
    uuid: UUID | None = None
    record: int | None = None
    uniquifier: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition object: a file system that can be mounted by one server at a time.

    `owner` is the slot of the server that has it mounted, `number` its number there; without an owner the object goes
    on being named after `last_owner`. The epoch rises with every change of owner. `implicit` ones stand for (server,
    number) of servers that know nothing of partition objects. Size and free are 1 KiB blocks as last reported; times
    are Unix seconds, 0 never.

    From `reason` on: the last request that was granted, which made the owner what it is. `reason` is a PREASON,
    `claim_flags` are PCLAIM, `heartbeat_age` and `lease` are milliseconds as the claimant said them; `since` is when.
    """

    uuid: UUID
    number: int
    owner: int | None = None
    last_owner: int | None = None
    epoch: int = 0
    implicit: bool = False
    name: str = ""
    state: str = ""
    backend: str = ""
    size: int = 0
    free: int = 0
    reported: int = 0
    changed: int = 0
    reason: int = 0
    note: str = ""
    since: int = 0
    claim_flags: int = 0
    heartbeat_age: int | None = None
    lease: int = 0
    request: UUID | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A partition may be mounted on a server, at this path and number; the higher priority is tried first."""

    partition: UUID
    server: int
    number: int
    path: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """Where one copy of a volume is, and its VLSF flags (never VLSF_UUID, which is a matter of the entry's form)."""

    partition: UUID
    flags: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume group: one entry of the VLDB. `ids` are the RW, RO and BK ids, 0 for none.

    `name_order` tells entries of one name apart: the highest was named last and is the one found (stock keeps hash
    chains with the newest first, and does not refuse a second entry of a name in every RPC). `key` 0 is an entry not
    stored yet.
    """

    key: int
    name: bytes
    ids: tuple[int, int, int]
    sites: tuple[Site, ...]
    clone_id: int = 0
    flags: int = 0
    lock_timestamp: int = 0
    lock_afs_id: int = 0
    name_order: int = 0


Row = Server | Partition | Definition | Volume


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and by which operation: what the change log says beside the rows."""

    who: str
    operation: str


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row of a change: its kind and key, and the row before and after as JSON text, empty where there was none."""

    kind: str
    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write. Time in Unix seconds."""

    revision: int
    time: int
    author: Author
    rows: tuple[RowChange, ...]
