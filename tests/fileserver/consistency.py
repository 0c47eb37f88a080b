"""Whether a volume's index, contents, directories and header say the same: what a salvager would look at."""

from __future__ import annotations

from collections import Counter, defaultdict

from fileserver.directory import Directory
from fileserver.interfaces import Damaged, IVolumeFiles, Vnode, blocks
from fileserver.volume.vn import DIRECTORY

ROOT = 1


async def contradictions(files: IVolumeFiles) -> list[str]:
    """One line for everything in a cleanly closed volume that does not fit together."""
    header = await files.read_header()
    vnodes = {number: await files.read_vnode(number) for number, _ in await files.vnodes()}
    wrong = []
    if header.in_use:
        wrong.append(f"in use by {header.in_use}")
    if header.file_count not in (len(vnodes), len(vnodes) - 1):  # stock counts the root only when it recounts
        wrong.append(f"the header counts {header.file_count} files, the index {len(vnodes)}")
    used = sum(blocks(vnode.length) for vnode in vnodes.values())
    if header.disk_used != used:
        wrong.append(f"the header counts {header.disk_used} blocks, the index {used}")
    for number, vnode in vnodes.items():
        if vnode.uniquifier >= header.uniquifier and number != ROOT:
            wrong.append(f"vnode {number} has uniquifier {vnode.uniquifier}, the volume is at {header.uniquifier}")
        length = await files.content_length(number)
        if length != vnode.length:
            wrong.append(f"vnode {number} has {length} bytes, its record says {vnode.length}")
    return wrong + await _names(files, vnodes)


async def _names(files: IVolumeFiles, vnodes: dict[int, Vnode]) -> list[str]:
    wrong = []
    found: defaultdict[int, Counter[int]] = defaultdict(Counter)  # vnode -> directory -> names there
    subdirectories: Counter[int] = Counter()
    for number, vnode in vnodes.items():
        if vnode.type != DIRECTORY:
            continue
        try:
            directory = Directory.parse(await files.read(number, 0, vnode.length))
        except Damaged as damage:
            wrong.append(f"directory {number}: {damage}")
            continue
        for name, child, unique in directory.entries():
            target = vnodes.get(child)
            if target is None or target.uniquifier != unique:
                wrong.append(f"{number}/{name!r} leads to {child}.{unique}, which does not exist")
            elif name == b"." and child != number:
                wrong.append(f"{number}/. leads to {child}")
            elif name == b".." and child != (vnode.parent or number):
                wrong.append(f"{number}/.. leads to {child}, the parent is {vnode.parent}")
            elif name not in (b".", b".."):
                found[child][number] += 1
                subdirectories[number] += target.type == DIRECTORY
    for number, vnode in vnodes.items():
        if number == ROOT:
            expected: dict[int, int] = {}
            links = 2 + subdirectories[number]
        elif vnode.type == DIRECTORY:
            expected = {vnode.parent: 1}
            links = 2 + subdirectories[number]
        else:
            expected = {vnode.parent: vnode.link_count}
            links = vnode.link_count
        if found[number] != expected:
            wrong.append(f"vnode {number} is named by {dict(found[number])}, expected {expected}")
        if vnode.link_count != links or not links:
            wrong.append(f"vnode {number} counts {vnode.link_count} links, {links} are there")
    return wrong
