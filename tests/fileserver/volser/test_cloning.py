"""AFSVol: clones, backups, and a read-only volume that takes its read-write one's place."""

from __future__ import annotations

from errno import EINVAL, EIO, ENODEV, ENOSPC, EROFS, EXDEV

from afs.errors import VolserError, VolumeError
from afs.rpc.volser import (
    ITBusy,
    ITReadOnly,
    VTOutOfService,
)
from afs.types import AFSFid
from fileserver.volser.listing import VOK
from tests.fileserver.volser.support import BACKUP, BK, READONLY, RO, RW, VOLUME, Volser
from tests.fileserver.volume.support import make_file, use


class Cloning(Volser):
    def fill(self, name: bytes, content: bytes) -> AFSFid:
        async def fill() -> AFSFid:
            async with self.server.registry.use(VOLUME) as volume:
                return await make_file(volume, name, content)

        return self.run_now(fill())

    def read(self, volume_id: int, fid: AFSFid) -> bytes:
        async def read() -> bytes:
            there = AFSFid(Volume=volume_id, Vnode=fid.Vnode, Unique=fid.Unique)
            async with self.server.registry.use(volume_id) as volume, volume.shared(there) as vn:
                return await vn.read(0, vn.disk.length)

        return self.run_now(read())

    def test_backup(self) -> None:
        """A backup holds what the volume held, under its own name and dates, and stays so when the volume changes."""
        self.create()
        fid = self.fill(b"a", b"before")
        self.backup()
        later = self.fill(b"b", b"after")
        self.assertEqual(self.read(BACKUP, fid), b"before")
        self.assertEqual(self.code(self._look(BACKUP, later)), VolumeError.VNOVNODE)
        info = self.info(BACKUP)
        self.assertEqual((info.name, info.type, info.parentID, info.status), (b"vol.backup", BK, VOLUME, VOK))
        self.assertEqual(info.backupDate, info.copyDate)
        self.assertEqual((self.info().backupID, self.info().backupDate), (BACKUP, info.copyDate))

    async def _look(self, volume_id: int, fid: AFSFid) -> None:
        there = AFSFid(Volume=volume_id, Vnode=fid.Vnode, Unique=fid.Unique)
        async with self.server.registry.use(volume_id) as volume, volume.shared(there):
            pass

    def test_reclone(self) -> None:
        """Cloning again brings the backup up to date, in service at once, and tells its clients."""
        self.create()
        self.backup()
        self.run_now(use(self.server, BACKUP))
        fid = self.fill(b"a", b"new")
        self.server.now += 100
        self.server.broken.clear()
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.ReClone(trans, BACKUP))
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.read(BACKUP, fid), b"new")
        self.assertEqual(self.server.broken, [BACKUP])
        info = self.info(BACKUP)
        self.assertEqual((info.creationDate, info.backupDate), (int(self.server.now), int(self.server.now)))
        self.assertEqual(info.copyDate, int(self.server.now) - 100)

    def test_read_only(self) -> None:
        """A read-only clone is recorded in the volume, and out of service until its creator says otherwise."""
        self.create()
        trans = self.begin(flags=ITBusy)
        self.assertEqual(self.do(self.volser.Clone(trans, 0, RO, b"vol.readonly", READONLY)), READONLY)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.info().cloneID, READONLY)
        self.assertEqual(self.refused(use(self.server, READONLY)), VolumeError.VNOVOL)
        trans = self.begin(READONLY)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server, READONLY))

    def test_refusals(self) -> None:
        """No id, odd types, volumes that exist or are no clones of this one, sources that are offline or shared."""
        self.create()
        self.create(7, b"another")
        trans = self.begin(flags=ITBusy)
        clone = self.volser.Clone
        self.assertEqual(self.code(clone(trans, 0, BK, b"x" * 32, BACKUP)), VolserError.VOLSERBADNAME)
        self.assertEqual(self.code(clone(trans, 0, BK, b"vol.backup", 0)), EINVAL)
        self.assertEqual(self.code(clone(trans, 0, 3, b"vol.backup", BACKUP)), EINVAL)
        self.assertEqual(self.code(clone(trans, 0, BK, b"vol.backup", 7)), VolumeError.VVOLEXISTS)
        self.assertEqual(self.code(self.volser.ReClone(trans, 7)), EXDEV)
        self.assertEqual(self.code(self.volser.ReClone(trans, 99)), VolumeError.VNOVOL)
        self.do(self.volser.SetFlags(trans, VTOutOfService))
        self.assertEqual(self.code(clone(trans, 0, BK, b"vol.backup", BACKUP)), VolumeError.VOFFLINE)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server))
        trans = self.begin(flags=ITReadOnly)
        self.assertEqual(self.code(clone(trans, 0, BK, b"vol.backup", BACKUP)), EROFS)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(sorted(self.server.disk.volumes), [7, VOLUME])
        self.run_now(use(self.server, 7))

    def test_a_clone_that_fails(self) -> None:
        """A clone for which there is no room leaves nothing, and the volume is served."""
        self.create()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "clone_to":
                raise OSError(ENOSPC, "No space left on device")

        self.server.disk.fault = fault
        trans = self.begin(flags=ITBusy)
        self.assertEqual(self.code(self.volser.Clone(trans, 0, BK, b"vol.backup", BACKUP)), EIO)
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(list(self.server.disk.volumes), [VOLUME])
        self.run_now(use(self.server))

    def test_a_half_done_reclone_is_not_served(self) -> None:
        """A reclone that failed in the middle leaves a clone that is asked to be salvaged."""
        self.create()
        self.backup()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "clone_to":
                raise OSError(EIO, "I/O error")

        self.server.disk.fault = fault
        trans = self.begin(flags=ITBusy)
        self.assertEqual(self.code(self.volser.ReClone(trans, BACKUP)), EIO)
        self.assertEqual(self.refused(use(self.server, BACKUP)), VolumeError.VSALVAGE)

    def test_convert(self) -> None:
        """A read-only volume whose read-write one is gone takes its place, contents and all."""
        self.create()
        fid = self.fill(b"a", b"content")
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.Clone(trans, 0, RO, b"vol.readonly", READONLY))
        self.do(self.volser.EndTrans(trans))
        trans = self.begin(READONLY)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.code(self.volser.ConvertROtoRWvolume(0, READONLY)), EXDEV)
        self.backup()
        self.do(self.volser.NukeVolume(0, VOLUME))
        self.assertEqual(self.code(self.volser.ConvertROtoRWvolume(0, READONLY)), VolumeError.VVOLEXISTS)
        self.do(self.volser.NukeVolume(0, BACKUP))
        self.do(self.volser.ConvertROtoRWvolume(0, READONLY))
        info = self.info()
        self.assertEqual((info.name, info.type, info.volid), (b"vol", RW, VOLUME))
        self.assertEqual(self.read(VOLUME, fid), b"content")
        self.assertEqual(list(self.server.disk.volumes), [VOLUME])
        self.assertEqual(self.code(self.volser.ConvertROtoRWvolume(0, READONLY)), ENODEV)
