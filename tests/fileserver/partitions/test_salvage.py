"""A whole partition is salvaged while it is served: a group of volumes at a time is away, and calls for it wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EBUSY, ENOENT
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from zope.interface import implementer
from zope.interface.verify import verifyObject

from afs.rpc.partitions import PSTATE, PartitionRequest
from afs.rpc.volpartitions import VCOUNT, VOP, VOPS, VPCAP, VSTEP, VolOperation, VolPartitionOrder
from afs.rpc.volser import ITBusy
from afs.types import AFSFid
from fileserver.interfaces import IPartition, ISalvageSession, SalvageReport
from fileserver.partitions.label import Label
from fileserver.salvager.process import SalvagerProcess
from fileserver.store.inodes import Special
from fileserver.store.namei import FORCE_SALVAGE
from fileserver.store.volume_file import pack_volume_file, volume_file_name
from fileserver.volume.fsa import Event, VolumeState
from fileserver.volume.registry import Registry
from rx.errors import Abort
from tests.fileserver.partitions.test_keeper import SharedCase
from tests.fileserver.salvager.damages import special
from tests.support.cell import start_cell

ANYBODY = {"system:anyuser": "rlidwk"}
VOLUMES = (b"root.afs", b"one", b"two")
STRANGER = 536999999
"""A volume that nobody made."""


class Gated(SalvagerProcess):
    """Salvages, but at `stops` (a group) only once `gate` has fired."""

    stops = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(reactor, **options)
        self.began: Deferred[None] = Deferred()
        self.gate: Deferred[None] = Deferred()
        self.salvaged: list[int] = []

    def session(self, partition: IPartition) -> ISalvageSession:
        session: ISalvageSession = GatedSession(self, super().session(partition))
        return session

    async def salvage_partition(
        self, partition: IPartition, tell: Callable[[str], None], progress: Callable[[int, int], None]
    ) -> list[SalvageReport]:
        if self.stops:
            progress(0, 1)
            reactor.callLater(0, self.began.callback, None)
            await self.gate
        return await super().salvage_partition(partition, tell, progress)


@implementer(ISalvageSession)
class GatedSession:
    def __init__(self, salvager: Gated, session: ISalvageSession) -> None:
        self.salvager = salvager
        self.session = session

    async def begin(self) -> None:
        await self.session.begin()

    async def salvage(self, group: int, tell: Callable[[str], None]) -> SalvageReport:
        if group == self.salvager.stops:
            reactor.callLater(0, self.salvager.began.callback, None)
            await self.salvager.gate
        report: SalvageReport = await self.session.salvage(group, tell)
        self.salvager.salvaged.append(group)
        return report

    async def tidy(self, tell: Callable[[str], None]) -> None:
        await self.session.tidy(tell)

    async def end(self) -> None:
        await self.session.end()


class Case(SharedCase):
    timeout = 180
    options: dict[str, Any] = {}

    async def setUp(self) -> None:  # type: ignore[override]
        self.salvager = Gated(**self.options)
        self.cell = await start_cell(self, backend="namei-user", salvager=self.salvager)
        self.shared = self.cell.fileservers[0].partition_path.absolute()
        label = Label.read(str(self.shared))
        assert label is not None
        self.uuid = label.uuid
        self.client = self.cell.client()
        self.volumes = [await self.cell.create_volume(name, acl=ANYBODY) for name in VOLUMES]
        for volume in self.volumes:
            fid = await self.client._create(AFSFid(volume, 1, 1), b"file", 0o644)
            content = b"content of %d" % volume
            await self.client.store(fid, content, 0, len(content))

    @property
    def registry(self) -> Registry:
        return self.cell.fileservers[0].service.registry

    def state(self, volume_id: int) -> VolumeState:
        volume = self.registry.find(volume_id)
        assert volume is not None
        return volume.state

    async def begin(self) -> VolOperation:
        return await self.volser(0).SalvagePartition(self.order())

    async def salvage(self) -> VolOperation:
        return await self.ended(0, await self.begin())

    async def check(self, *volumes: int) -> None:
        """They are served, with all there was in them, to a client that remembers nothing."""
        client = self.cell.client()
        for volume in volumes or self.volumes:
            entries = await client.list_directory(AFSFid(volume, 1, 1))
            number, unique = entries[b"file"]
            self.assertEqual(await client.read_file(AFSFid(volume, number, unique)), b"content of %d" % volume)


def counts(operation: VolOperation) -> dict[int, int]:
    return {each.kind: each.value for each in operation.counts}


class Whole(Case):
    async def test_sound(self) -> None:
        """Nothing is found, told or changed, and clients keep what they were promised."""
        verifyObject(ISalvageSession, self.salvager.session(self.registry.partitions()[0]))
        await self.cell.create_volume(b"empty")
        self.client.breaks.history.clear()
        done = await self.salvage()
        self.assertEqual((done.kind, done.state, done.text), (VOP.SALVAGE, VOPS.DONE, b""))
        self.assertEqual((done.done, done.total, counts(done)), (4, 4, {VCOUNT.SALVAGED: 4}))
        self.assertEqual([each.step for each in done.steps], [VSTEP.BEGUN, VSTEP.SALVAGED, VSTEP.ENDED])
        self.assertEqual(self.salvager.salvaged[:3], self.volumes)
        await self.check()
        self.assertEqual(list(self.client.breaks.history), [])
        _, bits, _ = await self.volser(0).PartitionCapabilities()
        self.assertTrue(bits & VPCAP.SALVAGE)

    async def test_served_meanwhile(self) -> None:
        """While one group is looked at the others are served; calls for it are held, then answered; all of it shows."""
        self.salvager.stops = away = self.volumes[1]
        operation = await self.begin()
        await self.salvager.began
        await self.check(self.volumes[0], self.volumes[2])
        held = ensureDeferred(self.check(away))
        while not self.registry.holds.calls:
            await deferLater(reactor, 0.01)
        shown = await self.volser(0).Monitor()
        self.assertEqual([(each.volid, each.lastProcName) for each in shown], [(away, b"Salvage")])
        state = await self.volser(0).GetPartition(self.uuid)
        self.assertEqual((state.state, state.salvaging, state.operation), (PSTATE.MOUNTED, 1, operation.id))
        now = await self.volser(0).GetOperation(operation.id, 0, 0)
        self.assertEqual((now.state, now.done, now.total), (VOPS.RUNNING, 1, 3))
        self.salvager.gate.callback(None)
        await held
        self.assertEqual((await self.ended(0, operation)).state, VOPS.DONE)

    async def test_repairs(self) -> None:
        """What is damaged is repaired, a volume without a header file is found, a header file without a volume goes."""
        damaged, hidden, _ = self.volumes
        await self.cell.fileservers[0].stop()
        os.unlink(special(str(self.shared), damaged, damaged, Special.LINK_TABLE))
        os.unlink(self.shared / volume_file_name(hidden))
        (self.shared / volume_file_name(STRANGER)).write_bytes(pack_volume_file(STRANGER, STRANGER))
        (self.shared / "V12.vol").write_bytes(b"rubbish")
        await self.cell.fileservers[0].start(self.cell.vlserver_address)
        self.assertIsNone(self.registry.find(hidden))
        done = await self.salvage()
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        self.assertEqual(counts(done)[VCOUNT.REPAIRED], 2)
        await self.check()
        self.assertEqual([each.name for each in self.shared.glob("V*.vol") if each.name[1:-4] == "12"], [])
        again = await self.salvage()
        self.assertEqual(again.state, VOPS.DONE)
        self.assertNotIn(VCOUNT.REPAIRED, counts(again))

    async def test_beyond_hope(self) -> None:
        """A volume that was left to an operator comes back with the salvage of its partition."""
        volume = self.registry.find(self.volumes[2])
        assert volume is not None
        while volume.state is not VolumeState.PREATTACHED:
            await self.salvage()
        volume.send(Event.FAILED)
        with self.assertRaises(Abort):
            await self.volser(0).TransCreate(volume.id, 0, ITBusy)
        self.assertEqual((await self.salvage()).state, VOPS.DONE)
        await self.check()

    async def test_in_hand(self) -> None:
        """A volume that the volume server has is waited for, after all others; nothing of it is touched before."""
        taken = self.volumes[0]
        transaction = await self.volser(0).TransCreate(taken, 0, ITBusy)
        operation = await self.begin()
        while operation.done < 2:
            operation = await self.volser(0).GetOperation(operation.id, operation.version, 20_000)
        self.assertEqual((operation.state, self.salvager.salvaged), (VOPS.RUNNING, self.volumes[1:]))
        await self.volser(0).EndTrans(transaction)
        done = await self.ended(0, operation)
        self.assertEqual((done.state, self.salvager.salvaged), (VOPS.DONE, [*self.volumes[1:], taken]))
        await self.check()

    async def test_given_up(self) -> None:
        """It can be given up, and then ends after the group it is at; other operations on the partition wait for it."""
        self.salvager.stops = self.volumes[1]
        operation = await self.begin()
        await self.salvager.began
        await self.refused(self.volser(0).UnmountPartition(self.order()), EBUSY)
        await self.volser(0).CancelOperation(operation.id, PartitionRequest(uuid4()))
        self.salvager.gate.callback(None)
        done = await self.ended(0, operation)
        self.assertEqual((done.state, done.done), (VOPS.FAILED, 2))
        self.assertIn(b"given up", done.text)
        await self.check()
        unmounted = await self.unmount(0)
        self.assertEqual(unmounted.state, VOPS.DONE)
        await self.refused(self.volser(0).CancelOperation(unmounted.id, PartitionRequest(uuid4())), EBUSY)
        await self.refused(self.volser(0).CancelOperation(uuid4(), PartitionRequest(uuid4())), ENOENT)
        self.assertEqual((await self.salvage()).state, VOPS.FAILED)

    async def test_shutdown(self) -> None:
        """A server that ends in the middle of it ends, and serves everything when it is back."""
        self.salvager.stops = self.volumes[1]
        await self.begin()
        await self.salvager.began
        await self.cell.restart(0)
        await self.check()

    async def test_unknown(self) -> None:
        """Of a partition that is not defined here."""
        order = VolPartitionOrder(uuid4(), PartitionRequest(uuid4()))
        await self.refused(self.volser(0).SalvagePartition(order), ENOENT)

    async def refused(self, call: Any, code: int) -> None:
        failure = await self.assertFailure(ensureDeferred(_coroutine(call)), Abort)
        self.assertEqual(failure.code, code)


async def _coroutine(call: Any) -> Any:
    return await call


class First(Case):
    """FORCESALVAGE."""

    async def test_forced(self) -> None:
        """The server begins without waiting for it; the partition is served when it is salvaged, the mark gone."""
        damaged = self.volumes[1]
        await self.cell.fileservers[0].stop()
        os.unlink(special(str(self.shared), damaged, damaged, Special.LINK_TABLE))
        (self.shared / FORCE_SALVAGE).touch()
        self.salvager.stops = 1
        await self.cell.fileservers[0].start(self.cell.vlserver_address)
        await self.salvager.began
        state = await self.volser(0).GetPartition(self.uuid)
        self.assertEqual((state.state, self.registry.partitions()), (PSTATE.RELEASED, []))
        operation = await self.volser(0).GetOperation(state.operation, 0, 0)
        self.assertEqual((operation.kind, operation.state), (VOP.MOUNT, VOPS.RUNNING))
        self.salvager.gate.callback(None)
        done = await self.ended(0, operation)
        self.assertEqual(done.state, VOPS.DONE)
        self.assertEqual(counts(done), {VCOUNT.SALVAGED: 3, VCOUNT.REPAIRED: 1})
        self.assertFalse((self.shared / FORCE_SALVAGE).exists())
        await self.check()

    async def test_the_end_of_the_server(self) -> None:
        """A server that ends meanwhile leaves the mark, and salvages anew when it is back."""
        await self.cell.fileservers[0].stop()
        (self.shared / FORCE_SALVAGE).touch()
        self.salvager.stops = 1
        await self.cell.fileservers[0].start(self.cell.vlserver_address)
        await self.salvager.began
        await self.cell.fileservers[0].stop()
        self.assertTrue((self.shared / FORCE_SALVAGE).exists())
        self.salvager.stops = 0
        await self.cell.fileservers[0].start(self.cell.vlserver_address)
        while not self.registry.partitions():
            await deferLater(reactor, 0.01)
        await self.check()
        self.assertFalse((self.shared / FORCE_SALVAGE).exists())


class Crash(Case):
    """The program dies."""

    async def test_at_one_group(self) -> None:
        """At one group: its volumes are served as before, the others are salvaged, and the operation says so."""
        program = self.salvager._program
        dying = self.volumes[1]
        script = (
            "import os, sys\n"
            "from fileserver.salvager import __main__ as program\n"
            "real = program.salvage_group\n"
            "def salvage_group(place, group, tell):\n"
            f"    if group == {dying}: os.kill(os.getpid(), 9)\n"
            "    return real(place, group, tell)\n"
            "program.salvage_group = salvage_group\n"
            "sys.exit(program.main())\n"
        )
        self.salvager._program = (program[0], "-c", script)
        done = await self.salvage()
        self.assertEqual((done.state, done.done), (VOPS.FAILED, 3))
        self.assertIn(b"1 of 3 groups", done.text)
        self.assertIn(b"signal 9", done.text)
        self.assertEqual(counts(done), {VCOUNT.SALVAGED: 2})
        await self.check()
