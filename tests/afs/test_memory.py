"""The cycle collector of server processes."""

import gc
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from afs.memory import THRESHOLDS, collect_rarely


class Reactor:
    """Keeps what shall happen when it runs."""

    def __init__(self) -> None:
        self.begun: list[Callable[[], None]] = []

    def callWhenRunning(self, act: Callable[[], None]) -> None:
        self.begun.append(act)


class CollectRarely(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_what_a_server_was_started_with_is_never_looked_at(self) -> None:
        """Objects are frozen when the reactor runs, not before; from the call on the collector works rarely."""
        reactor = Reactor()
        gc.unfreeze()
        collect_rarely(reactor)
        self.assertEqual(gc.get_threshold(), THRESHOLDS)
        self.assertEqual(gc.get_freeze_count(), 0)
        for act in reactor.begun:
            act()
        self.assertGreater(gc.get_freeze_count(), 1000)
