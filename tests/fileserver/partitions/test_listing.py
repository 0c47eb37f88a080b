"""The list of volumes that one owner leaves to the next."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import TestCase

from fileserver.partitions.listing import LISTING_FILE, leave_listing, read_listing
from tests.support.budget import budget


class ListingTests(TestCase):
    """Of a directory."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()

    def test_left_and_read(self) -> None:
        """Whoever has the epoch it was left for reads it, nobody else; none and many ids alike."""
        for ids in ([], [1], list(range(536870912, 536870912 + 100_000))):
            leave_listing(str(self.place), 7, ids)
            self.assertEqual(read_listing(str(self.place), 7), ids)
            self.assertIsNone(read_listing(str(self.place), 8))
            self.assertIsNone(read_listing(str(self.place), 6))

    def test_none(self) -> None:
        """Where nothing was left there is nothing."""
        self.assertIsNone(read_listing(str(self.place), 1))

    def test_torn(self) -> None:
        """Cut or damaged anywhere it is not believed."""
        chosen = budget("fileserver.listing.torn", full=20_000)
        seed = random.Random(chosen.seed)
        leave_listing(str(self.place), 1, range(100))
        file = self.place / LISTING_FILE
        whole = file.read_bytes()
        for _ in range(chosen.count):
            if seed.random() < 0.5:
                file.write_bytes(whole[: seed.randrange(len(whole))])
            else:
                at = seed.randrange(len(whole))
                file.write_bytes(whole[:at] + bytes([whole[at] ^ seed.randrange(1, 256)]) + whole[at + 1 :])
            self.assertIsNone(read_listing(str(self.place), 1))
