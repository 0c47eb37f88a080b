"""Servers and their addresses: asked for, registered, changed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from afs.rpc.vl import ListAddrByAttributes, VLCallBack
from vlserver.forms import signed
from vlserver.operations import servers
from vlserver.procedures.base import VLProcedures


class AddressProcedures(VLProcedures):
    """GetAddrs, GetAddrsU, RegisterAddrs and ChangeAddr."""

    async def GetAddrs(self, handle: int, spare2: int) -> tuple[VLCallBack, int, tuple[int, ...]]:
        words = await self._read(servers.slot_words)
        return VLCallBack(), len(words), tuple(words)

    async def GetAddrsU(self, inaddr: ListAddrByAttributes) -> tuple[UUID, int, int, tuple[int, ...]]:
        server = await self._read(servers.registered, inaddr.Mask, inaddr.ipaddr, inaddr.index, inaddr.uuid)
        assert server.uuid is not None
        return server.uuid, signed(server.uniquifier), len(server.addresses), server.addresses

    async def RegisterAddrs(self, uuidp: UUID, spare1: int, ipaddr: Sequence[int]) -> None:
        await self._write(servers.register, uuidp, ipaddr)

    async def ChangeAddr(self, ip1: int, ip2: int) -> None:
        await self._write(servers.change_address, ip1, ip2)
