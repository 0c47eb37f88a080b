"""AFSVol: Forward and ForwardMultiple, between the volume servers of a cell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from errno import ENOENT

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from afs.errors import VolserError
from afs.rpc.volser import AFSVol, ITBusy, destServer, replica, restoreCookie
from afs.types import AFSFid
from fileserver.interfaces import Vnode
from fileserver.store.memory import MemoryPartition
from fileserver.volser.cloning import new_header
from fileserver.volser.dump import Dump
from fileserver.volser.forward import forward
from fileserver.volume.vn import FILE
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from rx.streams import MAXIMUM_READ, Buffer, Source
from tests.support.cell import Cell, start_cell

RW = 0
CONTENT = b"0123456789abcdef" * (3 << 16) + b"end"
MALFORMED = VolserError.VOLSERREAD_DUMPERROR


class Forwarding(SynchronousTestCase):
    """The stream to several at once, without a network."""

    def setUp(self) -> None:
        async def make() -> Dump:
            header = new_header(7, 7, b"vol", RW, 0)
            files = await MemoryPartition().create_volume(header)
            file = Vnode(FILE, 0o644, 1, len(CONTENT), 2, 1, 0, 0, 0, 0, 1, 0)
            await files.create_vnode(2, file, CONTENT)
            return Dump(header, files)

        self.dump = self.successResultOf(ensureDeferred(make()))
        self.taken: list[bytes] = []
        self.most = 0

    def forward(self, *restores: Callable[[Source], Awaitable[None]]) -> Deferred[tuple[int, ...]]:
        async def breathe() -> None:
            return None

        return ensureDeferred(forward(self.dump, restores, breathe))

    async def whole(self, source: Source) -> None:
        taken = b""
        while piece := await source.read(MAXIMUM_READ):
            taken += piece
            self.most = max(self.most, len(taken))
        self.taken.append(taken)

    async def refusing(self, source: Source) -> None:
        raise Abort(ENOENT)

    async def losing(self, source: Source) -> None:
        await source.read(5)
        raise CallLost(RxCode.RX_CALL_DEAD, "gone")

    async def content(self, source: Source) -> None:
        await source.read(5)

    def test_one_fails(self) -> None:
        """Who refuses, is lost, or is content too early fails alone: the others get all of the stream."""
        codes = self.successResultOf(self.forward(self.whole, self.refusing, self.losing, self.content, self.whole))
        early = VolserError.VOLSERDUMPERROR
        self.assertEqual(codes, (0, ENOENT, early, early, 0))
        stream = Buffer()

        async def write() -> None:
            async def breathe() -> None:
                return None

            await self.dump.write(stream, breathe)

        self.successResultOf(ensureDeferred(write()))
        self.assertEqual(self.taken, [bytes(stream)] * 2)

    def test_all_fail(self) -> None:
        """With nobody left the dump is not read to its end."""
        self.assertEqual(self.successResultOf(self.forward(self.refusing, self.refusing)), (ENOENT, ENOENT))
        self.assertEqual(self.successResultOf(self.forward()), ())

    def test_slow(self) -> None:
        """Nothing is piled up for one who does not read; when the forward is given up its call is cancelled."""
        cancelled: list[bool] = []

        async def stuck(source: Source) -> None:
            waiting: Deferred[None] = Deferred(lambda _: cancelled.append(True))
            await waiting

        going = self.forward(stuck, self.whole)
        self.assertNoResult(going)
        self.assertLess(self.most, len(CONTENT) // 2)
        going.addErrback(lambda _: None)
        going.cancel()
        self.assertEqual(cancelled, [True])


class OverTheWire(TestCase):
    """Two fileservers, with a store on the disk and with one in memory."""

    timeout = 180

    async def start(self, backend: str) -> None:
        self.cell: Cell = await start_cell(self, backend=backend, fileservers=2)
        self.volume = await self.cell.create_volume(b"vol", quota=0, acl={"system:anyuser": "rlidwka"})
        self.root = AFSFid(self.volume, 1, 1)
        self.file = await self.cell.tool._create(self.root, b"file", 0o644)
        await self.cell.tool.store(self.file, CONTENT, 0, len(CONTENT))
        self.source, self.target = self.cell.volser(0), self.cell.volser(1)

    def destination(self, trans: int, number: int = 1) -> replica:
        server = self.cell.fileservers[number]
        return replica(trans=trans, server=destServer(int(server.address), server.volser_port, 1))

    async def stream(self, volser: AFSVol, since: int = 0) -> bytes:
        """The vnodes of a volume's dump."""
        trans = await volser.TransCreate(self.volume, 0, ITBusy)
        stream = Buffer()
        await volser.Dump(trans, since, stream)
        await volser.EndTrans(trans)
        return bytes(stream)[bytes(stream).index(b"\3\0\0\0\1") :]

    async def forwarded(self) -> None:
        """All of it, then what changed, as `vos move` does."""
        cookie = restoreCookie(name=b"vol", type=RW, parent=self.volume)
        _, there = await self.target.CreateVolume(0, b"vol", RW, self.volume, self.volume)
        here = await self.source.TransCreate(self.volume, 0, ITBusy)
        destination = self.destination(there)
        await self.source.Forward(here, 0, destination.server, there, cookie)
        await self.source.EndTrans(here)
        status = await self.cell.tool.status(self.file)
        await self.cell.tool.store(self.file, b"changed", 0, 7)
        here = await self.source.TransCreate(self.volume, 0, ITBusy)
        await self.source.Forward(here, status.ServerModTime, destination.server, there, cookie)
        await self.source.EndTrans(here)
        await self.target.SetFlags(there, 0)
        await self.target.EndTrans(there)
        self.assertEqual(await self.stream(self.target), await self.stream(self.source))

    async def test_on_disk(self) -> None:
        """A volume forwarded, and forwarded again since a date, is the same at the other server."""
        await self.start("namei-user")
        await self.forwarded()

    async def test_in_memory(self) -> None:
        """The same with the other store."""
        await self.start("memory")
        await self.forwarded()

    async def test_multiple(self) -> None:
        """To the own server, to another, and to one whose transaction there is not: each has its own code."""
        await self.start("memory")
        cookie = restoreCookie(name=b"copy", type=RW, parent=self.volume + 10)
        copies = []
        for number in range(2):
            volume_id = self.volume + 10 + number
            _, trans = await self.cell.volser(number).CreateVolume(0, b"copy", RW, volume_id, volume_id)
            copies.append(self.destination(trans, number))
        nobody = self.destination(9999)
        here = await self.source.TransCreate(self.volume, 0, ITBusy)
        codes = await self.source.ForwardMultiple(here, 0, (*copies, nobody), 0, cookie)
        self.assertEqual(codes, (0, 0, ENOENT))
        await self.source.EndTrans(here)
        for number, copy in enumerate(copies):
            status = await self.cell.volser(number).GetStatus(copy.trans)
            self.assertEqual((status.volID, status.type), (self.volume + 10 + number, RW))
            await self.cell.volser(number).EndTrans(copy.trans)
