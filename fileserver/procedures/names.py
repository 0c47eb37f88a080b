"""Names in directories: create, link, remove.  Rename is `renames.py`.

Order on the disk: a new object before the name that leads to it, a name away before what it led to. Promises are taken
under the directory's lock; the messages go out when every lock is free.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from afs.errors import VolumeError
from afs.types import AFS_SETMODE, AFSCallBack, AFSFetchStatus, AFSFid, AFSStoreStatus, AFSVolSync
from fileserver import rights
from fileserver.directory import Directory
from fileserver.procedures.base import RETRIES, Base, procedure
from fileserver.status import Target, callback, created, directory_changed, fetch_status, new_mode
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK, Vn
from fileserver.volume.volume import Volume
from rx.errors import Abort

EXECUTE_BITS = 0o111
"""A symbolic link without any of them is a mount point."""

NewReply = tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]


class Names(Base):
    """See the module."""

    @procedure
    async def CreateFile(self, dir_fid: AFSFid, name: bytes, status: AFSStoreStatus) -> NewReply:
        fid, reported, directory, sync, promised = await self._create(dir_fid, name, status, FILE)
        reported.CallerAccess |= rights.ADMINISTER
        return fid, reported, directory, promised, sync

    @procedure
    async def MakeDir(self, dir_fid: AFSFid, name: bytes, status: AFSStoreStatus) -> NewReply:
        fid, reported, directory, sync, promised = await self._create(dir_fid, name, status, DIRECTORY)
        return fid, reported, directory, promised, sync

    @procedure
    async def Symlink(
        self, dir_fid: AFSFid, name: bytes, link_contents: bytes, status: AFSStoreStatus
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        fid, reported, directory, sync, _ = await self._create(dir_fid, name, status, SYMLINK, link_contents)
        return fid, reported, directory, sync

    @procedure
    async def Link(
        self, dir_fid: AFSFid, name: bytes, existing_fid: AFSFid
    ) -> tuple[AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        if dir_fid.Volume != existing_fid.Volume:
            raise Abort(errno.EXDEV)
        check_new_name(name)
        async with self.use(dir_fid.Volume) as volume:
            volume.touch(wrote=True)
            require_writable(volume)
            async with volume.shared(dir_fid) as vn:  # who may not insert learns nothing of the other object
                rights.change_directory(self.directory(volume, vn).access, rights.INSERT)
            # Directories have odd numbers: one is refused below, once the caller's right is known, and not looked at.
            fids = (dir_fid,) if existing_fid.Vnode & 1 else (dir_fid, existing_fid)
            async with volume.exclusive(*fids) as vns:
                parent = self.directory(volume, vns[0])
                rights.change_directory(parent.access, rights.INSERT)
                vn = vns[-1]
                if vn.disk.type != FILE:
                    raise Abort(errno.EISDIR)
                if vn.disk.parent != parent.vn.number:
                    raise Abort(errno.EXDEV)
                now = self.server.now()
                insert(await parent.vn.directory(), name, vn)
                vn.disk.link_count += 1
                vn.disk.author = self.user.caller.id
                vn.disk.server_modify_time = int(now)
                directory_changed(parent.vn.disk, self.user.caller, now)
                await vn.save()
                await parent.vn.save()
                self.void(dir_fid, self.host)
                self.void(existing_fid, self.host)
                return self._child_status(parent, vn, now), parent.status(now), volume.volsync

    @procedure
    async def RemoveFile(self, dir_fid: AFSFid, name: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        return await self._remove(dir_fid, name, wants_directory=False)

    @procedure
    async def RemoveDir(self, dir_fid: AFSFid, name: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        return await self._remove(dir_fid, name, wants_directory=True)

    async def _create(
        self, dir_fid: AFSFid, name: bytes, status: AFSStoreStatus, kind: int, content: bytes = b""
    ) -> tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSVolSync, AFSCallBack]:
        check_new_name(name)
        caller = self.user.caller
        async with self.use(dir_fid.Volume) as volume:
            volume.touch(wrote=True)
            async with volume.exclusive(dir_fid) as (vn,):
                parent = self.directory(volume, vn)
                rights.change_directory(parent.access, rights.INSERT)
                if kind == SYMLINK and status.Mask & AFS_SETMODE and not status.UnixModeBits & EXECUTE_BITS:
                    rights.make_mount_point(parent.access)
                directory = await vn.directory()
                if name in directory:
                    raise Abort(errno.EEXIST)
                now = self.server.now()
                child = await volume.create(
                    kind,
                    new_mode(caller, status),
                    caller.id,
                    caller.id,
                    vn.disk.group,
                    vn,
                    acl=vn.disk.acl if kind == DIRECTORY else b"",
                    content=content,
                    prepare=lambda record: created(record, caller, status, now),
                )
                insert(directory, name, child)
                directory_changed(vn.disk, caller, now)
                if kind == DIRECTORY:
                    vn.disk.link_count += 1
                await vn.save()
                fid = child.fid
                self.void(dir_fid, self.host)
                promised = callback(self.promise(volume, fid)) if kind != SYMLINK else AFSCallBack()
                return fid, self._child_status(parent, child, now), parent.status(now), volume.volsync, promised

    async def _remove(
        self, dir_fid: AFSFid, name: bytes, *, wants_directory: bool
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        async with self.use(dir_fid.Volume) as volume:
            volume.touch(wrote=True)
            async with self._entry(volume, dir_fid, name) as (parent, child):
                await check_removable(child, wants_directory=wants_directory)
                now = self.server.now()
                fid = child.fid
                (await parent.vn.directory()).remove(name)
                directory_changed(parent.vn.disk, self.user.caller, now)
                if wants_directory:
                    parent.vn.disk.link_count -= 1
                await parent.vn.save()
                self.void(dir_fid, self.host)
                if await drop_link(volume, child, now):
                    self.server.callbacks.forget_file((fid.Volume, fid.Vnode, fid.Unique))
                else:
                    self.void(fid, None)
                return parent.status(now), volume.volsync

    @asynccontextmanager
    async def _entry(self, volume: Volume, dir_fid: AFSFid, name: bytes) -> AsyncIterator[tuple[Target, Vn]]:
        """A directory and what a name in it leads to, both locked for change. Checks the right to take names out.

        The name is looked up before the locks are there, since locks are taken in the order of vnode numbers; when it
        leads elsewhere by then, all starts over.
        """
        for _ in range(RETRIES):
            found = await self.look_up(volume, dir_fid, name, rights.DELETE)
            if found is None:
                raise Abort(errno.ENOENT)
            locked = False
            try:
                async with volume.exclusive(dir_fid, AFSFid(volume.id, *found)) as (parent, child):
                    locked = True
                    if (await parent.directory()).lookup(name) == found:
                        yield self.directory(volume, parent), child
                        return
            except Abort as abort:
                if locked or abort.code != VolumeError.VNOVNODE:
                    raise  # else it has gone since it was looked up
        raise Abort(VolumeError.VNOVNODE)

    async def look_up(self, volume: Volume, dir_fid: AFSFid, name: bytes, right: int) -> tuple[int, int] | None:
        """(vnode, uniquifier) a name leads to now. Abort: EINVAL for the names every directory has, EACCES, ENOTDIR."""
        require_writable(volume)
        vn = volume.glance(dir_fid)
        if vn is not None and vn.has_directory:  # fast path: nothing to wait for
            found = await self._led_to(volume, vn, name, right)
        else:
            async with volume.shared(dir_fid) as vn:
                found = await self._led_to(volume, vn, name, right)
        if found is not None and found[0] == dir_fid.Vnode:
            raise Abort(errno.EINVAL)
        return found

    async def _led_to(self, volume: Volume, vn: Vn, name: bytes, right: int) -> tuple[int, int] | None:
        rights.change_directory(self.directory(volume, vn).access, right)
        if name in (b".", b".."):
            raise Abort(errno.EINVAL)
        return (await vn.directory()).lookup(name)

    def _child_status(self, parent: Target, child: Vn, now: float) -> AFSFetchStatus:
        """The status of an object just entered in a directory, with the rights that the directory gives."""
        own = (child if child.disk.type == DIRECTORY else parent.vn).fid
        return fetch_status(child, (own.Vnode, own.Unique), parent.access, now)


async def enter(stack: AsyncExitStack, volume: Volume, *fids: AFSFid) -> tuple[Vn, ...]:
    """Lock the vnodes for change; empty when one of them has gone since it was looked up."""
    try:
        return await stack.enter_async_context(volume.exclusive(*fids))
    except Abort as abort:
        if abort.code != VolumeError.VNOVNODE:
            raise
        return ()


def check_new_name(name: bytes) -> None:
    """Abort(EINVAL) for a name that clients would not find again."""
    if b"/" in name or name.endswith(b"@sys"):
        raise Abort(errno.EINVAL)


def require_writable(volume: Volume) -> None:
    """Abort(EROFS), which goes before all that can be wrong with vnodes."""
    if not volume.writable:
        raise Abort(errno.EROFS)


async def check_removable(child: Vn, *, wants_directory: bool) -> None:
    """Abort: EISDIR, ENOTDIR, EEXIST for a directory that is not empty."""
    if child.disk.type != DIRECTORY:
        if wants_directory:
            raise Abort(errno.ENOTDIR)
        return
    if not wants_directory:
        raise Abort(errno.EISDIR)
    if not (await child.directory()).is_empty():
        raise Abort(errno.EEXIST)


def insert(directory: Directory, name: bytes, child: Vn) -> None:
    """Abort(EEXIST); DirectoryFull and BadName are as the directory raises them."""
    try:
        directory.insert(name, child.number, child.disk.uniquifier)
    except FileExistsError:
        raise Abort(errno.EEXIST) from None


async def drop_link(volume: Volume, child: Vn, now: float) -> bool:
    """One name less leads to `child`; True when that was the last and it is gone."""
    child.disk.link_count -= 1
    if child.disk.link_count <= 0 or child.disk.type == DIRECTORY:
        await volume.remove(child)
        return True
    child.disk.server_modify_time = int(now)
    await child.save()
    return False
