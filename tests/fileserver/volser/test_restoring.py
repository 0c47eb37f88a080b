"""AFSVol: Restore, from our own dumps and from damaged ones."""

from __future__ import annotations

import random
from errno import EINVAL, ENOSPC, EROFS
from struct import pack

from twisted.internet.defer import Deferred, ensureDeferred

from afs.acl import ALL_RIGHTS, ANYUSERID, AccessList, Entry
from afs.errors import VolserError, VolumeError
from afs.rpc.volser import ITBusy, ITReadOnly, restoreCookie
from afs.types import AFSFid
from fileserver.directory import Directory
from fileserver.interfaces import blocks
from fileserver.volser.dump import PIECE_SIZE
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK
from rx.errors import Abort, CallLost
from rx.streams import Buffer, BytesSource, Source
from tests.fileserver.volser.support import RW, VOLUME, Volser
from tests.fileserver.volume.support import make_file, use
from tests.support.budget import budget

COPY = VOLUME + 10
MALFORMED = VolserError.VOLSERREAD_DUMPERROR
END = pack(">BI", 4, 0x3A214B6E)

ACCESS = AccessList(positive=(Entry(ANYUSERID, ALL_RIGHTS),), negative=(Entry(7, 1),))

FLIPS = budget("volser.restore.flips", full=20_000)
SPLITS = budget("volser.restore.splits", full=1000)


class Dribble:
    """A stream that comes in pieces of any size."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        self._inner = BytesSource(data)
        self._rng = rng

    async def read(self, size: int, /) -> bytes:
        return await self._inner.read(min(size, self._rng.choice((1, 2, 7, 100, size))))


class Cut:
    """A stream whose sender is lost."""

    def __init__(self, data: bytes) -> None:
        self._inner = BytesSource(data)

    async def read(self, size: int, /) -> bytes:
        piece = await self._inner.read(size)
        if not piece:
            raise CallLost(-1, "the client is gone")
        return piece


class Restoring(Volser):
    def setUp(self) -> None:
        super().setUp()
        self.create()

    def fill(self, name: bytes, content: bytes = b"", kind: int = FILE) -> AFSFid:
        async def fill() -> AFSFid:
            async with self.server.registry.use(VOLUME) as volume:
                return await make_file(volume, name, content, kind)

        return self.run_now(fill())

    def populate(self) -> None:
        """One of each kind, and a hole in the numbers."""
        self.fill(b"file", b"content")
        gone = self.fill(b"gone", b"x")
        self.fill(b"link", b"target", SYMLINK)
        page = Directory.new((3, 5), (1, 1)).to_bytes()
        self.fill(b"dir", page, DIRECTORY)
        self.fill(b"empty")

        async def drop() -> None:
            root = AFSFid(VOLUME, 1, 1)
            async with self.server.registry.use(VOLUME) as volume, volume.exclusive(root, gone) as (parent, vn):
                parent.disk.acl = AccessList(
                    positive=(Entry(ANYUSERID, ALL_RIGHTS),), negative=(Entry(7, 1),)
                ).to_bytes()
                (await parent.directory()).remove(b"gone")
                await parent.save()
                await volume.remove(vn)

        self.run_now(drop())
        self.server.disk.volumes[VOLUME].vnodes[3].acl = ACCESS.to_bytes()

    def dump(self, volume_id: int = VOLUME, since: int = 0) -> bytes:
        trans = self.begin(volume_id, ITBusy)
        stream = Buffer()
        self.do(self.volser.Dump(trans, since, stream))
        self.do(self.volser.EndTrans(trans))
        return bytes(stream)

    def new(self, volume_id: int = COPY) -> int:
        """A transaction on a volume that is to be restored into, as vos begins it."""
        return self.do(self.volser.CreateVolume(0, b"copy", RW, volume_id, volume_id))[1]

    def cookie(self, volume_id: int = COPY) -> restoreCookie:
        return restoreCookie(name=b"copy", type=RW, clone=0, parent=volume_id)

    def restore(self, stream: bytes | Source, trans: int, volume_id: int = COPY) -> None:
        source = BytesSource(stream) if isinstance(stream, bytes) else stream
        self.do(self.volser.Restore(trans, 1, self.cookie(volume_id), source))
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))

    def held(self, volume_id: int) -> dict[int, tuple[object, bytes]]:
        """All vnodes of a volume with their content."""
        volume = self.server.disk.volumes[volume_id]
        return {
            number: (vnode, volume.contents[number].read(0, volume.contents[number].length))
            for number, vnode in volume.vnodes.items()
        }

    def attempt(self, stream: bytes, volume_id: int = COPY) -> int:
        """The code with which a new volume's restore ends; 0 when it does not fail."""
        trans = self.new(volume_id)
        code = 0

        async def attempt() -> int:
            try:
                await self.volser.Restore(trans, 1, self.cookie(volume_id), BytesSource(stream))
            except Abort as refusal:
                return refusal.code
            return 0

        code = self.run_now(attempt())
        self.do(self.volser.EndTrans(trans))
        return code

    def test_round_trip(self) -> None:
        """A restored volume holds exactly what was dumped, is called what the caller says, and is served."""
        self.populate()
        stream = self.dump()
        self.server.now += 100
        self.restore(stream, self.new())
        self.assertEqual(self.held(COPY), self.held(VOLUME))
        old, new = self.info(), self.info(COPY)
        self.assertEqual((new.name, new.volid, new.parentID, new.type), (b"copy", COPY, COPY, RW))
        for name in ("creationDate", "updateDate", "maxquota", "filecount", "size"):
            self.assertEqual(getattr(new, name), getattr(old, name), name)
        self.assertEqual((new.copyDate, new.needsSalvaged, new.destroyMe), (int(self.server.now), 0, 0))
        self.run_now(use(self.server, COPY))
        self.assertEqual(len(self.dump(COPY)), len(stream) + 2)  # the name twice, one letter more

    def test_any_pieces(self) -> None:
        """However the stream comes in, the same comes out."""
        self.populate()
        stream = self.dump()
        rng = random.Random(SPLITS.seed)
        for number in range(SPLITS.count):
            self.restore(Dribble(stream, rng), self.new(COPY + number), COPY + number)
            self.assertEqual(self.held(COPY + number), self.held(VOLUME))

    def test_large(self) -> None:
        """Content of many pieces, of zeros in the middle and at the end, keeps its length and its holes."""
        content = b"a" * PIECE_SIZE + bytes(2 * PIECE_SIZE) + b"b" + bytes(2 * PIECE_SIZE)
        file = self.fill(b"file")
        disk = self.server.disk.volumes[VOLUME]
        disk.contents[file.Vnode].write(0, content)
        disk.vnodes[file.Vnode].length = len(content)
        stream = self.dump()
        before = self.server.disk.used
        self.restore(stream, self.new())
        self.assertEqual(self.held(COPY), self.held(VOLUME))
        self.assertLess(self.server.disk.used - before, 3 * PIECE_SIZE)
        self.assertEqual(self.info(COPY).size, blocks(len(content)) + blocks(2048))

    def test_counts_are_counted(self) -> None:
        """What a stream says of blocks, files and uniquifiers is not believed."""
        self.populate()
        stream = self.dump()
        at = stream.index(b"d" + pack(">I", self.info().size) + b"f")
        lying = stream[:at] + pack(">cIcI", b"d", 1, b"f", 999) + stream[at + 10 :]
        at = lying.index(b"s\1b\1u") + 4
        lying = lying[: at + 1] + pack(">I", 1) + lying[at + 5 :]
        self.restore(lying, self.new())
        self.assertEqual(self.info(COPY).size, self.info().size)
        self.assertEqual(self.info(COPY).filecount, self.info().filecount + 1)

        async def next_unique() -> int:
            async with self.server.registry.use(COPY) as volume:
                return volume.next_unique

        highest = max(vnode.uniquifier for vnode in self.server.disk.volumes[COPY].vnodes.values())
        self.assertGreater(self.run_now(next_unique()), highest)

    def test_incremental(self) -> None:
        """A dump since a date brings an older copy up to date: changed, new and deleted files, and those that stay."""
        kept, removed, changed = (self.fill(name, name) for name in (b"kept", b"removed", b"changed"))
        self.restore(self.dump(), self.new())
        self.server.now += 100
        date = int(self.server.now)
        self.fill(b"new", b"new content")

        async def change() -> None:
            root = AFSFid(VOLUME, 1, 1)
            async with self.server.registry.use(VOLUME) as volume:
                async with volume.exclusive(changed) as (vn,):
                    await vn.truncate(0)
                    await vn.write(0, b"other")
                    vn.disk.length, vn.disk.server_modify_time, vn.disk.data_version = 5, date, 2
                    await vn.save()
                async with volume.exclusive(root, removed) as (parent, vn):
                    (await parent.directory()).remove(b"removed")
                    await parent.save()
                    await volume.remove(vn)

        self.run_now(change())
        stream = self.dump(since=date)
        self.assertNotIn(b"kept", stream[stream.rindex(b"A") + 4000 :])
        self.server.broken.clear()
        self.restore(stream, self.begin(COPY))
        self.assertEqual(self.held(COPY), self.held(VOLUME))
        self.assertIn(kept.Vnode, self.held(COPY))
        self.assertIn(COPY, self.server.broken)
        self.run_now(use(self.server, COPY))

    def test_every_truncation(self) -> None:
        """A stream that ends too early anywhere is VOLSERREAD_DUMPERROR, and leaves no volume."""
        self.fill(b"file", b"content")
        stream = self.dump()
        for size in range(len(stream)):
            self.assertEqual(self.attempt(stream[:size]), MALFORMED, size)
            self.assertEqual(list(self.server.disk.volumes), [VOLUME])
            self.assertIsNone(self.server.registry.find(COPY))
        self.assertEqual(self.attempt(stream + b"\0"), MALFORMED)

    def test_flipped_bits(self) -> None:
        """A damaged stream is restored or refused, never anything else; refused it leaves no volume."""
        self.populate()
        stream = self.dump()
        rng = random.Random(FLIPS.seed)
        for number in range(FLIPS.count):
            damaged = bytearray(stream)
            for _ in range(rng.choice((1, 1, 2, 5))):
                position = rng.choice((rng.randrange(len(damaged)), rng.randrange(400), -1 - rng.randrange(400)))
                damaged[position] = rng.choice((damaged[position] ^ 1 << rng.randrange(8), rng.randrange(256)))
            volume_id = COPY + number
            code = self.attempt(bytes(damaged), volume_id)
            self.assertIn(code, (0, MALFORMED))
            self.assertEqual(volume_id in self.server.disk.volumes, code == 0)
            if not code:
                self.do(self.volser.NukeVolume(0, volume_id))
        self.assertEqual(list(self.server.disk.volumes), [VOLUME])

    def test_lost_client(self) -> None:
        """A client that goes away in the middle leaves no volume either."""
        self.populate()
        trans = self.new()
        source = Cut(self.dump()[:-100])
        failure = self.failureResultOf(self._restoring(trans, source), CallLost)
        self.assertEqual(failure.value.code, -1)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(list(self.server.disk.volumes), [VOLUME])

    def _restoring(self, trans: int, source: Source) -> Deferred[None]:
        async def restore() -> None:
            await self.volser.Restore(trans, 1, self.cookie(), source)

        return ensureDeferred(restore())

    def test_full_disk(self) -> None:
        """A partition without room is ENOSPC, and what was written is given back."""
        self.fill(b"file", b"content" * 20_000)
        stream = self.dump()
        used = self.server.disk.used
        self.server.disk.capacity = used + 70_000
        self.assertEqual(self.attempt(stream), ENOSPC)
        self.assertEqual(self.server.disk.used, used)
        self.assertEqual(list(self.server.disk.volumes), [VOLUME])

    def test_half_an_update(self) -> None:
        """A volume that was there before stays, but nobody is served from it until a restore has succeeded."""
        self.populate()
        stream = self.dump()
        self.restore(stream, self.new())
        trans = self.begin(COPY)
        half = self.volser.Restore(trans, 1, self.cookie(), BytesSource(stream[: len(stream) // 2]))
        self.assertEqual(self.code(half), MALFORMED)
        self.restore(stream, trans)
        self.run_now(use(self.server, COPY))
        trans = self.begin(COPY)
        half = self.volser.Restore(trans, 1, self.cookie(), BytesSource(stream[: len(stream) // 2]))
        self.assertEqual(self.code(half), MALFORMED)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.refused(use(self.server, COPY)), VolumeError.VSALVAGE)

    def test_no_dump_changes_nothing(self) -> None:
        """Something that is no dump at all leaves a volume as it was."""
        self.restore(self.dump(), self.new())
        trans = self.begin(COPY)
        for garbage in (b"", b"garbage", self.dump()[:40]):
            self.assertEqual(
                self.code(self.volser.Restore(trans, 0, self.cookie(), BytesSource(garbage))), MALFORMED, garbage
            )
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server, COPY))

    def test_hostile(self) -> None:
        """Lengths, counts and numbers that nothing follows cost nothing."""
        stream = self.dump()
        vnodes = stream.index(pack(">BII", 3, 1, 1))
        head = stream[:vnodes]
        file = pack(">BII", 3, 2, 2) + b"t\1"
        for what in (
            pack(">BII", 3, 0, 1) + b"t\1",
            pack(">BII", 3, (1 << 26) - 3, 1) + b"t\2f\0\0\0\0",
            pack(">BII", 3, 2, 2) + b"t\2",
            pack(">BII", 3, 2, 2) + b"l\0\1",
            pack(">BII", 3, 1, 1) + b"t\1",
            file + pack(">cQ", b"h", 1 << 62),
            file + pack(">cQ", b"h", 1 << 63),
            file + pack(">cI", b"f", 0xFFFFFFFF),
            file + b"f\0\0\0\1af\0\0\0\1a",
            pack(">BII", 3, 1, 1) + b"t\2A" + b"\xff" * 192,
            file + b"\x20\xff" + b"\xff" * 300,
            file + b"\x20\x84\xff\xff\xff\xff",
            file + b"\x10\1\1",
            file + b"\x80",
            file + b"\x7e\x21\1\1",
            b"\2n" + b"x" * 5000,
        ):
            self.assertEqual(self.attempt(head + what + END), MALFORMED, what[:40])
        intervals = head.replace(b"t\0\2", b"t\xff\xff", 1)
        self.assertEqual(self.attempt(intervals + END), MALFORMED)

    def test_unknown_fields(self) -> None:
        """Fields of a later version are skipped in every section, unless they are said to be critical."""
        self.populate()
        stream = self.dump()
        fields = b"\x21\3abc" + b"\x22\x82\1\2" + bytes(258) + b"y\0\0\0\1" + b"\x7b"
        root = stream.index(pack(">BII", 3, 1, 1)) + 9
        later = stream[:9] + fields + stream[9:root] + fields + stream[root:-5] + fields + stream[-5:]
        self.restore(later, self.new())
        self.assertEqual(self.held(COPY), self.held(VOLUME))

    def test_a_directory_without_access_list(self) -> None:
        """It is for the administrators."""
        stream = self.dump()
        at = stream.index(b"A\0\0\0\x1c")
        self.restore(stream[:at] + stream[at + 193 :], self.new())
        acl = AccessList.from_bytes(self.server.disk.volumes[COPY].vnodes[1].acl)
        self.assertEqual(acl, AccessList.from_bytes(self.server.disk.volumes[VOLUME].vnodes[1].acl))

    def test_refusals(self) -> None:
        """Types there are not, and volumes that clients are using."""
        trans = self.new()
        odd = restoreCookie(name=b"copy", type=7, clone=0, parent=COPY)
        self.assertEqual(self.code(self.volser.Restore(trans, 0, odd, BytesSource(b""))), EINVAL)
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server))
        trans = self.begin(flags=ITReadOnly)
        self.assertEqual(self.code(self.volser.Restore(trans, 0, self.cookie(), BytesSource(b""))), EROFS)
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server))
