"""The AFSVol RPCs that make, change and delete one volume inside a transaction (volint.xg, volprocs.c)."""

from __future__ import annotations

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
from fileserver.interfaces import IPartition, NoSuchVolume, StoreError
from fileserver.volser.cloning import (
    BACKUP,
    READ_ONLY,
    READ_WRITE,
    create_root,
    dump_size,
    new_header,
)
from fileserver.volser.procedures.queries import Queries
from fileserver.volser.transactions import Transaction
from fileserver.volume.checkout import Checkout, Mode
from rx.errors import Abort

log = Logger(namespace="fileserver.volser")

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
        if type not in (READ_WRITE, READ_ONLY, BACKUP):
            raise Abort(EINVAL)
        if not volid:
            raise Abort(E2BIG)
        wants_root = parent != volid or type != READ_WRITE  # a restore brings its own
        transaction = self._transactions.begin(volid, partition, b"CreateVolume")
        try:
            checkout = await self._create(partition, volid, parent or volid, name, type)
            transaction.hold(checkout)
            if wants_root:
                await create_root(checkout)
            await checkout.write()
        except (OSError, StoreError) as problem:
            log.error("volume {id} not created: {problem}", id=volid, problem=problem)
            await self._undo(transaction)
            raise Abort(EIO) from problem
        except BaseException:
            await self._undo(transaction)
            raise
        return volid, transaction.id

    async def _create(self, partition: int, volid: int, parent: int, name: bytes, type: int) -> Checkout:  # noqa: A002
        where = self._registry.partition(partition)
        if where is None:
            raise Abort(EIO)
        return await self._registry.create(where, new_header(volid, parent, name, type, self._now()))

    async def _undo(self, transaction: Transaction) -> None:
        """Of a volume that could not be completed nothing stays."""
        try:
            await transaction.checkout.destroy()
        except Abort:
            pass  # it was never made
        except (OSError, StoreError) as problem:
            log.error("volume {id} not removed again: {problem}", id=transaction.volume_id, problem=problem)
        await self._transactions.end(transaction.id)

    async def DeleteVolume(self, trans: int) -> None:
        async with self._transactions.use(trans, b"DeleteVolume") as transaction:
            try:
                await transaction.checkout.destroy()
            except (OSError, StoreError) as problem:
                log.error("volume {id} not deleted: {problem}", id=transaction.volume_id, problem=problem)
                raise Abort(EIO) from problem
            transaction.vflags |= VTDeleted
            log.info("volume {id} deleted", id=transaction.volume_id)

    async def EndTrans(self, trans: int) -> int:
        await self._transactions.end(trans)
        return 0

    async def TransCreate(self, volume: int, partition: int, flags: int) -> int:
        mode = next((mode for bit, mode in MODES if flags & bit), None)
        if mode is None:
            raise Abort(EINVAL)
        transaction = self._transactions.begin(volume, partition, b"TransCreate")
        transaction.iflags = flags
        try:
            transaction.hold(await self._registry.check_out(volume, partition, mode))
        except BaseException:
            await self._transactions.end(transaction.id)
            raise
        return transaction.id

    async def SetFlags(self, trans: int, flags: int) -> None:
        async with self._transactions.use(trans, b"SetFlags") as transaction:
            if transaction.iflags & ITReadOnly:
                raise Abort(EROFS)
            header = transaction.checkout.header
            header.destroy_me = bool(flags & VTDeleteOnSalvage)
            header.in_service = not flags & VTOutOfService
            await _write(transaction)
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
            nextUnique=header.uniquifier,
            type=header.type,
            parentID=header.parent,
            cloneID=header.clone_id,
            backupID=header.backup_id,
            restoredFromID=header.restored_from_id,
            maxQuota=header.max_quota,
            minQuota=header.min_quota,
            owner=header.owner,
            creationDate=header.creation_date,
            accessDate=header.access_date,
            updateDate=header.update_date,
            expirationDate=header.expiration_date,
            backupDate=header.backup_date,
            copyDate=header.copy_date,
        )

    async def SetInfo(self, tid: int, status: volintInfo) -> None:
        async with self._transactions.use(tid, b"SetStatus") as transaction:
            header = transaction.checkout.header
            if status.maxquota != UNCHANGED:
                header.max_quota = status.maxquota
            if status.dayUse != UNCHANGED:
                header.day_use = status.dayUse
            if status.creationDate != UNCHANGED:
                header.creation_date = status.creationDate
            if status.updateDate != UNCHANGED:
                header.update_date = status.updateDate
            if status.spare2 != UNCHANGED:
                header.update_counter = status.spare2
            await _write(transaction)

    async def SetDate(self, tid: int, new_date: int) -> None:
        async with self._transactions.use(tid, b"SetDate") as transaction:
            transaction.checkout.header.creation_date = new_date
            await _write(transaction)

    async def SetIdsTypes(
        self,
        tid: int,
        name: bytes,
        type: int,  # noqa: A002
        parent_id: int,
        clone_id: int,
        backuparent_id: int,
    ) -> None:
        check_name(name)
        async with self._transactions.use(tid, b"SetIdsTypes") as transaction:
            header = transaction.checkout.header
            header.name = name
            header.type = type
            header.parent = parent_id
            header.clone_id = clone_id
            header.backup_id = backuparent_id
            await _write(transaction)

    async def GetSize(self, from_trans: int, from_date: int) -> volintSize:
        async with self._transactions.use(from_trans, b"GetSize") as transaction:
            checkout = transaction.checkout
            return volintSize(dump_size=await dump_size(checkout.files, checkout.header, from_date))

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
        except OSError as problem:
            raise Abort(EIO) from problem
        self._registry.destroyed(volume_id, where)


def check_name(name: bytes) -> None:
    if len(name) > VOLUME_NAME_MAX:
        raise Abort(VolserError.VOLSERBADNAME)


async def _write(transaction: Transaction) -> None:
    try:
        await transaction.checkout.write()
    except (OSError, StoreError) as problem:
        log.error("header of volume {id} not written: {problem}", id=transaction.volume_id, problem=problem)
        raise Abort(EIO) from problem
