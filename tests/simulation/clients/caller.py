"""How somebody at work on a client makes calls, and holds what they give against what is known."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from twisted.internet.task import deferLater

from afs.rpc.fs import RXAFS
from afs.types import AFSFid, AFSStoreStatus
from rx.errors import Abort, RxError
from rx.streams import BytesSource
from tests.simulation.clients.cache import CacheManager, Call
from tests.simulation.clients.cell import Cell
from tests.simulation.clients.excuses import Excuses, passes
from tests.simulation.clients.places import Place, Places, content

PATIENCE_SECONDS = 120.0
"""How long a call is tried again before that is an error."""

RETRY_SECONDS = 0.7


class Caller:
    """See the module."""

    def __init__(self, client: CacheManager, number: int, places: Places, excuses: Excuses) -> None:
        self.cell: Cell = client.cell
        self.client = client
        self.number = number
        self.places = places
        self.excuses = excuses
        self.random = Random(self.cell.world.random.getrandbits(64))

    def __repr__(self) -> str:
        return f"actor {self.number}"

    def pause(self, seconds: float) -> Any:
        return deferLater(self.client._port.reactor, seconds)

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

    async def store(self, fid: AFSFid, data: bytes) -> tuple[Any, Call]:
        def send(fs: RXAFS) -> Awaitable[Any]:
            return fs.StoreData64(fid, AFSStoreStatus(), 0, len(data), len(data), BytesSource(data))

        (status, _), call = await self.client.ask(fid, send)
        if status.Length != len(data):
            self.cell.defect(f"{self}: {len(data)} bytes stored, and the file has {status.Length}")
        return status, call

    async def read_place(self, place: Place) -> None:
        """From the copy if its promise holds."""
        copy = self.client.valid(place.fid)
        if copy is not None:
            self.client.hits += 1
            if not copy.doubtful:
                self.found(place, copy.content, self.cell.tick(), cached=True)
            return
        begun, data = await self.fetched(place.fid)
        if data is not None:
            self.found(place, data, begun, cached=False)

    async def fetched(self, fid: AFSFid) -> tuple[int, bytes | None]:
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

    def found(self, place: Place, data: bytes, begun: int, *, cached: bool) -> None:
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

    def note_version(self, place: Place, index: int, version: int) -> None:
        """Data versions rise with changes."""
        before = max((place.versions[each] for each in place.versions if each < index), default=-1)
        if version <= before:
            self.cell.defect(f"{place.name}: change {index} has version {version}, one before it {before}")
        place.versions[index] = version
