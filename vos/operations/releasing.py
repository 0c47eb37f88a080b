"""A read-write volume released to its read-only sites (vsprocs.c UV_ReleaseVolume).

What was done so far is in the entry: a site that has the new release is VLSF_NEWREPSITE there, and one that has an old
one or none VLSF_DONTUSE. So a release that breaks off is taken up by the next one, and nothing is taken back.
"""

from __future__ import annotations

from errno import ENODEV

from twisted.internet.defer import CancelledError

from afs.errors import VLError, VolserError
from afs.location import RW
from afs.names import READONLY_SUFFIX, READWRITE_NAME_MAX
from afs.rpc.vl import LOCKREL_TIMESTAMP, VLOP_RELEASE, VLSF_DONTUSE, VLSF_NEWREPSITE
from afs.rpc.volser import ITBusy, ITOffline, volintInfo, volser_status
from rx.errors import RxError
from vos.entries import named_entry_lines, text
from vos.errors import OperationFailed, error_text
from vos.operations import entries
from vos.operations.clones import READ_ONLY, Clone, bring_up_to_date
from vos.operations.copies import before
from vos.operations.deletion import delete_volume
from vos.operations.locations import Location
from vos.operations.release_sites import Plan, send_to_sites
from vos.operations.replicas import Complete, Replica, Replicated, first_reasons, reasons_text
from vos.operations.steps import doing, explained, refuse, step
from vos.operations.transactions import begin
from vos.output import vice_name
from vos.undo import Step, Undo

CLONE_NAME = b"readonly-clone-temp"


async def release_volume(volume: int, at: Location, *, force: bool = False, reclone: bool = False) -> None:
    """Release a volume, whose read-write site `at` is. Raises OperationFailed, also if only some sites have it then.

    With `force` or `reclone` all sites are released to, even if an earlier release broke off or nothing has changed;
    with `force` they get everything anew.
    """
    session = at.session
    with explained(session):
        async with Undo(session.output) as undo:
            release = _Release(undo, volume, at, force, reclone)
            try:
                await release.run()
            except CancelledError:
                session.output.left(f"the release of volume {volume}", f"vos release {volume}")
                raise


class _Release:
    """See the module."""

    def __init__(self, undo: Undo, volume: int, at: Location, force: bool, reclone: bool) -> None:
        self._undo = undo
        self._session = at.session
        self._volume = volume
        self._at = at
        self._full = force
        self._forced = force or reclone
        self._created = 0
        self._released = 0

    async def run(self) -> None:
        session = self._session
        lock = await self._lock()
        found = await self._replicated()
        beside = await found.clone_site(self._at.server, self._at.partition)
        why, only_new = first_reasons(found, self._forced)
        clone = found.readonly if why or not found.entry.cloneId else found.entry.cloneId
        exists = await self._exists(clone)
        if not why:
            why = await self._later_reasons(clone, exists)
        if not why or Complete.NEW_RW in why:
            only_new = False
        self._tell_kind(why, only_new)
        recovery = not why
        if why:
            tried = only_new and why == Complete.LAST_OK
            only_new = await self._make(found, beside, clone, exists, only_new)
            if only_new:
                session.output.part("RW vol has not changed; only releasing to new RO sites\n")
                recovery = True
            elif tried:
                session.output.part("RW vol has changed; releasing to all sites\n")
        await self._send(found, beside, clone, recovery, only_new)
        await self._end(found, beside, clone, lock)

    async def _lock(self) -> Step:
        session, volume = self._session, self._volume
        unreleased = f"Could not release lock on the VLDB entry for volume {volume}"
        with step(session, f"Could not lock the VLDB entry for the volume {volume}."):
            return await entries.lock(
                session,
                self._undo,
                volume,
                RW,
                VLOP_RELEASE,
                unreleased=unreleased,
                ignored=VLError.VL_RERELEASE,
            )

    async def _replicated(self) -> Replicated:
        """The entry, which can be released by."""
        session, volume = self._session, self._volume
        with step(session, f"Could not fetch the entry for the volume {volume} from the VLDB."):
            entry = await session.vl.GetEntryByIDN(volume, RW)
        if session.output.verbose:
            session.output.lines(named_entry_lines(session, entry, locks=False))
        name = text(entry.name)
        if len(entry.name) > READWRITE_NAME_MAX:
            raise self._refuse(f"Volume name {name} is too long, rename before releasing.")
        if entry.volumeId[RW] != volume:
            raise self._refuse(f"The volume {volume} being released is not a read-write volume.")
        if entry.nServers <= 1:
            raise self._refuse(f"Volume {volume} has no replicas - release operation is meaningless!")
        found = Replicated(session, entry)
        if found.readwrite_site is None:
            raise self._refuse("There is no RW volume ", VolserError.VOLSERNOVOL)
        if not found.readonly:
            with step(session, f"Cant allocate ID for RO volume of {name}"):
                found.set_readonly(await session.vl.GetNewVolumeId(1))
            with step(session, f"Could not update vldb entry for {name}."):
                await found.write()
        return found

    def _refuse(self, why: str, code: int = VolserError.VOLSERBADOP) -> OperationFailed:
        return refuse(self._session, why, code)

    async def _exists(self, clone: int) -> bool:
        """Whether there is one beside the read-write volume; if in doubt, yes."""
        try:
            await self._at.volser.ListOneVolume(self._at.partition, clone)
        except RxError as problem:
            return problem.code not in (ENODEV, VolserError.VOLSERILLEGAL_PARTITION)
        return True

    async def _later_reasons(self, clone: int, exists: bool) -> Complete:
        """The reasons for a complete release that are on the server, where the entry has none."""
        if not exists:
            return Complete.RO_MISSING
        readwrite = await self._status(self._volume, "RW volume")
        cloned = await self._status(clone, "RW clone")
        return Complete.NEW_RW if readwrite.creationDate > cloned.creationDate else Complete(0)

    async def _status(self, volume: int, what: str) -> volser_status:
        session, at = self._session, self._at
        with step(session, f"Failed to start transaction on {what} {volume}"):
            trans = await begin(session, self._undo, at.server, at.partition, volume, ITBusy)
        with step(session, f"Failed to get the status of {what} {volume}"):
            status = await at.volser.GetStatus(trans.id)
        with step(session, f"Failed to end transaction on {what} {volume}"):
            await trans.end()
        return status

    def _tell_kind(self, why: Complete, only_new: bool) -> None:
        output = self._session.output
        if not why:
            output.detail("This is a recovery of previously failed release")
            return
        output.part(f"This is a complete release of volume {self._volume}{reasons_text(why, self._volume)}")
        if why == Complete.LAST_OK and only_new:
            output.part("\nThere are new RO sites; we will try to only release to new sites")
        output.part("\n")

    async def _make(self, found: Replicated, beside: Replica | None, clone: int, exists: bool, only_new: bool) -> bool:
        """Have the clone that is sent; whether sites that have had a release before need not have this one."""
        if exists and (beside is None or beside.flags & VLSF_DONTUSE):
            await delete_volume(self._at, clone, "the")
            exists = False
        updated = 0
        if only_new:
            oldest = await self._oldest(found)
            info = await self._readwrite() if oldest is not None else None
            only_new = oldest is not None and info is not None and oldest > info.updateDate
            updated = info.updateDate if info is not None else 0
        found.begin_complete(only_new)
        if only_new and exists:
            return True
        name = found.entry.name + READONLY_SUFFIX if beside else CLONE_NAME
        what = "permanent RO" if beside else "temporary RO"
        status = await bring_up_to_date(self._at, self._volume, Clone(clone, READ_ONLY, name, what), None, status=True)
        if only_new and updated != status.updateDate:
            only_new = False
            found.begin_complete(only_new)
        self._created = status.creationDate
        found.set_clone(clone)
        if beside is not None:
            await self._put_online(clone)
            beside.set_released()
            found.set_exists()
            self._released += 1
            name_text = text(found.entry.name)
            failed = f"Could not update vldb entry for {name_text}."
            with doing(self._session, f"Replacing VLDB entry for {name_text}...", failed, explained=False):
                await found.write()
        return only_new

    async def _oldest(self, found: Replicated) -> int | None:
        """When the oldest release at a site was made; None after saying what cannot be found out."""
        output = self._session.output
        output.part("Querying old RO sites for update times...")
        oldest: int | None = None
        for site in found.sites:
            if not site.readonly or site.flags & VLSF_DONTUSE:
                continue
            try:
                (info,) = await site.at.volser.ListOneVolume(site.at.partition, found.readonly)
            except RxError as problem:
                name = self._session.resolved(site.at.server)
                what = f"Could not fetch information about RO vol {found.readonly} from server {name}"
                output.complain(f"{what}\n{error_text(problem.code)}")
                oldest = None
                break
            created = before(info.creationDate)
            oldest = created if oldest is None else min(oldest, created)
        output.part(" done\n")
        return oldest

    async def _readwrite(self) -> volintInfo | None:
        try:
            (info,) = await self._at.volser.ListOneVolume(self._at.partition, self._volume)
        except RxError as problem:
            name = self._session.resolved(self._at.server)
            what = f"Could not fetch information about RW vol {self._volume} from server {name}"
            self._session.output.complain(f"{what}\n{error_text(problem.code)}")
            return None
        return info

    async def _put_online(self, clone: int) -> None:
        session, at = self._session, self._at
        failed = f"Failed to start transaction on volume {clone}"
        with doing(session, f"Starting transaction on RO clone volume {clone}...", failed, explained=False):
            trans = await begin(session, self._undo, at.server, at.partition, clone, ITOffline)
        failed = f"Could not bring volume {clone} on line"
        with doing(session, f"Setting volume flags for volume {clone}...", failed, explained=False):
            await at.volser.SetFlags(trans.id, 0)
        failed = f"Failed to end transaction on RO clone {clone}"
        with doing(session, f"Ending transaction on volume {clone}...", failed, explained=False):
            await trans.end()

    async def _send(
        self, found: Replicated, beside: Replica | None, clone: int, recovery: bool, only_new: bool
    ) -> None:
        session, at = self._session, self._at
        unended = f"Failed to end transaction on the release clone {clone}"
        session.output.part(f"Starting transaction on cloned volume {clone}...")
        try:
            trans = await begin(session, self._undo, at.server, at.partition, clone, ITBusy, unended=unended)
            status = await at.volser.GetStatus(trans.id)
        except RxError as problem:
            if recovery:
                why = f"Old clone is inaccessible. Try vos release -f {self._volume}."
                raise self._refuse(why, VolserError.VOLSERNOVOL) from problem
            with step(session, "Failed to create transaction on the release clone"):
                raise
        session.output.part(" done\n")
        plan = Plan(
            found=found,
            source=at,
            clone=clone,
            clone_site=beside,
            trans=trans,
            status=status,
            created=self._created,
            full=self._full,
            recovery=recovery,
            only_new=only_new,
            released=self._released,
            at_once=len(found.sites) if only_new else len(found.sites) // 2,
        )
        await send_to_sites(self._undo, plan)
        try:
            await plan.trans.end()
        except RxError as problem:
            session.output.complain(f"Failed to end transaction on rw volume: {error_text(problem.code)}")

    async def _end(self, found: Replicated, beside: Replica | None, clone: int, lock: Step) -> None:
        session, volume = self._session, self._volume
        missing = [site for site in found.sites if not site.flags & VLSF_NEWREPSITE]
        unwritten = f" Could not update VLDB entry for volume {volume}"
        if missing:
            lines = [f"The volume {volume} could not be released to the following {len(missing)} sites:"]
            lines += [f"\t{site.at.host:>35} {vice_name(site.at.partition)}" for site in missing]
            session.output.complain("\n".join(lines))
            with step(session, unwritten):
                await found.write(LOCKREL_TIMESTAMP)
            raise OperationFailed(VolserError.VOLSERBADRELEASE, lines[0])
        found.set_clone(0)
        if beside is None:
            session.output.part(f"Deleting the releaseClone {clone} ...")
            await delete_volume(self._at, clone)
            session.output.part(" done\n")
        for site in found.sites:
            site.flags &= ~VLSF_NEWREPSITE
        with doing(session, "updating VLDB ...", unwritten, explained=False):
            await found.write(entries.RELEASE)
        self._undo.forget(lock)
