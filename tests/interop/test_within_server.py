"""Volumes on two partitions of one of our file servers, as stock vos sees them."""

from __future__ import annotations

import os

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.namespaces import Daemon
from tests.interop.ours import OurServers
from tests.interop.stock import add_node


class TwoPartitions(OurServers):
    def start_fileserver(self, *more: str) -> Daemon:
        return super().start_fileserver("--partition", "/vicepb", *more)


class WithinTests(InteropTest):
    async def test_move(self) -> None:
        """vos move between two partitions of a server, there and back, with a client that reads meanwhile."""
        network = self.new_network()
        node = add_node(network, "fs1", partitions=("a", "b"))
        servers = await deferToThread(TwoPartitions, network, node)

        async def vos(*words: str) -> str:
            return (await deferToThread(servers.vos, *words)).check().out

        content = os.urandom(1 << 20)
        client = self.own_client(node)
        await vos("create", "fs1", "a", "vol", "-maxquota", "0")
        client.root_volume = b"vol"
        await client.set_acl("/", {"system:administrators": "all", "system:anyuser": "all"})
        await client.write_file("/file", content)
        for source, target in (("a", "b"), ("b", "a")):
            await vos("move", "vol", "fs1", source, "fs1", target)
            self.assertIn("vol ", await vos("listvol", "fs1", target))
            self.assertNotIn("vol ", await vos("listvol", "fs1", source))
            self.assertIn(f"partition /vicep{target}", await vos("examine", "vol"))
            self.assertEqual(await client.read_file("/file"), content)
            await client.write_file("/file", content := os.urandom(1 << 20))
