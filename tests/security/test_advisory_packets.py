"""OpenAFS's security advisories about Rx, each by its number: packets of the servers, and of their peers."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IListeningPort

from afs.rpc.vl import VL
from afs.types import AFSFid
from rx.constants import HEADER_SIZE, PacketType
from rx.packet import ACK_ACKS, unpack_header
from rx.streams import Buffer
from tests.security.cell import SECRET, AdvisoryTest
from tests.security.wire import Datagrams, Trailers, Watch
from tests.support.craft import craft, data


class Packets(AdvisoryTest):
    """What the servers' packets look like."""

    tap: Watch

    async def setUp(self) -> None:  # type: ignore[override]
        self.tap = Watch()
        await super().setUp()

    async def test_2015_007(self) -> None:
        """The three bytes after the acknowledgements of every ACK are zero."""
        size = 4_000_000  # many packets, however large the path lets them be
        await self.cell.tool.store(self.file, bytes(size), 0, size)
        acks = self.tap.sent(PacketType.ACK)
        self.assertGreater(len(acks), 3)
        for ack in acks:
            after = ACK_ACKS + ack.payload[HEADER_SIZE + 17]
            self.assertEqual(ack.payload[after : after + 3], bytes(3))
            self.assertEqual(len(ack.payload), after + 3 + 16)

    async def test_2019_001(self) -> None:
        """A call that is refused sends no data, whether it has results, a stream or both."""
        missing = AFSFid(self.volume, 99, 99)
        calls = {
            "FetchStatus": self.fs.FetchStatus(missing),
            "FetchData64": self.fs.FetchData64(missing, 0, 10, Buffer()),
            "FetchACL": self.fs.FetchACL(missing),
            "RemoveFile": self.fs.RemoveFile(self.root, b"missing"),
            "GetEntryByNameN": self.locations(self.cell.tool).GetEntryByNameN(b"missing"),
            "GetStatus": self.volumes(self.cell.tool).GetStatus(99),
            "NukeVolume": self.volumes(self.stranger).NukeVolume(0, self.volume),
        }
        self.tap.packets.clear()
        for name, call in calls.items():
            self.assertNotEqual(await self.refusal(call), 0, name)
            self.assertEqual(len(self.tap.sent(PacketType.ABORT, name)), 1, name)
            self.assertEqual(self.tap.sent(PacketType.DATA, name), [], name)

    async def test_2003_002(self) -> None:
        """A connection is its owner's: packets from elsewhere, of another service or security class, are not of it."""
        owner, other = self.datagrams(), self.datagrams()
        server = self.cell.vlserver_address
        terms: dict[str, Any] = {"epoch": 0x1234567, "cid": 0x4440, "service_id": VL.service_id}
        probe = (514).to_bytes(4, "big")
        owner.send(data(probe, number=1, serial=1, **terms), server)
        self.assertEqual(unpack_header(await owner.answer())[2], 1)
        for strange in ({"security_index": 2}, {"service_id": 1}, {"security_index": 9}):
            owner.send(data(probe, number=2, serial=2, **terms | strange), server)
        other.send(data(probe, number=2, serial=2, **terms), server)
        await other.answer()  # to whom it is a connection of its own
        owner.send(data(probe, number=2, serial=3, **terms), server)
        answers = [unpack_header(await owner.answer())]
        while answers[-1][5] != PacketType.DATA or answers[-1][2] != 2:
            answers.append(unpack_header(await owner.answer()))
        for each in (owner, other):
            each.send(craft(PacketType.ACKALL, number=2, serial=4, **terms), server)
        mine = [each for each in answers if each[2] == 2 and each[5] == PacketType.DATA]
        self.assertEqual([(each[8], each[10]) for each in mine], [(0, VL.service_id)])

    def datagrams(self) -> Datagrams:
        opened = Datagrams()
        listening: IListeningPort = opened.listening
        self.addCleanup(listening.stopListening)
        return opened


class AckTrailers(AdvisoryTest):
    """What peers say of themselves."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.trailers = Trailers()
        self.tap = self.trailers
        await super().setUp()

    async def test_2017_001(self) -> None:
        """Packet sizes, windows and jumbograms that no peer has neither stop a transfer nor anything else."""
        content = SECRET * 5000
        await self.cell.tool.store(self.file, content, 0, len(content))
        for trailer in (
            (0, 0, 32, 1),
            (1, 1, 32, 1),
            (27, 27, 0, 0),
            (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            (1444, 1444, 0, 0),
            (0, 0, 0, 0),
        ):
            self.trailers.words, before = trailer, self.trailers.rewritten
            self.assertEqual(await self.cell.tool.read_file(self.file), content, trailer)
            self.assertGreater(self.trailers.rewritten, before)
        self.trailers.words = None
        await self.served()
