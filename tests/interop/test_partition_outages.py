"""Partitions while the vlserver is stopped: our vos, our servers, two clients."""

from __future__ import annotations

import signal

from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.namespaces import Result
from tests.interop.partition_cells import PartitionCell
from tests.interop.test_own_vos import own_vos


class OutageTests(InteropTest):
    """fs1 has the partition, fs2 may have it."""

    async def test_stopped_vlserver(self) -> None:
        """The owner serves on and no other server mounts the partition; it is unmounted all the same, and when the
        vlserver goes on, the VLDB hears of that from the server, which was started anew meanwhile, and the other gets
        it.
        """
        cell = self.cell = PartitionCell(self)
        await cell.start()
        await cell.share()
        client = cell.client()
        await client.write_file("/file", b"before")
        cell.daemons["db"].send(signal.SIGSTOP)
        await client.write_file("/file", b"meanwhile")
        self.assertEqual(await client.read_file("/file"), b"meanwhile")
        mounting = ensureDeferred(cell.mount("fs2", may=False))
        done = await self.vos("umountpartition", "fs1", "d")
        refused = await mounting
        self.assertIn(b"no vlserver answers", refused.text)
        self.assertIn("Unmounted partition", done.check().out)
        self.assertEqual(done.err.count("no vlserver answers"), 2)  # vos asked in vain, and so did the server
        self.assertIsNone(cell.label().owner)
        cell.daemons["db"].send(signal.SIGCONT)
        await cell.restart("fs1")
        while (await cell.object()).owner.uuid.int:
            await cell.pause()
        self.assertIn("Mounted partition", (await self.vos("mountpartition", "fs2", "d")).check().out)
        self.assertEqual(await cell.owner(), "fs2")
        self.assertEqual(await cell.client("cb").read_file("/file"), b"meanwhile")

    async def vos(self, *words: str) -> Result:
        """Ours, on the vlserver's node."""
        return await deferToThread(own_vos, self.cell.database, *words)
