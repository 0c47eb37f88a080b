"""AFSVol: Dump and DumpV2, the stream byte by byte."""

from __future__ import annotations

from dataclasses import replace
from struct import pack

from afs.acl import ALL_RIGHTS, SYSADMINID
from afs.errors import VolserError
from afs.rpc.volser import VOLDUMPV2_OMITDIRS, ITBusy
from afs.types import AFSFid
from fileserver.volser.dump import PIECE_SIZE
from fileserver.volume.vn import DIRECTORY, FILE
from rx.streams import Buffer
from tests.fileserver.volser.support import BACKUP, KEEP, VOLUME, Volser
from tests.fileserver.volume.support import make_file

BEGIN = pack(">BII", 1, 0xB3A11322, 1)
END = pack(">BI", 4, 0x3A214B6E)


def vnode(fid: AFSFid) -> bytes:
    """How a vnode begins in a dump, which is all there is of one that did not change."""
    return pack(">BII", 3, fid.Vnode, fid.Unique)


class Dumping(Volser):
    def setUp(self) -> None:
        super().setUp()
        self.create()

    def fill(self, name: bytes, content: bytes = b"", kind: int = FILE) -> AFSFid:
        async def fill() -> AFSFid:
            async with self.server.registry.use(VOLUME) as volume:
                return await make_file(volume, name, content, kind)

        return self.run_now(fill())

    def dump(self, since: int = 0, flags: int = 0, volume_id: int = VOLUME) -> bytes:
        trans = self.begin(volume_id, ITBusy)
        stream = Buffer()
        self.do(self.volser.DumpV2(trans, since, flags, stream))
        size = self.do(self.volser.GetSize(trans, since)).dump_size
        self.do(self.volser.EndTrans(trans))
        if not flags:
            self.assertEqual(size, len(bytes(stream)))
        return bytes(stream)

    def test_new_volume(self) -> None:
        """All of the stream of a new volume, as stock's volserver writes it: 2465 bytes for a name of three letters."""
        now = int(self.server.now)
        header = [
            BEGIN,
            pack(">cI", b"v", VOLUME) + b"nvol\0" + pack(">cHII", b"t", 2, 0, now),
            pack(">BcIcI", 2, b"i", VOLUME, b"v", 1) + b"nvol\0s\1b\1" + pack(">cI", b"u", 2) + b"t\0",
            pack(">cIcI", b"p", VOLUME, b"c", 0) + pack(">cIcI", b"q", 777, b"m", 0),
            pack(">cIcIcIcI", b"d", 2, b"f", 0, b"a", 0, b"o", 0),
            pack(">cIcIcIcIcI", b"C", now, b"A", 0, b"U", now, b"E", 0, b"B", 0),
            b"O\0M\0" + pack(">cH7I", b"W", 7, *(0,) * 7) + pack(">cIcI", b"D", 0, b"Z", 0),
        ]
        access = pack(">5i2i", 28, 1, 1, 1, 0, SYSADMINID, ALL_RIGHTS).ljust(192, b"\0")
        root = [
            pack(">BII", 3, 1, 1) + b"t\2" + pack(">cHcI", b"l", 2, b"v", 1),
            pack(">cIcIcI", b"m", now, b"a", 0, b"o", 0) + pack(">cHcIcI", b"b", 0o777, b"p", 0, b"s", now),
            b"A" + access + pack(">cI", b"f", 2048),
        ]
        stream = self.dump()
        beginning = b"".join(header + root)
        self.assertEqual(stream[: len(beginning)], beginning)
        self.assertEqual(stream[len(beginning) + 2048 :], END)
        self.assertEqual(len(stream), 2465)

    def test_directories_first(self) -> None:
        """Every directory comes before any file, whatever their numbers."""
        file, directory = self.fill(b"file", b"content"), self.fill(b"dir", bytes(2048), DIRECTORY)
        stream = self.dump()
        positions = [stream.index(vnode(fid)) for fid in (AFSFid(VOLUME, 1, 1), directory, file)]
        self.assertEqual(positions, sorted(positions))
        self.assertTrue(stream.endswith(pack(">cI", b"f", 7) + b"content" + END))

    def test_large_content(self) -> None:
        """Content of several pieces is all there, in order."""
        trans = self.begin()
        self.do(self.volser.SetInfo(trans, replace(KEEP, maxquota=0)))
        self.do(self.volser.EndTrans(trans))
        content = b"".join(b"%08d" % number for number in range(3 * PIECE_SIZE // 8 + 5))
        self.fill(b"file", content)
        self.assertTrue(self.dump().endswith(pack(">cI", b"f", len(content)) + content + END))

    def test_incremental(self) -> None:
        """Since a date: what changed then or later, the numbers of the rest, and directories unless told otherwise."""
        old = self.fill(b"old", b"as it was")
        self.server.now += 100
        date = int(self.server.now)
        trans = self.begin()
        self.do(self.volser.EndTrans(trans))
        self.server.now += 100
        stream = self.dump(date)
        self.assertTrue(stream.endswith(vnode(old) + END))
        self.assertIn(vnode(AFSFid(VOLUME, 1, 1)) + b"t\2", stream)
        without = self.dump(date, VOLDUMPV2_OMITDIRS)
        self.assertTrue(without.endswith(vnode(AFSFid(VOLUME, 1, 1)) + vnode(old) + END))
        new = self.fill(b"new", b"changed")
        stream = self.dump(date)
        self.assertIn(vnode(old) + vnode(new) + b"t\1", stream)

    def test_backup(self) -> None:
        """A backup's dump is of the time at which it was made."""
        self.server.now += 50
        self.backup()
        made = int(self.server.now)
        self.server.now += 50
        self.assertIn(pack(">cHII", b"t", 2, 0, made), self.dump(volume_id=BACKUP))

    def test_other_length(self) -> None:
        """A file that is not as long as its record says ends the dump, as in OpenAFS: nobody must take it for whole."""
        file = self.fill(b"file", b"content")
        self.server.disk.volumes[VOLUME].contents[file.Vnode].truncate(3)
        trans = self.begin(flags=ITBusy)
        self.assertEqual(self.code(self.volser.Dump(trans, 0, Buffer())), VolserError.VOLSERREAD_DUMPERROR)
        self.do(self.volser.EndTrans(trans))
