"""What lies in one group's directory: special files, versions of vnodes' content, and what is neither."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from fileserver.store.inodes import (
    SPECIAL_DIRECTORY,
    UNIQUE_SHIFT,
    VNODE_MASK,
    Special,
    decode,
    group_directory,
    inode_path,
    tag_of,
    vnode_of,
)
from fileserver.store.link_table import MAX_TAGS
from fileserver.store.metadata import SIDECAR_SUFFIX, InodeMetadata, Metadata, unpack_values

_KINDS = {int(kind) for kind in Special}


@dataclass(slots=True)
class Found:
    """A version of a vnode's content. `values` are (parameter, tag) where the file itself carries them."""

    size: int
    modified: int
    values: tuple[int, int] | None


@dataclass(slots=True)
class Inventory:
    """A group's files. `specials` are those whose names make sense, with their bytes still to be looked at."""

    group: int
    directory: str
    specials: set[tuple[int, Special]] = field(default_factory=set)
    contents: dict[int, dict[int, Found]] = field(default_factory=dict)  # vnode -> inode -> file
    misplaced: dict[int, str] = field(default_factory=dict)  # inode -> the path it is found at
    strays: list[str] = field(default_factory=list)

    def path(self, inode: int) -> str:
        """Absolute path of the inode's file."""
        return os.path.join(self.directory, inode_path(inode))

    def source(self, inode: int) -> str:
        """Where the file is now."""
        return self.misplaced.get(inode) or self.path(inode)

    def members(self) -> list[int]:
        """Ids of the volumes that have a special file of their own."""
        return sorted({volume_id for volume_id, kind in self.specials if kind is not Special.LINK_TABLE})


def take_inventory(partition: str, group: int, metadata: Metadata) -> Inventory:
    """Look through the directory of a group. Raises OSError."""
    inventory = Inventory(group, os.path.join(partition, group_directory(group)))
    own_values = isinstance(metadata, InodeMetadata)
    late: list[tuple[str, int, os.stat_result]] = []
    for relative, entry in _walk(inventory.directory, ""):
        if relative.endswith(SIDECAR_SUFFIX) and entry.is_symlink():
            continue  # goes where its file goes
        inode = decode(entry.name)
        if inode is None or not entry.is_file(follow_symlinks=False) or not _plausible(inode, group):
            inventory.strays.append(entry.path)
        elif relative == inode_path(inode):
            _add(inventory, inode, entry.stat(follow_symlinks=False), own_values)
        else:
            late.append((entry.path, inode, entry.stat(follow_symlinks=False)))
    for path, inode, status in late:
        if os.path.lexists(inventory.path(inode)) or inode in inventory.misplaced:
            inventory.strays.append(path)
        else:
            inventory.misplaced[inode] = path
            _add(inventory, inode, status, own_values)
    return inventory


def _walk(directory: str, relative: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file, and every directory that is deeper than inode files are."""
    try:
        with os.scandir(directory) as found:
            entries = list(found)
    except FileNotFoundError:
        return
    for entry in entries:
        path = f"{relative}{entry.name}"
        depth = 1 if path.partition("/")[0] == SPECIAL_DIRECTORY else 2
        if entry.is_dir(follow_symlinks=False) and path.count("/") < depth:
            yield from _walk(entry.path, path + "/")
        else:
            yield path, entry


def _plausible(inode: int, group: int) -> bool:
    if inode >> 64:
        return False
    if vnode_of(inode) == VNODE_MASK:
        kind = tag_of(inode)
        return kind in _KINDS and (kind != Special.LINK_TABLE or inode >> UNIQUE_SHIFT == group)
    return tag_of(inode) < MAX_TAGS and vnode_of(inode) > 0


def _add(inventory: Inventory, inode: int, status: os.stat_result, own_values: bool) -> None:
    if vnode_of(inode) == VNODE_MASK:
        inventory.specials.add((inode >> UNIQUE_SHIFT, Special(tag_of(inode))))
        return
    values = unpack_values(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) if own_values else None
    found = Found(status.st_size, int(status.st_mtime), values)
    inventory.contents.setdefault(vnode_of(inode), {})[inode] = found
