"""What clients wrote and read, and when: whether some order of it explains everything.

Each file has one writer, who writes numbers that rise. So a read is wrong if it shows less than a write that was
answered, or a read that ended, before it began; or more than was begun before it ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """A write that was answered or a read, in seconds of the machine's clock. `slack`: how old what is read may be."""

    who: str
    file: str
    number: int
    begun: float
    ended: float
    slack: float = 0.0


@dataclass
class Ledger:
    """See the module."""

    writes: list[Event] = field(default_factory=list)
    reads: list[Event] = field(default_factory=list)
    begun: dict[tuple[str, int], float] = field(default_factory=dict)
    """When each write of a number to a file was begun first, answered or not."""

    def problems(self) -> list[str]:
        """Of all files; empty when there is none."""
        writes, reads = _by_file(self.writes), _by_file(self.reads)
        return [problem for file in reads for problem in self._problems(writes[file], reads[file])]

    def last(self, file: str) -> int:
        """The last number that was answered for a file."""
        return max((event.number for event in self.writes if event.file == file), default=0)

    def _problems(self, writes: list[Event], reads: list[Event]) -> Iterator[str]:
        """Of one file. Events are looked at in the order of their ends, against each read as it begins."""
        known = sorted([*writes, *reads], key=lambda event: event.ended)
        position, least = 0, 0
        for read in sorted(reads, key=lambda event: event.begun - event.slack):
            while position < len(known) and known[position].ended < read.begun - read.slack:
                least = max(least, known[position].number)
                position += 1
            if read.number < least:
                yield f"{read} is stale: {least} was there before"
            if read.number and self.begun.get((read.file, read.number), read.ended) >= read.ended:
                yield f"{read} is of a write not begun"


def _by_file(events: list[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.file].append(event)
    return found
