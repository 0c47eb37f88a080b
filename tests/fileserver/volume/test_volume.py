"""Volumes over the memory back end: attaching, users, vnodes, accounts, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Coroutine
from errno import EINVAL, EIO, ENOSPC
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.interfaces import Damaged
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.volser.cloning import create_root, new_header
from fileserver.volume.checkout import Checkout, Mode
from fileserver.volume.fsa import VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK, VNODE_BYTES, VnodeCache
from fileserver.volume.volume import UNIQUIFIER_AHEAD, Volume
from rx.errors import Abort
from tests.support.budget import budget

VOLUME = 536870912
ROOT = AFSFid(Volume=VOLUME, Vnode=1, Unique=1)
ANOTHER_DAY = 100 * 86400

T = TypeVar("T")


class Server:
    """A registry over one memory disk, which survives `crash`."""

    def __init__(self, disk: Disk | None = None, cache: VnodeCache | None = None) -> None:
        self.now = float(ANOTHER_DAY)
        self.disk = disk or Disk()
        self.broken: list[int] = []
        self._cache = VnodeCache() if cache is None else cache
        self.registry = Registry(Surroundings(lambda: self.now, self, self._cache))
        self.partition = MemoryPartition(disk=self.disk)

    def break_volume(self, volume_id: int) -> None:
        self.broken.append(volume_id)

    async def start(self) -> None:
        await self.registry.add_partition(self.partition)

    async def crash(self) -> Server:
        """Another server on the same disk, as if the process had died."""
        fresh = Server(self.disk)
        await fresh.start()
        return fresh

    async def make(self, volume_id: int = VOLUME, **fields: Any) -> None:
        """A volume as `vos create` makes it."""
        header = new_header(volume_id, volume_id, b"vol.%d" % volume_id, 0, int(self.now))
        checkout = await self.registry.create(self.partition, header)
        await create_root(checkout)
        header.destroy_me, header.in_service = False, True
        for name, value in fields.items():
            setattr(header, name, value)
        await checkout.write()
        await checkout.give_back()

    def volume(self, volume_id: int = VOLUME) -> Volume:
        volume = self.registry.find(volume_id)
        assert volume is not None
        return volume


class Base(SynchronousTestCase):
    def run_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(ensureDeferred(coroutine))

    def refused(self, coroutine: Coroutine[Any, Any, Any]) -> int:
        failure = self.failureResultOf(ensureDeferred(coroutine), Abort)
        code: int = failure.value.code
        return code

    def started(self, *volumes: int, **fields: Any) -> Server:
        server = Server()
        self.run_now(server.start())
        for volume_id in volumes or (VOLUME,):
            self.run_now(server.make(volume_id, **fields))
        return server


async def make_file(volume: Volume, name: bytes, content: bytes = b"", kind: int = SYMLINK) -> AFSFid:
    """A file, directory or symlink in the root."""
    async with volume.exclusive(ROOT) as (root,):
        directory = await root.directory()
        vn = await volume.create(kind, 0o644, 1, 1, 0, root, content=content)
        directory.insert(name, vn.number, vn.disk.uniquifier)
        await vn.save()
        await root.save()
        return vn.fid


async def drop_file(volume: Volume, name: bytes, fid: AFSFid) -> None:
    async with volume.exclusive(ROOT, fid) as (root, vn):
        (await root.directory()).remove(name)
        await root.save()
        await volume.remove(vn)


async def use(server: Server, volume_id: int = VOLUME) -> VolumeState:
    async with server.registry.use(volume_id) as volume:
        return volume.state


class Attaching(Base):
    def test_first_use_attaches(self) -> None:
        """A volume is only known at first, and attached by its first user."""
        server = self.run_now(self.started().crash())
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)
        self.assertEqual(server.volume().users, 0)

    def test_start_opens_no_volume(self) -> None:
        """Starting reads names only, however many volumes there are."""
        server = self.started(*range(1, 50))
        touched: list[str] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            touched.append(operation)

        server.disk.fault = fault
        self.run_now(server.crash())
        self.assertEqual(touched, ["volumes"])

    def test_unknown(self) -> None:
        """A volume nobody has is VNOVOL."""
        self.assertEqual(self.refused(use(self.started(), 99)), VolumeError.VNOVOL)

    def test_out_of_service(self) -> None:
        """A volume out of service is VOFFLINE and stays unattached."""
        server = self.started(in_service=False)
        self.assertEqual(self.refused(use(server)), VolumeError.VOFFLINE)
        self.assertEqual(server.volume().state, VolumeState.UNATTACHED)

    def test_not_blessed(self) -> None:
        """A volume not blessed is VNOVOL, and is looked at again next time."""
        server = self.started(blessed=False)
        self.assertEqual(self.refused(use(server)), VolumeError.VNOVOL)
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)

    def test_half_made(self) -> None:
        """A volume whose creation was never finished is VNOVOL."""
        self.assertEqual(self.refused(use(self.started(destroy_me=True))), VolumeError.VNOVOL)

    def test_damaged(self) -> None:
        """A volume that contradicts itself is VSALVAGE and in ERROR; others are served."""
        server = self.started(1, 2)

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "read_header" and volume_id == 1:
                raise Damaged("bad magic")

        server.disk.fault = fault
        self.assertEqual(self.refused(use(server, 1)), VolumeError.VSALVAGE)
        self.assertEqual(server.volume(1).state, VolumeState.ERROR)
        self.assertEqual(self.run_now(use(server, 2)), VolumeState.ATTACHED)
        self.assertEqual(self.refused(use(server, 1)), VolumeError.VSALVAGE)

    def test_marked_for_salvage(self) -> None:
        """A header that asks for a salvage is believed."""
        self.assertEqual(self.refused(use(self.started(needs_salvaged=True))), VolumeError.VSALVAGE)

    def test_a_disk_error_is_not_for_ever(self) -> None:
        """A volume whose disk failed once is tried again at its next use."""
        server = self.started()
        failing = True

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if failing and operation == "open_volume":
                raise OSError(EIO, "I/O error")

        server.disk.fault = fault
        self.assertEqual(self.refused(use(server)), VolumeError.VOFFLINE)
        failing = False
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)

    def test_attached_once(self) -> None:
        """Users that come while it is being attached wait for it, and it is opened once."""
        server = self.started()
        gate: Deferred[None] = Deferred()
        opened: list[int] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "open_volume":
                opened.append(volume_id)
                await gate

        server.disk.fault = fault
        users = [ensureDeferred(use(server)) for _ in range(5)]
        for user in users:
            self.assertNoResult(user)
        gate.callback(None)
        for user in users:
            self.assertEqual(self.successResultOf(user), VolumeState.ATTACHED)
        self.assertEqual(opened, [VOLUME])

    def test_a_slow_volume_holds_up_nobody_else(self) -> None:
        """A volume whose disk does not answer leaves the others alone."""
        server = self.started(1, 2)
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if volume_id == 1:
                await gate

        server.disk.fault = fault
        slow = ensureDeferred(use(server, 1))
        self.assertEqual(self.run_now(use(server, 2)), VolumeState.ATTACHED)
        self.assertNoResult(slow)
        gate.callback(None)
        self.successResultOf(slow)

    def test_needs_callback(self) -> None:
        """A volume changed behind its clients' back tells them when it is attached, once."""
        server = self.started(needs_callback=True)
        self.run_now(use(server))
        self.assertEqual(server.broken, [VOLUME])
        again = self.run_now(server.crash())
        self.run_now(use(again))
        self.assertEqual(again.broken, [])


class Offline(Base):
    def test_in_use_on_disk(self) -> None:
        """The header says in use while a writable volume is attached, and not after a clean shutdown."""
        server = self.started()
        self.run_now(use(server))
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 1)
        self.run_now(server.registry.shutdown())
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)

    def test_shutdown_waits_for_users(self) -> None:
        """A call that was running finishes before its volume is closed; new ones are refused meanwhile."""
        server = self.started()
        gate: Deferred[None] = Deferred()

        async def slow() -> None:
            async with server.registry.use(VOLUME):
                await gate

        user = ensureDeferred(slow())
        stopping = ensureDeferred(server.registry.shutdown())
        self.assertNoResult(stopping)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 1)
        self.assertEqual(self.refused(use(server)), VolumeError.VRESTARTING)
        gate.callback(None)
        self.successResultOf(user)
        self.successResultOf(stopping)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)

    def test_shutdown_is_parallel(self) -> None:
        """Closing many volumes takes as long as closing one."""
        server = self.started(*range(1, 9))
        for volume_id in range(1, 9):
            self.run_now(use(server, volume_id))
        gates: list[Deferred[None]] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_header":
                gates.append(Deferred())
                await gates[-1]

        server.disk.fault = fault
        stopping = ensureDeferred(server.registry.shutdown())
        self.assertEqual(len(gates), 8)
        for gate in gates:
            gate.callback(None)
        self.successResultOf(stopping)

    def test_damage_at_run_time(self) -> None:
        """Damage a call meets takes the volume out of service for new calls at once, and closes it after the last
        user.
        """
        server = self.started()
        gate: Deferred[None] = Deferred()

        async def other() -> None:
            async with server.registry.use(VOLUME):
                await gate

        async def victim() -> None:
            async with server.registry.use(VOLUME):
                raise Damaged("directory page 3")

        running = ensureDeferred(other())
        self.assertEqual(self.refused(victim()), VolumeError.VSALVAGE)
        self.assertEqual(self.refused(use(server)), VolumeError.VBUSY)
        gate.callback(None)
        self.successResultOf(running)
        self.assertEqual(server.volume().state, VolumeState.ERROR)
        self.assertTrue(server.disk.volumes[VOLUME].header.needs_salvaged)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)

    def test_offline_counts_survive(self) -> None:
        """Dates and counts of the day are written at the latest when the volume goes offline."""
        server = self.started()

        async def touch() -> None:
            async with server.registry.use(VOLUME) as volume:
                volume.touch(wrote=True)
                volume.touch()

        self.run_now(touch())
        self.run_now(server.registry.shutdown())
        header = server.disk.volumes[VOLUME].header
        self.assertEqual((header.day_use, header.update_counter, header.access_date), (2, 1, ANOTHER_DAY))

    def test_flush(self) -> None:
        """`flush` writes what changed, and nothing twice."""
        server = self.started()

        async def touch() -> None:
            async with server.registry.use(VOLUME) as volume:
                volume.touch()

        self.run_now(touch())
        self.run_now(server.registry.flush())
        self.assertEqual(server.disk.volumes[VOLUME].header.day_use, 1)
        writes: list[str] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            writes.append(operation)

        server.disk.fault = fault
        self.run_now(server.registry.flush())
        self.assertEqual(writes, [])

    def test_a_new_day(self) -> None:
        """After a day today's uses count among the week's."""
        server = self.started()

        async def touch() -> None:
            async with server.registry.use(VOLUME) as volume:
                volume.touch()

        self.run_now(touch())
        self.run_now(touch())
        server.now += 2 * 86400
        self.run_now(touch())
        header = server.volume().header
        self.assertEqual((header.day_use, header.week_use[:3]), (1, (0, 2, 0)))


class Crashes(Base):
    def test_uniquifiers_jump(self) -> None:
        """After a crash no uniquifier is given out again, wherever the crash came."""
        server = self.started()
        given: set[int] = set()

        async def create(count: int) -> None:
            async with server.registry.use(VOLUME) as volume:
                for _ in range(count):
                    fid = await make_file(volume, b"f%d" % len(given))
                    self.assertNotIn(fid.Unique, given)
                    given.add(fid.Unique)

        for count in (1, UNIQUIFIER_AHEAD - 1, 2, UNIQUIFIER_AHEAD + 1):
            self.run_now(create(count))
            server = self.run_now(server.crash())

    def test_stored_ahead(self) -> None:
        """The uniquifier on disk is beyond what was given out, and exact after a clean shutdown."""
        server = self.started()

        async def create() -> AFSFid:
            async with server.registry.use(VOLUME) as volume:
                return await make_file(volume, b"f")

        fid = self.run_now(create())
        self.assertEqual(server.disk.volumes[VOLUME].header.uniquifier, fid.Unique + UNIQUIFIER_AHEAD)
        self.run_now(server.registry.shutdown())
        self.assertEqual(server.disk.volumes[VOLUME].header.uniquifier, fid.Unique + 1)

    def test_recount(self) -> None:
        """What the header could not say any more is counted again."""
        server = self.started()

        async def fill() -> None:
            async with server.registry.use(VOLUME) as volume:
                for number in range(5):
                    await make_file(volume, b"f%d" % number, b"x" * 3000)
                await make_file(volume, b"d", kind=DIRECTORY)

        self.run_now(fill())
        expected = server.volume().header
        server = self.run_now(server.crash())
        self.run_now(use(server))
        self.assertEqual(server.volume().header.disk_used, expected.disk_used)
        self.assertEqual(server.volume().header.file_count, expected.file_count + 1)  # a salvage counts the root, too


class Vnodes(Base):
    def setUp(self) -> None:
        self.server = self.started()
        self.run_now(use(self.server))
        self.volume = self.server.volume()

    def test_bad_fids(self) -> None:
        """Vnode 0 is EINVAL; a free vnode and another uniquifier are VNOVNODE; nothing stays in memory of them."""

        async def look(vnode: int, unique: int) -> None:
            async with self.volume.shared(AFSFid(Volume=VOLUME, Vnode=vnode, Unique=unique)):
                pass

        self.assertEqual(self.refused(look(0, 0)), EINVAL)
        self.assertEqual(self.refused(look(7, 1)), VolumeError.VNOVNODE)
        self.assertEqual(self.refused(look(1, 2)), VolumeError.VNOVNODE)
        self.assertEqual(len(self.server._cache), 1)  # the root

    def test_numbers(self) -> None:
        """Directories are odd and files even, each the lowest that is free."""
        first = self.run_now(make_file(self.volume, b"a"))
        second = self.run_now(make_file(self.volume, b"b"))
        directory = self.run_now(make_file(self.volume, b"c", kind=DIRECTORY))
        self.assertEqual((first.Vnode, second.Vnode, directory.Vnode), (2, 4, 3))
        self.run_now(drop_file(self.volume, b"a", first))
        again = self.run_now(make_file(self.volume, b"d"))
        self.assertEqual(again.Vnode, 2)
        self.assertNotEqual(again.Unique, first.Unique)

    def test_accounts(self) -> None:
        """Creating charges blocks and counts the file; removing gives both back."""
        header = self.volume.header
        before = (header.disk_used, header.file_count)
        fid = self.run_now(make_file(self.volume, b"a", b"x" * 2049))
        self.assertEqual((header.disk_used, header.file_count), (before[0] + 3, before[1] + 1))
        self.run_now(drop_file(self.volume, b"a", fid))
        self.assertEqual((header.disk_used, header.file_count), before)

    def test_directory_growth_is_charged(self) -> None:
        """A directory that needs another page costs it."""
        before = self.volume.header.disk_used
        for number in range(100):
            self.run_now(make_file(self.volume, b"name%d" % number))
        pages = self.server.disk.volumes[VOLUME].vnodes[1].length // 2048
        self.assertGreater(pages, 1)
        self.assertEqual(self.volume.header.disk_used, before + 100 + 2 * (pages - 1))

    def test_a_failed_creation_leaves_nothing(self) -> None:
        """A vnode created in a context that fails is gone again, with its blocks and its number."""
        header = self.volume.header
        before = (header.disk_used, header.file_count)

        async def fail() -> None:
            async with self.volume.exclusive(ROOT) as (root,):
                await self.volume.create(FILE, 0o644, 1, 1, 0, root)
                raise Abort(EINVAL)

        self.assertEqual(self.refused(fail()), EINVAL)
        self.assertEqual((header.disk_used, header.file_count), before)
        self.assertEqual(list(self.server.disk.volumes[VOLUME].vnodes), [1])
        self.assertEqual(self.run_now(make_file(self.volume, b"a")).Vnode, 2)

    def test_a_full_disk_leaves_nothing(self) -> None:
        """Neither does one whose content found no room."""
        before = self.volume.header.disk_used
        self.server.disk.capacity = self.server.disk.used + 64 * 1024 - 1
        self.failureResultOf(ensureDeferred(make_file(self.volume, b"a", b"target")), OSError)
        self.assertEqual(self.volume.header.disk_used, before)
        self.server.disk.capacity = 1 << 40
        self.assertEqual(self.run_now(make_file(self.volume, b"a")).Vnode, 2)

    def test_what_a_saved_directory_names_stays(self) -> None:
        """Once the directory that names a new vnode was saved, a later failure does not take the vnode away."""

        async def fail() -> None:
            async with self.volume.exclusive(ROOT) as (root,):
                vn = await self.volume.create(FILE, 0o644, 1, 1, 0, root)
                (await root.directory()).insert(b"a", vn.number, vn.disk.uniquifier)
                await root.save()
                raise Abort(EIO)

        self.assertEqual(self.refused(fail()), EIO)
        self.assertEqual(list(self.server.disk.volumes[VOLUME].vnodes), [1, 2])

    def test_unsaved_changes_are_forgotten(self) -> None:
        """A context left with an exception leaves memory saying what the disk says."""

        async def fail() -> None:
            async with self.volume.exclusive(ROOT) as (root,):
                root.disk.mode = 0o123
                (await root.directory()).insert(b"x", 2, 2)
                raise Abort(EINVAL)

        async def look() -> tuple[int, object]:
            async with self.volume.shared(ROOT) as root:
                return root.disk.mode, (await root.directory()).lookup(b"x")

        self.refused(fail())
        self.assertEqual(self.run_now(look()), (0o777, None))

    def test_read_only_volumes(self) -> None:
        """A read-only volume's vnodes cannot be had for change."""
        server = self.started(type=1)

        async def change() -> None:
            async with server.registry.use(VOLUME) as volume, volume.exclusive(ROOT):
                pass

        self.assertEqual(self.refused(change()), 30)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)

    def test_removed_while_waited_for(self) -> None:
        """Who waited for a vnode that was removed meanwhile gets VNOVNODE, also when its number is in use again."""
        fid = self.run_now(make_file(self.volume, b"a"))
        gate: Deferred[None] = Deferred()

        async def remove() -> None:
            async with self.volume.exclusive(ROOT, fid) as (root, vn):
                await gate
                (await root.directory()).remove(b"a")
                await root.save()
                await self.volume.remove(vn)

        async def look() -> None:
            async with self.volume.shared(fid):
                pass

        removing, looking = ensureDeferred(remove()), ensureDeferred(look())
        creating = ensureDeferred(make_file(self.volume, b"b"))
        gate.callback(None)
        self.successResultOf(removing)
        self.assertEqual(self.failureResultOf(looking, Abort).value.code, VolumeError.VNOVNODE)
        self.assertNotEqual(self.successResultOf(creating).Unique, fid.Unique)

    def test_locks_never_deadlock(self) -> None:
        """Callers that name the same vnodes in other orders do not wait for each other for ever."""
        fids = [self.run_now(make_file(self.volume, b"%d" % number)) for number in range(4)]

        async def both(first: AFSFid, second: AFSFid, gate: Deferred[None]) -> tuple[int, int]:
            async with self.volume.exclusive(first, second) as (one, two):
                await gate
                return one.number, two.number

        gates: list[Deferred[None]] = [Deferred() for _ in range(3)]
        calls = [
            ensureDeferred(both(fids[0], fids[1], gates[0])),
            ensureDeferred(both(fids[1], fids[0], gates[1])),
            ensureDeferred(both(fids[0], fids[0], gates[2])),
        ]
        for gate in gates:
            gate.callback(None)
        self.assertEqual([self.successResultOf(call) for call in calls], [(2, 4), (4, 2), (2, 2)])

    def test_cancelled_while_waiting(self) -> None:
        """A caller that gives up while it waits for a vnode leaves nothing locked."""
        gate: Deferred[None] = Deferred()

        async def hold() -> None:
            async with self.volume.exclusive(ROOT):
                await gate

        async def wait() -> None:
            async with self.volume.exclusive(ROOT):
                pass

        holding, waiting = ensureDeferred(hold()), ensureDeferred(wait())
        waiting.cancel()
        self.failureResultOf(waiting)
        gate.callback(None)
        self.successResultOf(holding)
        self.run_now(wait())


class Charging(Base):
    def charge(self, server: Server, blocks: int, spare: int = 0) -> int:
        try:
            server.volume().charge(blocks, spare=spare)
        except Abort as refusal:
            return refusal.code
        return 0

    def test_quota(self) -> None:
        """Up to the quota; `spare` over it; without limit where it is 0; shrinking always."""
        server = self.started(max_quota=10)
        self.run_now(use(server))
        self.assertEqual(self.charge(server, 8), 0)
        self.assertEqual(self.charge(server, 1), VolumeError.VOVERQUOTA)
        self.assertEqual(self.charge(server, 5, spare=5), 0)
        self.assertEqual(server.volume().header.disk_used, 15)
        self.assertEqual(self.charge(server, -1), 0)
        self.assertEqual(self.charge(server, 1), VolumeError.VOVERQUOTA)
        server.volume().header.max_quota = 0
        self.assertEqual(self.charge(server, 10**6), 0)

    def test_partition(self) -> None:
        """A full partition is VDISKFULL, and that is tested first."""
        server = self.started(max_quota=1)
        self.run_now(use(server))
        server.disk.capacity = server.disk.used + 100 * 1024
        self.assertEqual(self.charge(server, 101), VolumeError.VDISKFULL)
        self.assertEqual(self.charge(server, 100), VolumeError.VOVERQUOTA)
        self.assertEqual(server.volume().header.disk_used, 2)


class Caching(Base):
    def test_bounded(self) -> None:
        """Vnodes nobody uses are forgotten, oldest first, beyond the limit."""
        server = Server(cache=VnodeCache(limit=20 * VNODE_BYTES))
        self.run_now(server.start())
        self.run_now(server.make())
        self.run_now(use(server))
        volume = server.volume()
        fids = [self.run_now(make_file(volume, b"%d" % number)) for number in range(40)]
        self.assertLessEqual(server._cache.size, 20 * VNODE_BYTES)
        reads: list[int] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            reads.append(number)

        async def look(fid: AFSFid) -> None:
            async with volume.shared(fid):
                pass

        server.disk.fault = fault
        self.run_now(look(fids[-1]))
        self.assertEqual(reads, [])
        self.run_now(look(fids[0]))
        self.assertEqual(reads, [fids[0].Vnode])

    def test_offline_leaves_nothing(self) -> None:
        """A volume that went offline has nothing in the cache."""
        server = self.started()
        self.run_now(use(server))
        self.run_now(make_file(server.volume(), b"a"))
        self.assertEqual(len(server._cache), 2)
        self.run_now(server.registry.shutdown())
        self.assertEqual((len(server._cache), server._cache.size), (0, 0))


class CheckingOut(Base):
    def out(self, server: Server, mode: Mode) -> Checkout:
        return self.run_now(server.registry.check_out(VOLUME, 0, mode))

    def test_what_clients_see(self) -> None:
        """Clients keep the volume, or find it busy or offline, as the mode and the kind of volume say; then have it
        again.
        """
        expected = {
            (Mode.READONLY, 0): 0,
            (Mode.PEEK, 0): 0,
            (Mode.CLONE, 0): VolumeError.VBUSY,
            (Mode.DUMP, 0): VolumeError.VBUSY,
            (Mode.VOLUPD, 0): VolumeError.VOFFLINE,
            (Mode.SECRETLY, 0): VolumeError.VOFFLINE,
            (Mode.CLONE, 1): 0,
            (Mode.DUMP, 2): 0,
            (Mode.VOLUPD, 1): VolumeError.VOFFLINE,
        }
        for (mode, kind), code in expected.items():
            server = self.started(type=kind)
            self.run_now(use(server))
            checkout = self.out(server, mode)
            if code:
                self.assertEqual(self.refused(use(server)), code, (mode, kind))
            else:
                self.run_now(use(server))
            self.run_now(checkout.give_back())
            self.run_now(use(server))
            self.assertEqual((server.volume().users, server.volume().special_status), (0, 0))

    def test_waits_for_users(self) -> None:
        """A volume is handed over when the calls on it have finished."""
        server = self.started()
        gate: Deferred[None] = Deferred()

        async def slow() -> None:
            async with server.registry.use(VOLUME):
                await gate

        running = ensureDeferred(slow())
        taking = ensureDeferred(server.registry.check_out(VOLUME, 0, Mode.VOLUPD))
        self.assertNoResult(taking)
        gate.callback(None)
        self.successResultOf(running)
        self.successResultOf(taking)

    def test_destroyed(self) -> None:
        """A destroyed volume is gone from the disk, and VNOVOL."""
        server = self.started()
        checkout = self.out(server, Mode.VOLUPD)
        self.run_now(checkout.destroy())
        self.run_now(checkout.give_back())
        server.registry.forget(checkout.volume)
        self.assertEqual(self.refused(use(server)), VolumeError.VNOVOL)
        self.assertEqual(server.disk.volumes, {})
        self.assertEqual(server.broken, [VOLUME])

    def test_unclean(self) -> None:
        """The volume server, too, gets a recovered volume after a crash."""
        server = self.started()
        self.run_now(use(server))
        server = self.run_now(server.crash())
        checkout = self.out(server, Mode.VOLUPD)
        self.assertEqual((checkout.header.in_use, checkout.header.file_count), (0, 1))


class Together(TestCase):
    """Many users at once over a disk that takes its time."""

    async def test_random_use(self) -> None:
        """Whatever comes together, accounts and directory agree with the disk at the end, and no lock is left."""
        share = budget("fileserver.volume.together", full=300)
        for run in range(share.count):
            await self._play(Random(share.seed + run))

    async def _play(self, random: Random) -> None:
        from twisted.internet import reactor

        server = Server()
        await server.start()
        await server.make()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if random.random() < 0.3:
                await deferLater(reactor, 0)
            if operation == "write" and random.random() < 0.02:
                raise OSError(ENOSPC, "No space left on device")

        server.disk.fault = fault
        files: dict[bytes, AFSFid] = {}

        async def step(number: int) -> None:
            name = b"file%d" % number
            async with server.registry.use(VOLUME) as volume:
                try:
                    files[name] = await make_file(volume, name, b"t" * random.randrange(5000))
                    if random.random() < 0.5:
                        fid = files.pop(name)
                        await drop_file(volume, name, fid)
                except OSError:
                    files.pop(name, None)

        running = [ensureDeferred(step(number)) for number in range(60)]
        for call in running:
            await call
        server.disk.fault = None
        await server.registry.shutdown()
        fresh = await server.crash()
        async with fresh.registry.use(VOLUME) as volume, volume.shared(ROOT) as root:
            names = {name for name, _, _ in (await root.directory()).entries()} - {b".", b".."}
        self.assertLessEqual(set(files), names)
        self.assertEqual(server.volume().users if server.registry.find(VOLUME) else 0, 0)
