"""The memory back end: the contract, and the faults it injects."""

from __future__ import annotations

from errno import EIO

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from fileserver.interfaces import IPartition
from fileserver.store.memory import Disk, MemoryPartition
from tests.contracts.ipartition import PartitionContract, file_vnode


class MemoryContract(PartitionContract, TestCase):
    """The contract."""

    def setUp(self) -> None:
        self.disk = Disk()

    async def open_partition(self) -> IPartition:
        return MemoryPartition(disk=self.disk)

    def fill_disk(self) -> None:
        self.disk.capacity = self.disk.used

    def empty_disk(self) -> None:
        self.disk.capacity = 1 << 40

    async def test_space_comes_back(self) -> None:
        """Removing, truncating and destroying give back the room that writing took."""
        files = await self.fresh()
        await files.create_vnode(2, file_vnode(3), bytes(1_000_000))
        await files.create_vnode(4, file_vnode(4), bytes(1_000_000))
        await files.truncate(2, 10)
        await files.remove_vnode(4)
        await self.partition.destroy_volume(files.id)
        self.assertEqual(self.disk.used, 0)


class Faults(TestCase):
    """What a test can make go wrong."""

    async def test_errors_and_latency(self) -> None:
        """The fault hook is told what is about to be done, may fail it before anything changed, and may delay it."""
        seen: list[tuple[str, int, int]] = []
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            seen.append((operation, volume_id, number))
            if operation == "write":
                raise OSError(EIO, "Input/output error")
            if operation == "read":
                await gate

        disk = Disk()
        contract = MemoryContract("test_interfaces")
        contract.disk = disk
        files = await contract.fresh()
        await files.create_vnode(2, file_vnode(3), b"hello")
        disk.fault = fault
        with self.assertRaises(OSError):
            await files.write(2, 0, b"HELLO")
        reading = ensureDeferred(files.read(2, 0, 10))
        self.assertNoResult(reading)
        gate.callback(None)
        self.assertEqual(self.successResultOf(reading), b"hello")
        self.assertEqual(seen, [("write", files.id, 2), ("read", files.id, 2)])
