"""Somebody at work on a client: writes and reads files, makes and removes names, takes locks, one thing at a time."""

from __future__ import annotations

from afs.client import store_status
from afs.types import AFSFid
from rx.errors import Abort
from tests.simulation.clients.cache import CacheManager
from tests.simulation.clients.cell import ALL_VOLUMES
from tests.simulation.clients.excuses import Excuses
from tests.simulation.clients.history import Exclusion, Thing
from tests.simulation.clients.locking import Locking
from tests.simulation.clients.names import Names
from tests.simulation.clients.places import MODE, Place, Places, content, root

HOT = 0.4
"""The part of reads, and of its writer's writes, that is about the first file of all."""

FILES, LOCKS = 3, 2
"""Files of each actor, locks of all."""


class Actor(Names, Locking):
    """See the module."""

    def __init__(self, client: CacheManager, number: int, places: Places, excuses: Excuses) -> None:
        super().__init__(client, number, places, excuses)
        self.mine: list[Place] = []
        self.seconds = 0.3
        self.over = False
        self.done = 0

    async def settle_in(self) -> None:
        """Make the files of its own."""
        for kind, count, made in (("f", FILES, self.places.files), ("l", LOCKS, self.places.locks)):
            for index in range(count):
                if kind == "l" and self.number:
                    break
                volume = self.random.choice(ALL_VOLUMES)
                name = f"{kind}{self.number}.{index}"
                fid = await self._make(volume, name.encode())
                await self.store(fid, content(0))
                thing = Thing(f"{volume}/{name}", self.cell.tick, 0)
                place = Place(name, fid, thing, Exclusion(name))
                made.append(place)
                if kind == "f":
                    self.mine.append(place)

    async def _make(self, volume: int, name: bytes) -> AFSFid:
        (fid, *_), _ = await self.client.ask(root(volume), lambda fs: fs.CreateFile(root(volume), name, MODE))
        made: AFSFid = fid
        return made

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
            status, call = await self.insist(place.fid, "store", lambda: self.store(place.fid, data))
        except Abort:
            return False  # an injected fault; it may have been made in part
        place.thing.end(index)
        self.client.floor(place.thing).add(self.cell.tick(), index)
        self.cell.say(f"{self} wrote {place.name} {number}")
        self.note_version(place, index, status.DataVersion)
        self.client.changed(place.fid, status, call, data)
        return True

    async def read(self) -> None:
        """A file of anybody's."""
        if self.places.files:
            hot = self.random.random() < HOT
            await self.read_place(self.places.files[0] if hot else self.random.choice(self.places.files))

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
