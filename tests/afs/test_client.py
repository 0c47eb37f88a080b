"""The client's ways through a cell: paths, mount points, links, and servers that are silent or wrong."""

import errno
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from afs.client import format_acl_text, parse_acl_text, store_status
from afs.errors import UnifiedError, VLError, VolumeError
from afs.paths import MountPoint, components, split_parent
from afs.types import AFS_SETGROUP, AFS_SETMODE, DIRECTORY, SYMLINK, AFSFid
from rx.errors import Abort, CallLost
from rx.streams import Buffer
from tests.afs.fakes import FakeClient, FakeEntry, FakeFileServer, FakeVL, FakeVolume

VLSERVER = ("10.0.0.1", 7003)
FIRST, SECOND = ("10.0.0.3", 7000), ("10.0.0.4", 7000)
ROOT_AFS, ROOT_AFS_RO, ROOT_CELL, ROOT_CELL_RO, USER = 1, 2, 4, 5, 7


class Cell:
    """root.afs and root.cell, each with a read-only clone, and user.alice without."""

    def __init__(self) -> None:
        self.volumes = {volume_id: FakeVolume.make(volume_id) for volume_id in (1, 2, 4, 5, 7)}
        for volume_id in (ROOT_AFS, ROOT_AFS_RO):
            self.mount(volume_id, "a.test", b"root.cell")
            self.mount(volume_id, ".a.test", b"root.cell", readwrite=True)
        for volume_id in (ROOT_CELL, ROOT_CELL_RO):
            self.volumes[volume_id].add("user", kind=DIRECTORY)
            self.mount(volume_id, "user/alice", b"user.alice")
        user = self.volumes[USER]
        self.file = user.add("file", b"content of the file")
        user.add("dir", kind=DIRECTORY)
        user.add("dir/relative", b"../file", SYMLINK, 0o777)
        user.add("dir/absolute", b"/afs/a.test/user/alice/file", SYMLINK, 0o777)
        user.add("dir/up", b"..", SYMLINK, 0o777)
        user.add("loop", b"loop", SYMLINK, 0o777)
        user.add("dangling", b"nowhere", SYMLINK, 0o777)
        user.add("hash", b"#not.mounted.", SYMLINK, 0o777)
        self.first = FakeFileServer(list(self.volumes.values()))
        self.second = FakeFileServer([self.volumes[ROOT_AFS_RO]])
        self.vl = FakeVL(
            [
                FakeEntry(b"root.afs", ROOT_AFS, FIRST[0], ROOT_AFS_RO, (FIRST[0], SECOND[0])),
                FakeEntry(b"root.cell", ROOT_CELL, FIRST[0], ROOT_CELL_RO, (FIRST[0],)),
                FakeEntry(b"user.alice", USER, FIRST[0]),
            ]
        )
        self.client = FakeClient({VLSERVER: self.vl, FIRST: self.first, SECOND: self.second})

    def mount(self, volume_id: int, path: str, name: bytes, readwrite: bool = False) -> None:
        self.volumes[volume_id].add(path, MountPoint(name, readwrite).content(), SYMLINK, 0o644)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.cell = Cell()
        self.client = self.cell.client

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(ensureDeferred(coroutine))

    def refused(self, coroutine: Any) -> int:
        code: int = self.failureResultOf(ensureDeferred(coroutine), Abort).value.code
        return code


class PathTests(Case):
    """Paths."""

    def test_through_mount_points(self) -> None:
        """A path leads through mount points to a file of another volume."""
        self.assertEqual(self.result(self.client.read_file("/afs/a.test/user/alice/file")), b"content of the file")
        self.assertEqual(self.result(self.client.resolve("a.test//user/./alice/file")), self.cell.file)

    def test_readonly(self) -> None:
        """From a read-only volume into read-only clones, unless the mount point wants the volume itself."""
        for path, volume in (
            ("/", ROOT_AFS_RO),
            ("/afs/a.test", ROOT_CELL_RO),
            ("/afs/.a.test", ROOT_CELL),
            ("/afs/a.test/user/alice", USER),
        ):
            self.assertEqual(self.result(self.client.resolve(path)), AFSFid(volume, 1, 1), path)

    def test_parent(self) -> None:
        """`..` leads back the way one came, across mount points, and stops at the root."""
        for path, volume in (
            ("/afs/a.test/user/alice/../../..", ROOT_AFS_RO),
            ("/afs/a.test/user/alice/dir/../../../../.a.test", ROOT_CELL),
            ("/../../a.test", ROOT_CELL_RO),
        ):
            self.assertEqual(self.result(self.client.resolve(path)), AFSFid(volume, 1, 1), path)

    def test_links(self) -> None:
        """Symbolic links are followed, relative to where they are or from the root."""
        for name in ("relative", "absolute", "up/file", "up/dir/relative"):
            found = self.result(self.client.resolve(f"/afs/a.test/user/alice/dir/{name}"))
            self.assertEqual(found, self.cell.file, name)

    def test_not_followed(self) -> None:
        """At the end of a path a link or mount point may be asked for itself."""
        self.assertEqual(self.result(self.client.read_link("/afs/a.test/user/alice/dir/relative")), b"../file")
        self.assertEqual(self.result(self.client.read_link("/afs/a.test/user/alice")), b"#user.alice.")

    def test_looks_like_mount_point(self) -> None:
        """A link with execute bits is no mount point, whatever it contains."""
        self.assertEqual(self.refused(self.client.resolve("/afs/a.test/user/alice/hash")), errno.ENOENT)

    def test_refused(self) -> None:
        """What is missing, no directory, or a loop has its code."""
        for path, code in (
            ("nothing", errno.ENOENT),
            ("dangling", errno.ENOENT),
            ("file/below", errno.ENOTDIR),
            ("loop", errno.ELOOP),
        ):
            self.assertEqual(self.refused(self.client.resolve(f"/afs/a.test/user/alice/{path}")), code, path)

    def test_parts(self) -> None:
        """Empty names and `.` lead nowhere; a path's last name must be one."""
        self.assertEqual(components("/afs//x/./y/"), [b"x", b"y"])
        self.assertEqual(components("afs/x"), [b"afs", b"x"])
        self.assertEqual(components("/afsx"), [b"afsx"])
        self.assertEqual(split_parent("/a/b/"), ("/a", b"b"))
        for path in ("/", "", "/a/..", "/a/."):
            self.assertEqual(self.assertRaises(Abort, split_parent, path).code, errno.EINVAL, path)

    def test_mount_point_content(self) -> None:
        """Mount points are read as they are written; the last byte is filler."""
        for mount_point in (MountPoint(b"v"), MountPoint(b"v", True), MountPoint(b"v.w", True, b"b.test")):
            self.assertEqual(MountPoint.parse(mount_point.content(), 0o644), mount_point)
        self.assertIsNone(MountPoint.parse(b"#.", 0o644))
        self.assertIsNone(MountPoint.parse(b"name", 0o644))


class ServerTests(Case):
    """Servers."""

    def test_lookup_kept(self) -> None:
        """The location service is asked once for a volume."""
        self.result(self.client.status("/afs/a.test"))
        lookups = self.cell.vl.lookups
        self.result(self.client.status("/afs/a.test"))
        self.assertEqual(self.cell.vl.lookups, lookups)

    def test_silent(self) -> None:
        """Where a server of a replicated volume is silent the next one is asked; the last one's silence is the end."""
        del self.client.servers[FIRST]
        self.result(self.client.list_directory("/"))
        self.assertGreater(self.cell.second.calls, 0)
        self.failureResultOf(ensureDeferred(self.client.status("/afs/a.test")), CallLost)

    def test_stream_once(self) -> None:
        """What a sink was given cannot be taken back, so a stream comes from one server or from none."""
        del self.client.servers[FIRST]
        root = AFSFid(ROOT_AFS_RO, 1, 1)
        self.failureResultOf(ensureDeferred(self.client.fetch(root, Buffer(), 0, 10)), CallLost)
        self.assertEqual(len(self.result(self.client.read_file(root, 0, 10))), 10)

    def test_moved(self) -> None:
        """A volume that is not where it was is looked up once more, and found where it is now."""
        self.result(self.client.status(self.cell.file))
        self.cell.first.refuse[USER] = VolumeError.VMOVED
        self.cell.second.volumes[USER] = self.cell.volumes[USER]
        self.cell.vl.entries[2].readwrite_at = SECOND[0]
        self.result(self.client.status(self.cell.file))
        self.assertEqual(self.cell.second.calls, 1)

    def test_gone(self) -> None:
        """A volume that is nowhere is refused, after two tries."""
        self.result(self.client.status(self.cell.file))
        calls = self.cell.first.calls
        self.cell.first.refuse[USER] = VolumeError.VNOVOL
        self.assertEqual(self.refused(self.client.status(self.cell.file)), VolumeError.VNOVOL)
        self.assertEqual(self.cell.first.calls, calls + 2)

    def test_unknown(self) -> None:
        """A volume without an entry is VL_NOENT."""
        self.assertEqual(self.refused(self.client.status(AFSFid(99, 1, 1))), VLError.VL_NOENT)
        self.assertEqual(self.refused(self.client.locator.volume_id(b"user.alice.readonly")), VLError.VL_NOENT)

    def test_unified(self) -> None:
        """Unified errors are read as errnos, volume package codes as they are."""
        for code, expected in ((UnifiedError.UAEACCES, errno.EACCES), (errno.EACCES, errno.EACCES), (109, 109)):
            self.cell.first.refuse[USER] = code
            self.assertEqual(self.refused(self.client.status(self.cell.file)), expected)


class TextTests(SynchronousTestCase):
    """Arguments that the client makes."""

    def test_access_list(self) -> None:
        """An access list is written as StoreACL takes it and read as FetchACL gives it, the highest right too."""
        granted, denied = {"system:anyuser": 9, "alice": 0x8000_0000}, {"bob": 2}
        text = format_acl_text({"system:anyuser": "read", "alice": "H"}, {"bob": "w"})
        self.assertEqual(text, b"2\n1\nsystem:anyuser\t9\nalice\t-2147483648\nbob\t2\n\0")
        self.assertEqual(parse_acl_text(text), (granted, denied))

    def test_store_status(self) -> None:
        """The mask has a bit for what is given, zero included."""
        wanted = store_status(mode=0, group=5)
        self.assertEqual((wanted.Mask, wanted.UnixModeBits, wanted.Group), (AFS_SETMODE | AFS_SETGROUP, 0, 5))
