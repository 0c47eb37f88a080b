"""Entries listed by index and by attributes, in the forms of three decades."""

from __future__ import annotations

from collections.abc import Sequence

from afs.rpc.vl import (
    NMAXNSERVERS,
    OMAXNSERVERS,
    VldbListByAttributes,
    nvldb_list,
    nvldbentry,
    single_nvldbentry,
    single_vldbentry,
    vldb_list,
    vldbentry,
)
from vlserver.forms import n_form, old_form, unsigned
from vlserver.operations import listing
from vlserver.operations.listing import Attributes
from vlserver.operations.places import Entry
from vlserver.procedures.base import VLProcedures


class ListingProcedures(VLProcedures):
    """ListEntry, ListAttributes and LinkedList in their forms."""

    async def ListEntry(self, previous_index: int) -> tuple[int, int, vldbentry]:
        count, index, entry = await self._read(listing.next_entry, previous_index)
        return count, index, old_form(entry) if entry else vldbentry()

    async def ListEntryN(self, previous_index: int) -> tuple[int, int, nvldbentry]:
        count, index, entry = await self._read(listing.next_entry, previous_index)
        return count, index, n_form(entry) if entry else nvldbentry()

    async def ListAttributes(self, attributes: VldbListByAttributes) -> tuple[int, tuple[vldbentry, ...]]:
        found = await self._matching(attributes, OMAXNSERVERS)
        return len(found), tuple(map(old_form, found))

    async def ListAttributesN(self, attributes: VldbListByAttributes) -> tuple[int, tuple[nvldbentry, ...]]:
        found = await self._matching(attributes, NMAXNSERVERS)
        return len(found), tuple(map(n_form, found))

    async def LinkedList(self, attributes: VldbListByAttributes) -> tuple[int, vldb_list]:
        found = await self._matching(attributes, OMAXNSERVERS)
        node: single_vldbentry | None = None
        for entry in reversed(found):
            node = single_vldbentry(old_form(entry), node)
        return len(found), vldb_list(node)

    async def LinkedListN(self, attributes: VldbListByAttributes) -> tuple[int, nvldb_list]:
        found = await self._matching(attributes, NMAXNSERVERS)
        node: single_nvldbentry | None = None
        for entry in reversed(found):
            node = single_nvldbentry(n_form(entry), node)
        return len(found), nvldb_list(node)

    async def ListAttributesN2(
        self, attributes: VldbListByAttributes, volumename: bytes, startindex: int
    ) -> tuple[int, tuple[nvldbentry, ...], int]:
        if not listing.is_open_pattern(volumename):
            self._doorkeeper.require_administrator(self.call)
        found, following = await self._survey(listing.page, _attributes(attributes), volumename, startindex)
        return len(found), tuple(n_form(match.entry, match.index) for match in found), following

    async def _matching(self, attributes: VldbListByAttributes, site_limit: int) -> Sequence[Entry]:
        return await self._survey(listing.with_attributes, _attributes(attributes), site_limit)


def _attributes(wire: VldbListByAttributes) -> Attributes:
    return Attributes(wire.Mask, unsigned(wire.server), wire.partition, wire.volumeid, wire.flag)
