"""Entries locked for an operation on their volumes, and unlocked."""

from __future__ import annotations

from vlserver.interfaces import ITransaction
from vlserver.operations import locks
from vlserver.operations.entries import find
from vlserver.procedures.base import VLProcedures
from vlserver.procedures.entries import check_volume_type


class LockProcedures(VLProcedures):
    """SetLock and ReleaseLock."""

    async def SetLock(self, volid: int, voltype: int, voloper: int) -> None:
        check_volume_type(voltype)
        locks.check_operation(voloper)
        now = self._database.now()

        def work(transaction: ITransaction) -> None:
            locks.set_lock(transaction, find(transaction, volid, voltype), voloper, now)

        await self._write(work)

    async def ReleaseLock(self, volid: int, voltype: int, release_type: int) -> None:
        check_volume_type(voltype)
        locks.check_release_type(release_type)

        def work(transaction: ITransaction) -> None:
            locks.release_lock(transaction, find(transaction, volid, voltype), release_type)

        await self._write(work)
