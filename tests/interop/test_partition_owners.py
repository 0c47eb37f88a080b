"""One partition, two fileservers as processes: whatever happens to them, one has it, and the other writes nothing."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from afs.client import store_status
from afs.errors import VolumeError
from afs.rpc.fs import RXAFS
from afs.types import AFSFid
from fileserver.partitions.tenure import ASKED_SECONDS, MARGIN_SECONDS, TENURE_SECONDS
from rx.errors import Abort, CallLost
from rx.streams import BytesSource
from tests.interop.case import InteropTest
from tests.interop.ours import START_SECONDS
from tests.interop.partition_cells import SERVERS, VOLUME, PartitionCell
from tests.interop.stock import address_of
from tests.support.budget import budget

WRITERS = 4
BLOCK = 50_000
"""Bytes of a store: many packets, and several writes at the server."""
BUSY_SECONDS = 5.0
"""What a two-core machine with much else to do may add."""
TAKEOVER_SECONDS = TENURE_SECONDS + MARGIN_SECONDS + BUSY_SECONDS
"""For a take-over from an owner that is silent."""
ASKING_SECONDS = ASKED_SECONDS + TAKEOVER_SECONDS
"""For one from an owner that lives."""


ELSEWHERE = (VolumeError.VNOVOL, VolumeError.VMOVED)
"""With what a server refuses that does not have the partition: VMOVED for a while, when it knows who has it now."""


@dataclass
class Stream:
    """Stores to one file at one server, without end, each with its number; `answered` has which were, and when."""

    fs: RXAFS
    fid: AFSFid
    name: str
    answered: list[float] = field(default_factory=list)
    refusal: int = 0

    async def run(self) -> None:
        """Until the server refuses or is silent."""
        while True:
            try:
                await store(self.fs, self.fid, numbered(self.name, len(self.answered) + 1))
            except Abort as refused:
                self.refusal = refused.code
                return
            except CallLost:
                return
            self.answered.append(time.monotonic())

    def explains(self, content: bytes) -> bool:
        """Whether this is the last content that was answered, or a beginning of the next one over it."""
        number = len(self.answered)
        old, new = numbered(self.name, number) if number else b"", numbered(self.name, number + 1)
        same = next((at for at, (a, b) in enumerate(zip(content, new, strict=False)) if a != b), len(content))
        return content[same:] == old[same : len(content)] and len(content) in (len(old), same)


class Stalled:
    """A source of two blocks, of which the second comes when `more` fires."""

    def __init__(self) -> None:
        self.begun: Deferred[None] = Deferred()
        self.more: Deferred[bytes] = Deferred()
        self._pieces = [bytes(BLOCK)]

    async def read(self, size: int, /) -> bytes:
        """The next of them."""
        if self._pieces:
            return self._pieces.pop()
        self.begun.callback(None)
        return await self.more


def numbered(name: str, number: int) -> bytes:
    """The content of one store; every line says which."""
    line = f"{number:09} {name}\n".encode()
    return (line * (BLOCK // len(line) + 1))[:BLOCK]


async def store(fs: RXAFS, fid: AFSFid, content: bytes) -> None:
    """Make it the content, by this server and no other."""
    size = len(content)
    await fs.StoreData64(fid, store_status(), 0, size, size, BytesSource(content))


def volumes_bytes(partition: Path) -> dict[str, str]:
    """Digests of all files that volumes are made of."""
    files = (path for path in partition.rglob("*") if path.is_file() and not path.name.startswith(".txafs"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class OwnerTests(InteropTest):
    """fs1 has the partition when a test begins."""

    async def cell(self, backend: str = "namei") -> PartitionCell:
        """Servers that run, and a volume on the shared partition of fs1."""
        cell = PartitionCell(self)
        await cell.start()
        await cell.share(backend)
        return cell

    async def test_by_turns(self) -> None:
        """Unmounted here and mounted there, by command or by force, restarted or killed: contents, promises, entries
        and the next restart all know whose it is.
        """
        await self._by_turns("namei")

    async def test_by_turns_without_root(self) -> None:
        """The same where owners and modes are kept beside the files."""
        await self._by_turns("namei-user")

    async def _by_turns(self, backend: str) -> None:
        cell = await self.cell(backend)
        client, other = cell.client("ca"), cell.client("cb")
        await client.write_file("/file", b"of fs1")
        fid = await client.resolve("/file")
        await other.status(fid)
        told = other.breaks.expect(AFSFid(fid.Volume, 0, 0))

        self.assertIn(str(cell.servers["fs1"]).encode(), (await cell.mount("fs2", may=False)).text)
        await cell.unmount("fs1")
        await told
        self.assertIsNone(await cell.owner())
        await cell.mount("fs2")
        await self._is_at(cell, "fs2", b"of fs1")
        await client.write_file("/file", b"of fs2")

        await cell.restart("fs1")
        await self._is_at(cell, "fs2", b"of fs2")
        epoch = cell.label().epoch
        await cell.restart("fs2")
        await self._is_at(cell, "fs2", b"of fs2")
        self.assertEqual(cell.label().epoch, epoch)

        told = other.breaks.expect(AFSFid(fid.Volume, 0, 0))
        await other.status(fid)
        start = time.monotonic()
        await cell.mount("fs1", force=True)
        self.assertLess(time.monotonic() - start, ASKING_SECONDS)
        await told
        await self._is_at(cell, "fs1", b"of fs2")

        told = other.breaks.expect(AFSFid(fid.Volume, 0, 0))
        await other.status(fid)
        await client.write_file("/file", b"of fs1 again")
        await cell.stop("fs1", signal.SIGKILL)
        start = time.monotonic()
        await cell.mount("fs2", force=True)
        self.assertLess(time.monotonic() - start, TAKEOVER_SECONDS)
        await told
        await cell.start_servers("fs1")
        await self._is_at(cell, "fs2", b"of fs1 again")

    async def _is_at(self, cell: PartitionCell, name: str, content: bytes) -> None:
        """A server has it, the VLDB says so to everybody, and it serves this content."""
        self.assertEqual(await cell.owner(), name)
        said = (await cell.vos("examine", VOLUME)).check().out
        self.assertRegex(said, rf"server {name}\S* partition /vicepd RW Site")
        self.assertEqual(await cell.client("ca").read_file("/file"), content)

    async def test_stopped(self) -> None:
        """A server stopped in the middle of writes, robbed of its partition and continued writes no byte any more, and
        answers nothing that its heir did not find; what it had answered before is there.
        """
        cell = await self.cell()
        chosen = budget("interop.stopped", full=40, least=2)
        seed = random.Random(chosen.seed)
        for turn in range(chosen.count):
            victim, heir = SERVERS[turn % 2], SERVERS[1 - turn % 2]
            await self._stop_in_the_middle(cell, victim, heir, turn, least=seed.randrange(10, 60))

    async def _stop_in_the_middle(self, cell: PartitionCell, victim: str, heir: str, turn: int, least: int) -> None:
        client = cell.client("ca")
        fs = client.fs((address_of(victim), 7000))
        names = [f"turn{turn}-{number}" for number in range(WRITERS)]
        streams = [Stream(fs, await client.create(f"/{name}"), name) for name in names]
        running = [Deferred.fromCoroutine(stream.run()) for stream in streams]
        await self.until(lambda: sum(len(stream.answered) for stream in streams) >= least)
        cell.daemons[victim].send(signal.SIGSTOP)
        start = time.monotonic()
        await cell.mount(heir, force=True)
        taken = time.monotonic()
        self.assertLess(taken - start, TAKEOVER_SECONDS)
        reader = cell.client("cb")
        found = {}
        for stream in streams:
            found[stream.name] = await reader.read_file(stream.fid)
            self.assertTrue(stream.explains(found[stream.name]), stream.name)
            await reader.store(stream.fid, numbered(heir, 1), 0, BLOCK)
        before = volumes_bytes(cell.partition)
        cell.daemons[victim].send(signal.SIGCONT)
        await gatherResults(running)
        await cell.left(victim)
        self.assertEqual(volumes_bytes(cell.partition), before)
        for stream in streams:
            if stream.answered and stream.answered[-1] > taken:  # the answer was made before, and left late
                self.assertEqual(found[stream.name], numbered(stream.name, len(stream.answered)))
            self.assertIn(stream.refusal, (0, *ELSEWHERE))
            self.assertLessEqual(sum(answered > taken for answered in stream.answered), 1)
            with self.assertRaises(Abort) as refused:
                await fs.FetchStatus(stream.fid)
            self.assertIn(refused.exception.code, ELSEWHERE)
            self.assertEqual(await reader.read_file(stream.fid), numbered(heir, 1))
        self.assertEqual(await cell.owner(), heir)

    async def test_asked_in_the_middle(self) -> None:
        """An owner that is asked while a store does not end cuts it off, lets go in time, and may have the partition
        again.
        """
        cell = await self.cell()
        client = cell.client("ca")
        fid = await client.create("/file")
        await client.store(fid, b"before", 0, 6)
        fs = client.fs((address_of("fs1"), 7000))
        source = Stalled()
        storing = Deferred.fromCoroutine(fs.StoreData64(fid, store_status(), 0, 2 * BLOCK, 2 * BLOCK, source))
        await source.begun
        start = time.monotonic()
        await cell.mount("fs2", force=True)
        self.assertLess(time.monotonic() - start, ASKED_SECONDS)
        source.more.callback(bytes(BLOCK))
        await self.assertFailure(storing, Abort)
        await cell.left("fs1")
        self.assertEqual(await cell.owner(), "fs2")
        self.assertLessEqual(len(await client.read_file(fid)), BLOCK)
        await cell.mount("fs1", force=True)
        self.assertEqual(await cell.owner(), "fs1")
        self.assertLessEqual(len(await cell.client("cb").read_file(fid)), BLOCK)

    async def test_cut_off(self) -> None:
        """A server cut off from the network that goes on with the storage is asked there, closes its volumes and lets
        go; when it is back it knows.
        """
        cell = await self.cell()
        client = cell.client("ca")
        await client.write_file("/file", b"before")
        fid = await client.resolve("/file")
        cell.network.plug(cell.nodes["fs1"], False)
        epoch, beat = cell.label().epoch, cell.label().beat
        await self.until(lambda: cell.label().beat > beat)
        start = time.monotonic()
        await cell.mount("fs2", force=True)
        self.assertLess(time.monotonic() - start, ASKING_SECONDS)
        self.assertEqual(cell.label().epoch, epoch + 1)
        self.assertIn("has claimed the partition with epoch", cell.log("fs1"))
        client.locator.forget(fid.Volume)
        self.assertEqual(await client.read_file(fid), b"before")
        await client.store(fid, b"after", 0, 5)
        cell.network.plug(cell.nodes["fs1"], True)
        self.assertEqual(await cell.owner(), "fs2")
        with self.assertRaises(Abort) as refused:
            await client.fs((address_of("fs1"), 7000)).FetchStatus(fid)
        self.assertIn(refused.exception.code, ELSEWHERE)

    async def test_started_at_once(self) -> None:
        """Of two servers that start at the same time, both of which have had the partition mounted, one serves it: that
        which had it last, whatever an older copy of the VLDB says.
        """
        cell = await self.cell()
        await cell.client("ca").write_file("/file", b"content")
        await cell.stop("db")
        first = cell.keep_database()
        await cell.start_vlserver()
        for _ in range(budget("interop.at-once", full=20, least=1).count):
            await cell.mount("fs2", force=True)
            for restored in (None, first):
                await self._start_at_once(cell, restored)
                await self._is_at(cell, "fs2", b"content")
            await cell.mount("fs1", force=True)
            await self._start_at_once(cell, None)
            await self._is_at(cell, "fs1", b"content")

    async def _start_at_once(self, cell: PartitionCell, restored: Path | None) -> None:
        """Everything goes down as in a power cut, perhaps the VLDB is put back, and comes up at once."""
        for name in SERVERS:
            await cell.stop(name, signal.SIGKILL)
        if restored is not None:
            await cell.stop("db")
            cell.restore_database(restored)
            await cell.start_vlserver()
        await cell.start_servers(*SERVERS)

    async def test_without_vlserver(self) -> None:
        """An owner whose vlserver is away goes on; one that starts waits for it, and then serves what is its own."""
        cell = await self.cell()
        client = cell.client("ca")
        await client.write_file("/file", b"before")
        fid = await client.resolve("/file")
        await cell.stop("db", signal.SIGKILL)
        beat = cell.label().beat
        await self.until(lambda: cell.label().beat > beat + TENURE_SECONDS)
        await client.store(fid, b"meanwhile", 0, 9)
        await cell.stop("fs1")
        size = cell.launch("fs1")
        await self.until(lambda: 7005 in cell.nodes["fs1"].udp_ports(), START_SECONDS)
        self.assertNotIn("serving", cell.log("fs1")[size:])
        await cell.start_vlserver()
        await cell.said("fs1", "serving AFSVol", size)
        await self._is_at(cell, "fs1", b"meanwhile")
