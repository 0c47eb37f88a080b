"""One run: clients at work, first in peace, then while everything happens that may, then in peace again, when nothing
may go wrong any more; and at last all that was acknowledged is looked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from afs.rpc.fs import LockWrite
from afs.rpc.vl import NMAXNSERVERS, VLF_RWEXISTS, VLSF_RWVOL, nvldbentry
from tests.simulation.clients.actor import Actor
from tests.simulation.clients.cache import CacheManager
from tests.simulation.clients.cell import ALL_VOLUMES, LEASE_SECONDS, SERVERS, VOLUMES, Cell, the_current
from tests.simulation.clients.excuses import Excuses
from tests.simulation.clients.leaks import leaks, wrong_on_disk
from tests.simulation.clients.network import Conditions
from tests.simulation.clients.places import Places
from tests.simulation.clients.server import VLSERVER, Options
from tests.simulation.clients.troubles import Troubles
from tests.simulation.ownership.cell import Defect
from tests.simulation.ownership.run import unwound

START_SECONDS = 30.0
TROUBLE_SECONDS = 25.0
RECOVER_SECONDS = 40.0
"""After this no call that met a trouble is under way: servers are back, and clients give silent ones up after 15 s."""
PEACE_SECONDS = 8.0
END_SECONDS = 150.0
"""More than a call is tried again."""
QUIET_SECONDS = 20.0
"""For calls of clients that have gone to be given up."""

VANISHED_SECONDS = 15.0
"""After which no server waits for a client that has gone."""

MOST_CLIENTS = 7
FIRST_NEWCOMER = 10

AUDITOR = 99
"""The number of the client that only looks on."""


@dataclass
class Outcome:
    """What a run has shown besides that nothing was wrong."""

    deeds: int
    hits: int
    errors: int
    troubles: dict[str, int]
    datagrams: int


class Run:
    """See the module. `only` names the kinds of trouble there are to be; none: any."""

    def __init__(self, seed: int, only: tuple[str, ...] = (), history: list[str] | None = None) -> None:
        self.cell = cell = Cell(seed)
        random = cell.world.random
        cell.options = Options(room=random.choice((2, 2, 3, 4096)), callbacks=random.choice((12, 60_000, 60_000)))
        cell.history = history
        self.excuses = Excuses(cell)
        self.troubles = Troubles(cell, self.excuses, only)
        self.troubles.vanish, self.troubles.newcomer = self.vanish, self.newcomer
        self.troubles.seconds = random.choice((1.0, 2.0, 5.0))
        self.places = Places()
        self.actors: list[Actor] = []
        self.gone: list[UUID] = []
        self.hits = 0
        self._crashed = False
        self._settling: set[Actor] = set()
        self._working: set[Actor] = set()
        self._numbers = itertools.count()
        self._newcomers = itertools.count(FIRST_NEWCOMER)

    def go(self) -> Outcome:
        """Raises Defect."""
        self._begin()
        self._pass(TROUBLE_SECONDS)
        self.troubles.cease()
        self.cell.say("troubles are over")
        self._pass(RECOVER_SECONDS)
        self._make_peace()
        self._pass(PEACE_SECONDS)
        for actor in self.actors:
            actor.over = True
        self._until(END_SECONDS, lambda: not self._working, "the clients' last calls")
        self._audit()
        self._leave()
        deeds = sum(actor.done for actor in self.actors)
        return Outcome(deeds, self.hits, self.excuses.errors, self.troubles.counts, self.cell.network.sent)

    def _begin(self) -> None:
        cell = self.cell
        random = cell.world.random
        for server in cell.servers:
            server.start()
        self._until(START_SECONDS, lambda: all(not each.busy and each.mounted for each in cell.servers), "servers")
        self.auditor = self._client(AUDITOR, 0)
        self._await(self.auditor, enter_volumes(self.auditor))
        for number in range(random.choice((2, 3, 3))):
            self._client(number, random.choice((1, 2, 3)))
        self._until(START_SECONDS, lambda: not self._settling, "actors")
        for storage in cell.storages.values():
            storage.seconds = random.choice((0.0, 0.001, 0.01))
        cell.network.conditions = Conditions(
            loss=random.choice((0.0, 0.0, 0.0, 0.02, 0.1)),
            duplication=random.choice((0.0, 0.0, 0.1)),
            latency=random.choice((0.0001, 0.001, 0.01, 0.04)),
            jitter=random.choice((0.0, 0.0005, 0.005, 0.05)),
        )
        pace = random.choice((0.1, 0.3, 0.3))
        for actor in self.actors:
            actor.seconds = pace
        self.troubles.administrator.begin()
        cell.world.after(2.0, self.troubles.begin)

    def _make_peace(self) -> None:
        """From now on nothing that happened before is an excuse."""
        cell = self.cell
        cell.say("peace")
        for trouble in self.excuses.troubles:
            self._crashed |= trouble.kind == "kill"
            if trouble.ended is None or trouble.ended > cell.world.now:
                cell.defect(f"{trouble} has not ended")
        self.excuses.troubles.clear()
        for storage in cell.storages.values():
            self._crashed |= any(each.kind in ("EIO", "ENOSPC") for each in storage.faults)
            storage.faults.clear()
        for client in cell.clients:
            for copy in client.copies.values():
                if copy.doubtful:
                    copy.promised_by = ""

    # Clients.

    def _client(self, number: int, actors: int) -> CacheManager:
        cell = self.cell
        client = CacheManager(cell, number, cell.process(f"client{number}"))
        client.answered = self.excuses.judge_time

        def begin() -> None:
            client.start()
            for _ in range(actors):
                actor = Actor(client, next(self._numbers), self.places, self.excuses)
                self.actors.append(actor)
                self._settling.add(actor)
                cell.watch(self._work(actor))

        client.process.post(begin)
        cell.clients.append(client)
        cell.kept.append(client)
        return client

    async def _work(self, actor: Actor) -> None:
        actor.choose_names()
        if not self.troubles.administrator.begun:  # who comes late makes no files of its own
            await actor.settle_in()
        self._settling.discard(actor)
        self._working.add(actor)
        await actor.work()
        self._working.discard(actor)

    def vanish(self) -> None:
        """A client is gone without a word; soon another is at its address."""
        clients = [client for client in self.cell.clients if client is not self.auditor]
        if len(clients) > 1:
            client = self.cell.world.random.choice(clients)
            self._bury(client)
            self.gone.append(client.uuid)
            self.excuses.begin("vanish", client.host, VANISHED_SECONDS)
            self.cell.world.after(self.cell.world.random.choice((0.5, 9.0)), self._client, client.number, 1)

    def newcomer(self) -> None:
        """A client comes that knows nothing of who had what before."""
        if len(self.cell.clients) < MOST_CLIENTS:
            self._client(next(self._newcomers), 1)

    def _bury(self, client: CacheManager) -> None:
        self.hits += client.hits
        self.cell.clients.remove(client)
        self.cell.bury(client.process)
        for actor in self.actors:
            if actor.client is client:
                self._working.discard(actor)

    # How a run ends.

    def _audit(self) -> None:
        """All that was acknowledged is there, and every lock can be had once its lease has run out."""
        self._pass(LEASE_SECONDS + 2.0)
        auditor = Actor(self.auditor, next(self._numbers), self.places, self.excuses)

        async def look() -> None:
            for place in (*self.places.files, *self.places.locks):
                await auditor.read_place(place)
            for volume in ALL_VOLUMES:
                await auditor.look_at(volume, fresh=True)
            for place in self.places.locks:
                if await auditor.lock(place, LockWrite) is None:
                    self.cell.defect(f"nobody has {place.name}, and it cannot be had")

        self._await(self.auditor, look())

    def _leave(self) -> None:
        """Clients give up what they were promised and go; servers have nothing left, and end."""
        cell = self.cell
        for client in list(cell.clients):
            self._await(client, client.give_up_all())
            self._await(client, client.stop())
            self._bury(client)
        self._pass(QUIET_SECONDS)
        for server in cell.servers:
            assert server.service is not None
            for line in leaks(server.service, self.gone):
                cell.defect(f"{server.host}: {line}")
            server.stop()
        self._until(END_SECONDS, lambda: all(server.process is None for server in cell.servers), "the end of servers")
        for storage in cell.storages.values():
            for line in wrong_on_disk(storage, cell.volumes_of(storage), self._crashed):
                cell.defect(line)
        self._raise()

    # Time.

    def _pass(self, seconds: float) -> None:
        cell = self.cell
        cell.world.run(cell.world.now + seconds, lambda: bool(cell.defects))
        self._raise()

    def _until(self, seconds: float, done: Callable[[], bool], what: str) -> None:
        cell = self.cell
        if not cell.world.run(cell.world.now + seconds, lambda: done() or bool(cell.defects)):
            cell.defect(f"{what}: not after {seconds} s")
        self._raise()

    def _raise(self) -> None:
        if self.cell.defects:
            raise Defect(f"seed {self.cell.seed}: {self.cell.defects[0]}")

    def _await(self, client: CacheManager, work: Coroutine[Any, Any, Any]) -> None:
        """What a client does, to its end."""
        over: list[object] = []

        async def doing() -> None:
            await work
            over.append(None)

        client.process.post(lambda: self.cell.watch(doing()))
        self._until(END_SECONDS, lambda: bool(over), f"{work}")


async def enter_volumes(client: CacheManager) -> None:
    """All volumes into the VLDB, where they are at first."""
    rest = (0,) * (NMAXNSERVERS - 1)
    for number, ids in enumerate(VOLUMES):
        for volume_id in ids:
            entry = nvldbentry(
                name=b"volume.%d" % volume_id,
                nServers=1,
                serverNumber=(int(IPv4Address(SERVERS[number])), *rest),
                serverPartition=(number, *rest),
                serverFlags=(VLSF_RWVOL, *rest),
                volumeId=(volume_id, 0, 0),
                flags=VLF_RWEXISTS,
            )
            await client.vl(VLSERVER).CreateEntryN(entry)


def run(seed: int, only: tuple[str, ...] = (), history: list[str] | None = None) -> Outcome:
    """Raises Defect. What happened is added to the history."""
    one = Run(seed, only, history)
    with the_current(one.cell), unwound(one.cell):
        return one.go()
