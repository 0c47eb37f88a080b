"""Stock database files: what a stock vlserver wrote comes in, and what goes out a stock vlserver serves."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from afs.rpc.vl import VL, nvldbentry
from afs.users import Authority, UserList
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import CHECKOUT, Node, NodeFailed
from tests.interop.stock import add_node, address_of, wait_for_quorum
from tests.interop.vldb_cells import VldbCell, our_vlserver, stock_vlserver
from tests.support.budget import Budget, budget
from tests.vlserver.generator import CROWDED, WIDE, Generator, World
from tests.vlserver.test_differential import by_index, outcome
from vlserver.server import VLServer
from vlserver.store.sqlite import SqliteStore

DATABASE = "/var/lib/openafs/db/vldb.DB0"
CHECK = "/usr/sbin/vldb_check"


class StockFileTest(InteropTest):
    """A stock vlserver -noauth in a node, its file through ours, and a second stock vlserver on what comes out."""

    skip = InteropTest.skip or (None if Path(CHECK).exists() else f"no {CHECK} (Debian: openafs-dbserver)")

    def stock(self, database: Path | None = None) -> tuple[Node, Any]:
        """A node with a running stock vlserver, which finds this database."""
        node = add_node(self.new_network(), "fs1")
        if database is not None:
            shutil.copy(database, node.path(DATABASE))
        daemon = node.start("vlserver", ["/usr/lib/openafs/vlserver", "-noauth"])
        wait_for_quorum(node, daemon, 7003)
        return node, daemon

    def client(self, address: tuple[str, int], node: Node | None = None) -> Any:
        """Calls to a vlserver, by a port that the test stops at its end."""
        any_reactor: Any = reactor
        port = RxPort(any_reactor, node.address if node else "127.0.0.1")
        if node is None:
            port.start()
        else:
            with node.inside():
                port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        return VL.client(port.connect(address, VL.service_id, dead_seconds=30))

    async def answers(self, vl: Any) -> list[Any]:
        """Everything a vlserver says of its entries and servers, in its order, and what it finds by name and id."""
        entries: list[nvldbentry] = []
        index = 0
        while True:
            _, index, entry = await vl.ListEntryN(index)
            if index == 0:
                break
            entries.append(entry)
        found = [await outcome(vl.GetEntryByNameU(entry.name)) for entry in entries if entry.name]
        for kind in (-1, 0, 1, 2):
            found += [await outcome(vl.GetEntryByIDN(entry.volumeId[max(kind, 0)], kind)) for entry in entries]
        slots = [await outcome(vl.GetAddrsU(by_index(index))) for index in range(1, 255)]
        return [entries, found, await outcome(vl.GetAddrs(0, 0)), slots, await outcome(vl.GetNewVolumeId(0))]

    async def test_crowded(self) -> None:
        """What thousands of random RPCs made of a stock database is served alike by all three, and changed alike."""
        await self.through_ours(CROWDED, budget("vlserver.tools.crowded", full=10_000, least=1000))

    async def test_wide(self) -> None:
        """So is a database of many servers, in several extension blocks, with names and ids at their limits."""
        await self.through_ours(WIDE, budget("vlserver.tools.wide", full=10_000, least=800))

    async def through_ours(self, world: World, allowance: Budget) -> None:
        """Stock's file in, out again, and to another stock server."""
        node, daemon = self.stock()
        stock = self.client((node.address, 7003), node)
        generator = Generator(random.Random(allowance.seed), world)
        for _ in range(allowance.count):
            name, arguments = generator.next()
            await outcome(getattr(stock, name)(*arguments))
        expected = await self.answers(stock)
        self.assertTrue(expected[0])
        daemon.stop(signal.SIGTERM)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        path = directory / "vldb.sqlite"
        shutil.copy(node.path(DATABASE), directory / "vldb.DB0")
        await vldb(path, "import", str(directory / "vldb.DB0"))
        await vldb(path, "check")
        await vldb(path, "export", str(directory / "out.DB0"))
        self.assertEqual(self.complaints(directory / "out.DB0"), self.complaints(directory / "vldb.DB0"))
        ours = self.ours(path)
        self.assertEqual(await self.answers(ours), expected)
        other, _ = self.stock(directory / "out.DB0")
        again = self.client((other.address, 7003), other)
        self.assertEqual(await self.answers(again), expected)
        for _ in range(allowance.count // 4):  # entries, records and ids are given from where they were left
            name, arguments = generator.next()
            given, wanted = [await outcome(getattr(vl, name)(*arguments)) for vl in (ours, again)]
            self.assertEqual(given, wanted, f"{name}{arguments}")
        self.assertEqual(await self.answers(ours), await self.answers(again))

    def ours(self, path: Path) -> Any:
        """Our vlserver on this database."""
        any_reactor: Any = reactor
        store = SqliteStore(str(path), any_reactor, time.time)
        authority = Authority(UserList(), noauth=True, own=[])
        server = VLServer(store, [RxPort(any_reactor, "127.0.0.1")], authority, time.time)
        server.startService()
        self.addCleanup(server.stopService)
        return self.client(server.ports[0].address)

    def complaints(self, path: Path) -> list[str]:
        """What vldb_check finds wrong, without the places: entries may lie elsewhere."""
        node = add_node(self.new_network(), "fs1")
        shutil.copy(path, node.path("/var/log/openafs/check.DB0"))
        ran = node.run_now(CHECK, "-database", "/var/log/openafs/check.DB0")
        return sorted(re.sub(r"address \d+ \(offset 0x[0-9a-f]+\)", "", line) for line in ran.err.splitlines())


class AdministratorTest(InteropTest):
    """A cell made by stock vos, moved to our vlserver and back."""

    skip = StockFileTest.skip

    async def test_cell_moves(self) -> None:
        """vos listvldb and listaddrs print the same before, on ours, and back on stock; vldb_check finds nothing."""
        cell = VldbCell(self.new_network(), stock_vlserver)
        for number in range(6):
            cell.vos("create", address_of("fs1"), "a", f"v{number}").check()
        cell.vos("addsite", address_of("fs2"), "b", "v1").check()
        cell.vos("addsite", address_of("fs1"), "b", "v1").check()
        cell.vos("backup", "v2").check()
        cell.vos("remove", "-id", "v3").check()
        cell.vos("lock", "v4").check()
        before = self.printed(cell)
        cell.vlserver.stop(signal.SIGTERM)
        file, path = cell.node.path(DATABASE), Path(f"{cell.node.home}/vldb.sqlite")
        await vldb(path, "import", str(file))
        cell.vlserver = our_vlserver(cell.node)
        self.assertEqual(self.printed(cell), before)
        out = cell.node.home / "out.DB0"
        await vldb(path, "export", str(out))
        checked = cell.node.run_now(CHECK, "-database", str(out))
        self.assertEqual((checked.status, checked.err), (0, ""))
        cell.vlserver.stop(signal.SIGTERM)
        shutil.copy(out, file)
        cell.vlserver = stock_vlserver(cell.node)
        self.assertEqual(self.printed(cell), before)
        cell.vos("unlock", "v4").check()
        cell.vos("create", address_of("fs2"), "a", "v6").check()

    def printed(self, cell: VldbCell) -> list[str]:
        """What vos says."""
        words = (("listvldb",), ("listaddrs", "-printuuid"), *(("examine", f"v{number}") for number in (1, 2)))
        return [cell.vos(*each).check().out for each in words]


async def vldb(path: Path, *words: str) -> str:
    """The command on this database; it must succeed."""
    command = [sys.executable, "-m", "vlserver.tools", "--database", str(path), *words]
    ran: Any = await deferToThread(subprocess.run, command, capture_output=True, text=True, cwd=CHECKOUT)
    if ran.returncode:
        raise NodeFailed(f"vldb {words}: {ran.stdout}{ran.stderr}")
    return str(ran.stdout)
