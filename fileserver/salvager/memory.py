"""The salvage of volumes that lie in this process, through the interface of back ends: names, links, counts."""

from __future__ import annotations

from dataclasses import replace

from fileserver.interfaces import Damaged, IPartition, IVolumeFiles, SalvageReport
from fileserver.salvager.directories import directory_object, listing_of
from fileserver.salvager.plan import correct_header, new_root
from fileserver.salvager.salvage import Told
from fileserver.salvager.tree import ROOT, Listing, Tell, Tree, is_directory, straighten


async def salvage_in_memory(partition: IPartition, group: int, tell: Tell) -> SalvageReport:
    """Repair every volume of the group. Raises StoreError, OSError."""
    told = Told(tell)
    volumes = [each.id for each in await partition.volumes() if each.parent == group]
    for volume_id in volumes:
        files = await partition.open_volume(volume_id)
        try:
            await _salvage(files, told)
        finally:
            await files.close()
    return SalvageReport(group, tuple(sorted(volumes)), (), told.kept())


async def _salvage(files: IVolumeFiles, told: Told) -> None:
    def tell(message: str) -> None:
        told(f"volume {files.id}: {message}")

    before = told.count
    header = await files.read_header()
    original = replace(header)
    tree = Tree({}, {})
    for number, _ in await files.vnodes():
        await _read(files, tree, number, tell)
    if ROOT not in tree.vnodes:
        tell("it had no root directory: it has a new one, for administrators")
        await files.create_vnode(ROOT, new_root())
        tree.vnodes[ROOT], tree.listings[ROOT] = new_root(), Listing(stale=True)
    straighten(tree, tell)
    for number, listing in tree.listings.items():
        if listing.stale:
            content = directory_object(tree.vnodes, number, listing)
            await files.write(number, 0, content)
            await files.truncate(number, len(content))
            tree.changed.add(number)
    for number in sorted(tree.changed):
        await files.write_vnode(number, tree.vnodes[number])
    correct_header(header, tree.vnodes, tell)
    header.needs_callback |= told.count > before
    if header != original:
        await files.write_header(header)


async def _read(files: IVolumeFiles, tree: Tree, number: int, tell: Tell) -> None:
    vnode = tree.vnodes[number] = await files.read_vnode(number)
    if is_directory(number) != (vnode.type == 2):
        raise Damaged(f"volume {files.id}: vnode {number} is of type {vnode.type}")
    length = await files.content_length(number)
    if length != vnode.length:
        tell(f"vnode {number}: it has {length} bytes, not {vnode.length}")
        vnode.length = length
        vnode.data_version += 1
        tree.changed.add(number)
    if is_directory(number):
        listing = tree.listings[number] = listing_of(await files.read(number, 0, length))
        if listing.dot is None:
            tell(f"directory {number}: damaged; {len(listing.entries)} entries found in it")
