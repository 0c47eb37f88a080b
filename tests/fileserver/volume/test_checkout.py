"""Volumes in the hands of the volume server."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from afs.errors import VolumeError
from fileserver.volume.checkout import Checkout, Mode
from fileserver.volume.fsa import VolumeState
from fileserver.volume.interfaces import HELD_CALLS, HOLD_LIMIT
from rx.errors import Abort
from tests.fileserver.volume.support import VOLUME, Base, Server, use


class CheckingOut(Base):
    def out(self, server: Server, mode: Mode) -> Checkout:
        return self.run_now(server.registry.check_out(VOLUME, 0, mode))

    def test_what_clients_see(self) -> None:
        """Clients keep the volume, or find it busy or offline, as the mode and the kind of volume say; then have it
        again.
        """
        expected = {
            (Mode.READONLY, 0): 0,
            (Mode.PEEK, 0): 0,
            (Mode.CLONE, 0): VolumeError.VBUSY,
            (Mode.DUMP, 0): VolumeError.VBUSY,
            (Mode.VOLUPD, 0): VolumeError.VOFFLINE,
            (Mode.SECRETLY, 0): VolumeError.VOFFLINE,
            (Mode.CLONE, 1): 0,
            (Mode.DUMP, 2): 0,
            (Mode.VOLUPD, 1): VolumeError.VOFFLINE,
        }
        for (mode, kind), code in expected.items():
            server = self.started(type=kind)
            self.run_now(use(server))
            checkout = self.out(server, mode)
            if code:
                self.assertEqual(self.refused(use(server)), code, (mode, kind))
            else:
                self.run_now(use(server))
            self.run_now(checkout.give_back())
            self.run_now(use(server))
            self.assertEqual((server.volume().users, server.volume().special_status), (0, 0))

    def test_waits_for_users(self) -> None:
        """A volume is handed over when the calls on it have finished."""
        server = self.started()
        gate: Deferred[None] = Deferred()

        async def slow() -> None:
            async with server.registry.use(VOLUME):
                await gate

        running = ensureDeferred(slow())
        taking = ensureDeferred(server.registry.check_out(VOLUME, 0, Mode.VOLUPD))
        self.assertNoResult(taking)
        gate.callback(None)
        self.successResultOf(running)
        self.successResultOf(taking)

    def test_destroyed(self) -> None:
        """A destroyed volume is gone from the disk, and VNOVOL."""
        server = self.started()
        checkout = self.out(server, Mode.VOLUPD)
        self.run_now(checkout.destroy())
        self.run_now(checkout.give_back())
        server.registry.forget(checkout.volume)
        self.assertEqual(self.refused(use(server)), VolumeError.VNOVOL)
        self.assertEqual(server.disk.volumes, {})
        self.assertEqual(server.broken, [VOLUME])

    def test_unclean(self) -> None:
        """The volume server, too, gets a recovered volume after a crash."""
        server = self.started()
        self.run_now(use(server))
        server = self.run_now(server.crash())
        checkout = self.out(server, Mode.VOLUPD)
        self.assertEqual((checkout.header.in_use, checkout.header.file_count), (0, 1))


class Holding(Base):
    """A volume that is busy with a clone."""

    def busy(self) -> tuple[Server, Clock, Checkout]:
        server = self.started()
        server.registry.surroundings.clock = clock = Clock()
        return server, clock, self.run_now(server.registry.check_out(VOLUME, 0, Mode.CLONE))

    def test_calls_are_held(self) -> None:
        """A call waits for the clone to finish and is then served, as if nothing had been."""
        server, _, checkout = self.busy()
        call = ensureDeferred(use(server))
        self.assertNoResult(call)
        self.run_now(checkout.give_back())
        self.assertEqual(self.successResultOf(call), VolumeState.ATTACHED)

    def test_not_for_ever(self) -> None:
        """A call that waited for HOLD_LIMIT is told VBUSY."""
        server, clock, _ = self.busy()
        call = ensureDeferred(use(server))
        clock.advance(HOLD_LIMIT)
        self.assertEqual(self.failureResultOf(call, Abort).value.code, VolumeError.VBUSY)

    def test_not_too_many(self) -> None:
        """Only so many calls are held; the next is told VBUSY at once."""
        server, _, checkout = self.busy()
        calls = [ensureDeferred(use(server)) for _ in range(HELD_CALLS)]
        self.assertEqual(self.refused(use(server)), VolumeError.VBUSY)
        self.run_now(checkout.give_back())
        for call in calls:
            self.successResultOf(call)

    def test_offline_is_not_busy(self) -> None:
        """A volume an administrator has taken offline is refused at once."""
        server = self.started()
        server.registry.surroundings.clock = Clock()
        self.run_now(server.registry.check_out(VOLUME, 0, Mode.VOLUPD))
        self.assertEqual(self.refused(use(server)), VolumeError.VOFFLINE)
