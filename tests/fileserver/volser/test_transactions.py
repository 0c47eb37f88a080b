"""AFSVol: transactions, what they do to a volume, and how they end."""

from __future__ import annotations

from dataclasses import replace
from errno import EINVAL, ENOENT, EROFS

from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolserError, VolumeError
from afs.rpc.volser import (
    ITBusy,
    ITOffline,
    ITReadOnly,
    VTDeleteOnSalvage,
    VTOutOfService,
)
from fileserver.volser.transactions import TIMEOUT_SECONDS
from tests.fileserver.volser.support import BACKUP, BK, KEEP, READONLY, RO, RW, VOLUME, Volser, as_coroutine
from tests.fileserver.volume.support import use


class InTransactions(Volser):
    def test_one_at_a_time(self) -> None:
        """A volume in a transaction is busy for others until it ends."""
        self.create()
        trans = self.begin()
        self.assertEqual(self.code(self.volser.TransCreate(VOLUME, 0, ITBusy)), VolserError.VOLSERVOLBUSY)
        self.do(self.volser.EndTrans(trans))
        self.begin()

    def test_refusals(self) -> None:
        """Flags that say nothing, volumes that are not there, ids that are no transaction's."""
        self.create()
        self.assertEqual(self.code(self.volser.TransCreate(VOLUME, 0, 0)), EINVAL)
        self.assertEqual(self.code(self.volser.TransCreate(99, 0, ITOffline)), VolumeError.VNOVOL)
        self.assertEqual(self.code(self.volser.TransCreate(VOLUME, 1, ITOffline)), VolumeError.VNOVOL)
        self.assertEqual(self.code(self.volser.EndTrans(12345)), ENOENT)
        self.assertEqual(self.code(self.volser.SetFlags(12345, 0)), ENOENT)
        self.assertEqual(list(self.transactions), [])

    def test_flags(self) -> None:
        """SetFlags replaces the transaction's flags and changes the header at once; read-only ones are refused."""
        self.create()
        trans = self.begin()
        self.do(self.volser.SetFlags(trans, VTDeleteOnSalvage | VTOutOfService))
        header = self.server.disk.volumes[VOLUME].header
        self.assertEqual((header.destroy_me, header.in_service), (True, False))
        self.assertEqual(self.do(self.volser.GetFlags(trans)), VTDeleteOnSalvage | VTOutOfService)
        self.do(self.volser.SetFlags(trans, 0))
        header = self.server.disk.volumes[VOLUME].header
        self.assertEqual((header.destroy_me, header.in_service), (False, True))
        self.do(self.volser.EndTrans(trans))
        trans = self.begin(flags=ITReadOnly)
        self.assertEqual(self.code(self.volser.SetFlags(trans, 0)), EROFS)

    def test_offline_and_online(self) -> None:
        """`vos offline` takes a volume from its clients until `vos online`, over a restart as well."""
        self.create()
        trans = self.begin()
        self.do(self.volser.SetFlags(trans, VTOutOfService))
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.refused(use(self.server)), VolumeError.VOFFLINE)
        self.assertEqual(self.info().inUse, 0)
        self.assertEqual(self.refused(use(self.run_now(self.server.crash()))), VolumeError.VOFFLINE)
        trans = self.begin()
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.run_now(use(self.server))
        self.assertEqual(self.info().inUse, 1)

    def test_fields(self) -> None:
        """SetInfo, SetDate and SetIdsTypes change what they name, and GetStatus and GetName tell it."""
        self.create()
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.SetInfo(trans, replace(KEEP, maxquota=5, dayUse=6, updateDate=7, spare2=8)))
        self.do(self.volser.SetDate(trans, 9))
        self.do(self.volser.SetIdsTypes(trans, b"new", RW, VOLUME, READONLY, BACKUP))
        status = self.do(self.volser.GetStatus(trans))
        self.assertEqual((status.maxQuota, status.updateDate, status.creationDate), (5, 7, 9))
        self.assertEqual((status.cloneID, status.backupID, status.nextUnique), (READONLY, BACKUP, 2))
        self.assertEqual(self.do(self.volser.GetName(trans)), b"new")
        self.do(self.volser.SetInfo(trans, KEEP))
        self.assertEqual(self.do(self.volser.GetStatus(trans)), status)
        long_name = self.volser.SetIdsTypes(trans, b"x" * 32, RW, VOLUME, 0, 0)
        self.assertEqual(self.code(long_name), VolserError.VOLSERBADNAME)
        self.do(self.volser.EndTrans(trans))
        info = self.info()
        self.assertEqual((info.name, info.maxquota, info.spare2), (b"new", 5, 8))

    def test_moved(self) -> None:
        """After SetForwarding clients are told that the volume has moved, until somebody takes it again."""
        self.create()
        trans = self.begin()
        self.do(self.volser.SetForwarding(trans, 0x0A000001))
        self.assertEqual(self.server.broken, [VOLUME])
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.refused(use(self.server)), VolumeError.VMOVED)
        self.do(self.volser.EndTrans(self.begin()))
        self.run_now(use(self.server))

    def test_monitor(self) -> None:
        """`vos status` sees open transactions, with what they did last; nothing afterwards."""
        self.create()
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.GetStatus(trans))
        (seen,) = self.do(self.volser.Monitor())
        self.assertEqual((seen.tid, seen.volid, seen.partition, seen.iflags), (trans, VOLUME, 0, ITBusy))
        self.assertEqual(seen.lastProcName, b"GetStatus")
        self.do(self.volser.EndTrans(trans))
        self.assertEqual(self.do(self.volser.Monitor()), ())

    def test_time_out(self) -> None:
        """A transaction nobody uses ends by itself, and its volume is served again."""
        self.create()
        self.begin(flags=ITBusy)
        self.server.now += TIMEOUT_SECONDS
        self.run_now(self.transactions.sweep())
        self.assertEqual(len(list(self.transactions)), 1)
        self.server.now += 1
        self.run_now(self.transactions.sweep())
        self.assertEqual(list(self.transactions), [])
        self.run_now(use(self.server))

    def test_time_out_of_a_temporary_volume(self) -> None:
        """One whose volume was never completed takes the volume along."""
        self.do(self.volser.CreateVolume(0, b"vol", RW, 0, VOLUME))
        self.server.now += TIMEOUT_SECONDS + 1
        self.run_now(self.transactions.sweep())
        self.assertEqual(self.server.disk.volumes, {})

    def test_what_a_client_left(self) -> None:
        """A clone that nobody took up, and a volume whose transaction was ended by hand, go after a while."""
        self.create()
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.Clone(trans, 0, RO, b"vol.readonly", READONLY))
        self.do(self.volser.EndTrans(trans))
        _, trans = self.do(self.volser.CreateVolume(0, b"new", RW, 0, BACKUP + 1))
        self.do(self.volser.EndTrans(trans))
        self.server.now += TIMEOUT_SECONDS
        self.run_now(self.transactions.sweep())
        self.assertEqual(set(self.server.disk.volumes), {VOLUME, READONLY, BACKUP + 1})
        self.server.now += 1
        self.run_now(self.transactions.sweep())
        self.assertEqual(set(self.server.disk.volumes), {VOLUME})
        self.assertEqual(list(self.transactions), [])
        self.run_now(use(self.server))

    def test_what_somebody_keeps(self) -> None:
        """It stays when it was put in service since, or somebody has it; then for as long again."""
        self.create()
        trans = self.begin(flags=ITBusy)
        self.do(self.volser.Clone(trans, 0, RO, b"vol.readonly", READONLY))
        self.do(self.volser.Clone(trans, 0, BK, b"vol.backup", BACKUP))
        self.do(self.volser.EndTrans(trans))
        trans = self.begin(READONLY)
        self.do(self.volser.SetFlags(trans, 0))
        self.do(self.volser.EndTrans(trans))
        self.server.now += TIMEOUT_SECONDS + 1
        trans = self.begin(BACKUP)
        self.run_now(self.transactions.sweep())
        self.do(self.volser.EndTrans(trans))
        self.run_now(self.transactions.sweep())
        self.assertEqual(set(self.server.disk.volumes), {VOLUME, READONLY, BACKUP})
        self.server.now += TIMEOUT_SECONDS + 1
        self.run_now(self.transactions.sweep())
        self.assertEqual(set(self.server.disk.volumes), {VOLUME, READONLY})
        self.run_now(use(self.server, READONLY))

    def test_shutdown(self) -> None:
        """Ending everything gives every volume back."""
        self.create()
        self.begin()
        self.run_now(self.transactions.close())
        self.run_now(use(self.server))

    def test_a_clone_written_while_clients_use_it(self) -> None:
        """A header written with clients about is marked as closed when they are gone, read-only or not."""
        self.create()
        self.backup()
        self.run_now(use(self.server, BACKUP))
        trans = self.begin(BACKUP, ITBusy)
        self.do(self.volser.SetDate(trans, 9))
        self.do(self.volser.EndTrans(trans))
        disk = self.server.disk.volumes[BACKUP]
        self.assertEqual((disk.header.in_use, disk.header.creation_date), (1, 9))
        self.run_now(self.server.registry.shutdown())
        self.assertEqual(disk.header.in_use, 0)

    def test_ended_while_it_is_being_opened(self) -> None:
        """Whoever guesses the number of a transaction that is not there yet does not leave its volume behind."""
        gate: Deferred[None] = Deferred()

        async def slow(operation: str, volume: int, number: int) -> None:
            await gate

        self.create()
        self.server.disk.fault = slow
        opening = ensureDeferred(as_coroutine(self.volser.TransCreate(VOLUME, 0, ITOffline)))
        (transaction,) = self.transactions
        self.do(self.volser.EndTrans(transaction.id))
        self.server.disk.fault = None
        gate.callback(None)
        self.successResultOf(opening)
        self.assertEqual(list(self.transactions), [])
        self.run_now(use(self.server))

    def test_words_that_do_not_fit(self) -> None:
        """Dates are stored as they came, types that do not exist and another parent are refused."""
        self.create()
        trans = self.begin()
        self.do(self.volser.SetDate(trans, -5))
        self.assertEqual(self.do(self.volser.GetStatus(trans)).creationDate & 0xFFFFFFFF, 2**32 - 5)
        self.assertEqual(self.code(self.volser.SetIdsTypes(trans, b"vol", 7, VOLUME, 0, 0)), EINVAL)
        self.assertEqual(self.code(self.volser.SetIdsTypes(trans, b"vol", RW, 5, 0, 0)), EINVAL)
        self.do(self.volser.EndTrans(trans))
