"""A move that is interrupted at each of its steps: one server serves or none, and the same command finishes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

import fileserver.partitions.tell
from afs.rpc.partitions import PSTATE, PartitionServer
from afs.rpc.volpartitions import VOP, VOPS, VSTEP, VolOperation
from afs.types import AFSFid
from fileserver.callbacks import Fid
from fileserver.channel import Address
from fileserver.partitions import move
from fileserver.partitions.operations import Operation
from fileserver.partitions.vldb import NoAnswer, Vldb
from fileserver.rxchannel import RxChannel
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from tests.fileserver.partitions.test_move import MoveCase

CLOCK: Any = reactor
SOURCE, TARGET = 0, 1
OF_SOURCE = (VSTEP.BEGUN, VSTEP.PREPARED, VSTEP.FROZEN, VSTEP.OFFLINE, VSTEP.LABELLED, VSTEP.RELEASED, VSTEP.TAKEN)
OF_TARGET = (VSTEP.BEGUN, VSTEP.CLAIMED, VSTEP.LABELLED, VSTEP.ATTACHED)
STEPS = [*((VOP.MOVE, step) for step in OF_SOURCE), *((VOP.TAKE, step) for step in OF_TARGET)]
OUTAGE_SECONDS = 0.3


class InterruptedCase(MoveCase):
    """The file has content before the move."""

    timeout = 120

    def at(self, kind: VOP, step: VSTEP, act: Callable[[], object]) -> None:
        """Once, when an operation has come that far."""
        go_on = Operation.step
        acted: list[VOP] = []

        def watched(operation: Operation, come: VSTEP) -> None:
            go_on(operation, come)
            if (operation.kind, come) == (kind, step) and not acted:
                acted.append(kind)
                act()

        self.patch(Operation, "step", watched)

    async def finish(self) -> None:
        """The same command again: `vos movepartition` asks the owner, or the target where that has it or nobody."""
        for number in (SOURCE, TARGET):
            for operation in await self.volser(number).ListOperations(self.uuid):
                await self.ended(number, operation)
        found = await self.vl.GetPartition(self.uuid)
        if found.owner.uuid == self.server_uuid(SOURCE):
            done = await self.move(SOURCE, TARGET)
        else:
            done = await self.mount(TARGET)
        self.assertIn(done.state, (VOPS.DONE, VOPS.ALREADY), done.text)
        await self.served_by(TARGET)

    async def served_by(self, number: int) -> None:
        """This server and no other has it, upon which all agree; the content is there, and can be changed."""
        states = {SOURCE: await self.state(SOURCE), TARGET: await self.state(TARGET)}
        self.assertEqual(states, {number: PSTATE.MOUNTED, 1 - number: PSTATE.RELEASED})
        found, label, own = await self.vl.GetPartition(self.uuid), self.label(), self.server_uuid(number)
        self.assertEqual((found.owner.uuid, found.epoch), (own, label.epoch))
        self.assertEqual(label.owner, own)
        client = self.cell.client()
        self.assertEqual(await client.read_file("/file"), b"content")
        await client.write_file("/file", b"content")

    async def at_most_one(self) -> None:
        """Not both serve; one that does is the VLDB's owner, and the label's."""
        serving = [number for number in (SOURCE, TARGET) if await self.state(number) == PSTATE.MOUNTED]
        self.assertLess(len(serving), 2)
        if serving:
            await self.served_by(serving[0])

    async def begin(self) -> VolOperation:
        """Order the move at the source."""
        return await self.volser(SOURCE).MovePartition(self.order(), PartitionServer(self.server_uuid(TARGET)))


class Stops(InterruptedCase):
    """A server that is shut down in the middle ends, and what it leaves is in order."""

    async def interrupt(self, victim: int, kind: VOP, step: VSTEP) -> None:
        """Stop a server at a step, start it again, and finish the move."""
        stopped: Deferred[None] = Deferred()

        def stop() -> None:
            ensureDeferred(self.cell.fileservers[victim].stop()).chainDeferred(stopped)

        # Not from within the step: the flow that is cancelled waits for something then.
        self.at(kind, step, lambda: CLOCK.callLater(0, stop))
        moved = await self.begin()
        await stopped
        await self.cell.fileservers[victim].start(self.cell.vlserver_address)
        try:
            await self.ended(SOURCE, moved)
        except (Abort, CallLost):
            self.assertEqual(victim, SOURCE)
        await self.at_most_one()
        await self.finish()

    async def _each(self, victim: int) -> None:
        for kind, step in STEPS:
            await self.interrupt(victim, kind, step)
            done = await self.move(TARGET, SOURCE)
            self.assertEqual((done.state, done.text), (VOPS.DONE, b""))

    async def test_source(self) -> None:
        """The source, at every step of either server."""
        await self._each(SOURCE)

    async def test_target(self) -> None:
        """The target."""
        await self._each(TARGET)


class Outages(InterruptedCase):
    """Vlservers that are silent from some step on, for a while or for long."""

    def silence(self, executed: bool) -> Callable[[], None]:
        """From now on both servers hear no vlserver, the first call that changes something having been `executed` or
        not; the returned function ends it.
        """
        ask: Any = Vldb._ask
        lost: list[bool] = []

        async def silent(vldb: Vldb, call: Any) -> Any:
            if executed and not lost:
                lost.append(True)
                await ask(vldb, call)
            raise NoAnswer("no vlserver answers: test")

        patched = self.patch(Vldb, "_ask", silent)

        return patched.restore  # type: ignore[no-any-return]

    async def _outage(self, kind: VOP, step: VSTEP, executed: bool, seconds: float) -> VolOperation:
        """Silence from a step on for so long, or if that is 0 to the end of the operation."""
        over: list[Callable[[], None]] = []

        def fall_silent() -> None:
            over.append(self.silence(executed))
            if seconds:
                ending.append(deferLater(CLOCK, seconds, over[0]))

        ending: list[Deferred[None]] = []
        self.at(kind, step, fall_silent)
        ended = await self.ended(SOURCE, await self.begin())
        for one in ending:
            await one
        over[0]()
        return ended

    async def test_for_a_while(self) -> None:
        """At every step, whether or not the call under way was executed: one of the two serves at the end."""
        for executed in (False, True):
            for kind, step in STEPS:
                await self._outage(kind, step, executed, OUTAGE_SECONDS)
                owner = TARGET if await self.state(TARGET) == PSTATE.MOUNTED else SOURCE
                await self.served_by(owner)
                await self.finish()
                self.assertEqual((await self.move(TARGET, SOURCE)).state, VOPS.DONE)

    async def test_for_long(self) -> None:
        """The partition is down if nobody knows whose it is, with the reason; the same command finishes the move, and
        so does the owner's next report to the VLDB.
        """
        self.patch(move, "RECOVER_SECONDS", OUTAGE_SECONDS)
        for executed in (False, True):
            ended = await self._outage(VOP.MOVE, VSTEP.LABELLED, executed, 0)
            self.assertEqual(ended.state, VOPS.STUCK)
            self.assertIn(b"mount it by command", ended.text)
            self.assertEqual([await self.state(number) for number in (SOURCE, TARGET)], [PSTATE.RELEASED] * 2)
            self.assertIn(b"no vlserver answers", (await self.volser(SOURCE).GetPartition(self.uuid)).reason)
            await self.finish()
            self.assertEqual((await self.move(TARGET, SOURCE)).state, VOPS.DONE)
        ended = await self._outage(VOP.MOVE, VSTEP.LABELLED, False, 0)
        self.assertEqual(ended.state, VOPS.STUCK)
        partitions = self.cell.fileservers[SOURCE].service.partitions
        assert partitions is not None
        await partitions.report()
        operation = partitions.operations.last(self.uuid)
        assert operation is not None
        await partitions.ended(operation)
        await self.served_by(SOURCE)

    async def test_target_needs_none(self) -> None:
        """Once the VLDB has given it away the move needs no vlserver any more."""
        ended = await self._outage(VOP.MOVE, VSTEP.RELEASED, False, 0)
        self.assertEqual((ended.state, ended.text), (VOPS.DONE, b""))
        await self.served_by(TARGET)


class Promises(InterruptedCase):
    """What clients believe is ended by the target where the source does not come to it."""

    async def test_source_dies(self) -> None:
        """Shut down before it has told the clients: the target tells them, and holds their calls meanwhile."""
        idle = self.cell.client()
        await idle.status("/file")
        told = idle.breaks.expect(AFSFid(self.volume, 0, 0))

        stopped: Deferred[None] = Deferred()

        def stop() -> None:
            ensureDeferred(self.cell.fileservers[SOURCE].stop()).chainDeferred(stopped)

        async def tell_nobody(*arguments: object) -> None:
            CLOCK.callLater(0, stop)
            await Deferred()

        self.patch(move, "_tell", tell_nobody)
        await self.begin()
        await told
        await stopped
        await self.cell.fileservers[SOURCE].start(self.cell.vlserver_address)
        await self.served_by(TARGET)

    async def test_target_restarts_too(self) -> None:
        """A target that is restarted before it knew whether the clients had been told tells them after its start."""
        idle = self.cell.client()
        await idle.status("/file")
        quiet: Deferred[None] = Deferred()

        async def wait(*arguments: object) -> None:
            await quiet

        self.patch(move, "_tell", wait)
        await self.begin()
        while await self.state(TARGET) != PSTATE.MOUNTED:
            await deferLater(CLOCK, 0.01)
        told = idle.breaks.expect(AFSFid(self.volume, 0, 0))
        await self.cell.restart(TARGET)
        await told
        quiet.callback(None)

    async def test_silent_client(self) -> None:
        """A client that does not answer holds up nobody else: calls are answered while the source waits for it."""
        silent, given_up = self.cell.client(), Deferred[None]()
        await silent.status("/file")
        go_on = RxChannel.tell

        async def tell(channel: RxChannel, address: Address, fids: Sequence[Fid]) -> None:
            if address == silent.address:
                await given_up
            await go_on(channel, address, fids)

        self.patch(RxChannel, "tell", tell)
        self.patch(fileserver.partitions.tell, "TELL_SECONDS", self.timeout)
        moving = ensureDeferred(self.ended(SOURCE, await self.begin()))
        while await self.state(TARGET) != PSTATE.MOUNTED:
            await deferLater(CLOCK, 0.01)
        await self.client.write_file("/file", b"content")
        self.assertFalse(moving.called)
        given_up.errback(CallLost(RxCode.RX_CALL_DEAD))
        self.assertEqual((await moving).state, VOPS.DONE)
