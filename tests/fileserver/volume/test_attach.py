"""Demand attach: what the first user of a volume meets."""

from __future__ import annotations

from collections.abc import Hashable
from errno import EIO

from twisted.internet.defer import Deferred, ensureDeferred, succeed

from afs.errors import VolumeError
from fileserver.interfaces import Damaged, Fenced, OursAlone
from fileserver.volume.fsa import VolumeState
from fileserver.volume.holding import Holder
from fileserver.volume.volume import Volume
from tests.fileserver.volume.support import VOLUME, Base, use


class Unsure(OursAlone):
    """One of which nothing is known now and then."""

    def __init__(self) -> None:
        self.unsure = self.met = False
        self.answer: Deferred[bool] = Deferred()

    def check(self) -> None:
        if self.unsure:
            raise Fenced("the label was not read")

    def settled(self) -> Deferred[bool]:
        return self.answer


class Attaching(Base):
    def test_first_use_attaches(self) -> None:
        """A volume is only known at first, and attached by its first user."""
        server = self.run_now(self.started().crash())
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)
        self.assertEqual(server.volume().users, 0)

    def test_met_in_vain(self) -> None:
        """A host has not met a volume before it is on record that it does."""
        server = self.started()
        answers: list[Deferred[bool] | None] = [None, succeed(True), succeed(False)]
        known: list[bool] = []
        host = OursAlone()  # any object

        def met(volume: Volume, host: Hashable) -> Deferred[bool] | None:
            known.append(volume.knows(host))
            return answers.pop()

        server.registry.met = met

        async def work() -> bool:
            async with server.registry.use(VOLUME, Holder(host)) as volume:
                return volume.knows(host)

        self.assertTrue(self.run_now(work()))
        self.assertEqual((known, len(answers)), ([False, False], 1))

    def test_start_opens_no_volume(self) -> None:
        """Starting reads names only, however many volumes there are."""
        server = self.started(*range(1, 50))
        touched: list[str] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            touched.append(operation)

        server.disk.fault = fault
        self.run_now(server.crash())
        self.assertEqual(touched, ["volumes"])

    def test_unknown(self) -> None:
        """A volume nobody has is VNOVOL."""
        self.assertEqual(self.refused(use(self.started(), 99)), VolumeError.VNOVOL)

    def test_message(self) -> None:
        """What was said of why a volume was offline is gone when it is served again."""
        server = self.started(offline_message=b"moving house")
        self.run_now(use(server))
        self.assertEqual(server.volume().header.offline_message, b"")

    def test_out_of_service(self) -> None:
        """A volume out of service is VOFFLINE and stays unattached."""
        server = self.started(in_service=False)
        self.assertEqual(self.refused(use(server)), VolumeError.VOFFLINE)
        self.assertEqual(server.volume().state, VolumeState.UNATTACHED)

    def test_not_blessed(self) -> None:
        """A volume not blessed is VNOVOL, and is looked at again next time."""
        server = self.started(blessed=False)
        self.assertEqual(self.refused(use(server)), VolumeError.VNOVOL)
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)

    def test_half_made(self) -> None:
        """A volume whose creation was never finished is VNOVOL."""
        self.assertEqual(self.refused(use(self.started(destroy_me=True))), VolumeError.VNOVOL)

    def test_damaged(self) -> None:
        """A volume that contradicts itself is VSALVAGE and in ERROR; others are served."""
        server = self.started(1, 2)

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "read_header" and volume_id == 1:
                raise Damaged("bad magic")

        server.disk.fault = fault
        self.assertEqual(self.refused(use(server, 1)), VolumeError.VSALVAGE)
        self.assertEqual(server.volume(1).state, VolumeState.ERROR)
        self.assertEqual(self.run_now(use(server, 2)), VolumeState.ATTACHED)
        self.assertEqual(self.refused(use(server, 1)), VolumeError.VSALVAGE)

    def test_marked_for_salvage(self) -> None:
        """A header that asks for a salvage is believed."""
        self.assertEqual(self.refused(use(self.started(needs_salvaged=True))), VolumeError.VSALVAGE)

    def test_a_disk_error_is_not_for_ever(self) -> None:
        """A volume whose disk failed once is tried again at its next use."""
        server = self.started()
        failing = True

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if failing and operation == "open_volume":
                raise OSError(EIO, "I/O error")

        server.disk.fault = fault
        self.assertEqual(self.refused(use(server)), VolumeError.VOFFLINE)
        failing = False
        self.assertEqual(self.run_now(use(server)), VolumeState.ATTACHED)

    def test_unsure_of_the_partition(self) -> None:
        """While it is not known whose the partition is, whoever wants a volume waits, also if that is found out in the
        middle; then it is attached.
        """
        server = self.started()
        ownership = server.partition.ownership = Unsure()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "write_header" and not ownership.met:
                ownership.met = ownership.unsure = True
                raise Fenced("the label was not read")

        server.disk.fault = fault
        user = ensureDeferred(use(server))
        self.assertNoResult(user)
        self.assertEqual(server.volume().state, VolumeState.PREATTACHED)
        ownership.unsure = False
        ownership.answer.callback(True)
        self.assertEqual(self.successResultOf(user), VolumeState.ATTACHED)

    def test_attached_once(self) -> None:
        """Users that come while it is being attached wait for it, and it is opened once."""
        server = self.started()
        gate: Deferred[None] = Deferred()
        opened: list[int] = []

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if operation == "open_volume":
                opened.append(volume_id)
                await gate

        server.disk.fault = fault
        users = [ensureDeferred(use(server)) for _ in range(5)]
        for user in users:
            self.assertNoResult(user)
        gate.callback(None)
        for user in users:
            self.assertEqual(self.successResultOf(user), VolumeState.ATTACHED)
        self.assertEqual(opened, [VOLUME])

    def test_a_slow_volume_holds_up_nobody_else(self) -> None:
        """A volume whose disk does not answer leaves the others alone."""
        server = self.started(1, 2)
        gate: Deferred[None] = Deferred()

        async def fault(operation: str, volume_id: int, number: int) -> None:
            if volume_id == 1:
                await gate

        server.disk.fault = fault
        slow = ensureDeferred(use(server, 1))
        self.assertEqual(self.run_now(use(server, 2)), VolumeState.ATTACHED)
        self.assertNoResult(slow)
        gate.callback(None)
        self.successResultOf(slow)

    def test_needs_callback(self) -> None:
        """A volume changed behind its clients' back tells them when it is attached, once."""
        server = self.started(needs_callback=True)
        self.run_now(use(server))
        self.assertEqual(server.broken, [VOLUME])
        again = self.run_now(server.crash())
        self.run_now(use(again))
        self.assertEqual(again.broken, [])
