"""Names of volumes and partitions."""

from twisted.trial.unittest import SynchronousTestCase

from afs.names import base_name, is_numeric_name, is_volume_name, parse_partition, partition_name


class PartitionTests(SynchronousTestCase):
    """Partition ids <-> letters."""

    def test_round_trip(self) -> None:
        """All 255 have a name of their own that leads back, in each of the forms."""
        names = [partition_name(each) for each in range(255)]
        self.assertEqual(len(set(names)), 255)
        for partition_id, name in enumerate(names):
            for text in (name, name[1:], name.removeprefix("/vicep"), str(partition_id)):
                self.assertEqual(parse_partition(text), partition_id, text)

    def test_corners(self) -> None:
        """The first and last with one letter and with two."""
        corners = {0: "/vicepa", 25: "/vicepz", 26: "/vicepaa", 51: "/vicepaz", 52: "/vicepba", 254: "/vicepiu"}
        for partition_id, name in corners.items():
            self.assertEqual(partition_name(partition_id), name)

    def test_refused(self) -> None:
        """What is no partition is a ValueError."""
        for text in ("", "/vicep", "vicep", "A", "abc", "iv", "zz", "255", "-1", "/vicepa/", "/vicep1", "é", "²"):
            self.assertRaises(ValueError, parse_partition, text)
        self.assertRaises(ValueError, partition_name, 255)
        self.assertRaises(ValueError, partition_name, -1)


class VolumeNameTests(SynchronousTestCase):
    """Volume names."""

    def test_legal(self) -> None:
        """Letters, digits, point, hyphen and underscore; 1 to 64 bytes."""
        for name in (b"root.cell", b"a", b"user.x_y-9.readonly", b"x" * 64):
            self.assertTrue(is_volume_name(name), name)
        for name in (b"", b"a b", b"a/b", b"a\n", "ü".encode(), b"a:b", b"x" * 65):
            self.assertFalse(is_volume_name(name), name)
        self.assertFalse(is_volume_name(b"x" * 32, maximum=31))

    def test_numeric(self) -> None:
        """Digits alone, and nothing at all, are an id (vldb.md section 6)."""
        for name, numeric in ((b"536870912", True), (b"", True), (b"1a", False), (b"-1", False), (b" 1", False)):
            self.assertEqual(is_numeric_name(name), numeric, name)

    def test_suffixes(self) -> None:
        """The suffix of a clone is not part of the name; only one is taken off."""
        self.assertEqual(base_name(b"root.cell.readonly"), b"root.cell")
        self.assertEqual(base_name(b"root.cell.backup"), b"root.cell")
        self.assertEqual(base_name(b"root.cell"), b"root.cell")
        self.assertEqual(base_name(b".readonly"), b".readonly")
        self.assertEqual(base_name(b"x.backup.readonly"), b"x.backup")
