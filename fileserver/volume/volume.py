"""A volume of this server: its automaton, its users, its vnodes and its accounts (blocks, files, uniquifiers, dates).

A volume nobody uses is a small record; header, files and vnodes exist while it is attached. How it gets attached and
taken offline is in attach.py and offline.py; the on-disk side is `IVolumeFiles`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredLock

from afs.errors import VolumeError
from afs.types import AFSFid, AFSVolSync
from fileserver.interfaces import IPartition, IVolumeFiles, Vnode, VolumeHeader
from fileserver.volume.fsa import REFUSAL, Automaton, VolumeState
from fileserver.volume.holding import Holder
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.vn import Vn
from fileserver.volume.vnodes import Vnodes
from rx.errors import Abort

FILE_SERVER = 1
"""`VolumeHeader.in_use` of a volume this server has attached (dafs.md, program types)."""

UNIQUIFIER_AHEAD = 200
"""The stored uniquifier runs this far ahead while the volume is in use, so that a crash never repeats one (volume.c).
"""

UNIQUIFIER_START = 2
"""Where uniquifiers begin, also after 2^32: 1 is the root directory's."""

MAX_UINT32 = 2**32 - 1

MAX_INT32 = 2**31 - 1
"""What the header's counts of blocks and uses end at."""

ONE_DAY = 86400


class Volume(Automaton):
    """See the module. `id` and `partition` are always there, `parent` once it was opened, `header` and `files` while it
    is attached.
    """

    __slots__ = (
        "_clients",
        "_drained",
        "_files",
        "_header",
        "_next_unique",
        "_stored_unique",
        "_vnodes",
        "_writing",
        "borrowed",
        "condemned",
        "dirty",
        "holders",
        "id",
        "last_get",
        "marked",
        "parent",
        "partition",
        "special_status",
        "surroundings",
        "uncertain",
        "users",
    )

    def __init__(
        self,
        volume_id: int,
        partition: IPartition,
        surroundings: Surroundings,
        state: VolumeState = VolumeState.UNATTACHED,
    ) -> None:
        super().__init__(state, surroundings.watch)
        self.id = volume_id
        self.parent = 0  # its group, as soon as its files were opened
        self.partition = partition
        self.surroundings = surroundings
        self.users = 0
        self.holders: dict[Holder, None] = {}  # whose calls they are, where that is known
        self._clients: WeakSet[Hashable] | None = None  # hosts that ever used it
        self.last_get = 0  # when it was last used, Unix seconds
        self.special_status = (
            0  # what clients are told while it is offline: VBUSY, VMOVED, or 0 for what the state says
        )
        self.borrowed = False  # a volume-server transaction has it
        self.condemned = False  # damage was found: to ERROR as soon as nobody uses it
        self.dirty = False  # the header in memory differs from the one on disk
        self.marked = False  # the header on disk says that it is in use
        self.uncertain = False  # the disk failed in the middle of a change: the next attach is to recover it
        self._header: VolumeHeader | None = None
        self._files: IVolumeFiles | None = None
        self._next_unique = 0  # what the next vnode gets
        self._stored_unique = 0  # what the header on disk says
        self._vnodes: Vnodes | None = None
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
    def vnodes(self) -> Vnodes:
        assert self._vnodes is not None, f"{self!r} has no vnodes"
        return self._vnodes

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

    def enter(self, holder: Holder | None = None) -> None:
        """One more user. Only in state ATTACHED. With a `holder` its call can be interrupted meanwhile."""
        assert self.state == VolumeState.ATTACHED, self
        self.users += 1
        self.last_get = self.surroundings.seconds()
        if holder is not None:
            self.holders[holder] = None

    def knows(self, host: Hashable) -> bool:
        """Whether this host has used it since the partition was mounted."""
        return self._clients is not None and host in self._clients

    def meet(self, host: Hashable) -> None:
        """From now on it has."""
        if self._clients is None:
            self._clients = WeakSet()
        self._clients.add(host)

    def clients(self) -> list[Hashable]:
        """The hosts that have, less those forgotten since."""
        return list(self._clients or ())

    def leave(self, holder: Holder | None = None) -> None:
        if holder is not None:
            self.holders.pop(holder, None)
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

    def shared(self, fid: AFSFid) -> AbstractAsyncContextManager[Vn]:
        """The vnode, locked against change. Raises Abort: EINVAL (vnode 0), VNOVNODE (free, or another uniquifier)."""
        return self.vnodes.shared(fid)

    def exclusive(self, *fids: AFSFid) -> AbstractAsyncContextManager[tuple[Vn, ...]]:
        """The vnodes in the order asked for, locked for change. Raises Abort as `shared`, and VREADONLY."""
        return self.vnodes.exclusive(*fids)

    def peek(self, number: int) -> Vn | None:
        """The vnode of that number if it is in memory, unlocked: its record may be looked at until the next await."""
        return self.vnodes.peek(number)

    def glance(self, fid: AFSFid) -> Vn | None:
        """The vnode if it can be looked at without waiting, until the next await; see `Vnodes.glance`."""
        return self.vnodes.glance(fid)

    def kept(self, number: int) -> AbstractAsyncContextManager[None]:
        """Bring a vnode into memory and keep it there, unlocked, for `peek`. Raises Abort VNOVNODE."""
        return self.vnodes.kept(number)

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
        """A new vnode in `parent`, charged and counted; see `Vnodes.create`."""
        return await self.vnodes.create(type, mode, owner, author, group, parent, acl, content, prepare)

    async def remove(self, vn: Vn) -> None:
        """Free a vnode and give its blocks back; see `Vnodes.remove`."""
        await self.vnodes.remove(vn)

    async def new_unique(self) -> int:
        """A uniquifier nobody ever had, nor will after a crash."""
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
            if self.partition.space().free < checked or self.header.disk_used + blocks > MAX_INT32:
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
        now = self.last_get = self.surroundings.seconds()
        header = self.header
        if now - header.day_use_date > ONE_DAY:
            _roll_over(header, now)
        header.day_use = min(header.day_use + 1, MAX_INT32)
        header.access_date = now
        if wrote:
            header.update_date = now
            header.update_counter = (header.update_counter + 1) & MAX_UINT32
            self.surroundings.durability.wrote(self)
        self.dirty = True

    def opened(self, files: IVolumeFiles, header: VolumeHeader) -> None:
        """Attaching found these; ATTACH_OK comes next."""
        self._files = files
        self._header = header
        self._vnodes = Vnodes(self)
        self._next_unique = max(header.uniquifier, UNIQUIFIER_START)
        self._stored_unique = self._next_unique
        self.dirty = False
        self.last_get = self.surroundings.seconds()
        self.surroundings.vlru.add(self, self.last_get)

    async def write_header(self) -> None:
        """Write the header as it is in memory, the uniquifier ahead while the volume is in use."""
        async with self.header_lock():
            ahead = UNIQUIFIER_AHEAD if self.header.in_use else 0
            self.header.uniquifier = stored = min(self._next_unique + ahead, MAX_UINT32)
            self.dirty = False
            await self.files.write_header(self.header)
            self.marked = bool(self.header.in_use)
            self._stored_unique = stored

    def closed(self) -> IVolumeFiles | None:
        """Going offline is over: nothing of it stays in memory. Returns the files for the caller to close."""
        files = self._files
        if self._vnodes is not None:
            self._vnodes.drop()
        self._files = self._header = self._vnodes = self._writing = None
        self.dirty = self.uncertain = False
        self.surroundings.vlru.remove(self)
        self.surroundings.durability.closed(self)
        return files

    def header_lock(self) -> DeferredLock:
        if self._writing is None:
            self._writing = DeferredLock()
        return self._writing


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
