"""On-demand salvage: the damaged group alone is taken out, its calls are held, the others notice nothing."""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, IPartition, ISalvager, ISalvageSession, SalvageFailed, SalvageReport
from fileserver.volser.cloning import create_root, new_header
from fileserver.volume.admission import Repaired
from fileserver.volume.checkout import Mode, peek
from fileserver.volume.fsa import VolumeState
from fileserver.volume.holding import Holder
from fileserver.volume.interfaces import HELD_CALLS_OF_HOST, HOLD_LIMIT
from fileserver.volume.salvaging import LONGEST_RETRY_SECONDS, SALVAGE_BUDGET, SALVAGE_BUSY_SECONDS, SALVAGE_PARALLEL
from rx.errors import Abort
from tests.fileserver.volume.support import Base, Server, use

RW, RO, OTHER = 1, 2, 9


@implementer(ISalvager)
class Salvager:
    """Repairs when the test says so, and records what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.jobs: dict[int, Deferred[SalvageReport]] = {}
        self.instant = False
        self.repair: Callable[[int], None] = lambda group: None

    async def salvage(self, partition: IPartition, group: int, tell: Callable[[str], None]) -> SalvageReport:
        self.asked.append((partition.name, group))
        tell("looked at it")
        if self.instant:
            self.repair(group)
            return SalvageReport(group, (group,))
        self.jobs[group] = Deferred()
        return await self.jobs[group]

    async def salvage_partition(
        self, partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        raise NotImplementedError

    async def groups(self, partition: IPartition) -> dict[int, tuple[int, ...]]:
        raise NotImplementedError

    def session(self, partition: IPartition) -> ISalvageSession:
        raise NotImplementedError

    def wanted(self, partition: IPartition) -> bool:
        return False

    def done(self, group: int, *volumes: int, lost: tuple[int, ...] = ()) -> None:
        self.jobs.pop(group).callback(SalvageReport(group, volumes or (group,), lost))

    def fails(self, group: int) -> None:
        self.jobs.pop(group).errback(SalvageFailed("killed by signal 11"))


class Client:
    """Stands for a host."""


class Salvaging(Base):
    def setUp(self) -> None:
        self.salvager = Salvager()
        self.clock = Clock()
        self.bad: set[int] = set()
        self.server = Server(salvager=self.salvager, clock=self.clock)
        self.salvages = self.server.registry.salvages
        assert self.salvages is not None
        self.run_now(self.server.start())
        for volume_id in (RW, OTHER):
            self.run_now(self.server.make(volume_id))
        self.server.disk.fault = self.fault

    async def fault(self, operation: str, volume_id: int, number: int) -> None:
        if operation == "read_header" and volume_id in self.bad:
            raise Damaged("bad magic")

    def damage(self, volume_id: int = RW) -> None:
        """Damage that its next attach meets."""
        self.run_now(use(self.server, volume_id))
        self.server.now += 10**6
        self.run_now(self.server.registry.room.age())
        self.assertEqual(self.server.volume(volume_id).state, VolumeState.PREATTACHED)
        self.bad.add(volume_id)

    def clone(self) -> None:
        """A read-only clone of RW."""
        header = new_header(RO, RW, b"vol.readonly", 1, int(self.server.now))
        checkout = self.run_now(self.server.registry.create(self.server.partition, header))
        self.run_now(create_root(checkout))
        header.destroy_me, header.in_service = False, True
        self.run_now(checkout.write())
        self.run_now(checkout.give_back())

    def test_contract(self) -> None:
        """The salvager of these tests offers what a salvager must."""
        verifyObject(ISalvager, self.salvager)

    def test_calls_are_held(self) -> None:
        """Calls on a damaged volume wait for its salvage and are then served; those on others do not notice."""
        self.damage()
        calls = [ensureDeferred(use(self.server, RW)) for _ in range(5)]
        self.assertEqual(self.server.volume(RW).state, VolumeState.SALVAGING)
        self.assertEqual(self.run_now(use(self.server, OTHER)), VolumeState.ATTACHED)
        self.assertEqual(self.server.registry.holds.calls, 5)
        self.bad.clear()
        self.salvager.done(RW)
        for call in calls:
            self.assertEqual(self.successResultOf(call), VolumeState.ATTACHED)
        self.assertEqual(self.salvager.asked, [("/vicepa", RW)])
        self.assertEqual(self.server.registry.holds.calls, 0)
        self.assertEqual(self.server.broken, [RW])

    def test_not_for_ever(self) -> None:
        """A call is held for HOLD_LIMIT at most, then told VBUSY; the salvage goes on."""
        self.damage()
        call = ensureDeferred(use(self.server, RW))
        self.clock.advance(HOLD_LIMIT - 1)
        self.assertNoResult(call)
        self.clock.advance(1)
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VBUSY)
        self.bad.clear()
        self.salvager.done(RW)
        self.assertEqual(self.run_now(use(self.server, RW)), VolumeState.ATTACHED)

    def test_a_long_salvage(self) -> None:
        """A salvage that goes on for longer than clients repeat what is VBUSY is VRESTARTING to them, until it is tried
        anew.
        """
        self.damage()
        codes = []
        for _ in range(2):
            call = ensureDeferred(use(self.server, RW))
            self.clock.advance(HOLD_LIMIT)
            codes.append(self.failureResultOf(call, Abort).value.code)
            self.server.now += SALVAGE_BUSY_SECONDS + 1
        self.assertEqual(codes, [VolumeError.VBUSY, VolumeError.VRESTARTING])

    def test_bounds_of_a_host(self) -> None:
        """One host has only so many calls held, and only so many bytes; another's are held all the same."""
        self.damage()

        one, other = Client(), Client()

        async def call(host: Client, size: int = 1) -> None:
            async with self.server.registry.use(RW, Holder(host, size)):
                pass

        held = [ensureDeferred(call(one)) for _ in range(HELD_CALLS_OF_HOST)]
        self.assertEqual(self.refused(call(one)), VolumeError.VBUSY)
        held.append(ensureDeferred(call(other, self.server.registry.holds.limits.bytes_of_host)))
        self.assertEqual(self.refused(call(other, 1)), VolumeError.VBUSY)
        self.bad.clear()
        self.salvager.done(RW)
        for call_held in held:
            self.successResultOf(call_held)
        self.assertEqual(self.server.registry.holds.refused, 2)

    def test_a_client_that_gives_up(self) -> None:
        """A held call that ends leaves nothing behind."""
        self.damage()
        call = ensureDeferred(use(self.server, RW))
        call.cancel()
        self.failureResultOf(call)
        self.assertEqual((self.server.registry.holds.calls, self.server.registry.holds.bytes), (0, 0))

    def test_damage_while_the_partition_is_left(self) -> None:
        """A call that meets damage when the volumes are being closed is held, and told to look elsewhere: whoever has
        the partition next repairs it.
        """
        gate: Deferred[None] = Deferred()

        async def victim() -> None:
            async with self.server.registry.use(RW):
                await gate
                raise Damaged("directory page 3")

        call = ensureDeferred(victim())
        leaving = ensureDeferred(self.server.registry.remove_partition(0))
        self.assertNoResult(leaving)
        gate.callback(None)
        self.successResultOf(leaving)
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VNOVOL)

    def test_damage_at_run_time(self) -> None:
        """Damage a call meets closes the volume once its users have left, and the call learns that it was repaired."""
        gate: Deferred[None] = Deferred()

        async def other() -> None:
            async with self.server.registry.use(RW):
                await gate

        async def victim() -> None:
            async with self.server.registry.use(RW):
                raise Damaged("directory page 3")

        running, found = ensureDeferred(other()), ensureDeferred(victim())
        late = ensureDeferred(use(self.server, RW))
        self.assertEqual(self.server.volume(RW).state, VolumeState.SALVAGE_REQ)
        self.assertEqual(self.salvager.asked, [])
        gate.callback(None)
        self.successResultOf(running)
        self.assertTrue(self.server.disk.volumes[RW].header.needs_salvaged)
        self.server.disk.volumes[RW].header.needs_salvaged = False
        self.salvager.done(RW)
        self.assertEqual(self.successResultOf(late), VolumeState.ATTACHED)
        self.assertEqual(self.failureResultOf(found, Repaired).value.code, VolumeError.VBUSY)

    def test_the_whole_group(self) -> None:
        """All members are closed before the salvager sees the group; those used meanwhile wait, and all return."""
        self.clone()
        self.run_now(use(self.server, RO))
        self.damage()
        self.run_now(use(self.server, RO))
        first = ensureDeferred(use(self.server, RW))
        self.assertEqual(self.server.volume(RO).state, VolumeState.SALVAGING)
        second = ensureDeferred(use(self.server, RO))
        self.assertNoResult(second)
        self.bad.clear()
        self.salvager.done(RW, RW, RO)
        self.assertEqual(self.successResultOf(first), VolumeState.ATTACHED)
        self.assertEqual(self.successResultOf(second), VolumeState.ATTACHED)
        self.assertEqual(sorted(self.server.broken), [RW, RO])

    def test_a_member_nobody_had_used(self) -> None:
        """A clone whose group is only known from its own header does not open it under the salvager."""
        self.clone()
        fresh = Server(self.server.disk, salvager=self.salvager, clock=self.clock)
        self.bad.add(RW)
        self.run_now(fresh.start())
        ensureDeferred(use(fresh, RW)).addErrback(lambda _: None)
        call = ensureDeferred(use(fresh, RO))
        self.assertNoResult(call)
        self.assertEqual(fresh.volume(RO).state, VolumeState.SALVAGING)
        self.bad.clear()
        self.salvager.done(RW, RW, RO)
        self.assertEqual(self.successResultOf(call), VolumeState.ATTACHED)

    def test_budget(self) -> None:
        """A volume that stays damaged is salvaged SALVAGE_BUDGET times, then VSALVAGE until the server restarts."""
        self.damage()
        self.salvager.instant = True
        self.assertEqual(self.refused(use(self.server, RW)), VolumeError.VSALVAGE)
        self.assertEqual(len(self.salvager.asked), SALVAGE_BUDGET)
        self.assertEqual(self.server.volume(RW).state, VolumeState.ERROR)
        self.assertEqual(self.refused(use(self.server, RW)), VolumeError.VSALVAGE)
        self.assertEqual(self.run_now(use(self.server, OTHER)), VolumeState.ATTACHED)

    def test_failing_salvager(self) -> None:
        """A salvage that fails is tried again after a while, and SALVAGE_BUDGET times in all."""
        self.damage()
        call = ensureDeferred(use(self.server, RW))
        for attempt in range(1, SALVAGE_BUDGET + 1):
            self.assertEqual(len(self.salvager.asked), attempt)
            self.salvager.fails(RW)
            self.clock.advance(LONGEST_RETRY_SECONDS)
        self.assertEqual(len(self.salvager.asked), SALVAGE_BUDGET)
        self.assertEqual(self.server.volume(RW).state, VolumeState.ERROR)
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VBUSY)
        self.assertEqual(list(self.salvages or ()), [])

    def test_members_return_when_it_fails(self) -> None:
        """Between two attempts those members that are sound are served."""
        self.clone()
        self.run_now(use(self.server, RO))
        self.damage()
        ensureDeferred(use(self.server, RW)).addErrback(lambda _: None)
        waiting = ensureDeferred(use(self.server, RO))
        self.salvager.fails(RW)
        self.assertEqual(self.successResultOf(waiting), VolumeState.ATTACHED)
        self.clock.advance(LONGEST_RETRY_SECONDS)
        self.assertEqual(self.server.volume(RO).state, VolumeState.SALVAGING)

    def test_lost(self) -> None:
        """A volume that could not be put together again is gone: VNOVOL."""
        self.damage()
        call = ensureDeferred(use(self.server, RW))
        self.salvager.done(RW, OTHER, lost=(RW,))
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VNOVOL)
        self.assertIsNone(self.server.registry.find(RW))

    def test_found(self) -> None:
        """A volume that the salvager put together is served."""
        self.damage()
        ensureDeferred(use(self.server, RW)).addErrback(lambda _: None)
        self.bad.clear()
        self.assertIsNone(self.server.registry.find(77))
        self.server.disk.fault = None
        self.salvager.done(RW, RW, 77)
        self.assertEqual(self.server.volume(77).state, VolumeState.PREATTACHED)

    def test_parallel_and_by_demand(self) -> None:
        """So many groups at a time; of the others the one that most calls wait for comes next."""
        ids = range(100, 100 + SALVAGE_PARALLEL + 3)
        for volume_id in ids:
            self.run_now(self.server.make(volume_id))
            self.bad.add(volume_id)
            ensureDeferred(use(self.server, volume_id)).addErrback(lambda _: None)
        self.assertEqual([group for _, group in self.salvager.asked], list(ids[:SALVAGE_PARALLEL]))
        for _ in range(3):
            ensureDeferred(use(self.server, ids[-1])).addErrback(lambda _: None)
        self.bad.clear()
        self.salvager.done(ids[0])
        self.assertEqual(self.salvager.asked[-1][1], ids[-1])

    def test_the_volume_server_waits(self) -> None:
        """A transaction on a volume under salvage begins when that is over."""
        self.damage()
        ensureDeferred(use(self.server, RW)).addErrback(lambda _: None)
        taking = ensureDeferred(self.server.registry.check_out(RW, 0, Mode.VOLUPD))
        self.assertNoResult(taking)
        self.bad.clear()
        self.salvager.done(RW)
        self.run_now(self.successResultOf(taking).give_back())

    def test_the_volume_server_finds_damage(self) -> None:
        """Damage that a transaction meets is repaired before it begins."""
        self.damage()
        taking = ensureDeferred(self.server.registry.check_out(RW, 0, Mode.VOLUPD))
        self.assertNoResult(taking)
        self.assertEqual(self.server.volume(RW).state, VolumeState.SALVAGING)
        self.bad.clear()
        self.salvager.done(RW)
        self.run_now(self.successResultOf(taking).give_back())
        self.assertEqual(self.run_now(use(self.server, RW)), VolumeState.ATTACHED)

    def test_not_looked_at(self) -> None:
        """The header of a volume under salvage is not read: the listing says busy."""
        self.damage()
        ensureDeferred(use(self.server, RW)).addErrback(lambda _: None)
        self.assertEqual(self.refused(peek(self.server.volume(RW))), VolumeError.VBUSY)

    def test_shutdown(self) -> None:
        """A server that stops ends the salvage, and held calls are told that it restarts."""
        self.damage()
        call = ensureDeferred(use(self.server, RW))
        self.run_now(self.server.registry.shutdown())
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VRESTARTING)
        self.assertTrue(self.salvager.jobs[RW].called)

    def test_a_bad_disk_is_no_damage(self) -> None:
        """An I/O error while attaching is not repaired but tried again."""

        async def fault(operation: str, volume_id: int, number: int) -> None:
            raise OSError(EIO, "I/O error")

        self.damage()
        self.server.disk.fault = fault
        self.assertEqual(self.refused(use(self.server, RW)), VolumeError.VOFFLINE)
        self.assertEqual(self.salvager.asked, [])
