"""Entries found, created, replaced and deleted. What is asked again and again is answered from kept replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from afs.errors import VLError
from afs.names import is_numeric_name, is_volume_name
from afs.rpc.vl import VldbUpdateEntry, nvldbentry, uvldbentry, vldbentry
from rx.errors import Abort
from rx.service import Encoded
from vlserver.forms import draft, n_form, old_form, u_form
from vlserver.interfaces import ITransaction
from vlserver.operations import entries
from vlserver.operations.locks import check_release_type
from vlserver.operations.places import Entry
from vlserver.operations.update import update
from vlserver.procedures.base import VLProcedures
from xdr import codec

VOLUME_TYPES = (entries.ANY_TYPE, 0, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """An entry form: from an entry to its encoded reply. Also a part of the key that a reply is kept under."""

    encode: Callable[[Entry], bytes]


_old_codec, _n_codec, _u_codec = codec(vldbentry), codec(nvldbentry), codec(uvldbentry)

OLD = Form(lambda entry: _old_codec.encode(old_form(entry)))
N = Form(lambda entry: _n_codec.encode(n_form(entry)))
U = Form(lambda entry: _u_codec.encode(u_form(entry)))


class EntryProcedures(VLProcedures):
    """CreateEntry .. UpdateEntryByName in their forms."""

    async def CreateEntry(self, newentry: vldbentry) -> None:
        await self._write(entries.create, draft(newentry), self._database.new_uuid)

    async def CreateEntryN(self, newentry: nvldbentry) -> None:
        await self._write(entries.create, draft(newentry), self._database.new_uuid)

    async def DeleteEntry(self, volid: int, voltype: int) -> None:
        check_volume_type(voltype)
        await self._write(entries.delete, volid, voltype)

    async def GetEntryByID(self, volid: int, voltype: int) -> vldbentry:
        reply: vldbentry = await self._by_id(OLD, volid, voltype)
        return reply

    async def GetEntryByIDN(self, volid: int, voltype: int) -> nvldbentry:
        reply: nvldbentry = await self._by_id(N, volid, voltype)
        return reply

    async def GetEntryByNameO(self, volumename: bytes) -> vldbentry:
        reply: vldbentry = await self._by_name(OLD, volumename)
        return reply

    async def GetEntryByNameN(self, volumename: bytes) -> nvldbentry:
        reply: nvldbentry = await self._by_name(N, volumename)
        return reply

    async def GetEntryByNameU(self, volumename: bytes) -> uvldbentry:
        reply: uvldbentry = await self._by_name(U, volumename)
        return reply

    async def GetNewVolumeId(self, bumpcount: int) -> int:
        entries.check_bump(bumpcount)
        return await self._write(entries.new_volume_id, bumpcount)

    async def ReplaceEntry(self, volid: int, voltype: int, newentry: vldbentry, release_type: int) -> None:
        new = draft(newentry)
        check_volume_type(voltype)
        check_release_type(release_type)
        await self._write(entries.replace_old_entry, volid, voltype, new, release_type, self._database.new_uuid)

    async def ReplaceEntryN(self, volid: int, voltype: int, newentry: nvldbentry, release_type: int) -> None:
        new = draft(newentry)
        check_volume_type(voltype)
        check_release_type(release_type)
        await self._write(entries.replace_entry, volid, voltype, new, release_type, self._database.new_uuid)

    async def UpdateEntry(self, volid: int, voltype: int, update_entry: VldbUpdateEntry, release_type: int) -> None:
        check_volume_type(voltype)
        check_release_type(release_type)

        def work(transaction: ITransaction) -> None:
            volume = entries.locate(transaction, volid, voltype)
            update(transaction, volume, update_entry, release_type, self._database.new_uuid)

        await self._write(work)

    async def UpdateEntryByName(self, volumename: bytes, update_entry: VldbUpdateEntry, release_type: int) -> None:
        check_release_type(release_type)

        def work(transaction: ITransaction) -> None:
            volume = entries.locate_named(transaction, volumename)
            if volume is None:
                raise Abort(VLError.VL_NOENT)
            update(transaction, volume, update_entry, release_type, self._database.new_uuid)

        await self._write(work)

    async def _by_id(self, form: Form, volid: int, voltype: int) -> Any:
        """The encoded reply: Any, because it stands for the entry that the RPC returns."""
        kept = self._database.replies.get((form, volid, voltype))
        if kept is not None:
            return kept
        check_volume_type(voltype)
        revision = self._database.store.revision
        entry = await self._read(entries.entry_by_id, volid, voltype)
        return self._keep((form, volid, voltype), Encoded(form.encode(entry)), revision)

    async def _by_name(self, form: Form, name: bytes) -> Any:
        """As `_by_id`."""
        kept = self._database.replies.get((form, name))
        if kept is not None:
            return kept
        if not is_numeric_name(name) and not is_volume_name(name):
            raise Abort(VLError.VL_BADNAME)
        revision = self._database.store.revision
        entry = await self._read(entries.entry_by_name, name)
        return self._keep((form, name), Encoded(form.encode(entry)), revision)

    def _keep(self, key: tuple[object, ...], reply: Encoded, revision: int) -> Encoded:
        self._database.replies.keep(key, reply, revision)
        return reply


def check_volume_type(kind: int) -> None:
    """-1, 0, 1 or 2, or VL_BADVOLTYPE."""
    if kind not in VOLUME_TYPES:
        raise Abort(VLError.VL_BADVOLTYPE)
