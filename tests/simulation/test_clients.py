"""Clients of file servers, whatever happens: real servers, caches and networks in simulated processes, with partitions
that come and go, stall, fail and are full, servers that end and die, and clients that are cut off or vanish.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.clients.mutants import MUTANTS
from tests.simulation.clients.run import run
from tests.simulation.clients.stands import simulated
from tests.simulation.ownership.cell import Defect
from tests.support.budget import SOAK, budget

EXPENSIVE = 6
"""A run takes a second or two: the usual fraction of the soak would be a minute, this part of it is some seconds."""

WITHIN = 60
"""Runs in which a broken rule is found: several times what the worst of them takes."""

SOME = 2
"""Broken rules that are tried when time is short, others each time."""


class Clients(SynchronousTestCase):
    """Random runs."""

    def test_clients_notice_nothing(self) -> None:
        """No error but what an injected fault explains, no stale read, no lost update, no lock that two have; at the
        end all that was acknowledged is there, and nothing is left of what servers held for clients.
        """
        spent = budget("files.simulation", full=1500)
        count = spent.count if SOAK else spent.count // EXPENSIVE
        deeds = hits = 0
        with simulated():
            for seed in range(spent.seed, spent.seed + count):
                try:
                    outcome = run(seed)
                except Defect as defect:
                    self.fail(str(defect))
                finally:
                    self.flushLoggedErrors()  # of processes that were killed, as they are thrown away
                deeds += outcome.deeds
                hits += outcome.hits
        self.assertGreater(deeds, 100 * count)
        self.assertGreater(hits, 10 * count)

    def test_same_seed(self) -> None:
        """A seed is one history, whatever ran before it."""
        histories: list[list[str]] = [[], []]
        with simulated():
            for history in histories:
                run(1, history=history)
                run(2)
        self.flushLoggedErrors()
        self.assertEqual(*histories)
        self.assertGreater(len(histories[0]), 100)


class Mutants(SynchronousTestCase):
    """The same with one rule of the server broken."""

    def test_found(self) -> None:
        """Each broken rule is found, by the same runs that find nothing otherwise."""
        chosen = budget("files.mutants", full=len(MUTANTS), least=SOME)
        names = Random(chosen.seed).sample(sorted(MUTANTS), chosen.count)
        with simulated():
            for name in names:
                troubles, mutant = MUTANTS[name]
                with mutant():
                    found = any(self._finds(seed, troubles) for seed in range(WITHIN))
                self.assertTrue(found, f"{name}, and nothing was found")

    def _finds(self, seed: int, troubles: tuple[str, ...]) -> bool:
        """Whether the run ends badly."""
        try:
            run(seed, troubles)
        except Defect:
            return True
        finally:
            self.flushLoggedErrors()
        return False
