"""A full disk that has room again, one that cannot be written, files that are no VLDB: under the command."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from afs.errors import VLError
from afs.rpc.vl import VL, VldbListByAttributes
from rx.errors import Abort
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Daemon, Node, wait_for
from tests.interop.ours import start_plugin
from tests.interop.stock import add_node
from tests.vlserver.support import entry

DISK = "/var/cache/openafs"
"""Where the small disk is in the node."""
DISK_SIZE = "3m"
MOST = 20_000
"""Creations that cannot fit on it."""


class NoRoomTest(InteropTest):
    """`twistd afs-vlserver` with its database on a small tmpfs of its own."""

    def start(self, node: Node, database: str = f"{DISK}/vldb.sqlite") -> Daemon:
        """Start it and wait until it serves or has ended."""
        options = ["--noauth", "--address", node.address, "--database", f"sqlite:///{database}"]
        daemon = start_plugin(node, "afs-vlserver", *options)
        wait_for("it to serve or end", lambda: 7003 in node.udp_ports() or not daemon.running())
        return daemon

    def node(self) -> Node:
        """A node with a small disk."""
        node = add_node(self.new_network(), "fs1")
        node.run_now("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", DISK).check()
        return node

    def client(self, node: Node) -> VL:
        """Calls from the node."""
        port = RxPort(reactor, node.address)
        with node.inside():
            port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop()))
        return VL.client(port.connect((node.address, 7003), VL.service_id, dead_seconds=30))

    async def fill(self, vl: VL, first: int) -> int:
        """Create entries until one is refused with VL_IO; the number of that one."""
        number = first
        try:
            while number < MOST:
                await vl.CreateEntryN(entry(b"v%d" % number, (number, 0, 0)))
                number += 1
        except Abort as refusal:
            self.assertEqual(refusal.code, VLError.VL_IO)
        self.assertLess(number, MOST, "the disk did not fill")
        return number

    async def listed(self, vl: VL) -> list[int]:
        """The ids of all entries."""
        ids: list[int] = []
        following = 0
        while following != -1:
            _, found, following = await vl.ListAttributesN2(VldbListByAttributes(), b"", following)
            ids += [each.volumeId[0] for each in found]
        return ids

    async def test_full(self) -> None:
        """Writes are refused with VL_IO and reads answered; with room again writes go on; nothing answered is lost."""
        node = self.node()
        node.run_now("sh", "-c", f"head -c 1000000 /dev/zero >{DISK}/filler").check()
        daemon = self.start(node)
        vl = self.client(node)
        refused = await self.fill(vl, 1)
        self.assertGreater(refused, 10)
        self.assertEqual(await self.listed(vl), list(range(1, refused)))
        with self.assertRaises(Abort):
            await vl.GetEntryByIDN(refused, 0)
        node.path(f"{DISK}/filler").unlink()
        await vl.CreateEntryN(entry(b"v%d" % refused, (refused, 0, 0)))
        again = await self.fill(vl, refused + 1)
        self.assertGreater(again, refused + 10)
        self.assertEqual(await self.listed(vl), list(range(1, again)))
        self.assertNotIn("Traceback", daemon.tail(100_000))
        self.assertIn("full", daemon.tail(100_000))
        daemon.stop()
        self.start(node)
        self.assertEqual(await self.listed(self.client(node)), list(range(1, again)))

    def test_refused(self) -> None:
        """What cannot be opened ends the program with status 1 and one line that names the file."""
        node = self.node()
        self.start(node).stop()
        whole = node.path(f"{DISK}/vldb.sqlite").read_bytes()
        theirs, newer, torn = (f"{DISK}/{name}.sqlite" for name in ("theirs", "newer", "torn"))
        node.path(theirs).write_bytes(self.changed(b"", "CREATE TABLE theirs (a)"))
        node.path(newer).write_bytes(self.changed(whole, "PRAGMA user_version = 1000"))
        node.path(torn).write_bytes(whole[: len(whole) // 2])
        for database, words in ((theirs, "not a VLDB"), (newer, "newer program"), (torn, "cut short|malformed")):
            self.ends(node, database, words)
        node.run_now("mount", "-o", "remount,ro", DISK).check()
        self.ends(node, f"{DISK}/vldb.sqlite", "[Rr]ead-only")
        self.ends(node, f"{DISK}/none/vldb.sqlite", "[Rr]ead-only")

    def changed(self, file: bytes, statement: str) -> bytes:
        """A database file after a statement."""
        path = Path(self.mktemp())
        path.write_bytes(file)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(statement)
        connection.close()
        return path.read_bytes()

    def ends(self, node: Node, database: str, words: str) -> None:
        """The program does not start on this file, and says why."""
        log = node.home / "afs-vlserver.log"
        before = log.stat().st_size
        daemon = self.start(node, database)
        wait_for("it to end", lambda: not daemon.running(), 10)
        self.assertEqual(daemon.process.poll(), 1)
        text = log.read_text()[before:]
        complaints = [line for line in text.splitlines() if line.startswith("afs-vlserver:")]
        self.assertEqual(len(complaints), 1, text)
        self.assertRegex(complaints[0], words)
        self.assertIn(str(Path(database)), complaints[0])
        self.assertNotIn("Traceback", text)
