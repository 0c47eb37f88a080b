"""The directories of one volume: read, put together again from whatever entries are left, put back when swapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fileserver.directory import (
    DOTS,
    MAX_PAGES,
    PAGE_SIZE,
    Directory,
    scattered_entries,
)
from fileserver.interfaces import Damaged, Vnode
from fileserver.salvager.indexes import Group, Member, restore
from fileserver.salvager.tree import ROOT, Fid, Listing, is_directory
from fileserver.store.inodes import UNIQUE_SHIFT

VERSION_AHEAD = 200
"""Given to a directory that is written anew: clients may have been told of versions that never got to the disk."""


def read_directories(group: Group, member: Member) -> dict[int, Listing]:
    """A listing of every directory. Vnodes that a directory names and that have a file get their record back, and so
    do directories with something in them that nothing names.
    """
    if ROOT not in member.vnodes:
        restore(group, member, ROOT, ROOT)
    listings: dict[int, Listing] = {}
    waiting = sorted(number for number in member.vnodes if is_directory(number))
    while waiting:
        for number in waiting:
            listings[number] = _read(group, member, number)
        _put_back(member, listings)
        waiting = sorted(_restored(group, member, [listings[number] for number in waiting]))
        waiting = waiting or _nameless(group, member)
    return listings


def _restored(group: Group, member: Member, listings: list[Listing]) -> Iterator[int]:
    for listing in listings:
        for number, unique in listing.entries.values():
            if number not in member.vnodes and restore(group, member, number, unique) and is_directory(number):
                yield number


def _nameless(group: Group, member: Member) -> list[int]:
    """One directory that no record and no name leads to, if it has entries: an empty one may have been removed."""
    if not member.writable:
        return []
    for number in sorted(group.inventory.contents):
        if not is_directory(number) or number in member.vnodes:
            continue
        for inode in sorted(group.inventory.contents[number]):
            if group.named[inode]:
                continue
            listing = _parsed(_content(group, inode))
            own = (number, inode >> UNIQUE_SHIFT)
            if listing is not None and listing.entries and listing.dot == own and restore(group, member, *own):
                member.vnodes[number].parent = listing.dot_dot[0] if listing.dot_dot else 0
                return [number]
    return []


def _read(group: Group, member: Member, number: int) -> Listing:
    listing = listing_of(_content(group, member.inodes[number]))
    if listing.dot is None:
        group.broken.add(member.inodes[number])
        member.tell(f"directory {number}: damaged; {len(listing.entries)} entries found in it")
    return listing


def listing_of(content: bytes) -> Listing:
    """What a directory object says; of a damaged one, without `dot`, every entry that can be found in it."""
    return _parsed(content) or Listing(_scattered(content), stale=True)


def directory_object(vnodes: Mapping[int, Vnode], number: int, listing: Listing) -> bytes:
    """A new object for a listing; the vnode's length and version become what they are with it."""
    vnode = vnodes[number]
    own = (number, vnode.uniquifier)
    directory = Directory.new(listing.dot or own, listing.dot_dot or own)
    for name, fid in listing.entries.items():
        directory.insert(name, *fid)
    vnode.length = directory.length
    vnode.data_version += VERSION_AHEAD
    return directory.to_bytes()


def _content(group: Group, inode: int) -> bytes:
    with open(group.inventory.source(inode), "rb") as file:
        return file.read((MAX_PAGES + 1) * PAGE_SIZE)


def _parsed(content: bytes) -> Listing | None:
    try:
        directory = Directory.parse(content)
    except Damaged:
        return None
    entries = {name: (vnode, unique) for name, vnode, unique in directory.entries() if name not in DOTS}
    stale = directory.length != len(content)
    return Listing(entries, directory.lookup(b"."), directory.lookup(b".."), stale)


def _put_back(member: Member, listings: dict[int, Listing]) -> None:
    """Two directories each of which says in `.` that it is the other have changed places."""
    for number, listing in listings.items():
        own = (number, member.vnodes[number].uniquifier)
        if listing.dot in (None, own):
            continue
        other = listing.dot[0] if listing.dot else 0
        twin = listings.get(other)
        if twin is not None and twin.dot == own and listing.dot == (other, member.vnodes[other].uniquifier):
            member.tell(f"directories {number} and {other} had each other's content")
            listings[number], listings[other] = twin, listing
            twin.stale = listing.stale = True
            _put_back(member, listings)
            return


def _scattered(content: bytes) -> dict[bytes, Fid]:
    return {name: (vnode, unique) for name, vnode, unique in scattered_entries(content)}
