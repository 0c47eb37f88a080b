"""The AFSVol RPCs whose data is a whole volume: Dump, Restore and their kin (volprocs.c)."""

from __future__ import annotations

from afs.rpc.volser import VOLDUMPV2_OMITDIRS
from fileserver.volser.dump import Dump
from fileserver.volser.procedures.clones import Clones
from rx.streams import Sink


class Dumps(Clones):
    """See the module."""

    async def Dump(self, from_trans: int, from_date: int, data: Sink) -> None:
        await self.DumpV2(from_trans, from_date, 0, data)

    async def DumpV2(self, from_trans: int, from_date: int, flags: int, data: Sink) -> None:
        async with self._transactions.use(from_trans, b"Dump") as transaction:
            checkout = transaction.checkout
            dump = Dump(checkout.header, checkout.files, from_date, not flags & VOLDUMPV2_OMITDIRS)
            await dump.write(data, self._registry.surroundings.breathe)
