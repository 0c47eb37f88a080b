"""The vnodes of an attached volume: who has which, in what order locks are taken, how one comes to be and goes.

Locks are taken in the order of vnode numbers, and a vnode is looked at as soon as it is locked, so nobody who waits
holds one that does not exist: no two callers ever wait for each other. A number that was freed is given out again when
nobody waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from errno import EINVAL
from typing import TYPE_CHECKING

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.directory import Directory
from fileserver.interfaces import NoSuchVnode, Vnode, blocks
from fileserver.volume.allocation import VnodeMap
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK, Vn
from rx.errors import Abort

if TYPE_CHECKING:
    from fileserver.volume.volume import Volume

READ_ONLY_FILE_SYSTEM = 30
"""VREADONLY, the same number as EROFS."""

NEW_DIRECTORY_BLOCKS = 2
"""What an empty directory is charged: its one page."""


class Vnodes:
    """See the module."""

    __slots__ = ("_cache", "_known", "_map", "_volume")

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._cache = volume.surroundings.vnodes
        self._known: dict[int, Vn] = {}
        self._map: VnodeMap | None = None

    def drop(self) -> None:
        """The volume is offline: nothing of it stays in the cache."""
        self._cache.drop(self._known.values())
        self._known.clear()

    def _hold(self, number: int) -> Vn:
        vn = self._known.get(number)
        if vn is None:
            vn = self._known[number] = Vn(self._volume, number)
        elif not vn.holders:
            self._cache.take(vn)
        vn.holders += 1
        return vn

    def _let_go(self, vn: Vn) -> None:
        vn.holders -= 1
        if vn.holders:
            return
        if vn.loaded:
            self._cache.keep(vn)
            return
        del self._known[vn.number]
        if vn.removed and self._map is not None:
            self._map.free(vn.number)

    def evict(self, vn: Vn) -> None:
        """The cache has no room for it any more."""
        del self._known[vn.number]

    def shared(self, fid: AFSFid) -> Shared:
        """The vnode, locked against change. Raises Abort: EINVAL (vnode 0), VNOVNODE (free, or another uniquifier)."""
        return Shared(self, fid)

    def exclusive(self, *fids: AFSFid) -> Exclusive:
        """The vnodes in the order asked for, locked for change; naming one twice is allowed.

        Locks are taken in the order of vnode numbers, so two callers never wait for each other. Raises Abort as
        `shared`, and VREADONLY. Left with an exception, unsaved changes are forgotten and vnodes created meanwhile are
        removed again, unless a directory that may name them was saved.
        """
        return Exclusive(self, fids)

    async def lock_shared(self, fid: AFSFid) -> Vn:
        """What `shared` begins with."""
        vn = self._hold(_number(fid))
        try:
            if not vn.loaded or not vn.lock.take_shared():
                await _lock_shared(vn)
            try:
                return _checked(vn, fid.Unique)
            except Abort:
                vn.lock.release_shared()
                raise
        except BaseException:
            self._let_go(vn)
            raise

    def release_shared(self, vn: Vn) -> None:
        """And ends with."""
        vn.lock.release_shared()
        self._let_go(vn)

    async def lock_exclusive(self, fids: tuple[AFSFid, ...], context: dict[int, Vn]) -> None:
        """What `exclusive` begins with: what was locked is in the context, whatever becomes of the others."""
        if not self._volume.writable:
            raise Abort(READ_ONLY_FILE_SYSTEM)
        for fid in fids if len(fids) == 1 else sorted(fids, key=_number):
            number = _number(fid)
            if number not in context:
                vn = await self._lock_exclusive(number, context)
                if not vn.loaded:
                    await _load(vn)
            _checked(context[number], fid.Unique)

    async def release_exclusive(self, context: dict[int, Vn], *, complete: bool, failed: bool = False) -> None:
        """And ends with. `failed`: the disk did, and has perhaps taken a part of what belongs together."""
        try:
            if not complete:
                await self._undo(context)
        except OSError:
            failed = True
            raise
        finally:
            self._volume.uncertain |= failed
            for vn in context.values():
                vn.context = None
                vn.fresh = False
                vn.lock.release_exclusive()
                self._let_go(vn)

    def peek(self, number: int) -> Vn | None:
        """The vnode of that number if it is in memory, unlocked: its record may be looked at until the next await."""
        vn = self._known.get(number)
        return vn if vn is not None and vn.loaded else None

    def glance(self, fid: AFSFid) -> Vn | None:
        """Fast path beside `shared`: the vnode, if it is in memory and nobody has it for change or waits to.

        It may be looked at until the next await. None says that `shared` must be asked, whatever the reason.
        """
        vn = self._known.get(fid.Vnode)
        if vn is None or not vn.loaded or vn.disk.uniquifier != fid.Unique or not vn.lock.shareable:
            return None
        if not vn.holders:
            self._cache.used(vn)
        return vn

    @asynccontextmanager
    async def kept(self, number: int) -> AsyncIterator[None]:
        """Bring a vnode into memory and keep it there, unlocked, for `peek`. Raises Abort VNOVNODE.

        The caller must not hold a lock when it enters: the vnode is read under its own.
        """
        vn = self._hold(number)
        try:
            await _lock_shared(vn)
            vn.lock.release_shared()
            yield
        finally:
            self._let_go(vn)

    async def create(
        self,
        type: int,  # noqa: A002, the record's own word
        mode: int,
        owner: int,
        author: int,
        group: int,
        parent: Vn,
        acl: bytes = b"",
        content: bytes = b"",
        prepare: Callable[[Vnode], None] | None = None,
    ) -> Vn:
        """A new vnode of `parent`, a directory the caller has exclusively; it is locked until that context ends.

        Allocates number and uniquifier, *charges* its blocks and counts the file; record and content are written,
        `content` being a symlink's target (an empty directory makes its own); `prepare` changes the record before.
        Raises Abort VDISKFULL, VOVERQUOTA; OSError.
        """
        assert parent.context is not None and type in (FILE, DIRECTORY, SYMLINK)
        price = NEW_DIRECTORY_BLOCKS if type == DIRECTORY else blocks(len(content))
        self._volume.charge(price)
        number = 0
        try:
            number = (await self._vnode_map()).allocate(directory=type == DIRECTORY)
            unique = await self._volume.new_unique()
            directory = None
            if type == DIRECTORY:
                directory = Directory.new((number, unique), (parent.number, parent.disk.uniquifier))
                content = directory.to_bytes()
            now = self._volume.surroundings.seconds()
            disk = Vnode(
                type=type,
                mode=mode,
                link_count=2 if type == DIRECTORY else 1,
                length=len(content),
                uniquifier=unique,
                data_version=0,
                modify_time=now,
                author=author,
                owner=owner,
                group=group,
                parent=parent.number,
                server_modify_time=now,
                acl=acl,
            )
            if prepare is not None:
                prepare(disk)
            vn = await self._lock_exclusive(number, parent.context)
            await self._volume.files.create_vnode(number, disk, content)
        except BaseException:
            self._volume.adjust(-price)
            if number in parent.context:
                parent.context[number].removed = True  # its number is free again once the lock is
            elif number:
                self._map_free(number)
            raise
        vn.born(disk)
        self._volume.header.file_count += 1
        return vn

    async def remove(self, vn: Vn) -> None:
        """Free the record, then the content; gives the blocks back. Its directory entry must be gone from the disk
        already.
        """
        assert vn.context is not None
        price = blocks(vn.disk.length)
        vn.forget()
        await self._volume.files.remove_vnode(vn.number)
        vn.removed = True
        self._volume.adjust(-price)
        self._volume.header.file_count -= 1

    async def _undo(self, context: dict[int, Vn]) -> None:
        for vn in context.values():
            if vn.fresh and vn.loaded:
                await self.remove(vn)
            vn.forget()

    async def _lock_exclusive(self, number: int, context: dict[int, Vn]) -> Vn:
        vn = self._hold(number)
        try:
            if not vn.lock.take_exclusive():
                await vn.lock.acquire_exclusive()
        except BaseException:
            self._let_go(vn)
            raise
        vn.context = context
        context[number] = vn
        return vn

    async def _vnode_map(self) -> VnodeMap:
        if self._map is None:
            async with self._volume.header_lock():
                if self._map is None:
                    self._map = VnodeMap(number for number, _ in await self._volume.files.vnodes())
        return self._map

    def _map_free(self, number: int) -> None:
        if self._map is not None:
            self._map.free(number)


class Shared:
    """The context of `Vnodes.shared`. A class, because the way through a generator costs three times as much."""

    __slots__ = ("_fid", "_vn", "_vnodes")

    def __init__(self, vnodes: Vnodes, fid: AFSFid) -> None:
        self._vnodes = vnodes
        self._fid = fid

    async def __aenter__(self) -> Vn:
        self._vn = await self._vnodes.lock_shared(self._fid)
        return self._vn

    async def __aexit__(self, *problem: object) -> None:
        self._vnodes.release_shared(self._vn)


class Exclusive:
    """The context of `Vnodes.exclusive`."""

    __slots__ = ("_context", "_fids", "_vnodes")

    def __init__(self, vnodes: Vnodes, fids: tuple[AFSFid, ...]) -> None:
        self._vnodes = vnodes
        self._fids = fids
        self._context: dict[int, Vn] = {}

    async def __aenter__(self) -> tuple[Vn, ...]:
        context = self._context
        try:
            await self._vnodes.lock_exclusive(self._fids, context)
        except BaseException:
            await self._vnodes.release_exclusive(context, complete=False)
            raise
        return tuple([context[fid.Vnode] for fid in self._fids])

    async def __aexit__(self, kind: type[BaseException] | None, *problem: object) -> None:
        await self._vnodes.release_exclusive(
            self._context, complete=kind is None, failed=kind is not None and issubclass(kind, OSError)
        )


def _number(fid: AFSFid) -> int:
    if not fid.Vnode:
        raise Abort(EINVAL)
    return fid.Vnode


def _checked(vn: Vn, unique: int) -> Vn:
    if not vn.loaded or vn.disk.uniquifier != unique:
        raise Abort(VolumeError.VNOVNODE)
    return vn


async def _load(vn: Vn) -> None:
    try:
        await vn.load()
    except NoSuchVnode:
        raise Abort(VolumeError.VNOVNODE) from None


async def _lock_shared(vn: Vn) -> None:
    """Readers share; the first one loads the record alone."""
    await vn.lock.acquire_shared()
    if vn.loaded:
        return
    vn.lock.release_shared()
    await vn.lock.acquire_exclusive()
    try:
        await _load(vn)
    except BaseException:
        vn.lock.release_exclusive()
        raise
    vn.lock.downgrade()
