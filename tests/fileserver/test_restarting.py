"""Clients of a server that restarts, and of one whose volume is salvaged, over real packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.interfaces import Damaged, IPartition, ISalvager, ISalvageSession, SalvageReport
from fileserver.salvager.process import SalvagerProcess
from fileserver.store.inodes import Special, special_inode
from fileserver.store.namei_user import open_namei_user
from fileserver.volume.holding import WINDOW_BYTES
from fileserver.volume.interfaces import HoldLimits
from rx.constants import MAX_ACKS, MAXIMUM_MTU
from rx.errors import Abort
from tests.support.cell import Cell, start_cell

ANYBODY = {"system:anyuser": "rlidwk"}
SEND_BUFFER = 256 << 10


class Restarts(TestCase):
    backend = "memory"
    timeout = 180

    async def start(self, **settings: Any) -> Cell:
        cell = await start_cell(self, backend=self.backend, **settings)
        self.volume = await cell.create_volume(b"vol", quota=0, acl=ANYBODY)
        self.writer, self.reader = cell.client(), cell.client()
        self.fid = await self.writer._create(AFSFid(self.volume, 1, 1), b"f", 0o644)
        await self.writer.store(self.fid, b"before", 0, 6)
        await self.reader.read_file(self.fid)
        return cell

    async def test_nobody_notices(self) -> None:
        """After a clean restart nobody is reset, and the promises of before are kept: a change is told."""
        cell = await self.start()
        for number in range(3):
            await self.reader.status(self.fid)
            told = len(self.reader.breaks.of(self.fid))
            await cell.restart()
            await self.writer.store(self.fid, b"after %d" % number, 0, 7)
            self.assertEqual(len(self.reader.breaks.of(self.fid)), told + 1)
            self.assertEqual(await self.reader.read_file(self.fid), b"after %d" % number)
        for client in (self.reader, self.writer):
            self.assertEqual([event for event in client.breaks.history if event.kind == "reset"][1:], [])

    async def test_a_server_that_forgot(self) -> None:
        """A client that comes back to a server that saved nothing is reset and served."""
        cell = await self.start(save_state=False)
        resets = self.reader.breaks.expect(kind="reset")
        await cell.restart()
        self.assertEqual(await self.reader.read_file(self.fid), b"before")
        await resets

    async def test_a_server_that_does_not_believe(self) -> None:
        """The same when it is told not to restore what it saved."""
        cell = await self.start(restore_state=False)
        resets = self.reader.breaks.expect(kind="reset")
        await cell.restart()
        self.assertEqual(await self.reader.read_file(self.fid), b"before")
        await resets


class RestartsOnFiles(Restarts):
    backend = "namei-user"


class Pieces:
    """A source that counts what was taken of it."""

    length: int | None = None

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    async def read(self, size: int = 1 << 30, /) -> bytes:
        size = min(size, self.size - self.taken, 64 << 10)
        self.taken += size
        return b"x" * size


@implementer(ISalvager)
class Salvager:
    """Repairs when `gate` fires."""

    def __init__(self) -> None:
        self.gate: Deferred[None] = Deferred()
        self.began: Deferred[None] = Deferred()

    async def salvage(self, partition: IPartition, group: int, tell: Callable[[str], None]) -> SalvageReport:
        self.began.callback(None)
        await self.gate
        return SalvageReport(group, (group,))

    async def salvage_partition(
        self, partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        raise NotImplementedError

    async def groups(self, partition: IPartition) -> dict[int, tuple[int, ...]]:
        raise NotImplementedError

    def session(self, partition: IPartition) -> ISalvageSession:
        raise NotImplementedError

    def wanted(self, partition: IPartition) -> bool:
        return False


class Held(TestCase):
    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.salvager = Salvager()
        self.cell = await start_cell(self, salvager=self.salvager, holds=HoldLimits(seconds=30))
        self.volume = await self.cell.create_volume(b"vol", quota=0, acl=ANYBODY)
        self.other = await self.cell.create_volume(b"other", quota=0, acl=ANYBODY)
        self.client = self.cell.client()
        self.fid = await self.client._create(AFSFid(self.volume, 1, 1), b"f", 0o644)

    async def damage(self) -> None:
        """From the next restart on, until it is repaired, the volume is damaged."""
        await self.cell.fileservers[0].stop()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "read_header" and volume_id == self.volume and not self.salvager.gate.called:
                raise Damaged("bad magic")

        self.cell.fileservers[0].disk.fault = fault
        await self.cell.fileservers[0].start(self.cell.vlserver_address)

    async def test_a_store(self) -> None:
        """A store into a volume under salvage waits with its window closed, is then taken whole, and no other call
        notices.
        """
        await self.damage()
        source = Pieces(16 << 20)
        storing = ensureDeferred(self.client.store(self.fid, source, 0, source.size, length=source.size))
        await self.salvager.began
        before = -1
        while before != source.taken:  # until the client has sent what it may
            before = source.taken
            await self._pause(0.3)
        self.assertLess(source.taken, MAX_ACKS * MAXIMUM_MTU + SEND_BUFFER + (64 << 10))
        holds = self.cell.fileservers[0].service.registry.holds
        self.assertEqual(holds.calls, 1)
        self.assertGreaterEqual(holds.bytes, WINDOW_BYTES)
        await self.client.status(AFSFid(self.other, 1, 1))
        self.assertFalse(storing.called)
        self.salvager.gate.callback(None)
        await storing
        self.assertEqual((await self.client.status(self.fid)).Length, source.size)
        self.assertEqual(await self.client.read_file(self.fid), b"x" * source.size)
        self.assertEqual(holds.calls, 0)

    async def test_damage_that_a_read_meets(self) -> None:
        """A read that comes upon damage is answered when that is repaired, without an error."""
        await self.client.store(self.fid, b"content", 0, 7)
        met = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "read" and number == self.fid.Vnode and not self.salvager.gate.called:
                met.append(number)
                raise Damaged("content gone")
            if operation == "write_header" and not self.salvager.gate.called:
                # What the salvager does, as far as this disk goes: the mark must not outlive the repair.
                self.salvager.gate.addCallback(lambda _: setattr(disk.volumes[self.volume].header, "needs_salvaged", 0))

        disk = self.cell.fileservers[0].disk
        disk.fault = fault
        reading = ensureDeferred(self.client.read_file(self.fid))
        await self.salvager.began
        self.assertFalse(reading.called)
        self.salvager.gate.callback(None)
        self.assertEqual(await reading, b"content")
        self.assertEqual(len(met), 1)

    async def test_status_shows_it(self) -> None:
        """`vos status` lists the salvage while it lasts."""
        await self.damage()
        waiting = ensureDeferred(self.client.status(self.fid))
        await self.salvager.began
        (shown,) = await self.cell.volser().Monitor()
        self.assertEqual((shown.volid, shown.lastProcName), (self.volume, b"Salvage"))
        self.salvager.gate.callback(None)
        await waiting
        self.assertEqual(await self.cell.volser().Monitor(), ())

    async def test_shutdown_meanwhile(self) -> None:
        """A server that stops tells held calls that it restarts."""
        await self.damage()
        fs = self.client.fs((str(self.cell.fileservers[0].address), self.cell.fileservers[0].port))
        waiting = ensureDeferred(fs.FetchStatus(self.fid))
        await self.salvager.began
        await self.cell.fileservers[0].stop()
        try:
            await waiting
        except Abort as abort:
            self.assertEqual(abort.code, VolumeError.VRESTARTING)
        else:
            self.fail("served")

    def _pause(self, seconds: float) -> Deferred[None]:
        from twisted.internet import reactor

        return deferLater(reactor, seconds, lambda: None)


class Repaired(TestCase):
    """The salvager itself, in its process, on files."""

    timeout = 120

    async def test_a_damaged_index(self) -> None:
        """A volume whose index was damaged while the server was down is mended at its first call, and that answered."""
        from twisted.internet import reactor

        cell = await start_cell(self, backend="namei-user", salvager=SalvagerProcess(reactor))
        volume = await cell.create_volume(b"vol", quota=0, acl=ANYBODY)
        client = cell.client()
        fid = await client._create(AFSFid(volume, 1, 1), b"f", 0o644)
        await client.store(fid, b"content", 0, 7)
        fileserver = cell.fileservers[0]
        await fileserver.stop()
        partition = open_namei_user(str(fileserver.partition_path), 0, reactor)
        files = await partition.open_volume(volume)
        index = files.group.path(special_inode(volume, Special.SMALL_INDEX))
        header = await files.read_header()
        header.needs_salvaged = True
        await files.write_header(header)
        await files.close()
        await partition.close()
        with open(index, "ab") as file:
            file.write(b"half a record")
        await fileserver.start(cell.vlserver_address)
        self.assertEqual(await client.read_file(fid), b"content")
        salvages = fileserver.service.registry.salvages
        assert salvages is not None
        self.assertEqual((salvages.done, salvages.failed), (1, 0))
