"""Seeded damages to a partition, and what can still be read of it afterwards: for salvagers to be compared by."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet import reactor

from fileserver.directory import Directory
from fileserver.interfaces import Damaged
from fileserver.store.formats import VNODE, unpack_header
from fileserver.store.group import RECORD_SIZES, STAMPS, record_offset
from fileserver.store.inodes import (
    VNODE_MASK,
    Special,
    decode,
    group_directory,
    inode_path,
    special_inode,
    tag_of,
    vnode_of,
)
from fileserver.store.namei import open_namei
from fileserver.store.volume_file import pack_volume_file, volume_file_name
from tests.contracts.ipartition import BK, RO, RW, header
from tests.fileserver.store.tree import NOW, Tree

OTHER = 536870990
"""A group of its own beside RW, BK and RO."""

GROUPS = (RW, OTHER)
IDS: dict[int, tuple[int, ...]] = {RW: (RW, RO, BK), OTHER: (OTHER,)}


async def build(path: str, seed: int, opener: Callable[..., Any] = open_namei) -> None:
    """A partition of two groups, one with two clones that share some of its content and not other."""
    rng = random.Random(seed)
    partition = opener(path, 0, reactor)
    tree = Tree(await partition.create_volume(header()))
    await tree.begin()
    sub = await tree.mkdir(1, b"sub")
    deep = await tree.mkdir(sub, b"deep")
    await tree.create(deep, b"in the depth", b"deep content")
    await tree.create(deep, b"link", b"../target", type=3)
    await tree.scramble(rng, 60)
    for clone_id in (RO, BK):
        clone = await partition.create_volume(header(clone_id, RW))
        await tree.files.clone_to(clone)
        await clone.write_header(replace(await clone.read_header(), **_counts(tree)))
        await clone.close()
        await tree.scramble(rng, 40)
    await tree.finish(backup_id=BK, clone_id=RO, name=b"alice")
    await tree.files.close()
    other = Tree(await partition.create_volume(header(OTHER, OTHER)))
    await other.begin()
    await other.scramble(rng, 30)
    await other.finish(name=b"other")
    await other.files.close()
    await partition.close()


def _counts(tree: Tree) -> dict[str, Any]:
    used = sum(max(1, -(-vnode.length // 1024)) for vnode in tree.vnodes.values())
    dates = {"creation_date": NOW, "update_date": NOW}
    return {"file_count": len(tree.vnodes), "disk_used": used, "uniquifier": tree.unique + 1} | dates


def files(path: str) -> dict[str, list[str]]:
    """The partition's files by kind."""
    found: dict[str, list[str]] = {kind: [] for kind in (*Special.__members__, "directory", "data")}
    found["header"] = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".vol"))
    for directory, _, names in sorted(os.walk(os.path.join(path, "AFSIDat"))):
        for name in sorted(names):
            inode = decode(name)
            if inode is None:
                continue
            if vnode_of(inode) == VNODE_MASK:
                kind = Special(tag_of(inode)).name
            else:
                kind = "directory" if vnode_of(inode) & 1 else "data"
            found[kind].append(os.path.join(directory, name))
    return found


def damage(path: str, rng: random.Random) -> str:
    """Do one to three things to the partition; what, in words."""
    said = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        by_kind = {kind: names for kind, names in files(path).items() if names}
        kind = rng.choice(sorted(by_kind))
        victim = rng.choice(by_kind[kind])
        act = rng.choice(ACTS)
        said.append(f"{act.__name__} {kind} {os.path.relpath(victim, path)}: {act(victim, by_kind[kind], rng)}")
    return "; ".join(said)


def flip(victim: str, _: list[str], rng: random.Random) -> str:
    """Some bits, most often near each other in a record that is in use."""
    data = bytearray(_read(victim))
    if not data:
        return "empty"
    places = [index for index, byte in enumerate(data) if byte] or [0]
    where = [rng.choice(places) for _ in range(rng.choice((1, 1, 2, 8)))]
    for each in where:
        data[each] ^= 1 << rng.randrange(8)
    _write(victim, data)
    return f"at {where}"


def cut(victim: str, _: list[str], rng: random.Random) -> str:
    size = rng.randrange(os.path.getsize(victim) + 1)
    os.truncate(victim, size)
    return f"to {size}"


def zero(victim: str, _: list[str], rng: random.Random) -> str:
    data = bytearray(_read(victim))
    size = rng.choice((64, 512, 2048, 4096))
    start = rng.randrange(len(data) // size + 1) * size
    end = min(start + size, len(data))
    data[start:end] = bytes(end - start)
    _write(victim, data)
    return f"{start} to {end}"


def garbage(victim: str, _: list[str], rng: random.Random) -> str:
    data = bytearray(_read(victim))
    start = rng.randrange(len(data) + 1)
    end = min(start + rng.choice((4, 32, 64, 300)), len(data))
    data[start:end] = rng.randbytes(end - start)
    _write(victim, data)
    return f"{start} to {end}"


def remove(victim: str, _: list[str], rng: random.Random) -> str:
    os.unlink(victim)
    return "gone"


def swap(victim: str, fellows: list[str], rng: random.Random) -> str:
    other = rng.choice(fellows)
    one, two = _read(victim), _read(other)
    _write(victim, two)
    _write(other, one)
    return f"with {os.path.basename(other)}"


def append(victim: str, _: list[str], rng: random.Random) -> str:
    data = rng.randbytes(rng.choice((1, 64, 256, 2048)))
    _write(victim, _read(victim) + data)
    return f"{len(data)} bytes"


ACTS = (flip, flip, flip, cut, zero, garbage, remove, swap, append)


def contents(path: str, group: int) -> dict[int, Counter[bytes]]:
    """For each volume of a group that could be attached, the contents of the files its names lead to."""
    return {
        volume_id: _volume(path, group, volume_id) for volume_id in IDS[group] if _attachable(path, group, volume_id)
    }


def _attachable(path: str, group: int, volume_id: int) -> bool:
    try:
        if _read(os.path.join(path, volume_file_name(volume_id))) != pack_volume_file(volume_id, group):
            return False
        for kind, magic in STAMPS.items():
            data = _read(special(path, group, volume_id, kind))
            if data[:8] != magic.to_bytes(4, "little") + b"\1\0\0\0":
                return False
        found = unpack_header(_read(special(path, group, volume_id, Special.INFO)))
    except (OSError, Damaged):
        return False
    return (found.id, found.parent, found.destroy_me) == (volume_id, group, False)


def special(path: str, group: int, volume_id: int, kind: Special) -> str:
    owner = group if kind is Special.LINK_TABLE else volume_id
    return os.path.join(path, group_directory(group), inode_path(special_inode(owner, kind)))


def _volume(path: str, group: int, volume_id: int) -> Counter[bytes]:
    indexes = {kind: _read(special(path, group, volume_id, kind)) for kind in RECORD_SIZES}
    found: Counter[bytes] = Counter()
    seen = set()
    waiting = [1]
    while waiting:
        number = waiting.pop()
        kind = Special.LARGE_INDEX if number & 1 else Special.SMALL_INDEX
        start = record_offset(number)
        record = indexes[kind][start : start + VNODE.size]
        if number in seen or len(record) < VNODE.size or not record[0] & 7:
            continue
        seen.add(number)
        vnode = VNODE.unpack(record)
        inode = vnode.inode_lo | vnode.inode_hi << 32
        try:
            data = _read(os.path.join(path, group_directory(group), inode_path(inode)))
        except FileNotFoundError:
            continue
        if not number & 1:
            found[data] += 1
            continue
        try:
            directory = Directory.parse(data)
        except Damaged:
            continue
        waiting += [child for name, child, _ in directory.entries() if name not in (b".", b"..")]
    return found


def snapshot(path: str) -> dict[str, tuple[Any, ...]]:
    """Owner, mode and bytes of everything on the partition but locks."""
    found = {}
    for directory, _, names in os.walk(path):
        for name in names:
            file = os.path.join(directory, name)
            status = os.lstat(file)
            if not name.endswith(".lock"):
                data = os.readlink(file) if os.path.islink(file) else _read(file)
                found[os.path.relpath(file, path)] = (status.st_uid, status.st_gid, status.st_mode, data)
    return found


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, data: bytes | bytearray) -> None:
    with open(path, "wb") as file:
        file.write(data)
