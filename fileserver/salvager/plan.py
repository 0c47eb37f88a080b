"""What one group shall be, worked out from what is on the disk without changing it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fileserver.interfaces import Vnode, VolumeHeader, blocks
from fileserver.salvager.directories import directory_object, read_directories
from fileserver.salvager.indexes import INDEXES, PRIVATE, Group, Member, find_contents, read_records
from fileserver.salvager.infos import Info, recover_infos
from fileserver.salvager.inventory import Inventory, take_inventory
from fileserver.salvager.links import differences, link_table
from fileserver.salvager.tree import ROOT, Listing, Tell, Tree, straighten
from fileserver.store.formats import DIRECTORY_TYPE, FORMAT_VERSION, STAMP
from fileserver.store.group import RECORD_SIZES, STAMPS
from fileserver.store.inodes import Special, inode_path, special_inode
from fileserver.store.metadata import Metadata
from fileserver.store.volume_file import pack_volume_file, volume_file_name

UNIQUIFIER_AHEAD = 2000
"""Given to a volume whose counter was too low: clients may remember vnodes that are gone (vol-salvage.c)."""


@dataclass(slots=True)
class Plan:
    """A group as it shall be."""

    partition: str
    group: Group
    infos: dict[int, Info]
    messages: list[str]
    lost: list[Member] = field(default_factory=list)
    destroyed: list[Member] = field(default_factory=list)
    directories: dict[int, dict[int, bytes]] = field(default_factory=dict)  # volume -> vnode -> new content
    aside: list[tuple[str, str, str]] = field(default_factory=list)  # (path, name in the quarantine, why)
    keep: list[tuple[int, str, str]] = field(default_factory=list)  # (inode of a special file, name, why)
    headers: dict[int, bytes] = field(default_factory=dict)  # V*.vol files to write

    @property
    def inventory(self) -> Inventory:
        return self.group.inventory


def make_plan(partition: str, number: int, metadata: Metadata, attach: bool, tell: Tell) -> Plan:
    """Work it out; every repair is told in words. Raises OSError."""
    inventory = take_inventory(partition, number, metadata)
    infos = recover_infos(number, {each: _special(inventory, each, Special.INFO) for each in inventory.members()})
    group = Group(inventory, [])
    plan = Plan(partition, group, infos, [])
    _take_members(plan, tell)
    for path in inventory.strays:
        _aside(
            plan,
            path,
            os.path.relpath(path, inventory.directory),
            f"{os.path.basename(path)} is no such file's name",
            tell,
        )
    for inode, path in inventory.misplaced.items():
        tell(f"{os.path.relpath(path, inventory.directory)} belongs at {inode_path(inode)}")
    for member in group.members:
        find_contents(group, member)
    for member in list(group.members):
        _plan_volume(plan, member, attach)
    _plan_specials(plan, metadata, tell)
    _plan_headers(plan, tell)
    return plan


def _special(inventory: Inventory, volume_id: int, kind: Special) -> bytes:
    if (volume_id, kind) not in inventory.specials:
        return b""
    with open(inventory.source(special_inode(volume_id, kind)), "rb") as file:
        return file.read()


def _take_members(plan: Plan, tell: Tell) -> None:
    """Read-write volume first: what no volume names is rather its."""
    for volume_id in sorted(plan.infos, key=lambda each: (each != plan.inventory.group, each)):
        info = plan.infos[volume_id]

        def tell_member(message: str, volume_id: int = volume_id) -> None:
            tell(f"volume {volume_id}: {message}")

        raw = {kind: _special(plan.inventory, volume_id, kind) for kind in INDEXES}
        member = Member(volume_id, info.header, _put_back(raw, tell_member), tell_member)
        for repair in info.repairs:
            tell_member(repair)
        if info.header.destroy_me and info.original is not None:
            tell_member("its removal, or its arrival, was never finished: removed")
            read_records(Group(plan.inventory, []), member)
            plan.destroyed.append(member)
            continue
        _check_stamps(member)
        plan.group.members.append(member)
        read_records(plan.group, member)


def _put_back(raw: dict[Special, bytes], tell: Tell) -> dict[Special, bytes]:
    """The indexes, in each other's place if each has the other's stamp."""
    large, small = INDEXES
    if raw[large][: STAMP.size] == _stamp(small) and raw[small][: STAMP.size] == _stamp(large):
        tell("its two indexes had changed places")
        return {large: raw[small], small: raw[large]}
    return raw


def _stamp(kind: Special) -> bytes:
    packed: bytes = STAMP.pack(magic=STAMPS[kind], version=FORMAT_VERSION)
    return packed


def _check_stamps(member: Member) -> None:
    for kind in INDEXES:
        data = member.raw[kind]
        if not data:
            member.tell(f"it had no {kind.name} file, or an empty one")
        elif data[: STAMP.size] != _stamp(kind):
            member.tell(f"its {kind.name} file had a wrong stamp")
        if _ends_inside(member, kind):
            member.tell(f"its {kind.name} file ended inside a record")


def _ends_inside(member: Member, kind: Special) -> bool:
    """Whether an index has part of a record. One that never had any is its stamp alone."""
    length, size = len(member.raw[kind]), RECORD_SIZES[kind]
    return length > size and length % size != 0


def _plan_volume(plan: Plan, member: Member, attach: bool) -> None:
    group = plan.group
    listings = read_directories(group, member)
    if ROOT not in member.vnodes:
        if not member.writable:
            _lose(plan, member)
            return
        member.tell("it had no root directory: it has a new one, for administrators")
        member.vnodes[ROOT] = new_root()
        listings[ROOT] = Listing(stale=True)
    tree = Tree(member.vnodes, listings)
    straighten(tree, member.tell, attach)
    plan.directories[member.id] = {}
    for number, listing in sorted(listings.items()):
        if listing.stale:
            plan.directories[member.id][number] = directory_object(member.vnodes, number, listing)
    correct_header(member.header, member.vnodes, member.tell)


def _lose(plan: Plan, member: Member) -> None:
    """A clone without a root directory has nothing anybody can reach; it is made again from its read-write volume."""
    member.tell("a clone without its root directory cannot be used: make it again")
    plan.group.members.remove(member)
    plan.group.named.subtract(member.inodes.values())
    plan.lost.append(member)


def new_root() -> Vnode:
    """The record of a root directory for administrators alone."""
    now = int(time.time())
    return Vnode(DIRECTORY_TYPE, 0o755, 2, 0, ROOT, 1, now, 0, 0, 0, 0, now, acl=PRIVATE)


def correct_header(header: VolumeHeader, vnodes: Mapping[int, Vnode], tell: Tell) -> None:
    """Counts and uniquifier from the vnodes; the marks of an unclean end go."""
    used = sum(blocks(vnode.length) for vnode in vnodes.values())
    # One less is no damage: those who make volumes do not count the root.
    if header.file_count not in (len(vnodes), len(vnodes) - 1) or header.disk_used != used:
        tell(f"it has {len(vnodes)} files in {used} blocks, not {header.file_count} in {header.disk_used}")
        header.file_count, header.disk_used = len(vnodes), used
    highest = max((vnode.uniquifier for vnode in vnodes.values()), default=0)
    if header.uniquifier <= highest:
        tell(f"its uniquifier {header.uniquifier} was given out, up to {highest}")
        header.uniquifier = highest + 1 + UNIQUIFIER_AHEAD
    header.in_use = 0
    header.needs_salvaged = False


def _plan_specials(plan: Plan, metadata: Metadata, tell: Tell) -> None:
    """Special files as they must be: their own values, and copies of those that lose something."""
    inventory = plan.inventory
    for volume_id, kind in sorted(inventory.specials):
        inode = special_inode(volume_id, kind)
        if metadata.read(inventory.source(inode)) != (volume_id, int(kind)):
            tell(f"volume {volume_id}: the {kind.name} file has wrong owner and mode values")
    for member in plan.group.members:
        for kind in INDEXES:
            if (member.freed and member.raw[kind]) or _ends_inside(member, kind):
                _keep(plan, member.id, kind, tell)
        if plan.infos[member.id].keep:
            _keep(plan, member.id, Special.INFO, tell)
    for member in plan.lost:
        for kind in (Special.INFO, *INDEXES):
            if (member.id, kind) in inventory.specials:
                inode = special_inode(member.id, kind)
                _aside(
                    plan, inventory.source(inode), inode_path(inode), f"volume {member.id}: its {kind.name} file", tell
                )
    abandoned = {inode for member in plan.destroyed for inode in member.inodes.values()}
    for found in inventory.contents.values():
        for inode in found:
            if plan.group.named[inode] <= 0 and inode not in abandoned:
                _aside(plan, inventory.source(inode), inode_path(inode), f"no volume names {inode:#x}", tell)
    if plan.group.members:
        old = _special(inventory, inventory.group, Special.LINK_TABLE)
        for difference in differences(old, link_table(len(plan.group.members), +plan.group.named)):
            tell(difference)


def _plan_headers(plan: Plan, tell: Tell) -> None:
    """The V*.vol files: with namei their content follows from the ids."""
    group = plan.inventory.group
    members = {member.id for member in plan.group.members}
    gone = {member.id for member in (*plan.lost, *plan.destroyed)}
    relatives = {each for info in plan.infos.values() for each in (info.header.clone_id, info.header.backup_id)}
    for volume_id in sorted({group, *members, *gone, *relatives} - {0}):
        path = os.path.join(plan.partition, volume_file_name(volume_id))
        wanted = pack_volume_file(volume_id, group)
        try:
            with open(path, "rb") as file:
                data = file.read(len(wanted) + 1)
        except FileNotFoundError:
            data = b""
        if volume_id in members and data != wanted:
            tell(f"volume {volume_id}: its header file is {'damaged' if data else 'missing'}")
            plan.headers[volume_id] = wanted
        elif volume_id not in members and data == wanted and volume_id not in {each.id for each in plan.destroyed}:
            _aside(plan, path, os.path.basename(path), f"volume {volume_id}: a header file without a volume", tell)


def _keep(plan: Plan, volume_id: int, kind: Special, tell: Tell) -> None:
    inode = special_inode(volume_id, kind)
    if (volume_id, kind) in plan.inventory.specials:
        plan.keep.append((inode, inode_path(inode), f"volume {volume_id}: the {kind.name} file as it was"))


def _aside(plan: Plan, path: str, name: str, why: str, tell: Tell) -> None:
    tell(why)
    plan.aside.append((path, name, why))
