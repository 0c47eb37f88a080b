"""A disk that does not answer under one partition slows nothing on another."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.trial.unittest import TestCase

from afs.types import AFSFid
from fileserver.interfaces import IPartition
from fileserver.store.memory import MemoryPartition
from fileserver.store.namei_user import open_namei_user
from fileserver.store.threads import MAX_THREADS
from fileserver.volume.fsa import VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from fileserver.volume.vlru import ROOM, VlruSettings
from tests.fileserver.volume.support import ANOTHER_DAY, Base, Server, make_file, use

VOLUMES = range(1, 21)
OTHER = 99


class Stalled(Base):
    def both(self, room: int = ROOM) -> Server:
        """A server with twenty volumes on one partition, and one on another. `room` is for so many at a time."""
        server = Server(settings=VlruSettings(room=room))
        self.run_now(server.start())
        for volume_id in VOLUMES:
            self.run_now(server.make(volume_id))
        second = MemoryPartition(1, "/vicepb")
        self.run_now(server.registry.add_partition(second))
        first, server.partition = server.partition, second
        self.run_now(server.make(OTHER))
        server.partition = first
        return server

    def test_every_step(self) -> None:
        """Whatever the first partition's disk hangs in, for all its volumes, a call on the second is served at once,
        and those on the first as soon as the disk answers.
        """
        for step in ("open_volume", "read_header", "write_header", "read_vnode", "vnodes", "create_vnode"):
            server = self.both()
            gate: Deferred[None] = Deferred()
            met: set[int] = set()

            async def fault(
                operation: str,
                volume_id: int,
                number: int,
                step: str = step,
                gate: Deferred[None] = gate,
                met: set[int] = met,
            ) -> None:
                if operation == step and not gate.called:
                    met.add(volume_id)
                    waiter: Deferred[None] = Deferred()
                    gate.addCallback(waiter.callback)
                    await waiter

            async def work(volume_id: int, server: Server = server) -> AFSFid:
                async with server.registry.use(volume_id) as volume:
                    return await make_file(volume, b"f")

            server.disk.fault = fault
            calls = [ensureDeferred(work(volume_id)) for volume_id in VOLUMES]
            self.assertEqual(met, set(VOLUMES), step)
            self.run_now(work(OTHER))
            for call in calls:
                self.assertNoResult(call)
            server.disk.fault = None
            gate.callback(None)
            for call in calls:
                self.successResultOf(call)

    def test_soft_detach_of_a_stalled_volume(self) -> None:
        """A volume whose closing hangs does not keep another from being detached, nor from being used."""
        server = self.both()
        for volume_id in (1, OTHER):
            self.run_now(use(server, volume_id))
        server.now += 10**6
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            await gate

        server.disk.fault = fault
        aging = ensureDeferred(server.registry.room.age())
        self.assertNoResult(aging)
        self.assertEqual(server.volume(OTHER).state, VolumeState.PREATTACHED)
        self.assertEqual(self.run_now(use(server, OTHER)), VolumeState.ATTACHED)
        gate.callback(None)
        self.successResultOf(aging)

    def test_room_that_a_stalled_volume_makes(self) -> None:
        """Who needs room for a volume does not wait until one of another partition is closed for it."""
        server = self.both(room=1)
        self.run_now(use(server, 1))
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            await gate

        server.disk.fault = fault
        self.assertEqual(self.run_now(use(server, OTHER)), VolumeState.ATTACHED)
        self.assertEqual(server.volume(1).state, VolumeState.UPDATING)
        gate.callback(None)
        self.assertEqual(server.volume(1).state, VolumeState.PREATTACHED)


class Threads(TestCase):
    timeout = 180

    def partition(self, number: int) -> IPartition:
        from twisted.internet import reactor

        home = Path(self.mktemp()) / f"vicep{number}"
        home.mkdir(parents=True)
        opened: IPartition = open_namei_user(str(home), number, reactor)
        return opened

    async def test_threads_of_another_partition(self) -> None:
        """A partition all of whose threads hang has none of another's: that one is opened, filled and read."""
        from twisted.internet import reactor

        first, second = self.partition(0), self.partition(1)
        answer = Event()
        hanging = [ensureDeferred(first._threads.run(answer.wait)) for _ in range(2 * MAX_THREADS)]  # type: ignore[attr-defined]
        server = Server()
        server.registry = Registry(Surroundings(lambda: float(ANOTHER_DAY), clock=reactor))
        server.partition = second
        await server.start()
        await server.make(OTHER)
        async with server.registry.use(OTHER) as volume:
            await make_file(volume, b"f", b"x" * (1 << 20))
        self.assertFalse(any(one.called for one in hanging))
        answer.set()
        await gatherResults(hanging)
        await server.registry.shutdown()
        await first.close()
