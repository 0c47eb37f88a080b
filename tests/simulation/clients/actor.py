"""Somebody at work on a client: writes and reads files, makes and removes names, takes locks, one thing at a time.

What others may see of it is in the `Thing`s of `Places`; what is seen is held against them at once.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.task import deferLater

from afs.client import store_status
from afs.dirpages import BadDirectory, read_directory
from afs.rpc.fs import RXAFS, LockRead, LockWrite
from afs.types import AFSFid, AFSStoreStatus
from rx.errors import Abort, RxError
from rx.streams import BytesSource
from tests.simulation.clients.cache import CacheManager, Call
from tests.simulation.clients.cell import ALL_VOLUMES, LEASE_SECONDS, Cell
from tests.simulation.clients.excuses import Excuses, passes
from tests.simulation.clients.history import UNKNOWN, Exclusion, Thing

SIZES = (8, 8, 400, 400, 3000, 20_000, 100_000, 1_200_000)
"""Of files: less and more than a packet, than a window, than a piece of fileserver.procedures.files."""

BIG = 50_000
"""Larger ones are rare."""

PATIENCE_SECONDS = 120.0
"""How long a call is tried again before that is an error."""

RETRY_SECONDS = 0.7

MARGIN_SECONDS = 1.0
"""A lock that runs out within this is used no more."""

HOT = 0.4
"""The part of reads, and of its writer's writes, that is about the first file of all."""

FILES, LOCKS, NAMES = 3, 2, 4
"""Files and names of each actor, locks of all."""


def content(number: int) -> bytes:
    """What a file's change of that number writes: anybody can tell which it was, and whether it is whole."""
    size = SIZES[number * 7919 % 97 % len(SIZES)]
    if size > BIG and number * 31 % 5:
        size = SIZES[2]
    return b"%08d" % number * (size // 8)


@dataclass(eq=False)
class Place:
    """A file or a lock file that all know."""

    name: str
    fid: AFSFid
    thing: Thing
    exclusion: Exclusion
    versions: dict[int, int] = field(default_factory=dict)
    writing: bool = False
    spoiled: bool = False
    """Two may have written to a lock file at a time, as a lock ran out."""


@dataclass
class Places:
    """What there is in the cell."""

    files: list[Place] = field(default_factory=list)
    locks: list[Place] = field(default_factory=list)
    names: dict[tuple[int, bytes], Thing] = field(default_factory=dict)
    """By volume: what names in its root directory lead to, None for nothing."""


class Actor:
    """See the module."""

    def __init__(self, client: CacheManager, number: int, places: Places, excuses: Excuses) -> None:
        self.cell: Cell = client.cell
        self.client = client
        self.number = number
        self.places = places
        self.excuses = excuses
        self.random = Random(self.cell.world.random.getrandbits(64))
        self.mine: list[Place] = []
        self.temporary: list[tuple[int, bytes]] = []
        self.seconds = 0.3
        self.over = False
        self.done = 0

    def __repr__(self) -> str:
        return f"actor {self.number}"

    def choose_names(self) -> None:
        """Those of its own that will come and go."""
        for index in range(NAMES):
            volume, name = self.random.choice(ALL_VOLUMES), b"t%d.%d" % (self.number, index)
            self.places.names[volume, name] = Thing(f"{volume}/{name.decode()}", self.cell.tick, None)
            self.temporary.append((volume, name))

    async def settle_in(self) -> None:
        """Make the files of its own."""
        for kind, count, made in (("f", FILES, self.places.files), ("l", LOCKS, self.places.locks)):
            for index in range(count):
                if kind == "l" and self.number:
                    break
                volume = self.random.choice(ALL_VOLUMES)
                name = f"{kind}{self.number}.{index}"
                fid = await self._make(volume, name.encode())
                await self._store(fid, content(0))
                thing = Thing(f"{volume}/{name}", self.cell.tick, 0)
                place = Place(name, fid, thing, Exclusion(name))
                made.append(place)
                if kind == "f":
                    self.mine.append(place)

    async def _make(self, volume: int, name: bytes) -> AFSFid:
        (fid, *_), _ = await self.client.ask(root(volume), lambda fs: fs.CreateFile(root(volume), name, MODE))
        made: AFSFid = fid
        return made

    async def _store(self, fid: AFSFid, data: bytes) -> tuple[Any, Call]:
        def send(fs: RXAFS) -> Awaitable[Any]:
            return fs.StoreData64(fid, AFSStoreStatus(), 0, len(data), len(data), BytesSource(data))

        (status, _), call = await self.client.ask(fid, send)
        if status.Length != len(data):
            self.cell.defect(f"{self}: {len(data)} bytes stored, and the file has {status.Length}")
        return status, call

    async def work(self) -> None:
        """Until it is over."""
        deeds = (
            *(self.write,) * 4,
            *(self.read,) * 10,
            *(self.look,) * 3,
            *(self.churn,) * 5,
            *(self.exclude,) * 2,
            *(self.refresh, self.change_mode, self.share),
        )
        while not self.over:
            await self.pause(self.random.expovariate(1 / self.seconds))
            await self.random.choice(deeds)()
            self.done += 1

    def pause(self, seconds: float) -> Any:
        return deferLater(self.client._port.reactor, seconds)

    # How calls are made again.

    async def insist(self, fid: AFSFid, what: str, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Try until the answer is one to keep: what passes is tried again, as cache managers do. Raises Abort."""
        since = self.cell.world.now
        while True:
            try:
                return await attempt()
            except RxError as problem:
                self.cell.say(f"{self} {what} {fid.Volume}.{fid.Vnode}: {problem!r}")
                self.excuses.judge(self, fid.Volume, what, problem, since)
                if not passes(problem):
                    raise
            if self.cell.world.now - since > PATIENCE_SECONDS:
                self.cell.defect(f"{self}: {what} of {fid} was not answered for {PATIENCE_SECONDS} s")
                raise Abort(errno.ETIMEDOUT)
            self.client.locator.forget(fid.Volume)
            await self.pause(RETRY_SECONDS)

    # What it does.

    async def write(self) -> None:
        """The next content of a file of its own, until that is acknowledged or definitely refused."""
        if not self.mine:
            return
        hot = self.mine[0] is self.places.files[0] and self.random.random() < HOT
        place = self.mine[0] if hot else self.random.choice(self.mine)
        number = place.thing.last.value + 1 + self.random.randrange(3)
        await self.write_number(place, number)

    async def write_number(self, place: Place, number: int) -> bool:
        data, index = content(number), place.thing.begin(number)
        try:
            status, call = await self.insist(place.fid, "store", lambda: self._store(place.fid, data))
        except Abort:
            return False  # an injected fault; it may have been made in part
        place.thing.end(index)
        self.client.floor(place.thing).add(self.cell.tick(), index)
        self.cell.say(f"{self} wrote {place.name} {number}")
        self._version(place, index, status.DataVersion)
        self.client.changed(place.fid, status, call, data)
        return True

    async def read(self) -> None:
        """A file of anybody's."""
        if self.places.files:
            hot = self.random.random() < HOT
            await self.read_place(self.places.files[0] if hot else self.random.choice(self.places.files))

    async def read_place(self, place: Place) -> None:
        """From the copy if its promise holds."""
        copy = self.client.valid(place.fid)
        if copy is not None:
            self.client.hits += 1
            if not copy.doubtful:
                self._found(place, copy.content, self.cell.tick(), cached=True)
            return
        begun, data = await self._fetched(place.fid)
        if data is not None:
            self._found(place, data, begun, cached=False)

    async def _fetched(self, fid: AFSFid) -> tuple[int, bytes | None]:
        """The moment of the last attempt, and what it gave; None where a fault was injected."""
        begun = 0

        async def attempt() -> bytes:
            nonlocal begun
            begun = self.cell.tick()
            return await self.client.fetch_all(fid)

        try:
            data: bytes = await self.insist(fid, "fetch", attempt)
        except Abort:
            return begun, None
        return begun, data

    def _found(self, place: Place, data: bytes, begun: int, *, cached: bool) -> None:
        thing = place.thing
        if place.spoiled:
            return
        number = int(data[:8]) if data[:8].isdigit() else -1
        if data != content(max(number, 0)):
            if not thing.may_be_torn(begun):
                self.cell.defect(f"{self}: {thing.name} has torn content: {len(data)} bytes from {data[:8]!r}")
            return
        wrong = thing.saw(number, begun, self.client.floor(thing), cached)
        if wrong:
            self.cell.defect(f"{self} at {self.client.host}, {'its copy' if cached else 'the server'}: {wrong}")

    def _version(self, place: Place, index: int, version: int) -> None:
        """Data versions rise with changes."""
        before = max((place.versions[each] for each in place.versions if each < index), default=-1)
        if version <= before:
            self.cell.defect(f"{place.name}: change {index} has version {version}, one before it {before}")
        place.versions[index] = version

    async def look(self) -> None:
        """At a directory."""
        await self.look_at(self.random.choice(ALL_VOLUMES))

    async def look_at(self, volume: int, fresh: bool = False) -> dict[bytes, tuple[int, int]] | None:
        """The names in the root of a volume, from the copy if its promise holds; None where a fault was injected."""
        copy = None if fresh else self.client.valid(root(volume))
        if copy is not None:
            begun, data = self.cell.tick(), copy.content
            if copy.doubtful:
                return None
        else:
            begun, fetched = await self._fetched(root(volume))
            if fetched is None:
                return None
            data = fetched
        try:
            entries = read_directory(data)
        except BadDirectory as problem:
            self.cell.defect(f"{self}: the root of {volume}: {problem}")
            return None
        for (where, name), thing in self.places.names.items():
            if where == volume:
                wrong = thing.saw(entries.get(name), begun, self.client.floor(thing), copy is not None)
                if wrong:
                    self.cell.defect(f"{self} at {self.client.host}, {'its copy' if copy else 'the server'}: {wrong}")
        return entries

    async def churn(self) -> None:
        """Make, rename or remove a name of its own."""
        volume, name = self.random.choice(self.temporary)
        thing = self.places.names[volume, name]
        if not thing.settled and not await self._find_out(volume, name):
            return
        if thing.last.value is None:
            await self._create(volume, name)
        elif self.random.random() < 0.3:
            await self._rename(volume, name)
        else:
            await self._remove(volume, name)

    async def _find_out(self, volume: int, name: bytes) -> bool:
        """What became of a change that was not answered."""
        entries = await self.look_at(volume, fresh=True)
        if entries is None:
            return False
        thing = self.places.names[volume, name]
        thing.end(thing.begin(entries.get(name)))
        return True

    async def _change(
        self,
        volume: int,
        what: str,
        things: list[tuple[Thing, Any]],
        make: Callable[[RXAFS], Awaitable[Any]],
        parent: int = 0,
    ) -> None:
        """One call that changes names, once: made again it may find itself done. The directory's new status is the
        answer's number `parent`; something new is its first.
        """
        indices = [(thing, thing.begin(value)) for thing, value in things]
        since = self.cell.world.now
        try:
            result, call = await self.client.ask(root(volume), make)
        except RxError as problem:
            self.cell.say(f"{self} {what} in {volume}: {problem!r}")
            self.excuses.judge(self, volume, what, problem, since, once=True)
            return
        for thing, index in indices:
            change = thing.changes[index]
            if isinstance(result[0], AFSFid):
                made = result[0].Vnode, result[0].Unique
                if change.value not in (UNKNOWN, made):
                    self.cell.defect(f"{self}: {thing.name} is {made}, and somebody has seen {change.value}")
                change.value = made
            thing.end(index)
            self.client.floor(thing).add(self.cell.tick(), index)
            self.cell.say(f"{self} {what} {thing.name}: {change.value}")
        self.client.changed(root(volume), result[parent], call)

    async def _create(self, volume: int, name: bytes) -> None:
        thing = self.places.names[volume, name]
        kind = self.random.choice(("file", "file", "directory", "link"))

        def make(fs: RXAFS) -> Awaitable[Any]:
            if kind == "directory":
                return fs.MakeDir(root(volume), name, MODE)
            if kind == "link":
                return fs.Symlink(root(volume), name, b"elsewhere", LINK)
            return fs.CreateFile(root(volume), name, MODE)

        await self._change(volume, f"create {kind}", [(thing, UNKNOWN)], make, parent=2)

    async def _remove(self, volume: int, name: bytes) -> None:
        thing = self.places.names[volume, name]
        vnode = thing.last.value[0]
        if vnode % 2:
            await self._change(volume, "rmdir", [(thing, None)], lambda fs: fs.RemoveDir(root(volume), name))
        else:
            await self._change(volume, "remove", [(thing, None)], lambda fs: fs.RemoveFile(root(volume), name))

    async def _rename(self, volume: int, name: bytes) -> None:
        others = [each for each in self.temporary if each[0] == volume and each[1] != name]
        if not others:
            return
        other = self.random.choice(others)[1]
        old, new = self.places.names[volume, name], self.places.names[volume, other]
        if not new.settled and not await self._find_out(volume, other):
            return
        if new.last.value is not None:
            return
        where = root(volume)
        changes = [(old, None), (new, old.last.value)]
        await self._change(volume, "rename", changes, lambda fs: fs.Rename(where, name, where, other), parent=1)

    async def exclude(self) -> None:
        """Lock a file that all share, and count in it."""
        places = [place for place in self.places.locks if not place.spoiled]
        if not places:
            return
        place = self.random.choice(places)
        until = await self.lock(place, LockWrite)
        if until is None:
            return
        begun, data = await self._fetched(place.fid)
        if data is not None and self.cell.world.now < until - MARGIN_SECONDS:
            self._found(place, data, begun, cached=False)
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
            status, call = await self._store(place.fid, data)
        except RxError as problem:
            self.cell.say(f"{self} count in {place.name}: {problem!r}")
            self.excuses.judge(self, place.fid.Volume, "count", problem, since, once=True)
        else:
            place.thing.end(index)
            self.client.floor(place.thing).add(self.cell.tick(), index)
            self._version(place, index, status.DataVersion)
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

    async def refresh(self) -> None:
        """The status of files of one volume, one by one or in one call."""
        if not self.places.files:
            return
        volume = self.random.choice(self.places.files).fid.Volume
        fids = [place.fid for place in self.places.files if place.fid.Volume == volume]
        try:
            if self.random.random() < 0.5:
                await self.insist(fids[0], "bulk", lambda: self.client.refresh_many(fids))
            else:
                await self.insist(fids[0], "status", lambda: self.client.refresh(fids[0]))
        except Abort:
            return  # an injected fault

    async def change_mode(self) -> None:
        """Of a file of its own."""
        if not self.mine:
            return
        fid = self.random.choice(self.mine).fid
        wanted = store_status(mode=self.random.choice((0o600, 0o644, 0o666)))
        try:
            await self.insist(fid, "chmod", lambda: self.client.ask(fid, lambda fs: fs.StoreStatus(fid, wanted)))
        except Abort:
            return  # an injected fault


MODE = store_status(mode=0o644)
LINK = store_status(mode=0o755)


def root(volume: int) -> AFSFid:
    """Of a volume: its root directory."""
    return AFSFid(volume, 1, 1)
