"""Headers of new volumes and of clones, and bringing a clone up to date: what stock does to the fields (volprocs.c,
vutil.c).
"""

from __future__ import annotations

from dataclasses import replace
from errno import EXDEV
from typing import Any

from afs.acl import ALL_RIGHTS, SYSADMINID, AccessList, Entry
from afs.names import VOLUME_NAME_MAX, base_name
from fileserver.directory import Directory
from fileserver.interfaces import Vnode, VolumeHeader, blocks
from fileserver.volume.checkout import Checkout
from fileserver.volume.vn import DIRECTORY
from fileserver.volume.volume import MAX_INT32, MAX_UINT32, UNIQUIFIER_START
from rx.errors import Abort

READ_WRITE, READ_ONLY, BACKUP = 0, 1, 2
"""Volume types (voldefs.h)."""

SUFFIX = {READ_ONLY: b".readonly", BACKUP: b".backup"}

USAGE = (
    "day_use",
    "day_use_date",
    "week_use",
    "stat_reads",
    "stat_writes",
    "file_same_author",
    "file_diff_author",
    "dir_same_author",
    "dir_diff_author",
)
"""What a volume that is filled anew keeps: how much it was used (vutil.c CopyVolumeStats)."""

INITIAL_QUOTA = 5000
"""Blocks a new volume may hold until it is told otherwise (volprocs.c VolCreateVolume)."""

UNIQUIFIER_JUMP = 5000
"""A clone that becomes read-write gives out none of those its read-write volume gave out after the cloning."""

ROOT_VNODE = ROOT_UNIQUE = 1
ROOT_MODE = 0o777


def new_header(volume_id: int, parent: int, name: bytes, type: int, now: int) -> VolumeHeader:  # noqa: A002
    """Of a volume being created: out of service, and to be deleted should its creator never say otherwise."""
    return VolumeHeader(
        id=volume_id,
        parent=parent,
        name=base_name(name),
        type=type,
        in_service=False,
        destroy_me=True,
        uniquifier=1,
        max_quota=INITIAL_QUOTA,
        creation_date=now,
        update_date=now,
        copy_date=now,
    )


def converted(clone: VolumeHeader) -> VolumeHeader:
    """Of the read-write volume that a clone becomes, whose own is lost (namei_ops.c convertVolumeInfo)."""
    made = min(clone.creation_date, clone.copy_date)
    return replace(
        clone,
        id=clone.parent,
        type=READ_WRITE,
        name=clone.name.removesuffix(SUFFIX[READ_ONLY]),
        in_use=0,
        dont_salvage=False,
        clone_id=clone.id,
        restored_from_id=clone.id,
        uniquifier=min(clone.uniquifier + UNIQUIFIER_JUMP, MAX_UINT32),
        creation_date=made,
        copy_date=made,
    )


async def create_root(checkout: Checkout) -> None:
    """The root directory of a new volume, everything in it being up to system:administrators."""
    header = checkout.header
    content = Directory.new((ROOT_VNODE, ROOT_UNIQUE), (ROOT_VNODE, ROOT_UNIQUE)).to_bytes()
    root = Vnode(
        type=DIRECTORY,
        mode=ROOT_MODE,
        link_count=2,
        length=len(content),
        uniquifier=ROOT_UNIQUE,
        data_version=1,
        modify_time=header.creation_date,
        author=0,
        owner=0,
        group=0,
        parent=0,
        server_modify_time=header.creation_date,
        acl=AccessList(positive=(Entry(SYSADMINID, ALL_RIGHTS),)).to_bytes(),
    )
    await checkout.files.create_vnode(ROOT_VNODE, root, content)
    header.uniquifier = UNIQUIFIER_START
    header.disk_used = blocks(len(content))


async def fill_clone(source: Checkout, target: Checkout, name: bytes, type: int, now: int) -> None:  # noqa: A002
    """A new clone: holds what the source holds, is not yet in service, and to be deleted unless its creator says
    otherwise.
    """
    await _copy(source, target)
    if type == READ_ONLY:
        source.header.clone_id = target.header.id
    header = _inherit(source.header, target.header)
    header.type = source.header.type if type == READ_WRITE else type
    header.name = name
    header.creation_date = header.copy_date
    header.destroy_me = True
    header.in_service = False
    if type == BACKUP:
        header.backup_date = source.header.backup_date = header.copy_date
        source.header.backup_id = header.id
    await _finish(source, target, header)


async def refresh_clone(source: Checkout, target: Checkout, now: int, *, keep_usage: bool = True) -> None:
    """An existing clone of the source, brought up to date and in service at once. Abort EXDEV for one that is not its
    clone.
    """
    if target.volume.partition is not source.volume.partition or target.header.parent != source.header.parent:
        raise Abort(EXDEV)
    kind = target.header.type
    target.header.needs_salvaged = True  # until this is complete: a half-done clone must not be served
    await target.write()
    await _copy(source, target)
    header = _inherit(source.header, target.header)
    if keep_usage:
        header = replace(header, **usage(target.header))
    header.type = kind
    if kind in SUFFIX:
        header.name = (base_name(source.header.name) + SUFFIX[kind])[:VOLUME_NAME_MAX]
    header.creation_date = now
    header.destroy_me = False
    header.in_service = True
    if kind == BACKUP:
        header.backup_date = source.header.backup_date = now
        source.header.backup_id = header.id
    await _finish(source, target, header)


async def _copy(source: Checkout, target: Checkout) -> None:
    """What is in the volumes. The source's counts are made anew with it, every vnode a file (clone.c DoCloneIndex)."""
    await source.files.clone_to(target.files)
    if source.header.type == READ_WRITE:
        tally = await source.files.tally()
        source.header.file_count = tally.vnodes
        source.header.disk_used = min(tally.blocks, MAX_INT32)


def usage(header: VolumeHeader) -> dict[str, Any]:
    """The fields of USAGE."""
    return {name: getattr(header, name) for name in USAGE}


def _inherit(source: VolumeHeader, target: VolumeHeader) -> VolumeHeader:
    """The source's header under the target's ids, with the usage counts of a volume nobody has used (vutil.c
    CopyVolumeHeader).
    """
    return replace(
        source,
        id=target.id,
        parent=target.parent,
        copy_date=target.copy_date,
        in_use=0,
        needs_salvaged=False,
        day_use=0,
        day_use_date=0,
        week_use=(0,) * len(source.week_use),
    )


async def _finish(source: Checkout, target: Checkout, header: VolumeHeader) -> None:
    target.header = header
    await target.write()
    await target.sync()
    await source.write()
