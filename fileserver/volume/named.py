"""After a crash: every name leads to a vnode, every vnode is named where it says, as often as it says.

A rename writes the new name, then the object's parent, then the old name away; so of an object that two directories
name, the one its record calls the parent is right, and of two names of one directory either. Names are counted first;
only directories with a wrong one are changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from twisted.logger import Logger

from fileserver.directory import Directory
from fileserver.interfaces import IVolumeFiles

log = Logger(namespace="fileserver.volume")

SELF_LINKS = 2
"""What a directory without sub-directories counts: its name and its own `.`."""


BREATH = 200
"""Vnodes looked at between two breaths: some 10 ms on files."""


class Links(NamedTuple):
    """What a vnode's record says of the names that lead to it."""

    parent: int
    total: int


async def recover_names(
    files: IVolumeFiles, live: Mapping[int, int], said: Mapping[int, Links], breathe: Callable[[], Awaitable[None]]
) -> None:
    """Take out names that lead nowhere or are left of a rename, and correct link counts.

    `live` is number -> uniquifier, `said` number -> what its record says; `breathe` is awaited now and then. Raises
    Damaged, OSError.
    """
    names: defaultdict[int, Counter[int]] = defaultdict(Counter)  # vnode -> directory -> names it has there
    wrong: set[int] = set()  # directories with a name that must go
    above: dict[int, tuple[int, int] | None] = {}  # directory -> where its `..` leads
    for number in filter(_is_directory, live):
        await breathe()
        directory = await _directory(files, number)
        above[number] = directory.lookup(b"..")
        for _, child, unique in _children(directory):
            if live.get(child) == unique:
                names[child][number] += 1
            else:
                wrong.add(number)
    homes: dict[int, int] = {}  # vnode -> the one directory that may name it
    for number, found in names.items():
        parent = said[number].parent
        homes[number] = parent if parent in found else min(found)
        wrong |= found.keys() - {homes[number]}
        if _is_directory(number) and found[homes[number]] > 1:
            wrong.add(homes[number])
    for number in wrong:
        await _take_out(files, number, live, homes)
    for number, true in _links(live, said, names, homes):
        upwards = true.parent or number
        if upwards not in live:
            continue  # nothing names it, and what did is gone
        if true != said[number] or (number in above and above[number] != (upwards, live[upwards])):
            await _correct(files, number, true, live)


def _links(
    live: Mapping[int, int], said: Mapping[int, Links], names: Mapping[int, Counter[int]], homes: Mapping[int, int]
) -> Iterator[tuple[int, Links]]:
    """What every vnode's record should say. What nothing names keeps what it says, until a salvager finds it."""
    below = Counter(home for number, home in homes.items() if _is_directory(number))
    for number in live:
        home = homes.get(number, said[number].parent)
        if _is_directory(number):
            yield number, Links(home, SELF_LINKS + below[number])
        else:
            yield number, Links(home, names[number][home] if number in homes else said[number].total)


def _is_directory(number: int) -> bool:
    return bool(number & 1)


def _children(directory: Directory) -> Iterator[tuple[bytes, int, int]]:
    return (entry for entry in directory.entries() if entry[0] not in (b".", b".."))


async def _directory(files: IVolumeFiles, number: int) -> Directory:
    return Directory.parse(await files.read(number, 0, await files.content_length(number)))


async def _take_out(files: IVolumeFiles, number: int, live: Mapping[int, int], homes: Mapping[int, int]) -> None:
    directory = await _directory(files, number)
    named: set[int] = set()
    for name, child, unique in list(_children(directory)):
        if live.get(child) == unique and homes[child] == number and child not in named:
            named |= {child} if _is_directory(child) else set()
            continue
        log.warn("volume {id}: {name!r} taken out of {number}", id=files.id, name=name, number=number)
        directory.remove(name)
    await _write(files, number, directory)


async def _correct(files: IVolumeFiles, number: int, true: Links, live: Mapping[int, int]) -> None:
    log.warn("volume {id}: of vnode {number} it is {links}", id=files.id, number=number, links=true)
    if _is_directory(number):
        directory = await _directory(files, number)
        upwards = true.parent or number
        directory.replace(b"..", upwards, live[upwards])
        await _write(files, number, directory)
    vnode = await files.read_vnode(number)
    vnode.parent, vnode.link_count = true
    await files.write_vnode(number, vnode)


async def _write(files: IVolumeFiles, number: int, directory: Directory) -> None:
    for offset, page in directory.dirty_pages():
        await files.write(number, offset, page)
    vnode = await files.read_vnode(number)
    vnode.data_version += 1
    await files.write_vnode(number, vnode)
