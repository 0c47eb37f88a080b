"""A volume of this server: its automaton, its users, its vnodes and its accounts (blocks, files, uniquifiers, dates).

A volume nobody uses is a small record; header, files and vnodes exist while it is attached. How it gets attached and
taken
offline is in attach.py and offline.py; the on-disk side is `IVolumeFiles`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from errno import EINVAL

from twisted.internet.defer import Deferred, DeferredLock

from afs.errors import VolumeError
from afs.types import AFSFid, AFSVolSync
from fileserver.directory import Directory
from fileserver.interfaces import IPartition, IVolumeFiles, NoSuchVnode, Vnode, VolumeHeader
from fileserver.volume.allocation import VnodeMap
from fileserver.volume.fsa import REFUSAL, Automaton, VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK, Vn, blocks
from rx.errors import Abort

FILE_SERVER = 1
"""`VolumeHeader.in_use` of a volume this server has attached (dafs.md, program types)."""

UNIQUIFIER_AHEAD = 200
"""The stored uniquifier runs this far ahead while the volume is in use, so that a crash never repeats one
(volume.c).
"""

UNIQUIFIER_START = 2
"""Where uniquifiers begin, also after 2^32: 1 is the root directory's."""

READ_ONLY_FILE_SYSTEM = 30
"""VREADONLY, the same number as EROFS."""

NEW_DIRECTORY_BLOCKS = 2
"""What an empty directory is charged: its one page."""

MAX_UINT32 = 2**32 - 1

ONE_DAY = 86400


class Volume(Automaton):
    """See the module. `id`, `parent` and `partition` are always there, `header` and `files` while it is attached."""

    __slots__ = (
        "_drained",
        "_files",
        "_header",
        "_map",
        "_next_unique",
        "_stored_unique",
        "_vnodes",
        "_writing",
        "borrowed",
        "condemned",
        "dirty",
        "id",
        "parent",
        "partition",
        "special_status",
        "surroundings",
        "users",
    )

    def __init__(
        self,
        volume_id: int,
        parent: int,
        partition: IPartition,
        surroundings: Surroundings,
        state: VolumeState = VolumeState.UNATTACHED,
    ) -> None:
        super().__init__(state, surroundings.watch)
        self.id = volume_id
        self.parent = parent
        self.partition = partition
        self.surroundings = surroundings
        self.users = 0
        self.special_status = (
            0  # what clients are told while it is offline: VBUSY, VMOVED, or 0 for what the state says
        )
        self.borrowed = False  # a volume-server transaction has it
        self.condemned = False  # damage was found: to ERROR as soon as nobody uses it
        self.dirty = False  # the header in memory differs from the one on disk
        self._header: VolumeHeader | None = None
        self._files: IVolumeFiles | None = None
        self._map: VnodeMap | None = None
        self._next_unique = 0  # what the next vnode gets
        self._stored_unique = 0  # what the header on disk says
        self._vnodes: dict[int, Vn] | None = None
        self._drained: list[Deferred[None]] | None = None
        self._writing: DeferredLock | None = None

    def __repr__(self) -> str:
        return f"<Volume {self.id} on {self.partition.name} {self.state.name}>"

    @property
    def header(self) -> VolumeHeader:
        assert self._header is not None, f"{self!r} has no header"
        return self._header

    @property
    def files(self) -> IVolumeFiles:
        assert self._files is not None, f"{self!r} has no files"
        return self._files

    @property
    def writable(self) -> bool:
        """Only read-write volumes are; read-only and backup ones are refused with VREADONLY."""
        return self.header.type == 0

    @property
    def volsync(self) -> AFSVolSync:
        """What every reply about the volume carries: a client sees a re-released volume by its creation date."""
        return AFSVolSync(spare1=self.header.creation_date)

    @property
    def next_unique(self) -> int:
        """The uniquifier the next vnode gets."""
        return self._next_unique

    def enter(self) -> None:
        """One more user. Only in state ATTACHED."""
        assert self.state == VolumeState.ATTACHED, self
        self.users += 1

    def leave(self) -> None:
        self.users -= 1
        if not self.users and self._drained:
            waiters, self._drained = self._drained, None
            for waiter in waiters:
                waiter.callback(None)

    async def drained(self) -> None:
        """Until nobody uses it."""
        while self.users:
            waiter: Deferred[None] = Deferred()
            if self._drained is None:
                self._drained = []
            self._drained.append(waiter)
            await waiter

    def refusal(self) -> Abort:
        """What a client is told now, in a settled state that does not serve (dafs.md section 2)."""
        if self.special_status and self.state in (
            VolumeState.UNATTACHED,
            VolumeState.PREATTACHED,
            VolumeState.GOING_OFFLINE,
        ):
            return Abort(self.special_status)
        return Abort(REFUSAL.get(self.state, VolumeError.VOFFLINE))

    def _hold(self, number: int) -> Vn:
        assert self._vnodes is not None, f"{self!r} has no vnodes"
        vn = self._vnodes.get(number)
        if vn is None:
            vn = self._vnodes[number] = Vn(self, number)
        elif not vn.holders:
            self.surroundings.vnodes.take(vn)
        vn.holders += 1
        return vn

    def _let_go(self, vn: Vn) -> None:
        vn.holders -= 1
        if vn.holders:
            return
        if vn.loaded:
            self.surroundings.vnodes.keep(vn)
            return
        assert self._vnodes is not None
        del self._vnodes[vn.number]
        if vn.removed and self._map is not None:
            self._map.free(vn.number)

    def evict(self, vn: Vn) -> None:
        """The cache has no room for it any more."""
        assert self._vnodes is not None
        del self._vnodes[vn.number]

    @asynccontextmanager
    async def shared(self, fid: AFSFid) -> AsyncIterator[Vn]:
        """The vnode, locked against change. Raises Abort: EINVAL (vnode 0), VNOVNODE (free, or another uniquifier)."""
        vn = self._hold(_number(fid))
        try:
            await _lock_shared(vn)
            try:
                yield _checked(vn, fid.Unique)
            finally:
                vn.lock.release_shared()
        finally:
            self._let_go(vn)

    @asynccontextmanager
    async def exclusive(self, *fids: AFSFid) -> AsyncIterator[tuple[Vn, ...]]:
        """The vnodes in the order asked for, locked for change; naming one twice is allowed.

        Locks are taken in the order of vnode numbers, so two callers never wait for each other. Raises Abort as
        `shared`, and VREADONLY.
        Left with an exception, unsaved changes are forgotten and vnodes created meanwhile are removed again, unless
        a directory
        that may name them was saved.
        """
        if not self.writable:
            raise Abort(READ_ONLY_FILE_SYSTEM)
        context: dict[int, Vn] = {}
        complete = False
        try:
            for fid in sorted(fids, key=_number):
                if fid.Vnode not in context:
                    await self._lock_exclusive(fid.Vnode, context)
                    await _load(context[fid.Vnode])
                _checked(context[fid.Vnode], fid.Unique)
            yield tuple(context[fid.Vnode] for fid in fids)
            complete = True
        finally:
            try:
                if not complete:
                    await self._undo(context)
            finally:
                for vn in context.values():
                    vn.context = None
                    vn.fresh = False
                    vn.lock.release_exclusive()
                    self._let_go(vn)

    def peek(self, number: int) -> Vn | None:
        """The vnode of that number if it is in memory, unlocked: its record may be looked at until the next await."""
        vn = self._vnodes.get(number) if self._vnodes is not None else None
        return vn if vn is not None and vn.loaded else None

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
    ) -> Vn:
        """A new vnode of `parent`, a directory the caller has exclusively; it is locked until that context ends.

        Allocates number and uniquifier, *charges* its blocks and counts the file; record and content are written,
        `content` being
        a symlink's target (an empty directory makes its own). Raises Abort VDISKFULL, VOVERQUOTA; OSError.
        """
        assert parent.context is not None and type in (FILE, DIRECTORY, SYMLINK)
        price = NEW_DIRECTORY_BLOCKS if type == DIRECTORY else blocks(len(content))
        self.charge(price)
        number = 0
        try:
            number = (await self._vnode_map()).allocate(directory=type == DIRECTORY)
            unique = await self._new_unique()
            directory = None
            if type == DIRECTORY:
                directory = Directory.new((number, unique), (parent.number, parent.disk.uniquifier))
                content = directory.to_bytes()
            now = self.surroundings.seconds()
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
            vn = await self._lock_exclusive(number, parent.context)
            await self.files.create_vnode(number, disk, content)
        except BaseException:
            self.adjust(-price)
            if number in parent.context:
                parent.context[number].removed = True  # its number is free again once the lock is
            elif number:
                self._map_free(number)
            raise
        vn.born(disk)
        self.header.file_count += 1
        return vn

    async def remove(self, vn: Vn) -> None:
        """Free the record, then the content; gives the blocks back. Its directory entry must be gone from the disk
        already.
        """
        assert vn.context is not None
        price = blocks(vn.disk.length)
        vn.removed = True
        vn.forget()
        await self.files.remove_vnode(vn.number)
        self.adjust(-price)
        self.header.file_count -= 1

    async def _undo(self, context: dict[int, Vn]) -> None:
        for vn in context.values():
            if vn.fresh and vn.loaded:
                await self.remove(vn)
            vn.forget()

    async def _lock_exclusive(self, number: int, context: dict[int, Vn]) -> Vn:
        vn = self._hold(number)
        try:
            await vn.lock.acquire_exclusive()
        except BaseException:
            self._let_go(vn)
            raise
        vn.context = context
        context[number] = vn
        return vn

    async def _vnode_map(self) -> VnodeMap:
        if self._map is None:
            async with self._header_lock():
                if self._map is None:
                    self._map = VnodeMap(number for number, _ in await self.files.vnodes())
        return self._map

    async def _new_unique(self) -> int:
        unique = self._next_unique
        self._next_unique = unique + 1 if unique < MAX_UINT32 else UNIQUIFIER_START
        if not unique < self._stored_unique:
            await self.write_header()
        return unique

    def charge(self, blocks: int, *, spare: int = 0) -> None:
        """Account for 1 KiB blocks about to be used (negative: given back). Raises Abort VDISKFULL, VOVERQUOTA
        (fileserver.md section 6).

        `spare` blocks may go over: StoreData's allowance for a file that is already being written.
        """
        if blocks > 0:
            checked = blocks - spare
            if self.partition.space().free < checked:
                raise Abort(VolumeError.VDISKFULL)
            if self.header.max_quota and self.header.disk_used + checked > self.header.max_quota:
                raise Abort(VolumeError.VOVERQUOTA)
        self.adjust(blocks)

    def adjust(self, blocks: int) -> None:
        """As `charge`, without asking."""
        self.header.disk_used = max(0, self.header.disk_used + blocks)
        self.dirty = True

    def touch(self, *, wrote: bool = False) -> None:
        """Somebody used it: dates and the day's count, in memory until the next header write."""
        now = self.surroundings.seconds()
        header = self.header
        if now - header.day_use_date > ONE_DAY:
            _roll_over(header, now)
        header.day_use += 1
        header.access_date = now
        if wrote:
            header.update_date = now
            header.update_counter = (header.update_counter + 1) & MAX_UINT32
        self.dirty = True

    def opened(self, files: IVolumeFiles, header: VolumeHeader) -> None:
        """Attaching found these; ATTACH_OK comes next."""
        self._files = files
        self._header = header
        self._vnodes = {}
        self._map = None
        self._next_unique = max(header.uniquifier, UNIQUIFIER_START)
        self._stored_unique = self._next_unique
        self.dirty = False

    async def write_header(self) -> None:
        """Write the header as it is in memory, the uniquifier ahead while the volume is in use."""
        async with self._header_lock():
            ahead = UNIQUIFIER_AHEAD if self.header.in_use else 0
            self.header.uniquifier = stored = min(self._next_unique + ahead, MAX_UINT32)
            self.dirty = False
            await self.files.write_header(self.header)
            self._stored_unique = stored

    def closed(self) -> IVolumeFiles | None:
        """Going offline is over: nothing of it stays in memory. Returns the files for the caller to close."""
        files = self._files
        self.surroundings.vnodes.drop((self._vnodes or {}).values())
        self._files = self._header = self._vnodes = self._map = None
        self.dirty = False
        return files

    def _header_lock(self) -> DeferredLock:
        if self._writing is None:
            self._writing = DeferredLock()
        return self._writing

    def _map_free(self, number: int) -> None:
        if self._map is not None:
            self._map.free(number)


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


def _roll_over(header: VolumeHeader, now: int) -> None:
    """A day or more has passed: today's count moves into the week, and the detailed counts start again (volume.c
    VAdjustVolumeStatistics).
    """
    days = min((now - header.day_use_date) // ONE_DAY, len(header.week_use) + 1)
    week = (0,) * (days - 1) + (header.day_use,) + header.week_use
    header.week_use = week[: len(header.week_use)]
    header.day_use = 0
    header.day_use_date = now - now % ONE_DAY
    header.stat_reads = header.stat_writes = (0,) * 4
    header.file_same_author = header.file_diff_author = header.dir_same_author = header.dir_diff_author = (0,) * 6
