"""Calls that change something and are refused all the same: others learn of the change as if they had succeeded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from afs.client import store_status
from afs.errors import VolumeError
from fileserver.interfaces import Fenced, OursAlone
from tests.fileserver.procedures.support import NOTHING, ROOT, World, key


class Lost(OursAlone):
    """Of a partition that another server takes."""

    lost = False

    def check(self) -> None:
        if self.lost:
            raise Fenced("it is another's")

    def settled(self) -> Deferred[bool]:
        return succeed(not self.lost)


class BrokenOff(World):
    """The partition is lost between the change and the answer."""

    def setUp(self) -> None:
        super().setUp()
        self.ownership = Lost()
        self.partition.ownership = self.ownership
        self.create(b"old")

    def change(self, make: Callable[[], Awaitable[Any]]) -> None:
        async def fault(operation: str, volume_id: int, number: int) -> None:
            self.ownership.lost |= operation == "write_vnode" and number == ROOT.Vnode

        self.watch(ROOT)
        self.partition.disk.fault = fault
        self.refused(VolumeError.VNOVOL, make())
        self.assertEqual(self.heard(), [key(ROOT)])
        self.assertEqual([host.telling for host in self.server.hosts], [0] * len(self.server.hosts))

    def test_create(self) -> None:
        """A name more."""
        self.change(lambda: self.on(1).CreateFile(ROOT, b"new", NOTHING))

    def test_remove(self) -> None:
        """A name less."""
        self.change(lambda: self.on(1).RemoveFile(ROOT, b"old"))

    def test_rename(self) -> None:
        """Another name."""
        self.change(lambda: self.on(1).Rename(ROOT, b"old", ROOT, b"new"))

    def test_status(self) -> None:
        """Another mode."""
        self.change(lambda: self.on(9, "admin").StoreStatus(ROOT, store_status(mode=0o700)))

    def test_access_list(self) -> None:
        """Other rights."""
        text = self.run_now(self.list_of(self.acl).to_text(self.names))
        self.change(lambda: self.on(9, "admin").StoreACL(ROOT, text))
