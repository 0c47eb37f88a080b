"""AFSVol: SplitVolume, a directory that becomes a volume of its own."""

from __future__ import annotations

from dataclasses import replace
from errno import EINVAL, EIO, ENOENT, ENOSPC

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.directory import Directory
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK
from rx.errors import Abort
from rx.streams import Buffer
from tests.fileserver.volser.support import BACKUP, KEEP, RW, VOLUME, Volser
from tests.fileserver.volume.support import make_file, use

NEW = VOLUME + 50
LARGE = bytes(range(256)) * 6000
QUOTA = 9999


class Splitting(Volser):
    """A volume with /top/inner/deep, /top/file, /top/link and /stays, and a fresh one."""

    def setUp(self) -> None:
        super().setUp()
        self.create()
        trans = self.begin()
        self.do(self.volser.SetInfo(trans, replace(KEEP, maxquota=QUOTA)))
        self.do(self.volser.EndTrans(trans))
        self.top = self.directory(AFSFid(VOLUME, 1, 1), b"top")
        self.inner = self.directory(self.top, b"inner")
        self.deep = self.fill(self.inner, b"deep", LARGE)
        self.file = self.fill(self.top, b"file", b"content")
        self.link = self.fill(self.top, b"link", b"inner/deep", SYMLINK)
        self.stays = self.fill(AFSFid(VOLUME, 1, 1), b"stays", b"here")
        self.create(NEW, b"new")

    def fill(self, parent: AFSFid, name: bytes, content: bytes, kind: int = FILE) -> AFSFid:
        async def fill() -> AFSFid:
            async with self.server.registry.use(VOLUME) as volume, volume.exclusive(parent) as (directory,):
                vn = await volume.create(
                    type=kind, mode=0o644, owner=7, author=7, group=0, parent=directory, content=content
                )
                (await directory.directory()).insert(name, vn.number, vn.disk.uniquifier)
                directory.disk.link_count += kind == DIRECTORY
                await vn.save()
                await directory.save()
                return vn.fid

        return self.run_now(fill())

    def directory(self, parent: AFSFid, name: bytes) -> AFSFid:
        return self.fill(parent, name, b"", DIRECTORY)

    def split(self, where: int, verbose: int = 0) -> bytes:
        report = Buffer()
        self.do(self.volser.SplitVolume(VOLUME, NEW, where, verbose, report))
        return bytes(report)

    def attempt(self) -> int:
        """The code with which a split ends."""

        async def attempt() -> int:
            try:
                await self.volser.SplitVolume(VOLUME, NEW, self.top.Vnode, 0, Buffer())
            except Abort as refusal:
                return refusal.code
            return 0

        return self.run_now(attempt())

    def entries(self, volume: int, number: int) -> dict[bytes, tuple[int, int]]:
        stored = self.server.disk.volumes[volume].contents[number]
        directory = Directory.parse(stored.read(0, stored.length))
        return {name: (vnode, unique) for name, vnode, unique in directory.entries()}

    def read(self, volume_id: int, fid: AFSFid) -> bytes:
        async def read() -> bytes:
            there = AFSFid(volume_id, fid.Vnode, fid.Unique)
            async with self.server.registry.use(volume_id) as volume, volume.shared(there) as vn:
                return await vn.read(0, vn.disk.length)

        return self.run_now(read())

    def test_split(self) -> None:
        """The directory is the new volume's root with all below it; where it was is a mount point of that volume."""
        self.server.broken.clear()
        self.assertEqual(self.split(self.top.Vnode), b"Finished!\n\0")
        names = self.entries(NEW, 1)
        self.assertEqual(names[b"."], (1, 1))
        self.assertEqual(names[b".."], (1, 1))
        self.assertEqual(names[b"inner"], (self.inner.Vnode, self.inner.Unique))
        self.assertEqual(self.entries(NEW, self.inner.Vnode)[b".."], (1, 1))
        self.assertEqual(self.read(NEW, self.deep), LARGE)
        self.assertEqual(self.read(NEW, self.file), b"content")
        self.assertEqual(self.read(NEW, self.link), b"inner/deep")
        here = self.entries(VOLUME, 1)
        self.assertEqual(set(here), {b".", b"..", b"top", b"stays"})
        self.assertEqual(self.read(VOLUME, AFSFid(VOLUME, *here[b"top"])), b"#new.")
        self.assertEqual(set(self.server.disk.volumes[VOLUME].vnodes), {1, self.stays.Vnode, here[b"top"][0]})
        self.assertEqual(self.server.disk.volumes[VOLUME].vnodes[1].link_count, 2)
        self.assertEqual(sorted(self.server.broken), [VOLUME, NEW])
        info = self.info(NEW)
        self.assertEqual((info.filecount, info.maxquota, info.size), (5, QUOTA, 2 + 2 + 1500 + 1 + 1))
        self.assertEqual((self.info().filecount, self.info().size), (3, 2 + 1 + 1))

    def test_new_files_are_new(self) -> None:
        """No file made afterwards, in either volume, has the id of one that was."""
        self.split(self.top.Vnode)

        async def make(volume_id: int) -> AFSFid:
            async with self.server.registry.use(volume_id) as volume:
                return await make_file(volume, b"later", b"")

        last = max(each.Unique for each in (self.top, self.deep, self.file, self.link, self.stays))
        for volume_id in (VOLUME, NEW):
            self.assertGreater(self.run_now(make(volume_id)).Unique, last)

    def test_clones_stay(self) -> None:
        """A backup of the volume goes on holding everything."""
        self.backup()
        self.split(self.top.Vnode)
        self.assertEqual(self.read(BACKUP, self.deep), LARGE)
        self.assertIn(b"top", self.entries(BACKUP, 1))

    def test_refusals(self) -> None:
        """No such volume, one that is not fresh or elsewhere, no such directory, the root, a file: nothing changes."""
        before = dict(self.server.disk.volumes[VOLUME].vnodes)
        refused = [
            (VOLUME + 99, NEW, 3, VolumeError.VNOVOL),
            (VOLUME, VOLUME + 99, 3, VolumeError.VNOVOL),
            (NEW, VOLUME, 3, EINVAL),
            (VOLUME, NEW, 1, ENOENT),
            (VOLUME, NEW, 99, ENOENT),
            (VOLUME, NEW, self.file.Vnode, ENOENT),
        ]
        for old, new, where, code in refused:
            self.assertEqual(self.code(self.volser.SplitVolume(old, new, where, 0, Buffer())), code)
        _, trans = self.do(self.volser.CreateVolume(1, b"there", RW, 0, NEW + 1))
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        there = self.volser.SplitVolume(VOLUME, NEW + 1, self.top.Vnode, 0, Buffer())
        self.assertEqual(self.code(there), EINVAL)
        self.assertEqual(self.server.disk.volumes[VOLUME].vnodes, before)
        self.run_now(use(self.server, VOLUME))

    def test_failure(self) -> None:
        """When there is no room for the copies the old volume is as it was, and the new one is to be deleted."""

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "create_vnode" and number == self.deep.Vnode:
                raise OSError(ENOSPC, "No space left on device")

        self.server.disk.fault = fault
        self.assertEqual(self.code(self.volser.SplitVolume(VOLUME, NEW, self.top.Vnode, 0, Buffer())), EIO)
        self.server.disk.fault = None
        self.assertEqual(self.read(VOLUME, self.deep), LARGE)
        self.assertTrue(self.server.disk.volumes[NEW].header.destroy_me)

    def test_every_stop(self) -> None:
        """Wherever it is stopped, each file is in at least one of the volumes that are served."""
        for stop in range(200):
            case = type(self)("test_split")
            case.setUp()
            left = [stop]

            async def fault(operation: str, volume_id: int, number: int, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(EIO, "stopped")

            case.server.disk.fault = fault
            code = case.attempt()
            case.server.disk.fault = None
            volumes = case.server.disk.volumes
            whole = [volumes[NEW]] if not volumes[NEW].header.destroy_me else []
            whole += [volumes[VOLUME]]
            for fid in (case.deep, case.file, case.link):
                self.assertTrue(any(fid.Vnode in each.vnodes for each in whole), (stop, fid))
            if not code:
                return
            self.assertIn(code, (EIO, VolumeError.VSALVAGE))
        self.fail("it has more steps than this")
