"""Names in directories: made, linked and removed, and what each refusal is."""

from __future__ import annotations

import errno

from afs.errors import VolumeError
from afs.types import AFS_SETMODE, AFS_SETMODTIME, AFSFid, AFSStoreStatus
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, World, key


class Create(World):
    def test_a_new_file(self) -> None:
        """A new file is empty, version 0, mode 0777, owned by its maker, who is told that it may administer it."""
        fid, status, directory, promise, sync = self.run_now(self.on(1, "alice").CreateFile(ROOT, b"f", NOTHING))
        self.assertEqual((fid.Volume, fid.Vnode % 2), (VOLUME, 0))
        self.assertEqual((status.FileType, status.LinkCount, status.Length, status.DataVersion), (1, 1, 0, 0))
        self.assertEqual((status.Owner, status.Author, status.UnixModeBits), (1, 1, 0o777))
        self.assertEqual((status.ParentVnode, status.ParentUnique), (1, 1))
        self.assertTrue(status.CallerAccess & 64)
        self.assertEqual((directory.DataVersion, directory.LinkCount, directory.Author), (2, 2, 1))
        self.assertEqual(directory.ServerModTime, int(self.time))
        self.assertGreater(promise.ExpirationTime, 0)
        self.assertEqual(sync.spare1, 11)

    def test_what_the_client_asks_for(self) -> None:
        """Mode and date come from the client where its mask says so; nobody but an administrator sets set-id bits."""
        wanted = AFSStoreStatus(AFS_SETMODE | AFS_SETMODTIME, 77, 0, 0, 0o6640)
        status = self.run_now(self.on(1, "alice").CreateFile(ROOT, b"f", wanted))[1]
        self.assertEqual((status.UnixModeBits, status.ClientModTime), (0o640, 77))
        status = self.run_now(self.on(1, "admin").CreateFile(ROOT, b"g", wanted))[1]
        self.assertEqual(status.UnixModeBits, 0o6640)

    def test_a_new_directory(self) -> None:
        """A directory has two links, gives its parent one, has its parent's access list and is its own parent in
        status.
        """
        fid, status, directory, promise, _ = self.run_now(self.on(1).MakeDir(ROOT, b"d", NOTHING))
        self.assertEqual((fid.Vnode % 2, status.FileType, status.LinkCount), (1, 2, 2))
        self.assertEqual((status.ParentVnode, status.ParentUnique), (fid.Vnode, fid.Unique))
        self.assertEqual((status.Length, directory.LinkCount), (2048, 3))
        self.assertGreater(promise.ExpirationTime, 0)
        acl = self.run_now(self.on(1).FetchACL(fid))[0]
        self.assertEqual(acl, self.run_now(self.on(1).FetchACL(ROOT))[0])

    def test_a_symbolic_link(self) -> None:
        """Its content is the target, and no promise comes with it."""
        fid, status, _, _ = self.run_now(self.on(1).Symlink(ROOT, b"s", b"there", NOTHING))
        self.assertEqual((status.FileType, status.Length), (3, 5))
        self.assertEqual(self.fetch(fid), b"there")

    def test_mount_points_need_the_right_to_administer(self) -> None:
        """A link without x bits is a mount point: `a` or an administrator makes it, others are refused."""
        mode = AFSStoreStatus(AFS_SETMODE, UnixModeBits=0o644)
        self.refused(errno.EACCES, self.on(1, "alice").Symlink(ROOT, b"m", b"#root.cell.", mode))
        self.run_now(self.on(1, "admin").Symlink(ROOT, b"m", b"#root.cell.", mode))
        self.set_acl({"alice": "ia"})
        self.run_now(self.on(1, "alice").Symlink(ROOT, b"n", b"#root.cell.", mode))

    def test_names_refused(self) -> None:
        """What each unusable name is refused with."""
        cases = [
            (b"a/b", errno.EINVAL),
            (b"bin@sys", errno.EINVAL),
            (b"", errno.EINVAL),
            (b"a\0b", errno.EINVAL),
            (b"n" * 256, errno.EINVAL),
            (b".", errno.EEXIST),
            (b"..", errno.EEXIST),
        ]
        for name, code in cases:
            for make in ("CreateFile", "MakeDir"):
                self.refused(code, getattr(self.on(1), make)(ROOT, name, NOTHING))
            self.refused(code, self.on(1).Symlink(ROOT, name, b"x", NOTHING))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(ROOT))[0].DataVersion, 1)
        self.assertEqual(self.registry.find(VOLUME).header.disk_used, 2)  # type: ignore[union-attr]

    def test_the_longest_name(self) -> None:
        """255 bytes, of any kind but NUL and slash, are a name."""
        name = bytes(byte for byte in range(1, 256) if byte != ord("/")) + b"x"
        fid = self.create(name)
        self.run_now(self.on(1).RemoveFile(ROOT, name))
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(fid))

    def test_a_name_exists_once(self) -> None:
        """EEXIST, whatever is to be made; the account is as before."""
        self.create(b"f")
        used = self.registry.find(VOLUME).header.disk_used  # type: ignore[union-attr]
        self.refused(errno.EEXIST, self.on(1).CreateFile(ROOT, b"f", NOTHING))
        self.refused(errno.EEXIST, self.on(1).MakeDir(ROOT, b"f", NOTHING))
        self.assertEqual(self.registry.find(VOLUME).header.disk_used, used)  # type: ignore[union-attr]

    def test_where_not_to_create(self) -> None:
        """A file is no directory; another uniquifier or a free vnode is gone; vnode 0 and unknown volumes are wrong."""
        file = self.create()
        for fid, code in [
            (file, errno.ENOTDIR),
            (AFSFid(VOLUME, 1, 2), VolumeError.VNOVNODE),
            (AFSFid(VOLUME, 99, 1), VolumeError.VNOVNODE),
            (AFSFid(VOLUME, 0, 0), errno.EINVAL),
            (AFSFid(12345, 1, 1), VolumeError.VNOVOL),
            (AFSFid(101, 1, 1), errno.EROFS),
        ]:
            self.refused(code, self.on(1).CreateFile(fid, b"x", NOTHING))

    def test_quota(self) -> None:
        """A full volume refuses new objects and is as it was; there is no spare for them."""
        self.run_now(self.on(1).FetchStatus(ROOT))
        header = self.registry.find(VOLUME).header  # type: ignore[union-attr]
        header.max_quota = 3
        self.refused(VolumeError.VOVERQUOTA, self.on(1).MakeDir(ROOT, b"d", NOTHING))
        self.create(b"f")
        self.refused(VolumeError.VOVERQUOTA, self.on(1).CreateFile(ROOT, b"g", NOTHING))
        self.assertEqual((header.disk_used, header.file_count), (3, 2))

    def test_no_room_for_the_name(self) -> None:
        """When the directory cannot be written the new object goes away again, and the volume is as it was."""

        async def full(operation: str, volume: int, number: int) -> None:
            if operation == "write" and number == ROOT.Vnode:
                raise OSError(errno.ENOSPC, "full")

        volume = self.registry.find(VOLUME)
        assert volume is not None
        self.create(b"before")
        before = volume.header.disk_used, volume.header.file_count, self.run_now(volume.files.vnodes())
        self.partition.disk.fault = full
        for call in (self.on(1).CreateFile, self.on(1).MakeDir):
            self.refused(VolumeError.VDISKFULL, call(ROOT, b"x", NOTHING))
        self.partition.disk.fault = None
        self.assertEqual((volume.header.disk_used, volume.header.file_count), before[:2])
        self.assertEqual(self.run_now(volume.files.vnodes()), before[2])
        self.create(b"x")

    def test_a_full_directory(self) -> None:
        """EFBIG when 1023 pages are used up, and the vnode that was made for it is gone again."""
        self.run_now(self.on(1).FetchStatus(ROOT))
        volume = self.registry.find(VOLUME)
        assert volume is not None

        async def fill() -> None:
            async with volume.exclusive(ROOT) as (vn,):
                directory = await vn.directory()
                try:
                    for number in range(1 << 20):
                        directory.insert(b"%0200d" % number, 2, 2)
                except OSError as full:
                    self.assertEqual(full.errno, errno.EFBIG)
                await vn.save()

        self.run_now(fill())
        before = volume.header.file_count, volume.header.disk_used
        self.refused(errno.EFBIG, self.on(1).CreateFile(ROOT, b"n" * 200, NOTHING))
        self.assertEqual((volume.header.file_count, volume.header.disk_used), before)


class Link(World):
    def test_a_second_name(self) -> None:
        """Both names lead to one file until the last is removed."""
        fid = self.create(b"f", content=b"data")
        status, directory, _ = self.run_now(self.on(1).Link(ROOT, b"g", fid))
        self.assertEqual((status.LinkCount, directory.DataVersion), (2, 3))
        self.run_now(self.on(1).RemoveFile(ROOT, b"f"))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(fid))[0].LinkCount, 1)
        self.assertEqual(self.fetch(fid), b"data")
        self.run_now(self.on(1).RemoveFile(ROOT, b"g"))
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(fid))

    def test_refused(self) -> None:
        """No links to directories, symbolic links, other directories' files or other volumes."""
        file, directory = self.create(b"f"), self.mkdir(b"d")
        link = self.run_now(self.on(1).Symlink(ROOT, b"s", b"x", NOTHING))[0]
        inner = self.create(b"inner", directory=directory)
        cases = [
            (directory, errno.EISDIR),
            (ROOT, errno.EISDIR),
            (link, errno.EISDIR),
            (inner, errno.EXDEV),
            (AFSFid(101, 2, 2), errno.EXDEV),
            (AFSFid(VOLUME, 200, 9), VolumeError.VNOVNODE),
        ]
        for fid, code in cases:
            self.refused(code, self.on(1).Link(ROOT, b"new", fid))
        self.refused(errno.EEXIST, self.on(1).Link(ROOT, b"d", file))
        self.refused(errno.EINVAL, self.on(1).Link(ROOT, b"a/b", file))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(file))[0].LinkCount, 1)


class Remove(World):
    def test_table(self) -> None:
        """What each removal is refused with; nothing has changed afterwards."""
        self.create(b"f")
        directory = self.mkdir(b"d")
        self.create(b"inner", directory=directory)
        version = self.run_now(self.on(1).FetchStatus(ROOT))[0].DataVersion
        for method, name, code in [
            ("RemoveFile", b"none", errno.ENOENT),
            ("RemoveDir", b"none", errno.ENOENT),
            ("RemoveFile", b"d", errno.EISDIR),
            ("RemoveDir", b"f", errno.ENOTDIR),
            ("RemoveDir", b"d", errno.EEXIST),
            ("RemoveFile", b".", errno.EINVAL),
            ("RemoveDir", b"..", errno.EINVAL),
        ]:
            self.refused(code, getattr(self.on(1), method)(ROOT, name))
        self.refused(errno.ENOTDIR, self.on(1).RemoveFile(self.create(b"g"), b"x"))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(ROOT))[0].DataVersion, version + 1)

    def test_everything_is_given_back(self) -> None:
        """A file's blocks and vnode, and a directory's, are free after their removal."""
        fid = self.create(b"f", content=b"x" * 5000)
        self.mkdir(b"d")
        header = self.registry.find(VOLUME).header  # type: ignore[union-attr]
        self.assertEqual((header.disk_used, header.file_count), (2 + 5 + 2, 3))
        status, _ = self.run_now(self.on(1).RemoveFile(ROOT, b"f"))
        self.assertEqual(status.LinkCount, 3)
        status, _ = self.run_now(self.on(1).RemoveDir(ROOT, b"d"))
        self.assertEqual((status.LinkCount, status.DataVersion), (2, 5))
        self.assertEqual((header.disk_used, header.file_count), (2, 1))
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(fid))

    def test_promises_for_what_is_gone(self) -> None:
        """A removed file's promises are forgotten, and nobody is told of it; of the directory others are."""
        fid = self.create(b"f")
        self.watch(fid)
        self.watch(ROOT)
        self.run_now(self.on(1).RemoveFile(ROOT, b"f"))
        self.assertEqual(self.heard(), [key(ROOT)])
        self.assertFalse([promise for promise in self.server.callbacks.promises() if promise.fid == key(fid)])
