"""What becomes of calls for a partition that was unmounted a moment ago."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolumeError
from afs.types import DIRECTORY, AFSFetchStatus, AFSFid
from fileserver.partitions import lingering
from fileserver.volume.registry import Registry
from rx.errors import Abort
from tests.fileserver.partitions.test_move import MoveCase

LONG_SECONDS = 60.0
"""Longer than any test takes: nothing but what the test does ends the waiting."""


class LingeringTests(MoveCase):
    """A client knows the partition at the first of two servers, where it is unmounted."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(lingering, "LINGER_SECONDS", LONG_SECONDS)
        self.fid = AFSFid(self.volume, 1, 1)

    async def asked(self) -> Deferred[AFSFetchStatus]:
        """A call that waits at the first server, once it waits."""
        client = self.cell.client()
        holds = self.registry.holds
        before = holds.held
        call = ensureDeferred(client.status(self.fid))
        while holds.held == before:
            assert not call.called, "the call did not wait"
            await self._turn()
        return call

    async def _turn(self) -> None:
        """Let the reactor work."""
        turned: Deferred[None] = Deferred()
        reactor.callLater(0, turned.callback, None)
        await turned

    @property
    def registry(self) -> Registry:
        partitions = self.cell.fileservers[0].service.partitions
        assert partitions is not None
        return partitions.means.registry

    async def code(self, call: Deferred[AFSFetchStatus]) -> int:
        with self.assertRaises(Abort) as refused:
            await call
        return int(refused.exception.code)

    async def test_back_here(self) -> None:
        """Mounted here again, it answers the calls that came meanwhile."""
        await self.unmount(0)
        call = await self.asked()
        await self.mount(0)
        self.assertEqual((await call).FileType, DIRECTORY)

    async def test_elsewhere(self) -> None:
        """Mounted on another server, and served there, its callers find it there."""
        await self.unmount(0)
        call = await self.asked()
        await self.mount(1)
        self.assertEqual((await call).FileType, DIRECTORY)

    async def test_nowhere(self) -> None:
        """Mounted nowhere, it is refused after a time, and then at once."""
        self.patch(lingering, "LINGER_SECONDS", 2 * lingering.LOOK_SECONDS)
        await self.unmount(0)
        self.assertEqual(await self.code(await self.asked()), VolumeError.VNOVOL)
        self.assertEqual(await self.code(ensureDeferred(self.cell.client().status(self.fid))), VolumeError.VNOVOL)

    async def test_silent_vlserver(self) -> None:
        """A vlserver that does not answer keeps nobody waiting longer."""
        self.patch(lingering, "LINGER_SECONDS", 2 * lingering.LOOK_SECONDS)
        await self.unmount(0)
        call = await self.asked()
        silence: Deferred[None] = Deferred()
        partitions = self.cell.fileservers[0].service.partitions
        assert partitions is not None
        self.patch(partitions.means.vldb, "get", lambda _: silence)
        self.assertEqual(await self.code(call), VolumeError.VNOVOL)

    async def test_end_of_server(self) -> None:
        """A server that ends keeps nobody waiting."""
        await self.unmount(0)
        call = await self.asked()
        await self.cell.restart(0)
        self.assertIn(await self.code(call), (VolumeError.VNOVOL, VolumeError.VRESTARTING))
