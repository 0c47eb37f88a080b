"""Directory objects: the structure the salvager checks, under every kind of change."""

from __future__ import annotations

import random
import time

from twisted.trial.unittest import SynchronousTestCase

from fileserver.directory import MAX_PAGES, PAGE_SIZE, BadName, Directory, DirectoryFull
from fileserver.interfaces import Damaged
from tests.support.budget import budget

ME, PARENT = (7, 70), (1, 1)
SOON_SECONDS = 30.0
"""What work with one damaged directory may take on a busy machine: milliseconds otherwise."""


def contents(directory: Directory) -> dict[bytes, tuple[int, int]]:
    """Name -> (vnode, uniquifier)."""
    return {name: (vnode, unique) for name, vnode, unique in directory.entries()}


class Directories(SynchronousTestCase):
    """One directory and its names."""

    def setUp(self) -> None:
        self.directory = Directory.new(ME, PARENT)

    def test_new(self) -> None:
        """An empty directory is one page with `.` and `..` where the salvager looks for them, all of it dirty."""
        self.assertEqual(contents(self.directory), {b".": ME, b"..": PARENT})
        self.assertTrue(self.directory.is_empty())
        self.assertEqual(self.directory.length, 2048)
        data = self.directory.to_bytes()
        self.assertEqual(data[:13].hex(), "000104d233" + "ff7f000000000000")
        self.assertEqual(data[32:36].hex(), "31404040")
        self.assertEqual(data[13 * 32 : 13 * 32 + 14].hex(), "01000000" + "00000007" + "00000046" + "2e00")
        self.assertEqual(data[14 * 32 : 14 * 32 + 15].hex(), "01000000" + "00000001" + "00000001" + "2e2e00")
        self.assertEqual(self.directory.dirty_pages(), [(0, data)])
        self.assertEqual(self.directory.dirty_pages(), [])

    def test_names(self) -> None:
        """What is inserted is found, replaced in place and removed; mistakes change nothing."""
        self.directory.insert(b"name", 2, 3)
        self.assertEqual(self.directory.lookup(b"name"), (2, 3))
        self.assertFalse(self.directory.is_empty())
        self.directory.replace(b"name", 4, 5)
        self.directory.replace(b"..", 9, 10)
        before = self.directory.to_bytes()
        self.directory.dirty_pages()
        self.assertRaises(FileExistsError, self.directory.insert, b"name", 6, 7)
        self.assertRaises(FileExistsError, self.directory.insert, b".", 6, 7)
        self.assertRaises(KeyError, self.directory.remove, b"other")
        self.assertRaises(KeyError, self.directory.replace, b"other", 1, 1)
        for name in (b"", b"a\0b", b"x" * 256):
            self.assertRaises(BadName, self.directory.insert, name, 1, 1)
        for name in (b".", b".."):
            self.assertRaises(BadName, self.directory.remove, name)
        self.assertIsNone(self.directory.lookup(b"other"))
        self.assertEqual((self.directory.to_bytes(), self.directory.dirty_pages()), (before, []))
        self.assertEqual(contents(Directory.parse(before)), {b".": ME, b"..": (9, 10), b"name": (4, 5)})
        self.directory.remove(b"name")
        self.assertIsNone(self.directory.lookup(b"name"))
        self.assertTrue(self.directory.is_empty())

    def test_removed_names_leave_nothing(self) -> None:
        """A removed entry's bytes are zero: clients get no names that are gone."""
        empty = self.directory.to_bytes()
        for name in (b"secret", b"secret" * 40):
            self.directory.insert(name, 2, 3)
            self.assertIn(name, self.directory.to_bytes())
            self.directory.remove(name)
            self.assertEqual(self.directory.to_bytes(), empty)

    def test_name_lengths(self) -> None:
        """Every length takes the blobs OpenAFS counts, to the byte where one more begins."""
        for length in range(1, 256):
            directory = Directory.new(ME, PARENT)
            directory.insert(b"n" * length, 2, 3)
            free = directory.to_bytes()[32]
            self.assertEqual(49 - free, 1 + (length + 1 + 15) // 32, length)
            self.assertEqual(contents(Directory.parse(directory.to_bytes()))[b"n" * length], (2, 3))

    def test_hash_chains(self) -> None:
        """A name hangs in the bucket dir.c computes; one whose hash has the top bit set counts from the end."""
        for name, bucket in ((b"a", 97), (b"ab", 111), (b"lost+found", 43), (b"\xff\xfe", 81), (b"zzzzzzzz", 16)):
            directory = Directory.new(ME, PARENT)
            directory.insert(name, 2, 3)
            heads = directory.to_bytes()[160:416]
            used = [at // 2 for at in range(0, 256, 2) if heads[at : at + 2] != b"\0\0"]
            self.assertEqual(used, sorted({46, 68, bucket}), name)

    def test_full(self) -> None:
        """1023 pages can be filled and no more; the failure changes nothing, and a removal makes room again."""
        index = 0
        with self.assertRaises(DirectoryFull):
            while True:
                self.directory.insert(b"%0255d" % index, index, index)
                index += 1
        self.assertEqual(self.directory.length, MAX_PAGES * PAGE_SIZE)
        self.directory.insert(b"short", 1, 1)
        self.directory.remove(b"%0255d" % 5000)
        self.directory.insert(b"%0255d" % 5001000, 5, 6)
        self.assertEqual(contents(Directory.parse(self.directory.to_bytes())), contents(self.directory))

    def test_random_work(self) -> None:
        """Random changes: names as a dict has them, and the dirty pages rebuild the object."""
        share = budget("directory.work", full=200, least=4)
        rng = random.Random(share.seed)
        for _ in range(share.count):
            directory = Directory.new(ME, PARENT)
            model = {b".": ME, b"..": PARENT}
            disk = bytearray()
            for step in range(rng.choice((50, 500, 3000))):
                name = bytes(rng.choices(range(1, 256), k=rng.choice((1, 2, 15, 16, 47, 48, 255))))
                names = [each for each in model if each not in (b".", b"..")]
                if not names or rng.random() < 0.6:
                    if name not in model:
                        directory.insert(name, step, step + 1)
                        model[name] = (step, step + 1)
                elif rng.random() < 0.5:
                    name = rng.choice(names)
                    directory.remove(name)
                    del model[name]
                else:
                    name = rng.choice(names)
                    directory.replace(name, step, 0xFFFFFFFF)
                    model[name] = (step, 0xFFFFFFFF)
                if rng.random() < 0.02:
                    self.write(disk, directory)
            self.write(disk, directory)
            self.assertEqual(contents(directory), model)
            self.assertEqual(bytes(disk), directory.to_bytes())
            again = Directory.parse(bytes(disk))
            self.assertEqual(contents(again), model)
            for name in sorted(model)[2:]:
                if name not in (b".", b".."):
                    again.remove(name)
                    directory.remove(name)
            self.assertEqual(again.to_bytes(), directory.to_bytes())

    def write(self, disk: bytearray, directory: Directory) -> None:
        """Put the dirty pages where they belong."""
        end = -1
        for offset, data in directory.dirty_pages():
            self.assertEqual((offset % PAGE_SIZE, len(data) % PAGE_SIZE), (0, 0))
            self.assertGreater(offset, end, "runs that touch are one run")
            end = offset + len(data)
            disk.extend(bytes(max(0, end - len(disk))))
            disk[offset:end] = data

    def test_changes_touch_few_pages(self) -> None:
        """One more name in a directory of a hundred pages dirties two of them."""
        for index in range(6000):
            self.directory.insert(b"name %d" % index, index, index)
        self.directory.dirty_pages()
        self.directory.insert(b"one more", 1, 2)
        self.assertEqual(len(self.directory.dirty_pages()), 2)


class Damage(SynchronousTestCase):
    """What the salvager would call bad is Damaged."""

    def setUp(self) -> None:
        directory = Directory.new(ME, PARENT)
        for index in range(150):
            directory.insert(b"a rather long name %d" % index, index, index)
        self.data = directory.to_bytes()

    def test_truncation(self) -> None:
        """Cut anywhere."""
        for size in [*range(100), 2047, 2048, 4096, len(self.data) - 2048, len(self.data) - 1]:
            self.assertRaises(Damaged, Directory.parse, self.data[:size])

    def test_single_changes(self) -> None:
        """Tags, bitmaps, the map of free blobs, flags, names and chains."""
        entry = self.data.index(b"a rather long name 3\0") - 12
        for offset, value in {
            0: 0xFF,  # page count
            2: 0,  # tag
            2048 + 3: 0,  # tag of another page
            6: 0x1F,  # bitmap without `.`
            32: 7,  # free blobs of page 0
            34: 65,
            entry: 0,  # flag
            entry + 12: ord("b"),  # name in the wrong chain
            13 * 32 + 12: ord("x"),
        }.items():
            self.assertNotEqual(self.data[offset], value)
            self.assertRaises(Damaged, Directory.parse, self.data[:offset] + bytes([value]) + self.data[offset + 1 :])

    def test_circle(self) -> None:
        """A chain that bites its tail ends the reading."""
        entry = self.data.index(b"a rather long name 3\0") - 12
        blob = (entry // 32).to_bytes(2, "big")
        self.assertRaises(Damaged, Directory.parse, self.data[: entry + 2] + blob + self.data[entry + 4 :])

    def test_name_without_end(self) -> None:
        """A name that runs to the end of its page without a NUL."""
        entry = self.data.index(b"a rather long name 3\0") - 12
        end = (entry // 2048 + 1) * 2048
        self.assertRaises(
            Damaged, Directory.parse, self.data[: entry + 12] + b"a" * (end - entry - 12) + self.data[end:]
        )

    def test_random_damage(self) -> None:
        """Whatever bytes change, parsing ends soon, in Damaged or in a directory that can be worked with."""
        share = budget("directory.damage", full=20_000, least=400)
        rng = random.Random(share.seed)
        for _ in range(share.count):
            until = time.monotonic() + SOON_SECONDS
            data = bytearray(self.data)
            for _ in range(rng.choice((1, 2, 10))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                directory = Directory.parse(bytes(data))
            except Damaged:
                continue
            for name in list(contents(directory)):
                if name not in (b".", b".."):
                    directory.remove(name)
            directory.insert(b"new", 1, 2)
            self.assertLess(time.monotonic(), until)
