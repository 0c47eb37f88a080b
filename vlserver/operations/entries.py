"""Entries: found, created, replaced, deleted, and the ids that are given to new volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from afs.errors import VLError
from afs.names import base_name, is_numeric_name
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.operations.locks import released
from vlserver.operations.places import Entry, Places, partition_for
from vlserver.operations.servers import server_named
from vlserver.schema import FIRST_VOLUME_ID, MAX_VOLUME_ID, Site, Volume

ANY_TYPE = -1
"""The volume type by which an id is looked for among read-write, then read-only, then backup ids."""

VLDELETED = 0x2
"""The entry flag of a deleted entry (vlserver.p.h); stock programs read it but never set it."""

MAX_BUMP = 0x7FFFFFFF
"""Ids that may be reserved at once (MAXBUMPCOUNT)."""

LAST_VOLUME_ID = 0xFFFFFFFF
"""Volume ids are unsigned 32-bit numbers."""

_LONGEST_UNSIGNED = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class NamedSite:
    """A site as a client writes it: a server's address, a partition number there, VLSF flags."""

    address: int
    number: int
    flags: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry as a client writes it, already checked by the form it came in (vlserver/forms.py)."""

    name: bytes
    ids: tuple[int, int, int]
    sites: tuple[NamedSite, ...]
    clone_id: int
    flags: int


def locate(transaction: ITransaction, volume_id: int, kind: int) -> Volume:
    """The entry with this id of this type, deleted or not. Raises VL_NOENT."""
    for each in range(3) if kind == ANY_TYPE else (kind,):
        found = transaction.volume_with_id(volume_id, each)
        if found is not None:
            return found
    raise Abort(VLError.VL_NOENT)


def locate_named(transaction: ITransaction, name: bytes) -> Volume | None:
    """The entry whose name this is, with or without a clone's suffix."""
    return transaction.volume_named(base_name(name))


def find(transaction: ITransaction, volume_id: int, kind: int) -> Volume:
    """As `locate`; a deleted entry raises VL_ENTDELETED."""
    return _alive(locate(transaction, volume_id, kind))


def _alive(volume: Volume) -> Volume:
    if volume.flags & VLDELETED:
        raise Abort(VLError.VL_ENTDELETED)
    return volume


def entry_by_id(transaction: ITransaction, volume_id: int, kind: int) -> Entry:
    """GetEntryByID in all its forms."""
    return Places(transaction).entry(find(transaction, volume_id, kind))


def entry_by_name(transaction: ITransaction, name: bytes) -> Entry:
    """GetEntryByName in all its forms."""
    return Places(transaction).entry(volume_by_name(transaction, name))


def volume_by_name(transaction: ITransaction, name: bytes) -> Volume:
    """The entry of this name. One of digits alone, even none, is an id, cut to 32 bits as strtoul's is."""
    if is_numeric_name(name):
        return find(transaction, min(int(name or b"0"), _LONGEST_UNSIGNED) & LAST_VOLUME_ID, ANY_TYPE)
    found = locate_named(transaction, name)
    if found is None:
        raise Abort(VLError.VL_NOENT)
    return _alive(found)


def create(transaction: ITransaction, draft: Draft, new_uuid: Callable[[], UUID]) -> None:
    """CreateEntry(N). The locks of a new entry are clear."""
    _refuse_used_ids(transaction, draft.ids)
    if locate_named(transaction, draft.name) is not None:
        raise Abort(VLError.VL_NAMEEXIST)
    if not draft.ids[0] and transaction.volume_with_id(0, 0) is not None:
        raise Abort(VLError.VL_IDALREADYHASHED)
    sites = _sites(transaction, draft, None, new_uuid)
    volume = Volume(0, draft.name, draft.ids, sites, draft.clone_id, draft.flags, name_order=transaction.revision)
    transaction.add_volume(volume)


def delete(transaction: ITransaction, volume_id: int, kind: int) -> None:
    """DeleteEntry; the entry need not be locked."""
    transaction.remove_volume(find(transaction, volume_id, kind).key)


def replace_entry(
    transaction: ITransaction,
    volume_id: int,
    kind: int,
    draft: Draft,
    release_type: int,
    new_uuid: Callable[[], UUID],
) -> None:
    """ReplaceEntryN: everything but the read-write id and the lock. A name that is another's too is not refused."""
    old = locate(transaction, volume_id, kind)
    if draft.ids[0] != old.ids[0]:
        raise Abort(VLError.VL_BADENTRY)
    for each in (1, 2):
        other = draft.ids[each] and transaction.volume_with_id(draft.ids[each], each)
        if other and other.key != old.key:
            raise Abort(VLError.VL_IDALREADYHASHED)
    new = replace(
        old,
        name=draft.name,
        name_order=old.name_order if draft.name == old.name else transaction.revision,
        ids=draft.ids,
        sites=_sites(transaction, draft, old, new_uuid),
        clone_id=draft.clone_id,
        flags=draft.flags,
    )
    transaction.put_volume(released(new, release_type))


def replace_old_entry(
    transaction: ITransaction,
    volume_id: int,
    kind: int,
    draft: Draft,
    release_type: int,
    new_uuid: Callable[[], UUID],
) -> None:
    """ReplaceEntry: as `replace_entry`, but new ids and a new name must not be anybody's."""
    old = locate(transaction, volume_id, kind)
    if draft.ids[0] != old.ids[0]:
        raise Abort(VLError.VL_BADENTRY)
    _refuse_used_ids(transaction, tuple(new for new, was in zip(draft.ids, old.ids, strict=True) if new != was))
    if draft.name != old.name and locate_named(transaction, draft.name) is not None:
        raise Abort(VLError.VL_NAMEEXIST)
    replace_entry(transaction, volume_id, kind, draft, release_type, new_uuid)


def check_bump(bump: int) -> None:
    """How many ids may be reserved, or VL_BADVOLIDBUMP."""
    if bump > MAX_BUMP:
        raise Abort(VLError.VL_BADVOLIDBUMP)


def new_volume_id(transaction: ITransaction, bump: int) -> int:
    """GetNewVolumeId: the first of `bump` consecutive ids that no entry uses; the next call starts behind them."""
    first = max_volume_id(transaction)
    if bump == 0:
        return first
    used = transaction.next_used_id(first)
    while used is not None and used < first + bump:
        first = used + 1
        used = transaction.next_used_id(first)
    if first + bump > LAST_VOLUME_ID:
        raise Abort(VLError.VL_BADVOLIDBUMP)
    transaction.set_setting(MAX_VOLUME_ID, first + bump)
    return first


def max_volume_id(transaction: ITransaction) -> int:
    """Where the search for unused ids starts."""
    stored = transaction.setting(MAX_VOLUME_ID)
    return FIRST_VOLUME_ID if stored is None else stored


def is_id_used(transaction: ITransaction, volume_id: int) -> bool:
    """Whether any entry has this id, of whatever type. 0 is no id."""
    return bool(volume_id) and transaction.next_used_id(volume_id) == volume_id


def _refuse_used_ids(transaction: ITransaction, ids: tuple[int, ...]) -> None:
    if any(is_id_used(transaction, each) for each in ids):
        raise Abort(VLError.VL_IDEXIST)


def _sites(
    transaction: ITransaction, draft: Draft, volume: Volume | None, new_uuid: Callable[[], UUID]
) -> tuple[Site, ...]:
    """The partition objects that the draft's sites mean; a server known by no address yet is added."""
    sites = []
    for site in draft.sites:
        server = server_named(transaction, site.address)
        sites.append(Site(partition_for(transaction, server.slot, site.number, volume, new_uuid), site.flags))
    return tuple(sites)
