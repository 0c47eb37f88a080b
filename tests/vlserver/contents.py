"""Random contents of a VLDB: rows that could have come about, with everything that a stock file can and cannot hold."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from vlserver.operations.servers import RETIRED_UNIQUIFIER
from vlserver.schema import MAX_VOLUME_ID, SERVER_RECORDS, Author, Definition, Partition, Row, Server, Site, Volume
from vlserver.store.memory import MemoryStore

BY = Author("admin", "test")
LEGAL = b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.-_"


@dataclass(frozen=True)
class Contents:
    """What a store is loaded with."""

    rows: Sequence[Row]
    settings: Mapping[str, int]
    removed_keys: Sequence[int]

    async def store(self) -> MemoryStore:
        """A store that has it."""
        store = MemoryStore(lambda: 1.0)
        await store.load(self.rows, self.settings, self.removed_keys, BY)
        return store


def random_contents(random_: random.Random, volumes: int = 40, stock: bool = False) -> Contents:
    """`stock` leaves out what only partition objects have: the rows are what an import without a sidecar makes."""
    servers = random_servers(random_)
    partitions = random_partitions(random_, servers, stock)
    definitions = [] if stock else random_definitions(random_, servers, partitions)
    keys = list(range(1, volumes + random_.randrange(9)))
    random_.shuffle(keys)
    removed, used = keys[volumes:], sorted(keys[:volumes])
    ids = iter(
        random_.sample(range(1, 1 << 32), 3 * len(used)) if random_.random() < 0.5 else range(5, 5 + 3 * len(used))
    )
    names = [random_name(random_) for _ in range(max(len(used) * 3 // 4, 1))]
    entries = []
    for key in used:
        rw_id, ro_id, bk_id = next(ids), next(ids), next(ids)
        count = random_.choice((1, 1, 2, 3, 13))
        entries.append(
            Volume(
                key,
                random_.choice(names),
                (rw_id, random_.choice((0, ro_id)), random_.choice((0, bk_id))),
                tuple(
                    Site(random_.choice(partitions).uuid, random_.choice((1, 2, 4, 0x20, 0x80))) for _ in range(count)
                ),
                clone_id=random_.choice((0, 1, 0xFFFFFFFF)),
                flags=random_.choice((0x1000, 0x3000, 0x7000, 0x7020, 2, 0)),
                lock_timestamp=random_.choice((0, 0, 1_700_000_000)),
                lock_afs_id=random_.choice((0, 0, 7)),
                name_order=random_.randrange(-5, 5),
            )
        )
    settings = {MAX_VOLUME_ID: random_.randrange(1 << 32)}
    records = {server.record for server in servers}
    highest = max((record for record in records if record is not None), default=-1) + random_.choice((0, 1, 70))
    settings |= {RETIRED_UNIQUIFIER % r: r + 5 for r in range(0, min(highest, SERVER_RECORDS), 3) if r not in records}
    return Contents([*servers, *partitions, *definitions, *entries], settings, removed)


def random_name(random_: random.Random) -> bytes:
    """A legal name, sometimes of the greatest length."""
    return bytes(random_.choices(LEGAL, k=random_.choice((1, 5, 20, 64))))


def random_servers(random_: random.Random) -> list[Server]:
    """Registered ones and single addresses, in any slots and records."""
    slots = random_.sample(range(255), random_.choice((1, 3, 8)))
    records = iter(random_.sample(range(252), 8) if random_.random() < 0.3 else range(8))
    servers = []
    for number, slot in enumerate(slots):
        addresses = tuple(0x0A000000 + number * 16 + each for each in range(random_.choice((1, 2, 15))))
        if random_.random() < 0.3:
            servers.append(Server(slot, addresses[:1]))
        else:
            servers.append(Server(slot, addresses, UUID(int=random_.getrandbits(128) | 1), next(records), number + 1))
    return sorted(servers, key=lambda server: server.slot)


def random_partitions(random_: random.Random, servers: Sequence[Server], stock: bool) -> list[Partition]:
    """Mounted ones, and unless `stock` ones that nobody has: even several seen at one place, and one never placed."""
    places = random_.sample([(server.slot, number) for server in servers for number in (0, 1, 2, 255)], 4)
    mounted = [Partition(random_uuid(random_), number, slot, slot, implicit=True) for slot, number in places]
    if stock:
        return mounted
    slot, number = places[0]
    return [
        *mounted,
        Partition(random_uuid(random_), number, None, slot, epoch=9, name="unmounted"),
        Partition(
            random_uuid(random_),
            77,
            None,
            slot,
            epoch=3,
            state="down",
            backend="namei",
            size=10,
            free=5,
            heartbeat_age=1500,
            request=random_uuid(random_),
        ),
        Partition(random_uuid(random_), 0, None, None, name="never anywhere"),
    ]


def random_definitions(
    random_: random.Random, servers: Sequence[Server], partitions: Sequence[Partition]
) -> list[Definition]:
    """Where some of the partitions may be."""
    pairs = [(partition.uuid, server.slot) for partition in partitions for server in servers]
    return [
        Definition(uuid, slot, random_.randrange(256), f"/vicep{number}", number)
        for number, (uuid, slot) in enumerate(random_.sample(pairs, 3))
    ]


def random_uuid(random_: random.Random) -> UUID:
    """Any."""
    return UUID(int=random_.getrandbits(128))
