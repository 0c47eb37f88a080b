"""OpenAFS's security advisories about many clients at a time, each by its number."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from afs.errors import VLError
from afs.rpc.ubik import VOTE
from tests.security.cell import AdvisoryTest
from tests.support.budget import budget
from tests.vlserver.support import entry

HOSTS = budget("security.hosts", full=10_000)
PROMISES = budget("security.promises", full=1000)
WRITES = budget("security.writes", full=1000)


class Crowds(AdvisoryTest):
    """Many at a time."""

    async def test_2014_002(self) -> None:
        """Hosts that come and go by the thousand leave the server serving."""
        for _ in range(HOSTS.count):
            client = self.cell.client()
            await self.files(client).GetTime()
            await client.stop()
        await self.served()

    async def test_2007_003(self) -> None:
        """Promises given, and given up one by one and all together, by many clients at the same time, stay consistent:
        who holds one at the end is told.
        """
        await self.cell.tool.set_acl(self.root, {"system:administrators": "all", "system:anyuser": "rl"})
        clients = [self.cell.client() for _ in range(20)]
        randoms = [Random(PROMISES.seed + number) for number in range(len(clients))]
        await gatherResults([Deferred.fromCoroutine(self.juggle(*pair)) for pair in zip(clients, randoms, strict=True)])
        for client in clients:
            await self.files(client).FetchStatus(self.file)
        told = [client.breaks.expect(self.file) for client in clients]
        await self.cell.tool.store(self.file, b"changed", 0, 7)
        await gatherResults(told)

    async def test_2019_003(self) -> None:
        """Questions of how the database does, asked all the time by strangers, neither stop nor spoil its writes."""
        locations, votes = (
            self.locations(self.cell.tool),
            VOTE.client(self.stranger.caller(self.cell.vlserver_address, VOTE.service_id)),
        )
        name = b"written"
        before = (await votes.Debug()).localVersion.counter
        written = 0

        async def ask() -> None:
            while written < WRITES.count:
                await votes.Debug()
                await votes.XDebug()

        asking = [Deferred.fromCoroutine(ask()) for _ in range(4)]
        for written in range(1, WRITES.count + 1):
            if written % 2:
                await locations.CreateEntryN(entry(name, (written + 1000, 0, 0)))
            else:
                await locations.DeleteEntry(written + 999, 0)
        await gatherResults(asking)
        self.assertEqual((await votes.Debug()).localVersion.counter, before + WRITES.count)
        self.assertEqual(await self.refusal(locations.GetEntryByNameN(name)), VLError.VL_NOENT)

    async def juggle(self, client: Any, random: Random) -> None:
        files = self.files(client)
        for _ in range(PROMISES.count):
            match random.randrange(4):
                case 0:
                    await files.GiveUpAllCallBacks()
                case 1:
                    await files.GiveUpCallBacks((self.file, self.directory), ())
                case _:
                    await files.FetchStatus(random.choice((self.file, self.directory, self.root)))
