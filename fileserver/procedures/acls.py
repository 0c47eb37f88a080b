"""Access lists: FetchACL, StoreACL (164, and 134 as clients before 2018 call it), and FlushCPS."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address
from itertools import chain

from afs.acl import AccessList, BadAccessList, parse_acl
from afs.types import AFSFetchStatus, AFSFid, AFSVolSync
from fileserver import rights
from fileserver.interfaces import Damaged
from fileserver.procedures.base import Base, Untranslated, log, procedure
from rx.constants import RxgenCode
from rx.errors import Abort, RxError


class ACLs(Base):
    """See the module."""

    @procedure
    async def FetchACL(self, fid: AFSFid) -> tuple[bytes, AFSFetchStatus, AFSVolSync]:
        async with self.use(fid.Volume) as volume:
            volume.touch()
            async with self.opened(volume, fid) as target:
                rights.fetch_acl(target.vn.disk, target.access)
                try:
                    access_list = AccessList.from_bytes(target.acl)
                except BadAccessList as bad:
                    raise Damaged(f"{target.vn!r}: {bad}") from bad
                reported = target.status(self.server.now())
            sync = volume.volsync
        return await self._text(access_list), reported, sync

    @procedure
    async def StoreACL(self, fid: AFSFid, access_list: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        return await self._store_acl(fid, access_list)

    @procedure
    async def OldStoreACL(self, fid: AFSFid, access_list: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        """A client that uses this opcode may have put negative entries on the normal list (CVE-2018-7168)."""
        if self.server.rules.refuse_old_store_acl:
            log.warn("StoreACL by opcode 134 refused to {client}", client=self.user.address)
            raise Abort(RxgenCode.RXGEN_OPCODE)
        return await self._store_acl(fid, access_list)

    @procedure
    async def FlushCPS(self, ids: tuple[int, ...], addresses: tuple[int, ...], spare1: int) -> tuple[int, int]:
        """Ask the protection servers anew for the groups of these users and addresses. Administrators only."""
        if not self.user.caller.admin:
            raise Untranslated(errno.EPERM)
        self.server.clients.flush(ids, chain.from_iterable(map(_either_way, addresses)))
        return 0, 0

    async def _store_acl(self, fid: AFSFid, text: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Names are asked for before the directory is locked, but a caller without the right is told that first."""
        parsed = await self._parse(text)
        async with self.use(fid.Volume) as volume:
            volume.touch(wrote=True)
            async with volume.exclusive(fid) as (vn,):
                target = self.directory(volume, vn)
                rights.store_acl(target.access)
                if isinstance(parsed, Abort):
                    raise parsed
                now = self.server.now()
                vn.disk.acl = parsed.to_bytes()
                vn.disk.server_modify_time = int(now)
                await vn.save()
                self.void(fid, self.host)
                reported = target.status(now)
            return reported, volume.volsync

    async def _text(self, access_list: AccessList) -> bytes:
        """Raises Abort(EIO) when no protection server knows the names, as OpenAFS does."""
        try:
            return await access_list.to_text(self.server.names)
        except RxError as error:
            if error.code == errno.E2BIG:
                raise
            raise Abort(errno.EIO, f"no names: {error}") from error

    async def _parse(self, text: bytes) -> AccessList | Abort:
        """The list, or the refusal: EINVAL, as OpenAFS's, also when no protection server knows the names."""
        try:
            return await parse_acl(text, self.server.names)
        except RxError as error:
            return Abort(errno.EINVAL, str(error))


def _either_way(word: int) -> tuple[str, str]:
    """An address of FlushCPS, which OpenAFS takes in its machine's byte order: asking for one too many is harmless."""
    octets = IPv4Address(word & 0xFFFFFFFF).packed
    return str(IPv4Address(octets)), str(IPv4Address(octets[::-1]))
