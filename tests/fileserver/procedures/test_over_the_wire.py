"""The same server through real packets: two clients of our own and one fileserver on loopback."""

from __future__ import annotations

import errno
from collections.abc import Awaitable
from random import Random

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

import fileserver.rxchannel
import rx.connection
from afs.acl import ALL_RIGHTS
from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.procedures.files import PIECE_SIZE
from rx.errors import Abort, RxError
from tests.support.budget import budget
from tests.support.cell import Cell, start_cell

EVERYTHING = "rlidwk"
DEAD_SECONDS = 1.0
"""Silence after which the server takes a client for dead here."""


class Stalled:
    """A source whose data stops coming after the first piece, until `gate` fires."""

    length: int | None = None

    def __init__(self, first: bytes) -> None:
        self.gate: Deferred[bytes] = Deferred()
        self._first = first

    async def read(self, size: int = 1 << 30, /) -> bytes:
        if self._first:
            piece, self._first = self._first[:size], self._first[size:]
            return piece
        return await self.gate


class Wire(TestCase):
    backend = "memory"
    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.cell: Cell = await start_cell(self, backend=self.backend)
        self.a = self.cell.client()
        self.b = self.cell.client()
        self.volume = await self.cell.create_volume(b"vol", quota=0, acl={"system:anyuser": EVERYTHING})
        self.root = AFSFid(self.volume, 1, 1)

    async def create(self, name: bytes = b"f", content: bytes = b"") -> AFSFid:
        fid = await self.a._create(self.root, name, 0o644)
        if content:
            await self.a.store(fid, content, 0, len(content))
        return fid

    async def refused(self, code: int, work: Awaitable[object]) -> None:
        try:
            await work
        except Abort as abort:
            self.assertEqual(abort.code, code)
        else:
            self.fail(f"not refused with {code}")

    async def test_a_store_is_seen_by_the_other(self) -> None:
        """B has heard that the file changed before A's store is answered, and fetches what A stored; both ways."""
        fid = await self.create(content=b"0")
        for number in range(budget("fileserver.coherence", full=2000, least=40).count):
            writer, reader = (self.a, self.b) if number % 2 else (self.b, self.a)
            await reader.status(fid)
            told = len(reader.breaks.of(fid))
            content = b"%d" % number
            await writer.store(fid, content, 0, len(content))
            self.assertEqual(len(reader.breaks.of(fid)), told + 1)
            self.assertEqual(await reader.read_file(fid), content)

    async def test_large_files(self) -> None:
        """Some megabytes come back as they went, whole and in parts."""
        spent = budget("fileserver.large", full=20)
        random = Random(spent.seed)
        for _ in range(spent.count):
            content = random.randbytes(random.randrange(1 << 20, 6 << 20))
            fid = await self.create(b"large", content)
            self.assertEqual(await self.b.read_file(fid), content)
            start, size = random.randrange(len(content)), random.randrange(1 << 21)
            self.assertEqual(await self.b.read_file(fid, start, size), content[start : start + size])
            await self.a.on_volume(self.volume, lambda fs: fs.RemoveFile(self.root, b"large"))

    async def test_a_sparse_offset(self) -> None:
        """Five GiB from the start."""
        fid = await self.create()
        await self.a.store(fid, b"far", 5 << 30, (5 << 30) + 3)
        self.assertEqual(await self.b.read_file(fid, (5 << 30) - 3, 100), b"\0\0\0far")

    async def test_names(self) -> None:
        """255 bytes are a name, 256 are too long for a directory, 257 for the protocol."""
        await self.create(b"n" * 255)
        self.assertIn(b"n" * 255, await self.b.list_directory(self.root))
        await self.refused(errno.EINVAL, self.create(b"n" * 256))

    async def test_access_lists(self) -> None:
        """Without noauth nobody is an administrator: the list decides, and is answered as errno."""
        await self.a.set_acl(self.root, {"system:anyuser": "l"})
        granted, denied = await self.b.get_acl(self.root)
        self.assertEqual((granted, denied), ({"system:anyuser": 8}, {}))
        await self.a.set_acl(self.root, {"system:administrators": ALL_RIGHTS, "system:anyuser": "rl"})
        self.assertEqual((await self.b.status(self.root)).AnonymousAccess, 9)
        await self.refused(errno.EINVAL, self.a.set_acl(self.root, {"nobody": "rl"}))

    async def test_locks(self) -> None:
        """B gets the lock when A has released it."""
        fid = await self.create()
        await self.a.lock(fid, write=True)
        await self.refused(errno.EAGAIN, self.b.lock(fid))
        await self.a.extend_lock(fid)
        await self.b.status(fid)
        broken = self.b.breaks.expect(fid)
        await self.a.release_lock(fid)
        await broken
        await self.b.lock(fid)

    async def test_quota(self) -> None:
        """EDQUOT's code when the volume is full, and room again when something is removed."""
        await self.create(b"big", b"x" * (1 << 20))
        await self.a.set_quota(self.root, 1030)
        await self.create(b"one")
        await self.create(b"two")
        await self.create(b"three")
        await self.refused(VolumeError.VOVERQUOTA, self.a.on_volume(self.volume, self._fill))
        await self.a.on_volume(self.volume, lambda fs: fs.RemoveFile(self.root, b"big"))
        await self.create(b"again")

    async def _fill(self, fs: object) -> None:
        for number in range(10):
            await self.create(b"%d" % number)

    async def test_concurrent_files(self) -> None:
        """Fifty files stored at once by two clients are all there, each with its own content."""
        contents = {b"%d" % number: b"%d" % number * 3000 for number in range(50)}
        clients = [self.a, self.b]

        async def put(number: int, name: bytes) -> None:
            client = clients[number % 2]
            fid = await client._create(self.root, name, 0o644)
            await client.store(fid, contents[name], 0, len(contents[name]))

        await gatherResults([ensureDeferred(put(*each)) for each in enumerate(contents)], consumeErrors=True)
        listing = await self.b.list_directory(self.root)
        self.assertEqual(set(listing) - {b".", b".."}, set(contents))
        for name, content in contents.items():
            vnode, unique = listing[name]
            self.assertEqual(await self.b.read_file(AFSFid(self.volume, vnode, unique)), content)

    async def test_stores_into_one_file(self) -> None:
        """Of stores at once into one file, each is whole or not there; the versions count them."""
        fid = await self.create(content=b"z" * 4096)
        letters = [bytes([65 + number]) for number in range(16)]
        await gatherResults(
            [
                ensureDeferred((self.a, self.b)[n % 2].store(fid, each * 4096, 0, 4096))
                for n, each in enumerate(letters)
            ],
            consumeErrors=True,
        )
        content = await self.b.read_file(fid)
        self.assertIn(content, [each * 4096 for each in letters])
        self.assertEqual((await self.b.status(fid)).DataVersion, 17)

    async def test_a_client_that_vanishes_while_it_stores(self) -> None:
        """Its file is free again when its call is dead; others are served, and the piece that came is there."""
        fid = await self.create(content=b"old")
        other = await self.create(b"other", b"here")
        dying = self.cell.client()
        await dying.status(fid)
        source = Stalled(b"n" * PIECE_SIZE + b"the rest" * 1000)  # some packets more, so that the piece is sent whole
        storing = ensureDeferred(dying.store(fid, source, 0, 4 * PIECE_SIZE, length=4 * PIECE_SIZE))
        storing.addErrback(lambda failure: failure.trap(RxError))
        await self._written(fid, PIECE_SIZE)
        self.assertEqual(await self.b.read_file(other), b"here")
        waiting = ensureDeferred(self.b.read_file(fid))
        await self._pause(0.2)
        self.assertFalse(waiting.called)
        await dying.stop()
        source.gate.callback(b"")
        await storing
        self.assertEqual(await waiting, b"n" * PIECE_SIZE)

    async def _written(self, fid: AFSFid, size: int) -> None:
        """Until the store holds that much of a file."""
        volume = self.cell.fileservers[0].service.registry.find(self.volume)
        assert volume is not None
        while await volume.files.content_length(fid.Vnode) < size:
            await self._pause(0.01)

    async def test_a_dead_holder(self) -> None:
        """A holder whose machine is gone delays a store until it counts as dead, once; then nobody waits for it."""
        fid = await self.create(content=b"x")
        self.patch(rx.connection, "LEAST_DEAD_SECONDS", DEAD_SECONDS)
        self.patch(fileserver.rxchannel, "BREAK_SECONDS", DEAD_SECONDS)
        gone = self.cell.client()
        await gone.status(fid)
        await gone.stop()
        clock = self._reactor()
        before = clock.seconds()
        await self.a.store(fid, b"y", 0, 1)
        first = clock.seconds() - before
        self.assertLess(first, 10 * DEAD_SECONDS)
        before = clock.seconds()
        await self.a.store(fid, b"z", 0, 1)
        self.assertLess(clock.seconds() - before, first / 2)

    def _reactor(self):  # type: ignore[no-untyped-def]
        from twisted.internet import reactor

        return reactor

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor(), seconds, lambda: None)


class OnFiles(Wire):
    backend = "namei-user"
