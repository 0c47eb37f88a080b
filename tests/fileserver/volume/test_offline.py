"""Going offline, at shutdown and when a volume turns out damaged; what a crash leaves."""

from __future__ import annotations

from errno import EIO

from twisted.internet.defer import Deferred, FirstError, ensureDeferred

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.interfaces import Damaged
from fileserver.volume.fsa import VolumeState
from fileserver.volume.vn import DIRECTORY
from fileserver.volume.volume import UNIQUIFIER_AHEAD
from tests.fileserver.consistency import contradictions
from tests.fileserver.volume.support import ANOTHER_DAY, VOLUME, Base, make_file, use


class Offline(Base):
    def test_in_use_on_disk(self) -> None:
        """The header says in use while a writable volume is attached, and not after a clean shutdown."""
        server = self.started()
        self.run_now(use(server))
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 1)
        self.run_now(server.registry.shutdown())
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)

    def test_after_a_disk_error(self) -> None:
        """Where the disk took only a part of a change the volume is closed as if after a crash: its next attach makes
        it true again.
        """
        server = self.started()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_vnode" and number == 1:
                raise OSError(EIO, "I/O error")

        async def make() -> None:
            async with server.registry.use(VOLUME) as volume:
                server.disk.fault = fault
                await make_file(volume, b"new", kind=DIRECTORY)

        self.failureResultOf(ensureDeferred(make()), OSError)
        server.disk.fault = None
        self.run_now(server.registry.shutdown())
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 1)
        server = self.run_now(server.crash())
        self.run_now(use(server))
        self.run_now(server.registry.shutdown())
        files = self.run_now(server.partition.open_volume(VOLUME))
        self.assertEqual(self.run_now(contradictions(files)), [])

    def test_shutdown_in_the_middle_of_an_unmount(self) -> None:
        """Volumes that were being closed when the unmount was given up are closed all the same."""
        server = self.started()
        self.run_now(use(server))
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_header":
                await gate

        server.disk.fault = fault
        unmount = ensureDeferred(server.registry.remove_partition(0))
        unmount.cancel()
        self.failureResultOf(unmount, FirstError)
        stopping = ensureDeferred(server.registry.shutdown())
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
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
        """Damage that a call meets keeps new calls away at once, and closes the volume after its last user."""
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
