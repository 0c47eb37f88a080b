"""One volume id on two partitions of a server: a clone may be there twice, a read-write volume on its way."""

from __future__ import annotations

from errno import EIO

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from afs.errors import VolumeError
from afs.rpc.volser import ITOffline, ITReadOnly
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.volser.cloning import create_root, new_header
from fileserver.volume.holding import Holder
from tests.fileserver.volser.support import READONLY, RO, RW, VOLUME, Volser
from tests.fileserver.volume.support import Base, Server, use


class Twice(Volser):
    def make(self, partition: int, volume_id: int, kind: int, name: bytes) -> None:
        _, trans = self.do(self.volser.CreateVolume(partition, name, kind, VOLUME, volume_id))
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))

    def serving(self, volume_id: int = READONLY) -> str:
        """The partition whose volume a client gets."""

        async def ask() -> str:
            async with self.server.registry.use(volume_id) as volume:
                return volume.partition.name

        return self.run_now(ask())

    def listed(self, partition: int) -> list[int]:
        return [entry.volid for entry in self.do(self.volser.XListVolumes(partition, 1))]

    def remove(self, partition: int, volume_id: int) -> None:
        trans = self.do(self.volser.TransCreate(volume_id, partition, ITOffline))
        self.do(self.volser.DeleteVolume(trans))
        self.do(self.volser.EndTrans(trans))

    def test_a_clone(self) -> None:
        """Both are kept, listed, and had by transactions of their own; the first serves."""
        for partition in (0, 1):
            self.make(partition, READONLY, RO, b"vol")
        self.assertEqual((self.listed(0), self.listed(1)), ([READONLY], [READONLY]))
        self.assertEqual(self.serving(), "/vicepa")
        first = self.do(self.volser.TransCreate(READONLY, 0, ITReadOnly))
        second = self.do(self.volser.TransCreate(READONLY, 1, ITOffline))
        self.assertEqual(
            {(each.volid, each.partition) for each in self.do(self.volser.Monitor())}, {(READONLY, 0), (READONLY, 1)}
        )
        self.assertEqual(self.serving(), "/vicepa")
        for trans in (first, second):
            self.do(self.volser.EndTrans(trans))

    def test_the_first_is_removed(self) -> None:
        """The other takes over, and clients are told that what they know of the volume may not be so."""
        for partition in (0, 1):
            self.make(partition, READONLY, RO, b"vol")
        self.assertEqual(self.serving(), "/vicepa")
        self.server.broken.clear()
        self.remove(0, READONLY)
        self.assertIn(READONLY, self.server.broken)
        self.assertEqual(self.serving(), "/vicepb")
        self.assertEqual((self.listed(0), self.listed(1)), ([], [READONLY]))
        self.remove(1, READONLY)
        self.assertEqual(self.refused(use(self.server, READONLY)), VolumeError.VNOVOL)

    def test_the_first_partition_leaves(self) -> None:
        """The other takes over, also for calls that were held; it goes on when the first is back."""
        for partition in (0, 1):
            self.make(partition, READONLY, RO, b"vol")
        registry = self.server.registry
        self.assertEqual(self.serving(), "/vicepa")
        registry.freeze(0)
        known = self.run_now(registry.vacate(0))
        self.assertEqual(self.serving(), "/vicepb")
        registry.dismiss(known)
        self.run_now(registry.add_partition(self.server.partition))
        self.assertEqual(self.serving(), "/vicepb")
        self.assertEqual((self.listed(0), self.listed(1)), ([READONLY], [READONLY]))

    def test_another_volume_of_that_id(self) -> None:
        """A clone cannot have the id of a read-write volume that another partition has, nor the other way round."""
        self.create()
        self.make(0, READONLY, RO, b"vol")
        self.assertEqual(self.code(self.volser.CreateVolume(1, b"vol", RO, VOLUME + 9, VOLUME)), EIO)
        self.assertEqual(self.code(self.volser.CreateVolume(1, b"vol", RW, READONLY, READONLY)), EIO)
        self.assertEqual((self.listed(0), self.listed(1)), ([VOLUME, READONLY], []))

    def test_a_move_between_partitions(self) -> None:
        """Of a read-write volume the first serves until it is removed, and then the other."""
        self.create()
        self.make(1, VOLUME, RW, b"vol")
        self.assertEqual(self.serving(VOLUME), "/vicepa")
        self.remove(0, VOLUME)
        self.assertEqual(self.serving(VOLUME), "/vicepb")

    def test_a_move_that_failed(self) -> None:
        """The new one is removed, the old one serves on."""
        self.create()
        self.make(1, VOLUME, RW, b"vol")
        self.remove(1, VOLUME)
        self.assertEqual(self.serving(VOLUME), "/vicepa")

    def test_what_is_left_of_a_move(self) -> None:
        """A read-write volume that two partitions have is served by one; when that leaves, the other is not: it may
        be old.
        """
        self.create()
        self.make(1, VOLUME, RW, b"vol")
        self.run_now(self.server.registry.remove_partition(0))
        self.assertEqual(self.refused(use(self.server, VOLUME)), VolumeError.VNOVOL)
        self.run_now(self.server.registry.add_partition(self.server.partition))
        self.run_now(self.server.registry.remove_partition(1))
        self.assertEqual(self.refused(use(self.server, VOLUME)), VolumeError.VNOVOL)
        self.assertEqual(self.listed(0), [VOLUME])
        self.remove(0, VOLUME)
        self.run_now(self.server.registry.add_partition(self.other))
        self.assertEqual(self.serving(VOLUME), "/vicepb")


class Client:
    """Stands for a host."""


class Held(Base):
    def test_held_calls(self) -> None:
        """A call that waits for what becomes of the first partition is answered from the other when that is gone."""
        server = Server(clock=Clock())
        registry = server.registry
        for partition in (server.partition, MemoryPartition(1, "/vicepb", Disk())):
            self.run_now(registry.add_partition(partition))
            header = new_header(READONLY, VOLUME, b"vol.readonly", RO, int(server.now))
            checkout = self.run_now(registry.create(partition, header))
            self.run_now(create_root(checkout))
            header.destroy_me, header.in_service = False, True
            self.run_now(checkout.write())
            self.run_now(checkout.give_back())
        registry.freeze(0)

        async def ask() -> str:
            async with registry.use(READONLY, Holder(Client())) as volume:
                return volume.partition.name

        held = ensureDeferred(ask())
        self.assertNoResult(held)
        self.run_now(registry.remove_partition(0))
        self.assertEqual(self.successResultOf(held), "/vicepb")
