"""The AFSVol RPCs that work on a volume and its clone: Clone, ReClone, ConvertROtoRWvolume (volprocs.c)."""

from __future__ import annotations

from dataclasses import replace
from errno import EINVAL, ENODEV, EROFS, EXDEV

from afs.errors import VolumeError
from afs.names import base_name
from fileserver.interfaces import VolumeExists
from fileserver.volser.cloning import BACKUP, READ_ONLY, READ_WRITE, fill_clone, refresh_clone
from fileserver.volser.procedures.volumes import Changes, check_name
from fileserver.volser.transactions import Transaction
from fileserver.volume.checkout import Checkout, Mode
from rx.errors import Abort


class Clones(Changes):
    """See the module."""

    async def Clone(self, trans: int, purge_vol: int, new_type: int, new_name: bytes, new_vol: int) -> int:
        check_name(new_name)
        if not new_vol or new_type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        async with self._transactions.use(trans, b"Clone") as transaction:
            source = _cloneable(transaction)
            if purge_vol:
                self._check_purged(purge_vol, transaction)
            if purge_vol == new_vol:
                await self._reclone(transaction, new_vol, b"Clone")
                return new_vol
            async with self._transactions.brief(new_vol, transaction.partition, b"Clone") as fresh:
                try:
                    async with self._created(fresh, source.header.parent, new_name, READ_ONLY) as target:
                        await fill_clone(source, target, new_name, new_type, self._now())
                except VolumeExists as problem:
                    raise Abort(VolumeError.VVOLEXISTS) from problem
            if purge_vol:
                await self._purge(purge_vol, transaction.partition)
        self._registry.surroundings.callbacks.break_volume(new_vol)
        return new_vol

    def _check_purged(self, volume_id: int, transaction: Transaction) -> None:
        volume = self._registry.find(volume_id, transaction.partition)
        if volume is None:
            raise Abort(VolumeError.VNOVOL if self._registry.find(volume_id) is None else EXDEV)
        if volume.parent != transaction.checkout.header.parent:
            raise Abort(EXDEV)

    async def _purge(self, volume_id: int, partition: int) -> None:
        async with self._transactions.brief(volume_id, partition, b"Clone") as transaction:
            checkout = await self._registry.check_out(volume_id, partition, Mode.VOLUPD)
            transaction.hold(checkout)
            await checkout.destroy()

    async def ReClone(self, tid: int, clone_id: int) -> None:
        async with self._transactions.use(tid, b"ReClone") as transaction:
            await self._reclone(transaction, clone_id, b"ReClone")

    async def _reclone(self, transaction: Transaction, clone_id: int, procedure: bytes) -> None:
        source = _cloneable(transaction)
        async with self._transactions.brief(clone_id, transaction.partition, procedure) as brief:
            clone = self._registry.find(clone_id, transaction.partition)
            if clone is None:
                raise Abort(VolumeError.VNOVOL if self._registry.find(clone_id) is None else EXDEV)
            target = await self._registry.check_out(clone_id, transaction.partition, Mode.VOLUPD)
            brief.hold(target)
            await refresh_clone(source, target, self._now())
        self._registry.surroundings.callbacks.break_volume(clone_id)

    async def ConvertROtoRWvolume(self, partid: int, volid: int) -> None:
        where = self._partition(partid)
        if self._registry.find(volid, partid) is None:
            raise Abort(ENODEV)
        async with self._transactions.brief(volid, partid, b"ConvertROtoRW") as brief:
            old = await self._registry.check_out(volid, partid, Mode.VOLUPD)
            brief.hold(old)
            if old.header.type != READ_ONLY:
                raise Abort(EINVAL)
            async with self._transactions.brief(old.header.parent, partid, b"ConvertROtoRW") as other:
                try:
                    new = await self._registry.create(
                        where, replace(old.header, id=old.header.parent, type=READ_WRITE, in_service=False)
                    )
                    other.hold(new)
                    await old.files.clone_to(new.files)
                    new.header.in_service = old.header.in_service
                    new.header.name = base_name(old.header.name)
                    await new.write()
                    await new.sync()
                    await old.destroy()
                except VolumeExists as problem:
                    raise Abort(VolumeError.VVOLEXISTS) from problem


def _cloneable(transaction: Transaction) -> Checkout:
    """The transaction's volume, which nobody writes meanwhile. Abort VOFFLINE for one out of service."""
    checkout = transaction.checkout
    if checkout.header.destroy_me or not checkout.header.in_service:
        raise Abort(VolumeError.VOFFLINE)
    if checkout.online and checkout.header.type == READ_WRITE:
        raise Abort(EROFS)
    return checkout
