"""Entries of the VLDB as stock vos shows them, and the volumes that names mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred

from afs.location import BACKUP, RO, RW
from afs.names import BACKUP_SUFFIX, READONLY_SUFFIX, VOLUME_NAME_MAX, base_name
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_BACKUP,
    VLOP_DELETE,
    VLOP_DUMP,
    VLOP_MOVE,
    VLOP_RELEASE,
    VLSF_DONTUSE,
    VLSF_NEWREPSITE,
    VLSF_RWVOL,
    VldbListByAttributes,
    nvldbentry,
)
from rx.constants import RxgenCode
from rx.errors import Abort
from vos.output import vice_name
from vos.session import Session

LAST_PAGE = -1

_LOCKS = {
    VLOP_MOVE: "a move",
    VLOP_RELEASE: "a release",
    VLOP_BACKUP: "a backup",
    VLOP_DELETE: "a delete/misc",
    VLOP_DUMP: "a dump/restore",
}

LOCKED = sum(_LOCKS)
"""The flags of an entry that is locked for whatever it be."""


async def volume_id(session: Session, name: str) -> int:
    """The volume that a name or number means; of a name with a clone's suffix the clone. 0: the entry has none of the
    kind. Raises Abort.
    """
    if name.isascii() and name.isdigit() and int(name) < 0xFFFF_FFFF:
        return int(name)
    encoded = name.encode("utf-8", "surrogateescape")
    entry = await session.vl.GetEntryByNameN(base_name(encoded[: VOLUME_NAME_MAX + 1]))
    kind = RO if encoded.endswith(READONLY_SUFFIX) else BACKUP if encoded.endswith(BACKUP_SUFFIX) else RW
    return entry.volumeId[kind]


async def list_entries(
    session: Session, wanted: VldbListByAttributes, *, ahead: bool = False
) -> AsyncIterator[tuple[nvldbentry, ...]]:
    """The entries that are wanted, a page at a time. Raises Abort, CallLost.

    With `ahead` the next page is asked for before one is given out: what is done with one changes nothing then.
    """
    index = 0
    asked = Deferred.fromCoroutine(_page(session, wanted, index))
    try:
        while index != LAST_PAGE:
            entries, index = await asked
            if index != LAST_PAGE and ahead:
                asked = Deferred.fromCoroutine(_page(session, wanted, index))
            yield entries
            if index != LAST_PAGE and not ahead:
                asked = Deferred.fromCoroutine(_page(session, wanted, index))
    finally:
        asked.addErrback(lambda _: None)  # of a page that nobody waits for any more
        asked.cancel()


async def _page(session: Session, wanted: VldbListByAttributes, index: int) -> tuple[tuple[nvldbentry, ...], int]:
    try:
        _, entries, index = await session.vl.ListAttributesN2(wanted, b"", index)
    except Abort as refusal:
        if refusal.code != RxgenCode.RXGEN_OPCODE:
            raise
        _, entries = await session.vl.ListAttributesN(wanted)
        return entries, LAST_PAGE
    return entries, index


class EntryTexts:
    """Entries as stock vos shows them. The lines of sites, which many entries have in common, are made once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sites: dict[tuple[tuple[int, ...], ...], str] = {}

    def named(self, entry: nvldbentry, locks: bool = True) -> str:
        """An entry with its name, and an empty line before it."""
        return f"\n{text(entry.name)} \n{self.plain(entry, locks)}"

    def plain(self, entry: nvldbentry, locks: bool = True) -> str:
        """An entry without its name: ids, sites and, with `locks`, whether it is locked."""
        flags, (readwrite, readonly, backup) = entry.flags, entry.volumeId
        shown = f"    RWrite: {readwrite:<10}" if flags & VLF_RWEXISTS else ""
        if flags & VLF_ROEXISTS:
            shown += f"    ROnly: {readonly:<10}"
        if flags & VLF_BACKEXISTS:
            shown += f"    Backup: {backup:<10}"
        if entry.cloneId and flags & VLF_ROEXISTS:
            shown += f"    RClone: {entry.cloneId:<10}"
        count = entry.nServers
        sites = entry.serverNumber[:count], entry.serverPartition[:count], entry.serverFlags[:count]
        shown += f"\n    number of sites -> {count}\n{self._sites.get(sites) or self._made(entry, sites)}"
        return shown + "".join(f"{line}\n" for line in _lock_lines(flags)) if locks and flags & LOCKED else shown

    def _made(self, entry: nvldbentry, sites: tuple[tuple[int, ...], ...]) -> str:
        """The lines of sites, kept for the next entry that has them."""
        mixed = any(flags & VLSF_NEWREPSITE for _, _, flags in sites_of(entry))
        lines = self._sites[sites] = "".join(
            f"       server {self._session.name(address)} partition {vice_name(number)} "
            f"{'RW' if flags & VLSF_RWVOL else 'RO'} Site {_release(flags, mixed)}\n"
            for address, number, flags in sites_of(entry)
        )
        return lines


def entry_lines(session: Session, entry: nvldbentry, locks: bool = True) -> Iterator[str]:
    """The lines of an entry without its name."""
    yield from EntryTexts(session).plain(entry, locks).splitlines()


def named_entry_lines(session: Session, entry: nvldbentry, locks: bool = True) -> Iterator[str]:
    """The same with its name, and a line before it."""
    yield from EntryTexts(session).named(entry, locks).splitlines()


def sites_of(entry: nvldbentry) -> Iterator[tuple[IPv4Address, int, int]]:
    """(server, partition, flags) of each site."""
    count = max(0, min(entry.nServers, len(entry.serverFlags)))
    for server, partition, flags in zip(
        entry.serverNumber[:count], entry.serverPartition[:count], entry.serverFlags[:count], strict=True
    ):
        yield IPv4Address(server & 0xFFFF_FFFF), partition, flags


def entry_data(session: Session, entry: nvldbentry) -> dict[str, Any]:
    """An entry for JSON. An id is null where the entry says that there is no such volume."""
    exists = ((VLF_RWEXISTS, "readwrite", RW), (VLF_ROEXISTS, "readonly", RO), (VLF_BACKEXISTS, "backup", BACKUP))
    return {
        "name": text(entry.name),
        **{name: entry.volumeId[kind] if entry.flags & flag else None for flag, name, kind in exists},
        "locked": bool(entry.flags & LOCKED),
        "sites": [
            {
                "server": session.name(address),
                "address": str(address),
                "partition": vice_name(number),
                "kind": "RW" if flags & VLSF_RWVOL else "RO",
                "flags": flags,
            }
            for address, number, flags in sites_of(entry)
        ],
    }


def text(words: bytes) -> str:
    """Bytes of a name as they were."""
    return words.decode("utf-8", "surrogateescape")


def _release(flags: int, mixed: bool) -> str:
    """What a release that broke off has left."""
    if not mixed:
        return " -- Not released" if flags & VLSF_DONTUSE else ""
    if flags & VLSF_NEWREPSITE:
        return " -- New release"
    return "" if flags & VLSF_RWVOL else " -- Old release"


def _lock_lines(flags: int) -> Iterator[str]:
    if flags & LOCKED:
        yield "    Volume is currently LOCKED  "
        for flag, what in _LOCKS.items():
            if flags & flag:
                yield f"    Volume is locked for {what} operation"
