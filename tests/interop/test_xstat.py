"""What stock xstat_fs_test reads of our fileserver."""

from __future__ import annotations

import re

from twisted.internet.threads import deferToThread

from afs.types import AFSFid
from tests.interop.case import InteropTest
from tests.interop.ours import OurCell
from tests.interop.stock import add_node, address_of

READS, SIZE = 5, 3000


class XstatTests(InteropTest):
    async def test_full_performance(self) -> None:
        """Calls, successes, times and bytes are where the stock monitor looks for them."""
        network = self.new_network()
        cell = await deferToThread(OurCell, network)
        client = self.own_client(add_node(network, "ca"))
        client.root_volume = b"scratch"
        await client.write_file("/file", bytes(SIZE))
        fid: AFSFid = await client.resolve("/file")
        for _ in range(READS):
            await client.read_file(fid)
        seen = (
            await cell.node.run("xstat_fs_test", *f"-fsname {address_of('fs1')} -collID 2 -onceonly".split())
        ).check()
        (stored,) = re.findall(
            r"StoreData: (\d+) ops \((\d+) OK\); sum=([\d.]+), .* min=([\d.]+), max=([\d.]+)", seen.out
        )
        self.assertEqual((stored[:2], stored[2], stored[3]), (("1", "1"), stored[4], stored[4]))
        self.assertTrue(0 < float(stored[2]) < 60, stored)
        (fetched,) = re.findall(r"FetchData: (\d+) xfers \((\d+) OK\).*\n.*sum=(\d+), min=\d+, max=(\d+)", seen.out)
        self.assertEqual(fetched[0], fetched[1])
        self.assertGreaterEqual(int(fetched[2]), READS * SIZE)
        self.assertEqual(int(fetched[3]), SIZE)
