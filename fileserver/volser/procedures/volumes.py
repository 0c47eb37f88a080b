"""The AFSVol RPCs that make, change and delete one volume inside a transaction (volint.xg, volprocs.c)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from errno import E2BIG, EINVAL, EIO, EROFS

from twisted.logger import Logger

from afs.errors import VolserError, VolumeError
from afs.names import VOLUME_NAME_MAX
from afs.rpc.volser import (
    ITBusy,
    ITCreate,
    ITOffline,
    ITReadOnly,
    VTDeleted,
    VTDeleteOnSalvage,
    VTOutOfService,
    volintInfo,
    volintSize,
    volser_status,
)
from fileserver.interfaces import IPartition, NoSuchVolume, StoreError, VolumeHeader
from fileserver.status import signed
from fileserver.volser.cloning import (
    BACKUP,
    READ_ONLY,
    READ_WRITE,
    create_root,
    new_header,
)
from fileserver.volser.dump import Dump
from fileserver.volser.procedures.queries import Queries
from fileserver.volser.transactions import Transaction
from fileserver.volume.checkout import Checkout, Mode
from rx.errors import Abort

log = Logger(namespace="fileserver.volser")

WORD = 0xFFFFFFFF
"""Dates and counters are signed on the wire and unsigned on the disk."""

UNCHANGED = -1
"""SetInfo leaves a field alone that has this value."""

MODES = ((ITCreate, Mode.SECRETLY), (ITBusy, Mode.CLONE), (ITReadOnly, Mode.READONLY), (ITOffline, Mode.VOLUPD))
"""The attach mode TransCreate's flags ask for; the first bit that is set decides."""


class Changes(Queries):
    """Transactions and what they do to one volume."""

    async def CreateVolume(
        self,
        partition: int,
        name: bytes,
        type: int,  # noqa: A002
        parent: int,
        volid: int,
    ) -> tuple[int, int]:
        check_name(name)
        if partition < 0 or type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        if not volid:
            raise Abort(E2BIG)
        wants_root = parent != volid or type != READ_WRITE  # a restore brings its own
        async with (
            self._transactions.opening(volid, partition, b"CreateVolume") as transaction,
            self._created(transaction, new_header(volid, parent or volid, name, type, self._now())) as checkout,
        ):
            if wants_root:
                await create_root(checkout)
            await checkout.write()
        return volid, transaction.id

    @asynccontextmanager
    async def _created(self, transaction: Transaction, header: VolumeHeader) -> AsyncIterator[Checkout]:
        """A new volume in a transaction's hands; when it cannot be completed nothing of it stays."""
        where = self._registry.partition(transaction.partition)
        if where is None:
            raise Abort(EIO)
        checkout = await self._registry.create(where, header)
        transaction.hold(checkout)
        try:
            yield checkout
        except BaseException:
            try:
                await checkout.destroy()
            except (OSError, StoreError) as problem:
                log.error("volume {id} not removed again: {problem}", id=transaction.volume_id, problem=problem)
            raise

    async def DeleteVolume(self, trans: int) -> None:
        async with self._transactions.use(trans, b"DeleteVolume") as transaction:
            await transaction.checkout.destroy()
            transaction.vflags |= VTDeleted
            log.info("volume {id} deleted", id=transaction.volume_id)

    async def EndTrans(self, trans: int) -> int:
        await self._transactions.end(trans)
        return 0

    async def TransCreate(self, volume: int, partition: int, flags: int) -> int:
        mode = next((mode for bit, mode in MODES if flags & bit), None)
        if mode is None:
            raise Abort(EINVAL)
        async with self._transactions.opening(volume, partition, b"TransCreate") as transaction:
            if partition < 0:
                raise Abort(EINVAL)
            transaction.iflags = flags
            transaction.hold(await self._registry.check_out(volume, partition, mode))
        return transaction.id

    async def SetFlags(self, trans: int, flags: int) -> None:
        async with self._transactions.use(trans, b"SetFlags") as transaction:
            if transaction.iflags & ITReadOnly:
                raise Abort(EROFS)
            header = transaction.checkout.header
            header.destroy_me = bool(flags & VTDeleteOnSalvage)
            header.in_service = not flags & VTOutOfService
            await transaction.checkout.write()
            transaction.vflags = flags

    async def GetFlags(self, trans: int) -> int:
        async with self._transactions.use(trans, b"GetFlags") as transaction:
            return transaction.vflags

    async def SetForwarding(self, tid: int, newsite: int) -> None:
        async with self._transactions.use(tid, b"SetForwarding") as transaction:
            checkout = transaction.checkout
            if not checkout.online:
                checkout.volume.special_status = VolumeError.VMOVED
            self._registry.surroundings.callbacks.break_volume(transaction.volume_id)

    async def GetName(self, tid: int) -> bytes:
        async with self._transactions.use(tid, b"GetName") as transaction:
            return transaction.checkout.header.name

    async def GetStatus(self, tid: int) -> volser_status:
        async with self._transactions.use(tid, b"GetStatus") as transaction:
            header = transaction.checkout.header
        return volser_status(
            volID=header.id,
            nextUnique=signed(header.uniquifier),
            type=header.type,
            parentID=header.parent,
            cloneID=header.clone_id,
            backupID=header.backup_id,
            restoredFromID=header.restored_from_id,
            maxQuota=header.max_quota,
            minQuota=header.min_quota,
            owner=header.owner,
            creationDate=signed(header.creation_date),
            accessDate=signed(header.access_date),
            updateDate=signed(header.update_date),
            expirationDate=signed(header.expiration_date),
            backupDate=signed(header.backup_date),
            copyDate=signed(header.copy_date),
        )

    async def SetInfo(self, tid: int, status: volintInfo) -> None:
        async with self._transactions.use(tid, b"SetStatus") as transaction:
            header = transaction.checkout.header
            if status.maxquota != UNCHANGED:
                header.max_quota = status.maxquota
            if status.dayUse != UNCHANGED:
                header.day_use = status.dayUse
            if status.creationDate != UNCHANGED:
                header.creation_date = status.creationDate & WORD
            if status.updateDate != UNCHANGED:
                header.update_date = status.updateDate & WORD
            if status.spare2 != UNCHANGED:
                header.update_counter = status.spare2 & WORD
            await transaction.checkout.write()

    async def SetDate(self, tid: int, new_date: int) -> None:
        async with self._transactions.use(tid, b"SetDate") as transaction:
            transaction.checkout.header.creation_date = new_date & WORD
            await transaction.checkout.write()

    async def SetIdsTypes(
        self,
        tid: int,
        name: bytes,
        type: int,  # noqa: A002
        parent_id: int,
        clone_id: int,
        backuparent_id: int,
    ) -> None:
        """The parent, too, must be named, but cannot change: it says where on the partition the volume's files are."""
        check_name(name)
        if type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        async with self._transactions.use(tid, b"SetIdsTypes") as transaction:
            header = transaction.checkout.header
            if parent_id != header.parent:
                raise Abort(EINVAL)
            header.name = name
            header.type = type
            header.clone_id = clone_id
            header.backup_id = backuparent_id
            await transaction.checkout.write()

    async def GetSize(self, from_trans: int, from_date: int) -> volintSize:
        async with self._transactions.use(from_trans, b"GetSize") as transaction:
            checkout = transaction.checkout
            return volintSize(dump_size=await Dump(checkout.header, checkout.files, from_date).size())

    async def NukeVolume(self, partid: int, vol_id: int) -> None:
        where = self._registry.partition(partid)
        if where is None:
            raise Abort(VolserError.VOLSERNOVOL)
        async with self._transactions.brief(vol_id, partid, b"NukeVolume") as transaction:
            try:
                checkout = await self._registry.check_out(vol_id, partid, Mode.VOLUPD)
            except Abort as refusal:
                log.info("volume {id} nuked unattached: {refusal}", id=vol_id, refusal=refusal)
                await self._destroy_unattached(where, vol_id)
                return
            transaction.hold(checkout)
            await checkout.destroy()

    async def _destroy_unattached(self, where: IPartition, volume_id: int) -> None:
        try:
            await where.destroy_volume(volume_id)
        except NoSuchVolume as problem:
            raise Abort(VolumeError.VNOVOL) from problem
        self._registry.destroyed(volume_id, where)


def check_name(name: bytes) -> None:
    if len(name) > VOLUME_NAME_MAX:
        raise Abort(VolserError.VOLSERBADNAME)
