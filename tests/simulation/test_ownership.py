"""Who owns a partition, whatever happens: real flows, labels and VLDB on machines that stop, die, stall and are cut
off, with clocks that go wrong and a network that loses, doubles and reorders (docs/protocol/fencing.md).
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.ownership.cell import Defect, simulated
from tests.simulation.ownership.mutants import MUTANTS
from tests.simulation.ownership.run import current, run
from tests.support.budget import SOAK, budget

EXPENSIVE = 10
"""A run takes 30 ms: the usual fraction of the soak would be a minute, this part of it is some seconds."""

WITHIN = 2000
"""Runs in which a broken rule is found: several times what the worst of them takes."""


class Ownership(SynchronousTestCase):
    """Random runs."""

    def test_one_owner(self) -> None:
        """No answer and no byte of an epoch comes after one of a later epoch, two servers never both answer, nothing
        acknowledged is lost; and when all works again, one command brings the partition up on one server.
        """
        spent = budget("partitions.ownership", full=100_000)
        count = spent.count if SOAK else spent.count // EXPENSIVE
        answers = epochs = 0
        with simulated(current):
            for seed in range(spent.seed, spent.seed + count):
                try:
                    outcome = run(seed)
                except Defect as defect:
                    self.fail(f"seed {seed}: {defect}")
                answers += outcome.answers
                epochs += outcome.epochs
        self.assertGreater(answers, 5 * count)
        self.assertGreater(epochs, count)

    def test_same_seed(self) -> None:
        """A seed is one history, whatever ran before it."""
        histories: list[list[str]] = [[], []]
        with simulated(current):
            for history in histories:
                run(1, history)
                run(2)
        self.assertEqual(*histories)
        self.assertGreater(len(histories[0]), 10)


class Mutants(SynchronousTestCase):
    """The same with one rule broken."""

    def test_found(self) -> None:
        """Each broken rule is found, by the same runs that find nothing otherwise."""
        with simulated(current):
            for name, (trouble, mutant) in MUTANTS.items():
                with mutant():
                    found = any(_finds(seed, trouble) for seed in range(WITHIN))
                self.assertTrue(found, f"{name}, and nothing was found")


def _finds(seed: int, trouble: str) -> bool:
    """Whether the run ends badly."""
    try:
        run(seed, only=trouble)
    except Defect:
        return True
    return False
