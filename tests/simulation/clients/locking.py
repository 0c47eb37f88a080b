"""Files that all share: locked, and counted in while they are."""

from __future__ import annotations

import errno

from afs.rpc.fs import LockRead, LockWrite
from rx.errors import Abort, RxError
from tests.simulation.clients.caller import Caller
from tests.simulation.clients.cell import LEASE_SECONDS
from tests.simulation.clients.places import Place, content

MARGIN_SECONDS = 1.0
"""A lock that runs out within this is used no more."""


class Locking(Caller):
    """See the module."""

    async def exclude(self) -> None:
        """Lock a file that all share, and count in it."""
        places = [place for place in self.places.locks if not place.spoiled]
        if not places:
            return
        place = self.random.choice(places)
        until = await self.lock(place, LockWrite)
        if until is None:
            return
        begun, data = await self.fetched(place.fid)
        if data is not None and self.cell.world.now < until - MARGIN_SECONDS:
            self.found(place, data, begun, cached=False)
            await self._count_in(place, until)
        await self._unlock(place, until)

    async def _count_in(self, place: Place, until: float) -> None:
        """What is still under way when the lock runs out may come after what its next holder writes."""
        place.spoiled |= place.writing
        place.writing = True
        number = place.thing.last.value + 1
        data, index = content(number), place.thing.begin(number)
        since = self.cell.world.now
        try:
            status, call = await self.store(place.fid, data)
        except RxError as problem:
            self.cell.say(f"{self} count in {place.name}: {problem!r}")
            self.excuses.judge(self, place.fid.Volume, "count", problem, since, once=True)
        else:
            place.thing.end(index)
            self.client.floor(place.thing).add(self.cell.tick(), index)
            self.note_version(place, index, status.DataVersion)
            self.client.changed(place.fid, status, call, data)
        place.writing = False
        place.spoiled |= self.cell.world.now > until

    async def share(self) -> None:
        """Lock a file for reading."""
        if self.places.locks:
            place = self.random.choice(self.places.locks)
            until = await self.lock(place, LockRead)
            if until is not None:
                await self.pause(self.random.random())
                await self._unlock(place, until)

    async def lock(self, place: Place, kind: int) -> float | None:
        """Until when it is ours; None when another has it, or nobody knows."""
        since = self.cell.world.now
        try:
            await self.client.ask(place.fid, lambda fs: fs.SetLock(place.fid, kind))
        except RxError as problem:
            if not (isinstance(problem, Abort) and problem.code == errno.EAGAIN):
                self.cell.say(f"{self} lock {place.name}: {problem!r}")
                self.excuses.judge(self, place.fid.Volume, "lock", problem, since, once=True)
            return None
        until = since + LEASE_SECONDS
        now = self.cell.world.now
        wrong = place.exclusion.take((self, kind), kind == LockWrite, now, until)
        if wrong and now < until:
            self.cell.defect(wrong)
        self.cell.say(f"{self} has {place.name} {kind} until {until:.3f}")
        return until

    async def _unlock(self, place: Place, until: float) -> None:
        """Unless it may be another's by now."""
        for kind in (LockRead, LockWrite):
            place.exclusion.drop((self, kind))
        since = self.cell.world.now
        if since > until - MARGIN_SECONDS:
            return
        try:
            await self.client.ask(place.fid, lambda fs: fs.ReleaseLock(place.fid))
        except RxError as problem:
            self.cell.say(f"{self} unlock {place.name}: {problem!r}")
            self.excuses.judge(self, place.fid.Volume, "unlock", problem, since, once=True)
        if self.cell.world.now > until or self.excuses.restarted(place.fid.Volume, since):
            place.exclusion.spoiled_until = self.cell.world.now + 2 * LEASE_SECONDS
