"""Soft detach: volumes come and go, and nobody who uses them sees it."""

from __future__ import annotations

from errno import EIO
from random import Random

from twisted.internet.defer import Deferred, ensureDeferred

from afs.types import AFSFid
from fileserver.volume.checkout import Mode
from fileserver.volume.fsa import VolumeState
from fileserver.volume.vlru import VlruSettings
from tests.fileserver.volume.support import VOLUME, Base, Server, make_file, use
from tests.support.budget import budget

IDLE = 3 * 7200


class Idle(Base):
    def idle(self) -> Server:
        """A server with one attached volume that nobody has used for long."""
        server = self.started()
        self.run_now(use(server))
        server.now += IDLE
        return server

    def test_detached_softly(self) -> None:
        """An idle volume is closed as cleanly as at shutdown, and attached again by its next user."""
        server = self.idle()
        self.run_now(server.registry.room.age())
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)
        self.assertEqual(len(server.registry.surroundings.vlru), 0)
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)
        self.assertEqual(server.registry.room.detached, 1)

    def test_in_use(self) -> None:
        """A volume that somebody uses stays, however long that takes."""
        server = self.started()
        gate: Deferred[None] = Deferred()

        async def slow() -> None:
            async with server.registry.use(VOLUME):
                await gate

        user = ensureDeferred(slow())
        server.now += IDLE
        self.run_now(server.registry.room.age())
        self.assertEqual(server.volume().state, VolumeState.ATTACHED)
        gate.callback(None)
        self.successResultOf(user)

    def test_whoever_comes_meanwhile_waits(self) -> None:
        """A call in the middle of a soft detach waits for it, sees no error, and is served."""
        server = self.idle()
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_header" and not gate.called:
                await gate

        server.disk.fault = fault
        aging = ensureDeferred(server.registry.room.age())
        self.assertNoResult(aging)
        call = ensureDeferred(use(server))
        self.assertNoResult(call)
        gate.callback(None)
        self.successResultOf(aging)
        self.assertEqual(self.successResultOf(call), VolumeState.ATTACHED)

    def test_a_disk_that_fails_meanwhile(self) -> None:
        """A header that cannot be written does not condemn the volume: the next attach recovers."""
        server = self.idle()
        failing = True

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if failing and operation == "write_header":
                raise OSError(EIO, "I/O error")

        server.disk.fault = fault
        self.run_now(server.registry.room.age())
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 1)
        failing = False
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)

    def test_shutdown_meanwhile(self) -> None:
        """A server that stops in the middle of a soft detach waits for it."""
        server = self.idle()
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_header":
                await gate

        server.disk.fault = fault
        aging = ensureDeferred(server.registry.room.age())
        stopping = ensureDeferred(server.registry.shutdown())
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(aging)
        self.successResultOf(stopping)
        self.assertEqual(server.disk.volumes[VOLUME].header.in_use, 0)


class Room(Base):
    def crowded(self, count: int, room: int) -> Server:
        server = Server(settings=VlruSettings(room=room))
        self.run_now(server.start())
        for volume_id in range(1, count + 1):
            self.run_now(server.make(volume_id))
        return server

    def test_round_robin(self) -> None:
        """A thousand volumes used in turn with room for a hundred: no error, and each finds what it wrote before."""
        server = self.crowded(1000, 100)
        vlru = server.registry.surroundings.vlru
        for turn in range(3):
            for volume_id in range(1, 1001):
                server.now += 0.01

                async def write_and_look(volume_id: int = volume_id, turn: int = turn) -> None:
                    async with server.registry.use(volume_id) as volume:
                        root = AFSFid(volume_id, 1, 1)
                        async with volume.exclusive(root) as (vn,):
                            self.assertEqual(vn.disk.modify_time, turn or vn.disk.modify_time)
                            vn.disk.modify_time = turn + 1
                            await vn.save()

                self.run_now(write_and_look())
                self.assertLessEqual(len(vlru), 100)
        self.assertGreater(server.registry.room.detached, 2800)

    def test_more_in_use_than_room(self) -> None:
        """Calls are never refused for want of room: there are more attached volumes for as long as all are in use."""
        server = self.crowded(20, 4)
        gate: Deferred[None] = Deferred()

        async def slow(volume_id: int) -> None:
            async with server.registry.use(volume_id):
                await gate

        calls = [ensureDeferred(slow(volume_id)) for volume_id in range(1, 21)]
        self.assertEqual(len(server.registry.surroundings.vlru), 20)
        gate.callback(None)
        for call in calls:
            self.successResultOf(call)
        self.run_now(server.registry.shutdown())

    def test_borrowed_volumes_stay(self) -> None:
        """What the volume server has in its hands is not detached under it."""
        server = self.crowded(2, 1)
        self.run_now(use(server, 1))
        checkout = self.run_now(server.registry.check_out(1, 0, Mode.READONLY))
        self.run_now(use(server, 2))
        self.assertEqual(server.volume(1).state, VolumeState.ATTACHED)
        self.run_now(checkout.give_back())

    def test_together(self) -> None:
        """Calls on random volumes at the same time, on a disk that answers in any order, with room for three: no error
        and nothing lost.
        """
        spent = budget("fileserver.aging", full=500)
        random = Random(spent.seed)
        for _ in range(spent.count):
            self._together(random)

    def _together(self, random: Random) -> None:
        server = self.crowded(8, 3)
        made: dict[int, int] = dict.fromkeys(range(1, 9), 0)
        waiting: list[Deferred[None]] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if random.random() < 0.3:
                waiting.append(Deferred())
                await waiting[-1]

        server.disk.fault = fault

        async def work(volume_id: int) -> None:
            async with server.registry.use(volume_id) as volume:
                await make_file(volume, b"f%d" % random.randrange(1 << 60))
                made[volume_id] += 1

        calls: list[Deferred[None]] = []
        while len(calls) < 40 or waiting:
            if len(calls) < 40 and random.random() < 0.5:
                server.now += 1
                calls.append(ensureDeferred(work(random.randrange(1, 9))))
            elif waiting:
                waiting.pop(random.randrange(len(waiting))).callback(None)
        for call in calls:
            self.successResultOf(call)
        server.disk.fault = None
        self.run_now(server.registry.shutdown())
        for volume_id, count in made.items():
            stored = server.disk.volumes[volume_id]
            self.assertEqual((len(stored.vnodes), stored.header.in_use), (count + 1, 0))
            self.assertEqual(stored.header.file_count, count)
