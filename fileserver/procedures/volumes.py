"""A volume as its users see it: GetVolumeStatus, SetVolumeStatus."""

from __future__ import annotations

import errno

from afs.rpc.fs import AFS_SETMAXQUOTA, AFS_SETMINQUOTA, AFSFetchVolumeStatus, AFSStoreVolumeStatus
from afs.types import AFSFid
from fileserver import rights
from fileserver.procedures.base import Base, procedure
from rx.errors import Abort

READ_ONLY, READ_WRITE = 0, 1
"""AFSFetchVolumeStatus.Type."""

NAME_SIZE = 31
"""Bytes a volume header has for the name, less its NUL."""

MESSAGE_SIZE = 127
"""The same for the offline message."""

MAX_INT32 = 2**31 - 1


class Volumes(Base):
    """See the module."""

    @procedure
    async def GetVolumeStatus(self, volume_id: int) -> tuple[AFSFetchVolumeStatus, bytes, bytes, bytes]:
        root = _root(volume_id)
        async with self.use(root.Volume) as volume:
            async with volume.shared(root) as vn:
                self.directory(volume, vn)
            header = volume.header
            space = volume.partition.space()
            status = AFSFetchVolumeStatus(
                Vid=_signed(header.id),
                ParentId=_signed(header.parent),
                Online=header.in_use,
                InService=int(header.in_service),
                Blessed=int(header.blessed),
                NeedsSalvage=int(header.needs_salvaged),
                Type=READ_WRITE if volume.writable else READ_ONLY,
                MinQuota=header.min_quota,
                MaxQuota=header.max_quota,
                BlocksInUse=header.disk_used,
                PartBlocksAvail=min(space.free, MAX_INT32),
                PartMaxBlocks=min(space.total, MAX_INT32),
            )
            return status, header.name, header.offline_message, b""

    @procedure
    async def SetVolumeStatus(
        self, volume_id: int, volume_status: AFSStoreVolumeStatus, name: bytes, offline_msg: bytes, motd: bytes
    ) -> None:
        """The message of the day is ignored, as in OpenAFS. A name or message too long for the header is EINVAL."""
        root = _root(volume_id)
        async with self.use(root.Volume) as volume:
            async with volume.shared(root) as vn:
                self.directory(volume, vn)
            rights.set_volume_status(self.user.caller)
            name, offline_msg = _text(name, NAME_SIZE), _text(offline_msg, MESSAGE_SIZE)
            header = volume.header
            if volume_status.Mask & AFS_SETMINQUOTA:
                header.min_quota = volume_status.MinQuota
            if volume_status.Mask & AFS_SETMAXQUOTA:
                header.max_quota = volume_status.MaxQuota
            header.offline_message = offline_msg or header.offline_message
            header.name = name or header.name
            await volume.write_header()


def _root(volume_id: int) -> AFSFid:
    if volume_id == 0:
        raise Abort(errno.EINVAL)
    return AFSFid(volume_id & 0xFFFFFFFF, 1, 1)


def _text(text: bytes, size: int) -> bytes:
    """What a C string of it would be."""
    text = text.split(b"\0", 1)[0]
    if len(text) > size:
        raise Abort(errno.EINVAL)
    return text


def _signed(word: int) -> int:
    return word - (1 << 32) if word & 0x80000000 else word
