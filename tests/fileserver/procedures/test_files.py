"""Content and status: what is fetched is what was stored, and what becomes of calls that fail half-way."""

from __future__ import annotations

import errno

from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolumeError
from afs.types import (
    AFS_FSYNC,
    AFS_SETGROUP,
    AFS_SETMODE,
    AFS_SETMODTIME,
    AFS_SETOWNER,
    AFSFid,
    AFSStoreStatus,
)
from fileserver.procedures.files import PIECE_SIZE, STORE_UNREAD
from fileserver.rules import SPARE_BLOCKS
from rx.constants import RxCode
from rx.errors import CallLost
from tests.fileserver.procedures.support import NOTHING, READONLY, ROOT, VOLUME, Bytes, Pieces, World


class Fetch(World):
    def test_ranges(self) -> None:
        """A range is clipped to the file; past its end there is nothing."""
        fid = self.create(content=b"0123456789")
        for pos, length, expected in [
            (0, 100, b"0123456789"),
            (3, 4, b"3456"),
            (8, 9, b"89"),
            (10, 1, b""),
            (99, 1, b""),
        ]:
            self.assertEqual(self.fetch(fid, pos=pos, length=length), expected)

    def test_impossible_ranges(self) -> None:
        """Negative numbers and overflows are EFBIG."""
        fid = self.create(content=b"x")
        for pos, length in [(-1, 1), (0, -1), (2**63 - 1, 1), (1, 2**63 - 1)]:
            self.refused(errno.EFBIG, self.on(1).FetchData64(fid, pos, length, Bytes()))

    def test_old_form(self) -> None:
        """FetchData gives the same, counted in 32 bits by the service."""
        fid = self.create(content=b"hello")
        sink = Bytes()
        status, promise, sync = self.run_now(self.on(1).FetchData(fid, 1, 3, sink))
        self.assertEqual((sink.length, sink.data), (3, b"ell"))
        self.assertEqual((status.Length, status.DataVersion), (5, 1))
        self.assertGreater(promise.ExpirationTime, 0)
        self.assertEqual(sync.spare1, 11)

    def test_more_than_a_piece(self) -> None:
        """Content of several pieces arrives whole, from any offset."""
        content = bytes(range(256)) * (10 * PIECE_SIZE // 1024)
        fid = self.create(content=content)
        self.assertEqual(self.fetch(fid), content)
        self.assertEqual(self.fetch(fid, pos=77, length=PIECE_SIZE + 1), content[77 : 78 + PIECE_SIZE])

    def test_a_slow_reader_does_not_keep_writers_waiting(self) -> None:
        """What fits in a piece is sent when the file is free again."""
        fid = self.create(content=b"old")
        gate: Deferred[None] = Deferred()

        class Slow(Bytes):
            async def write(self, data: bytes | memoryview) -> None:
                await gate
                await super().write(data)

        sink = Slow()
        fetching = ensureDeferred(self.on(2).FetchData64(fid, 0, 100, sink))
        self.store(fid, b"new")
        gate.callback(None)
        self.successResultOf(fetching)
        self.assertEqual(sink.data, b"old")
        self.assertEqual(self.machine(2).told[-1], ("break", (fid.Volume, fid.Vnode, fid.Unique)))

    def test_directories(self) -> None:
        """A directory's content is its pages."""
        self.create(b"somebody")
        content = self.fetch(ROOT)
        self.assertEqual(len(content), 2048)
        self.assertIn(b"somebody", content)

    def test_a_truncated_disk(self) -> None:
        """Fewer bytes than the record says are no shorter file: the volume is to be salvaged."""
        fid = self.create(content=b"x" * 100)
        self.partition.disk.volumes[VOLUME].contents[fid.Vnode].truncate(50)
        self.refused(VolumeError.VSALVAGE, self.on(1).FetchData64(fid, 0, 100, Bytes()))

    def test_a_read_only_volume(self) -> None:
        """Its root is fetched like any other, on one promise for the whole volume."""
        root = AFSFid(READONLY, 1, 1)
        self.assertEqual(len(self.fetch(root)), 2048)
        self.assertEqual([promise.fid for promise in self.server.callbacks.promises()], [(READONLY, 0, 0)])


class Store(World):
    def test_status(self) -> None:
        """A store raises the version, makes the caller author, takes the client's date, and answers the new status."""
        fid = self.create(user="alice")
        wanted = AFSStoreStatus(AFS_SETMODTIME, 77)
        work = self.on(1, "alice").StoreData64(fid, wanted, 0, 5, 5, Pieces(b"he", b"llo"))
        status, sync = self.run_now(work)
        self.assertEqual((status.Length, status.DataVersion, status.Author), (5, 1, 1))
        self.assertEqual((status.ClientModTime, status.ServerModTime), (77, int(self.time)))
        self.assertEqual(sync.spare1, 11)
        self.assertEqual(self.calls[-1].user_status, 1)
        self.assertEqual(self.fetch(fid), b"hello")

    def test_lengths(self) -> None:
        """(Pos, Length, FileLength) on a file of ten bytes: cut first, then written, or extended with a hole."""
        for pos, data, file_length, expected in [
            (0, b"", 0, b""),
            (0, b"", 4, b"0123"),
            (0, b"", 10, b"0123456789"),
            (2, b"XY", 10, b"01XY456789"),
            (2, b"XY", 4, b"01XY"),
            (2, b"XY", 0, b"\0\0XY"),
            (12, b"Z", 13, b"0123456789\0\0Z"),
            (12, b"", 12, b"0123456789\0\0"),
            (12, b"", 5, b"01234" + bytes(7)),
            (0, b"", 50, b"0123456789"),
        ]:
            fid = self.create(content=b"0123456789")
            work = self.on(1).StoreData64(fid, NOTHING, pos, len(data), file_length, Pieces(data))
            status, _ = self.run_now(work)
            self.assertEqual((self.fetch(fid), status.Length), (expected, len(expected)), (pos, data, file_length))
            self.run_now(self.on(1).RemoveFile(ROOT, b"f"))

    def test_a_sparse_file(self) -> None:
        """Five GiB away from the start is a place to write; 32-bit calls cannot reach it."""
        fid = self.create()
        far = 5 << 30
        self.run_now(self.on(1).StoreData64(fid, NOTHING, far, 3, far + 3, Pieces(b"end")))
        status = self.run_now(self.on(1).FetchStatus(fid))[0]
        self.assertEqual((status.Length_hi, status.Length), divmod(far + 3, 1 << 32))
        self.assertEqual(self.fetch(fid, pos=far - 2, length=10), b"\0\0end")
        for pos, length, file_length in [(2**31, 0, 0), (2**31 - 1, 1, 0), (0, 0, 2**31)]:
            self.refused(errno.EFBIG, self.on(1).StoreData(fid, NOTHING, pos, length, file_length, Pieces()))
        self.refused(errno.EFBIG, self.on(1).StoreData64(fid, NOTHING, 2**63, 1, 0, Pieces()))

    def test_old_form(self) -> None:
        """StoreData does the same within 2 GiB."""
        fid = self.create()
        self.run_now(self.on(1).StoreData(fid, NOTHING, 0, 3, 3, Pieces(b"abc")))
        self.assertEqual(self.fetch(fid), b"abc")

    def test_many_small_pieces(self) -> None:
        """However the bytes come, they are stored whole; what comes beyond the length is nobody's."""
        content = bytes(range(256)) * 8192
        fid = self.create()
        pieces = [content[at : at + 1399] for at in range(0, len(content), 1399)]
        self.run_now(self.on(1).StoreData64(fid, NOTHING, 0, len(content), len(content), Pieces(*pieces, b"more")))
        self.assertEqual(self.fetch(fid), content)

    def test_the_client_dies(self) -> None:
        """What came before stays, the status says so, the account is right and the file free for others."""
        fid = self.create(content=b"y" * 3000)
        lost = CallLost(RxCode.RX_CALL_DEAD)
        work = self.on(1).StoreData64(fid, NOTHING, 0, 1 << 30, 1 << 30, Pieces(b"x" * PIECE_SIZE, b"rest", lost))
        self.failureResultOf(ensureDeferred(work), CallLost)
        status = self.run_now(self.on(2).FetchStatus(fid))[0]
        self.assertEqual((status.Length, status.DataVersion), (PIECE_SIZE, 2))
        self.assertEqual(self.registry.find(VOLUME).header.disk_used, 2 + 1024)  # type: ignore[union-attr]
        self.store(fid, b"again", machine=2)

    def test_too_few_bytes(self) -> None:
        """A stream that ends before its length is -32."""
        fid = self.create()
        self.refused(STORE_UNREAD, self.on(1).StoreData64(fid, NOTHING, 0, 10, 10, Pieces(b"short")))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(fid))[0].DataVersion, 1)

    def test_a_full_disk(self) -> None:
        """A write that finds no room is VDISKFULL; the record says what is really there."""
        fid = self.create(content=b"x" * 100)
        self.partition.disk.capacity = self.partition.disk.used + (1 << 20)

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write" and number == fid.Vnode:
                raise OSError(errno.ENOSPC, "full")

        self.partition.disk.fault = fault
        work = self.on(1).StoreData64(fid, NOTHING, 50, 100, 150, Pieces(b"y" * 100))
        self.refused(VolumeError.VDISKFULL, work)
        self.partition.disk.fault = None
        status = self.run_now(self.on(1).FetchStatus(fid))[0]
        self.assertEqual((status.Length, status.DataVersion), (100, 2))

    def test_quota(self) -> None:
        """A store may pass the quota by the spare blocks, and not by one more; shrinking is never refused."""
        fid = self.create()
        header = self.registry.find(VOLUME).header  # type: ignore[union-attr]
        header.max_quota = 10
        room = (10 + SPARE_BLOCKS - 2) * 1024
        self.refused(VolumeError.VOVERQUOTA, self.on(1).StoreData64(fid, NOTHING, room, 1, room + 1, Pieces(b"x")))
        self.assertEqual((header.disk_used, self.run_now(self.on(1).FetchStatus(fid))[0].DataVersion), (3, 0))
        self.run_now(self.on(1).StoreData64(fid, NOTHING, room - 1, 1, room, Pieces(b"x")))
        self.run_now(self.on(1).StoreData64(fid, NOTHING, 0, 0, 100, Pieces()))
        self.assertEqual(header.disk_used, 3)

    def test_not_into_directories_and_links(self) -> None:
        """EISDIR, also for symbolic links."""
        link = self.run_now(self.on(1).Symlink(ROOT, b"s", b"x", NOTHING))[0]
        for fid in (ROOT, link):
            self.refused(errno.EISDIR, self.on(1).StoreData64(fid, NOTHING, 0, 1, 1, Pieces(b"x")))
        self.refused(errno.EROFS, self.on(1).StoreData64(AFSFid(READONLY, 2, 2), NOTHING, 0, 1, 1, Pieces(b"x")))

    def test_a_stalled_store_is_only_in_the_way_of_its_own_file(self) -> None:
        """While one client's data does not come, another file is stored and fetched; then the first goes on."""
        fid, other = self.create(b"f"), self.create(b"g", content=b"here")
        gate: Deferred[None] = Deferred()
        storing = ensureDeferred(self.on(1).StoreData64(fid, NOTHING, 0, 4, 4, Pieces(b"da", gate, b"ta")))
        reading = ensureDeferred(self.on(2).FetchStatus(fid))
        self.assertEqual(self.fetch(other, machine=2), b"here")
        self.create(b"h")
        self.assertNoResult(reading)
        gate.callback(None)
        self.successResultOf(storing)
        self.assertEqual(self.successResultOf(reading)[0].Length, 4)

    def test_sync(self) -> None:
        """A client that asks for fsync has it before the answer."""
        fid = self.create()
        operations: list[str] = []

        async def note(operation: str, volume_id: int, number: int) -> None:
            operations.append(operation)

        self.partition.disk.fault = note
        self.run_now(self.on(1).StoreData64(fid, AFSStoreStatus(AFS_FSYNC), 0, 1, 1, Pieces(b"x")))
        self.assertEqual(operations[-1], "sync")


class Status(World):
    def test_store_status(self) -> None:
        """Only what the mask names changes; the data version never does."""
        fid = self.create(user="alice")
        before = self.run_now(self.on(1, "alice").FetchStatus(fid))[0]
        self.time += 10
        wanted = AFSStoreStatus(AFS_SETMODE, 77, 99, 99, 0o600)
        status = self.run_now(self.on(1, "alice").StoreStatus(fid, wanted))[0]
        self.assertEqual((status.UnixModeBits, status.Owner, status.Group), (0o600, before.Owner, before.Group))
        self.assertEqual((status.ClientModTime, status.DataVersion), (before.ClientModTime, 0))
        self.assertEqual(status.ServerModTime, int(self.time))
        wanted = AFSStoreStatus(AFS_SETMODTIME | AFS_SETOWNER | AFS_SETGROUP, 77, 2, 0xFFFFFED4)
        status = self.run_now(self.on(1, "admin").StoreStatus(fid, wanted))[0]
        self.assertEqual((status.ClientModTime, status.Owner, status.Group), (77, 2, 0xFFFFFED4))

    def test_set_id_bits(self) -> None:
        """They go when somebody else than an administrator writes or gives the file away."""
        fid = self.create(user="alice")
        mode = AFSStoreStatus(AFS_SETMODE, UnixModeBits=0o6755)
        self.assertEqual(self.run_now(self.on(1, "admin").StoreStatus(fid, mode))[0].UnixModeBits, 0o6755)
        self.store(fid, b"x", user="admin")
        self.assertEqual(self.run_now(self.on(1).FetchStatus(fid))[0].UnixModeBits, 0o6755)
        self.store(fid, b"x", user="alice")
        self.assertEqual(self.run_now(self.on(1).FetchStatus(fid))[0].UnixModeBits, 0o755)

    def test_symbolic_links_keep_their_mode(self) -> None:
        """Otherwise a link could become a mount point."""
        link = self.run_now(self.on(1, "admin").Symlink(ROOT, b"s", b"#x.", NOTHING))[0]
        self.refused(
            errno.EINVAL, self.on(1, "admin").StoreStatus(link, AFSStoreStatus(AFS_SETMODE, UnixModeBits=0o644))
        )

    def test_the_owner_of_a_volume(self) -> None:
        """is the owner of its root directory."""
        self.run_now(self.on(1, "admin").StoreStatus(ROOT, AFSStoreStatus(AFS_SETOWNER, Owner=2)))
        self.assertEqual(self.registry.find(VOLUME).header.owner, 2)  # type: ignore[union-attr]
        self.assertEqual(self.partition.disk.volumes[VOLUME].header.owner, 2)

    def test_bulk(self) -> None:
        """Fifty statuses in order, with as many promises; the first error fails the whole call."""
        fids = tuple(self.create(b"%d" % number) for number in range(49))
        statuses, promises, sync = self.run_now(self.on(2).BulkStatus((ROOT, *fids)))
        self.assertEqual([status.FileType for status in statuses], [2] + [1] * 49)
        self.assertEqual(len(promises), 50)
        self.assertTrue(all(promise.ExpirationTime for promise in promises))
        self.assertEqual(sync.spare1, 11)
        *_, sync = self.run_now(self.on(2).BulkStatus((ROOT, AFSFid(READONLY, 1, 1))))
        self.assertEqual(sync.spare1, 22)
        self.refused(VolumeError.VNOVNODE, self.on(2).BulkStatus((ROOT, AFSFid(VOLUME, 2, 9), fids[0])))
        self.refused(errno.EINVAL, self.on(2).BulkStatus(()))

    def test_inline_bulk(self) -> None:
        """An error stands where its status would; the others are there, whichever volume they are of."""
        fid = self.create()
        wanted = (ROOT, AFSFid(VOLUME, 2, 999), fid, AFSFid(999, 1, 1), AFSFid(999, 3, 1), AFSFid(READONLY, 1, 1))
        statuses, promises, sync = self.run_now(self.on(2).InlineBulkStatus(wanted))
        codes = [0, VolumeError.VNOVNODE, 0, VolumeError.VNOVOL, VolumeError.VNOVOL, 0]
        self.assertEqual([status.errorCode for status in statuses], codes)
        self.assertEqual([status.InterfaceVersion for status in statuses], [1] * 6)
        self.assertEqual([status.FileType for status in statuses], [2, 0, 1, 0, 0, 2])
        self.assertEqual([bool(promise.ExpirationTime) for promise in promises], [not code for code in codes])
        self.assertEqual(sync.spare1, 11)
        self.refused(errno.EINVAL, self.on(2).InlineBulkStatus(()))

    def test_a_directory_out_of_memory(self) -> None:
        """A file's status needs its directory, which is read when it is not in memory."""
        directory = self.mkdir()
        fid = self.create(directory=directory)
        self.registry.surroundings.vnodes._limit = 0
        self.create(b"push everything out")
        volume = self.registry.find(VOLUME)
        assert volume is not None
        self.assertIsNone(volume.peek(directory.Vnode))
        status = self.run_now(self.on(1).FetchStatus(fid))[0]
        self.assertEqual(status.ParentVnode, directory.Vnode)


class Translated(World):
    capabilities = 1

    def test_codes(self) -> None:
        """A client with ERRORTRANS reads unified errors, also inside InlineBulkStatus; volume errors are the same for
        all.
        """
        fid = self.create(user="alice")
        self.run_now(self.on(1, "alice").StoreStatus(fid, AFSStoreStatus(AFS_SETMODE, UnixModeBits=0)))
        unified = 49733376
        self.refused(unified + 1, self.on(1).RemoveFile(ROOT, b"none"))
        self.refused(unified + 16, self.on(1).CreateFile(ROOT, b"f", NOTHING))
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(AFSFid(VOLUME, 2, 999)))
        self.set_acl({"alice": "rl"})
        statuses = self.run_now(self.on(1).InlineBulkStatus((fid,)))[0]
        self.assertEqual(statuses[0].errorCode, unified + 12)
        self.refused(122, self.on(1).GetRootVolume())
