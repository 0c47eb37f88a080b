"""The file back ends: the contract under each keeper of metadata, and what is particular to files on a disk."""

from __future__ import annotations

import contextlib
import os
from errno import EBUSY, ENOSPC
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from fileserver.interfaces import Damaged, Fenced, IPartition, OursAlone, WrongBackend
from fileserver.partitions.label import Label
from fileserver.store.descriptors import MAX_DESCRIPTORS
from fileserver.store.formats import CLONED
from fileserver.store.group import record_offset
from fileserver.store.inodes import Special, data_inode, group_directory, inode_path, special_inode
from fileserver.store.metadata import has_user_attributes
from fileserver.store.namei import Tenancy, open_namei
from fileserver.store.namei_user import open_namei_user
from fileserver.store.volume_files import INLINE_SIZE
from tests.contracts.ipartition import BK, RO, RW, PartitionContract, directory_vnode, file_vnode, header
from tests.fileserver.store.support import OPENERS, FullDisk, audit, need_root


class FileContract(PartitionContract):
    """The contract on files, and that a test leaves a sound group behind."""

    keeper: str

    def setUp(self: Any) -> None:
        if self.keeper == "namei":
            need_root()
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)
        if self.keeper == "xattr" and not has_user_attributes(self.path):
            self.skipTest("the file system has no user attributes")
        self.opened: list[IPartition] = []
        self.disk: FullDisk | None = None
        self.addCleanup(self.close_all)

    async def open_partition(self: Any) -> IPartition:
        partition = OPENERS[self.keeper](self.path)
        self.opened.append(partition)
        return partition

    async def close_all(self: Any) -> None:
        for partition in self.opened:
            await partition.close()
        self.assertEqual(audit(self.path, RW), [])

    def fill_disk(self: Any) -> None:
        self.disk = self.disk or FullDisk(self)
        self.disk.left = 0

    def empty_disk(self: Any) -> None:
        self.disk.left = None

    async def test_disk_full_at_every_step(self: Any) -> None:
        """Whichever call of an operation finds the disk full, nothing has changed, and afterwards it succeeds."""
        disk = FullDisk(self)
        files = await self.fresh()
        ro = await self.partition.create_volume(header(RO, RW))
        for number in (2, 4, 6):
            await files.create_vnode(number, file_vnode(number, 5), b"hello")
        await files.clone_to(ro)
        await files.create_vnode(601, directory_vnode(601))
        operations = {
            "create": lambda: files.create_vnode(1001, directory_vnode(9, 2048), b"d" * 2048),
            "append": lambda: files.write(2, 3, b"lo, world"),
            "copy": lambda: files.write(4, 0, b"HE"),
            "truncate": lambda: files.truncate(6, 2),
            "create_volume": lambda: self.partition.create_volume(header(BK, RW)),
            "clone": lambda: files.clone_to(ro),
        }
        for name, operation in operations.items():
            for step in range(100):
                before = await self.snapshot(files, ro)
                disk.left = step
                try:
                    await operation()
                except OSError as error:
                    self.assertEqual(error.errno, ENOSPC)
                    disk.left = None
                    self.assertEqual(await self.snapshot(files, ro), before, f"{name}, step {step}")
                    if name != "clone":  # what a failed clone counted too much is put right by the next
                        self.assertEqual(audit(self.path, RW), [], f"{name}, step {step}")
                else:
                    break
            else:
                self.fail(f"{name} never succeeded")
            disk.left = None
        self.assertEqual(await files.read(2, 0, 100), b"hello, world"[:3] + b"lo, world")
        self.assertEqual(await ro.vnodes(), await files.vnodes())

    async def snapshot(self: Any, *volumes: Any) -> list[Any]:
        """All content and records of some volumes."""
        found = [await self.partition.volumes()]
        for files in volumes:
            for number, _ in await files.vnodes():
                found.append((number, await files.read_vnode(number), await files.read(number, 0, 9999)))
        return found

    async def test_damage_is_noticed(self: Any) -> None:
        """Wrong stamps, records, cut or missing files are Damaged, each where it is met, and say which file."""
        await self.fresh()
        files = await self.partition.open_volume(RW)
        await files.create_vnode(1, directory_vnode(1, 4), b"dirs")
        await files.create_vnode(2, file_vnode(2, 4), b"file")
        await self.partition.close()
        for kind in Special:
            path = self.special(kind)
            for damage in (b"", b"\0" * 8):
                original = self.replace(path, damage)
                self.assertIn(kind.name, await self.damaged_open())
                self.replace(path, original)
            os.rename(path, path + "-gone")
            self.assertIn(kind.name, await self.damaged_open())
            os.rename(path + "-gone", path)
        for number, kind in ((1, Special.LARGE_INDEX), (2, Special.SMALL_INDEX)):
            path = self.special(kind)
            original = self.replace(path, None)
            at = record_offset(number)
            for damaged in (original[: at + 36] + b"\0" + original[at + 37 :], original[: at + 50]):
                self.replace(path, damaged)
                files = await self.reopen()
                await self.refuses(Damaged, files.read_vnode(number))
                await self.refuses(Damaged, files.write(number, 0, b"x"))
                await self.refuses(Damaged, files.vnodes())
                await self.partition.close()
            self.replace(path, original)
        files = await self.reopen()
        path = files.group.path(data_inode(2, 0, 2))
        await self.partition.close()
        os.rename(path, path + "-gone")
        files = await self.reopen()
        await self.refuses(Damaged, files.read(2, 0, 1))
        await self.refuses(Damaged, files.write(2, 0, b"x"))
        os.rename(path + "-gone", path)
        self.assertEqual(await files.read(2, 0, 9), b"file")

    async def test_damaged_header_files(self: Any) -> None:
        """A header file that is cut, or is another volume's, is left out of the list and not touched."""
        files = await self.fresh()
        await self.partition.create_volume(header(BK, RW))
        path = files_path(self.path, BK)
        original = self.replace(path, None)
        other = self.replace(files_path(self.path, RW), None)
        for damage in (b"", original[:75], original.replace(b"\1", b"\2"), other):
            self.replace(path, damage)
            self.assertEqual([each.id for each in await self.partition.volumes()], [RW])
            await self.refuses(Damaged, self.partition.open_volume(BK))
            self.assertEqual(self.replace(path, None), damage)
        self.replace(path, original)
        self.assertEqual([each.id for each in await self.partition.volumes()], [RW, BK])
        self.assertEqual(files.id, RW)

    async def test_info_of_another_volume(self: Any) -> None:
        """A volume info file that belongs to another volume, or is cut short, is Damaged."""
        await self.fresh()
        bk = await self.partition.create_volume(header(BK, RW))
        await bk.close()
        other = self.replace(self.special(Special.INFO), None)
        path = bk.group.path(special_inode(BK, Special.INFO))
        for damage in (other, other[:551]):
            original = self.replace(path, damage)
            files = await self.partition.open_volume(BK)
            await self.refuses(Damaged, files.read_header())
            await files.close()
            self.replace(path, original)

    async def test_one_process_at_a_time(self: Any) -> None:
        """A partition that is open cannot be opened by another, and can again once it is closed."""
        await self.fresh()
        error = await self.refuses(OSError, self.open_partition())
        self.assertEqual(error.errno, EBUSY)
        await self.reopen()

    async def test_force_salvage(self: Any) -> None:
        """FORCESALVAGE keeps the partition closed."""
        await self.fresh()
        await self.partition.close()
        marker = os.path.join(self.path, "FORCESALVAGE")
        self.replace(marker, b"")
        await self.refuses(Damaged, self.open_partition())
        os.unlink(marker)
        await self.reopen()

    async def test_descriptors_are_bounded_and_given_back(self: Any) -> None:
        """Hundreds of files in use keep no more than the limit open, and closing leaves none."""
        files = await self.fresh()
        for number in range(2, 1202, 2):
            await files.create_vnode(number, file_vnode(number), b"x")
        self.assertLess(len(self.open_files()), MAX_DESCRIPTORS + 10)
        self.assertGreater(len(self.open_files()), MAX_DESCRIPTORS / 2)
        await self.partition.close()
        self.assertEqual(self.open_files(), [])

    def open_files(self: Any) -> list[str]:
        """What this process has open on the partition."""
        found = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the descriptor that listed the directory
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
        return [each for each in found if each.startswith(self.path)]

    async def test_half_created_volume(self: Any) -> None:
        """Special files that a killed create left behind are taken over by the next create of that id."""
        files = await self.fresh()
        bk = await self.partition.create_volume(header(BK, RW))
        await bk.close()
        os.unlink(os.path.join(self.path, f"V{BK:010}.vol"))
        bk = await self.partition.create_volume(header(BK, RW))
        self.assertEqual(list(await bk.vnodes()), [])
        self.assertEqual((files.group.links().count(0, 0)), 2)

    async def test_cloned_bit(self: Any) -> None:
        """A cloned directory's record says so in the source, for stock servers; not in the clone, nor once written."""
        files = await self.fresh()
        await files.create_vnode(1, directory_vnode(1, 4), b"dirs")
        await files.create_vnode(2, file_vnode(2, 4), b"file")
        bk = await self.partition.create_volume(header(BK, RW))
        await files.clone_to(bk)
        await files.write_vnode(1, directory_vnode(1, 4, data_version=2))

        def cloned(volume_id: int, kind: Special) -> int:
            inode = special_inode(volume_id, kind)
            with open(os.path.join(self.path, group_directory(RW), inode_path(inode)), "rb") as index:
                return index.read()[record_offset(2 if kind is Special.SMALL_INDEX else 1)] & CLONED

        self.assertEqual(cloned(RW, Special.LARGE_INDEX), CLONED)
        self.assertEqual([cloned(BK, Special.LARGE_INDEX), cloned(RW, Special.SMALL_INDEX)], [0, 0])
        await files.write(1, 0, b"DIRS")
        self.assertEqual(cloned(RW, Special.LARGE_INDEX), 0)

    async def test_orphans_make_room(self: Any) -> None:
        """Versions that kills left behind do not use up a vnode number: they go when their tags are needed."""
        files = await self.fresh()
        for _ in range(5):
            files.group.create_data(2, 9, 1)
        await files.create_vnode(2, file_vnode(9, 3), b"new")
        self.assertEqual(await files.read(2, 0, 9), b"new")

    def special(self: Any, kind: Special) -> str:
        """The path of RW's special file."""
        return special_path(self.path, kind)

    def replace(self: Any, path: str, data: bytes | None) -> bytes:
        """Overwrite a file in place; returns what was in it."""
        if not os.path.exists(path):
            with open(path, "wb"):
                return b""
        with open(path, "r+b") as file:
            old = file.read()
            if data is not None:
                file.seek(0)
                file.truncate()
                file.write(data)
        return old

    async def damaged_open(self: Any) -> str:
        """Open the partition and RW; the message with which the latter is refused."""
        self.partition = await self.open_partition()
        error = await self.refuses(Damaged, self.partition.open_volume(RW))
        await self.partition.close()
        return str(error)


def special_path(path: str, kind: Special) -> str:
    """The path of RW's special file of that kind."""
    return os.path.join(path, group_directory(RW), inode_path(special_inode(RW, kind)))


def files_path(path: str, volume_id: int) -> str:
    """The path of a volume's header file."""
    return os.path.join(path, f"V{volume_id:010}.vol")


class Namei(FileContract, TestCase):
    """As root: the values are each file's owner and mode."""

    keeper = "namei"

    async def test_owner_and_mode(self) -> None:
        """Special files carry their volume's id, data files their version and tag, as OpenAFS computes them."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(9, data_version=0x12345678))
        status = os.stat(os.path.join(self.path, group_directory(files.parent), inode_path(data_inode(2, 0, 9))))
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (0x5678, 0x2468, 0))
        status = os.stat(special_path(self.path, Special.LARGE_INDEX))
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (0, RW >> 15, 3))


class NameiUserAttributes(FileContract, TestCase):
    """Without root: the values are in an extended attribute."""

    keeper = "xattr"


class NameiUserSidecars(FileContract, TestCase):
    """Without root or attributes: the values are in a link beside the file."""

    keeper = "sidecar"


class WrongPartition(TestCase):
    """Back ends and partitions that do not fit."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.mkdir(self.path, 0o700)

    async def test_each_refuses_the_others(self) -> None:
        """namei does not open what namei-user wrote, nor the reverse, nor either a half-converted partition."""
        need_root()
        for mine, other in ((open_namei, open_namei_user), (open_namei_user, open_namei)):
            path = os.path.join(self.path, mine.__name__)
            os.mkdir(path)
            partition = mine(path, 0, reactor)
            await partition.create_volume(header())
            await partition.close()
            self.assertRaises(WrongBackend, other, path, 0, reactor)
            label = Label.read(path)
            assert label is not None
            Label(label.uuid, label.backend, label.metadata, converting_to="namei").write(path)
            self.assertRaises(WrongBackend, mine, path, 0, reactor)

    async def test_a_stock_partition_is_not_namei_user(self) -> None:
        """A partition without a label that holds volumes was written by a stock server: namei-user leaves it alone."""
        with open(os.path.join(self.path, "V0536870912.vol"), "wb"):
            pass
        self.assertRaises(WrongBackend, open_namei_user, self.path, 0, reactor)
        self.assertEqual(os.listdir(self.path), ["V0536870912.vol"])

    async def test_stock_servers_are_kept_away(self) -> None:
        """A namei-user partition carries NeverAttach, again if it was removed; AlwaysAttach, which overrules it, is
        refused.
        """
        never = os.path.join(self.path, "NeverAttach")
        partition = open_namei_user(self.path, 0, reactor)
        await partition.close()
        os.unlink(never)
        partition = open_namei_user(self.path, 0, reactor)
        await partition.close()
        self.assertTrue(os.path.exists(never))
        with open(os.path.join(self.path, "AlwaysAttach"), "wb"):
            pass
        self.assertRaises(WrongBackend, open_namei_user, self.path, 0, reactor)


class Guarded(TestCase):
    """A partition that another server may take."""

    async def test_nothing_is_written(self) -> None:
        """Once the guard refuses, no call changes anything on the partition, and reading goes on."""
        path = os.path.abspath(self.mktemp())
        os.mkdir(path, 0o700)
        lost = False

        class Ours(OursAlone):
            def check(self) -> None:
                if lost:
                    raise Fenced("lost")

        partition = open_namei_user(path, 0, reactor, tenancy=Tenancy(Ours()))
        self.addCleanup(partition.close)
        files = await partition.create_volume(header())
        clone = await partition.create_volume(header(RO))
        await files.create_vnode(1, directory_vnode(1), b"d" * 2048)
        await files.create_vnode(2, file_vnode(2), b"content")
        await files.clone_to(clone)
        before = snapshot(path)
        lost = True
        for attempt in (
            lambda: files.write(2, 0, b"new"),
            lambda: files.write(2, 0, b"n" * (2 * INLINE_SIZE)),
            lambda: files.truncate(2, 3),
            lambda: files.write_vnode(2, file_vnode(2)),
            lambda: files.create_vnode(4, file_vnode(2), b"x"),
            lambda: files.remove_vnode(2),
            lambda: files.write_header(header()),
            lambda: files.clone_to(clone),
            lambda: partition.destroy_volume(RO),
            lambda: partition.create_volume(header(RW + 10, parent=RW + 10)),
        ):
            await self.assertFailure(ensureDeferred(attempt()), Fenced)
        self.assertEqual(snapshot(path), before)
        self.assertEqual(await files.read(2, 0, 100), b"content")

    async def test_taken_over(self) -> None:
        """A partition whose owner holds its locks and is silent can be opened by whoever has won the label."""
        path = os.path.abspath(self.mktemp())
        os.mkdir(path, 0o700)
        silent = open_namei_user(path, 0, reactor)
        self.addCleanup(silent.close)
        held = await silent.create_volume(header())
        self.assertRaises(OSError, open_namei_user, path, 0, reactor)
        partition = open_namei_user(path, 0, reactor, tenancy=Tenancy(taken_over=True))
        self.addCleanup(partition.close)
        files = await partition.open_volume(RW)
        self.assertEqual((await files.read_header()).id, RW)
        await held.close()


def snapshot(path: str) -> dict[str, bytes]:
    """Every file below a directory with what is in it."""
    return {str(file): file.read_bytes() for file in sorted(Path(path).rglob("*")) if file.is_file()}
