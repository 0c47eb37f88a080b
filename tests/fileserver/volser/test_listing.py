"""AFSVol: what everybody may ask."""

from __future__ import annotations

from errno import EIO, ENODEV

from afs.errors import VolserError, VolumeError
from afs.rpc.volser import (
    ITBusy,
)
from fileserver.volser.listing import VOK
from fileserver.volser.transactions import Transactions
from tests.fileserver.volser.support import RW, VOLUME, Volser


class Listing(Volser):
    def test_partitions(self) -> None:
        """Which partitions there are, in both forms, and their space."""
        self.assertEqual(self.do(self.volser.XListPartitions()), (0, 1))
        self.assertEqual(self.do(self.volser.ListPartitions()).partIds, (0, 1) + (-1,) * 24)
        space = self.server.partition.space()
        found = self.do(self.volser.PartitionInfo64(b"/vicepa"))
        self.assertEqual((found.name, found.free, found.minFree), (b"/vicepa", space.free, space.total))
        self.assertEqual(self.do(self.volser.PartitionInfo(b"/vicepb")).minFree, space.total)
        self.assertEqual(self.code(self.volser.PartitionInfo64(b"/vicepz")), VolserError.VOLSERILLEGAL_PARTITION)

    def test_small_numbers(self) -> None:
        """The 32-bit form shows at most what fits."""
        self.server.disk.capacity = 1 << 60
        self.assertEqual(self.do(self.volser.PartitionInfo(b"/vicepa")).minFree, 2**31 - 1)

    def test_volumes(self) -> None:
        """All volumes of a partition, in the order of their ids: ids only, in full, and with statistics."""
        self.create(7, b"seven")
        self.create()
        self.assertEqual([info.volid for info in self.do(self.volser.ListVolumes(0, 0))], [7, VOLUME])
        self.assertEqual([info.name for info in self.do(self.volser.ListVolumes(0, 1))], [b"seven", b"vol"])
        self.assertEqual([info.name for info in self.do(self.volser.XListVolumes(0, 1))], [b"seven", b"vol"])
        self.assertEqual(self.do(self.volser.ListVolumes(1, 1)), ())
        (extended,) = self.do(self.volser.XListOneVolume(0, 7))
        self.assertEqual((extended.name, extended.status), (b"seven", VOK))
        self.assertEqual(self.code(self.volser.ListVolumes(9, 1)), VolserError.VOLSERILLEGAL_PARTITION)
        self.assertEqual(self.code(self.volser.XListOneVolume(0, 99)), ENODEV)

    def test_attaches_nothing(self) -> None:
        """Listing neither attaches a volume nor changes what is on disk."""
        self.create()
        server = self.run_now(self.server.crash())
        self.server.registry = server.registry
        self.transactions = Transactions(server.registry, server.registry.surroundings.seconds)
        self.volser = self.caller(administrator=True)
        self.assertEqual(self.info().inUse, 1)
        self.assertEqual(server.volume().state.name, "PREATTACHED")
        self.assertEqual(self.server.disk.volumes[VOLUME].header.in_use, 0)

    def test_busy(self) -> None:
        """A volume in a transaction is VBUSY and has only its id."""
        self.create()
        self.begin()
        info = self.info()
        self.assertEqual((info.volid, info.status, info.name), (VOLUME, VolumeError.VBUSY, b""))

    def test_about_to_be_deleted(self) -> None:
        """A half-made volume is left out of lists, and has no status when asked for."""
        self.create()
        self.server.disk.volumes[VOLUME].header.destroy_me = True
        self.assertEqual(self.do(self.volser.ListVolumes(0, 1)), ())
        self.assertEqual((self.info().status, self.info().name), (0, b"V0536870912.vol"))

    def test_unreadable(self) -> None:
        """A volume whose header cannot be read is listed by its file's name, and the others in full."""
        self.create(7, b"seven")
        self.create()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if volume_id == 7:
                raise OSError(EIO, "I/O error")

        self.server.disk.fault = fault
        listed = [(info.name, info.status) for info in self.do(self.volser.ListVolumes(0, 1))]
        self.assertEqual(listed, [(b"V0000000007.vol", 0), (b"vol", VOK)])

    def test_size(self) -> None:
        """The size of a dump: 2473 bytes for a new volume with a name of seven letters, as stock says."""
        self.create(name=b"gold.v1")
        trans = self.begin(flags=ITBusy)
        self.assertEqual(self.do(self.volser.GetSize(trans, 0)).dump_size, 2473)

    def test_obsolete(self) -> None:
        """Two RPCs that never did anything still do not."""
        self.assertEqual(self.code(self.volser.GetNthVolume(0)), VolserError.VOLSERNO_OP)
        self.do(self.volser.SignalRestore(b"vol", RW, VOLUME, 0))
