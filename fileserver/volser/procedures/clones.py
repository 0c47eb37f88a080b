"""The AFSVol RPCs that make one volume of another: Clone, ReClone, ConvertROtoRWvolume, SplitVolume (volprocs.c)."""

from __future__ import annotations

from dataclasses import replace
from errno import EINVAL, ENODEV, EROFS, EXDEV

from afs.errors import VolumeError
from fileserver.interfaces import VolumeExists
from fileserver.volser.cloning import (
    BACKUP,
    READ_ONLY,
    READ_WRITE,
    converted,
    fill_clone,
    new_header,
    refresh_clone,
)
from fileserver.volser.procedures.volumes import Changes, check_name
from fileserver.volser.splitting import copy_subtree, find_subtree, replace_subtree
from fileserver.volser.transactions import Transaction
from fileserver.volume.checkout import Checkout, Mode, peek
from fileserver.volume.volume import UNIQUIFIER_START, Volume
from rx.errors import Abort
from rx.streams import Sink


class Clones(Changes):
    """See the module."""

    async def Clone(self, trans: int, purge_vol: int, new_type: int, new_name: bytes, new_vol: int) -> int:
        check_name(new_name)
        if not new_vol or new_type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        async with (
            self._transactions.use(trans) as transaction,
            self._transactions.brief(new_vol, transaction.partition, b"Clone") as fresh,
        ):
            transaction.procedure = b"Clone"
            purged = self._find(purge_vol, transaction.partition) if purge_vol else None
            source = _cloneable(transaction)
            if purged is not None:
                await _check_purged(purged, source)
            if purge_vol == new_vol:
                if new_type == READ_ONLY:
                    source.header.clone_id = new_vol
                await self._refresh(source, fresh, keep_usage=False)
            else:
                header = new_header(new_vol, source.header.parent, new_name, READ_ONLY, self._now())
                try:
                    async with self._created(fresh, header) as target:
                        await fill_clone(source, target, new_name, new_type, self._now())
                except VolumeExists as problem:
                    raise Abort(VolumeError.VVOLEXISTS) from problem
                if purge_vol:
                    await self._purge(purge_vol, transaction.partition)
        self._registry.surroundings.callbacks.break_volume(new_vol)
        return new_vol

    def _find(self, volume_id: int, partition: int) -> Volume:
        """Raises Abort VNOVOL where there is no such volume, EXDEV where it is on another partition."""
        volume = self._registry.find(volume_id, partition)
        if volume is None:
            raise Abort(VolumeError.VNOVOL if self._registry.find(volume_id) is None else EXDEV)
        return volume

    async def _purge(self, volume_id: int, partition: int) -> None:
        async with self._transactions.brief(volume_id, partition, b"Clone") as transaction:
            checkout = await self._registry.check_out(volume_id, partition, Mode.VOLUPD)
            transaction.hold(checkout)
            await checkout.destroy()

    async def ReClone(self, tid: int, clone_id: int) -> None:
        async with (
            self._transactions.use(tid) as transaction,
            self._transactions.brief(clone_id, transaction.partition, b"ReClone") as brief,
        ):
            transaction.procedure = b"ReClone"
            await self._refresh(_cloneable(transaction), brief, keep_usage=True)
        self._registry.surroundings.callbacks.break_volume(clone_id)

    async def _refresh(self, source: Checkout, brief: Transaction, *, keep_usage: bool) -> None:
        self._find(brief.volume_id, brief.partition)
        await refresh_clone(source, await self._taken(brief), self._now(), keep_usage=keep_usage)

    async def ConvertROtoRWvolume(self, partid: int, volid: int) -> None:
        """Of a clone whose read-write volume is nowhere on this server, and that is the only one of its group here."""
        where = self._partition(partid)
        if self._registry.find(volid, partid) is None:
            raise Abort(ENODEV)
        async with self._transactions.brief(volid, partid, b"ConvertROtoRW") as brief:
            parent = (await where.ids(volid)).parent
            if self._registry.find(parent) is not None:
                raise Abort(EXDEV)
            if any(ids.parent == parent and ids.id != volid for ids in await where.volumes()):
                raise Abort(VolumeError.VVOLEXISTS)
            old = await self._taken(brief)
            async with self._transactions.brief(parent, partid, b"ConvertROtoRW") as other:
                header = converted(old.header)
                try:
                    async with self._created(other, replace(header, in_service=False, destroy_me=True)) as new:
                        await old.files.clone_to(new.files)
                        new.header = header
                        await new.write()
                        await new.sync()
                except VolumeExists as problem:
                    raise Abort(EXDEV) from problem
                await old.destroy()

    async def SplitVolume(self, vid: int, newid: int, where: int, verbose: int, report: Sink) -> None:
        """Both volumes are offline meanwhile. What is told of it is sent at the end: a client that is gone shall not
        stop it half way.
        """
        partition = self._where(vid)
        async with (
            self._transactions.brief(vid, partition, b"SplitVolume") as one,
            self._transactions.brief(newid, self._where(newid), b"SplitVolume") as other,
        ):
            old = await self._taken(one)
            new = await self._taken(other)
            if other.partition != partition or new.header.uniquifier != UNIQUIFIER_START:
                raise Abort(EINVAL, "the new volume is to be a fresh one on the same partition")
            breathe = self._registry.surroundings.breathe
            tree = await find_subtree(old, where, breathe)
            await copy_subtree(old, tree, new, breathe)
            await replace_subtree(old, tree, new.header.name, self._now(), breathe)
            lines = [b"%d vnodes went to volume %d\n" % (len(tree.below) + 1, newid)] if verbose else []
        for volume_id in (vid, newid):
            self._registry.surroundings.callbacks.break_volume(volume_id)
        await report.write(b"".join((*lines, b"Finished!\n\0")))

    def _where(self, volume_id: int) -> int:
        volume = self._registry.find(volume_id)
        if volume is None:
            raise Abort(VolumeError.VNOVOL)
        return volume.partition.number

    async def _taken(self, transaction: Transaction) -> Checkout:
        checkout = await self._registry.check_out(transaction.volume_id, transaction.partition, Mode.VOLUPD)
        transaction.hold(checkout)
        return checkout


async def _check_purged(volume: Volume, source: Checkout) -> None:
    """Only a read-only clone of the same volume goes for a new one."""
    header = await peek(volume)
    if header.type != READ_ONLY:
        raise Abort(EINVAL)
    if header.parent != source.header.parent:
        raise Abort(EXDEV)


def _cloneable(transaction: Transaction) -> Checkout:
    """The transaction's volume, which nobody writes meanwhile. Abort VOFFLINE for one out of service."""
    checkout = transaction.checkout
    if checkout.header.destroy_me or not checkout.header.in_service:
        raise Abort(VolumeError.VOFFLINE)
    if checkout.online and checkout.header.type == READ_WRITE:
        raise Abort(EROFS)
    return checkout
