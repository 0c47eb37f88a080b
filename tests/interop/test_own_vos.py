"""Our vos as a program: partitions of our servers, with the cell's key, and stock servers, which know none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.interop import kerberos
from tests.interop.case import InteropTest
from tests.interop.kerberos import Realm
from tests.interop.namespaces import Node, Result
from tests.interop.partition_cells import NUMBER, PATH, PartitionCell
from tests.interop.stock import add_node
from tests.interop.test_rxkad import OurAuthenticatedServers
from tests.interop.vldb_cells import VldbCell, our_vlserver, stock_vlserver

ATTEMPTS = 3
"""With the servers in random order, it asks the right one first each time in one run of eight."""

VOS = (sys.executable, "-m", "vos")


def own_vos(node: Node, *words: str) -> Result:
    """It, with the cell's key."""
    return node.run_now(*VOS, *words, "-localauth")


class OwnServersTests(InteropTest):
    """Two fileservers over one directory, a vlserver on a third node."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell = PartitionCell(self)
        await self.cell.start()

    async def vos(self, *words: str) -> str:
        """What it says, having done it."""
        done = await self.cell.database.run(*VOS, *words, "-localauth")
        self.assertEqual((done.status, done.err), (0, ""), done.out)
        return done.out

    async def test_a_life(self) -> None:
        """A partition is made, shared, mounted, moved there and back, salvaged, unmounted and removed."""
        self.cell.partition.joinpath("AlwaysAttach").touch()
        said = await self.vos("definepartition", "fs1", "d", "-path", PATH, "-create")
        self.assertRegex(said, rf"^Partition \S+ is defined as /vicepd on fs1\S* at {PATH}\n$")
        uuid = said.split()[1]
        await self.vos("definepartition", "fs2", uuid, "-path", PATH, "-number", str(NUMBER))
        self.assertIn("Mounted partition", await self.vos("mountpartition", "fs1", "d"))
        (await self.cell.vos("create", "fs1", "d", "shared")).check()
        self.assertRegex(await self.vos("movepartition", uuid, "fs2"), rf"^Moved partition {uuid} to fs2")
        examined = (await self.cell.vos("examine", "shared")).check().out
        self.assertIn("server fs2.txafs.test partition /vicepd RW Site", examined)
        self.assertIn("Moved partition", await self.vos("movepartition", "d", "fs1"))
        self.assertIn("Salvaged partition", await self.vos("salvagepartition", "fs1", "d"))
        self.assertRegex(await self.vos("listpartitions"), rf"{uuid}  fs1.txafs.test  /vicepd  (mounted|claimed) ")
        self.assertIn("Unmounted partition", await self.vos("umountpartition", "fs1", "d"))
        for name in ("fs1", "fs2"):
            self.assertIn("any more", await self.vos("removepartition", name, "d"))

    async def test_nobody_in_particular(self) -> None:
        """Without the key it is refused, and lists all the same."""
        words = ("umountpartition", "fs1", "a", "-noauth")
        refused = await self.cell.database.run(*VOS, *words)
        self.assertEqual(refused.status, 255)
        self.assertIn("Error in vos umountpartition command.\n", refused.err)
        listed = await self.cell.database.run(*VOS, "listpartitions")
        self.assertEqual(listed.err, "vos: Could not get afs tokens, running unauthenticated.\n")
        self.assertIn("Total: 2\n", listed.out)


class TicketTests(InteropTest):
    """Servers with a key from a KDC, and users with tickets."""

    skip = InteropTest.skip or kerberos.missing() or None

    async def test_tickets(self) -> None:
        """An administrator's ticket in the credential cache administers, also encrypted; a user's lists; and with one
        that is of no use here, or none, it runs unauthenticated and says so. Where the realm is known it is asked.
        """
        node = add_node(self.new_network(), "fs1")
        realm = Realm(node)
        realm.make_cell_key()
        for user in ("admin", "alice"):
            realm.make_user(user)
        servers = await deferToThread(OurAuthenticatedServers, node)
        (await deferToThread(servers.vos, "create", "fs1", "a", "seen.plainly")).check()

        async def vos(cache: Path, *words: str) -> Result:
            return await node.run("env", f"KRB5CCNAME=FILE:{cache}", *VOS, *words)

        admin, alice, nowhere = realm.cache("admin"), realm.cache("alice"), realm.home / "no.ccache"
        for cache in (admin, alice):
            self.assertEqual((await vos(cache, "examine", "seen.plainly")).check().err, "")
        refused = await vos(alice, "umountpartition", "fs1", "a")
        self.assertEqual((refused.status, refused.out), (255, ""))
        self.assertIn("permission denied", refused.err)
        for words in (("umountpartition", "fs1", "a"), ("mountpartition", "fs1", "a", "-encrypt")):
            self.assertEqual((await vos(admin, *words)).check().err, "")
        unauthenticated = "vos: Could not get afs tokens, running unauthenticated.\n"
        self.assertEqual((await vos(nowhere, "listpartitions")).check().err, unauthenticated)
        self.assertEqual((await vos(nowhere, "listpartitions", "-noauth")).check().err, "")
        fresh = realm.fresh_cache("admin")
        self.assertEqual((await vos(fresh, "listpartitions")).check().err, unauthenticated)
        found = [f"{name}={value}" for name, value in realm.variables().items()]
        ticket = ["env", f"KRB5CCNAME=FILE:{fresh}", *found, *VOS, "create", "fs1", "a", "seen.freshly"]
        self.assertEqual((await node.run(*ticket)).check().err, "")

    async def test_encrypted(self) -> None:
        """With -encrypt no name is seen on the wire."""
        node = add_node(self.new_network(), "fs1", key=os.urandom(32))
        servers = await deferToThread(OurAuthenticatedServers, node)
        (await deferToThread(servers.vos, "create", "fs1", "a", "seen.never", "-encrypt")).check()
        (await deferToThread(own_vos, node, "examine", "seen.never", "-encrypt")).check()
        self.assertNotIn(b"seen.never", servers.capture.read_bytes())
        (await deferToThread(own_vos, node, "examine", "seen.never")).check()
        self.assertIn(b"seen.never", servers.capture.read_bytes())


class StockServersTests(InteropTest):
    """Two stock fileservers, and a vlserver of either kind."""

    WORDS = (
        ("definepartition", "fs1", "b"),
        ("removepartition", "fs1", "b"),
        ("mountpartition", "fs1", "b"),
        ("umountpartition", "fs1", "b"),
        ("movepartition", "b", "fs2"),
        ("salvagepartition", "fs1", "b"),
    )

    def refuses(self, cell: VldbCell, reason: str) -> None:
        """Each says why it cannot do anything, and the cell is as before."""
        before = cell.vos("listvldb").check().out + cell.vos("listpart", "fs1").check().out
        for words in self.WORDS:
            refused = own_vos(cell.node, *words)
            self.assertEqual((refused.status, refused.out), (255, ""), words)
            self.assertRegex(refused.err, rf"^vos: {reason}; nothing was changed\n$", words)
        self.assertEqual(cell.vos("listvldb").check().out + cell.vos("listpart", "fs1").check().out, before)

    async def test_stock_vlserver(self) -> None:
        """A stock vlserver knows no partition objects; listpartitions says so too."""
        cell = VldbCell(self.new_network(), stock_vlserver)
        self.refuses(cell, r"the vlservers of cell \S+ know no partition objects")
        self.assertIn("know no partition objects", own_vos(cell.node, "listpartitions").err)

    async def test_stock_fileserver(self) -> None:
        """Our vlserver beside stock fileservers: they know none, and are listed with those they are seen to have."""
        cell = VldbCell(self.new_network(), our_vlserver)
        self.refuses(cell, r"the volume server on fs[12]\S* knows no partition objects")
        cell.vos("create", "fs1", "a", "somewhere").check()
        self.assertRegex(own_vos(cell.node, "listpartitions", "fs1").check().out, r"fs1\S* +/vicepa +implicit ")

    async def test_a_database_server_is_down(self) -> None:
        """Of two database servers one is down: the other answers, whichever is asked first."""
        cell = VldbCell(self.new_network(), stock_vlserver)
        cell.vos("create", "fs1", "a", "somewhere").check()
        cell.list_database_servers("fs2", "fs1")  # no vlserver runs on fs2
        listing = [cell.node.run(*VOS, "listvldb", "-localauth") for _ in range(ATTEMPTS)]
        for listed in await gatherResults([Deferred.fromCoroutine(each) for each in listing]):
            self.assertIn("\nsomewhere \n", listed.check().out)
