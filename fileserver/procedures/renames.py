"""Rename, the one procedure that changes up to four vnodes (`viced/afsfileprocs.c`, SAFSS_Rename)."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from afs.errors import VolumeError
from afs.types import AFSFetchStatus, AFSFid, AFSVolSync
from fileserver import rights
from fileserver.directory import PAGE_SIZE
from fileserver.procedures.base import RETRIES, procedure
from fileserver.procedures.names import Names, check_new_name, drop_link, enter, require_writable
from fileserver.status import Target, directory_changed
from fileserver.volume.vn import DIRECTORY, Vn
from fileserver.volume.volume import Volume
from rx.errors import Abort

WOULD_LOOP = 90
"""A directory into itself. A constant meant as ELOOP, which Linux clients read as EMSGSIZE (fileserver.md section 9).
"""


@dataclass(frozen=True, slots=True)
class Move:
    """Everything locked that a rename touches. `target` is what the new name leads to before."""

    old: Target
    new: Target
    source: Vn
    target: Vn | None

    @property
    def across(self) -> bool:
        return self.old.vn is not self.new.vn

    @property
    def moves_directory(self) -> bool:
        return self.across and self.source.disk.type == DIRECTORY


class Renames(Names):
    """See the module."""

    @procedure
    async def Rename(
        self, old_dir_fid: AFSFid, old_name: bytes, new_dir_fid: AFSFid, new_name: bytes
    ) -> tuple[AFSFetchStatus, AFSFetchStatus, AFSVolSync]:
        check_new_name(new_name)
        if old_dir_fid.Volume != new_dir_fid.Volume:
            raise Abort(errno.EXDEV)
        if {old_name, new_name} & {b".", b"..", b""}:
            raise Abort(errno.EINVAL)
        async with self.use(old_dir_fid.Volume) as volume:
            volume.touch(wrote=True)
            async with self._locked(volume, old_dir_fid, old_name, new_dir_fid, new_name) as move:
                now = self.server.now()
                await self._rename(volume, move, old_name, new_name, now)
                return move.old.status(now), move.new.status(now), volume.volsync

    @asynccontextmanager
    async def _locked(
        self, volume: Volume, old_dir: AFSFid, old_name: bytes, new_dir: AFSFid, new_name: bytes
    ) -> AsyncIterator[Move]:
        """Look up, lock in the order of vnode numbers, make sure that nothing has changed meanwhile, check."""
        require_writable(volume)
        for fid in sorted((old_dir, new_dir), key=lambda each: each.Vnode):
            async with volume.shared(fid) as vn:
                self.directory(volume, vn)
        for _ in range(RETRIES):
            async with AsyncExitStack() as stack:
                source = await self.look_up(volume, old_dir, old_name, rights.DELETE)
                target = await self.look_up(volume, new_dir, new_name, rights.INSERT)
                if source is None:
                    raise Abort(errno.ENOENT)
                if source[0] == new_dir.Vnode:
                    raise Abort(WOULD_LOOP)
                loops = False
                if source[0] & 1 and old_dir.Vnode != new_dir.Vnode:
                    await self.server.moving_directories.acquire()
                    stack.callback(self.server.moving_directories.release)
                    loops = await _is_below(volume, new_dir.Vnode, source[0])
                self._check_target(old_dir, new_dir, source, target)
                fids = [old_dir, new_dir, *(AFSFid(volume.id, *found) for found in (source, target) if found)]
                vns = await enter(stack, volume, *fids)
                if not vns:
                    continue
                if (await vns[0].directory()).lookup(old_name) != source:
                    continue
                if (await vns[1].directory()).lookup(new_name) != target:
                    continue
                move = Move(
                    self.directory(volume, vns[0]),
                    self.directory(volume, vns[1]),
                    vns[2],
                    vns[3] if target else None,
                )
                await _check(move)
                if loops:
                    raise Abort(WOULD_LOOP)
                yield move
                return
        raise Abort(VolumeError.VNOVNODE)

    def _check_target(
        self, old_dir: AFSFid, new_dir: AFSFid, source: tuple[int, int], target: tuple[int, int] | None
    ) -> None:
        if target is not None and target[0] in (old_dir.Vnode, new_dir.Vnode, source[0]):
            raise Abort(errno.EINVAL)

    async def _rename(self, volume: Volume, move: Move, old_name: bytes, new_name: bytes, now: float) -> None:
        """Carry it out. The new name is on the disk before the old one goes."""
        caller = self.user.caller
        old, new, source, target = move.old.vn, move.new.vn, move.source, move.target
        source_fid = source.fid
        directory = await new.directory()
        if target is None:
            directory.insert(new_name, source.number, source.disk.uniquifier)
        else:
            directory.replace(new_name, source.number, source.disk.uniquifier)
            if target.disk.type == DIRECTORY:
                new.disk.link_count -= 1
        if not move.across and directory.length > PAGE_SIZE:
            await new.save()  # the names may be in two pages, of which the old one's must not go first
        (await old.directory()).remove(old_name)
        directory_changed(new.disk, caller, now)
        if move.across:
            directory_changed(old.disk, caller, now)
            source.disk.parent = new.number
        if move.moves_directory:
            (await source.directory()).replace(b"..", new.number, new.disk.uniquifier)
            source.disk.data_version += 1
            source.disk.server_modify_time = int(now)
            old.disk.link_count -= 1
            new.disk.link_count += 1
        await new.save()
        if move.across:
            await source.save()
            await old.save()
        self.void(new.fid, self.host)
        if move.across:
            self.void(old.fid, self.host)
        if move.moves_directory:
            self.void(source_fid, None)
        if target is not None:
            await self._dropped(volume, target, now)

    async def _dropped(self, volume: Volume, target: Vn, now: float) -> None:
        """What the new name led to has one name less."""
        fid = target.fid
        if await drop_link(volume, target, now):
            self.server.callbacks.forget_file((fid.Volume, fid.Vnode, fid.Unique))
        else:
            self.void(fid, None)


async def _check(move: Move) -> None:
    """Abort: EXDEV for a file with other names in the old directory, EACCES, EISDIR, EEXIST, ENOTDIR."""
    source, target = move.source.disk, move.target
    if move.across and source.type != DIRECTORY and source.link_count != 1:
        raise Abort(errno.EXDEV)
    if target is None:
        return
    rights.change_directory(move.new.access, rights.DELETE)
    if target.disk.type == DIRECTORY:
        if source.type != DIRECTORY:
            raise Abort(errno.EISDIR)
        if not (await target.directory()).is_empty():
            raise Abort(errno.EEXIST)
    elif source.type == DIRECTORY:
        raise Abort(errno.ENOTDIR)


async def _is_below(volume: Volume, number: int, ancestor: int) -> bool:
    """Whether directory `number` is `ancestor` or in it, however deep. A circle on the disk counts as one too."""
    seen: set[int] = set()
    while number:
        if number == ancestor or number in seen:
            return True
        seen.add(number)
        async with volume.kept(number):
            vn = volume.peek(number)
            if vn is None:
                raise Abort(VolumeError.VBUSY)
            number = vn.disk.parent
    return False
