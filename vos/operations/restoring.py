"""A volume made of a dump, or brought up to date by one (vsprocs.c UV_RestoreVolume2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from afs.errors import VLError, VolserError, VolumeError
from afs.location import BACKUP, RO, RW
from afs.names import READONLY_SUFFIX, READWRITE_NAME_MAX, VOLUME_NAME_MAX
from afs.rpc.vl import VLF_ROEXISTS, VLF_RWEXISTS, VLOP_DUMP, VLSF_ROVOL, VLSF_RWVOL, nvldbentry
from afs.rpc.volser import ITOffline, VTOutOfService, restoreCookie, volser_status
from rx.errors import Abort, RxError
from rx.streams import Source
from vos.entries import named_entry_lines
from vos.errors import error_text
from vos.operations import entries
from vos.operations.clones import READ_ONLY, READ_WRITE, add_deletion
from vos.operations.creating import no_changes
from vos.operations.deletion import Replaced, delete_volume, network_order
from vos.operations.locations import Location
from vos.operations.steps import explained, refuse, step
from vos.operations.transactions import Transaction, adopt, begin
from vos.operations.unhurried import unhurried
from vos.output import vice_name
from vos.undo import Undo


class Date(Enum):
    """Where a date of the restored volume is from: the dump, the volume that was there, or the clock."""

    DUMP = "dump"
    KEEP = "keep"
    NEW = "new"


class NotRead(Exception):
    """What a source raises that cannot go on; why has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Restore:
    """How a volume is to be restored: with `full` what has its id at the place is deleted first, otherwise the dump is
    applied to it. `id` and `parent`, the read-write volume's id, may be 0 for what the VLDB says, or a new one.
    """

    name: bytes
    id: int = 0
    parent: int = 0
    full: bool = True
    readonly: bool = False
    offline: bool = False
    creation: Date = Date.KEEP
    lastupdate: Date = Date.DUMP
    nodelete: bool = False
    """What the VLDB names at another place stays there."""


async def restore_volume(
    at: Location,
    source: Source,
    how: Restore,
    *,
    check: Callable[[], None] | None = None,
    again: str = "the same restore, once more",
) -> int:
    """Restore a volume from a dump, and its entry in the VLDB; its id. Raises OperationFailed, and what the source
    raises but NotRead.

    `check` raises NotRead for a dump that is none, before anything is deleted for it: stock finds it out afterwards.
    `again` is the command that does the same once more.
    """
    with explained(at.session):
        return await _Restoring(at, source, how, check, again).run()


class _Restoring:
    """See the module."""

    def __init__(
        self, at: Location, source: Source, how: Restore, check: Callable[[], None] | None, again: str
    ) -> None:
        self._session = at.session
        self._at = at
        self._source = source
        self._how = how
        self._check = check
        self._again = again
        self._kind = RO if how.readonly else RW
        self._volume = how.id
        self._parent = how.parent
        self._new_entry = False

    async def run(self) -> int:
        await self._find_ids()
        name = self._full_name()
        shown, text = name.decode("utf-8", "surrogateescape"), vice_name(self._at.partition)
        output = self._session.output
        output.now(f"Restoring volume {shown} Id {self._volume} on server {self._at.host} partition {text} ..")
        self._need_whole()
        async with Undo(output) as undo:
            status = await self._fill(undo, name)
            output.now(" done\n")
            undo.keep()
        if self._new_entry or self._how.full:
            await unhurried(self._list(status), lambda _: None)  # the data is there, and this is soon over
        return self._volume

    async def _find_ids(self) -> None:
        """The ids of the volume and of its read-write volume."""
        session, how = self._session, self._how
        if not self._volume:
            name = how.name.decode("utf-8", "surrogateescape")
            try:
                entry = await session.vl.GetEntryByNameN(how.name)
            except Abort as refusal:
                if refusal.code != VLError.VL_NOENT:
                    with step(session, f"Could not get an Id for the volume {name}"):
                        raise
                with step(session, f"Could not get an Id for the volume {name}"):
                    self._volume = await session.vl.GetNewVolumeId(1)
                self._new_entry = True
            else:
                if how.readonly and entry.flags & VLF_RWEXISTS:
                    text = f"Entry for ReadWrite volume {name} already exists!"
                    raise refuse(session, text, VolserError.VOLSERBADOP)
                if how.readonly and not entry.volumeId[RO]:
                    text = f"Existing entry for volume {name} has no ReadOnly ID"
                    raise refuse(session, text, VolserError.VOLSERBADOP)
                self._volume = entry.volumeId[self._kind]
                self._parent = entry.volumeId[RW]
        self._parent = self._parent or self._volume

    def _full_name(self) -> bytes:
        name, suffixed = self._how.name, self._how.readonly and self._parent != self._volume
        if len(name) > (READWRITE_NAME_MAX if suffixed else VOLUME_NAME_MAX):
            shown = name.decode("utf-8", "surrogateescape")
            text = f"The volume name {shown} exceeds the maximum limit of (VOLSER_OLDMAXVOLNAME -1 ) bytes"
            shown_error = f"\n{text}\n   {error_text(VolserError.VOLSERBADOP)}"
            raise refuse(self._session, shown_error, VolserError.VOLSERBADOP)
        return name + READONLY_SUFFIX if suffixed else name

    def _need_whole(self) -> None:
        try:
            if self._check is not None:
                self._check()
        except NotRead as problem:
            raise refuse(self._session, "Could not transmit data", problem.code) from problem

    async def _fill(self, undo: Undo, name: bytes) -> volser_status:
        """The volume is complete and in service when this returns. What it was in the dump."""
        session, volume, how = self._session, self._volume, self._how
        volser = self._at.volser
        trans, old = await self._open(undo, name)
        partly = None
        if old is not None and not how.full:
            partly = undo.note(left=f"volume {volume} at {self._at}, restored in part", remedy=self._again)
        cookie = restoreCookie(name=name, type=self._kind, parent=self._parent, clone=0)
        await self._transmit(trans, cookie)
        with step(session, f"Could not get status information about the volume {volume}"):
            status = await volser.GetStatus(trans.id)
        old = old or volser_status()
        with step(session, f"Could not set the right type and IDs on {volume}"):
            await volser.SetIdsTypes(trans.id, name, self._kind, self._parent, old.cloneID, old.backupID)
        now = int(time.time())
        created = {Date.DUMP: status.creationDate, Date.KEEP: old.creationDate or now, Date.NEW: now}[how.creation]
        updated = {Date.DUMP: status.updateDate, Date.KEEP: old.updateDate, Date.NEW: now}[how.lastupdate]
        with step(session, f"Could not set the 'creation' date on {volume}"):
            await volser.SetDate(trans.id, created)
        dates = no_changes()
        dates.creationDate, dates.updateDate = created, updated
        with step(session, f"Could not set the 'last updated' date on {volume}"):
            await volser.SetInfo(trans.id, dates)
        with step(session, f"Could not mark {volume} online"):
            await volser.SetFlags(trans.id, VTOutOfService if how.offline else 0)
        with step(session, f"Could not end transaction on {volume}"):
            await trans.end()
        if partly is not None:
            undo.forget(partly)
        return status

    async def _open(self, undo: Undo, name: bytes) -> tuple[Transaction, volser_status | None]:
        """A transaction on the volume that is to be filled; and what it, or that it takes the place of, was."""
        session, at, volume = self._session, self._at, self._volume
        if self._how.full:
            old = await delete_volume(at, volume, "the previous", replaced=Replaced(undo, self._again))
            return await self._create(undo, name), old
        with step(session, f"Failed to start transaction on {volume}", explained=True):
            try:
                trans = await begin(session, undo, at.server, at.partition, volume, ITOffline)
            except Abort as refusal:
                if refusal.code != VolumeError.VNOVOL:
                    raise
                return await self._create(undo, name), None
        with step(session, f"Could not get timestamp from volume {volume}", explained=True):
            return trans, await at.volser.GetStatus(trans.id)

    async def _create(self, undo: Undo, name: bytes) -> Transaction:
        session, at, volume = self._session, self._at, self._volume

        def made(result: tuple[int, int]) -> Transaction:
            add_deletion(undo, at, volume, f"the incomplete volume {volume}")
            return adopt(session, undo, at.server, result[1], volume)

        kind = READ_ONLY if self._how.readonly else READ_WRITE
        with step(session, f"Could not create new volume {volume}", explained=True):
            return await unhurried(at.volser.CreateVolume(at.partition, name, kind, self._parent, volume), made)

    async def _transmit(self, trans: Transaction, cookie: restoreCookie) -> None:
        session = self._session
        try:
            await self._at.volser.Restore(trans.id, 1, cookie, self._source)
        except NotRead as problem:
            raise refuse(session, "Could not transmit data", problem.code) from problem
        except RxError as problem:
            raise refuse(session, "rx_EndCall Failed ", problem.code) from problem

    async def _list(self, status: volser_status) -> None:
        """The entry says where the volume is."""
        session, volume = self._session, self._volume
        with step(session, f"Could not fetch the entry for volume number {volume} from VLDB "):
            try:
                entry = await session.vl.GetEntryByIDN(volume, self._kind)
            except Abort as refusal:
                if refusal.code not in (VLError.VL_NOENT, VLError.VL_ENTDELETED):
                    raise
                entry = None
        if entry is None:
            await self._list_anew(status)
        else:
            await self._list_again(entry)

    async def _list_anew(self, status: volser_status) -> None:
        session, how, volume = self._session, self._how, self._volume
        session.output.detail("------- Creating a new VLDB entry ------- ")
        ids = {RW: self._parent, RO: volume if how.readonly else status.cloneID, BACKUP: status.backupID}
        entry = nvldbentry(
            name=how.name,
            volumeId=tuple(ids[kind] for kind in entries.KINDS),
            flags=VLF_ROEXISTS if how.readonly else VLF_RWEXISTS,
        )
        entry = entries.with_sites(entry, [self._site()])
        with step(session, f"Could not create the VLDB entry for volume number {volume}  "):
            await session.vl.CreateEntryN(entries.plain(entry))
        self._show(entry)

    async def _list_again(self, entry: nvldbentry) -> None:
        session, how, volume = self._session, self._how, self._volume
        if session.output.verbose:
            session.output.detail("Updating the existing VLDB entry\n------- Old entry -------")
            self._show(entry)
            session.output.detail("------- New entry -------")
        async with Undo(session.output) as undo:
            unreleased = f"Could not release lock on the VLDB entry for the volume {volume}"
            with step(session, f"Could not lock the entry for volume number {volume} "):
                lock = await entries.lock(session, undo, volume, self._kind, VLOP_DUMP, unreleased=unreleased)
            sites = entries.sites(entry)
            index = await self._index(entry)
            if index is None:
                sites.append(self._site())
            else:
                await self._leave(sites[index])
                sites[index] = (self._at.server, self._at.partition, sites[index][2])
            exists = VLF_ROEXISTS if how.readonly else VLF_RWEXISTS
            entry = replace(entries.with_sites(entry, sites), name=how.name, flags=entry.flags | exists)
            with step(session, f"Could not update the entry for volume number {volume}  "):
                await entries.write(session, volume, self._kind, entry)
            undo.forget(lock)
        self._show(entry)

    async def _index(self, entry: nvldbentry) -> int | None:
        """The site that the volume had, or has."""
        at = self._at
        if self._how.readonly:
            return await entries.find_readonly_site(self._session, entry, at.server, at.partition)
        site = entries.readwrite_site(entry)
        return None if site is None else entries.sites(entry).index(site)

    async def _leave(self, site: entries.Site) -> None:
        """Delete the volume where the entry says it is, if that is elsewhere."""
        session, at, volume = self._session, self._at, self._volume
        server, partition, _ = site
        try:
            same = await entries.same_server(session, at.server, server)
        except RxError as problem:
            text = f"Failed to get info about server's {network_order(at.server)} address(es) from vlserver"
            session.output.complain(f"\n{text} (err={problem.code})\n   {error_text(problem.code)}")
            same = True
        if same and partition == at.partition:
            return
        there = Location(session, server, partition)
        if self._how.nodelete:
            session.output.part(f"Not deleting the previous volume {volume} on server {there.host}, ...")
            return
        part = vice_name(partition)
        session.output.part(f"Deleting the previous volume {volume} on server {there.host}, partition {part} ...")
        await delete_volume(there, volume, "the")

    def _site(self) -> entries.Site:
        return self._at.server, self._at.partition, VLSF_ROVOL if self._how.readonly else VLSF_RWVOL

    def _show(self, entry: nvldbentry) -> None:
        if self._session.output.verbose:
            self._session.output.lines(named_entry_lines(self._session, entry, locks=False))
