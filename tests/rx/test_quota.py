"""rx.quota: who runs, who waits, and whose turn it is."""

import random
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from rx.quota import Quota
from tests.support.budget import budget


class Turns(SynchronousTestCase):
    """Examples."""

    def test_a_host_keeps_its_order(self) -> None:
        """Calls of one host over its limit run one by one as others end, oldest first."""
        quota: Quota[int] = Quota(total=10, per_host=2)
        self.assertEqual([quota.enter("a", number) for number in range(5)], [True, True, False, False, False])
        self.assertEqual([quota.leave("a") for _ in range(5)], [2, 3, 4, None, None])
        self.assertEqual((quota.running, quota.waiting), (0, 0))

    def test_hosts_take_turns(self) -> None:
        """When the total is reached, hosts that wait are served in turn, not call by call."""
        quota: Quota[str] = Quota(total=1, per_host=1)
        self.assertTrue(quota.enter("z", "z"))
        for call in ("a1", "a2", "a3", "b1", "c1"):
            self.assertFalse(quota.enter(call[0], call))
        order = [quota.leave("z")]
        while order[-1] is not None:
            order.append(quota.leave(order[-1][0]))
        self.assertEqual(order, ["a1", "b1", "c1", "a2", "a3", None])

    def test_withdraw(self) -> None:
        """A queued call that was given up never runs; one that runs cannot be withdrawn."""
        quota: Quota[int] = Quota(total=1, per_host=1)
        quota.enter("a", 1)
        quota.enter("a", 2)
        quota.enter("a", 3)
        self.assertFalse(quota.withdraw("a", 1))
        self.assertTrue(quota.withdraw("a", 2))
        self.assertFalse(quota.withdraw("a", 2))
        self.assertEqual(quota.leave("a"), 3)


class Random(SynchronousTestCase):
    """Any sequence of arrivals, ends and withdrawals."""

    def test_invariants(self) -> None:
        """No limit is ever exceeded, nobody waits while he could run, everybody runs once, and nothing is left."""
        spent = budget("rx.quota", full=20_000, least=300)
        for index in range(spent.count):
            source = random.Random(spent.seed + index)
            self._simulate(source, Quota(source.randint(1, 6), source.randint(1, 3)))

    def _simulate(self, source: random.Random, quota: "Quota[tuple[str, int]]") -> None:
        total, per_host = quota._total, quota._per_host
        running: list[tuple[str, int]] = []
        waiting: list[tuple[str, int]] = []
        for number in range(60):
            choice = source.random()
            if choice < 0.55 and number < 40:
                call = (source.choice("abc"), number)
                (running if quota.enter(call[0], call) else waiting).append(call)
            elif choice < 0.65 and waiting:
                call = waiting.pop(source.randrange(len(waiting)))
                self.assertTrue(quota.withdraw(call[0], call))
            elif running:
                ended = running.pop(source.randrange(len(running)))
                following = quota.leave(ended[0])
                if following is not None:
                    waiting.remove(following)
                    running.append(following)
            self._check(quota, running, waiting, total, per_host)
        while running:
            following = quota.leave(running.pop()[0])
            if following is not None:
                waiting.remove(following)
                running.append(following)
        self.assertEqual((waiting, quota.running, quota.waiting), ([], 0, 0))

    def _check(
        self,
        quota: "Quota[tuple[str, int]]",
        running: list[tuple[str, int]],
        waiting: list[tuple[str, int]],
        total: int,
        per_host: int,
    ) -> None:
        hosts = Counter(host for host, _ in running)
        self.assertEqual((quota.running, quota.waiting), (len(running), len(waiting)))
        self.assertTrue(len(running) <= total and all(count <= per_host for count in hosts.values()))
        if len(running) < total:
            self.assertTrue(all(hosts[host] == per_host for host, _ in waiting))
