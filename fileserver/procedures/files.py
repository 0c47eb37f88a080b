"""Content and status of single objects: FetchData, StoreData, FetchStatus, StoreStatus and the bulk forms."""

from __future__ import annotations

import errno
from itertools import groupby

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from afs.types import (
    AFS_FSYNC,
    AFS_SETMODE,
    AFS_SETOWNER,
    AFSCallBack,
    AFSFetchStatus,
    AFSFid,
    AFSStoreStatus,
    AFSVolSync,
)
from fileserver import rights
from fileserver.interfaces import Damaged, blocks
from fileserver.procedures.base import Base, Untranslated, disk_code, procedure
from fileserver.status import Target, callback, data_stored, failed_status, status_stored
from fileserver.volume.admission import Repaired
from fileserver.volume.holding import CALL_BYTES, WINDOW_BYTES
from fileserver.volume.vn import FILE, SYMLINK, Vn
from fileserver.volume.volume import Volume
from rx.errors import Abort, RxError
from rx.streams import Sink, Source

PIECE_SIZE = 1 << 20
"""Content moves between the network and the store in pieces of this size: what a client's chunk usually is."""

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1

STORE_UNREAD = -32
"""What a store ends with when the client's data did not all come (afsfileprocs.c)."""

ROOT = (1, 1)
"""(vnode, uniquifier) of a volume's root directory."""

StatusReply = tuple[AFSFetchStatus, AFSCallBack, AFSVolSync]
BulkReply = tuple[tuple[AFSFetchStatus, ...], tuple[AFSCallBack, ...], AFSVolSync]

log = Logger()


class Files(Base):
    """See the module."""

    @procedure
    async def FetchStatus(self, fid: AFSFid) -> StatusReply:
        volume = self.server.registry.glance(fid.Volume, self.host)
        target = self.glance(volume, fid) if volume is not None else None
        if target is not None:  # fast path: nothing to wait for
            target.volume.touch()
            return *self._reported(target, fid), target.volume.volsync
        async with self.use(fid.Volume) as volume:
            volume.touch()
            reported, promised = await self._status(volume, fid)
            return reported, promised, volume.volsync

    @procedure
    async def BulkStatus(self, fids: tuple[AFSFid, ...]) -> BulkReply:
        return await self._bulk(fids, inline=False)

    @procedure
    async def InlineBulkStatus(self, fids: tuple[AFSFid, ...]) -> BulkReply:
        return await self._bulk(fids, inline=True)

    @procedure
    async def FetchData(self, fid: AFSFid, pos: int, length: int, data: Sink) -> StatusReply:
        return await self._fetch(fid, pos, length, data)

    @procedure
    async def FetchData64(self, fid: AFSFid, pos: int, length: int, data: Sink) -> StatusReply:
        return await self._fetch(fid, pos, length, data)

    @procedure
    async def StoreData(
        self, fid: AFSFid, status: AFSStoreStatus, pos: int, length: int, file_length: int, data: Source
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        if max(file_length, pos, pos + length) > MAX_INT32:
            raise Abort(errno.EFBIG)
        return await self._store_data(fid, status, pos, length, file_length, data)

    @procedure
    async def StoreData64(
        self, fid: AFSFid, status: AFSStoreStatus, pos: int, length: int, file_length: int, data: Source
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        if max(file_length, pos, pos + length) > MAX_INT64:
            raise Abort(errno.EFBIG)
        return await self._store_data(fid, status, pos, length, file_length, data)

    @procedure
    async def StoreStatus(self, fid: AFSFid, status: AFSStoreStatus) -> tuple[AFSFetchStatus, AFSVolSync]:
        async with self.use(fid.Volume) as volume:
            volume.touch(wrote=True)
            async with self.opened(volume, fid, exclusive=True) as target:
                vn = target.vn
                rights.store_status(vn.disk, target.access, status)
                if vn.disk.type == SYMLINK and status.Mask & AFS_SETMODE:
                    raise Abort(errno.EINVAL)  # the mode tells a mount point from a symbolic link
                now = self.server.now()
                status_stored(vn.disk, self.user.caller, status, now)
                await vn.save()
                if status.Mask & AFS_SETOWNER and (vn.number, vn.disk.uniquifier) == ROOT:
                    volume.header.owner = vn.disk.owner
                    await volume.write_header()
                self.void(fid, self.host)
                reported = target.status(now)
            return reported, volume.volsync

    async def _status(self, volume: Volume, fid: AFSFid, *, bulk: bool = False) -> tuple[AFSFetchStatus, AFSCallBack]:
        glanced = self.glance(volume, fid)
        if glanced is not None:
            return self._reported(glanced, fid, bulk=bulk)
        async with self.opened(volume, fid) as target:
            return self._reported(target, fid, bulk=bulk)

    def _reported(self, target: Target, fid: AFSFid, *, bulk: bool = False) -> tuple[AFSFetchStatus, AFSCallBack]:
        rights.fetch_status(target.vn.disk, target.access)
        return target.status(self.server.now()), callback(self.promise(target.volume, fid, bulk=bulk))

    async def _bulk(self, fids: tuple[AFSFid, ...], *, inline: bool) -> BulkReply:
        """Up to 50 statuses. `inline`: an error stands in the place of what failed, and the call succeeds.

        The volume whose state is told is the first in which an object was found if `inline`, else the last.
        """
        if not fids:
            raise Untranslated(errno.EINVAL)
        statuses: list[AFSFetchStatus] = []
        promises: list[AFSCallBack] = []
        sync: AFSVolSync | None = None

        def failed(abort: Abort) -> None:
            if not inline:
                raise abort
            statuses.append(failed_status(self.translated(abort.code)))
            promises.append(AFSCallBack())

        for volume_id, group in groupby(fids, key=lambda fid: fid.Volume):
            wanted = list(group)
            done = len(statuses)
            try:
                async with self.use(volume_id) as volume:
                    volume.touch()
                    for fid in wanted:
                        there = True
                        try:
                            reported, promised = await self._status(volume, fid, bulk=True)
                        except Abort as abort:
                            failed(abort)
                            there = abort.code == errno.EACCES
                        else:
                            statuses.append(reported)
                            promises.append(promised)
                        if there and (sync is None or not inline):
                            sync = volume.volsync
            except Repaired:
                raise
            except Abort as abort:
                for _ in wanted[len(statuses) - done :]:
                    failed(abort)
        return tuple(statuses), tuple(promises), sync or AFSVolSync()

    async def _fetch(self, fid: AFSFid, pos: int, length: int, data: Sink) -> StatusReply:
        """One piece or less is sent when the vnode is free again; more keeps it locked until the last piece is read."""
        began = self.server.now()
        if pos < 0 or length < 0 or length >= MAX_INT64 - pos:
            raise Abort(errno.EFBIG)
        async with self.use(fid.Volume) as volume:
            volume.touch()
            async with self.opened(volume, fid) as target:
                vn = target.vn
                rights.fetch_data(vn.disk, target.access)
                size = max(0, min(length, vn.disk.length - pos))
                last = await _piece(vn, pos, min(size, PIECE_SIZE))
                if size > PIECE_SIZE:
                    self.streaming = True
                    data.announce(size)
                    last = await _send(vn, pos, size, last, data)
                reported = target.status(self.server.now())
                promised = callback(self.promise(volume, fid))
                sync = volume.volsync
        if size <= PIECE_SIZE:
            data.announce(size)
        if last:
            await data.write(last)
        self.server.statistics.fetches.moved(size, self.server.now() - began)
        return reported, promised, sync

    async def _store_data(
        self, fid: AFSFid, status: AFSStoreStatus, pos: int, length: int, file_length: int, data: Source
    ) -> tuple[AFSFetchStatus, AFSVolSync]:
        """Write a range and set the length. What was written before a failure stays, and the status says so.

        Promises are broken first, and the messages travel while the data comes; nobody can read the file meanwhile.
        """
        began = self.server.now()
        telling: Deferred[None] | None = None
        try:
            async with self.use(fid.Volume, CALL_BYTES + min(length, WINDOW_BYTES)) as volume:
                volume.touch(wrote=True)
                async with self.opened(volume, fid, exclusive=True) as target:
                    vn = target.vn
                    if vn.disk.type != FILE:
                        raise Abort(errno.EISDIR)
                    rights.store_data(vn.disk, target.access, status)
                    broken = self.server.breaks.take(fid, self.host)
                    if broken.hosts:
                        telling = ensureDeferred(self.server.breaks.tell(broken))
                    failure = await self._write(volume, vn, pos, length, file_length, data)
                    now = self.server.now()
                    data_stored(vn.disk, self.user.caller, status, now)
                    await vn.save()
                    if status.Mask & AFS_FSYNC:
                        await self.server.durability.asked(volume)
                    reported = target.status(now)
                sync = volume.volsync
        finally:
            if telling is not None:
                await telling
        if failure is not None:
            raise failure
        self.server.statistics.stores.moved(length, self.server.now() - began)
        return reported, sync

    async def _write(
        self, volume: Volume, vn: Vn, pos: int, length: int, file_length: int, data: Source
    ) -> Exception | None:
        """Make the content as the call wants it, and the record's length what it then is.

        Raises Abort (VDISKFULL, VOVERQUOTA) before anything has changed; returns what went wrong afterwards.
        """
        old = await volume.files.content_length(vn.number)
        kept = min(old, file_length)
        new = max(kept, pos + length)
        spare = self.server.rules.over_quota(volume.header.max_quota)
        volume.charge(blocks(new) - blocks(vn.disk.length), spare=spare)
        self.call.user_status = 1  # "locks and protection are all right": the client may return from close
        failure: Exception | None = None
        try:
            if kept < old:
                await vn.truncate(kept)
            if length:
                self.streaming = True
                await _receive(vn, pos, length, data)
            elif new > kept:
                await vn.truncate(new)
        except OSError as problem:
            failure = Abort(disk_code(problem), str(problem))
        except (RxError, CancelledError) as lost:
            log.info("the client's data for {vn} did not all come: {lost}", vn=vn, lost=lost)
            failure = lost
        vn.disk.length = new
        if failure is not None:
            vn.disk.length = await volume.files.content_length(vn.number)
            volume.adjust(blocks(vn.disk.length) - blocks(new))
        return failure


async def _piece(vn: Vn, pos: int, size: int) -> bytes:
    """Exactly `size` bytes that the record says are there. Raises Damaged when they are not, as after a store of which
    neither all the data nor the record could be written (stock: afsfileprocs.c CheckLength).
    """
    if not size:
        return b""
    piece = await vn.read(pos, size)
    if len(piece) != size:
        raise Damaged(f"{vn} has {len(piece)} bytes at {pos} where {size} should be")
    return piece


async def _send(vn: Vn, pos: int, size: int, piece: bytes, data: Sink) -> bytes:
    """Send all pieces but the last, which is returned; the next is read while one is sent."""
    end = pos + size
    pos += len(piece)
    while pos < end:
        following = ensureDeferred(_piece(vn, pos, min(end - pos, PIECE_SIZE)))
        try:
            await data.write(piece)
        finally:
            piece = await following
        pos += len(piece)
    return piece


async def _receive(vn: Vn, pos: int, length: int, data: Source) -> None:
    """Write `length` bytes of the stream at `pos`; a piece is written while the next one comes."""
    end = pos + length
    writing: Deferred[None] | None = None
    try:
        while pos < end:
            piece = await _gather(data, min(end - pos, PIECE_SIZE))
            if writing is not None:
                previous, writing = writing, None
                await previous
            if pos + len(piece) == end:  # nothing comes meanwhile
                await vn.write(pos, piece)
            else:
                writing = ensureDeferred(vn.write(pos, piece))
            pos += len(piece)
    finally:
        if writing is not None:
            await writing


async def _gather(data: Source, size: int) -> bytes:
    """`size` bytes of the stream, however they come. Abort(STORE_UNREAD) when it ends before."""
    piece = await data.read(size)
    if len(piece) == size:
        return piece
    pieces = [piece]
    missing = size - len(piece)
    while piece and missing:
        piece = await data.read(missing)
        pieces.append(piece)
        missing -= len(piece)
    if missing:
        raise Abort(STORE_UNREAD, "the client's data ended early")
    return b"".join(pieces)
