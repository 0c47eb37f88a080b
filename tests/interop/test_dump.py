"""Dump streams between our servers and stock ones: dumped here, restored there, moved and released to and fro."""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.internet.threads import deferToThread

from afs.client import FileClient
from afs.rpc.volser import VOLDUMPV2_OMITDIRS, ITBusy
from rx.streams import Buffer
from tests.interop.case import InteropTest
from tests.interop.namespaces import Network, Node, Result
from tests.interop.ours import OurServers, start_plugin, wait_until_said
from tests.interop.stock import StockCell, add_node, address_of, start_database, start_fileserver

LARGE = os.urandom(1 << 20) * 3 + b"and a little more"
MANY = 300
INSIDE = "/var/log/openafs/volume.dump"
"""A file as the nodes see it."""
VNODES = b"\3\0\0\0\1\0\0\0\1t\2"
"""Where the vnodes begin in a dump: all before them has names, ids and times of its own."""

VOLUMES_ALIKE = "the vnodes of both dumps are equal, byte by byte"


def vnodes(dump: bytes) -> bytes:
    """A dump from its first vnode on, the root directory."""
    return dump[dump.index(VNODES) :]


class DumpTests(InteropTest):
    """A cell of our servers beside a stock cell, each on a network of its own."""

    async def populated(self) -> tuple[OurServers, FileClient]:
        """Our servers with a volume of everything a volume can hold."""
        servers = await deferToThread(OurServers, self.new_network())
        client = self.own_client(servers.node)
        (await servers.node.run("vos", "create", "fs1", "a", "vol", "-maxquota", "0", "-noauth")).check()
        client.root_volume = b"vol"
        await client.set_acl("/", {"system:administrators": "all", "system:anyuser": "read"})
        await client.write_file("/large", LARGE)
        await client.write_file("/script", b"#!/bin/sh\n", 0o755)
        await client.write_file("/empty", b"")
        await client.mkdir("/directory")
        await client.set_acl("/directory", {"system:administrators": "all"}, {"system:anyuser": "l"})
        for number in range(MANY):
            await client.write_file(f"/directory/file-{number}", b"%d" % number)
        for number in range(0, MANY, 3):
            await client.remove(f"/directory/file-{number}")
        await client.link("/script", "/linked")
        await client.symlink(b"directory/file-1", "/link")
        await client.make_mount_point("/mount", b"root.cell")
        return servers, client

    def dump(self, cell: OurServers | StockCell, name: str, *options: str) -> bytes:
        cell.vos("dump", name, "-file", INSIDE, *options).check()
        return cell.node.path(INSIDE).read_bytes()

    def restore(self, cell: OurServers | StockCell, name: str, dump: bytes, *options: str) -> Result:
        cell.node.path(INSIDE).write_bytes(dump)
        return cell.vos("restore", "fs1", "a", name, "-file", INSIDE, *options)

    async def since(self, client: FileClient, volume: int, date: int, flags: int = 0) -> bytes:
        """A dump since a second: vos knows minutes only."""
        volser = client.volser((address_of("fs1"), 7005))
        trans = await volser.TransCreate(volume, 0, ITBusy)
        stream = Buffer()
        await volser.DumpV2(trans, date, flags, stream)
        await volser.EndTrans(trans)
        return bytes(stream)

    async def test_there_and_back(self) -> None:
        """Our dump restores on a stock server, whose dump is then the same, and that one restores on ours; so do
        incremental ones, and those of clones.
        """
        servers, client = await self.populated()
        stock = await deferToThread(StockCell, self.new_network(), ())
        first = self.dump(servers, "vol")
        self.restore(stock, "copy", first).check()
        theirs = self.dump(stock, "copy")
        self.assertTrue(vnodes(theirs) == vnodes(first), VOLUMES_ALIKE)
        self.restore(servers, "again", theirs).check()
        self.assertTrue(vnodes(self.dump(servers, "again")) == vnodes(first), VOLUMES_ALIKE)
        self.assertEqual(self.size(servers, "again"), self.size(servers, "vol"))

        date = int(time.time()) + 1
        await self.until(lambda: time.time() > date)
        await client.write_file("/new", b"new")
        await client.remove("/directory/file-1")
        volume = (await client.resolve("/")).Volume
        changes = await self.since(client, volume, date)
        self.assertLess(len(changes), len(LARGE) // 4)
        without = await self.since(client, volume, date, VOLDUMPV2_OMITDIRS)
        self.assertLess(len(without), len(changes) + 1)
        second = vnodes(self.dump(servers, "vol"))
        for cell, name, dump in ((stock, "copy", changes), (servers, "again", without)):
            self.restore(cell, name, dump, "-overwrite", "incremental").check()
            self.assertTrue(vnodes(self.dump(cell, name)) == second, f"{name}: {VOLUMES_ALIKE}")
        for cell, name, other in ((servers, "vol", stock), (stock, "copy", servers)):
            cell.vos("backup", name).check()
            clone = self.dump(cell, f"{name}.backup")
            self.restore(other, f"{name}.then", clone).check()
            self.assertTrue(vnodes(clone) == vnodes(self.dump(other, f"{name}.then")) == second, VOLUMES_ALIKE)

    def size(self, cell: OurServers, name: str) -> str:
        """Blocks and files, as vos examine has them."""
        found = cell.vos("examine", name, "-format").check().out.splitlines()
        return " ".join(line for line in found if line.startswith(("diskused", "filecount")))

    async def test_restorevol(self) -> None:
        """Stock's restorevol makes a tree of our dump, with everything in it."""
        servers, _ = await self.populated()
        self.dump(servers, "vol")
        servers.node.run_now("restorevol", "-file", INSIDE, "-dir", "/var/log/openafs").check()
        tree = servers.node.path("/var/log/openafs/vol")
        self.assertTrue(Path(tree, "large").read_bytes() == LARGE)
        self.assertEqual(Path(tree, "script").read_bytes(), b"#!/bin/sh\n")  # of its two names restorevol takes one
        self.assertEqual(os.readlink(Path(tree, "link")), "directory/file-1")
        self.assertEqual(len(os.listdir(Path(tree, "directory"))), MANY - MANY // 3)

    async def test_damaged(self) -> None:
        """vos says that a damaged dump is one, and there is no volume afterwards."""
        servers, _ = await self.populated()
        dump = self.dump(servers, "vol")
        for damaged in (dump[:-1], dump[: len(dump) // 2], dump.replace(VNODES, b"\3\0\0\0\1\0\0\0\1t\5"), b"garbage"):
            result = self.restore(servers, "broken", damaged)
            self.assertNotEqual(result.status, 0)
            self.assertNotIn("broken", servers.vos("listvol", "fs1").check().out)
        self.assertIn("Total number of volumes on server fs1 partition /vicepa: 1", servers.vos("listvol", "fs1").out)
        self.restore(servers, "broken", dump).check()


class MoveTests(InteropTest):
    """vos move and vos release in a cell with two fileservers."""

    async def test_between_ours(self) -> None:
        """Two of ours: moved there and back, released to both, and released again after a change."""
        network = self.new_network()
        servers = await deferToThread(OurServers, network, None, ["fs2"])
        await deferToThread(self.second, network, servers)
        await self.moved_and_released(servers.node, "-noauth")

    async def test_with_stock(self) -> None:
        """One of ours and a stock one in our cell, each knowing the other by the cell's key."""
        network = self.new_network()
        key = os.urandom(32)
        node = add_node(network, "fs1", key=key)
        await deferToThread(OurServers, network, node, ["fs2"])
        await deferToThread(start_database, node, ["ptserver"])  # without which a stock fileserver does not begin
        await deferToThread(start_fileserver, add_node(network, "fs2", key=key))
        await self.moved_and_released(node, "-localauth")

    def second(self, network: Network, servers: OurServers) -> None:
        """Another of our fileservers in the cell."""
        node = add_node(network, "fs2")
        options = ["--noauth", "--noauth-from", address_of("fs1"), "--address", node.address, "--protection", "none"]
        options += ["--state", str(node.home / "state"), "--partition", "/vicepa"]
        wait_until_said(start_plugin(node, "afs-fileserver", *options), "serving AFSVol")

    async def moved_and_released(self, node: Node, identity: str) -> None:
        async def vos(*words: str) -> str:
            return (await node.run("vos", *words, identity)).check().out

        client = self.own_client(node)
        await vos("create", "fs1", "a", "vol", "-maxquota", "0")
        client.root_volume = b"vol"
        await client.set_acl("/", {"system:administrators": "all", "system:anyuser": "all"})
        await client.write_file("/large", LARGE)
        await client.mkdir("/directory")
        await client.write_file("/directory/file", b"here")
        before = await self.dumped(node, identity)
        for source, target in (("fs1", "fs2"), ("fs2", "fs1")):
            await vos("move", "vol", source, "a", target, "a")
            self.assertIn("Total number of volumes on server", await vos("listvol", target))
            self.assertNotIn("vol ", await vos("listvol", source))
            self.assertTrue(await self.dumped(node, identity) == before, f"moved to {target}, the volume is the same")
        for target in ("fs1", "fs2"):
            await vos("addsite", target, "a", "vol")
        for content in (b"first", b"second"):
            await client.write_file("/directory/file", content)
            await vos("release", "vol")
            for target in ("fs1", "fs2"):
                self.assertIn("vol.readonly", await vos("listvol", target))
            node_dump = await self.dumped(node, identity, "vol.readonly")
            self.assertIn(content, node_dump)
            self.assertTrue(node_dump == await self.dumped(node, identity), "a released volume is the same")

    async def dumped(self, node: Node, identity: str, name: str = "vol") -> bytes:
        (await node.run("vos", "dump", name, "-file", INSIDE, identity)).check()
        return vnodes(node.path(INSIDE).read_bytes())
