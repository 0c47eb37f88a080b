"""A partition is the same thing to our fileserver and to stock ones."""

from __future__ import annotations

import json
import os
import signal
from uuid import uuid4

from twisted.internet.threads import deferToThread

from afs.keys import Key, KeyKind, local_token
from afs.rpc.partitions import PartitionRequest
from afs.rpc.volpartitions import VOPS, VPART, AFSVolPartitions, VolOperation, VolPartition, VolPartitionOrder
from rx.security.rxkad import Level, RxkadClient
from tests.interop.case import InteropTest, program
from tests.interop.namespaces import Node
from tests.interop.ours import OurServers, start_plugin, wait_until_said
from tests.interop.salvage import OLD_STATUS, findings
from tests.interop.stock import (
    AES256,
    FuseClient,
    StockCell,
    add_node,
    create_world_writable,
    key_file_ext,
    start_database,
    start_fileserver,
    stop_fileserver,
)

CHANGES = "rm -r crowd deep && echo ours > ours && cp size-3000000 copy && mv linked renamed"


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
        (await client.node.run("sh", "-c", f"cd {client.volume('plants')} && {CHANGES}")).check()
        client.stop()
        servers.stop()
        self.assertEqual([line for line in findings(cell.node) if not OLD_STATUS.match(line)], [])

    async def test_stock_ours_stock(self) -> None:
        """What a stock server has put away ours takes at run time with CREATE, in a cell with a stock vlserver; what it
        unmounts a stock server has again, with what was changed meanwhile.
        """
        network = self.new_network()
        key = os.urandom(32)
        node = add_node(network, "fs1", key=key, partitions=("a", "b"))
        start_database(node)
        stock = start_fileserver(node)
        create_world_writable(lambda *words: node.run_now("vos", *words, "-localauth"), node, "fs1", "plants")
        client = self.mounted(network)
        before = await self._plant(client)
        client.stop()
        stop_fileserver(stock)

        state = node.home / "state"
        state.mkdir()
        (state / "sysid").write_bytes(node.path("/var/lib/openafs/local/sysid").read_bytes())
        options = ["--address", node.address, "--state", str(state), "--partition", "/vicepb"]
        ours = start_plugin(node, "afs-fileserver", *options)
        await deferToThread(wait_until_said, ours, "serving AFSVol")
        token = local_token(Key(KeyKind.RXKAD_KRB5, 1, AES256, key))
        administrator = self.own_client(node, security=lambda: RxkadClient(token, Level.CRYPT))
        volser = administrator.volser((node.address, 7005))
        wanted = VolPartition(path=b"/vicepa", backend=b"namei", flags=VPART.CREATE)
        made = await volser.DefinePartition(wanted, PartitionRequest(uuid4()))
        order = VolPartitionOrder(made.partition.uuid, PartitionRequest(uuid4()))
        self.assertEqual(await self._ended(volser, await volser.MountPartition(order)), (VOPS.DONE, b""))
        client.start()
        self.assertEqual(await self._tree(client), before)
        (await client.node.run("sh", "-c", f"cd {client.volume('plants')} && {CHANGES}")).check()
        after = await self._tree(client)
        client.stop()
        order = VolPartitionOrder(made.partition.uuid, PartitionRequest(uuid4()))
        self.assertEqual(await self._ended(volser, await volser.UnmountPartition(order)), (VOPS.DONE, b""))
        self.assertEqual([line for line in findings(node) if not OLD_STATUS.match(line)], [])
        await deferToThread(ours.stop)

        stock = start_fileserver(node)
        client.start()
        self.assertEqual(await self._tree(client), after)
        client.stop()
        stop_fileserver(stock)

    async def _ended(self, volser: AFSVolPartitions, operation: VolOperation) -> tuple[int, bytes]:
        """How an operation ends."""
        while operation.state == VOPS.RUNNING:
            operation = await volser.GetOperation(operation.id, operation.version, 1000)
        return operation.state, operation.text

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
