"""What stock FUSE clients have of a partition that moves: open files, caches, read-only and backup volumes."""

from __future__ import annotations

import sys
from uuid import uuid4

from twisted.internet.defer import Deferred

from afs.rpc.partitions import PartitionRequest, PartitionServer
from afs.rpc.volpartitions import VOPS, VolPartitionOrder
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node, Result
from tests.interop.partition_cells import SERVERS, VOLUME, PartitionCell

OPEN_FILE = """
import pathlib, sys, time
path, started, go_on = map(pathlib.Path, sys.argv[1:])
with open(path, "w+") as file:
    file.write("before\\n" * 10000)
    file.flush()
    started.touch()
    while not go_on.exists():
        time.sleep(0.02)
    file.write("after\\n" * 10000)
    file.flush()
    file.seek(0)
    sys.stdout.write(str(len(file.read())))
"""
WRITTEN = "before\n" * 10000 + "after\n" * 10000


class MoveFilesTests(InteropTest):
    """The partition moves from fs1 to fs2 and back."""

    async def cell(self) -> PartitionCell:
        """With one file."""
        cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        await cell.client("db").write_file("/file", b"first")
        return cell

    async def test_open_and_dirty(self) -> None:
        """A file that a client has open, with what it has not stored yet, is written on and closed after the move."""
        cell = await self.cell()
        place = cell.fuse("cb").volume(VOLUME)
        node = cell.network.nodes["cb"]
        for turn, (source, target) in enumerate((SERVERS, SERVERS[::-1])):
            started, go_on = (node.home / f"{word}{turn}" for word in ("started", "go-on"))
            words = (f"{place}/open{turn}", str(started), str(go_on))
            writing: Deferred[Result] = Deferred.fromCoroutine(node.run(sys.executable, "-Ic", OPEN_FILE, *words))
            await self.until(started.exists)
            await self._move(cell, source, target)
            go_on.touch()
            self.assertEqual((await writing).check().out, str(len(WRITTEN)))
            await self._stored(cell, f"/open{turn}")

    async def test_idle(self) -> None:
        """A client that did nothing reads what was changed since, not what it has cached; of files that were not
        changed, what they were.
        """
        cell = await self.cell()
        place = cell.fuse("cc").volume(VOLUME)
        node = cell.network.nodes["cc"]
        writer = cell.client("ca")
        await writer.write_file("/unchanged", b"unchanged")
        for turn, (source, target) in enumerate((SERVERS, SERVERS[::-1], SERVERS, SERVERS[::-1])):
            for name in ("file", "unchanged"):
                await self._read(node, f"{place}/{name}")
            await self._move(cell, source, target)
            content = f"turn {turn}"
            await writer.write_file("/file", content.encode())
            self.assertEqual(await self._read(node, f"{place}/file"), content)
            self.assertEqual(await self._read(node, f"{place}/unchanged"), "unchanged")

    async def test_other_volumes(self) -> None:
        """The read-only and the backup volume go with it: both are listed, read and made anew at the other server."""
        cell = await self.cell()
        writer = cell.client("ca")
        writer.root_volume = b"%d" % await writer.locator.volume_id(VOLUME.encode())
        (await cell.vos("addsite", "fs1", "d", VOLUME)).check()
        (await cell.vos("release", VOLUME)).check()
        (await cell.vos("backup", VOLUME)).check()
        fuse = cell.fuse("cb")
        node = cell.network.nodes["cb"]
        for turn, (source, target) in enumerate((SERVERS, SERVERS[::-1])):
            content = f"turn {turn}" if turn else "first"
            for suffix in ("", ".readonly", ".backup"):
                self.assertEqual(await self._read(node, f"{fuse.volume(VOLUME + suffix)}/file"), content)
            await self._move(cell, source, target)
            for suffix in ("", ".readonly", ".backup"):
                self.assertEqual(await self._read(node, f"{fuse.volume(VOLUME + suffix)}/file"), content)
                said = (await cell.vos("examine", VOLUME + suffix)).check().out
                self.assertIn(f"server {target}", said)
                self.assertIn("/vicepd", said)
            content = f"turn {turn + 1}"
            await writer.write_file("/file", content.encode())
            (await cell.vos("release", VOLUME)).check()
            (await cell.vos("backup", VOLUME)).check()
            for suffix in (".readonly", ".backup"):
                self.assertEqual(await self._read(node, f"{fuse.volume(VOLUME + suffix)}/file"), content)

    async def _stored(self, cell: PartitionCell, path: str) -> None:
        """Wait until all that was written has come: a FUSE client stores a file after it was closed."""
        reader = cell.client("ca")
        fid = await reader.resolve(path)
        while (await reader.status(fid)).Length < len(WRITTEN):
            await cell.pause()
        self.assertEqual(await reader.read_file(path), WRITTEN.encode())

    async def _move(self, cell: PartitionCell, source: str, target: str) -> None:
        order = VolPartitionOrder(cell.uuid, PartitionRequest(uuid4()))
        begun = await cell.volser(source).MovePartition(order, PartitionServer(cell.servers[target]))
        moved = await cell.ended(source, begun)
        self.assertEqual((moved.state, moved.text), (VOPS.DONE, b""))

    async def _read(self, node: Node, path: str) -> str:
        return (await node.run("cat", path)).check().out
