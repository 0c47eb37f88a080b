"""The AFSVol RPCs whose data is a whole volume: Dump, Restore and their kin (volprocs.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EDQUOT, EINVAL, ENOSPC, EROFS

from twisted.logger import Logger

from afs.rpc.volser import VOLDUMPV2_OMITDIRS, ITReadOnly, VTDeleted, destServer, replica, restoreCookie
from fileserver.volser.cloning import BACKUP, READ_ONLY, READ_WRITE
from fileserver.volser.dump import Dump
from fileserver.volser.forward import Connect, address_of, forward, restore_at
from fileserver.volser.procedures.clones import Clones
from fileserver.volser.restore import is_new, restore
from fileserver.volser.transactions import Transaction, Transactions
from fileserver.volume.registry import Registry
from rx.errors import Abort
from rx.streams import Sink, Source

log = Logger(namespace="fileserver.volser")


class Dumps(Clones):
    """See the module."""

    def __init__(
        self, registry: Registry, transactions: Transactions, now: Callable[[], int], connect: Connect
    ) -> None:
        super().__init__(registry, transactions, now)
        self._connect = connect

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
        # without waiting: who forwards a volume to itself would wait for the end of that
        async with self._transactions.use(to_trans, b"Restore", wait=False) as transaction:
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

    async def Forward(
        self, from_trans: int, from_date: int, destination: destServer, dest_trans: int, cookie: restoreCookie
    ) -> None:
        (code,) = await self._forward(
            from_trans, from_date, (replica(trans=dest_trans, server=destination),), cookie, b"Forward"
        )
        if code:
            raise Abort(code)

    async def ForwardMultiple(
        self, from_trans: int, from_date: int, destinations: tuple[replica, ...], spare: int, cookie: restoreCookie
    ) -> tuple[int, ...]:
        return await self._forward(from_trans, from_date, destinations, cookie, b"ForwardMulti")

    async def _forward(
        self,
        from_trans: int,
        from_date: int,
        destinations: tuple[replica, ...],
        cookie: restoreCookie,
        procedure: bytes,
    ) -> tuple[int, ...]:
        """Directories that did not change are left out of what is sent since a date."""
        addresses = [address_of(destination.server) for destination in destinations]
        async with self._transactions.use(from_trans, procedure) as transaction:
            checkout = transaction.checkout
            dump = Dump(checkout.header, checkout.files, from_date, every_directory=False)
            peers = [self._connect(address) for address in addresses]
            try:
                restores = [
                    restore_at(peer, destination.trans, bool(from_date), cookie)
                    for peer, destination in zip(peers, destinations, strict=True)
                ]
                return await forward(dump, restores, self._registry.surroundings.breathe)
            finally:
                for peer in peers:
                    peer.close()
