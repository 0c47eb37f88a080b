"""No reply outlives what it was made from: kept replies beside fresh reads, while the database changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from afs.rpc.vl import nvldbentry
from rx.errors import Abort
from rx.service import Encoded
from tests.contracts.ivlstore import BY, A, B, a_volume, furnish
from tests.support.budget import budget
from tests.vlserver.support import Vldb
from vlserver.interfaces import ITransaction, IVLStore
from vlserver.replies import Replies
from vlserver.schema import PARTITION_NUMBERS
from vlserver.store.memory import MemoryStore
from vlserver.store.sqlite import SqliteStore

VOLUMES = 12


class NothingKept(Replies):
    """Replies that are always made anew."""

    def get(self, key: object) -> Encoded | None:
        return None


class SlowReactor:
    """What a store's threads ask of a reactor, done when the test says so."""

    def __init__(self) -> None:
        self.asked: Deferred[None] = Deferred()
        self._waiting: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """Keep it for `go_on`, and tell the test in the real reactor."""
        self._waiting.append(lambda: function(*arguments))
        if len(self._waiting) == 1:
            reactor.callFromThread(self.asked.callback, None)  # type: ignore[attr-defined]

    def go_on(self) -> None:
        """Do what has been asked for, and from now on everything at once."""
        self.callFromThread = reactor.callFromThread  # type: ignore[attr-defined,method-assign]
        while self._waiting:
            self._waiting.pop(0)()


def moved(uuid: UUID, number: int) -> Callable[[ITransaction], None]:
    """The work that gives a partition another number."""

    def work(transaction: ITransaction) -> None:
        partition = transaction.partition(uuid)
        assert partition is not None
        transaction.put_partition(replace(partition, number=number, epoch=partition.epoch + 1))

    return work


def populate(transaction: ITransaction) -> None:
    """Volumes v0.. on partition A, with ids 10, 20, ..."""
    furnish(transaction)
    transaction.remove_partition(B)
    for number in range(VOLUMES):
        transaction.add_volume(a_volume(b"v%d" % number, 10 * (number + 1), A))


class RepliesTest(TestCase):
    """Lookups while partitions move."""

    timeout = 300

    def vldb(self, store: IVLStore) -> Vldb:
        """Procedures on a store that is closed at the end."""
        self.addCleanup(lambda: ensureDeferred(store.close()))
        return Vldb(store)

    async def test_seen_before_it_is_answered(self) -> None:
        """A move that is in the database but not answered yet: once one lookup has seen it, all do, kept or not."""
        slow: Any = SlowReactor()
        store = SqliteStore(self.mktemp(), slow, lambda: 1.0)
        begun = ensureDeferred(store.write(populate, BY))
        await slow.asked
        slow.go_on()
        await begun
        anyone = self.vldb(store).as_anyone
        self.assertEqual((await anyone.GetEntryByNameN(b"v0")).serverPartition[0], 0)  # kept from now on
        again: Any = SlowReactor()
        self.addCleanup(again.go_on)
        store._writer._reactor = again
        move = ensureDeferred(store.write(moved(A, 7), BY))
        await again.asked
        self.assertNoResult(move)
        self.assertEqual((await anyone.GetEntryByNameN(b"v1")).serverPartition[0], 7)
        self.assertEqual((await anyone.GetEntryByNameN(b"v0")).serverPartition[0], 7)
        again.go_on()
        await move

    async def test_seen_by_a_listing(self) -> None:
        """The same when it is a listing that has seen the move."""
        slow: Any = SlowReactor()
        store = SqliteStore(self.mktemp(), reactor, lambda: 1.0)  # type: ignore[arg-type]
        await store.write(populate, BY)
        anyone = self.vldb(store).as_anyone
        self.assertEqual((await anyone.GetEntryByNameN(b"v0")).serverPartition[0], 0)
        self.addCleanup(slow.go_on)
        store._writer._reactor = slow
        move = ensureDeferred(store.write(moved(A, 7), BY))
        await slow.asked
        await store.survey(lambda transaction: transaction.volumes(0, VOLUMES))
        self.assertEqual((await anyone.GetEntryByNameN(b"v0")).serverPartition[0], 7)
        slow.go_on()
        await move

    async def test_moves_are_seen_at_once(self) -> None:
        """Lookups of any volumes of a partition that moves on and on never go back to an earlier place."""
        allowance = budget("vlserver.replies.moves", full=20_000, least=200)
        random_ = random.Random(allowance.seed)
        store = SqliteStore(self.mktemp(), reactor, lambda: 1.0)  # type: ignore[arg-type]
        await store.write(populate, BY)
        anyone = self.vldb(store).as_anyone
        seen = lookups = 0
        for step in range(1, allowance.count + 1):
            number = step % PARTITION_NUMBERS
            move = ensureDeferred(store.write(moved(A, number), BY))
            previous = (step - 1) % PARTITION_NUMBERS
            for _ in range(random_.randrange(1, 60)):
                found = await self.lookup(anyone, random_)
                lookups += 1
                if seen == step:
                    self.assertEqual(found, number, f"step {step}")
                elif found == number:
                    seen = step
                else:
                    self.assertEqual(found, previous, f"step {step}")
            await move
            seen = step
            self.assertEqual(await self.lookup(anyone, random_), number)
        self.assertGreater(lookups, allowance.count)

    async def lookup(self, anyone: Any, random_: random.Random) -> int:
        """The partition number that one of the lookups says of one of the volumes."""
        number = random_.randrange(VOLUMES)
        match random_.randrange(3):
            case 0:
                entry = await anyone.GetEntryByNameN(b"v%d" % number)
            case 1:
                entry = await anyone.GetEntryByNameU(b"v%d" % number)
            case _:
                entry = await anyone.GetEntryByIDN(10 * (number + 1), random_.choice((-1, 0)))
        place: int = entry.serverPartition[0]
        return place

    async def test_as_if_nothing_were_kept(self) -> None:
        """After every one of many random changes, every lookup is answered as by a server that keeps no replies."""
        allowance = budget("vlserver.replies.changes", full=20_000)
        random_ = random.Random(allowance.seed)
        store = MemoryStore(lambda: 1.0)
        await store.write(populate, BY)
        keeping, forgetting = self.vldb(store), Vldb(store)
        forgetting.database.replies = NothingKept(store)
        for step in range(allowance.count):
            what = await self.change(keeping, random_)
            for number in range(VOLUMES):
                for name, argument in (("GetEntryByNameU", b"v%d" % number), ("GetEntryByNameO", b"w%d" % number)):
                    given, fresh = [await answer(each.as_anyone, name, argument) for each in (keeping, forgetting)]
                    self.assertEqual(given, fresh, f"step {step}, after {what}: {name} {argument!r}")
                given, fresh = [
                    await answer(each.as_anyone, "GetEntryByIDN", 10 * (number + 1), -1)
                    for each in (keeping, forgetting)
                ]
                self.assertEqual(given, fresh, f"step {step}, after {what}: id of v{number}")

    async def change(self, vldb: Vldb, random_: random.Random) -> str:
        """One change of any kind; some change nothing."""
        number = random_.randrange(VOLUMES)
        volume_id = 10 * (number + 1)
        match random_.randrange(6):
            case 0:
                await vldb.store.write(moved(A, random_.randrange(PARTITION_NUMBERS)), BY)
                return "a move"
            case 1:
                await vldb.store.write(owned(A, random_.choice((0, 3, None))), BY)
                return "another owner"
            case 2:
                await vldb.store.write(addressed(random_.randrange(1, 200)), BY)
                return "another address"
            case 3:
                await answer(vldb.as_admin, "DeleteEntry", volume_id, 0)
                return "a removal"
            case 4:
                entry = await answer(vldb.as_admin, "GetEntryByIDN", volume_id, 0)
                if isinstance(entry, nvldbentry):
                    entry.name = random_.choice((b"v%d", b"w%d")) % number
                    await answer(vldb.as_admin, "ReplaceEntryN", volume_id, 0, entry, 0)
                return "a renaming"
            case _:
                work = lambda t: t.add_volume(a_volume(b"v%d" % number, volume_id, A))  # noqa: E731
                if await vldb.store.read(lambda t: t.volume_with_id(volume_id, 0)) is None:
                    await vldb.store.write(work, BY)
                return "an addition"


def owned(uuid: UUID, owner: int | None) -> Callable[[ITransaction], None]:
    """The work that gives a partition to another server, or to none."""

    def work(transaction: ITransaction) -> None:
        partition = transaction.partition(uuid)
        assert partition is not None
        last = partition.last_owner if owner is None else owner
        transaction.put_partition(replace(partition, owner=owner, last_owner=last, epoch=partition.epoch + 1))

    return work


def addressed(last_byte: int) -> Callable[[ITransaction], None]:
    """The work that gives the first server another address."""

    def work(transaction: ITransaction) -> None:
        server = transaction.server(0)
        assert server is not None
        transaction.put_server(replace(server, addresses=(0x0A000100 + last_byte,)))

    return work


async def answer(caller: Any, name: str, *arguments: Any) -> Any:
    """What an RPC answers: its result, or the code it refuses with."""
    try:
        return await getattr(caller, name)(*arguments)
    except Abort as refusal:
        return refusal.code
