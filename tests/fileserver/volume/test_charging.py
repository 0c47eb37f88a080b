"""Quota and partition space."""

from __future__ import annotations

from afs.errors import VolumeError
from rx.errors import Abort
from tests.fileserver.volume.support import Base, Server, use


class Charging(Base):
    def charge(self, server: Server, blocks: int, spare: int = 0) -> int:
        try:
            server.volume().charge(blocks, spare=spare)
        except Abort as refusal:
            return refusal.code
        return 0

    def test_quota(self) -> None:
        """Up to the quota; `spare` over it; without limit where it is 0; shrinking always."""
        server = self.started(max_quota=10)
        self.run_now(use(server))
        self.assertEqual(self.charge(server, 8), 0)
        self.assertEqual(self.charge(server, 1), VolumeError.VOVERQUOTA)
        self.assertEqual(self.charge(server, 5, spare=5), 0)
        self.assertEqual(server.volume().header.disk_used, 15)
        self.assertEqual(self.charge(server, -1), 0)
        self.assertEqual(self.charge(server, 1), VolumeError.VOVERQUOTA)
        server.volume().header.max_quota = 0
        self.assertEqual(self.charge(server, 10**6), 0)

    def test_partition(self) -> None:
        """A full partition is VDISKFULL, and that is tested first."""
        server = self.started(max_quota=1)
        self.run_now(use(server))
        server.disk.capacity = server.disk.used + 100 * 1024
        self.assertEqual(self.charge(server, 101), VolumeError.VDISKFULL)
        self.assertEqual(self.charge(server, 100), VolumeError.VOVERQUOTA)
        self.assertEqual(server.volume().header.disk_used, 2)
