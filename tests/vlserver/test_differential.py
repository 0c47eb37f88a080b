"""The same random RPCs against a stock vlserver and ours: equal answers, equal refusals, equal databases at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from afs.errors import describe
from afs.rpc.vl import VL, ListAddrByAttributes, VldbListByAttributes, VldbUpdateEntry
from afs.users import Authority, UserList
from rx.errors import Abort
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node, NodeFailed, wait_for
from tests.interop.stock import add_node
from tests.support.budget import budget
from tests.vlserver.support import entry, ip, old_entry, padded, uip
from vlserver.server import VLServer
from vlserver.store.memory import MemoryStore

NAMES = (b"a", b"b", b"a.b", b"vol-1", b"vol_2", b"long." + b"x" * 53)
ODD_NAMES = (b"a.backup", b"b.readonly", b"vol-1.backup.readonly", b"3", b"0", b"", b"a/b", b"x" * 65, b"z", b".backup")
ADDRESSES = tuple(f"10.0.{high}.{low}" for high in (0, 200) for low in range(1, 5))
UUIDS = tuple(UUID(int=number << 64 | 0xABCDEF) for number in range(1, 5))
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

Argument = Callable[[random.Random], Any]


class Generator:
    """Random RPCs over so few names, ids, servers and partitions that they meet all the time.

    Left out is what a stock server answers from a database it has damaged: read-write ids and changed ids of zero,
    addresses that are no addresses, the nil UUID, and flag words that mean a free block. So are names that with the
    suffix of a clone do not fit its buffer: one such entry makes it refuse every listing by pattern.
    """

    def __init__(self, random_: random.Random) -> None:
        self._random = random_

    def next(self) -> tuple[str, tuple[Any, ...]]:
        """The name and arguments of an RPC."""
        names = [name for name in dir(self) if name[0].isupper()]
        name = self._random.choice([*names, "CreateEntryN", "CreateEntryN", "ReplaceEntryN", "GetEntryByNameU"])
        arguments: tuple[Any, ...] = getattr(self, name)()
        return name, arguments

    def _one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _name(self) -> bytes:
        return bytes(self._one(*NAMES)) if self._random.random() < 0.85 else bytes(self._one(*ODD_NAMES))

    def _id(self) -> int:
        if self._random.random() < 0.97:
            return self._random.randrange(1, 16)
        return int(self._one(0x20000003, 0xFFFFFFFF))

    def _id_or_none(self) -> int:
        return int(self._one(0, self._id()))

    def _kind(self) -> int:
        return int(self._one(-1, -1, 0, 0, 1, 2, 3, -2))

    def _release(self) -> int:
        return int(self._one(0, 0, 7, 7, 1, 2, 4, 8, 16))

    def _site(self) -> tuple[str, int, int]:
        partition = self._one(0, 0, 1, 2, 255) if self._random.random() < 0.97 else self._one(-1, 256)
        flags = self._one(4, 4, 2, 2, 1, 0x20, 0) if self._random.random() < 0.97 else self._one(-1, 0x80, 0x81)
        return self._one(*ADDRESSES), partition, flags

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
            server=ip(self._one(*ADDRESSES, "10.9.9.9")),
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
        return self._attributes(), self._one(*PATTERNS), self._one(0, 0, 0, 1, -1)

    def GetAddrs(self) -> tuple[Any, ...]:
        return 0, 0

    def GetAddrsU(self) -> tuple[Any, ...]:
        wanted = ListAddrByAttributes(
            Mask=self._one(1, 1, 2, 2, 4, 4, 0, 3, 7, 8),
            ipaddr=uip(self._one(*ADDRESSES)),
            index=self._one(0, 1, 2, 3, 4, 254, 255, -1),
            uuid=self._one(*UUIDS),
        )
        return (wanted,)

    def RegisterAddrs(self) -> tuple[Any, ...]:
        count = self._one(0, 1, 1, 1, 2, 2, 3)
        return self._one(*UUIDS), 0, [uip(self._one(*ADDRESSES, "0.0.0.0")) for _ in range(count)]

    def ChangeAddr(self) -> tuple[Any, ...]:
        new = self._one(*ADDRESSES, *ADDRESSES, "255.1.2.3")
        return self._one(uip(self._one(*ADDRESSES)), 0xFFFFFFFF), uip(new)

    def ProbeServer(self) -> tuple[Any, ...]:
        return ()


@dataclass(frozen=True)
class Refused:
    """An abort, to compare."""

    code: int

    def __str__(self) -> str:
        return describe(self.code)


async def outcome(answer: Awaitable[Any]) -> Any:
    """The result, or the refusal."""
    try:
        return await answer
    except Abort as refusal:
        return Refused(refusal.code)


class DifferentialTest(InteropTest):
    """A stock vlserver -noauth in a node, ours in this process."""

    def stock_vlserver(self) -> Node:
        """The node it serves in."""
        node = add_node(self.new_network(), "fs1")
        daemon = node.start("vlserver", ["/usr/lib/openafs/vlserver", "-noauth"])

        def writable() -> bool:
            if not daemon.running():
                raise NodeFailed(f"vlserver ended: {daemon.tail()}")
            return "Recovery state 1f" in node.run_now("udebug", node.address, "7003", seconds=5).out

        wait_for("the stock vlserver to have a quorum", writable, seconds=60)
        return node

    def client(self, address: tuple[str, int], node: Node | None = None) -> VL:
        """Calls to one of the two, by a port that the test stops at its end."""
        any_reactor: Any = reactor
        port = RxPort(any_reactor, node.address if node else "127.0.0.1")
        if node is None:
            port.start()
        else:
            with node.inside():
                port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        return VL.client(port.connect(address, VL.service_id, dead_seconds=30))

    async def test_same_answers(self) -> None:
        """Thousands of random RPCs are answered alike, and at the end the databases list alike."""
        node = self.stock_vlserver()
        stock = self.client((node.address, 7003), node)
        any_reactor: Any = reactor
        authority = Authority(UserList(), noauth=True, own=[])
        server = VLServer(MemoryStore(time.time), [RxPort(any_reactor, "127.0.0.1")], authority, time.time)
        server.startService()
        self.addCleanup(server.stopService)
        ours = self.client(server.ports[0].address)
        allowance = budget("vlserver.differential", full=10_000)
        generator = Generator(random.Random(allowance.seed))
        for step in range(allowance.count):
            name, arguments = generator.next()
            expected = await outcome(getattr(stock, name)(*arguments))
            given = await outcome(getattr(ours, name)(*arguments))
            self.assertEqual(given, expected, f"step {step}: {name}{arguments}: {given}, stock {expected}")
        self.assertEqual(await self.walked(ours), await self.walked(stock))

    async def walked(self, vl: VL) -> list[Any]:
        """Every entry as ListEntryN finds them, and what the lists say."""
        entries, index = [], 0
        while True:
            _, index, found = await vl.ListEntryN(index)
            if index == 0:
                break
            entries.append(found)
        return [entries, await vl.ListAttributesN2(VldbListByAttributes(), b"", 0), await vl.GetAddrs(0, 0)]
