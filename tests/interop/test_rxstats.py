"""RXSTATS of a stock vlserver and of ours, read by the same client: the same words in the same places."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from afs.rpc.rxstats import RXSTATS
from afs.rpc.vl import VL
from afs.rxstats import STAT_INDICES, WORDS, in_order
from rx.service import Service
from rx.transport import RxPort
from tests.interop.case import InteropTest
from tests.interop.namespaces import Node
from tests.interop.ours import OurServers
from tests.interop.stock import add_node, wait_for_quorum

PROBES = 5
RETRIEVE = ("RetrieveProcessRPCStats", "RetrievePeerRPCStats")


class RxStatsTests(InteropTest):
    """Five probes, and what the server says of them."""

    def connect(self, node: Node, server: str) -> Callable[[type[Service]], Any]:
        """Clients in a node of the services at a vlserver's port."""
        port = RxPort(reactor, node.address)
        with node.inside():
            port.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(port.stop(0.0)))
        self.port = port
        return lambda service: service.client(port.connect((server, 7003), service.service_id))

    async def probed(self, client: Callable[[type[Service]], Any]) -> list[tuple[int, ...]]:
        """The words about VL_ProbeServer, of the process and by peer, the times left out."""
        for _ in range(PROBES):
            await client(VL).ProbeServer()
        found = []
        for name in RETRIEVE:
            version, seconds, _, count, words = await getattr(client(RXSTATS), name)(1)
            self.assertEqual(version, 1)
            self.assertLess(abs(seconds - time.time()), 5)
            self.assertEqual(len(words), count * WORDS)
            rows = [words[start : start + WORDS] for start in range(0, len(words), WORDS)]
            (row,) = (row for row in rows if row[3] == STAT_INDICES[VL] and row[7])
            for least, most in ((16, 18), (24, 26)):
                self.assertLessEqual(row[least : least + 2], row[most : most + 2])
            found.append(row[:12])
        return found

    def expected(self) -> list[tuple[int, ...]]:
        """What both say."""
        host = int.from_bytes(bytes(map(int, self.port.address[0].split("."))), "little")
        number = int.from_bytes(self.port.address[1].to_bytes(2, "big"), "little")
        place = (STAT_INDICES[VL], len(in_order(VL)), 0, 0, PROBES, 0, 0, 0, 4 * PROBES)
        return [(0xFFFF_FFFF, 0xFFFF_FFFF, 0, *place), (host, number, 0, *place)]

    async def test_stock_server(self) -> None:
        """A stock vlserver that was told to count."""
        network = self.new_network()
        node = add_node(network, "fs1", key=os.urandom(32))
        command = ["/usr/lib/openafs/vlserver", "-enable_peer_stats", "-enable_process_stats"]
        await deferToThread(wait_for_quorum, node, node.start("vlserver", command), 7003)
        client = self.connect(add_node(network, "ca"), node.address)
        self.assertEqual(await self.probed(client), self.expected())

    async def test_our_server(self) -> None:
        """Ours, once an administrator asked it to count."""
        network = self.new_network()
        servers = await deferToThread(OurServers, network, None, ("ca",))
        client = self.connect(add_node(network, "ca"), servers.node.address)
        await client(RXSTATS).EnableProcessRPCStats()
        await client(RXSTATS).EnablePeerRPCStats()
        self.assertEqual(await self.probed(client), self.expected())
