"""A volume that is on a server, put into its entry in the VLDB if that does not have it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from afs.errors import VLError
from afs.location import BACKUP, RO, RW
from afs.names import VOLUME_NAME_MAX, base_name
from afs.rpc.vl import (
    NMAXNSERVERS,
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_DELETE,
    VLSF_ROVOL,
    VLSF_RWVOL,
    nvldbentry,
)
from afs.rpc.volser import volintInfo
from rx.errors import Abort, RxError
from vos.errors import OperationFailed
from vos.operations.checks import Checks
from vos.operations.entries import (
    Site,
    find_readonly_site,
    is_readwrite_site,
    lock,
    plain,
    readwrite_site,
    sites,
    with_id,
    with_sites,
    write,
)
from vos.operations.steps import refuse, step
from vos.output import vice_name
from vos.session import Session
from vos.undo import Undo


@dataclass(slots=True)
class Finding:
    """A volume found at a place. `entry` is its entry before, and afterwards what it is then or should be; of one that
    is None the VLDB is asked. `wrong` is whether the two differ.
    """

    checks: Checks
    info: volintInfo
    server: IPv4Address
    partition: int
    entry: nvldbentry | None = None
    wrong: bool = False
    _warned: bool = field(default=False, init=False)

    @property
    def readwrite(self) -> int:
        """The id of the read-write volume."""
        return self.info.volid if self.info.type == RW else self.info.parentID

    async def put_in(self) -> None:
        """Put it into its entry. Raises OperationFailed."""
        given, session = self.entry, self.checks.session
        before = given or await self._fetched()
        known = before if before is not None else nvldbentry(name=base_name(self.info.name)[:VOLUME_NAME_MAX])
        with self.checks.told(before):
            self.entry = await self._with_volume(known)
            self.wrong = self.entry != known
            self._warned = True
            if self.wrong and not self.checks.dryrun:
                if before is None:
                    text = f"Could not create a VLDB entry for the volume {self.readwrite}"
                    await _create(session, self.entry, text)
                else:
                    await self._put_right(given)
            self.checks.tell_after(self.entry, self.wrong)

    async def _put_right(self, given: nvldbentry | None) -> None:
        """The same under a lock. An entry that was `given` is not fetched again."""
        session, volume = self.checks.session, self.readwrite
        async with Undo(session.output) as undo:
            with step(session, f"Could not lock VLDB entry for {volume}"):
                locked = await lock(session, undo, volume, RW, VLOP_DELETE, unreleased="Could not unlock VLDB entry ")
            known = given or await self._fetched()
            if known is None:
                raise refuse(session, f"Could not update entry for {volume}", VLError.VL_NOENT)
            self.entry = await self._with_volume(known)
            self.wrong = self.entry != known
            if self.wrong:
                with step(session, f"Could not update entry for {volume}"):
                    await write(session, volume, RW, self.entry)
                undo.forget(locked)

    async def _fetched(self) -> nvldbentry | None:
        """The entry, if there is one."""
        try:
            return await self.checks.session.vl.GetEntryByIDN(self.readwrite, RW)
        except RxError as problem:
            if isinstance(problem, Abort) and problem.code == VLError.VL_NOENT:
                return None
            text = f"Could not retrieve the VLDB entry for volume {self.readwrite} "
            self.checks.session.output.say(text)
            raise OperationFailed(problem.code, text) from problem

    async def _with_volume(self, entry: nvldbentry) -> nvldbentry:
        """The entry as it should be, seeing that the volume is here."""
        put = {RW: self._with_readwrite, BACKUP: self._with_backup, RO: self._with_readonly}.get(self.info.type)
        return entry if put is None else await put(entry)

    async def _with_readwrite(self, entry: nvldbentry) -> nvldbentry:
        info = self.info
        entry = await self.checks.seen_readwrite(entry)
        site = readwrite_site(entry)
        if site is not None:
            if await self._is_here(entry):
                ids = entry.volumeId
                if not (
                    (info.backupID and not ids[BACKUP]) or (info.cloneID and not ids[RO]) or entry.name != info.name
                ):
                    return entry
            elif entry.flags & VLF_RWEXISTS:
                self._warn(f"Orphaned RW volume {self.readwrite} exists on {self._here}")
                self._explain(f"VLDB reports RW volume {self.readwrite} exists on {self._place(site)}")
                return entry
            elif entry.flags & VLF_BACKEXISTS:
                self._warn(f"Orphaned BK volume {entry.volumeId[BACKUP]} exists on {self._place(site)}")
                self._explain(f"VLDB reports its RW volume {self.readwrite} exists on {self._here}")
        readonly, backup = entry.volumeId[RO] or info.cloneID, entry.volumeId[BACKUP] or info.backupID
        entry = replace(entry, name=info.name, volumeId=(self.readwrite, readonly, backup))
        entry = self._with_site(entry, site, VLSF_RWVOL, VLF_RWEXISTS)
        return await self.checks.seen_readwrite(entry)

    async def _with_backup(self, entry: nvldbentry) -> nvldbentry:
        entry = await self.checks.seen_readwrite(entry)
        site, known, volume = readwrite_site(entry), entry.volumeId[BACKUP], self.info.volid
        if site is not None:
            if not await self._is_here(entry):
                self._warn(f"Orphaned BK volume {volume} exists on {self._here}")
                self._explain(f"VLDB reports its RW/BK volume {self.readwrite} exists on {self._place(site)}")
                return entry
            if volume == known:
                return entry
            if entry.flags & VLF_BACKEXISTS:
                orphan, kept = (known, volume) if volume > known else (volume, known)
                self._warn(f"Orphaned BK volume {orphan} exists on {self._here}")
                self._explain(f"VLDB reports its BK volume ID is {kept}")
                if orphan == volume:
                    return entry
        entry = with_id(with_id(entry, RW, self.readwrite), BACKUP, volume)
        return self._with_site(entry, site, VLSF_RWVOL, VLF_BACKEXISTS)

    async def _with_readonly(self, entry: nvldbentry) -> nvldbentry:
        volume, site = self.info.volid, None
        if volume == entry.volumeId[RO]:
            index = await self._readonly_index(entry)
            if index is not None:
                if entry.flags & VLF_ROEXISTS:
                    return entry
                site = sites(entry)[index]
        else:
            entry = await self.checks.seen_readonly(entry)
            known = entry.volumeId[RO]
            if entry.flags & VLF_ROEXISTS and volume < known:
                self._warn(f"Orphaned RO volume {volume} exists on {self._here}")
                self._explain(f"VLDB reports its RO volume ID is {known}")
                return entry
            if entry.flags & VLF_ROEXISTS:
                orphans = [each for each in sites(entry) if each[2] & VLSF_ROVOL]
                for orphan in orphans:
                    self._warn(f"Orphaned RO volume {known} exists on {self._place(orphan)}")
                    self._explain(f"VLDB reports its RO volume ID is {volume}")
                entry = with_sites(entry, [each for each in sites(entry) if each not in orphans])
        entry = with_id(with_id(entry, RW, self.readwrite), RO, volume)
        return self._with_site(entry, site, VLSF_ROVOL, VLF_ROEXISTS)

    def _with_site(self, entry: nvldbentry, replaced: Site | None, flags: int, exists: int) -> nvldbentry:
        """With a site here, in the place of another one or behind the last. Raises OperationFailed."""
        here, known = (self.server, self.partition, flags), sites(entry)
        if replaced is not None:
            known[known.index(replaced)] = here
        elif len(known) < NMAXNSERVERS:
            known.append(here)
        else:
            text = f"Could not update entry for {self.readwrite}"
            raise refuse(self.checks.session, text, VLError.VL_REPSFULL)
        return replace(with_sites(entry, known), flags=entry.flags | exists)

    async def _is_here(self, entry: nvldbentry) -> bool:
        try:
            return await is_readwrite_site(self.checks.session, entry, self.server, self.partition)
        except RxError as problem:
            raise self._unknown(problem) from problem

    async def _readonly_index(self, entry: nvldbentry) -> int | None:
        try:
            return await find_readonly_site(self.checks.session, entry, self.server, self.partition)
        except RxError as problem:
            raise self._unknown(problem) from problem

    def _unknown(self, problem: RxError) -> OperationFailed:
        text = f"Failed to get info about server's {int(self.server)} address(es) from vlserver (err={problem.code})"
        return refuse(self.checks.session, text, problem.code)

    def _warn(self, text: str) -> None:
        if not self._warned:
            self.checks.session.output.complain(f"*** Warning: {text}")

    def _explain(self, text: str) -> None:
        if not self._warned:
            self.checks.session.output.complain(f"    {text}")

    @property
    def _here(self) -> str:
        return self._place((self.server, self.partition, 0))

    def _place(self, site: Site) -> str:
        return f"{self.checks.session.name(site[0])} {vice_name(site[1])}"


async def _create(session: Session, entry: nvldbentry, text: str) -> None:
    try:
        await session.vl.CreateEntryN(plain(entry))
    except RxError as problem:
        session.output.say(text)
        raise OperationFailed(problem.code, text) from problem
