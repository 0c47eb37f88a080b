"""Whether an entry of the VLDB says what is on the servers, put right where it does not.

An entry is looked at without a lock first, and again under one only if it has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import ENODEV
from ipaddress import IPv4Address

from afs.errors import VolserError
from afs.location import BACKUP, RO, RW
from afs.names import READWRITE_NAME_MAX
from afs.rpc.vl import (
    VLF_BACKEXISTS,
    VLF_ROEXISTS,
    VLF_RWEXISTS,
    VLOP_DELETE,
    VLSF_ROVOL,
    nvldbentry,
)
from rx.errors import Abort, RxError
from vos.entries import named_entry_lines, text
from vos.operations.deleting import without_readonly, without_readwrite
from vos.operations.entries import lock, readwrite_site, sites, write
from vos.operations.steps import step
from vos.output import Output, vice_name
from vos.session import Session
from vos.undo import Undo

RULE = "_______________________________"

EXISTS = VLF_RWEXISTS | VLF_ROEXISTS | VLF_BACKEXISTS


@dataclass(frozen=True, slots=True)
class Checks:
    """How entries are checked: what is told of it on `output`, and whether nothing is to be changed."""

    session: Session
    output: Output
    dryrun: bool = False

    async def check_entry(self, entry: nvldbentry) -> tuple[nvldbentry | None, bool]:
        """The entry as it is then, None if it has been deleted, and whether it was wrong. Raises OperationFailed."""
        with self.told(entry):
            if len(entry.name) > READWRITE_NAME_MAX:
                said = f"Volume name {text(entry.name)} exceeds limit of {READWRITE_NAME_MAX} characters"
                self.session.output.complain(said)
            found = await self._seen(entry, hurried=not self.dryrun)
            now: nvldbentry | None = found
            wrong = found != entry
            if wrong and not self.dryrun:
                now, wrong = await self._put_right(entry)
            self.tell_after(now, wrong)
        return now, wrong

    async def _put_right(self, entry: nvldbentry) -> tuple[nvldbentry | None, bool]:
        """The same under a lock: somebody else may have put it right meanwhile."""
        session, volume = self.session, entry.volumeId[RW]
        async with Undo(session.output) as undo:
            with step(session, f"Could not lock VLDB entry for {volume} "):
                unreleased = f"Could not release lock on VLDB entry for volume {volume}"
                locked = await lock(session, undo, volume, RW, VLOP_DELETE, unreleased=unreleased)
            with step(session, f"Could not read VLDB entry for volume {text(entry.name)}"):
                before = await session.vl.GetEntryByIDN(volume, RW)
            now = await self._seen(before)
            if now == before:
                return now, False
            if now.flags & EXISTS:
                with step(session, f"Could not update VLDB entry for volume {volume}"):
                    await write(session, volume, RW, now)
            else:
                with step(session, f"Could not delete VLDB entry for volume {volume} "):
                    await session.vl.DeleteEntry(volume, RW)
            undo.forget(locked)
        return (now if now.flags & EXISTS else None), True

    async def _seen(self, entry: nvldbentry, hurried: bool = False) -> nvldbentry:
        """The entry as it should be; if `hurried` only so far that it is known whether it is right."""
        now = await self.seen_readwrite(entry)
        return now if hurried and now != entry else await self.seen_readonly(now)

    async def seen_readwrite(self, entry: nvldbentry) -> nvldbentry:
        """The entry as it should be of its read-write and its backup volume. Raises OperationFailed."""
        site = readwrite_site(entry)
        if site is None:
            return replace(entry, flags=entry.flags & ~(VLF_RWEXISTS | VLF_BACKEXISTS))
        flags = entry.flags
        for kind, flag, name in ((RW, VLF_RWEXISTS, "RW volume"), (BACKUP, VLF_BACKEXISTS, "BK volume")):
            exists = await self._exists(site[0], site[1], entry.volumeId[kind], name if entry.flags & flag else "")
            flags = flags | flag if exists else flags & ~flag
        entry = replace(entry, flags=flags)
        return entry if flags & (VLF_RWEXISTS | VLF_BACKEXISTS) else without_readwrite(entry)

    async def seen_readonly(self, entry: nvldbentry) -> nvldbentry:
        """The same of its read-only volumes."""
        found = False
        for index, (server, partition, flags) in reversed(list(enumerate(sites(entry)))):
            if flags & VLSF_ROVOL:
                if await self._exists(server, partition, entry.volumeId[RO], "RO"):
                    found = True
                else:
                    entry = without_readonly(entry, index)
        return replace(entry, flags=entry.flags | VLF_ROEXISTS if found else entry.flags & ~VLF_ROEXISTS)

    async def _exists(self, server: IPv4Address, partition: int, volume: int, name: str) -> bool:
        """Whether a volume is there. Where the server cannot say, one without `name` is taken not to be.

        Raises OperationFailed.
        """
        try:
            await self.session.volser(server).ListOneVolume(partition, volume)
        except RxError as problem:
            if isinstance(problem, Abort) and problem.code in (ENODEV, VolserError.VOLSERILLEGAL_PARTITION):
                return False
            if not name:
                return False
            where = f"{self.session.name(server)} {vice_name(partition)}"
            with step(self.session, f"Transaction call failed for {name} {volume} on server {where}"):
                raise
        return True

    @contextmanager
    def told(self, entry: nvldbentry | None) -> Iterator[None]:
        """Around a check: what the entry was, and a line at its end."""
        self.tell_before(entry)
        try:
            yield
        finally:
            self.output.part(f"\n{RULE}\n")

    def tell_before(self, entry: nvldbentry | None) -> None:
        """What the entry is, if there is one."""
        self.output.part(f"{RULE}\n\n-- status before -- \n")
        if entry is None:
            self.output.part("\n**does not exist**\n")
        elif entry.flags & EXISTS:
            self._show(entry)
        self.output.part("\n")

    def tell_after(self, entry: nvldbentry | None, wrong: bool) -> None:
        """What has become of it."""
        self.output.part("-- status after --\n")
        if entry is None:
            self.output.part("\n**entry deleted**\n")
        elif wrong:
            self._show(entry)
        else:
            self.output.part("\n**no change**\n")

    def _show(self, entry: nvldbentry) -> None:
        if self.output.verbose:
            self.output.lines(named_entry_lines(self.session, entry, locks=False))
