"""The AFSVol RPCs whose data is a whole volume: Dump, Restore and their kin (volprocs.c)."""

from __future__ import annotations

from errno import EDQUOT, EINVAL, ENOSPC, EROFS

from twisted.logger import Logger

from afs.rpc.volser import VOLDUMPV2_OMITDIRS, ITReadOnly, VTDeleted, restoreCookie
from fileserver.volser.cloning import BACKUP, READ_ONLY, READ_WRITE
from fileserver.volser.dump import Dump
from fileserver.volser.procedures.clones import Clones
from fileserver.volser.restore import is_new, restore
from fileserver.volser.transactions import Transaction
from rx.errors import Abort
from rx.streams import Sink, Source

log = Logger(namespace="fileserver.volser")


class Dumps(Clones):
    """See the module."""

    async def Dump(self, from_trans: int, from_date: int, data: Sink) -> None:
        await self.DumpV2(from_trans, from_date, 0, data)

    async def DumpV2(self, from_trans: int, from_date: int, flags: int, data: Sink) -> None:
        async with self._transactions.use(from_trans, b"Dump") as transaction:
            checkout = transaction.checkout
            dump = Dump(checkout.header, checkout.files, from_date, not flags & VOLDUMPV2_OMITDIRS)
            await dump.write(data, self._registry.surroundings.breathe)

    async def Restore(self, to_trans: int, flags: int, cookie: restoreCookie, data: Source) -> None:
        """`flags` says whether the stream is incremental, which the stream itself says better."""
        if cookie.type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        async with self._transactions.use(to_trans, b"Restore") as transaction:
            if transaction.checkout.online or transaction.iflags & ITReadOnly:
                raise Abort(EROFS)
            new = await is_new(transaction.checkout)
            try:
                await restore(transaction.checkout, cookie, data, self._registry.surroundings.breathe)
            except BaseException as problem:
                await self._give_up(transaction, new, problem)
                if isinstance(problem, OSError) and problem.errno in (ENOSPC, EDQUOT):
                    raise Abort(ENOSPC, str(problem)) from problem
                raise
            finally:
                self._registry.surroundings.callbacks.break_volume(transaction.volume_id)

    async def _give_up(self, transaction: Transaction, new: bool, problem: BaseException) -> None:
        """Half a volume is of no use: a new one goes, one that was there before waits for a salvage or a restore."""
        log.error("volume {id} not restored: {problem}", id=transaction.volume_id, problem=problem)
        if new:
            await transaction.checkout.destroy()
            transaction.vflags |= VTDeleted
