"""The vnode indexes of one volume: which records can be believed, and which file is each vnode's content.

A file's name says vnode number and uniquifier, so a record and a file that agree confirm each other whatever else is
wrong with either. A record without its file is freed; a file without its record gets one back (`restore`) when a
directory names it: names are entered after everything else and taken away before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from afs.acl import ALL_RIGHTS, SYSADMINID, AccessList, BadAccessList, Entry
from fileserver.interfaces import Vnode, VolumeHeader
from fileserver.salvager.inventory import Found, Inventory
from fileserver.salvager.tree import Tell, is_directory
from fileserver.store.formats import (
    DIRECTORY_TYPE,
    LARGE_VNODE_MAGIC,
    SMALL_VNODE_MAGIC,
    VNODE,
    unpack_vnode,
)
from fileserver.store.group import RECORD_SIZES, index_of
from fileserver.store.inodes import UNIQUE_SHIFT, Special, vnode_of

FILE_TYPE, SYMLINK_TYPE = 1, 3
PRIVATE = AccessList.of([Entry(SYSADMINID, ALL_RIGHTS)]).to_bytes()
"""The access list of a directory whose own is lost."""

MAX_VERSION_GAP = 1 << 24
"""Changes by which the version a content file was made with can be ahead of its record's: more is damage."""

_MAGIC = {Special.SMALL_INDEX: SMALL_VNODE_MAGIC, Special.LARGE_INDEX: LARGE_VNODE_MAGIC}
_TYPES = {Special.SMALL_INDEX: (FILE_TYPE, SYMLINK_TYPE), Special.LARGE_INDEX: (DIRECTORY_TYPE,)}
INDEXES = (Special.LARGE_INDEX, Special.SMALL_INDEX)


@dataclass(slots=True)
class Member:
    """One volume of the group, as it shall be. `raw` are the indexes as they are on the disk."""

    id: int
    header: VolumeHeader
    raw: dict[Special, bytes]
    tell: Tell
    vnodes: dict[int, Vnode] = field(default_factory=dict)
    inodes: dict[int, int] = field(default_factory=dict)
    cloned: set[int] = field(default_factory=set)  # directories to be copied before the next change
    remains: dict[int, bytes] = field(default_factory=dict)  # records that were freed, for `restore`
    freed: bool = False  # records that said something are gone from an index

    @property
    def writable(self) -> bool:
        """Whether this is the group's read-write volume."""
        return self.header.id == self.header.parent


@dataclass(slots=True)
class Group:
    """The volumes that share content. `named` counts the volumes that name each file."""

    inventory: Inventory
    members: list[Member]
    named: Counter[int] = field(default_factory=Counter)
    reassign: dict[int, int] = field(default_factory=dict)  # files whose own values are wrong -> data version
    broken: set[int] = field(default_factory=set)  # directory files that cannot be read as such


def read_records(group: Group, member: Member) -> None:
    """Believe what is confirmed; the rest goes to `remains`."""
    for kind in INDEXES:
        data, size = member.raw[kind], RECORD_SIZES[kind]
        free = bytes(size)
        for offset in range(size, len(data), size):
            record = data[offset : offset + size]
            if record != free[: len(record)]:
                number = 2 * (offset // size - 1) + (1 if kind is Special.LARGE_INDEX else 2)
                _read_record(group, member, number, kind, record.ljust(size, b"\0"))


def _read_record(group: Group, member: Member, number: int, kind: Special, data: bytes) -> None:
    record = VNODE.unpack(data)
    found = group.inventory.contents.get(number, {})
    if not record.word & 7 and record.magic != _MAGIC[kind]:
        return  # free, and what is left in it means nothing to anybody
    vnode, inode, cloned = unpack_vnode(data)
    confirmed = inode in found
    sane = record.magic == _MAGIC[kind] and vnode.type in _TYPES[kind]
    if not vnode.type and not (confirmed and vnode.link_count > 0 and inode >> UNIQUE_SHIFT == vnode.uniquifier):
        member.remains[number] = data
        return
    if not confirmed or not (sane or inode >> UNIQUE_SHIFT == vnode.uniquifier):
        member.remains[number] = data
        member.freed = True
        return
    if not sane:
        member.tell(f"vnode {number}: its record had magic {record.magic:#x} and type {vnode.type}")
        vnode.type = vnode.type if vnode.type in _TYPES[kind] else _TYPES[kind][0]
    if inode >> UNIQUE_SHIFT != vnode.uniquifier:
        member.tell(f"vnode {number}: its uniquifier is {inode >> UNIQUE_SHIFT}, not {vnode.uniquifier}")
        vnode.uniquifier = inode >> UNIQUE_SHIFT
    if cloned:
        member.cloned.add(number)
    _enter(group, member, number, vnode, inode)


def _enter(group: Group, member: Member, number: int, vnode: Vnode, inode: int) -> None:
    found = group.inventory.contents[number][inode]
    if vnode.length != found.size:
        member.tell(f"vnode {number}: it has {found.size} bytes, not {vnode.length}")
        vnode.length = found.size
        vnode.data_version += 1
    if is_directory(number):
        _check_access(member, number, vnode)
    elif member.writable and found.values is not None:
        ahead = found.values[0] - vnode.data_version
        if 0 < ahead < MAX_VERSION_GAP:
            member.tell(f"vnode {number}: its version is {found.values[0]}, not {vnode.data_version}")
            vnode.data_version = found.values[0]
        elif ahead > 0:
            member.tell(f"vnode {number}: the owner and mode of its file say version {found.values[0]}")
            group.reassign[inode] = vnode.data_version
    member.vnodes[number] = vnode
    member.inodes[number] = inode
    group.named[inode] += 1


def _check_access(member: Member, number: int, vnode: Vnode) -> None:
    try:
        AccessList.from_bytes(vnode.acl)
    except BadAccessList:
        member.tell(f"directory {number}: its access list was damaged; only administrators have access now")
        vnode.acl = PRIVATE


def find_contents(group: Group, member: Member) -> None:
    """Give sane records whose file is missing another file of the same vnode and uniquifier, where there is one."""
    for number, data in list(member.remains.items()):
        kind = index_of(number)
        record = VNODE.unpack(data)
        if record.magic == _MAGIC[kind] and record.word & 7 in _TYPES[kind]:
            vnode, inode, _ = unpack_vnode(data)
            other = _version(group, member, number, vnode.uniquifier, vnode.data_version)
            if other is None:
                member.tell(f"vnode {number}.{vnode.uniquifier}: its content {inode:#x} is gone, and so is it")
                continue
            member.tell(f"vnode {number}.{vnode.uniquifier}: its content is {other:#x}, not {inode:#x}")
            _enter(group, member, number, vnode, other)
            del member.remains[number]
        elif record.word & 7:
            member.tell(f"vnode {number}: its record had magic {record.magic:#x} and is freed")


def restore(group: Group, member: Member, number: int, unique: int) -> bool:
    """Make a record for a vnode that has a file and none. False when there is no such file, or the number is taken."""
    if number in member.vnodes:
        return False
    inode = _version(group, member, number, unique, None)
    if inode is None:
        return False
    vnode = (
        _like_a_sibling(group, number, inode)
        or _like_remains(member, number, unique)
        or _new(number, unique, group.inventory.contents[number][inode])
    )
    member.tell(f"vnode {number}.{unique}: its record was lost, and is made up again for {inode:#x}")
    vnode.uniquifier = unique
    _enter(group, member, number, vnode, inode)
    member.remains.pop(number, None)
    return True


def _version(group: Group, member: Member, number: int, unique: int, data_version: int | None) -> int | None:
    """Of the files of a vnode the newest that no volume names. A shared one will do for the read-write volume, which
    is where the others come from; for a clone only if it is known to be the same version.
    """
    found = group.inventory.contents.get(number, {})
    files = {inode: file for inode, file in found.items() if inode >> UNIQUE_SHIFT == unique}
    free = [inode for inode in files if not group.named[inode]]
    if free:
        return max(free, key=lambda inode: (files[inode].values or (0, 0), files[inode].modified, inode))
    if member.writable:
        return max(files, key=lambda inode: (files[inode].modified, inode), default=None)
    for sibling in group.members:
        vnode = sibling.vnodes.get(number)
        if vnode is not None and vnode.uniquifier == unique and vnode.data_version == data_version:
            return sibling.inodes[number]
    return None


def _like_a_sibling(group: Group, number: int, inode: int) -> Vnode | None:
    for sibling in group.members:
        if sibling.inodes.get(number) == inode:
            return replace(sibling.vnodes[number])
    return None


def _like_remains(member: Member, number: int, unique: int) -> Vnode | None:
    """A freed record, if all that is wrong with it are its type, magic or inode number."""
    data = member.remains.get(number)
    if data is None:
        return None
    vnode, inode, _ = unpack_vnode(data)
    magic = VNODE.unpack(data).magic == _MAGIC[index_of(number)]
    if vnode.uniquifier != unique or not (magic or vnode_of(inode) == number):
        return None
    if vnode.type not in _TYPES[index_of(number)]:
        vnode.type = _TYPES[index_of(number)][0]
    return vnode


def _new(number: int, unique: int, found: Found) -> Vnode:
    """A record of which only the content is known: what it does not say, its directory's access list decides."""
    kind = index_of(number)
    version = found.values[0] if found.values else 1
    return Vnode(
        type=_TYPES[kind][0],
        mode=0o755 if is_directory(number) else 0o644,
        link_count=1,
        length=found.size,
        uniquifier=unique,
        data_version=version if version < MAX_VERSION_GAP else 1,
        modify_time=found.modified,
        author=0,
        owner=0,
        group=0,
        parent=0,
        server_modify_time=found.modified,
        acl=PRIVATE if is_directory(number) else b"",
    )
