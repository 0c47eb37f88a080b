"""Rename, corner by corner."""

from __future__ import annotations

import errno

from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.procedures.renames import WOULD_LOOP
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, World, key


class Rename(World):
    def rename(self, old: AFSFid, old_name: bytes, new: AFSFid, new_name: bytes) -> tuple[int, int]:
        """Carried out by machine 1; the data versions of both directories afterwards."""
        first, second, _ = self.run_now(self.on(1).Rename(old, old_name, new, new_name))
        return first.DataVersion, second.DataVersion

    def listing(self, directory: AFSFid) -> dict[bytes, tuple[int, int]]:
        volume = self.registry.find(VOLUME)
        assert volume is not None

        async def entries() -> dict[bytes, tuple[int, int]]:
            async with volume.shared(directory) as vn:
                return {name: (vnode, unique) for name, vnode, unique in (await vn.directory()).entries()}

        return self.run_now(entries())

    def test_in_one_directory(self) -> None:
        """The name changes, the file does not, and the directory's version rises by one."""
        fid = self.create(b"f", content=b"data")
        self.assertEqual(self.rename(ROOT, b"f", ROOT, b"g"), (3, 3))
        self.assertEqual(self.listing(ROOT)[b"g"], (fid.Vnode, fid.Unique))
        self.assertNotIn(b"f", self.listing(ROOT))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(fid))[0].DataVersion, 1)

    def test_a_file_to_another_directory(self) -> None:
        """The file's rights are then its new directory's, and its status names that as parent."""
        directory, fid = self.mkdir(), self.create(b"f")
        self.assertEqual(self.rename(ROOT, b"f", directory, b"g"), (4, 1))
        status = self.run_now(self.on(1).FetchStatus(fid))[0]
        self.assertEqual((status.ParentVnode, status.ParentUnique), (directory.Vnode, directory.Unique))
        self.set_acl({"alice": "rl"}, fid=directory)
        self.refused(errno.EACCES, self.on(1, "bob").FetchStatus(fid))

    def test_a_directory_to_another_directory(self) -> None:
        """Its `..` follows, and both directories' link counts."""
        new, moved = self.mkdir(b"new"), self.mkdir(b"moved")
        inner = self.mkdir(b"inner", directory=moved)
        old_status, new_status, _ = self.run_now(self.on(1).Rename(ROOT, b"moved", new, b"here"))
        self.assertEqual((old_status.LinkCount, new_status.LinkCount), (3, 3))
        self.assertEqual(self.listing(moved)[b".."], (new.Vnode, new.Unique))
        self.assertEqual(self.listing(moved)[b"inner"], (inner.Vnode, inner.Unique))
        self.assertEqual(self.run_now(self.on(1).FetchStatus(moved))[0].DataVersion, 2)
        self.run_now(self.on(1).Rename(new, b"here", ROOT, b"back"))
        self.assertEqual(self.listing(moved)[b".."], (1, 1))
        self.run_now(self.on(1).RemoveDir(ROOT, b"new"))

    def test_over_a_file(self) -> None:
        """What the new name led to is gone, with its blocks; a file with another name lives on under that."""
        fid, victim = self.create(b"f", content=b"new"), self.create(b"g", content=b"old" * 1000)
        self.rename(ROOT, b"f", ROOT, b"g")
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(victim))
        self.assertEqual(self.registry.find(VOLUME).header.disk_used, 3)  # type: ignore[union-attr]
        linked = self.create(b"h")
        self.run_now(self.on(1).Link(ROOT, b"other", linked))
        self.rename(ROOT, b"g", ROOT, b"h")
        self.assertEqual(self.run_now(self.on(1).FetchStatus(linked))[0].LinkCount, 1)
        self.assertEqual(self.listing(ROOT)[b"h"], (fid.Vnode, fid.Unique))

    def test_over_an_empty_directory(self) -> None:
        """It is gone, and so is the link its `..` gave."""
        moved, victim = self.mkdir(b"a"), self.mkdir(b"b")
        _, status, _ = self.run_now(self.on(1).Rename(ROOT, b"a", ROOT, b"b"))
        self.assertEqual(status.LinkCount, 3)
        self.refused(VolumeError.VNOVNODE, self.on(1).FetchStatus(victim))
        self.assertEqual(self.listing(ROOT)[b"b"], (moved.Vnode, moved.Unique))
        self.assertEqual(self.registry.find(VOLUME).header.disk_used, 4)  # type: ignore[union-attr]

    def test_refused(self) -> None:
        """What each impossible rename is refused with; the tree is as before."""
        directory = self.mkdir(b"d")
        inner = self.mkdir(b"inner", directory=directory)
        full = self.mkdir(b"full")
        self.create(b"x", directory=full)
        self.create(b"f")
        self.run_now(self.on(1).Link(ROOT, b"twin", self.create(b"linked")))
        before = self.listing(ROOT), self.listing(directory), self.listing(full)
        other = AFSFid(101, 1, 1)
        for old, old_name, new, new_name, code in [
            (ROOT, b"f", other, b"f", errno.EXDEV),
            (ROOT, b"none", ROOT, b"g", errno.ENOENT),
            (ROOT, b"f", ROOT, b"a/b", errno.EINVAL),
            (ROOT, b"f", ROOT, b"x@sys", errno.EINVAL),
            (ROOT, b".", ROOT, b"g", errno.EINVAL),
            (ROOT, b"f", ROOT, b"..", errno.EINVAL),
            (ROOT, b"", ROOT, b"g", errno.EINVAL),
            (ROOT, b"f", ROOT, b"", errno.EINVAL),
            (ROOT, b"f", ROOT, b"f", errno.EINVAL),
            (ROOT, b"linked", ROOT, b"twin", errno.EINVAL),
            (ROOT, b"linked", directory, b"x", errno.EXDEV),
            (ROOT, b"d", directory, b"x", WOULD_LOOP),
            (ROOT, b"d", inner, b"x", WOULD_LOOP),
            (directory, b"inner", ROOT, b"d", errno.EINVAL),
            (ROOT, b"f", ROOT, b"d", errno.EISDIR),
            (ROOT, b"d", ROOT, b"f", errno.ENOTDIR),
            (ROOT, b"d", ROOT, b"full", errno.EEXIST),
        ]:
            self.refused(code, self.on(1).Rename(old, old_name, new, new_name))
        self.assertEqual((self.listing(ROOT), self.listing(directory), self.listing(full)), before)

    def test_a_linked_file_may_change_its_name_in_place(self) -> None:
        """Hard links only stop a file from leaving its directory."""
        self.run_now(self.on(1).Link(ROOT, b"twin", self.create(b"linked")))
        self.rename(ROOT, b"linked", ROOT, b"renamed")

    def test_rights(self) -> None:
        """`d` in the old directory, `i` in the new one, and `d` there too when something is in the way."""
        new = self.mkdir(b"new")
        self.create(b"f")
        self.create(b"g", directory=new)
        for old_rights, new_rights, target, code in [
            ("li", "lidrw", b"x", errno.EACCES),
            ("ld", "ldrw", b"x", errno.EACCES),
            ("ld", "li", b"g", errno.EACCES),
            ("ld", "li", b"x", 0),
        ]:
            self.set_acl({"alice": old_rights})
            self.set_acl({"alice": new_rights}, fid=new)
            work = self.on(1, "alice").Rename(ROOT, b"f", new, target)
            self.run_now(work) if code == 0 else self.refused(code, work)

    def test_who_is_told(self) -> None:
        """Both directories; and, the caller included, for a directory with a new parent and a file that lost a name."""
        new, moved, file = self.mkdir(b"new"), self.mkdir(b"moved"), self.create(b"f")
        victim = self.create(b"x", directory=new)
        self.run_now(self.on(1).Link(new, b"twin", victim))
        for machine in (1, 2):
            for fid in (ROOT, new, moved, file, victim):
                self.watch(fid, machine)
        self.rename(ROOT, b"moved", new, b"moved")
        self.assertEqual(self.heard(1), [key(moved)])
        self.assertEqual(self.heard(2), sorted([key(ROOT), key(new), key(moved)]))
        self.rename(ROOT, b"f", new, b"x")
        self.assertEqual(self.heard(1), [key(victim)])
        self.assertEqual(self.heard(2), [key(victim)])

    def test_two_directories_cannot_swallow_each_other(self) -> None:
        """Two renames that would make a circle between them, at once on a slow disk: one is refused."""
        first, second = self.mkdir(b"a"), self.mkdir(b"b")
        gate: list[Deferred[None]] = []

        async def slow(operation: str, volume_id: int, number: int) -> None:
            if operation == "write":
                gate.append(Deferred())
                await gate[-1]

        self.partition.disk.fault = slow
        moves = [
            ensureDeferred(self.on(1).Rename(ROOT, b"a", second, b"a")),
            ensureDeferred(self.on(2).Rename(ROOT, b"b", first, b"b")),
        ]
        while gate:
            gate.pop(0).callback(None)
        self.successResultOf(moves[0])
        failure = self.failureResultOf(moves[1])
        self.assertEqual(failure.value.code, WOULD_LOOP)
        self.assertEqual(self.listing(second)[b"a"], (first.Vnode, first.Unique))

    def test_the_tree_changes_while_it_is_looked_up(self) -> None:
        """A name that leads elsewhere by the time the locks are there is looked up again."""
        self.create(b"f", content=b"first")
        other = self.create(b"g", content=b"second")
        gates: list[Deferred[None]] = []

        async def slow(operation: str, volume_id: int, number: int) -> None:
            if operation == "write" and not gates:
                gates.append(Deferred())
                await gates[0]

        self.partition.disk.fault = slow
        first = ensureDeferred(self.on(1).Rename(ROOT, b"g", ROOT, b"f"))
        second = ensureDeferred(self.on(2).Rename(ROOT, b"f", ROOT, b"h"))
        self.assertNoResult(second)
        gates[0].callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.listing(ROOT)[b"h"], (other.Vnode, other.Unique))
        self.assertEqual(self.run_now(self.on(1).CreateFile(ROOT, b"f", NOTHING))[1].LinkCount, 1)
