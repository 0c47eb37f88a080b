"""What an operator decides: who may write at all, by how much over quota, and what administrators may everywhere."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from afs.acl import parse_rights
from afs.errors import VolumeError
from afs.rpc.fs import AFSStoreVolumeStatus
from fileserver.procedures.base import CHANGES
from fileserver.rules import SPARE_BLOCKS, Rules
from fileserver.volume.interfaces import HoldLimits
from fileserver.volume.offline import take_offline
from rx.errors import Abort
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, Pieces, World

READS = {"FetchData", "FetchData64", "FetchStatus", "FetchACL", "BulkStatus", "InlineBulkStatus", "GetVolumeStatus"}


class Ruled(World):
    def rule(self, **changed: Any) -> None:
        self.server.rules = replace(Rules(), **changed)


class Readonly(Ruled):
    def changes(self, user: str = "") -> list[Any]:
        on, text = self.on(1, user), b"1\n0\nsystem:anyuser 63\n\0"
        fid = self.fid
        return [
            on.StoreData(fid, NOTHING, 0, 1, 1, Pieces(b"x")),
            on.StoreData64(fid, NOTHING, 0, 1, 1, Pieces(b"x")),
            on.StoreStatus(fid, NOTHING),
            on.StoreACL(ROOT, text),
            on.OldStoreACL(ROOT, text),
            on.SetVolumeStatus(VOLUME, AFSStoreVolumeStatus(), b"", b"", b""),
            on.CreateFile(ROOT, b"c", NOTHING),
            on.MakeDir(ROOT, b"m", NOTHING),
            on.Symlink(ROOT, b"s", b"target", replace(NOTHING, Mask=8, UnixModeBits=0o755)),
            on.Link(ROOT, b"l", fid),
            on.Rename(ROOT, b"l", ROOT, b"r"),
            on.RemoveFile(ROOT, b"r"),
            on.RemoveDir(ROOT, b"d"),
        ]

    def setUp(self) -> None:
        super().setUp()
        self.fid = self.create(b"f", content=b"hello")
        self.mkdir(b"d")

    def test_nobody_writes(self) -> None:
        """Every call that writes is refused with EROFS, an administrator's too; reading goes on."""
        self.rule(readonly=True)
        for user in ("", "admin"):
            work = self.changes(user)
            self.assertEqual({each.__qualname__.rpartition(".")[2] for each in work}, {*CHANGES})
            for each in work:
                self.refused(errno.EROFS, each)
        self.assertEqual(self.fetch(self.fid), b"hello")

    def test_administrators_write(self) -> None:
        """With admin-write theirs alone is not refused."""
        self.rule(readonly=True, admin_write=True)
        self.refused(errno.EROFS, self.on(1).MakeDir(ROOT, b"x", NOTHING))
        for each in self.changes("admin"):
            self.run_now(each)

    def test_every_rpc_has_been_thought_of(self) -> None:
        """Each RPC that is no reading of files writes, or is about locks, promises, the server, or nothing at all."""
        others = {"SetLock", "ExtendLock", "ReleaseLock", "OldSetLock", "OldExtendLock", "OldReleaseLock"}
        names = {operation.name for operation in type(self.on(1)).operations.values()}
        rest = names - CHANGES - READS - others
        self.assertFalse([name for name in rest if name.startswith(("Store", "Create", "Make", "Remove", "Link"))])


class Amounts(Ruled):
    def over(self, blocks: int) -> None:
        """Store so many KiB beyond a quota of 100."""
        size = (100 - 2 + blocks) * 1024
        fid = self.create(b"f%d" % blocks)
        try:
            self.run_now(self.on(1).StoreData64(fid, NOTHING, size - 1, 1, size, Pieces(b"x")))
        finally:
            self.run_now(self.on(1).RemoveFile(ROOT, b"f%d" % blocks))

    def test_spare(self) -> None:
        """A store may go over quota by --spare KiB, or by --pctspare of the quota, and by no more."""
        self.run_now(self.on(9, "admin").SetVolumeStatus(VOLUME, AFSStoreVolumeStatus(2, 0, 100), b"", b"", b""))
        for rule, most in (({}, SPARE_BLOCKS), ({"spare": 10}, 10), ({"percent_spare": 50}, 50), ({"spare": 0}, 0)):
            self.rule(**rule)
            self.over(most)
            fid = self.create(b"more")
            size = (100 - 2 + most + 1) * 1024
            work = self.on(1).StoreData64(fid, NOTHING, size - 1, 1, size, Pieces(b"x"))
            self.refused(VolumeError.VOVERQUOTA, work)
            self.run_now(self.on(1).RemoveFile(ROOT, b"more"))

    def test_implicit(self) -> None:
        """What administrators may everywhere is what was said."""
        self.set_acl({})
        for letters in ("l", "rl", ""):
            self.rule(implicit=parse_rights(letters))
            told = self.run_now(self.on(1, "admin").FetchStatus(ROOT))[0].CallerAccess
            self.assertEqual(told, parse_rights(letters))


class GoingOffline(Ruled):
    def offline_while_stored(self, seconds: float | None) -> tuple[Deferred[None], Clock]:
        """A volume on its way offline, and a store whose data does not come."""
        clock = Clock()
        surroundings = self.registry.surroundings
        surroundings.clock = clock
        surroundings.holds = HoldLimits(offline_seconds=seconds)
        fid = self.create()
        self.data: Deferred[None] = Deferred()
        self.begin(self.on(1).StoreData64(fid, NOTHING, 0, 5, 5, Pieces(self.data, b"hello"))).addErrback(
            lambda failure: failure.trap(Abort)
        )
        volume = self.registry.find(VOLUME)
        assert volume is not None
        return self.begin(take_offline(volume)), clock

    def test_in_time(self) -> None:
        """Calls on the volume have so long to end; then they are ended as if they came too late."""
        going, clock = self.offline_while_stored(30.0)
        clock.advance(29)
        self.assertIsNone(self.calls[-1].aborted)
        clock.advance(1)
        self.assertEqual(self.calls[-1].aborted, VolumeError.VOFFLINE)
        self.assertNoResult(going)
        self.data.errback(Abort(VolumeError.VOFFLINE))
        self.successResultOf(going)

    def test_forever(self) -> None:
        """Unless they have all the time they need."""
        going, clock = self.offline_while_stored(None)
        clock.advance(100_000)
        self.assertIsNone(self.calls[-1].aborted)
        self.data.callback(None)
        self.successResultOf(going)
