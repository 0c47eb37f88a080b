"""How a server process lets Python's cycle collector work: rarely, and never on what it was started with."""

from __future__ import annotations

import gc
from typing import Any

THRESHOLDS = (20_000, 20, 20)
"""For gc.set_threshold: how many objects are made and not freed before the young ones are looked at, which then takes
about a millisecond. A call leaves no cycles behind unless it fails; with Python's own 700 the collector took an eighth
of the processor time of small calls (docs/decisions/0005).
"""


def collect_rarely(reactor: Any) -> None:
    """Set the collector up for a program whose `reactor` is about to run."""
    gc.set_threshold(*THRESHOLDS)
    reactor.callWhenRunning(gc.freeze)
