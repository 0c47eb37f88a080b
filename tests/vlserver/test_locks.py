"""Locks of entries: taken once, never expiring, released by anybody, in parts."""

from __future__ import annotations

from afs.errors import VLError
from afs.rpc.vl import VLF_RWEXISTS, VLOP_BACKUP, VLOP_DELETE, VLOP_DUMP, VLOP_MOVE, VLOP_RELEASE
from tests.vlserver.support import VldbTest, entry

ALL = (VLOP_MOVE, VLOP_RELEASE, VLOP_BACKUP, VLOP_DELETE, VLOP_DUMP)


class LockTest(VldbTest):
    """SetLock and ReleaseLock."""

    def setUp(self) -> None:
        super().setUp()
        self.now(self.admin.CreateEntryN(entry()))

    async def flags(self) -> int:
        """The entry's flags beside VLF_RWEXISTS."""
        found = await self.anyone.GetEntryByNameN(b"vol")
        return int(found.flags) ^ VLF_RWEXISTS

    async def test_each_operation(self) -> None:
        """Each of the five operations locks, shows in the flags, and is cleared by a full release."""
        for operation in ALL:
            await self.admin.SetLock(101, -1, operation)
            self.assertEqual(await self.flags(), operation)
            await self.refused(VLError.VL_ENTRYLOCKED, self.admin.SetLock(100, 0, VLOP_MOVE))
            await self.admin.ReleaseLock(102, 2, 7)
            self.assertEqual(await self.flags(), 0)

    async def test_never_expires(self) -> None:
        """A lock of years ago is a lock."""
        await self.admin.SetLock(100, 0, VLOP_MOVE)
        self.vldb.time += 20 * 365 * 86400
        await self.refused(VLError.VL_ENTRYLOCKED, self.admin.SetLock(100, 0, VLOP_MOVE))

    async def test_bad_arguments(self) -> None:
        """Operations, types and release types outside the lists are refused; a missing entry is VL_NOENT."""
        for operation in (0, 1, 0x30, VLOP_MOVE | VLOP_DUMP, 0x200, -1):
            await self.refused(VLError.VL_BADVOLOPER, self.admin.SetLock(100, 0, operation))
        await self.refused(VLError.VL_BADVOLTYPE, self.admin.SetLock(100, 3, VLOP_MOVE))
        await self.refused(VLError.VL_BADVOLTYPE, self.admin.ReleaseLock(100, 3, 7))
        await self.refused(VLError.VL_NOENT, self.admin.SetLock(99, -1, VLOP_MOVE))
        await self.refused(VLError.VL_NOENT, self.admin.ReleaseLock(99, -1, 7))
        for release_type in (8, 0x10, -8):
            await self.refused(VLError.VL_BADRELLOCKTYPE, self.admin.ReleaseLock(100, 0, release_type))

    async def test_partial_release(self) -> None:
        """The stamp, the operation and the locker's id are released apart; type 0 releases nothing."""
        await self.admin.SetLock(100, 0, VLOP_BACKUP)
        for release_type, flags in ((0, VLOP_BACKUP), (4, VLOP_BACKUP), (2, 0)):
            await self.admin.ReleaseLock(100, 0, release_type)
            self.assertEqual(await self.flags(), flags)
            await self.refused(VLError.VL_ENTRYLOCKED, self.admin.SetLock(100, 0, VLOP_MOVE))
        await self.admin.ReleaseLock(100, 0, 1)
        await self.admin.SetLock(100, 0, VLOP_MOVE)

    async def test_rerelease(self) -> None:
        """An unlocked entry still marked as being released is VL_RERELEASE and stays unlocked."""
        await self.admin.SetLock(100, 0, VLOP_RELEASE)
        await self.admin.ReleaseLock(100, 0, 1)
        for _ in range(2):
            await self.refused(VLError.VL_RERELEASE, self.admin.SetLock(100, 0, VLOP_DELETE))
        self.assertEqual(await self.flags(), VLOP_RELEASE)
        await self.admin.ReleaseLock(100, 0, 2)
        await self.admin.SetLock(100, 0, VLOP_DELETE)

    async def test_replacing(self) -> None:
        """A replacement keeps the stamp, takes the flags as written, and releases what it says."""
        await self.admin.SetLock(100, 0, VLOP_MOVE)
        await self.admin.ReplaceEntryN(100, 0, entry(), 0)
        self.assertEqual(await self.flags(), 0)
        await self.refused(VLError.VL_ENTRYLOCKED, self.admin.SetLock(100, 0, VLOP_MOVE))
        await self.admin.ReplaceEntryN(100, 0, entry(flags=VLF_RWEXISTS | VLOP_MOVE), 7)
        self.assertEqual(await self.flags(), 0)
        await self.admin.SetLock(100, 0, VLOP_MOVE)

    async def test_new_entry(self) -> None:
        """A new entry is unlocked, though its flags may carry an operation."""
        await self.admin.CreateEntryN(entry(b"other", (200, 0, 0), flags=VLF_RWEXISTS | VLOP_MOVE))
        await self.admin.SetLock(200, 0, VLOP_DUMP)
