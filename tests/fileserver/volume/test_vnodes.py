"""Vnodes: numbers, locks, creation and removal, and the cache of those nobody uses."""

from __future__ import annotations

from errno import EINVAL, EIO, ENOSPC
from random import Random

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.volume.vn import DIRECTORY, FILE, VNODE_BYTES, VnodeCache
from rx.errors import Abort
from tests.fileserver.volume.support import ROOT, VOLUME, Base, Server, drop_file, make_file, use
from tests.support.budget import budget


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

    def test_a_glance(self) -> None:
        """A glance finds what is in memory and free for readers; not what is changed meanwhile, is gone, or another."""
        fid = self.run_now(make_file(self.volume, b"a"))

        async def changed() -> None:
            async with self.volume.exclusive(fid):
                self.assertIsNone(self.volume.glance(fid))

        async def shared_with_a_writer_waiting() -> None:
            async with self.volume.shared(fid):
                self.assertIsNotNone(self.volume.glance(fid))
                writer = ensureDeferred(changed())
                self.assertIsNone(self.volume.glance(fid))
            self.successResultOf(writer)

        found = self.volume.glance(fid)
        assert found is not None
        self.assertEqual(found.fid, fid)
        self.run_now(changed())
        self.run_now(shared_with_a_writer_waiting())
        self.assertIsNone(self.volume.glance(AFSFid(Volume=VOLUME, Vnode=fid.Vnode, Unique=fid.Unique + 1)))
        self.assertIsNone(self.volume.glance(AFSFid(Volume=VOLUME, Vnode=0, Unique=0)))
        self.run_now(drop_file(self.volume, b"a", fid))
        self.assertIsNone(self.volume.glance(fid))

    def test_a_glance_counts_as_use(self) -> None:
        """What is only glanced at is not the first to leave the cache."""
        server = Server(cache=VnodeCache(3 * VNODE_BYTES + 3 * 8192))
        self.run_now(server.start())
        self.run_now(server.make())
        self.run_now(use(server))
        volume = server.volume()
        first = self.run_now(make_file(volume, b"0"))
        for number in range(1, 40):
            self.run_now(make_file(volume, b"%d" % number))
            self.assertIsNotNone(volume.glance(first), number)

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


class Together(TestCase):
    """Many users at once over a disk that takes its time."""

    async def test_random_use(self) -> None:
        """Whatever comes together, accounts and directory agree with the disk at the end, and no lock is left."""
        share = budget("fileserver.volume.together", full=300)
        for run in range(share.count):
            await self._play(Random(share.seed + run))

    async def _play(self, random: Random) -> None:
        from twisted.internet import reactor  # the real one: the disk below takes its time

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
