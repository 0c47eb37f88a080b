"""The checker of what clients wrote and read finds what it is there for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.ledger import Event, Ledger


class LedgerTests(SynchronousTestCase):
    """One file, of which 1 was written from 0 to 1, and 2 from 2 to 4."""

    def setUp(self) -> None:
        self.ledger = Ledger(
            [Event("w", "f", 1, 0.0, 1.0), Event("w", "f", 2, 2.0, 4.0)], begun={("f", 1): 0.0, ("f", 2): 2.0}
        )

    def read(self, number: int, begun: float, ended: float, slack: float = 0.0) -> int:
        """How many problems there are with one more read."""
        self.ledger.reads.append(Event("r", "f", number, begun, ended, slack))
        return len(self.ledger.problems())

    def test_explained(self) -> None:
        """Reads of what was there, or might have been already, are no problem."""
        for number, begun, ended in ((0, 0.5, 0.6), (1, 0.7, 0.8), (1, 1.5, 1.6), (1, 2.5, 3.0), (2, 3.1, 3.2)):
            self.assertEqual(self.read(number, begun, ended), 0)
        self.assertEqual(self.read(2, 5.0, 6.0), 0)

    def test_stale(self) -> None:
        """To see less than what was answered before is one, however old it may be."""
        self.assertEqual(self.read(0, 1.5, 1.6), 1)
        self.assertEqual(self.read(1, 4.5, 4.6), 2)
        self.assertEqual(self.read(1, 4.5, 4.6, slack=1.0), 2)
        self.assertEqual(self.read(1, 5.5, 5.6, slack=1.0), 3)

    def test_backwards(self) -> None:
        """To see less than another has seen before is one."""
        self.assertEqual(self.read(2, 2.5, 2.6), 0)
        self.assertEqual(self.read(1, 2.7, 2.8), 1)

    def test_out_of_nothing(self) -> None:
        """To see what nobody had begun to write is one."""
        self.assertEqual(self.read(2, 1.5, 1.9), 1)
        self.assertEqual(self.read(3, 5.0, 5.1), 2)
