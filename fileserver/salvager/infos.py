"""The volume info files of a group: what is wrong in one is put right from the ids in its name and from its siblings.

What cannot be known again is made up: the volume is called `bogus.ID`, as by a stock salvager, and is out of service
until an administrator has looked (`vos online`). Stock makes it unblessed, and has no command to bless it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fileserver.interfaces import Damaged, VolumeHeader
from fileserver.store.formats import FORMAT_VERSION, STAMP, VOLUME_INFO, VOLUME_INFO_MAGIC, unpack_header

READ_WRITE, READ_ONLY, BACKUP = 0, 1, 2
_SUFFIXES = {READ_WRITE: b"", READ_ONLY: b".readonly", BACKUP: b".backup"}

_ESSENTIAL = 48
"""Bytes up to the uniquifier: ids, name and flags. Of an info file cut off behind these the rest is taken as zeros."""
_MOST_NAME, _MOST_MESSAGE = 31, 127
"""Bytes before the NUL that ends the field."""


@dataclass(slots=True)
class Info:
    """A volume's header as it shall be, and what had to be done for that. `original` is None where there was none."""

    header: VolumeHeader
    original: VolumeHeader | None
    repairs: list[str] = field(default_factory=list)
    keep: bool = False  # the file's bytes say something that the new header does not


def recover_infos(group: int, files: Mapping[int, bytes]) -> dict[int, Info]:
    """The header of each volume, from the bytes of its info file (empty where there is none)."""
    infos: dict[int, Info] = {}
    for volume_id, data in _put_back(group, files).items():
        infos[volume_id] = _read(group, volume_id, data, swapped=data != files[volume_id])
    for volume_id, info in infos.items():
        if not info.header.name:
            _name(volume_id, info, infos)
        if info.original is not None and info.header != info.original and not info.repairs:
            info.repairs.append("its ids, type, name or quota were wrong")
    return infos


def _put_back(group: int, files: Mapping[int, bytes]) -> dict[int, bytes]:
    """The same bytes, but two files that each say they are the other's have changed places."""
    says: dict[int, int] = {}
    for volume_id, data in files.items():
        if len(data) == VOLUME_INFO.size and data.startswith(_stamp()):
            record = VOLUME_INFO.unpack(data)
            if record.parent == group and record.id in files:
                says[volume_id] = record.id
    return {
        volume_id: files[says[volume_id]] if says.get(says.get(volume_id, 0)) == volume_id else data
        for volume_id, data in files.items()
    }


def _read(group: int, volume_id: int, data: bytes, swapped: bool) -> Info:
    repairs = ["the info file of another volume was in its place"] if swapped else []
    whole = data.ljust(VOLUME_INFO.size, b"\0") if len(data) > _ESSENTIAL else data
    if len(data) < VOLUME_INFO.size:
        repairs.append("it had no info file" if not data else f"its info file had only {len(data)} bytes")
    elif data[: STAMP.size] != _stamp():
        repairs.append("its info file had a wrong stamp")
    try:
        header = unpack_header(_stamp() + whole[STAMP.size :])
    except Damaged:
        return Info(_blank(group, volume_id), None, repairs, keep=bool(data))
    if header.id != volume_id and header.parent != group:
        repairs.append(f"its info file was that of {header.id} in group {header.parent}, or of nothing")
        return Info(_blank(group, volume_id), None, repairs, keep=True)
    original = None if repairs else replace(header)
    keep = (header.id, header.parent) != (volume_id, group)
    header.id, header.parent = volume_id, group
    _correct_fields(group, header)
    return Info(header, original, repairs, keep or bool(repairs and not swapped))


def _correct_fields(group: int, header: VolumeHeader) -> None:
    if header.id == group:
        header.type = READ_WRITE
    elif header.type not in (READ_ONLY, BACKUP):
        header.type = BACKUP if header.name.endswith(_SUFFIXES[BACKUP]) else READ_ONLY
    if not all(0x20 < each < 0x7F for each in header.name):
        header.name = b""
    header.name, header.offline_message = header.name[:_MOST_NAME], header.offline_message[:_MOST_MESSAGE]
    header.max_quota = max(header.max_quota, 0)


def _blank(group: int, volume_id: int) -> VolumeHeader:
    now = int(time.time())
    kind = READ_WRITE if volume_id == group else READ_ONLY
    return VolumeHeader(
        volume_id, group, b"", kind, in_service=False, creation_date=now, copy_date=now, update_date=now
    )


def _name(volume_id: int, info: Info, infos: Mapping[int, Info]) -> None:
    """From a sibling's name, else made up."""
    header = info.header
    for sibling in infos.values():
        other = sibling.header
        if other.name and not other.name.startswith(b"bogus."):
            if volume_id == other.backup_id:
                header.type = BACKUP
            header.name = other.name.removesuffix(_SUFFIXES[other.type]) + _SUFFIXES[header.type]
            info.repairs.append(f"its name is {header.name.decode()} after that of volume {other.id}")
            return
    header.name = b"bogus.%d" % volume_id
    info.repairs.append(f"its name is lost: it is called {header.name.decode()}")


def _stamp() -> bytes:
    packed: bytes = STAMP.pack(magic=VOLUME_INFO_MAGIC, version=FORMAT_VERSION)
    return packed
