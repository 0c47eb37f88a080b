"""What a storage back end offers the fileserver.

A back end is one file in `fileserver/store/` and a three-line subclass of the contract tests. Everything above this
line (volumes, procedures, volser) knows vnodes, bytes and headers; everything below knows inodes, link tables and
files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class StoreError(Exception):
    """Base of what a back end may raise beside OSError (a full disk is OSError ENOSPC, a bad disk OSError EIO)."""


class NoSuchVolume(StoreError):
    """The partition has no volume of that id."""


class VolumeExists(StoreError):
    """The partition already has a volume of that id."""


class NoSuchVnode(StoreError):
    """The index has no such vnode, or its record is free."""


class Damaged(StoreError):
    """What is on disk contradicts itself: the volume needs a salvage. The message says what and where."""


class Fenced(StoreError):
    """This server cannot be sure to own the partition: it writes nothing there and answers nothing for it."""


class WrongBackend(StoreError):
    """The partition was written by another back-end type (namei against namei-user)."""


class SalvageFailed(StoreError):
    """A salvage crashed, ran out of its time, or met what it could not repair. The message says which; the group's
    volumes are as damaged as before, or less.
    """


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What became of one volume group: read-write parent and clones.

    `volumes` are sound now and can be attached; `lost` had a header or special files but nothing that could be made a
    volume again (what was there is in the partition's quarantine). `messages` say what was repaired, none when all was
    well.
    """

    group: int
    volumes: tuple[int, ...]
    lost: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeIds:
    """One volume found on a partition: its id and its group (the read-write parent's id)."""

    id: int
    parent: int


@dataclass(frozen=True, slots=True)
class Space:
    """Room on a partition in 1 KiB blocks, as statvfs counts for an ordinary user."""

    total: int
    free: int


@dataclass(slots=True)
class Vnode:
    """One vnode's record, the fields of volume.h's VnodeDiskObject that mean something above the store.

    `acl` is the binary list of a directory (afs/acl.py, 192 bytes), empty for files. Times are Unix seconds. `length`
    is the length the index states; the content's own length is `IVolumeFiles.content_length`.
    """

    type: int  # 1 file, 2 directory, 3 symlink
    mode: int
    link_count: int
    length: int
    uniquifier: int
    data_version: int
    modify_time: int
    author: int
    owner: int
    group: int
    parent: int
    server_modify_time: int
    lock_count: int = 0
    lock_time: int = 0
    acl: bytes = b""


@dataclass(frozen=True, slots=True)
class Tally:
    """All vnodes of a volume: how many, the blocks they are charged, and their highest uniquifier, 0 without any."""

    vnodes: int
    blocks: int
    uniquifier: int


def blocks(length: int) -> int:
    """1 KiB blocks a vnode of that length is charged: an empty one costs one (volume.h nBlocks)."""
    return max(1, (length + 1023) // 1024)


@dataclass(slots=True)
class VolumeHeader:
    """VolumeDiskData (volume-format.md section 3) with its fields named as there, in Python's spelling.

    `name` and `offline_message` are bytes without the NUL. The boolean bytes are bools, except `destroy_me` and
    `dont_salvage`, whose magic values 0xD3 and 0xE5 the back end translates. `in_use` is the program type, 0 when
    closed cleanly.
    """

    id: int
    parent: int
    name: bytes
    type: int  # 0 RW, 1 RO, 2 BK
    in_use: int = 0
    in_service: bool = True
    blessed: bool = True
    needs_salvaged: bool = False
    uniquifier: int = 1
    clone_id: int = 0
    backup_id: int = 0
    restored_from_id: int = 0
    needs_callback: bool = False
    destroy_me: bool = False
    dont_salvage: bool = False
    max_quota: int = 0
    min_quota: int = 0
    max_files: int = 0
    account_number: int = 0
    owner: int = 0
    file_count: int = 0
    disk_used: int = 0
    day_use: int = 0
    week_use: tuple[int, ...] = (0,) * 7
    day_use_date: int = 0
    update_counter: int = 0
    creation_date: int = 0
    access_date: int = 0
    update_date: int = 0
    expiration_date: int = 0
    backup_date: int = 0
    copy_date: int = 0
    offline_message: bytes = b""
    stat_reads: tuple[int, ...] = (0,) * 4
    stat_writes: tuple[int, ...] = (0,) * 4
    file_same_author: tuple[int, ...] = (0,) * 6
    file_diff_author: tuple[int, ...] = (0,) * 6
    dir_same_author: tuple[int, ...] = (0,) * 6
    dir_diff_author: tuple[int, ...] = (0,) * 6


PROMPT_SECONDS = 0.1
"""A disk that takes longer may take much longer: whoever would wait for it does that in a thread."""


class Ownership(Protocol):
    """What those who write to a partition and answer for it ask."""

    def check(self) -> None:
        """Raises Fenced unless this server owns the partition at this moment. From any thread."""
        ...

    def settled(self) -> Deferred[bool]:
        """Fires when that is known again: whether it owns the partition."""
        ...

    def prompt(self) -> bool:
        """Whether the storage answered at once when it was last asked, PROMPT_SECONDS or less after that began."""
        ...


class OursAlone:
    """Of storage that no other server reaches."""

    def check(self) -> None:
        """Always ours."""

    def settled(self) -> Deferred[bool]:
        from twisted.internet.defer import succeed  # here, for the salvager starts without Twisted

        return succeed(True)

    def prompt(self) -> bool:
        """Nobody asks it."""
        return True


OURS_ALONE = OursAlone()


class IPartition(Interface):
    """A vice partition: where volumes live. Methods that touch the disk are coroutines; a back end may use threads
    inside."""

    name: str = Attribute("/vicepX")
    number: int = Attribute("0 for /vicepa ... 254")
    uuid: UUID = Attribute("the partition object's identity, kept on the partition itself")
    backend: str = Attribute("namei, namei-user or memory")
    ownership: Ownership = Attribute("whether it is this server's; asked before every write and every answer")

    async def volumes() -> Sequence[VolumeIds]:
        """All volumes that have a header here. Unreadable headers are logged and left out, never touched."""

    async def volume_ids() -> Sequence[int]:
        """The ids of all volumes that seem to be here, by the names of their headers alone: nothing is opened."""

    async def ids(volume_id: int) -> VolumeIds:
        """The volume's group, without opening it. Raises NoSuchVolume, Damaged, OSError."""

    async def create_volume(header: VolumeHeader) -> IVolumeFiles:
        """A new empty volume: header, indexes and, for a group's first member, a link table; no vnodes. Raises
        VolumeExists."""

    async def open_volume(volume_id: int) -> IVolumeFiles:
        """Open what is there. Raises NoSuchVolume, Damaged."""

    async def destroy_volume(volume_id: int) -> None:
        """Remove a volume and drop its links on shared content. Restartable: half-destroyed is destroyed by calling
        again."""

    async def save_note(name: str, data: bytes) -> None:
        """Keep some bytes on the partition itself, in place of an older note of that name; a power cut leaves the old
        or the new. `name` is letters and hyphens. Raises OSError.
        """

    async def take_note(name: str) -> bytes | None:
        """A note's bytes, None where there is none. It is gone when this returns, after a power cut too, so nothing is
        ever read twice. Raises OSError.
        """

    def space() -> Space:
        """Room now (cheap; may be up to a second old)."""

    async def close() -> None:
        """Give up every descriptor. The partition object is dead afterwards."""


class IVolumeFiles(Interface):
    """The files of one volume.

    When a writing method returns, a kill -9 of the process loses nothing of it (it is in the operating system's hands);
    `sync` makes it survive the machine. Writing content that a clone shares copies it first; the caller never sees
    that. The caller holds the vnode's lock; the back end is not asked to order two writers of one vnode.
    """

    id: int = Attribute("volume id")
    parent: int = Attribute("the group's read-write id")

    async def read_header() -> VolumeHeader:
        """Raises Damaged."""

    async def write_header(header: VolumeHeader) -> None:
        """Replace the header."""

    async def vnodes() -> Sequence[tuple[int, int]]:
        """(number, uniquifier) of every vnode in use, both indexes, ascending: what allocation and recovery start
        from."""

    async def tally() -> Tally:
        """What the indexes add up to. Raises Damaged."""

    async def read_vnode(number: int) -> Vnode:
        """Raises NoSuchVnode, Damaged (bad magic)."""

    async def read_vnodes(
        numbers: Sequence[int], limit: int, wants: Callable[[Vnode], bool]
    ) -> Sequence[tuple[Vnode, bytes | None]]:
        """Many at once, each with its content if that is wanted, and `limit` bytes at most by its record; one byte more
        where it is longer than its record says. `wants` is asked in any thread. Raises NoSuchVnode, Damaged.
        """

    async def create_vnodes(made: Sequence[tuple[int, Vnode, bytes]]) -> None:
        """Many at once: number, record and content of each. When this raises some of them may have been made."""

    async def write_vnode(number: int, vnode: Vnode) -> None:
        """Replace the record of an existing vnode; its content stays attached."""

    async def create_vnode(number: int, vnode: Vnode, content: bytes = b"") -> None:
        """A new vnode with its content (a directory's first page, a symlink's target): content is written before the
        record."""

    async def remove_vnode(number: int) -> None:
        """Free the record first, then drop the content's link."""

    async def read(number: int, offset: int, size: int) -> bytes:
        """Up to `size` bytes; short only at the content's end. Holes read as zeros."""

    async def write(number: int, offset: int, data: bytes) -> None:
        """Write through. Past the end leaves a hole. Raises OSError ENOSPC/EDQUOT/EIO."""

    async def truncate(number: int, length: int) -> None:
        """Cut or extend sparsely."""

    async def content_length(number: int) -> int:
        """The content's real length."""

    async def clone_to(target: IVolumeFiles) -> None:
        """Make `target` (fresh or an older clone of this group on this partition) hold exactly this volume's vnodes,
        sharing content.

        The source must not be written meanwhile. Headers are the caller's business."""

    async def sync() -> None:
        """Everything written so far survives a power cut when this returns."""

    async def close() -> None:
        """Give up descriptors and locks. Idempotent."""


class ISalvager(Interface):
    """Repairs volume groups. Never deletes what it does not understand: that is moved aside within the partition."""

    async def salvage(partition: IPartition, group: int, tell: Callable[[str], None]) -> SalvageReport:
        """Make the volumes of a group (its read-write parent's id) sound, all members together.

        The caller has closed the files of all of them and reopens them afterwards; clients' callbacks are the caller's
        to break. `tell` is given each repair as it is made, in words. Cancelling the wait ends the salvage; what it did
        so far stands, and another one goes on from there. Raises SalvageFailed.
        """

    async def salvage_partition(
        partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        """Every group of the partition, one after another; the caller has closed all volumes of it.

        `progress` is called with (groups done, groups in all) at the start and after each. A group that cannot be
        salvaged does not keep the others from it: its report has its volumes in `lost` and the reason in `messages`.
        Raises SalvageFailed when the partition itself cannot be read.
        """

    async def groups(partition: IPartition) -> dict[int, tuple[int, ...]]:
        """Every group of which there is anything on the partition, files or headers: read-write id -> the ids of its
        headers. Raises StoreError, OSError.
        """

    def session(partition: IPartition) -> ISalvageSession:
        """For many groups of one partition, one after the other."""

    def wanted(partition: IPartition) -> bool:
        """Whether a mark on the partition asks for a salvage of all of it before any of it is used."""


class ISalvageSession(Interface):
    """A salvage of group after group. Whoever has one must `end` it; one call at a time."""

    async def begin() -> None:
        """Do what takes time before the first group is taken out of service. Raises SalvageFailed."""

    async def salvage(group: int, tell: Callable[[str], None]) -> SalvageReport:
        """See `ISalvager.salvage`."""

    async def tidy(tell: Callable[[str], None]) -> None:
        """After all groups: header files that no group has are moved aside, and so is the mark that asked for this.
        Raises SalvageFailed.
        """

    async def end() -> None:
        """No more groups."""
