"""Making a directory of one volume the root of another, fresh one: SplitVolume (vol_split.c).

The new volume is filled with copies and complete on the disk before the old one changes; there a mount point takes the
directory's name, and only then its vnodes go. Whatever ends this on the way leaves every file in at least one of them.
Vnodes keep their numbers and uniquifiers, but for the directory itself, which is the new volume's root.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from errno import ENOENT

from fileserver.directory import Directory
from fileserver.interfaces import Damaged, NoSuchVnode, Vnode
from fileserver.volser.cloning import ROOT_UNIQUE, ROOT_VNODE
from fileserver.volser.dump import BREATH, PIECE_SIZE
from fileserver.volume.checkout import Checkout
from fileserver.volume.vn import DIRECTORY, SYMLINK
from fileserver.volume.volume import MAX_INT32
from rx.errors import Abort

MOUNT_POINT_MODE = 0o644
"""A symbolic link without execute bits is a mount point."""

Breathe = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subtree:
    """A directory of a volume that is not its root, its name in its parent, and everything below it, without itself."""

    top: int
    parent: int
    name: bytes
    below: tuple[int, ...]


async def find_subtree(volume: Checkout, top: int, breathe: Breathe) -> Subtree:
    """Raises Abort ENOENT for what is no directory with a parent and a name."""
    parents = await _parents(volume, breathe)
    parent = parents.get(top, 0)
    if not top & 1 or not parent:
        raise Abort(ENOENT, f"volume {volume.header.id} has no directory {top} but its root")
    content = await _directory(volume, parent)
    name = next((name for name, vnode, _ in content.entries() if vnode == top and name not in (b".", b"..")), None)
    if name is None:
        raise Abort(ENOENT, f"volume {volume.header.id}: directory {parent} has no name for {top}")
    return Subtree(top, parent, name, tuple(sorted(_below(top, parents))))


async def copy_subtree(source: Checkout, tree: Subtree, target: Checkout, breathe: Breathe) -> None:
    """Fill a fresh volume; it is in service, and safe from a power cut, when this returns."""
    target.header.destroy_me = True
    target.header.in_service = False
    await target.write()
    await target.files.remove_vnode(ROOT_VNODE)
    await _copy_root(source, tree, target)
    for count, number in enumerate(tree.below):
        if count % BREATH == 0:
            await breathe()
        await _copy_vnode(source, number, tree.top, target)
    tally = await target.files.tally()
    header = target.header
    header.file_count, header.disk_used = tally.vnodes, min(tally.blocks, MAX_INT32)
    header.max_quota = source.header.max_quota
    header.uniquifier = source.header.uniquifier
    await target.sync()
    header.destroy_me = False
    header.in_service = True
    await target.write()
    await target.sync()


async def replace_subtree(source: Checkout, tree: Subtree, name: bytes, now: int, breathe: Breathe) -> None:
    """Put a mount point of the volume called `name` in its place."""
    source.header.needs_salvaged = True  # until its counts are right again
    await source.write()
    await _mount(source, tree, name, now)
    for count, number in enumerate((*reversed(tree.below), tree.top)):
        if count % BREATH == 0:
            await breathe()
        await source.files.remove_vnode(number)
    tally = await source.files.tally()
    header = source.header
    header.file_count, header.disk_used = tally.vnodes, min(tally.blocks, MAX_INT32)
    header.update_date = now
    header.needs_salvaged = False
    await source.sync()
    await source.write()


async def _parents(volume: Checkout, breathe: Breathe) -> dict[int, int]:
    """Every vnode's directory, 0 for the root."""
    found = {}
    for count, (number, _) in enumerate(await volume.files.vnodes()):
        if count % BREATH == 0:
            await breathe()
        found[number] = (await volume.files.read_vnode(number)).parent
    return found


def _below(top: int, parents: dict[int, int]) -> set[int]:
    """What leads to `top`, directory by directory. Each is looked at once; a circle leads nowhere."""
    leads: dict[int, bool] = {0: False, top: True}
    for number in parents:
        way: list[int] = []
        at = number
        while at not in leads:
            leads[at] = False
            way.append(at)
            at = parents.get(at, 0)
        leads.update(dict.fromkeys(way, leads[at]))
    return {number for number in parents if leads[number] and number != top}


async def _copy_root(source: Checkout, tree: Subtree, target: Checkout) -> None:
    directory = await _directory(source, tree.top)
    for name in (b".", b".."):
        directory.replace(name, ROOT_VNODE, ROOT_UNIQUE)
    vnode = await source.files.read_vnode(tree.top)
    vnode.uniquifier = ROOT_UNIQUE
    vnode.parent = 0
    await target.files.create_vnode(ROOT_VNODE, vnode, directory.to_bytes())


async def _copy_vnode(source: Checkout, number: int, top: int, target: Checkout) -> None:
    vnode = await source.files.read_vnode(number)
    moved = vnode.parent == top
    if moved:
        vnode.parent = ROOT_VNODE
    if vnode.type == DIRECTORY:
        directory = await _directory(source, number)
        if moved:
            directory.replace(b"..", ROOT_VNODE, ROOT_UNIQUE)
        await target.files.create_vnode(number, vnode, directory.to_bytes())
        return
    piece = await source.files.read(number, 0, min(vnode.length, PIECE_SIZE))
    await target.files.create_vnode(number, vnode, piece)
    offset = len(piece)
    while offset < vnode.length and piece:
        piece = await source.files.read(number, offset, PIECE_SIZE)
        await target.files.write(number, offset, piece)
        offset += len(piece)
    if offset != vnode.length:
        raise Damaged(f"volume {source.header.id}: vnode {number} ends at {offset}")


async def _mount(source: Checkout, tree: Subtree, name: bytes, now: int) -> None:
    """The mount point's vnode before the directory entry, as whoever makes one does."""
    content = b"#%b." % name
    top = await source.files.read_vnode(tree.top)
    used = {number for number, _ in await source.files.vnodes()}
    number = next(number for number in range(2, 2 * len(used) + 4, 2) if number not in used)
    unique = source.header.uniquifier
    source.header.uniquifier += 1
    await source.write()
    link = Vnode(
        type=SYMLINK,
        mode=MOUNT_POINT_MODE,
        link_count=1,
        length=len(content),
        uniquifier=unique,
        data_version=1,
        modify_time=now,
        author=top.author,
        owner=top.owner,
        group=top.group,
        parent=tree.parent,
        server_modify_time=now,
    )
    await source.files.create_vnode(number, link, content)
    directory = await _directory(source, tree.parent)
    directory.replace(tree.name, number, unique)
    parent = await source.files.read_vnode(tree.parent)
    for offset, page in directory.dirty_pages():
        await source.files.write(tree.parent, offset, page)
    parent.link_count -= 1
    parent.data_version += 1
    parent.modify_time = parent.server_modify_time = now
    await source.files.write_vnode(tree.parent, parent)


async def _directory(volume: Checkout, number: int) -> Directory:
    try:
        length = await volume.files.content_length(number)
        return Directory.parse(await volume.files.read(number, 0, length))
    except NoSuchVnode as problem:
        raise Damaged(f"volume {volume.header.id}: {problem}") from problem
