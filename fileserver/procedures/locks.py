"""Advisory locks: SetLock, ExtendLock, ReleaseLock, and their AFS 3.0 forms."""

from __future__ import annotations

from afs.types import AFSFid, AFSVolSync
from fileserver import locks, rights
from fileserver.procedures.base import Base, procedure
from rx.errors import Abort

READ_ONLY = 30
"""VREADONLY, the same number as EROFS."""

STATELESS = AFSVolSync()
"""Answers every lock in a read-only volume but one for writing: what nobody can break needs no state. The volume is not
looked at (afsfileprocs.c SAFSS_SetLock).
"""


class Locks(Base):
    """See the module."""

    @procedure
    async def SetLock(self, fid: AFSFid, lock_type: int) -> AFSVolSync:
        return await self._set(fid, lock_type)

    @procedure
    async def ExtendLock(self, fid: AFSFid) -> AFSVolSync:
        return await self._extend(fid)

    @procedure
    async def ReleaseLock(self, fid: AFSFid) -> AFSVolSync:
        return await self._release(fid)

    @procedure
    async def OldSetLock(self, fid: AFSFid, lock_type: int, sync: AFSVolSync) -> None:
        await self._set(fid, lock_type)

    @procedure
    async def OldExtendLock(self, fid: AFSFid, sync: AFSVolSync) -> None:
        await self._extend(fid)

    @procedure
    async def OldReleaseLock(self, fid: AFSFid, sync: AFSVolSync) -> None:
        await self._release(fid)

    async def _set(self, fid: AFSFid, number: int) -> AFSVolSync:
        kind = locks.lock_type(number)
        async with self.use(fid.Volume) as volume:
            if not volume.writable:
                if kind is locks.LockType.WRITE:
                    raise Abort(READ_ONLY)
                return STATELESS
            async with self.opened(volume, fid, exclusive=True) as target:
                vn = target.vn
                rights.set_lock(vn.disk, target.access, kind)
                locks.set_lock(vn.disk, kind, self.server.now())
                await vn.save()
            return volume.volsync

    async def _extend(self, fid: AFSFid) -> AFSVolSync:
        async with self.use(fid.Volume) as volume:
            if not volume.writable:
                return STATELESS
            async with volume.exclusive(fid) as (vn,):
                locks.extend_lock(vn.disk, self.server.now())
                await vn.save()
            return volume.volsync

    async def _release(self, fid: AFSFid) -> AFSVolSync:
        async with self.use(fid.Volume) as volume:
            if not volume.writable:
                return STATELESS
            async with volume.exclusive(fid) as (vn,):
                if locks.release_lock(vn.disk):
                    self.void(fid, self.host)
                await vn.save()
            return volume.volsync
