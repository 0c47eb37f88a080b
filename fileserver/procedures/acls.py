"""Access lists: FetchACL, StoreACL (164, and 134 as clients before 2018 call it)."""

from __future__ import annotations

from afs.acl import AccessList, BadAccessList, parse_acl
from afs.types import AFSFetchStatus, AFSFid, AFSVolSync
from fileserver import rights
from fileserver.interfaces import Damaged
from fileserver.procedures.base import Base, log, procedure
from rx.constants import RxgenCode
from rx.errors import Abort


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
        return await access_list.to_text(self.server.names), reported, sync

    @procedure
    async def StoreACL(self, fid: AFSFid, access_list: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        return await self._store_acl(fid, access_list)

    @procedure
    async def OldStoreACL(self, fid: AFSFid, access_list: bytes) -> tuple[AFSFetchStatus, AFSVolSync]:
        """A client that uses this opcode may have put negative entries on the normal list (CVE-2018-7168)."""
        if self.server.refuse_old_store_acl:
            log.warn("StoreACL by opcode 134 refused to {client}", client=self.user.address)
            raise Abort(RxgenCode.RXGEN_OPCODE)
        return await self._store_acl(fid, access_list)

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
                broken = self.server.breaks.take(fid, self.host)
                reported = target.status(now)
            sync = volume.volsync
        await self.server.breaks.tell(broken)
        return reported, sync

    async def _parse(self, text: bytes) -> AccessList | Abort:
        try:
            return await parse_acl(text, self.server.names)
        except Abort as abort:
            return abort
