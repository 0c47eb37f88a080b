"""The on-disk layouts: derived and declared forms agree, and real bytes decode to what they say."""

from __future__ import annotations

import io
import os
import tarfile

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Damaged, blocks
from fileserver.store import formats, link_table, locks, metadata
from fileserver.store.inodes import Special, decode, encode, group_directory, inode_path, special_inode
from fileserver.store.metadata import pack_attribute, pack_values, unpack_attribute, unpack_values
from fileserver.store.volume_file import pack_volume_file
from tests.contracts.ipartition import directory_vnode, file_vnode, header
from tests.xdr.layouts import EqualToConstruct

VECTOR = os.path.join(os.path.dirname(__file__), "..", "..", "vectors", "store", "stock-vicepa.tar.xz")
ALICE, ALICE_BACKUP = 536870917, 536870920


class Layouts(EqualToConstruct, SynchronousTestCase):
    """Every declaration of the store."""

    layouts = {
        "directory page": formats.DIRECTORY_PAGE,
        "directory entry": formats.DIRECTORY_ENTRY,
        "stamp": formats.STAMP,
        "volume file": formats.VOLUME_FILE,
        "volume info": formats.VOLUME_INFO,
        "vnode": formats.VNODE,
        "link table row": link_table._ROW,
        "attribute": metadata._ATTRIBUTE_VALUE,
        "flock": locks._FLOCK,
    }


class Sizes(SynchronousTestCase):
    """Sizes and offsets are OpenAFS's."""

    def test_sizes(self) -> None:
        """As sizeof says of the C structures."""
        sizes = [
            each.size
            for each in (
                formats.STAMP,
                formats.VOLUME_FILE,
                formats.VOLUME_INFO,
                formats.VNODE,
                formats.DIRECTORY_PAGE,
                formats.DIRECTORY_ENTRY,
            )
        ]
        self.assertEqual(sizes, [8, 76, 552, 64, 32, 12])

    def test_offsets(self) -> None:
        """A field of each part of VolumeDiskData and VnodeDiskObject lies where volume-format.md says."""
        empty = formats.VOLUME_INFO.declaration.parse(bytes(552))
        for name, offset in {
            "in_use": 44,
            "needs_callback": 72,
            "destroy_me": 73,
            "dont_salvage": 74,
            "max_quota": 100,
            "file_count": 152,
            "day_use_date": 192,
            "update_counter": 196,
            "creation_date": 240,
            "stat_initialized": 264,
        }.items():
            fields = {key: value for key, value in empty.items() if key != "_io"} | {name: 1}
            self.assertEqual(formats.VOLUME_INFO.pack(**fields).index(1), offset, name)
        record = formats.pack_vnode(file_vnode(0x11111111, parent=0x22222222, group=0x33333333), 0x44444444 << 32)
        self.assertEqual([record.index(bytes([each] * 4)) for each in (0x11, 0x22, 0x33, 0x44)], [8, 32, 52, 56])


class Values(SynchronousTestCase):
    """Translation to and from the values of the interface."""

    def test_headers_are_checked(self) -> None:
        """A volume info file of another stamp or cut anywhere is Damaged; a name that does not fit is refused."""
        data = formats.pack_header(header())
        self.assertEqual(formats.unpack_header(data), header())
        for size in range(len(data)):
            self.assertRaises(Damaged, formats.unpack_header, data[:size])
        self.assertRaises(Damaged, formats.unpack_header, b"\0" + data[1:])
        self.assertRaises(Damaged, formats.unpack_header, data[:4] + b"\2" + data[5:])
        long = header()
        long.name = b"n" * 32
        self.assertRaises(ValueError, formats.pack_header, long)

    def test_vnodes(self) -> None:
        """Inode and cloned bit travel beside the record."""
        vnode = directory_vnode(5, 2048)
        for cloned in (False, True):
            record = formats.pack_vnode(vnode, 0x123456789ABCDEF0, cloned=cloned)
            self.assertEqual(len(record), 256)
            self.assertEqual(formats.unpack_vnode(record), (vnode, 0x123456789ABCDEF0, cloned))

    def test_metadata_values(self) -> None:
        """Every parameter up to 32 bits and every tag come back from owner, group and mode."""
        for parameter in (0, 1, 0x7FFF, 0x8000, 536870912, 0xFFFFFFFF, 0xC0000000):
            for tag in range(8):
                values = pack_values(parameter, tag)
                self.assertLessEqual(max(values[:2]), 0x7FFF)
                self.assertLessEqual(values[2], 0o37)
                self.assertEqual(unpack_values(*values), (parameter, tag))
                self.assertEqual(unpack_attribute(pack_attribute(parameter, tag)), (parameter, tag))
        self.assertIsNone(unpack_attribute(b"short"))


class Names(SynchronousTestCase):
    """Inode numbers and file names."""

    def test_encoding(self) -> None:
        """Least significant digit first, and nothing but such names decodes."""
        for number, name in ((0, "+"), (1, "="), (63, "z"), (64, "+="), (536870912, "++++U")):
            self.assertEqual(encode(number), name)
        for shift in range(64):
            for number in (1 << shift, (1 << shift) - 1, 0xFFFFFFFFFFFFFFFF >> shift):
                self.assertEqual(decode(encode(number)), number)
        for name in ("", "=+", "a.namei", "=" * 12, "-"):
            self.assertIsNone(decode(name), name)

    def test_stock_names_and_header_files(self) -> None:
        """Every file of a stock partition is where we would look for it, and its V*.vol files are ours to the byte."""
        with tarfile.open(VECTOR) as archive:
            names = {each.name.removeprefix("./"): each for each in archive.getmembers() if each.isfile()}
            for volume_id in (ALICE, ALICE_BACKUP):
                file = archive.extractfile(names[f"V{volume_id:010}.vol"])
                assert isinstance(file, io.BufferedReader)
                self.assertEqual(file.read(), pack_volume_file(volume_id, ALICE))
                for kind in (Special.INFO, Special.SMALL_INDEX, Special.LARGE_INDEX):
                    self.assertIn(f"{group_directory(ALICE)}/{inode_path(special_inode(volume_id, kind))}", names)
        data = [name for name in names if name.startswith(group_directory(ALICE))]
        self.assertGreater(len(data), 130)
        for name in data:
            inode = decode(os.path.basename(name))
            assert inode is not None
            self.assertEqual(f"{group_directory(ALICE)}/{inode_path(inode)}", name)
            tag = names[name].mode & 7
            self.assertEqual(tag, inode >> 26 & 7)


class Charged(SynchronousTestCase):
    """What a vnode is charged, by server and salvager alike."""

    def test_blocks(self) -> None:
        """Whole blocks, and one for an empty file."""
        for length, charged in ((0, 1), (1, 1), (1024, 1), (1025, 2), (1 << 33, 1 << 23)):
            self.assertEqual(blocks(length), charged)
