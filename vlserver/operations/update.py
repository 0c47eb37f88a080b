"""UpdateEntry: the parts of an entry that a mask names, changed one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import (
    OMAXNSERVERS,
    VLUPDATE_BACKUPID,
    VLUPDATE_CLONEID,
    VLUPDATE_FLAGS,
    VLUPDATE_READONLYID,
    VLUPDATE_REPS_ADD,
    VLUPDATE_REPS_DELETE,
    VLUPDATE_REPS_MODFLAG,
    VLUPDATE_REPS_MODPART,
    VLUPDATE_REPS_MODSERV,
    VLUPDATE_REPSITES,
    VLUPDATE_RWID,
    VLUPDATE_VOLNAMEHASH,
    VLUPDATE_VOLUMENAME,
    VldbUpdateEntry,
)
from rx.errors import Abort
from vlserver.forms import RESERVED_FLAGS, check_partition, check_site_flags, is_entry_name, unsigned
from vlserver.interfaces import ITransaction
from vlserver.operations.entries import is_id_used, locate_named
from vlserver.operations.locks import released
from vlserver.operations.places import Places, partition_for
from vlserver.operations.servers import server_named
from vlserver.schema import Site, Volume

_IDS = (VLUPDATE_RWID, VLUPDATE_READONLYID, VLUPDATE_BACKUPID)


def update(
    transaction: ITransaction,
    volume: Volume,
    change: VldbUpdateEntry,
    release_type: int,
    new_uuid: Callable[[], UUID],
) -> None:
    """UpdateEntry and UpdateEntryByName on an entry that has been found."""
    volume = _with_ids(transaction, volume, change)
    if change.Mask & VLUPDATE_VOLUMENAME:
        if not is_entry_name(change.name):
            raise Abort(VLError.VL_BADNAME)
        if locate_named(transaction, change.name) is not None:
            raise Abort(VLError.VL_NAMEEXIST)
        volume = replace(volume, name=change.name, name_order=transaction.revision)
    if change.Mask & VLUPDATE_VOLNAMEHASH:
        volume = replace(volume, name_order=transaction.revision)
    if change.Mask & VLUPDATE_FLAGS:
        if change.flags in RESERVED_FLAGS:
            raise Abort(VLError.VL_BADENTRY)
        volume = replace(volume, flags=change.flags)
    if change.Mask & VLUPDATE_CLONEID:
        volume = replace(volume, clone_id=change.cloneId)
    if change.Mask & VLUPDATE_REPSITES:
        volume = _with_sites(transaction, volume, change, new_uuid)
    transaction.put_volume(released(volume, release_type))


def _with_ids(transaction: ITransaction, volume: Volume, change: VldbUpdateEntry) -> Volume:
    """New ids must be nobody's, this entry included."""
    named = (unsigned(change.spares3), change.ReadOnlyId, change.BackupId)
    chosen = [bool(change.Mask & bit) for bit in _IDS]
    if any(wanted and is_id_used(transaction, new) for wanted, new in zip(chosen, named, strict=True)):
        raise Abort(VLError.VL_IDEXIST)
    rw_id, ro_id, bk_id = (new if wanted else old for wanted, new, old in zip(chosen, named, volume.ids, strict=True))
    if rw_id == 0 != volume.ids[0] and transaction.volume_with_id(0, 0) is not None:
        raise Abort(VLError.VL_IDALREADYHASHED)
    return replace(volume, ids=(rw_id, ro_id, bk_id))


def _with_sites(
    transaction: ITransaction, volume: Volume, change: VldbUpdateEntry, new_uuid: Callable[[], UUID]
) -> Volume:
    """Each of up to eight changes deletes, adds or alters a site, which it names by server and partition number."""
    if not 0 < change.nModifiedRepsites <= OMAXNSERVERS:
        raise Abort(VLError.VL_BADSERVER)
    for position in range(change.nModifiedRepsites):
        volume = _SiteChange(transaction, change, position, new_uuid).applied(volume)
    return volume


class _SiteChange:
    """One position of the RepSites arrays."""

    def __init__(
        self, transaction: ITransaction, change: VldbUpdateEntry, position: int, new_uuid: Callable[[], UUID]
    ) -> None:
        self._transaction = transaction
        self._new_uuid = new_uuid
        self._mask = change.RepsitesMask[position]
        self._target = unsigned(change.RepsitesTargetServer[position]), change.RepsitesTargetPart[position]
        self._new = unsigned(change.RepsitesNewServer[position]), change.RepsitesNewPart[position]
        self._flags = change.RepsitesNewFlags[position]

    def applied(self, volume: Volume) -> Volume:
        """The volume after this change. After a change of server or number the site goes by its old name no more."""
        check_partition(self._target[1])
        if self._mask & VLUPDATE_REPS_DELETE:
            volume = self._replaced(volume, self._position(volume, *self._target), ())
        if self._mask & VLUPDATE_REPS_ADD:
            volume = self._added(volume)
        if self._mask & VLUPDATE_REPS_MODSERV:
            volume = self._moved(volume, self._new[0], self._target[1])
        if self._mask & VLUPDATE_REPS_MODPART:
            check_partition(self._new[1])
            volume = self._moved(volume, self._target[0], self._new[1])
        if self._mask & VLUPDATE_REPS_MODFLAG:
            at = self._position(volume, *self._target)
            check_site_flags(self._flags)
            volume = self._replaced(volume, at, (replace(volume.sites[at], flags=self._flags),))
        return volume

    def _added(self, volume: Volume) -> Volume:
        check_partition(self._new[1])
        if self._find(volume, *self._new) is not None:
            raise Abort(VLError.VL_DUPREPSERVER)
        if len(volume.sites) >= OMAXNSERVERS:
            raise Abort(VLError.VL_REPSFULL)
        uuid = self._partition(volume, *self._new)
        check_site_flags(self._flags)
        return replace(volume, sites=(*volume.sites, Site(uuid, self._flags)))

    def _moved(self, volume: Volume, address: int, number: int) -> Volume:
        at = self._position(volume, *self._target)
        moved = replace(volume.sites[at], partition=self._partition(volume, address, number))
        return self._replaced(volume, at, (moved,))

    def _replaced(self, volume: Volume, at: int, sites: tuple[Site, ...]) -> Volume:
        return replace(volume, sites=(*volume.sites[:at], *sites, *volume.sites[at + 1 :]))

    def _partition(self, volume: Volume, address: int, number: int) -> UUID:
        slot = server_named(self._transaction, address).slot
        return partition_for(self._transaction, slot, number, volume, self._new_uuid)

    def _position(self, volume: Volume, address: int, number: int) -> int:
        at = self._find(volume, address, number)
        if at is None:
            raise Abort(VLError.VL_NOREPSERVER)
        return at

    def _find(self, volume: Volume, address: int, number: int) -> int | None:
        places = Places(self._transaction)
        for at, site in enumerate(volume.sites[:OMAXNSERVERS]):
            place = places.place(site.partition)
            if place is not None and address in place.server.addresses and place.number == number:
                return at
        return None
