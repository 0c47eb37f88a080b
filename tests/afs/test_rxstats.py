"""RXSTATS: what the counters say, who may switch them, and their place on the wire."""

from __future__ import annotations

import re
from errno import EPERM
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from afs import rxstats
from afs.rpc.partitions import VLPartitions
from afs.rpc.rxstats import RXSTATS
from afs.rpc.vl import VL
from afs.rpc.volpartitions import AFSVolPartitions
from rx.errors import Abort
from rx.rpcstats import PEERS, RpcStatistics
from rx.server import Server, ServerCall
from rx.service import InProcess
from tests.rx.ports import Ports

NOW = 1_700_000_000.25
GET_STATS = VL.operations[513]


class Probed(VL):
    """A vlserver that answers probes."""

    async def ProbeServer(self) -> None: ...


class ProbedPartitions(VLPartitions):
    async def ProbeServer(self) -> None:
        pass

    async def PartitionCapabilities(self) -> tuple[int, int]:
        return 1, 0


class OnTheWireTests(SynchronousTestCase):
    """A server that counts, asked over packets."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.statistics = RpcStatistics()
        self.trusted = True
        server = self.ports.rx_server
        server.add(VL, lambda call: Probed())
        rxstats.serve(server, self.statistics, self.is_administrator, lambda: NOW, (0,))
        self.vl: Any = VL.client(self.ports.client.connect(self.ports.server.address, VL.service_id))
        connection = self.ports.client.connect(self.ports.server.address, RXSTATS.service_id)
        self.client: Any = RXSTATS.client(connection)

    def is_administrator(self, call: ServerCall) -> bool:
        return self.trusted

    def rows(self, reply: tuple[Any, ...]) -> list[tuple[int, ...]]:
        """The counters of VL's RPCs, those of RPCs never called left out."""
        version, seconds, microseconds, count, words = reply
        self.assertEqual((version, seconds, microseconds), (1, 1_700_000_000, 250_000))
        self.assertEqual(len(words), count * rxstats.WORDS)
        rows = [words[start : start + rxstats.WORDS] for start in range(0, len(words), rxstats.WORDS)]
        return [row for row in rows if row[7] and row[3] == rxstats.STAT_INDICES[VL]]

    def test_off_at_first(self) -> None:
        """Nothing is counted before somebody asks for it, as stock's servers begin."""
        self.ports.run(self.vl.ProbeServer())
        self.assertEqual(self.ports.run(self.client.QueryProcessRPCStats()), 0)
        self.assertEqual(self.ports.run(self.client.RetrieveProcessRPCStats(1)), (1, 0, 0, 0, ()))
        self.assertEqual(self.ports.run(self.client.QueryRPCStatsVersion()), 1)

    def test_process(self) -> None:
        """A call counts under its interface and place, with its bytes and times, for a peer that is everybody."""
        self.ports.run(self.client.EnableProcessRPCStats())
        self.assertEqual(self.ports.run(self.client.QueryProcessRPCStats()), 1)
        for _ in range(3):
            self.ports.run(self.vl.ProbeServer())
        (row,) = self.rows(self.ports.run(self.client.RetrieveProcessRPCStats(1)))
        self.assertEqual(row[:6], (2**32 - 1, 2**32 - 1, 0, 15, 28, 0))
        self.assertEqual(row[6:12], (0, 3, 0, 0, 0, 12))
        least, most = row[24:26], row[26:28]
        self.assertLessEqual(least, most)
        self.assertLess(most, (1, 0))

    def test_peers(self) -> None:
        """Counted by peer a call counts under the address and port it came from."""
        self.ports.run(self.client.EnablePeerRPCStats())
        self.ports.run(self.vl.ProbeServer())
        (row,) = self.rows(self.ports.run(self.client.RetrievePeerRPCStats(1)))
        port = self.ports.client.address[1]
        self.assertEqual(row[:4], (0x0100007F, port >> 8 | (port & 0xFF) << 8, 0, 15))
        self.assertEqual(self.ports.run(self.client.RetrieveProcessRPCStats(1))[3], 0)

    def test_own_calls(self) -> None:
        """Calls that the process makes count apart from those it serves, and the peer of them is a server."""
        self.ports.run(self.client.EnableProcessRPCStats())
        self.ports.run(self.client.EnablePeerRPCStats())
        Server(self.ports.client).add(VL, lambda call: Probed())
        back: Any = VL.client(self.ports.server.connect(self.ports.client.address, VL.service_id))
        nobody: Any = VL.client(self.ports.server.connect(self.ports.client.address, 99))
        self.ports.run(back.ProbeServer())
        self.ports.run(self.vl.ProbeServer())
        self.assertRaises(Abort, self.ports.run, nobody.ProbeServer())
        here, port = 0x0100007F, self.ports.client.address[1]
        for name, peer in (
            ("Process", (2**32 - 1, 2**32 - 1)),
            ("Peer", (here, port >> 8 | (port & 0xFF) << 8)),
        ):
            rows = self.rows(self.ports.run(getattr(self.client, f"Retrieve{name}RPCStats")(1)))
            self.assertEqual(
                [(row[:3], row[6:12]) for row in sorted(rows, key=lambda row: row[2])],
                [
                    ((*peer, 0), (0, 1, 0, 0, 0, 4)),
                    ((*peer, 1), (0, 2, 0, 8, 0, 0)),
                ],
            )

    def test_disable(self) -> None:
        """Disabled, what was counted is gone."""
        for switch in ("Process", "Peer"):
            self.ports.run(getattr(self.client, f"Enable{switch}RPCStats")())
            self.ports.run(self.vl.ProbeServer())
            self.ports.run(getattr(self.client, f"Disable{switch}RPCStats")())
            self.assertFalse(self.statistics.on)
            self.ports.run(getattr(self.client, f"Enable{switch}RPCStats")())
            self.assertEqual(self.rows(self.ports.run(getattr(self.client, f"Retrieve{switch}RPCStats")(1))), [])
            self.ports.run(getattr(self.client, f"Disable{switch}RPCStats")())

    def test_privileges(self) -> None:
        """Who is no administrator may look, and switches and clears nothing."""
        self.trusted = False
        for name, *arguments in (
            ("EnableProcessRPCStats",),
            ("EnablePeerRPCStats",),
            ("DisableProcessRPCStats",),
            ("DisablePeerRPCStats",),
            ("ClearProcessRPCStats", 1),
            ("ClearPeerRPCStats", 1),
        ):
            refusal = self.assertRaises(Abort, self.ports.run, getattr(self.client, name)(*arguments))
            self.assertEqual(refusal.code, EPERM)
        self.assertFalse(self.statistics.on)
        self.ports.run(self.client.RetrievePeerRPCStats(1))


class ClearTests(SynchronousTestCase):
    """Zeroing, bit by bit."""

    def test_each_bit(self) -> None:
        """Each bit zeroes its own words and no others; the least time becomes stock's word for none."""
        words_of = {
            0x1: (6, 7), 0x2: (8, 9), 0x4: (10, 11),
            0x8: (12, 13), 0x10: (14, 15), 0x20: (16, 17), 0x40: (18, 19),
            0x80: (20, 21), 0x100: (22, 23), 0x200: (24, 25), 0x400: (26, 27),
        }  # fmt: skip
        for bit, changed in words_of.items():
            statistics = RpcStatistics()
            statistics.process_on = True
            statistics.note(GET_STATS, ("10.0.0.1", 7001), False, 1 << 33 | 5, 1 << 34 | 6, 1.5, 2.5)
            server = rxstats.Statistics(statistics, lambda call: True, lambda: NOW, None)  # type: ignore[arg-type]
            client: Any = RXSTATS.client(InProcess(server))
            before = self.row(client)
            self.result(client.ClearProcessRPCStats(bit))
            after = self.row(client)
            self.assertEqual({index for index in range(28) if before[index] != after[index]} - set(changed), set())
            cleared = rxstats.NO_TIME if bit in (0x20, 0x200) else (0, 0)
            self.assertEqual(tuple(after[index] for index in changed), cleared)
            self.assertNotEqual(tuple(before[index] for index in changed), cleared)

    def row(self, client: Any) -> tuple[int, ...]:
        words = self.result(client.RetrieveProcessRPCStats(1))[4]
        start = rxstats.in_order(VL).index(GET_STATS) * rxstats.WORDS
        row: tuple[int, ...] = words[start : start + rxstats.WORDS]
        return row

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_peers_are_bounded(self) -> None:
        """However many strangers call, no more than PEERS are counted apart, the latest among them."""
        statistics = RpcStatistics()
        statistics.peers_on = True
        for number in range(PEERS + 100):
            statistics.note(GET_STATS, (f"10.0.{number >> 8}.{number & 255}", 7001), False, 0, 0, 0.0, 0.0)
        self.assertEqual(len(statistics.peers), PEERS)
        self.assertIn((("10.0.0.100", 7001), False), statistics.peers)
        self.assertNotIn((("10.0.0.99", 7001), False), statistics.peers)


class OwnInterfaces(SynchronousTestCase):
    """What we have added to stock's services."""

    def test_places(self) -> None:
        """Their RPCs are interfaces of their own, numbered as the published file says, and stock's rows are as ever."""
        published = (Path(__file__).parents[2] / "docs/protocol/partitions.xg").read_text()
        indices = [int(number) for number in re.findall(r"^statindex (\d+)$", published, re.MULTILINE)]
        opcodes = [int(number) for number in re.findall(r"^\) = (\d+);$", published, re.MULTILINE)]
        ours = [VLPartitions, AFSVolPartitions]
        self.assertEqual([rxstats.STAT_INDICES[service] for service in ours], indices)
        rows = [operation.opcode for service in ours for operation in rxstats.in_order(service)]
        self.assertEqual(rows, opcodes)
        self.assertEqual(len(rxstats.in_order(VL)), 28)

    def test_counted(self) -> None:
        """A call of one counts there."""
        ports = Ports()
        self.addCleanup(ports.stop)
        statistics = RpcStatistics()
        statistics.process_on = True
        ports.rx_server.add(VLPartitions, lambda call: ProbedPartitions())
        rxstats.serve(ports.rx_server, statistics, lambda call: True, lambda: NOW, (0,))
        address = ports.server.address
        vl: Any = VLPartitions.client(ports.client.connect(address, VL.service_id))
        client: Any = RXSTATS.client(ports.client.connect(address, RXSTATS.service_id))
        ports.run(vl.PartitionCapabilities())
        ports.run(vl.ProbeServer())
        *_, words = ports.run(client.RetrieveProcessRPCStats(1))
        rows = [words[start : start + rxstats.WORDS] for start in range(0, len(words), rxstats.WORDS)]
        called = [row[3:6] for row in rows if row[7]]
        self.assertEqual(called, [(15, 28, 0), (40, 12, 0)])
