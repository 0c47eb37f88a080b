"""The same random RPCs against a stock vlserver and ours: equal answers, equal refusals, equal databases at the end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from afs.errors import describe
from afs.rpc.vl import NMAXNSERVERS, VL, VLADDR_INDEX, ListAddrByAttributes, VldbListByAttributes, nvldb_list, vldb_list
from afs.users import Authority, UserList
from rx.errors import RxError
from rx.service import Service, rpc
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node, NodeFailed, wait_for
from tests.interop.stock import add_node
from tests.support.budget import budget
from tests.vlserver.generator import CROWDED, WIDE, Generator, World, uuids
from tests.vlserver.support import entry, uip
from tests.vlserver.test_privileges import ARGUMENTS
from vlserver.procedures.base import FIRST_OPCODE
from vlserver.server import VLServer
from vlserver.store import open_store

GET_ADDRS = 515

SHOWN = 200
"""Characters of an answer that are shown before the first that differs, and twice as many behind it."""

MANY = 270
"""More servers than a database has slots for."""

SERVER_SLOTS_ASKED = range(1, 255)
"""Indices by which GetAddrsU finds a slot."""


class Strangers(Service, service_id=52):
    """RPCs that other cells' servers have in the service: numbers reserved for forms that never came, and YFS's, with
    which kAFS finds out what a server is.
    """

    @rpc(525)
    async def CreateEntryU(self) -> None:
        """Reserved."""

    @rpc(526)
    async def GetEntryByIDU(self) -> None:
        """Reserved."""

    @rpc(528)
    async def ReplaceEntryU(self) -> None:
        """Reserved."""

    @rpc(529)
    async def ListEntryU(self) -> None:
        """Reserved."""

    @rpc(530)
    async def ListAttributesU(self) -> None:
        """Reserved."""

    @rpc(531)
    async def LinkedListU(self) -> None:
        """Reserved."""

    @rpc(535)
    async def Behind(self) -> None:
        """The number behind the last."""

    @rpc(64002)
    async def GetEndpoints(self) -> None:
        """YVL."""

    @rpc(64014)
    async def GetCellName(self) -> None:
        """YVL."""

    @rpc(65537)
    async def GetCapabilities(self) -> None:
        """Asked by kAFS as its probe."""


@dataclass(frozen=True)
class Refused:
    """An abort, to compare."""

    code: int

    def __str__(self) -> str:
        return describe(self.code)


async def outcome(answer: Awaitable[Any]) -> Any:
    """The result, or the refusal."""
    try:
        return flat(await answer)
    except RxError as refusal:
        return Refused(refusal.code)


def flat(answer: Any) -> Any:
    """An answer to compare.

    A linked list is a list: of a long one Python neither compares nor prints the nodes. Where to go on in a listing is
    whether to go on: the index is a place in the server's file.
    """
    match answer:
        case (count, vldb_list(node) | nvldb_list(node)):
            entries = []
            while node is not None:
                entries.append(node.VldbEntry)
                node = node.next_vldb
            return count, entries
        case (int(), tuple(), int()):
            count, entries, following = answer
            return count, entries, following >= 0
    return answer


def different(given: Any, expected: Any) -> str:
    """Ours and stock's answer from where they differ."""
    ours, stock = str(given), str(expected)
    same = next((at for at, (one, other) in enumerate(zip(ours, stock, strict=False)) if one != other), 0)
    start = max(0, same - SHOWN)
    return f"...{ours[start:][: 3 * SHOWN]}, stock ...{stock[start:][: 3 * SHOWN]}"


def by_index(index: int) -> ListAddrByAttributes:
    """How GetAddrsU is asked for a slot."""
    return ListAddrByAttributes(Mask=VLADDR_INDEX, index=index)


def swapped(word: int) -> int:
    """A word of the header as a stock server on a little-endian machine sends it."""
    return int.from_bytes((word & 0xFFFFFFFF).to_bytes(4, "little"), "big")


class DifferentialTest(InteropTest):
    """A stock vlserver in a node, ours in this process."""

    timeout = 3000.0
    """Seconds, of the full count."""

    def stock_vlserver(self, *options: str) -> Node:
        """The node it serves in."""
        node = add_node(self.new_network(), "fs1", key=os.urandom(32))
        daemon = node.start("vlserver", ["/usr/lib/openafs/vlserver", *options])

        def writable() -> bool:
            if not daemon.running():
                raise NodeFailed(f"vlserver ended: {daemon.tail()}")
            return "Recovery state 1f" in node.run_now("udebug", node.address, "7003", seconds=5).out

        wait_for("the stock vlserver to have a quorum", writable, seconds=60)
        return node

    def our_vlserver(self, noauth: bool, restricted: bool = False, url: str = "memory:") -> tuple[str, int]:
        """Where it serves."""
        any_reactor: Any = reactor
        authority = Authority(UserList(), noauth=noauth, own=[])
        port = RxPort(any_reactor, "127.0.0.1")
        store = open_store(url, any_reactor, time.time)
        server = VLServer(store, [port], authority, time.time, restricted)
        server.startService()
        self.addCleanup(server.stopService)
        return port.address

    def client(self, address: tuple[str, int], node: Node | None = None, service: type[Service] = VL) -> Any:
        """Calls to one of the two, by a port that the test stops at its end."""
        any_reactor: Any = reactor
        port = RxPort(any_reactor, node.address if node else "127.0.0.1")
        if node is None:
            port.start()
        else:
            with node.inside():
                port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        return service.client(port.connect(address, service.service_id, dead_seconds=30))

    async def compared(self, world: World, count: int, seed: int, url: str = "memory:") -> tuple[VL, VL]:
        """Clients of stock and ours, between which so many RPCs have made no difference."""
        node = self.stock_vlserver("-noauth")
        stock = self.client((node.address, 7003), node)
        ours = self.client(self.our_vlserver(noauth=True, url=url))
        self.assertEqual(await ours.GetAddrs(0, 0), await stock.GetAddrs(0, 0))
        generator = Generator(random.Random(seed), world)
        for step in range(count):
            name, arguments = generator.next()
            expected = await outcome(getattr(stock, name)(*arguments))
            given = await outcome(getattr(ours, name)(*arguments))
            if given != expected:
                self.fail(f"step {step}: {name}{arguments}: {different(given, expected)}")
        self.assertEqual(await self.walked(ours), await self.walked(stock))
        return stock, ours

    async def test_crowded(self) -> None:
        """Thousands of random RPCs are answered alike, and at the end the databases list alike."""
        allowance = budget("vlserver.differential", full=10_000)
        await self.compared(CROWDED, allowance.count, allowance.seed)

    async def test_wide(self) -> None:
        """So are they in a database of many entries and servers, with names, ids and addresses at their limits. Ours
        is on SQLite.
        """
        allowance = budget("vlserver.differential.wide", full=10_000, least=400)
        await self.compared(WIDE, allowance.count, allowance.seed, f"sqlite:///{self.mktemp()}")

    def test_every_opcode(self) -> None:
        """The generator knows every RPC of the service but those that `walked` and `test_counters` call."""
        generated = {name for name in dir(Generator) if name[0].isupper()}
        known = {each.name for each in VL.operations.values()}
        self.assertEqual(known - generated, {"ListEntry", "ListEntryN", "GetStats"})

    async def walked(self, vl: VL) -> list[Any]:
        """Every entry as ListEntry and ListAttributesN2 find them, and every server. Indices are a server's own."""
        found: list[Any] = [await vl.GetAddrs(0, 0)]
        for walk in (vl.ListEntry, vl.ListEntryN):
            index = 0
            while True:
                _, index, listed = await walk(index)
                if index == 0:
                    break
                found.append(listed)
        following = 0
        while following >= 0:
            count, entries, following = await vl.ListAttributesN2(VldbListByAttributes(), b"", following)
            found += [count, *entries]
        found += [await outcome(walk(7)) for walk in (vl.ListEntry, vl.ListEntryN)]
        found += [await outcome(vl.GetAddrsU(by_index(index))) for index in SERVER_SLOTS_ASKED]
        return found

    async def test_counters(self) -> None:
        """GetStats counts as a stock server does: calls, and transactions that were given up."""
        allowance = budget("vlserver.differential.counters", full=1000, least=200)
        stock, ours = await self.compared(CROWDED, allowance.count, allowance.seed)
        (theirs, their_header), (own, own_header) = await stock.GetStats(), await ours.GetStats()
        self.assertEqual(own.requests, theirs.requests)
        first = GET_ADDRS - FIRST_OPCODE  # given up once more by stock, which found a database without header
        self.assertEqual(own.aborts[first] + 1, theirs.aborts[first])
        others = [(*each[:first], *each[first + 1 :]) for each in (own.aborts, theirs.aborts)]
        self.assertEqual(*others)
        for name in ("vldbversion", "headersize", "MaxVolumeId"):
            self.assertEqual(getattr(own_header, name), swapped(getattr(their_header, name)), name)

    async def test_full(self) -> None:
        """Servers fill every slot and every record, entries every site; one more of any is refused alike."""
        for order in (("register", "create"), ("create", "register")):
            node = self.stock_vlserver("-noauth")
            stock, ours = self.client((node.address, 7003), node), self.client(self.our_vlserver(noauth=True))
            self.assertEqual(await self.filled(ours, order), await self.filled(stock, order))

    async def filled(self, vl: VL, order: Sequence[str]) -> list[Any]:
        """What a vlserver says to more servers and sites than it has room for."""
        said = []
        for kind in order:
            for number in range(MANY):
                if kind == "register":
                    address = f"10.9.{number // 200}.{number % 200}"
                    said.append(await outcome(vl.RegisterAddrs(uuids(MANY)[number], 0, (uip(address),))))
                else:
                    named = [(f"10.{number // 200}.{number % 200}.{site}", 255, 4) for site in range(NMAXNSERVERS)]
                    said.append(await outcome(vl.CreateEntryN(entry(b"v%d" % number, (number + 1, 0, 0), named))))
        return [*said, await self.walked(vl)]

    async def test_strangers(self) -> None:
        """Opcodes of others are refused alike, and so is their service."""
        node = self.stock_vlserver("-noauth")
        address = self.our_vlserver(noauth=True)
        for name in (each.name for each in Strangers.operations.values()):
            stock, ours = self.client((node.address, 7003), node, Strangers), self.client(address, None, Strangers)
            self.assertEqual(await outcome(getattr(ours, name)()), await outcome(getattr(stock, name)()), name)

    async def test_privileges(self) -> None:
        """To those who have proved nothing each RPC is refused alike, with restricted queries and without."""
        for options, restricted in (((), False), (("-restricted_query", "admin"), True)):
            node = self.stock_vlserver(*options)
            stock, ours = self.client((node.address, 7003), node), self.client(self.our_vlserver(False, restricted))
            for name in (each.name for each in VL.operations.values()):
                arguments = ARGUMENTS[name]
                answers = [await outcome(getattr(vl, name)(*arguments)) for vl in (stock, ours)]
                refused = [answer if isinstance(answer, Refused) else None for answer in answers]
                self.assertEqual(refused[1], refused[0], f"{name} {options}")
