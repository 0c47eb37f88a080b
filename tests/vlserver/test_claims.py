"""Ownership of partition objects: one wins, the loser is told who, and repeating is harmless."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from afs.errors import VLError
from afs.rpc.partitions import (
    PCLAIM,
    PHEARTBEAT_UNKNOWN,
    POUT,
    PREASON,
    PSTATE,
    PartitionClaim,
    PartitionRelease,
    PartitionRequest,
    PartitionServer,
)
from tests.support.budget import budget
from tests.vlserver.partitions import HOSTS, NOBODY, P, PartitionTest, S, T, U, on, request, whole
from tests.vlserver.support import START, Vldb, entry, uip
from vlserver.schema import EPOCH_LIMIT, Author, Partition
from vlserver.store import open_store

BY = Author("test", "test")


class ClaimTest(PartitionTest):
    """ClaimPartition."""

    async def test_granted(self) -> None:
        """A partition that is nobody's becomes the claimant's, with the number of its definition and what was said."""
        await self.define(P, S, 3)
        won = await self.claim(P, S, 0, heartbeat_age=7, lease=30000)
        self.assertEqual(won.result, POUT.DONE)
        found = await self.anyone.GetPartition(P)
        self.assertEqual(won.object, found)
        self.assertEqual((found.owner, found.last_owner, found.number, found.epoch), (whole(S), whole(S), 3, 1))
        tenure = found.tenure
        self.assertEqual((tenure.request, tenure.reason, tenure.text), (request(1).id, PREASON.MOUNT, b"test 1"))
        self.assertEqual((tenure.since, tenure.heartbeat_age, tenure.lease), (1_000_000, 7, 30000))
        self.assertEqual((found.state, found.changed), (PSTATE.UNKNOWN, 1_000_000))

    async def test_second_loses(self) -> None:
        """Two claim at the same epoch: the second changes nothing and is told who won."""
        await self.owned()
        revision = self.vldb.store.revision
        lost = await self.claim(P, T, 0, number=9)
        self.assertEqual((lost.result, lost.object.owner, lost.object.epoch), (POUT.LOST, whole(S), 1))
        again = await self.claim(P, T, 1, number=10)
        self.assertEqual((again.result, again.object.owner), (POUT.LOST, whole(S)))
        self.assertEqual(self.vldb.store.revision, revision)

    async def test_repeated(self) -> None:
        """The same request again finds that it was granted, and changes nothing; a later one would be another."""
        await self.owned()
        revision = self.vldb.store.revision
        again = await self.claim(P, S, 0)
        self.assertEqual((again.result, again.object.epoch), (POUT.ALREADY, 1))
        self.assertEqual(self.vldb.store.revision, revision)
        more = await self.claim(P, S, 1, number=5)
        self.assertEqual((more.result, more.object.epoch), (POUT.DONE, 2))
        late = await self.claim(P, S, 0)
        self.assertEqual((late.result, late.object.epoch), (POUT.LOST, 2))

    async def test_label_ahead(self) -> None:
        """A database restored from a backup can still claim: the epoch rises above the label's."""
        await self.define(P, S, 3)
        won = await self.claim(P, S, 0, label=41)
        self.assertEqual((won.result, won.object.epoch), (POUT.DONE, 42))

    async def test_labelled(self) -> None:
        """The owner that the label names takes the partition back from one the database wrongly remembers."""
        await self.owned()
        for label, flags, result in (
            (9, 0, POUT.LOST),
            (1, PCLAIM.LABELLED, POUT.LOST),
            (9, PCLAIM.LABELLED, POUT.DONE),
        ):
            won = await self.claim(P, T, 1, number=20, label=label, flags=flags)
            self.assertEqual(won.result, result)
        self.assertEqual((won.object.owner, won.object.epoch, won.object.number), (whole(T), 10, 4))

    async def test_force(self) -> None:
        """An administrator takes it from its owner for another server, from anywhere; still by its epoch."""
        await self.owned()
        wanted = PartitionClaim(P, on(T), request(8, PREASON.FAILOVER), 1, 1, flags=PCLAIM.FORCE)
        await self.refused(VLError.VL_PERM, self.anyone.ClaimPartition(wanted))
        stale = PartitionClaim(P, on(T), request(8), 0, 1, flags=PCLAIM.FORCE)
        self.assertEqual((await self.admin.ClaimPartition(stale)).result, POUT.LOST)
        won = await self.admin.ClaimPartition(wanted)
        self.assertEqual((won.result, won.object.owner, won.object.epoch), (POUT.DONE, whole(T), 2))
        self.assertEqual(won.object.tenure.flags, PCLAIM.FORCE)

    async def test_only_for_itself(self) -> None:
        """The cell's key is not enough: a server claims and releases from one of its own addresses only."""
        await self.owned()
        for caller in (self.admin, self.as_server(T)):
            await self.refused(VLError.VL_PERM, caller.ClaimPartition(PartitionClaim(P, on(S), request(3), 1)))
            await self.refused(VLError.VL_PERM, caller.ReleasePartition(PartitionRelease(P, on(S), request(3), 1)))

    async def test_number_taken(self) -> None:
        """A partition that the server has at that number is in the way and named; one without volumes is not."""
        await self.define(P, S, 3)
        there = Partition(UUID(int=0x9991), 3, 0, 0, implicit=True)
        await self.vldb.store.write(lambda t: t.put_partition(replace(there, implicit=False)), BY)
        taken = await self.claim(P, S, 0)
        self.assertEqual((taken.result, taken.object.uuid), (POUT.NUMBER, there.uuid))
        await self.vldb.store.write(lambda t: t.put_partition(there), BY)
        self.assertEqual((await self.claim(P, S, 0)).result, POUT.DONE)
        await self.refused(VLError.VL_NOENT, self.anyone.GetPartition(there.uuid))

    async def test_refusals(self) -> None:
        """Unknown partitions and servers, requests without id, and epochs at the end of all are refused."""
        await self.define(P, S, 3)
        server = self.as_server(S)
        await self.refused(VLError.VL_NOENT, self.claim(UUID(int=1), S, 0))
        claim = PartitionClaim(P, on(UUID(int=1)), request(1), 0)
        await self.refused(VLError.VL_BADSERVER, server.ClaimPartition(claim))
        await self.refused(VLError.VL_BADSERVER, server.ClaimPartition(PartitionClaim(P, NOBODY, request(1), 0)))
        claim = PartitionClaim(P, on(S), PartitionRequest(), 0)
        await self.refused(VLError.VL_BADENTRY, server.ClaimPartition(claim))
        claim = PartitionClaim(P, on(S), PartitionRequest(UUID(int=1), 0, b"\xff"), 0)
        await self.refused(VLError.VL_BADNAME, server.ClaimPartition(claim))
        for label in (EPOCH_LIMIT - 1, EPOCH_LIMIT, (1 << 64) - 1):
            await self.refused(VLError.VL_BADENTRY, self.claim(P, S, 0, label=label))
        self.assertEqual((await self.claim(P, S, 0, label=EPOCH_LIMIT - 2)).object.epoch, EPOCH_LIMIT - 1)
        self.assertEqual((await self.claim(P, U, EPOCH_LIMIT - 1)).result, POUT.LOST)

    async def test_undefined(self) -> None:
        """A server where the partition may not be mounted cannot have it, by force neither."""
        await self.define(P, S, 3)
        self.assertEqual((await self.claim(P, U, 0)).result, POUT.UNDEFINED)
        wanted = PartitionClaim(P, on(U), request(2), 0, flags=PCLAIM.FORCE)
        self.assertEqual((await self.admin.ClaimPartition(wanted)).result, POUT.UNDEFINED)

    async def test_log(self) -> None:
        """A claim is one changed row, with the name of the RPC and who called from where."""
        await self.define(P, S, 3)
        revision = self.vldb.store.revision
        await self.claim(P, S, 0)
        (change,) = await self.vldb.store.read(lambda t: t.changes(revision, 9))
        self.assertEqual((change.author.who, change.author.operation), ("admin 10.0.0.1", "ClaimPartition"))
        self.assertEqual([row.kind for row in change.rows], ["partition"])


class ReleaseTest(PartitionTest):
    """ReleasePartition."""

    async def test_released(self) -> None:
        """Its entries go on naming the last owner; the epoch stays, and anybody defined may claim."""
        await self.owned()
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.1", 3, 4)]))
        gone = await self.release(P, S, 1)
        self.assertEqual((gone.result, gone.object.owner, gone.object.last_owner), (POUT.DONE, NOBODY, whole(S)))
        self.assertEqual((gone.object.epoch, gone.object.state), (1, PSTATE.RELEASED))
        found = await self.anyone.GetEntryByNameN(b"vol")
        self.assertEqual((found.nServers, found.serverPartition[0]), (1, 3))
        for number in (2, 3):  # the same request, and another
            self.assertEqual((await self.release(P, S, 1, number=number)).result, POUT.ALREADY)
        won = await self.claim(P, T, 1, number=9)
        self.assertEqual((won.result, won.object.epoch), (POUT.DONE, 2))
        lost = await self.release(P, S, 1)
        self.assertEqual((lost.result, lost.object.owner), (POUT.LOST, whole(T)))
        found = await self.anyone.GetEntryByNameN(b"vol")
        self.assertEqual((found.nServers, found.serverPartition[0]), (1, 4))

    async def test_handed_over(self) -> None:
        """To a successor in one write, at the next epoch; repeated it is done already."""
        await self.owned()
        revision = self.vldb.store.revision
        given = await self.release(P, S, 1, T)
        self.assertEqual((given.result, given.object.owner, given.object.epoch), (POUT.DONE, whole(T), 2))
        self.assertEqual((given.object.number, self.vldb.store.revision), (4, revision + 1))
        again = await self.release(P, S, 1, T)
        self.assertEqual((again.result, again.object.owner), (POUT.ALREADY, whole(T)))
        late = await self.claim(P, S, 1, number=9)
        self.assertEqual((late.result, late.object.owner), (POUT.LOST, whole(T)))

    async def test_taken_back(self) -> None:
        """A source that claims its own back before the hand-over makes a late hand-over lose."""
        await self.owned()
        self.assertEqual((await self.claim(P, S, 1, number=5)).object.epoch, 2)
        late = await self.release(P, S, 1, T)
        self.assertEqual((late.result, late.object.owner), (POUT.LOST, whole(S)))

    async def test_refusals(self) -> None:
        """Not to oneself, nor where it is not defined; a stranger's is refused, an administrator may force."""
        await self.owned()
        await self.refused(VLError.VL_BADENTRY, self.release(P, S, 1, S))
        self.assertEqual((await self.release(P, S, 1, U)).result, POUT.UNDEFINED)
        self.assertEqual((await self.release(P, T, 1)).result, POUT.LOST)
        forced = PartitionRelease(P, on(T), request(4), 1, PartitionServer(), PCLAIM.FORCE)
        self.assertEqual((await self.admin.ReleasePartition(forced)).result, POUT.DONE)


class RaceTest(PartitionTest):
    """Any claims and releases, in any order."""

    async def test_one_wins(self) -> None:
        """Each epoch has one owner; a claim wins only at the epoch it names; repeats agree with what was granted."""
        amount = budget("vlserver.claims", full=20_000)
        chance = random.Random(amount.seed)
        for server, number in ((S, 3), (T, 4), (U, 5)):
            await self.define(P, server, number)
        owners: dict[int, UUID] = {}
        made: list[tuple[UUID, int, int]] = []
        for count in range(amount.count):
            found = await self.anyone.GetPartition(P)
            wanted = (chance.choice((S, T, U)), max(0, found.epoch - chance.choice((0, 0, 0, 1, 2))), 100 + count)
            if made and chance.random() < 0.2:
                wanted = chance.choice(made)
            made.append(wanted)
            server, epoch, number = wanted
            if chance.random() < 0.4:
                successor = chance.choice((UUID(int=0), S, T, U))
                if successor == server:
                    continue
                result = await self.release(P, server, epoch, successor, 1_000_000 + number)
            else:
                result = await self.claim(P, server, epoch, number, chance.choice((0, epoch)))
            now = await self.anyone.GetPartition(P)
            self.assertEqual(result.object, now)
            if result.result == POUT.DONE:
                self.assertEqual(epoch, found.epoch, wanted)
            else:
                self.assertEqual(now, found, wanted)
            if now.owner != NOBODY:
                self.assertEqual(owners.setdefault(now.epoch, now.owner.uuid), now.owner.uuid)
        self.assertGreater(len(set(owners.values())), 1)

    async def test_at_once(self) -> None:
        """Of many claims sent at once exactly one wins, and all others are told who."""
        for server, number in ((S, 3), (T, 4), (U, 5)):
            await self.define(P, server, number)
        asked = [ensureDeferred(self.claim(P, server, 0, number)) for number, server in enumerate(list(HOSTS) * 5, 1)]
        results = [await each for each in asked]
        (winner,) = [each for each in results if each.result == POUT.DONE]
        self.assertEqual([each.object for each in results], [winner.object] * len(results))
        self.assertEqual({each.result for each in results}, {POUT.DONE, POUT.LOST})
        self.assertEqual(winner.object.tenure.heartbeat_age, PHEARTBEAT_UNKNOWN)


class DurableRaceTest(PartitionTest):
    """The same on SQLite, whose writing thread puts writes that wait together into one commit."""

    async def setUp(self) -> None:  # type: ignore[override]
        any_reactor: Any = reactor
        self.vldb = Vldb(open_store(f"sqlite:///{self.mktemp()}", any_reactor, lambda: START))
        self.addCleanup(lambda: ensureDeferred(self.vldb.store.close()))
        self.admin, self.anyone = self.vldb.as_admin, self.vldb.as_anyone
        for number, (server, host) in enumerate(HOSTS.items(), 3):
            await self.admin.RegisterAddrs(server, 0, (uip(host),))
            await self.define(P, server, number)

    async def test_at_once(self) -> None:
        """In every round of claims at one epoch exactly one wins, and all others are told who."""
        for epoch in range(5):
            revision = self.vldb.store.revision
            numbered = enumerate(list(HOSTS) * 4, 1 + 100 * epoch)
            asked = [ensureDeferred(self.claim(P, server, epoch, number)) for number, server in numbered]
            results = [await each for each in asked]
            (winner,) = [each for each in results if each.result == POUT.DONE]
            self.assertEqual([each.object for each in results], [winner.object] * len(results))
            self.assertEqual(self.vldb.store.revision, revision + 1)
            released = await self.release(P, winner.object.owner.uuid, epoch + 1, number=90 + epoch)
            self.assertEqual(released.result, POUT.DONE)
