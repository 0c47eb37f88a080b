"""Make a volume true again whose last user did not close it.

What a crash can leave in the order things are written (content, record, directory entry; and back on removal): content
longer than its record says, a directory with some of its pages written, a renamed object under both names, link counts
of one more or less, vnodes no directory names, stale counts in the header. All but the unnamed vnodes, which do no
harm, are put right here (names and links in `named.py`); whatever else contradicts itself is Damaged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.logger import Logger

from fileserver.directory import PAGE_SIZE, Directory, scattered_entries
from fileserver.interfaces import Damaged, IVolumeFiles, Vnode, VolumeHeader, blocks
from fileserver.volume.named import BREATH, Links, recover_names
from fileserver.volume.vn import DIRECTORY
from fileserver.volume.volume import UNIQUIFIER_AHEAD

log = Logger(namespace="fileserver.volume")


async def recover(files: IVolumeFiles, header: VolumeHeader, breathe: Callable[[], Awaitable[None]]) -> None:
    """Lengths from the contents, directories from their entries, counts from the index, the uniquifier beyond all given
    out.

    Changes `header` without writing it; `breathe` is awaited now and then. Raises Damaged, OSError.
    """
    live = dict(await files.vnodes())
    disk_used = 0
    said: dict[int, Links] = {}
    for count, number in enumerate(live):
        if count % BREATH == 0:
            await breathe()
        vnode = await files.read_vnode(number)
        if await _recover_vnode(files, number, vnode, live):
            log.warn("volume {id}: recovered vnode {number}", id=header.id, number=number)
        disk_used += blocks(vnode.length)
        said[number] = Links(vnode.parent, vnode.link_count)
    log.warn(
        "volume {id} was not closed cleanly: {old} files and {used} blocks were {count} and {blocks}",
        id=header.id,
        old=header.file_count,
        used=header.disk_used,
        count=len(live),
        blocks=disk_used,
    )
    await recover_names(files, live, said, breathe)
    header.file_count = len(live)
    header.disk_used = disk_used
    highest = max(live.values(), default=0)
    if highest >= header.uniquifier:
        header.uniquifier = highest + 1 + UNIQUIFIER_AHEAD


async def _recover_vnode(files: IVolumeFiles, number: int, vnode: Vnode, live: Mapping[int, int]) -> bool:
    """Whether anything had to be put right; the data version rises, since some client may have seen the old state."""
    length = await files.content_length(number)
    if vnode.type == DIRECTORY:
        content = await files.read(number, 0, length)
        try:
            directory = Directory.parse(content)
        except Damaged as damage:
            log.warn("volume {id} directory {number}: {damage}", id=files.id, number=number, damage=damage)
            directory = rebuilt(content, number, vnode, live)
            await files.write(number, 0, directory.to_bytes())
            await files.truncate(number, directory.length)
        else:
            if directory.length == vnode.length:
                return False
        length = directory.length
    elif length == vnode.length:
        return False
    vnode.length = length
    vnode.data_version += 1
    await files.write_vnode(number, vnode)
    return True


def rebuilt(content: bytes, number: int, vnode: Vnode, live: Mapping[int, int]) -> Directory:
    """A directory of the entries found anywhere in its pages whose vnodes exist: the chains and bitmaps are not
    believed.

    Raises Damaged when there is no page, or the parent does not exist.
    """
    parent = vnode.parent or number
    if parent not in live or len(content) < PAGE_SIZE:
        raise Damaged(f"directory {number} of {len(content)} bytes in {parent} cannot be put together again")
    directory = Directory.new((number, vnode.uniquifier), (parent, live[parent]))
    for name, entry, unique in scattered_entries(content):
        if live.get(entry) == unique and name not in directory:
            directory.insert(name, entry, unique)
    return directory
