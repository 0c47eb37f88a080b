"""The contract of IPartition and IVolumeFiles: what "works" means for a storage back end.

A back end's test case inherits PartitionContract and says how a partition is opened; opening again after closing must
find what was there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from errno import ENOSPC
from typing import Any, Protocol

from zope.interface.verify import verifyObject

from fileserver.interfaces import (
    IPartition,
    IVolumeFiles,
    NoSuchVnode,
    NoSuchVolume,
    Tally,
    Vnode,
    VolumeExists,
    VolumeHeader,
    VolumeIds,
)
from tests.support.budget import budget

RW, RO, BK = 536870912, 536870913, 536870914
LARGE = 300_000
"""Bytes: past what any back end does in the reactor's thread."""


def header(volume_id: int = RW, parent: int = RW) -> VolumeHeader:
    """A header with a value of its own in every kind of field."""
    return VolumeHeader(
        volume_id,
        parent,
        b"user.%d" % volume_id,
        {RW: 0, RO: 1, BK: 2}.get(volume_id, 0),
        max_quota=5000,
        creation_date=volume_id & 0xFFFF,
        week_use=(1, 2, 3, 4, 5, 6, 7),
        offline_message=b"back soon",
    )


def file_vnode(unique: int, length: int = 0, **changes: Any) -> Vnode:
    """The record of an ordinary file."""
    vnode = Vnode(1, 0o644, 1, length, unique, 1, 100, 32766, 32766, 0, 1, 200)
    return replace(vnode, **changes)


def directory_vnode(unique: int, length: int = 0, **changes: Any) -> Vnode:
    """The record of a directory, its ACL some bytes of its own."""
    return file_vnode(unique, length, type=2, link_count=2, acl=bytes(range(192)), **changes)


class Case(Protocol):
    """What the mixin needs of its test case."""

    def assertEqual(self, first: object, second: object, msg: object = None) -> object: ...


class PartitionContract:
    """Inherit this and TestCase; `open_partition` opens the same storage again and again."""

    partition: IPartition

    async def open_partition(self) -> IPartition:
        raise NotImplementedError

    def fill_disk(self) -> None:
        """From now on nothing that needs room succeeds."""
        raise NotImplementedError

    def empty_disk(self) -> None:
        """There is room again."""
        raise NotImplementedError

    async def fresh(self: Any) -> IVolumeFiles:
        """A partition with one empty volume."""
        self.partition = await self.open_partition()
        files: IVolumeFiles = await self.partition.create_volume(header())
        return files

    async def reopen(self: Any, volume_id: int = RW) -> IVolumeFiles:
        """The volume after the whole partition was closed and opened."""
        await self.partition.close()
        self.partition = await self.open_partition()
        files: IVolumeFiles = await self.partition.open_volume(volume_id)
        return files

    async def refuses(self: Any, error: type[Exception], awaitable: Any) -> Any:
        """The error that awaiting raised; fails when it did not."""
        with self.assertRaises(error) as caught:
            await awaitable
        return caught.exception

    async def test_interfaces(self: Any) -> None:
        """Both objects are what the interfaces say, and nothing is missing."""
        files = await self.fresh()
        verifyObject(IPartition, self.partition)
        verifyObject(IVolumeFiles, files)
        self.assertEqual((files.id, files.parent), (RW, RW))

    async def test_partition_keeps_its_identity(self: Any) -> None:
        """The UUID is the same after closing and opening."""
        await self.fresh()
        before = self.partition.uuid
        await self.reopen()
        self.assertEqual(self.partition.uuid, before)
        self.assertGreater(self.partition.space().total, 0)
        self.assertGreaterEqual(self.partition.space().total, self.partition.space().free)

    async def test_volumes_are_listed(self: Any) -> None:
        """A created volume is listed with its group, a second one of that id is refused, a strange one is not found."""
        await self.fresh()
        await self.partition.create_volume(header(BK, RW))
        expected = [VolumeIds(RW, RW), VolumeIds(BK, RW)]
        self.assertEqual(list(await self.partition.volumes()), expected)
        await self.refuses(VolumeExists, self.partition.create_volume(header()))
        await self.refuses(NoSuchVolume, self.partition.open_volume(99))
        await self.refuses(NoSuchVolume, self.partition.destroy_volume(99))
        await self.reopen()
        self.assertEqual(list(await self.partition.volumes()), expected)
        self.assertEqual(sorted(await self.partition.volume_ids()), [RW, BK])
        self.assertEqual(await self.partition.ids(BK), VolumeIds(BK, RW))
        await self.refuses(NoSuchVolume, self.partition.ids(99))

    async def test_notes(self: Any) -> None:
        """A note is kept over closing and opening, replaced by the next of its name, and read once."""
        await self.fresh()
        self.assertIsNone(await self.partition.take_note("state"))
        await self.partition.save_note("state", b"older and longer")
        await self.partition.save_note("state", b"newer")
        await self.partition.save_note("another", b"")
        await self.reopen()
        self.assertEqual(await self.partition.take_note("state"), b"newer")
        self.assertIsNone(await self.partition.take_note("state"))
        self.assertEqual(await self.partition.take_note("another"), b"")
        self.assertEqual(list(await self.partition.volumes()), [VolumeIds(RW, RW)])

    async def test_header_round_trip(self: Any) -> None:
        """Every field of a header comes back, the longest name and the magic flags included."""
        files = await self.fresh()
        self.assertEqual(await files.read_header(), header())
        changed = replace(
            header(),
            name=b"n" * 31,
            in_use=1,
            in_service=False,
            blessed=False,
            needs_salvaged=True,
            uniquifier=4294967295,
            needs_callback=True,
            destroy_me=True,
            dont_salvage=True,
            max_quota=-1,
            stat_reads=(4294967295, 1, 2, 3),
            offline_message=b"m" * 127,
        )
        await files.write_header(changed)
        files = await self.reopen()
        self.assertEqual(await files.read_header(), changed)

    async def test_vnode_round_trip(self: Any) -> None:
        """Every field of a record comes back: a negative link and lock count, a length past 32 bits, an ACL."""
        files = await self.fresh()
        directory = directory_vnode(1, 2048, mode=0o7777, group=-5)
        link = file_vnode(7, 6, type=3, mode=0o777)
        odd = file_vnode(8, 5 << 30, link_count=-3, lock_count=-1, lock_time=77, author=-204, owner=-1)
        odd.uniquifier = 0xFFFFFFFF
        await files.create_vnode(1, directory, bytes(2048))
        await files.create_vnode(2, link, b"target")
        await files.create_vnode(40, odd)
        files = await self.reopen()
        self.assertEqual(await files.read_vnode(1), directory)
        self.assertEqual(await files.read_vnode(2), link)
        self.assertEqual(await files.read_vnode(40), odd)
        self.assertEqual(list(await files.vnodes()), [(1, 1), (2, 7), (40, 0xFFFFFFFF)])
        self.assertEqual(await files.tally(), Tally(3, 2 + 1 + (5 << 20), 0xFFFFFFFF))
        changed = replace(odd, length=3, data_version=9)
        await files.write_vnode(40, changed)
        self.assertEqual(await files.read_vnode(40), changed)

    async def test_missing_vnodes(self: Any) -> None:
        """Free, removed, never used and absurd numbers are NoSuchVnode for every method."""
        files = await self.fresh()
        await files.create_vnode(6, file_vnode(5), b"x")
        await files.remove_vnode(6)
        for number in (0, 1, 2, 4, 6, 1001, 0x3FFFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
            for attempt in (
                files.read_vnode(number),
                files.write_vnode(number, file_vnode(5)),
                files.remove_vnode(number),
                files.read(number, 0, 1),
                files.write(number, 0, b"x"),
                files.truncate(number, 0),
                files.content_length(number),
            ):
                await self.refuses(NoSuchVnode, attempt)
        self.assertEqual(list(await files.vnodes()), [])
        self.assertEqual(await files.tally(), Tally(0, 0, 0))

    async def test_returned_records_are_copies(self: Any) -> None:
        """Changing a record or header that was read or written changes nothing in the store."""
        files = await self.fresh()
        mine = file_vnode(3)
        await files.create_vnode(2, mine, b"")
        mine.length = 99
        (await files.read_vnode(2)).length = 98
        (await files.read_header()).name = b"other"
        self.assertEqual(await files.read_vnode(2), file_vnode(3))
        self.assertEqual(await files.read_header(), header())

    async def test_reading_and_writing(self: Any) -> None:
        """Reads are short only at the end, writes past the end leave zeros, an empty write changes nothing."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(3), b"hello")
        self.assertEqual(await files.read(2, 0, 100), b"hello")
        self.assertEqual(await files.read(2, 3, 1), b"l")
        self.assertEqual(await files.read(2, 5, 10), b"")
        self.assertEqual(await files.read(2, 5000, 10), b"")
        self.assertEqual(await files.read(2, 0, 0), b"")
        await files.write(2, 8, b"there")
        await files.write(2, 100, b"")
        self.assertEqual(await files.read(2, 0, 100), b"hello\0\0\0there")
        self.assertEqual(await files.content_length(2), 13)
        await files.truncate(2, 3)
        await files.truncate(2, 6)
        self.assertEqual(await files.read(2, 0, 100), b"hel\0\0\0")

    async def test_many_at_once(self: Any) -> None:
        """Made together, in one index or both, vnodes are what they are one by one; read together they come in the
        order asked for, with content where it is wanted and not too long.
        """
        files = await self.fresh()
        made = [(number, file_vnode(number, 3), b"%03d" % number) for number in range(2, 1400, 2)]
        await files.create_vnodes([(1, directory_vnode(1, 2048), bytes(2048)), *made])
        await files.create_vnodes([(20_000, file_vnode(5, 0), b""), (3, directory_vnode(7, 4), b"long")])
        files = await self.reopen()
        numbers = [3, 1, 20_000, 8, 4, 1398]
        found = await files.read_vnodes(numbers, 100, lambda vnode: vnode.uniquifier != 4)
        contents = [b"long", None, b"", b"008", None, b"1398"]
        for number, content, (vnode, read) in zip(numbers, contents, found, strict=True):
            self.assertEqual(vnode, await files.read_vnode(number))
            self.assertEqual(read, content, number)
        self.assertEqual((await files.tally()).vnodes, len(made) + 3)
        await files.write(8, 4, b"more")
        [(_, grown)] = await files.read_vnodes([8], 100, lambda _: True)
        self.assertEqual(grown, b"008\0")
        for missing in (10_000, 20_002, 1 << 20):
            await self.refuses(NoSuchVnode, files.read_vnodes([2, missing], 0, lambda _: True))

    async def test_many_beside_clones(self: Any) -> None:
        """What is made together where clones have had other versions leaves theirs alone, however many there were."""
        files = await self.fresh()
        for version in range(1, 7):
            await files.create_vnodes([(2, file_vnode(version, 1), b"%d" % version), (4, file_vnode(9, 0), b"")])
            if version < 6:
                clone = await self.partition.create_volume(header(RW + version, RW))
                await files.clone_to(clone)
                await clone.close()
                await files.remove_vnode(2)
                await files.remove_vnode(4)
            if version == 5:
                await self.partition.destroy_volume(RW + 1)
        for version in range(2, 6):
            clone = await self.partition.open_volume(RW + version)
            self.assertEqual(await clone.read(2, 0, 9), b"%d" % version)
        self.assertEqual(await files.read(2, 0, 9), b"6")

    async def test_large_transfers(self: Any) -> None:
        """Pieces too large for the reactor's thread come and go whole, as content of a new vnode too."""
        files = await self.fresh()
        data = random.Random(1).randbytes(3 * LARGE)
        await files.create_vnode(2, file_vnode(3), data)
        await files.write(2, LARGE, data[:LARGE])
        await files.sync()
        files = await self.reopen()
        self.assertEqual(await files.read(2, 0, 4 * LARGE), data[:LARGE] + data[:LARGE] + data[2 * LARGE :])

    async def test_sparse_offsets(self: Any) -> None:
        """Content may lie past 4 GiB and costs what was written; the hole reads as zeros."""
        files = await self.fresh()
        free = self.partition.space().free
        await files.create_vnode(2, file_vnode(3))
        await files.write(2, 5 << 30, b"far out")
        self.assertEqual(await files.content_length(2), (5 << 30) + 7)
        self.assertEqual(await files.read(2, (5 << 30) - 3, 100), b"\0\0\0far out")
        self.assertEqual(await files.read(2, 1 << 32, 4), bytes(4))
        await files.truncate(2, 6 << 30)
        self.assertLess(free - self.partition.space().free, 1 << 20)
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        await files.write(2, 0, b"near")
        self.assertEqual(await files.read(2, 5 << 30, 7), b"far out")
        self.assertEqual(await bk.read(2, 0, 4), bytes(4))
        self.assertLess(free - self.partition.space().free, 1 << 20)

    async def test_clone_shares_until_written(self: Any) -> None:
        """A clone has the source's vnodes; whatever either side does afterwards the other does not see."""
        files = await self.fresh()
        await files.create_vnode(1, directory_vnode(1, 4), b"dir1")
        await files.create_vnode(2, file_vnode(2, 5), b"first")
        await files.create_vnode(4, file_vnode(3, 6), b"second")
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        self.assertEqual(await bk.vnodes(), await files.vnodes())
        await files.write(1, 0, b"DIR1")
        await files.write(2, 1, b"I")
        await files.truncate(4, 3)
        await files.remove_vnode(4)
        await files.create_vnode(4, file_vnode(9, 3), b"new")
        for files_of, contents in ((files, (b"DIR1", b"fIrst", b"new")), (bk, (b"dir1", b"first", b"second"))):
            for number, content in zip((1, 2, 4), contents, strict=True):
                self.assertEqual(await files_of.read(number, 0, 10), content)
        self.assertEqual((await bk.read_vnode(4)).uniquifier, 3)
        self.assertEqual(await bk.read_vnode(1), directory_vnode(1, 4))

    async def test_clone_again_follows_the_source(self: Any) -> None:
        """Cloning onto an older clone leaves exactly the source's vnodes: changed, new and removed ones."""
        files = await self.fresh()
        for number in range(2, 40, 2):
            await files.create_vnode(number, file_vnode(number), b"old %d" % number)
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        await files.write(2, 0, b"new")
        for number in range(20, 40, 2):
            await files.remove_vnode(number)
        await files.create_vnode(3, directory_vnode(77), b"directory")
        await files.clone_to(bk)
        await files.clone_to(bk)
        self.assertEqual(await bk.vnodes(), await files.vnodes())
        for number, _ in await files.vnodes():
            self.assertEqual(await bk.read(number, 0, 100), await files.read(number, 0, 100))
            self.assertEqual(await bk.read_vnode(number), await files.read_vnode(number))

    async def test_destroying_a_member_leaves_the_others(self: Any) -> None:
        """A clone survives its source and the source its clone; a destroyed id can be used again, empty."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(3), b"shared")
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        await files.close()
        await self.partition.destroy_volume(RW)
        self.assertEqual(await bk.read(2, 0, 10), b"shared")
        again = await self.partition.create_volume(header())
        self.assertEqual(list(await again.vnodes()), [])
        await bk.clone_to(again)
        await bk.close()
        await self.partition.destroy_volume(BK)
        self.assertEqual(await again.read(2, 0, 10), b"shared")
        await again.write(2, 0, b"S")
        self.assertEqual(list(await self.partition.volumes()), [VolumeIds(RW, RW)])

    async def test_versions_of_one_vnode(self: Any) -> None:
        """Three volumes of a group hold three versions of a vnode, over and over."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(3), b"0")
        ro = await self.partition.create_volume(header(RO, RW))
        bk = await self.partition.create_volume(header(BK, RW))
        for round_number in range(20):
            await files.clone_to(ro)
            await files.write(2, 0, b"%d" % round_number)
            await files.clone_to(bk)
            await files.write(2, 0, b"x")
            self.assertEqual(await bk.read(2, 0, 9), b"%d" % round_number)

    async def test_closing_twice(self: Any) -> None:
        """close may be called again, on volumes after their partition too."""
        files = await self.fresh()
        await files.close()
        await files.close()
        other = await self.partition.open_volume(RW)
        await self.partition.close()
        await self.partition.close()
        await other.close()

    async def test_full_disk_leaves_the_old_state(self: Any) -> None:
        """With no room left every writing method raises ENOSPC and changes nothing; with room again all goes on."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(3, 5), b"hello")
        await files.create_vnode(4, file_vnode(4, 5), b"other")
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        self.fill_disk()
        for attempt in (
            files.create_vnode(6, file_vnode(5, 3), b"new"),
            files.write(2, 0, b"HELLO"),
            files.write(2, 10 * LARGE, bytes(LARGE)),
        ):
            error = await self.refuses(OSError, attempt)
            self.assertEqual(error.errno, ENOSPC)
        self.assertEqual(list(await files.vnodes()), [(2, 3), (4, 4)])
        self.assertEqual(await files.read(2, 0, 10), b"hello")
        self.assertEqual(await files.content_length(2), 5)
        self.empty_disk()
        await files.create_vnode(6, file_vnode(5, 3), b"new")
        await files.write(2, 0, b"HELLO")
        self.assertEqual(await files.read(2, 0, 10), b"HELLO")
        self.assertEqual(await bk.read(2, 0, 10), b"hello")

    async def test_random_sequences(self: Any) -> None:
        """Random operations, with closing and opening in between, leave what a plain model says."""
        share = budget("store.sequences", full=500, least=8)
        rng = random.Random(share.seed)
        for _ in range(share.count):
            self.partition = await self.open_partition()
            workload = Workload(rng.getrandbits(64), self.partition, self.open_partition)
            for _ in range(60):
                await workload.step()
            await workload.check(self)
            await workload.wipe()
            self.assertEqual(list(await workload.partition.volumes()), [])
            await workload.partition.close()


@dataclass(slots=True)
class ModelVolume:
    """What a volume should hold."""

    header: VolumeHeader
    vnodes: dict[int, Vnode] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)


class Workload:
    """Random operations on a group of three volumes, and the model that follows them.

    The same seed gives the same operations, whatever the back end: a second process can follow one that was killed.
    `partition` None only follows.
    """

    def __init__(self, seed: int, partition: IPartition | None, reopen: Any = None) -> None:
        self.partition: Any = partition
        self.model: dict[int, ModelVolume] = {}
        self.doing = ("", 0, 0)
        self._rng = random.Random(seed)
        self.reopen = reopen
        self._files: dict[int, Any] = {}
        self._unique = 1

    async def step(self) -> None:
        """One operation that can be done now."""
        if RW not in self.model:
            await self._create_volume(RW)
            return
        operation = self._rng.choices(list(self._CHOICES), list(self._CHOICES.values()))[0]
        await getattr(self, f"_{operation}")()

    _CHOICES = {
        "create_vnode": 20,
        "write": 25,
        "truncate": 6,
        "remove_vnode": 6,
        "write_vnode": 8,
        "write_header": 4,
        "clone": 5,
        "destroy": 2,
        "reopen_volume": 3,
        "reopen_partition": 1,
    }

    async def check(self, case: Any, spare: tuple[int, int] = (0, 0)) -> None:
        """The store holds what the model does; `spare` (volume, vnode) may hold something else."""
        case.assertEqual(list(await self.partition.volumes()), [VolumeIds(each, RW) for each in sorted(self.model)])
        for volume_id, volume in self.model.items():
            files = await self._open(volume_id)
            case.assertEqual(await files.read_header(), volume.header)
            found = [each for each in await files.vnodes() if (volume_id, each[0]) != spare]
            wanted = [(number, vnode.uniquifier) for number, vnode in sorted(volume.vnodes.items())]
            case.assertEqual(found, [each for each in wanted if (volume_id, each[0]) != spare])
            for number, _ in found:
                case.assertEqual(await files.read_vnode(number), volume.vnodes[number])
                content = volume.contents[number]
                case.assertEqual(await files.content_length(number), len(content))
                if await files.read(number, 0, len(content) + 1) != content:
                    case.fail(f"volume {volume_id} vnode {number} has other content")

    async def wipe(self) -> None:
        """Destroy all there is."""
        for volume_id in list(self.model):
            await self._close(volume_id)
            await self.partition.destroy_volume(volume_id)
            del self.model[volume_id]

    async def _open(self, volume_id: int) -> Any:
        if volume_id not in self._files:
            self._files[volume_id] = await self.partition.open_volume(volume_id)
        return self._files[volume_id]

    async def _close(self, volume_id: int) -> None:
        files = self._files.pop(volume_id, None)
        if files is not None:
            await files.close()

    def _begin(self, operation: str, volume_id: int = RW, number: int = 0) -> bool:
        """Note what is about to be done; whether to do it."""
        self.doing = (operation, volume_id, number)
        return self.partition is not None

    async def _create_volume(self, volume_id: int) -> None:
        new = replace(header(volume_id, RW), update_date=self._rng.randrange(1 << 31))
        if self._begin("create_volume", volume_id):
            self._files[volume_id] = await self.partition.create_volume(new)
        self.model[volume_id] = ModelVolume(new)

    async def _create_vnode(self) -> None:
        volume = self.model[RW]
        large = self._rng.random() < 0.3
        number = next(each for each in range(1 if large else 2, 1000, 2) if each not in volume.vnodes)
        content = self._bytes()
        self._unique += 1
        vnode = (directory_vnode if large else file_vnode)(self._unique, len(content))
        if self._begin("create_vnode", RW, number):
            await (await self._open(RW)).create_vnode(number, vnode, content)
        volume.vnodes[number] = vnode
        volume.contents[number] = content

    async def _write(self) -> None:
        if (number := self._pick()) is None:
            return
        content = self.model[RW].contents[number]
        data = self._bytes()
        offset = self._rng.randrange(len(content) + 100)
        if self._begin("write", RW, number):
            await (await self._open(RW)).write(number, offset, data)
        if data:
            content = content.ljust(offset, b"\0")
            self.model[RW].contents[number] = content[:offset] + data + content[offset + len(data) :]

    async def _truncate(self) -> None:
        if (number := self._pick()) is None:
            return
        content = self.model[RW].contents[number]
        length = self._rng.randrange(2 * len(content) + 10)
        if self._begin("truncate", RW, number):
            await (await self._open(RW)).truncate(number, length)
        self.model[RW].contents[number] = content[:length].ljust(length, b"\0")

    async def _remove_vnode(self) -> None:
        if (number := self._pick()) is None:
            return
        if self._begin("remove_vnode", RW, number):
            await (await self._open(RW)).remove_vnode(number)
        del self.model[RW].vnodes[number], self.model[RW].contents[number]

    async def _write_vnode(self) -> None:
        if (number := self._pick()) is None:
            return
        old = self.model[RW].vnodes[number]
        vnode = replace(old, data_version=old.data_version + 1, length=self._rng.randrange(1 << 40))
        if self._begin("write_vnode", RW, number):
            await (await self._open(RW)).write_vnode(number, vnode)
        self.model[RW].vnodes[number] = vnode

    async def _write_header(self) -> None:
        volume_id = self._rng.choice(sorted(self.model))
        new = replace(self.model[volume_id].header, disk_used=self._rng.randrange(1 << 31))
        if self._begin("write_header", volume_id):
            await (await self._open(volume_id)).write_header(new)
        self.model[volume_id].header = new

    async def _clone(self) -> None:
        volume_id = self._rng.choice((RO, BK))
        if volume_id not in self.model:
            await self._create_volume(volume_id)
            return
        if self._begin("clone", volume_id):
            await (await self._open(RW)).clone_to(await self._open(volume_id))
        source, target = self.model[RW], self.model[volume_id]
        target.vnodes, target.contents = dict(source.vnodes), dict(source.contents)

    async def _destroy(self) -> None:
        volume_id = self._rng.choice(sorted(self.model))
        if self._begin("destroy", volume_id):
            await self._close(volume_id)
            await self.partition.destroy_volume(volume_id)
        del self.model[volume_id]

    async def _reopen_volume(self) -> None:
        if self._begin("reopen_volume"):
            await self._close(RW)
            await self._open(RW)

    async def _reopen_partition(self) -> None:
        if self._begin("reopen_partition") and self.reopen is not None:
            self._files.clear()
            await self.partition.close()
            self.partition = await self.reopen()

    def _pick(self) -> int | None:
        numbers = sorted(self.model[RW].vnodes)
        return self._rng.choice(numbers) if numbers else None

    def _bytes(self) -> bytes:
        size = self._rng.choice((0, 1, 10, 2048, 5000, 70_000, LARGE if self._rng.random() < 0.1 else 100))
        return self._rng.randbytes(size)
