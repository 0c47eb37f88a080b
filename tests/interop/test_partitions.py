"""A partition is the same thing to our fileserver and to stock ones."""

from __future__ import annotations

import json
import os
import signal

from tests.interop.case import InteropTest, program
from tests.interop.namespaces import Node
from tests.interop.ours import OurServers
from tests.interop.salvage import OLD_STATUS, findings
from tests.interop.stock import FuseClient, StockCell, key_file_ext, start_database, start_fileserver, stop_fileserver


class PartitionTests(InteropTest):
    """Node fs1 runs one kind of servers, then the other, over one /vicepa."""

    async def test_ours_then_stock(self) -> None:
        """What our fileserver wrote the stock salvager finds sound, and a stock dafileserver serves unchanged."""
        network = self.new_network()
        servers = OurServers(network)
        client = self.mounted(network)
        await self._world_writable(servers)
        before = await self._plant(client)
        client.stop()
        servers.stop()
        self.assertEqual(findings(servers.node), [])
        volumes = servers.node.run_now("volinfo", "-part", "/vicepa").check()
        self.assertIn("volume", volumes.out.lower())

        self._become_stock(servers.node)
        start_database(servers.node)
        fileserver = start_fileserver(servers.node)
        servers.node.run_now("vos", "syncvldb", "fs1", "-localauth").check()
        client.start()
        self.assertEqual(await self._tree(client), before)
        client.stop()
        stop_fileserver(fileserver)

    async def test_stock_then_ours(self) -> None:
        """What a stock dafileserver wrote ours serves unchanged, and what ours then changes is still sound."""
        network = self.new_network()
        cell = StockCell(network, volumes=["plants"])
        client = self.mounted(network)
        before = await self._plant(client)
        client.stop()
        stop_fileserver(cell.fileserver)
        for daemon in cell.database.values():
            daemon.stop(signal.SIGKILL)

        servers = OurServers(network, cell.node)
        servers.vos("syncvldb", "fs1").check()
        client.start()
        self.assertEqual(await self._tree(client), before)
        changes = "rm -r crowd deep && echo ours > ours && cp size-3000000 copy && mv linked renamed"
        (await client.node.run("sh", "-c", f"cd {client.volume('plants')} && {changes}")).check()
        client.stop()
        servers.stop()
        self.assertEqual([line for line in findings(cell.node) if not OLD_STATUS.match(line)], [])

    async def _world_writable(self, servers: OurServers) -> None:
        servers.vos("create", "fs1", "a", "plants", "-maxquota", "0").check()
        administrator = self.own_client(servers.node)
        administrator.root_volume = b"plants"
        await administrator.set_acl("/", {"system:anyuser": "rlidwk", "system:administrators": "rlidwka"})

    async def _plant(self, client: FuseClient) -> object:
        (await client.node.run(*program("plant"), client.volume("plants"), seconds=120)).check()
        return await self._tree(client)

    async def _tree(self, client: FuseClient) -> object:
        return json.loads((await client.node.run(*program("tree"), client.volume("plants"))).check().out)

    def _become_stock(self, node: Node) -> None:
        (node.home / "etc-openafs/server/KeyFileExt").write_bytes(key_file_ext(os.urandom(32)))
