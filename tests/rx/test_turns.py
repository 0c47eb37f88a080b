"""rx.turns: who runs, who waits, and whose turn it is."""

import random
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from rx.turns import Turns
from tests.support.budget import budget


class Examples(SynchronousTestCase):
    """Examples."""

    def test_a_host_keeps_its_order(self) -> None:
        """Calls of one host over its limit run one by one as others end, oldest first."""
        turns: Turns[int] = Turns(total=10, per_host=2)
        self.assertEqual([turns.enter("a", number) for number in range(5)], [True, True, False, False, False])
        self.assertEqual([turns.leave("a") for _ in range(5)], [2, 3, 4, None, None])
        self.assertEqual((turns.running, turns.waiting), (0, 0))

    def test_hosts_take_turns(self) -> None:
        """When the total is reached, hosts that wait are served in turn, not call by call."""
        turns: Turns[str] = Turns(total=1, per_host=1)
        self.assertTrue(turns.enter("z", "z"))
        for call in ("a1", "a2", "a3", "b1", "c1"):
            self.assertFalse(turns.enter(call[0], call))
        order = [turns.leave("z")]
        while order[-1] is not None:
            order.append(turns.leave(order[-1][0]))
        self.assertEqual(order, ["a1", "b1", "c1", "a2", "a3", None])

    def test_withdraw(self) -> None:
        """A queued call that was given up never runs; one that runs cannot be withdrawn."""
        turns: Turns[int] = Turns(total=1, per_host=1)
        turns.enter("a", 1)
        turns.enter("a", 2)
        turns.enter("a", 3)
        self.assertFalse(turns.withdraw("a", 1))
        self.assertTrue(turns.withdraw("a", 2))
        self.assertFalse(turns.withdraw("a", 2))
        self.assertEqual(turns.leave("a"), 3)


class Random(SynchronousTestCase):
    """Any sequence of arrivals, ends and withdrawals."""

    def test_invariants(self) -> None:
        """No limit is ever exceeded, nobody waits while he could run, everybody runs once, and nothing is left."""
        spent = budget("rx.turns", full=20_000, least=300)
        for index in range(spent.count):
            source = random.Random(spent.seed + index)
            self._simulate(source, Turns(source.randint(1, 6), source.randint(1, 3)))

    def _simulate(self, source: random.Random, turns: "Turns[tuple[str, int]]") -> None:
        total, per_host = turns._total, turns._per_host
        running: list[tuple[str, int]] = []
        waiting: list[tuple[str, int]] = []
        for number in range(60):
            choice = source.random()
            if choice < 0.55 and number < 40:
                call = (source.choice("abc"), number)
                (running if turns.enter(call[0], call) else waiting).append(call)
            elif choice < 0.65 and waiting:
                call = waiting.pop(source.randrange(len(waiting)))
                self.assertTrue(turns.withdraw(call[0], call))
            elif running:
                ended = running.pop(source.randrange(len(running)))
                following = turns.leave(ended[0])
                if following is not None:
                    waiting.remove(following)
                    running.append(following)
            self._check(turns, running, waiting, total, per_host)
        while running:
            following = turns.leave(running.pop()[0])
            if following is not None:
                waiting.remove(following)
                running.append(following)
        self.assertEqual((waiting, turns.running, turns.waiting), ([], 0, 0))

    def _check(
        self,
        turns: "Turns[tuple[str, int]]",
        running: list[tuple[str, int]],
        waiting: list[tuple[str, int]],
        total: int,
        per_host: int,
    ) -> None:
        hosts = Counter(host for host, _ in running)
        self.assertEqual((turns.running, turns.waiting), (len(running), len(waiting)))
        self.assertTrue(len(running) <= total and all(count <= per_host for count in hosts.values()))
        if len(running) < total:
            self.assertTrue(all(hosts[host] == per_host for host, _ in waiting))
