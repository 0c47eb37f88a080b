"""Promises given back, signs of life, and what a client may ask of the server as such."""

from __future__ import annotations

import errno

from afs.types import (
    VICED_CAPABILITY_64BITFILES,
    VICED_CAPABILITY_ERRORTRANS,
    VICED_CAPABILITY_WRITELOCKACL,
    AFSCallBack,
    AFSFid,
)
from fileserver.procedures.base import Base, passive, procedure
from rx.errors import Abort

CAPABILITIES = VICED_CAPABILITY_ERRORTRANS | VICED_CAPABILITY_64BITFILES | VICED_CAPABILITY_WRITELOCKACL


class Callbacks(Base):
    """See the module."""

    @procedure
    async def GiveUpCallBacks(self, fids: tuple[AFSFid, ...], callbacks: tuple[AFSCallBack, ...]) -> None:
        if len(fids) < len(callbacks):
            raise Abort(errno.EINVAL)
        for fid in fids:
            self.server.callbacks.give_up((fid.Volume, fid.Vnode, fid.Unique), self.host)

    @procedure
    async def GiveUpAllCallBacks(self) -> None:
        self.server.callbacks.forget_host(self.host)

    @passive
    async def GetTime(self) -> tuple[int, int]:
        now = self.server.now()
        seconds = int(now)
        return seconds, int((now - seconds) * 1_000_000)

    @passive
    async def GetCapabilities(self) -> tuple[int, ...]:
        return (CAPABILITIES,)
