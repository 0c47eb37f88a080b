"""Names in shared directories: made, renamed, removed, and looked at by everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from afs.dirpages import BadDirectory, read_directory
from afs.rpc.fs import RXAFS
from afs.types import AFSFid
from rx.errors import RxError
from tests.simulation.clients.caller import Caller
from tests.simulation.clients.cell import ALL_VOLUMES
from tests.simulation.clients.history import UNKNOWN, Thing
from tests.simulation.clients.places import LINK, MODE, root

NAMES = 4
"""Of each, in directories that all share."""


class Names(Caller):
    """See the module."""

    temporary: list[tuple[int, bytes]]

    def choose_names(self) -> None:
        """Those of its own that will come and go."""
        self.temporary = []
        for index in range(NAMES):
            volume, name = self.random.choice(ALL_VOLUMES), b"t%d.%d" % (self.number, index)
            self.places.names[volume, name] = Thing(f"{volume}/{name.decode()}", self.cell.tick, None)
            self.temporary.append((volume, name))

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
            begun, fetched = await self.fetched(root(volume))
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
