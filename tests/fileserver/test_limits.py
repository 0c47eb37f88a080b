"""The limits on a fileserver's command line, at work on its ports."""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from afs.client import store_status
from afs.limits import chosen_limits
from afs.rpc.fs import RXAFS
from afs.rpc.volser import AFSVol
from afs.types import AFSFid
from fileserver.tap import Options
from rx.constants import HEADER_SIZE, PacketType
from rx.errors import Abort
from rx.packet import unpack_header
from rx.timers import ABORT_DELAY_SECONDS
from tests.security.wire import Datagrams, Watch, words
from tests.support.cell import Cell, start_cell
from tests.support.craft import craft, data

MONITOR = words(next(each.opcode for each in AFSVol.operations.values() if each.name == "Monitor"))
REPEATS = 12
"""Of one refusal: more than the default of ten."""


async def cell_with(case: TestCase, *words: str, tap: Any = None) -> Cell:
    """A cell whose fileserver was started with these options."""
    options = Options()
    options.parseOptions(list(words))
    return await start_cell(case, tap=tap, limits=chosen_limits(options), abort_threshold=options["abortthreshold"])


class Quotas(TestCase):
    """Of the volume server's port, which sends nothing of itself to who calls."""

    def caller(self, host: str) -> Datagrams:
        opened = Datagrams(host)
        self.addCleanup(opened.listening.stopListening)
        return opened

    def volser(self, cell: Cell) -> tuple[str, int]:
        return str(cell.fileservers[0].address), cell.fileservers[0].volser_port

    async def test_connections(self) -> None:
        """The third connection of a host that may have two is not answered; another host's first is."""
        server = self.volser(await cell_with(self, "--max-connections-per-host", "2"))
        one, other = self.caller("127.0.0.98"), self.caller("127.0.0.99")
        for cid in (0x100, 0x200, 0x300):
            one.send(data(MONITOR, cid=cid, service_id=AFSVol.service_id, epoch=5), server)
        other.send(data(MONITOR, cid=0x400, service_id=AFSVol.service_id, epoch=5), server)
        await other.answer()  # which came after whatever there was for the first
        self.assertEqual({unpack_header(each)[1] for each in one.received}, {0x100, 0x200})

    async def test_calls(self) -> None:
        """The second call at a time of a host that may have one is told BUSY; another host's first is served."""
        server = self.volser(await cell_with(self, "--max-calls-per-host", "1"))
        one, other = self.caller("127.0.0.98"), self.caller("127.0.0.99")
        terms: dict[str, int] = {"cid": 0x100, "service_id": AFSVol.service_id, "epoch": 5}
        one.send(craft(PacketType.DATA, MONITOR, seq=1, **terms), server)
        for caller, cid in ((one, 0x101), (other, 0x100)):
            caller.send(data(MONITOR, cid=cid, service_id=AFSVol.service_id, epoch=5), server)
        self.assertEqual(unpack_header(await other.answer())[5], PacketType.DATA)
        answers = {(fields[1], fields[5]) for fields in map(unpack_header, one.received)}
        self.assertIn((0x101, PacketType.BUSY), answers)
        self.assertNotIn((0x101, PacketType.DATA), answers)


class Sizes(TestCase):
    async def test_datagrams(self) -> None:
        """No datagram of the server's is larger than --rxmaxmtu, nor any that its client sends it."""
        watch = Watch()
        cell = await cell_with(self, "--rxmaxmtu", "600", tap=watch)
        volume = await cell.create_volume(b"vol", acl={"system:anyuser": "rlidwk"})
        server = cell.fileservers[0]
        files = cell.tool.fs((str(server.address), server.port))
        file, *_ = await files.CreateFile(AFSFid(volume, 1, 1), b"file", store_status(mode=0o644))
        content = bytes(100_000)
        await cell.tool.store(file, content, 0, len(content))
        self.assertEqual(await cell.tool.read_file(file), content)
        sizes = {
            len(each.payload)
            for each in watch.packets
            if each.served and each.operation in ("FetchData64", "StoreData64")
        }
        self.assertGreater(max(sizes), HEADER_SIZE)
        self.assertLessEqual(max(sizes), 600)


class Refusals(TestCase):
    """What a client gets that repeats what is refused."""

    async def seconds(self, threshold: str) -> float:
        cell = await cell_with(self, "--abortthreshold", threshold)
        server = cell.fileservers[0]
        files: RXAFS = cell.client().fs((str(server.address), server.port))
        await files.GetTime()
        started = monotonic()
        for _ in range(REPEATS):
            with self.assertRaises(Abort):
                await files.FetchStatus(AFSFid(99, 1, 1))
        return monotonic() - started

    async def test_threshold(self) -> None:
        """--abortthreshold N lets N of a kind pass at once, and 0 all of them."""
        held, free = await gatherResults(
            [Deferred.fromCoroutine(self.seconds(each)) for each in (str(REPEATS - 1), "0")]
        )
        self.assertGreater(held, ABORT_DELAY_SECONDS * 0.9)
        self.assertLess(held, ABORT_DELAY_SECONDS * 1.9)
        self.assertLess(free, ABORT_DELAY_SECONDS * 0.9)
