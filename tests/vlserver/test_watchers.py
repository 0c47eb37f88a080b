"""WatchChanges: what has changed, by whom, and how long one may wait for it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from afs.errors import VLError
from afs.rpc.partitions import PartitionNamed, PartitionPlace, PartitionVolumeName, PartitionWatch
from afs.types import NIL_UUID
from rx.errors import Abort
from tests.vlserver.partitions import HOSTS, A, P, PartitionTest, S, T, whole
from tests.vlserver.support import entry
from vlserver.operations import changes
from vlserver.watchers import WAIT_SECONDS, WAITING, WAITING_PER_HOST


class WatchTest(PartitionTest):
    """Three servers are registered: revision 3."""

    def waiting(self, wait: int = 5000, since: int = 3, caller: Any = None, **fields: Any) -> Deferred[Any]:
        """A call that is begun."""
        watch = PartitionWatch(since=since, wait=wait, **fields)
        return Deferred.fromCoroutine((caller or self.anyone).WatchChanges(watch))

    async def test_at_once(self) -> None:
        """What is newer is told at once: revisions, who, which RPC, and what the rows are about."""
        await self.define(P, S, 3)
        await self.admin.CreateEntryN(entry(b"vol", (50, 0, 0), [("10.0.0.1", 3, 4)]))
        found, revision, oldest = await self.anyone.WatchChanges(PartitionWatch(since=3, wait=5000))
        self.assertEqual(([each.revision for each in found], revision, oldest), ([4, 5], 5, 1))
        self.assertEqual((found[0].who, found[0].operation), (b"admin 192.0.2.1", b"DefinePartition"))
        subjects = [row.subject for each in found for row in each.rows]
        named = [PartitionNamed(P), PartitionPlace(P, whole(S)), PartitionVolumeName(1, b"vol", (50, 0, 0))]
        self.assertEqual(subjects, named)
        self.assertEqual(found[0].rows[0].before, b"")
        self.assertIn(b'"number":3', found[0].rows[0].after)

    async def test_woken(self) -> None:
        """A waiting call is answered by the next write, before its time."""
        answer = self.waiting()
        self.assertNoResult(answer)
        await self.define(P, S, 3)
        found, revision, _ = self.successResultOf(answer)
        self.assertEqual(([each.revision for each in found], revision), ([4], 4))
        self.assertEqual((len(self.vldb.database.watchers), self.vldb.clock.getDelayedCalls()), (0, []))

    async def test_time_is_over(self) -> None:
        """Nothing to tell is told after the time asked for, a minute at most."""
        for wait, seconds in ((5000, 5.0), (0, 0.0), (0xFFFFFFFF, WAIT_SECONDS)):
            answer = self.waiting(wait)
            if seconds:
                self.vldb.clock.advance(seconds - 0.1)
                self.assertNoResult(answer)
                self.vldb.clock.advance(0.2)
            self.assertEqual(self.successResultOf(answer), ((), 3, 1))

    async def test_one_partition(self) -> None:
        """Changes of others do not answer a call for one partition; they move its revision on."""
        answer = self.waiting(partition=P)
        await self.define(A, S, 3)
        self.assertNoResult(answer)
        await self.define(P, T, 4)
        found, revision, _ = self.successResultOf(answer)
        self.assertEqual(([each.revision for each in found], revision), ([5], 5))

    async def test_paged(self) -> None:
        """Long histories come in parts that leave nothing out, whatever ends a part."""
        self.patch(changes, "_CHANGES_AT_ONCE", 2)
        self.patch(changes, "CHANGES_LOOKED_AT", 4)
        for number in range(20):
            await self.define(A if number % 3 else P, S if number % 2 else T, number)
        for partition, limit in ((P, 0), (P, 2), (NIL_UUID, 3), (NIL_UUID, 0)):
            seen, since = [], 0
            while True:
                found, revision, _ = await self.anyone.WatchChanges(PartitionWatch(since, partition, limit))
                seen += [each.revision for each in found]
                if revision == since:
                    break
                since = revision
            expected = [4 + number for number in range(20) if number % 3 == 0] if partition == P else range(1, 24)
            self.assertEqual(seen, list(expected))

    async def test_other_database(self) -> None:
        """A revision of the future, from before a backup was restored, is answered at once by the lower one."""
        self.assertEqual(await self.anyone.WatchChanges(PartitionWatch(since=99, wait=5000)), ((), 3, 1))

    async def test_bounds(self) -> None:
        """So many wait, of one host and in all; the next is refused, and those before it are not lost."""
        first = self.vldb.as_server(HOSTS[S])
        answers = [self.waiting(caller=first) for _ in range(WAITING_PER_HOST)]
        refusal = self.failureResultOf(self.waiting(caller=first), Abort)
        self.assertEqual(refusal.value.code, VLError.VL_NOMEM)
        hosts = [f"192.0.2.{10 + number}" for number in range(WAITING - WAITING_PER_HOST)]
        answers += [self.waiting(caller=self.vldb.as_server(host)) for host in hosts]
        refusal = self.failureResultOf(self.waiting(caller=self.vldb.as_server("198.51.100.1")), Abort)
        self.assertEqual(refusal.value.code, VLError.VL_NOMEM)
        await self.define(P, S, 3)
        for answer in answers:
            self.assertEqual(self.successResultOf(answer)[1], 4)
        self.assertEqual(len(self.vldb.database.watchers), 0)

    async def test_shutdown(self) -> None:
        """When the server ends all are answered at once, and nobody waits any more."""
        answer = self.waiting()
        self.vldb.database.watchers.close()
        self.assertEqual(self.successResultOf(answer), ((), 3, 1))
        self.assertEqual(self.successResultOf(self.waiting()), ((), 3, 1))
        self.assertEqual(self.vldb.clock.getDelayedCalls(), [])
