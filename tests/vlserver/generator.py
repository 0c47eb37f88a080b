"""Random RPCs for a vlserver, out of a world of names, ids, servers and partitions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from afs.rpc.vl import ListAddrByAttributes, VldbListByAttributes, VldbUpdateEntry
from tests.vlserver.support import entry, ip, old_entry, padded, uip

ODD_NAMES = (b"a.backup", b"b.readonly", b"vol-1.backup.readonly", b"3", b"0", b"", b"a/b", b"x" * 65, b"z", b".backup")
PATTERNS = (
    b"",
    b".*",
    b"a.*",
    b"vol.*",
    rb".*\.backup",
    rb".*\.readonly",
    b"[ab]",
    b"a",
    b"(((((a*)*)*)*",
    b"[",
    b"x*",
)
OPEN_PATTERNS = (b"", b".*")


@dataclass(frozen=True)
class World:
    """What the arguments are chosen from, and the RPCs that come more often than the rest."""

    names: tuple[bytes, ...]
    ids: tuple[int, ...]
    addresses: tuple[str, ...]
    uuids: tuple[UUID, ...]
    patterns: tuple[bytes, ...]
    most_addresses: int
    partitions: tuple[int, ...] = (0, 0, 1, 2, 255)
    more: tuple[str, ...] = ("CreateEntryN", "CreateEntryN", "ReplaceEntryN", "GetEntryByNameU")


def uuids(count: int) -> tuple[UUID, ...]:
    """That many."""
    return tuple(UUID(int=number << 64 | 0xABCDEF) for number in range(1, count + 1))


CROWDED = World(
    names=(b"a", b"b", b"a.b", b"vol-1", b"vol_2", b"long." + b"x" * 53),
    ids=tuple(range(1, 16)),
    addresses=tuple(f"10.0.{high}.{low}" for high in (0, 200) for low in range(1, 5)),
    uuids=uuids(4),
    patterns=PATTERNS,
    most_addresses=3,
)
"""So little of everything that RPCs meet all the time."""

WIDE = World(
    names=(*(b"v%d" % number for number in range(1200)), *(bytes((letter,)) * 64 for letter in b"abc")),
    ids=(*range(1, 4000), 0x20000000, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFE),
    addresses=tuple(f"10.{high}.0.{low}" for high in (1, 200) for low in range(1, 101)),
    uuids=uuids(80),
    patterns=OPEN_PATTERNS,
    most_addresses=17,
    partitions=tuple(range(256)),
    more=("CreateEntryN",) * 30 + ("CreateEntry",) * 5 + ("RegisterAddrs",) * 4 + ("GetAddrsU",) * 4,
)
"""Pages of entries, more servers than a block of the stock database holds, more addresses than a server can have, names
and ids at their limits. Not 0x80000000, by which a stock server on a common machine reads outside its table.
"""


class Generator:
    """Random RPCs.

    Left out is what a stock server answers from a database it has damaged: read-write ids and changed ids of zero,
    addresses that are no addresses, the nil UUID, and flag words that mean a free block. So are names that with the
    suffix of a clone do not fit its buffer: one such entry makes it refuse every listing by pattern.
    """

    def __init__(self, random_: random.Random, world: World) -> None:
        self._random = random_
        self._world = world

    def next(self) -> tuple[str, tuple[Any, ...]]:
        """The name and arguments of an RPC."""
        names = [name for name in dir(self) if name[0].isupper()]
        name = self._random.choice([*names, *self._world.more])
        arguments: tuple[Any, ...] = getattr(self, name)()
        return name, arguments

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _name(self) -> bytes:
        return bytes(self._one(*self._world.names)) if self._random.random() < 0.85 else bytes(self._one(*ODD_NAMES))

    def _id(self) -> int:
        if self._random.random() < 0.97:
            return int(self._one(*self._world.ids))
        return int(self._one(0x20000003, 0xFFFFFFFF))

    def _id_or_none(self) -> int:
        return int(self._one(0, self._id()))

    def _kind(self) -> int:
        return int(self._one(-1, -1, 0, 0, 1, 2, 3, -2))

    def _release(self) -> int:
        return int(self._one(0, 0, 7, 7, 1, 2, 4, 8, 16))

    def _site(self) -> tuple[str, int, int]:
        partition = self._one(*self._world.partitions) if self._random.random() < 0.97 else self._one(-1, 256)
        flags = self._one(4, 4, 2, 2, 1, 0x20, 0) if self._random.random() < 0.97 else self._one(-1, 0x80, 0x81)
        return self._one(*self._world.addresses), partition, flags

    def _entry(self, make: Callable[..., Any], limit: int) -> Any:
        count = self._one(1, 1, 2, 3, limit)
        made = make(
            self._name(),
            (self._id(), self._id_or_none(), self._id_or_none()),
            [self._site() for _ in range(count)],
            self._one(0x1000, 0x3000, 0x5000, 0x7000, 0x2000, 0, 0x1020, 2 if self._random.random() < 0.2 else 0x4000),
            cloneId=self._one(0, 7),
        )
        return replace(made, nServers=self._one(0, -1, limit + 1)) if self._random.random() < 0.02 else made

    def CreateEntry(self) -> tuple[Any, ...]:
        return (self._entry(old_entry, 8),)

    def CreateEntryN(self) -> tuple[Any, ...]:
        return (self._entry(entry, 13),)

    def DeleteEntry(self) -> tuple[Any, ...]:
        return self._id(), self._kind()

    def GetEntryByID(self) -> tuple[Any, ...]:
        return self._id(), self._kind()

    GetEntryByIDN = GetEntryByID

    def GetEntryByNameO(self) -> tuple[Any, ...]:
        return (self._name() + self._one(b"", b"", b".backup", b".readonly"),)

    GetEntryByNameN = GetEntryByNameO
    GetEntryByNameU = GetEntryByNameO

    def GetNewVolumeId(self) -> tuple[Any, ...]:
        return (self._one(0, 1, 1, 3, 0x80000000),)

    def ReplaceEntry(self) -> tuple[Any, ...]:
        new = self._entry(old_entry, 8)
        return self._one(new.volumeId[0], self._id()), self._kind(), new, self._release()

    def ReplaceEntryN(self) -> tuple[Any, ...]:
        new = self._entry(entry, 13)
        return self._one(new.volumeId[0], self._id()), self._kind(), new, self._release()

    def _change(self) -> VldbUpdateEntry:
        count = self._one(1, 1, 2, 3, 0, 9)
        sites = [(self._site(), self._site()) for _ in range(min(count, 8))]
        mask = 0
        for bit in (0x1, 0x4, 0x8, 0x10, 0x20, 0x80, 0x100, 0x200):
            mask |= bit if self._random.random() < 0.2 else 0
        return VldbUpdateEntry(
            Mask=mask,
            name=self._name(),
            spares3=self._id() & 0x7FFFFFFF,
            flags=self._one(0x1000, 0x3000, 0x7000),
            ReadOnlyId=self._id(),
            BackupId=self._id(),
            cloneId=self._one(0, 9),
            nModifiedRepsites=count,
            RepsitesMask=padded([self._one(0x100, 0x200, 0x400, 0x800, 0x1000, 0x300) for _ in sites], 8),
            RepsitesTargetServer=padded([ip(old[0]) for old, _ in sites], 8),
            RepsitesTargetPart=padded([old[1] for old, _ in sites], 8),
            RepsitesNewServer=padded([ip(new[0]) for _, new in sites], 8),
            RepsitesNewPart=padded([new[1] for _, new in sites], 8),
            RepsitesNewFlags=padded([new[2] for _, new in sites], 8),
        )

    def UpdateEntry(self) -> tuple[Any, ...]:
        return self._id(), self._kind(), self._change(), self._release()

    def UpdateEntryByName(self) -> tuple[Any, ...]:
        return self._name(), self._change(), self._release()

    def SetLock(self) -> tuple[Any, ...]:
        return self._id(), self._kind(), self._one(0x10, 0x20, 0x20, 0x40, 0x80, 0x100, 0, 0x30)

    def ReleaseLock(self) -> tuple[Any, ...]:
        return self._id(), self._kind(), self._release()

    def _attributes(self) -> VldbListByAttributes:
        return VldbListByAttributes(
            Mask=self._one(0, 1, 1, 2, 3, 3, 8, 9, 0x10, 0x11, 0x13, 0x12),
            server=ip(self._one(*self._world.addresses, "10.9.9.9")),
            partition=self._one(0, 1, 2, 255, -1, 256),
            volumeid=self._id(),
            flag=self._one(0x1000, 0x2000, 0x10, 0x1F0, 0),
        )

    def ListAttributes(self) -> tuple[Any, ...]:
        return (self._attributes(),)

    ListAttributesN = ListAttributes
    LinkedList = ListAttributes
    LinkedListN = ListAttributes

    def ListAttributesN2(self) -> tuple[Any, ...]:
        return self._attributes(), self._one(*self._world.patterns), self._one(0, 0, 0, 1, -1)

    def GetAddrs(self) -> tuple[Any, ...]:
        return 0, 0

    def GetAddrsU(self) -> tuple[Any, ...]:
        wanted = ListAddrByAttributes(
            Mask=self._one(1, 1, 2, 2, 4, 4, 0, 3, 7, 8),
            ipaddr=uip(self._one(*self._world.addresses)),
            index=self._one(0, 1, 2, 3, 4, self._random.randrange(1, 90), 254, 255, -1),
            uuid=self._one(*self._world.uuids),
        )
        return (wanted,)

    def RegisterAddrs(self) -> tuple[Any, ...]:
        count = self._one(0, 1, 1, 1, 2, 2, self._world.most_addresses)
        addresses = (*self._world.addresses, "0.0.0.0")
        return self._one(*self._world.uuids), 0, [uip(self._one(*addresses)) for _ in range(count)]

    def ChangeAddr(self) -> tuple[Any, ...]:
        new = self._one(*self._world.addresses, *self._world.addresses, "255.1.2.3")
        return self._one(uip(self._one(*self._world.addresses)), 0xFFFFFFFF), uip(new)

    def ProbeServer(self) -> tuple[Any, ...]:
        return ()
