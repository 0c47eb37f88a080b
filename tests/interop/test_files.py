"""Files through a stock FUSE client: the same on our servers as on stock ones."""

from __future__ import annotations

import json

from tests.interop.case import InteropTest, program
from tests.interop.ours import OurCell
from tests.interop.stock import FuseClient, StockCell

LARGE_FILE = 200_000_000
FAR = 5 << 30
"""An offset that needs 64 bits."""


class FileWorkTests(InteropTest):
    """What an application sees."""

    async def test_same_as_stock(self) -> None:
        """Every work of the list, refusals included, gives on our cell what it gives on a stock cell."""
        own_network, stock_network = self.new_network(), self.new_network()
        OurCell(own_network)
        ours = await self._work(self.mounted(own_network))
        StockCell(stock_network)
        stock = await self._work(self.mounted(stock_network))
        # Stock takes a name of 256 bytes, for which its salvager then condemns the directory; ours refuses it.
        self.assertEqual((ours.pop("name_too_long"), stock.pop("name_too_long")), ("EINVAL", "written"))
        self.maxDiff = None
        self.assertEqual(ours, stock)
        self.assertEqual((ours["write_and_read"], ours["missing_file"]), ("hello\n", "ENOENT"))

    async def test_large_file(self) -> None:
        """200 MB come back with their md5 after the client's cache was dropped."""
        network = self.new_network()
        OurCell(network)
        client = self.mounted(network)
        file = f"{client.volume('scratch')}/large"
        write = f"head -c {LARGE_FILE} /dev/urandom | tee {file} | md5sum"
        written = (await client.node.run("sh", "-c", write, seconds=300)).check().out
        client.restart_cold()
        read = (await client.node.run("sh", "-c", f"md5sum < {file}", seconds=300)).check().out
        self.assertEqual(read, written)

    async def _work(self, client: FuseClient) -> dict[str, object]:
        done = (await client.node.run(*program("file_work"), client.volume("scratch"), seconds=300)).check()
        seen: dict[str, object] = json.loads(done.out)
        return seen


class OwnClientTests(InteropTest):
    """What our client makes is what the FUSE client reads."""

    async def test_symbolic_links(self) -> None:
        """A relative and an absolute link made by our client lead where they say (the FUSE client rewrites its own)."""
        network = self.new_network()
        OurCell(network)
        client = self.mounted(network)
        own = self.own_client(client.node)
        await own.write_file("/txafs.test/scratch/target", b"found")
        await own.symlink(b"target", "/txafs.test/scratch/relative")
        await own.symlink(b"/afs/txafs.test/scratch/target", "/txafs.test/scratch/absolute")
        for name in ("relative", "absolute"):
            read = (await client.node.run("cat", f"/afs/txafs.test/scratch/{name}")).check()
            self.assertEqual(read.out, "found")

    async def test_beyond_four_gibibytes(self) -> None:
        """Bytes stored at 5 GiB by our client are read there, and zeros before them, through FUSE."""
        network = self.new_network()
        OurCell(network)
        client = self.mounted(network)
        own = self.own_client(client.node)
        fid = await own.create("/txafs.test/scratch/sparse")
        await own.store(fid, b"far away", FAR, FAR + 8)
        file = "/afs/txafs.test/scratch/sparse"
        size = (await client.node.run("stat", "-c", "%s", file)).check()
        self.assertEqual(size.out, f"{FAR + 8}\n")
        tail = ("dd", f"if={file}", f"skip={FAR - 8}", "count=16", "iflag=skip_bytes,count_bytes", "status=none")
        read = (await client.node.run(*tail)).check()
        self.assertEqual(read.out, "\0" * 8 + "far away")
