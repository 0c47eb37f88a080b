"""RPCs nobody serves any more, each with the refusal that every OpenAFS server gives (fileserver.md section 8)."""

from __future__ import annotations

import errno

from afs.errors import VolumeError
from afs.rpc.fs import AFSVolumeInfo, FsCmdInputs, FsCmdOutputs, VolumeInfo
from afs.types import AFSCallBack, AFSFetchStatus, AFSFid, AFSStoreStatus, AFSVolSync
from fileserver.procedures.base import Base, Untranslated, procedure
from rx.errors import Abort

NO_ROOT_VOLUME = 122
"""A constant meant as EOPNOTSUPP; not translated, unlike others."""

NO_TOKEN_CHECK = 130
"""A constant meant as ECONNREFUSED."""

NO_ADDRESS = 1

DfsReply = tuple[AFSFid, AFSFetchStatus, AFSFetchStatus, AFSCallBack, AFSVolSync]


class Obsolete(Base):
    """See the module."""

    async def GetRootVolume(self) -> bytes:
        raise Abort(NO_ROOT_VOLUME)

    @procedure
    async def CheckToken(self, vice_id: int, token: bytes) -> None:
        raise Untranslated(NO_TOKEN_CHECK)

    @procedure
    async def GetVolumeInfo(self, volume_name: bytes) -> VolumeInfo:
        raise Abort(VolumeError.VNOVOL)

    @procedure
    async def NGetVolumeInfo(self, volume_name: bytes) -> AFSVolumeInfo:
        raise Abort(VolumeError.VNOVOL)

    async def Lookup(self, dir_fid: AFSFid, name: bytes) -> DfsReply:
        raise Abort(errno.EINVAL)

    async def DFSSymlink(self, dir_fid: AFSFid, name: bytes, link_contents: bytes, status: AFSStoreStatus) -> DfsReply:
        raise Abort(errno.EINVAL)

    async def FsCmd(self, fid: AFSFid, inputs: FsCmdInputs) -> FsCmdOutputs:
        raise Abort(errno.EINVAL)

    @procedure
    async def CallBackRxConnAddr(self, addr: int) -> None:
        raise Abort(NO_ADDRESS)
