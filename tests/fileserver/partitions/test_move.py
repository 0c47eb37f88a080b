"""Planned moves between two servers that reach one directory: data, clients, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from errno import ENOENT, ENOSPC
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

import rx.connection
from afs.errors import VolumeError
from afs.rpc.partitions import PSTATE, PartitionRequest, PartitionServer
from afs.rpc.vl import VLADDR_UUID, ListAddrByAttributes
from afs.rpc.volpartitions import PMOUNT, PMOVE, VCOUNT, VOPS, VSTEP, VolOperation
from afs.types import AFSFid
from fileserver.callbacks import Fid
from fileserver.channel import Address
from fileserver.partitions import move
from fileserver.partitions.journal import read_journal
from fileserver.partitions.means import Mounted
from fileserver.volume.fsa import VolumeState
from fileserver.volume.gate import Gate
from rx.constants import RxCode
from rx.errors import Abort, CallLost
from tests.fileserver.partitions.test_keeper import SharedCase
from tests.support.cell import start_cell

DEAD_SECONDS = 1.0
"""Silence after which a client takes a server for dead here."""


class MoveCase(SharedCase):
    """The shared partition may be mounted on both, and has a root volume with a file."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.define(1, self.shared, 1)
        self.volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        self.client = self.cell.client()
        await self.client.write_file("/file", b"content")

    async def move(self, source: int, target: int, **changes: object) -> VolOperation:
        server = PartitionServer(self.server_uuid(target))
        begun = await self.volser(source).MovePartition(self.order(**changes), server)
        return await self.ended(source, begun)

    async def state(self, number: int) -> int:
        return (await self.volser(number).GetPartition(self.uuid)).state

    def refuse(self, number: int, name: str) -> None:
        """Make a step of the server's partitions fail."""
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None

        async def refused(*arguments: Any, **named: Any) -> None:
            raise OSError(5, f"{name} fails")

        self.patch(partitions.means.vldb if hasattr(partitions.means.vldb, name) else partitions, name, refused)


class Moves(MoveCase):
    """What goes well."""

    async def test_there_and_back(self) -> None:
        """The other server serves, the VLDB has one new epoch, the client goes on; and all the way back."""
        before = (await self.vl.GetPartition(self.uuid)).epoch
        done = await self.move(0, 1)
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        steps = [step.step for step in done.steps]
        self.assertEqual(
            steps,
            [
                VSTEP.BEGUN,
                VSTEP.PREPARED,
                VSTEP.FROZEN,
                VSTEP.OFFLINE,
                VSTEP.LABELLED,
                VSTEP.RELEASED,
                VSTEP.TAKEN,
                VSTEP.TOLD,
                VSTEP.ENDED,
            ],
        )
        found = await self.vl.GetPartition(self.uuid)
        self.assertEqual((found.owner.uuid, found.epoch), (self.server_uuid(1), before + 1))
        self.assertEqual((await self.state(0), await self.state(1)), (PSTATE.RELEASED, PSTATE.MOUNTED))
        self.assertEqual(await self.client.read_file("/file"), b"content")
        await self.client.write_file("/file", b"changed")
        self.assertEqual((await self.move(1, 0)).state, VOPS.DONE)
        self.assertEqual(await self.client.read_file("/file"), b"changed")
        self.assertEqual((await self.vl.GetPartition(self.uuid)).epoch, before + 2)

    async def test_nothing_stays_open(self) -> None:
        """As many files of the partition are open after moves there and back as were before."""

        def opened() -> list[str]:
            found = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
            return sorted(str(file) for file in found if file.is_relative_to(self.shared))

        self.assertEqual((await self.move(0, 1)).state, VOPS.DONE)
        before = opened()
        for source, target in ((1, 0), (0, 1)):
            self.assertEqual((await self.move(source, target)).state, VOPS.DONE)
        self.assertEqual(opened(), before)

    async def test_log(self) -> None:
        """The steps with their times, and at the end what was counted."""
        said: list[str] = []

        def remember(event: LogEvent) -> None:
            said.append(formatEvent(event))

        listen: Any = remember
        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)
        done = await self.move(0, 1)
        of_move = [line.partition(": ")[2] for line in said if line.startswith(f"move {done.id} ")]
        steps = ("begun", "prepared", "frozen", "offline", "labelled", "released", "taken", "told")
        self.assertEqual(len(of_move), len(steps) + 1)
        for step, line in zip(steps, of_move, strict=False):
            self.assertRegex(line, rf"^{step} at \d+\.\d{{3}} s$")
        counters = "0 calls held, 2 clients told, 0 clients not reached, 1 volumes re-attached, longest hold 0 ms"
        self.assertRegex(of_move[-1], rf"^done after \d+\.\d{{3}} s, {counters}$")

    async def test_idle_volumes(self) -> None:
        """Volumes that nobody used for a while are closed before calls are held, all are known to the new owner, also
        those made since the last move, and each can be used there.
        """
        volumes = [await self.cell.create_volume(b"v%d" % number) for number in range(3)]
        registry = self.cell.fileservers[0].service.registry
        root = AFSFid(volumes[0], 1, 1)
        source = self.cell.fileservers[0]
        await self.client.fs((str(source.address), source.port)).FetchStatus(root)
        attached = registry.find(volumes[0])
        assert attached is not None
        self.assertEqual(attached.state, VolumeState.ATTACHED)
        attached.last_get -= 10
        frozen: list[VolumeState] = []
        freeze = registry.freeze

        def look(number: int) -> Gate:
            frozen.append(attached.state)
            return freeze(number)

        self.patch(registry, "freeze", look)
        self.assertEqual((await self.move(0, 1)).state, VOPS.DONE)
        self.assertEqual(frozen, [VolumeState.PREATTACHED])
        for volume in (self.volume, *volumes):
            self.assertEqual((await self.volser(1).ListOneVolume(1, volume))[0].volid, volume)
        self.assertEqual((await self.move(1, 0)).state, VOPS.DONE)
        late = await self.cell.create_volume(b"late")
        self.assertEqual((await self.move(0, 1)).state, VOPS.DONE)
        self.assertEqual((await self.volser(1).ListOneVolume(1, late))[0].volid, late)

    async def test_who_is_told(self) -> None:
        """Each client that used a volume hears of it once, and is in the journal of the next owner."""
        idle = self.cell.client()
        status = await idle.status("/file")
        told = idle.breaks.expect(AFSFid(self.volume, 1, 1))
        done = await self.move(0, 1)
        self.assertEqual({count.kind: count.value for count in done.counts}[VCOUNT.TOLD], 3)  # with the fixture's tool
        await told
        self.assertEqual((await idle.status("/file")).Length, status.Length)
        contacts = {contact.address for contact in read_journal(str(self.shared))}
        self.assertLessEqual({self.client.address, idle.address}, contacts)

    async def test_told_of_old_promises(self) -> None:
        """Promises outlive a restart of the server; who holds one is told although nobody has used the volume since."""
        idle = self.cell.client()
        await idle.status("/file")
        await self.cell.restart(0)
        told = idle.breaks.expect(AFSFid(self.volume, 1, 1))
        self.assertEqual((await self.move(0, 1)).state, VOPS.DONE)
        await told

    async def test_unreached(self) -> None:
        """A client that does not hear is owed that by whoever has the partition next, over moves, an unmount and a
        mount, until it calls.
        """
        idle = self.cell.client()
        await idle.status("/file")
        unplugged = {idle.address}
        for number in (0, 1):
            self.deafen(number, unplugged)
        self.assertEqual((await self.move(0, 1)).state, VOPS.DONE)
        self.assertEqual(self.owed(1), {idle.address})
        self.assertEqual((await self.move(1, 0)).state, VOPS.DONE)
        self.assertEqual(self.owed(0), {idle.address})
        self.assertEqual((await self.unmount(0)).state, VOPS.DONE)
        self.assertEqual({contact.address for contact in read_journal(str(self.shared))}, {idle.address})
        self.assertEqual((await self.mount(1)).state, VOPS.DONE)
        await self.told_all(1)
        self.assertEqual(self.owed(1), {idle.address})
        unplugged.clear()
        told = idle.breaks.expect(AFSFid(self.volume, 1, 1))
        idle.locator.forget(self.volume)
        await idle.status("/file")
        await told
        while self.owed(1):  # until the client's answer is here
            await deferLater(reactor, 0.01)

    def deafen(self, number: int, unplugged: set[Address]) -> None:
        """A server does not reach clients at these addresses."""
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        channel = partitions.means.teller._channel
        tell = channel.tell

        async def unheard(address: Address, fids: Sequence[Fid]) -> None:
            if address in unplugged:
                raise CallLost(RxCode.RX_CALL_DEAD)
            await tell(address, fids)

        self.patch(channel, "tell", unheard)

    def owed(self, number: int) -> set[Address]:
        """Whom a server still has to tell."""
        return {contact.address for contact in self.mounted(number).owed}

    async def told_all(self, number: int) -> None:
        """Wait until a server has tried to tell everybody."""
        inherited = self.mounted(number).inherited
        assert inherited is not None
        await inherited.over()

    def mounted(self, number: int) -> Mounted:
        """The shared partition on a server."""
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        return partitions.mounted[self.uuid]

    async def test_calls_meanwhile(self) -> None:
        """Calls that come during a move are held and then made at the new server: no error at any client."""
        writers = [self.cell.client() for _ in range(4)]

        async def write(number: int) -> None:
            for turn in range(20):
                await writers[number].write_file(f"/own{number}", b"%d" % turn)
                assert await writers[number].read_file(f"/own{number}") == b"%d" % turn

        running = [ensureDeferred(write(number)) for number in range(4)]
        for source, target in ((0, 1), (1, 0), (0, 1)):
            done = await self.move(source, target)
            self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        for one in running:
            await one
        for number in range(4):
            self.assertEqual(await self.client.read_file(f"/own{number}"), b"19")

    async def test_dry_run(self) -> None:
        """Nothing changes."""
        before = await self.vl.GetPartition(self.uuid)
        done = await self.move(0, 1, flags=PMOVE.DRYRUN)
        self.assertEqual((done.state, await self.state(0)), (VOPS.DONE, PSTATE.MOUNTED))
        self.assertEqual((await self.vl.GetPartition(self.uuid)).epoch, before.epoch)

    async def test_after_a_crash(self) -> None:
        """Our client finds the server that has the partition when the one that had it is silent."""
        self.patch(rx.connection, "LEAST_DEAD_SECONDS", DEAD_SECONDS)
        client = self.cell.client(dead_seconds=DEAD_SECONDS)
        self.assertEqual(await client.read_file("/file"), b"content")
        await self.cell.fileservers[0].stop()
        self.assertEqual((await self.mount(1, flags=PMOUNT.FORCE)).state, VOPS.DONE)
        await client.write_file("/file", b"after")
        self.assertEqual(await client.read_file("/file"), b"after")

    async def test_after_restarts(self) -> None:
        """Each server remembers after a restart what it has."""
        await self.move(0, 1)
        await self.cell.restart(0)
        await self.cell.restart(1)
        self.assertEqual((await self.state(0), await self.state(1)), (PSTATE.RELEASED, PSTATE.MOUNTED))
        self.assertEqual(await self.cell.client().read_file("/file"), b"content")


class Takeover(SharedCase):
    """Answering at the address of a server that is gone."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.told = Path(self.mktemp()).absolute()
        hook = self.told.with_suffix(".hook")
        hook.write_text(f'#!/bin/sh\necho "$@" >> {self.told}\n')
        hook.chmod(0o700)
        self.cell = await start_cell(self, backend="namei-user", fileservers=2, address_hook=str(hook))
        self.find_shared()
        await self.define(1, self.shared, 1)
        self.volume = await self.cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        await self.cell.client().write_file("/file", b"content")
        self.address = self.cell.fileservers[0].address
        self.old = self.cell.client().fs((str(self.address), self.cell.fileservers[0].port))
        self.root = AFSFid(self.volume, 1, 1)

    async def test_taken(self) -> None:
        """Calls that arrive at the old address are executed, for other volumes refused; a restart takes it again; told
        to end, it is silent.
        """
        await self.cell.fileservers[0].stop()
        done = await self.mount(1, flags=PMOUNT.FORCE | PMOUNT.TAKEOVER)
        self.assertEqual((done.state, done.text), (VOPS.DONE, b""))
        self.assertIn(VSTEP.ADDRESS, [step.step for step in done.steps])
        self.assertEqual(self.told.read_text(), f"add {self.address}\n")
        await self.old.FetchStatus(self.root)
        await self.refused(self.old.FetchStatus(AFSFid(self.volume + 99, 1, 1)), VolumeError.VNOVOL)
        registered = await self.vl.GetAddrsU(ListAddrByAttributes(Mask=VLADDR_UUID, uuid=self.server_uuid(1)))
        self.assertNotIn(int(self.address), registered[3])
        await self.cell.restart(1)
        self.assertEqual(self.told.read_text().split("\n")[1:], [f"remove {self.address}", f"add {self.address}", ""])
        await self.old.FetchStatus(self.root)
        await self.volser(1).EndTakeover(int(self.address), PartitionRequest(uuid4()))
        self.assertEqual(self.told.read_text().split("\n")[3:], [f"remove {self.address}", ""])
        await self.refused(self.volser(1).EndTakeover(int(self.address), PartitionRequest(uuid4())), ENOENT)

    async def refused(self, call: Coroutine[Any, Any, Any], code: int) -> None:
        """The call ends with this code."""
        with self.assertRaises(Abort) as refusal:
            await call
        self.assertEqual(refusal.exception.code, code)

    async def test_a_live_server(self) -> None:
        """An address that is in use is not taken, and the reason is said; the partition is."""
        done = await self.mount(1, flags=PMOUNT.FORCE | PMOUNT.TAKEOVER)
        self.assertEqual(done.state, VOPS.FAILED)
        self.assertIn(str(self.address).encode(), done.text)
        self.assertEqual(self.told.read_text(), f"add {self.address}\nremove {self.address}\n")
        self.assertEqual((await self.volser(1).GetPartition(self.uuid)).state, PSTATE.MOUNTED)


class Failures(MoveCase):
    """What does not."""

    async def test_target_cannot(self) -> None:
        """A target that does not know the partition, or where its number is taken, is found out before anything is
        done.
        """
        epoch = self.label().epoch
        await self.volser(1).RemovePartition(self.uuid, PartitionRequest(uuid4()))
        refused = await self.move(0, 1)
        self.assertEqual(refused.state, VOPS.FAILED)
        self.assertEqual((self.label().epoch, await self.state(0)), (epoch, PSTATE.MOUNTED))
        self.assertEqual(await self.client.read_file("/file"), b"content")

    async def test_vlserver_gone(self) -> None:
        """Without a vlserver the hand-over fails, and the source goes on."""
        self.refuse(0, "release")
        failed = await self.move(0, 1)
        self.assertEqual(failed.state, VOPS.FAILED)
        self.assertIn(b"release fails", failed.text)
        self.assertEqual((await self.state(0), await self.state(1)), (PSTATE.MOUNTED, PSTATE.RELEASED))
        self.assertEqual(await self.client.read_file("/file"), b"content")

    async def test_label_not_released(self) -> None:
        """What fails while the label is still ours does not leave us to wait for our own lock: the source goes on."""

        def full(*_: object) -> None:
            raise OSError(ENOSPC, "No space left on device")

        self.patch(move, "leave_listing", full)
        failed = await self.move(0, 1)
        self.assertEqual((failed.state, await self.state(0)), (VOPS.FAILED, PSTATE.MOUNTED))
        self.assertIn(b"No space left", failed.text)
        self.assertEqual(await self.client.read_file("/file"), b"content")

    async def test_target_fails(self) -> None:
        """A target that could not take what it was given: the source claims it back and serves."""
        self.refuse(1, "_mounting")
        failed = await self.move(0, 1)
        self.assertEqual(failed.state, VOPS.FAILED)
        self.assertIn(b"could not take it", failed.text)
        self.assertEqual((await self.state(0), await self.state(1)), (PSTATE.MOUNTED, PSTATE.RELEASED))
        self.assertEqual((await self.vl.GetPartition(self.uuid)).owner.uuid, self.server_uuid(0))
        self.assertEqual(await self.client.read_file("/file"), b"content")
