"""Names, parents and links of one volume, made consistent in memory."""

from __future__ import annotations

import random
from copy import deepcopy

from twisted.trial.unittest import SynchronousTestCase

from fileserver.interfaces import Vnode
from fileserver.salvager.tree import Fid, Listing, Tree, straighten
from tests.support.budget import budget


def directory(parent: int, links: int = 2, unique: int = 1) -> Vnode:
    return Vnode(2, 0o755, links, 2048, unique, 1, 0, 0, 0, 0, parent, 0, acl=bytes(192))


def file(parent: int, links: int = 1, unique: int = 1) -> Vnode:
    return Vnode(1, 0o644, links, 10, unique, 1, 0, 0, 0, 0, parent, 0)


def listing(own: Fid, above: Fid, **entries: Fid) -> Listing:
    return Listing({name.encode(): fid for name, fid in entries.items()}, own, above)


def sound() -> Tree:
    """/a/b, /a/f, /g"""
    return Tree(
        {1: directory(0, 3), 3: directory(1, 3, 3), 5: directory(3, 2, 5), 2: file(3, 1, 2), 4: file(1, 1, 4)},
        {
            1: listing((1, 1), (1, 1), a=(3, 3), g=(4, 4)),
            3: listing((3, 3), (1, 1), b=(5, 5), f=(2, 2)),
            5: listing((5, 5), (3, 3)),
        },
    )


class Straighten(SynchronousTestCase):
    """One thing wrong at a time, and many."""

    def repaired(self, tree: Tree, attach: bool = True) -> list[str]:
        """What was told; doing it again tells nothing, unless orphans stay."""
        told: list[str] = []
        straighten(tree, told.append, attach)
        if attach:
            again = deepcopy(tree)
            more: list[str] = []
            straighten(again, more.append)
            self.assertEqual((more, again), ([], tree))
        return told

    def test_sound(self) -> None:
        """Nothing is told and nothing changed."""
        tree = sound()
        self.assertEqual(self.repaired(tree), [])
        self.assertEqual((tree, tree.changed), (sound(), set()))

    def test_wrong_uniquifier(self) -> None:
        """An entry with a wrong uniquifier leads again to the vnode that has no other name and is meant to be there."""
        tree = sound()
        tree.listings[3].entries[b"f"] = (2, 99)
        self.repaired(tree)
        self.assertEqual(tree.listings[3].entries[b"f"], (2, 2))

    def test_wrong_vnode(self) -> None:
        """So does one with a wrong vnode number and the right uniquifier."""
        tree = sound()
        tree.listings[3].entries[b"f"] = (66, 2)
        self.repaired(tree)
        self.assertEqual(tree.listings[3].entries[b"f"], (2, 2))

    def test_old_generation(self) -> None:
        """An entry for an earlier life of a vnode that is elsewhere now goes, and does not name the new one."""
        tree = sound()
        tree.listings[1].entries[b"old"] = (2, 1)
        self.repaired(tree)
        self.assertNotIn(b"old", tree.listings[1].entries)
        self.assertEqual(tree.vnodes, sound().vnodes)

    def test_two_homes(self) -> None:
        """Of two directories that name a file the one its record calls the parent keeps it."""
        for parent, home, other in ((3, 3, 1), (1, 1, 3)):
            tree = sound()
            tree.vnodes[2].parent = parent
            tree.listings[1].entries[b"f"] = (2, 2)
            self.repaired(tree)
            self.assertIn(b"f", tree.listings[home].entries)
            self.assertNotIn(b"f", tree.listings[other].entries)

    def test_hard_links(self) -> None:
        """Two names in one directory are two links."""
        tree = sound()
        tree.listings[3].entries[b"f2"] = (2, 2)
        self.repaired(tree)
        self.assertEqual(tree.vnodes[2].link_count, 2)
        self.assertEqual(tree.changed, {2})

    def test_orphan(self) -> None:
        """A file without a name gets one where it was, and keeps its mode; where that is gone, nobody may read it."""
        tree = sound()
        del tree.listings[3].entries[b"f"]
        self.repaired(tree)
        self.assertEqual(tree.listings[3].entries[b"__ORPHANFILE__.2.2"], (2, 2))
        self.assertEqual(tree.vnodes[2].mode, 0o644)
        tree = sound()
        del tree.listings[3].entries[b"f"]
        tree.vnodes[2].parent = 77
        self.repaired(tree)
        self.assertEqual(tree.listings[1].entries[b"__ORPHANFILE__.2.2"], (2, 2))
        self.assertEqual(tree.vnodes[2].mode, 0o044)

    def test_orphans_ignored(self) -> None:
        """Without `attach` an orphan keeps its record."""
        tree = sound()
        del tree.listings[3].entries[b"f"]
        self.assertEqual(self.repaired(tree, attach=False), ["1 vnodes are named by no directory"])
        self.assertEqual(tree.vnodes, sound().vnodes)

    def test_circle(self) -> None:
        """Directories that name only each other come back below the root."""
        tree = sound()
        del tree.listings[1].entries[b"a"]
        tree.vnodes[3].parent = 5
        tree.listings[5].entries[b"up"] = (3, 3)
        self.repaired(tree)
        self.assertEqual(tree.listings[1].entries[b"__ORPHANDIR__.3.3"], (3, 3))
        self.assertEqual(tree.listings[5].entries, {})
        self.assertEqual(tree.listings[3].dot_dot, (1, 1))

    def test_root_named(self) -> None:
        """No directory can name the root."""
        tree = sound()
        tree.listings[5].entries[b"root"] = (1, 1)
        self.repaired(tree)
        self.assertEqual(tree.listings[5].entries, {})

    def test_anything(self) -> None:
        """Whatever the numbers say, afterwards every vnode has a home, and all are where they were or in some place."""
        spent = budget("fileserver.salvager.tree", full=20_000)
        rng = random.Random(spent.seed)
        for _ in range(spent.count):
            tree = self._random(rng)
            vnodes = set(tree.vnodes)
            self.repaired(tree)
            self.assertEqual(set(tree.vnodes), vnodes)
            named = {fid[0] for each in tree.listings.values() for fid in each.entries.values()}
            self.assertEqual(named | {1}, vnodes)

    def _random(self, rng: random.Random) -> Tree:
        numbers = [1, *rng.sample(range(2, 14), rng.randrange(12))]
        parents = [number for number in numbers if number & 1]
        tree = Tree({}, {})
        for number in numbers:
            make = directory if number & 1 else file
            tree.vnodes[number] = make(rng.choice([*parents, 0, 99]), rng.randrange(4), rng.randrange(1, 5))
        for number in parents:
            tree.listings[number] = listing((number, 1), (rng.choice(numbers), 1))
            for index in range(rng.randrange(6)):
                fid = (rng.choice([*numbers, 50]), rng.randrange(1, 5))
                tree.listings[number].entries[b"e%d" % index] = fid
        return tree
