"""The entry forms of the wire: checked drafts out of what clients write, and entries as old, N and U form."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from afs.errors import VLError
from afs.names import is_volume_name
from afs.rpc.vl import NMAXNSERVERS, OMAXNSERVERS, VLSF_UUID, nvldbentry, uvldbentry, vldbentry
from afs.types import NIL_UUID
from rx.errors import Abort
from vlserver.operations.entries import Draft, NamedSite
from vlserver.operations.places import Entry
from vlserver.schema import PARTITION_NUMBERS, Server

MAX_SITE_FLAGS = 0x80
"""Site flags above this are refused (MAXSERVERFLAG)."""

RESERVED_FLAGS = (0x1, 0x8)
"""Flag words that mean a free block and an extension block in a stock database: no entry can have them."""


def is_entry_name(name: bytes) -> bool:
    """Whether an entry may have this name. Stock servers take an empty one, though nothing finds it again."""
    return not name or is_volume_name(name)


def draft(entry: vldbentry | nvldbentry) -> Draft:
    """What a client writes, checked in stock's order. Raises VL_BADNAME, _BADSERVER, _BADPARTITION, _BADSERVERFLAG."""
    if not is_entry_name(entry.name):
        raise Abort(VLError.VL_BADNAME)
    if not 0 < entry.nServers <= len(entry.serverNumber):
        raise Abort(VLError.VL_BADSERVER)
    if entry.flags in RESERVED_FLAGS:
        raise Abort(VLError.VL_BADENTRY)
    sites = [
        site(*fields)
        for fields in zip(entry.serverNumber[: entry.nServers], entry.serverPartition, entry.serverFlags, strict=False)
    ]
    rw_id, ro_id, bk_id = entry.volumeId
    return Draft(entry.name, (rw_id, ro_id, bk_id), tuple(sites), entry.cloneId, entry.flags)


def site(address: int, number: int, flags: int) -> NamedSite:
    """One site of a draft. Raises VL_BADPARTITION, VL_BADSERVERFLAG."""
    check_partition(number)
    check_site_flags(flags)
    return NamedSite(unsigned(address), number, flags)


def check_partition(number: int) -> None:
    """Raises VL_BADPARTITION."""
    if not 0 <= number < PARTITION_NUMBERS:
        raise Abort(VLError.VL_BADPARTITION)


def check_site_flags(flags: int) -> None:
    """Raises VL_BADSERVERFLAG."""
    if not 0 <= flags <= MAX_SITE_FLAGS:
        raise Abort(VLError.VL_BADSERVERFLAG)


def old_form(entry: Entry) -> vldbentry:
    """The 8-site form: a server is its first address, sites beyond the eighth are left out."""
    volume, sites = entry.volume, entry.sites[:OMAXNSERVERS]
    return vldbentry(
        name=volume.name,
        nServers=len(sites),
        serverNumber=_padded([_first_address(each.server) for each in sites], OMAXNSERVERS),
        serverPartition=_padded([each.number for each in sites], OMAXNSERVERS),
        serverFlags=_padded([each.flags for each in sites], OMAXNSERVERS),
        volumeId=volume.ids,
        cloneId=volume.clone_id,
        flags=volume.flags,
    )


def n_form(entry: Entry, matchindex: int = 0) -> nvldbentry:
    """The 13-site form: a server is its first address."""
    volume, sites = entry.volume, entry.sites
    return nvldbentry(
        name=volume.name,
        nServers=len(sites),
        serverNumber=_padded([_first_address(each.server) for each in sites], NMAXNSERVERS),
        serverPartition=_padded([each.number for each in sites], NMAXNSERVERS),
        serverFlags=_padded([each.flags for each in sites], NMAXNSERVERS),
        volumeId=volume.ids,
        cloneId=volume.clone_id,
        flags=volume.flags,
        matchindex=matchindex,
    )


def u_form(entry: Entry) -> uvldbentry:
    """The form with UUIDs: a server without one has its address in the UUID's first word, and no VLSF_UUID."""
    volume, sites = entry.volume, entry.sites
    return uvldbentry(
        name=volume.name,
        nServers=len(sites),
        serverNumber=(*(_uuid(each.server) for each in sites), *(NIL_UUID,) * (NMAXNSERVERS - len(sites))),
        serverUnique=_padded([signed(each.server.uniquifier) for each in sites], NMAXNSERVERS),
        serverPartition=_padded([each.number for each in sites], NMAXNSERVERS),
        serverFlags=_padded([each.flags | (VLSF_UUID if each.server.uuid else 0) for each in sites], NMAXNSERVERS),
        volumeId=volume.ids,
        cloneId=volume.clone_id,
        flags=volume.flags,
    )


def unsigned(word: int) -> int:
    """An address, or another 32-bit number, that travelled signed."""
    return word & 0xFFFFFFFF


def signed(word: int) -> int:
    """An address, or another 32-bit number, as it travels where the interface declares it signed."""
    return word - (1 << 32) if word & 0x80000000 else word


def _first_address(server: Server) -> int:
    return signed(server.addresses[0]) if server.addresses else 0


def _uuid(server: Server) -> UUID:
    return server.uuid or UUID(int=server.addresses[0] << 96)


def _padded(values: Sequence[int], size: int) -> tuple[int, ...]:
    return (*values, *(0,) * (size - len(values)))
