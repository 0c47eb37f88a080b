"""What a crash can leave, put right at the next attach."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fileserver.directory import PAGE_SIZE, Directory
from fileserver.interfaces import Damaged, Vnode
from fileserver.volume.recovery import rebuilt
from tests.support.budget import budget

ROOT = Vnode(2, 0o777, 2, 0, 1, 1, 0, 0, 0, 0, 0, 0)
LIVE = {1: 1, 3: 3} | {number: number for number in range(2, 4000, 2)}


def name_of(random: Random) -> bytes:
    return bytes(random.choice(b"abcdefghij\x01") for _ in range(random.choice((1, 8, 15, 16, 60, 255))))


class Rebuilding(SynchronousTestCase):
    def test_torn_writes(self) -> None:
        """Whichever of a change's pages were written, every other entry is found again, and the changed one whole or
        not at all.
        """
        share = budget("fileserver.recovery.torn", full=3000)
        for run in range(share.count):
            self._tear_once(Random(share.seed + run))

    def _tear_once(self, random: Random) -> None:
        directory = Directory.new((1, 1), (1, 1))
        expected: dict[bytes, tuple[int, int]] = {}
        for number in range(2, 2 * random.choice((5, 60, 300)), 2):
            name = name_of(random)
            if name not in directory:
                directory.insert(name, number, number)
                expected[name] = (number, number)
        directory.dirty_pages()
        disk = bytearray(directory.to_bytes())
        if random.random() < 0.5:
            changed = name_of(random) + b"new"
            changed = changed[-255:]
            after = expected | {changed: (3998, 3998)}
            directory.insert(changed, 3998, 3998)
        else:
            changed = random.choice(sorted(expected))
            after = {name: fid for name, fid in expected.items() if name != changed}
            directory.remove(changed)
        for offset, data in directory.dirty_pages():
            for start in range(0, len(data), PAGE_SIZE):
                if random.random() < 0.5:
                    end = offset + start + PAGE_SIZE
                    disk.extend(bytes(max(0, end - len(disk))))
                    disk[offset + start : end] = data[start : start + PAGE_SIZE]
        found = self._entries(rebuilt(bytes(disk), 1, ROOT, LIVE))
        self.assertIn(found, (expected, after))

    def _entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
        again = Directory.parse(directory.to_bytes())
        return {name: (vnode, unique) for name, vnode, unique in again.entries() if name not in (b".", b"..")}

    def test_entries_of_vnodes_that_are_gone(self) -> None:
        """An entry whose vnode is free, or another by now, is dropped."""
        directory = Directory.new((1, 1), (1, 1))
        directory.insert(b"gone", 5000, 1)
        directory.insert(b"another", 2, 77)
        directory.insert(b"there", 4, 4)
        self.assertEqual(self._entries(rebuilt(directory.to_bytes(), 1, ROOT, LIVE)), {b"there": (4, 4)})

    def test_dot_and_dot_dot(self) -> None:
        """A rebuilt directory has itself and its parent in their places, even when page 0 is gone."""
        directory = rebuilt(bytes(PAGE_SIZE), 3, Vnode(2, 0o777, 2, 0, 3, 1, 0, 0, 0, 0, 1, 0), LIVE)
        self.assertEqual((directory.lookup(b"."), directory.lookup(b"..")), ((3, 3), (1, 1)))

    def test_hopeless(self) -> None:
        """A directory without a page, or without a parent, is not invented."""
        self.assertRaises(Damaged, rebuilt, b"", 1, ROOT, LIVE)
        orphan = Vnode(2, 0o777, 2, 0, 3, 1, 0, 0, 0, 0, 99999, 0)
        self.assertRaises(Damaged, rebuilt, bytes(PAGE_SIZE), 3, orphan, LIVE)
