"""What the volume server says about volumes it does not have in its hands: the entries of `vos listvol` and `vos
examine`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.logger import Logger

from afs.errors import VolumeError
from afs.rpc.volser import volintInfo, volintXInfo
from fileserver.interfaces import StoreError, VolumeHeader
from fileserver.status import signed
from fileserver.volser.transactions import Transactions
from fileserver.volume.checkout import peek
from fileserver.volume.fsa import ERROR_STATES, VolumeState
from fileserver.volume.volume import MAX_INT32, ONE_DAY, Volume
from rx.errors import Abort

log = Logger(namespace="fileserver.volser")

VOK = 2
"""Status of an entry that is complete (volint.xg)."""

DESTROY_ME = 0xD3
"""VolumeDiskData.destroyMe of a volume that is to be deleted."""

Info = TypeVar("Info", volintInfo, volintXInfo)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Info]):
    """One of the two forms of an entry: with only id, status and name, and in full."""

    bare: Callable[[int, int, bytes], Info]
    full: Callable[[Volume, VolumeHeader, int], Info]


async def entry(
    volume: Volume, transactions: Transactions, listing: Listing[Info], now: int, *, single: bool
) -> Info | None:
    """One volume's entry. None for one that is about to be deleted, unless it was asked for by its id.

    A volume in a transaction is VBUSY with only its id; one whose header cannot be read has status 0 and its file's
    name.
    """
    try:
        async with transactions.brief(volume.id, volume.partition.number, b"ListVolumes"):
            header = await _peek(volume)
    except Abort:
        return listing.bare(volume.id, VolumeError.VBUSY, b"")
    if header is None:
        return listing.bare(volume.id, 0, b"V%010d.vol" % volume.id)
    if header.destroy_me:
        return listing.bare(volume.id, 0, b"V%010d.vol" % volume.id) if single else None
    return listing.full(volume, header, now)


async def _peek(volume: Volume) -> VolumeHeader | None:
    try:
        return await peek(volume)
    except (OSError, StoreError) as problem:
        log.warn("cannot list {volume}: {problem}", volume=volume, problem=problem)
        return None


def _base(volume: Volume, header: VolumeHeader, now: int) -> volintInfo:
    return volintInfo(
        **_shared(volume, header, now),
        needsSalvaged=header.needs_salvaged or volume.state in ERROR_STATES,
        destroyMe=DESTROY_ME if header.destroy_me else 0,
        spare0=header.min_quota,
        spare1=min(sum(header.week_use), MAX_INT32),
        spare2=signed(header.update_counter),
    )


def _extended(volume: Volume, header: VolumeHeader, now: int) -> volintXInfo:
    info = volintXInfo(**_shared(volume, header, now))
    if now - header.day_use_date <= ONE_DAY:
        info.stat_reads = header.stat_reads
        info.stat_writes = header.stat_writes
        info.stat_fileSameAuthor = header.file_same_author
        info.stat_fileDiffAuthor = header.file_diff_author
        info.stat_dirSameAuthor = header.dir_same_author
        info.stat_dirDiffAuthor = header.dir_diff_author
    return info


def _shared(volume: Volume, header: VolumeHeader, now: int) -> dict[str, Any]:
    """The fields that both kinds of listing have."""
    return {
        "name": header.name,
        "volid": header.id,
        "type": header.type,
        "backupID": header.backup_id,
        "parentID": header.parent,
        "cloneID": header.clone_id,
        "status": VOK,
        "copyDate": signed(header.copy_date),
        "inUse": _online(volume, header),
        "creationDate": signed(header.creation_date),
        "accessDate": signed(header.access_date),
        "updateDate": signed(header.update_date),
        "backupDate": signed(header.backup_date),
        "dayUse": _day_use(header, now),
        "filecount": header.file_count,
        "maxquota": header.max_quota,
        "size": header.disk_used,
    }


def _online(volume: Volume, header: VolumeHeader) -> bool:
    """What `vos` prints as On-line (volprocs.c FillVolInfo)."""
    offline = volume.state is VolumeState.UNATTACHED or volume.state in ERROR_STATES
    return header.in_service and header.blessed and not header.needs_salvaged and not offline


def _day_use(header: VolumeHeader, now: int) -> int:
    return header.day_use if now - header.day_use_date <= ONE_DAY else 0


BASE = Listing(lambda volid, status, name: volintInfo(volid=volid, status=status, name=name), _base)
EXTENDED = Listing(lambda volid, status, name: volintXInfo(volid=volid, status=status, name=name), _extended)
