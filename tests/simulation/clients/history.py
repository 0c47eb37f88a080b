"""What was done to each thing, and whether some order of that explains what was seen of it.

A thing (a file's content, what a name leads to, a lock) has one writer at a time, who makes one change after the other.
So a reader sees the last change that was acknowledged before it looked, or a later one that was begun before it had
its answer; and nobody sees less than was seen before by whoever asked the server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = object()
"""The value of a change that makes something of which only the server knows what it is."""


class Floor:
    """The latest change that was known at each moment."""

    def __init__(self) -> None:
        self._moments: list[int] = []
        self._indices: list[int] = []

    def add(self, moment: int, index: int) -> None:
        """Known from this moment on, which is not before any other given so far."""
        if not self._indices or index > self._indices[-1]:
            self._moments.append(moment)
            self._indices.append(index)

    def before(self, moment: int) -> int:
        """What was known just before a moment."""
        position = bisect_left(self._moments, moment)
        return self._indices[position - 1] if position else 0


@dataclass(slots=True)
class Change:
    """One, from the moment it was begun. `whole` is False if it may have been made in part."""

    value: Any
    begun: int
    ended: int | None = None
    whole: bool = True


@dataclass(eq=False)
class Thing:
    """Its changes, the first of which is how it was in the beginning. `tick` numbers the moments of the world."""

    name: str
    tick: Callable[[], int]
    first: Any
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changes.append(Change(self.first, 0, 0))
        self.acknowledged = Floor()
        self.known = Floor()

    def begin(self, value: Any) -> int:
        """Somebody is about to ask for a change; its index."""
        self.changes.append(Change(value, self.tick()))
        return len(self.changes) - 1

    def end(self, index: int) -> None:
        """It was acknowledged."""
        self.changes[index].ended = moment = self.tick()
        self.acknowledged.add(moment, index)
        self.known.add(moment, index)

    @property
    def last(self) -> Change:
        return self.changes[-1]

    @property
    def settled(self) -> bool:
        """The last change was acknowledged, so that there is one way to be."""
        return self.last.ended is not None

    def saw(self, value: Any, begun: int, own: Floor, cached: bool) -> str:
        """Somebody looked, from `begun` until now, and found this. Returns what is wrong with that, or nothing.

        `own` is how much that client had seen itself; with a `cached` copy it need not know what others had.
        """
        least = max(self.acknowledged.before(begun) if cached else self.known.before(begun), own.before(begun))
        for index in range(least, len(self.changes)):
            change = self.changes[index]
            if change.value is UNKNOWN and value is not None:
                change.value = value
            if change.value == value:
                moment = self.tick()
                own.add(moment, index)
                if not cached:
                    self.known.add(moment, index)
                return ""
        return self._wrong(value, least)

    def may_be_torn(self, begun: int) -> bool:
        """Whether a change that was made in part may show."""
        least = self.acknowledged.before(begun)
        return any(each.ended is None for each in self.changes[least:])

    def _wrong(self, value: Any, least: int) -> str:
        older = [index for index, each in enumerate(self.changes[:least]) if each.value == value]
        what = f"as of change {older[-1]}" if older else "which nobody had begun to make"
        return f"{self.name}: {value!r} was seen, {what}; change {least} ({self.changes[least].value!r}) was known"


class Exclusion:
    """Who has a lock, as far as clients know: exclusively, or shared with others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spoiled_until = 0.0
        """Somebody's release may have been carried out twice, and have released another's."""
        self._holders: dict[object, tuple[bool, float]] = {}

    def take(self, who: object, exclusive: bool, now: float, until: float) -> str:
        """Somebody was given it, until then at least. Returns what is wrong with that, or nothing."""
        others = {each: held for each, held in self._holders.items() if held[1] > now and each is not who}
        self._holders[who] = exclusive, until
        if now < self.spoiled_until:
            return ""
        wrong = [each for each, (alone, _) in others.items() if alone or exclusive]
        return f"{self.name}: {who} was given it, and {wrong[0]} has it" if wrong else ""

    def drop(self, who: object) -> None:
        """Somebody is about to give it back, or does not know."""
        self._holders.pop(who, None)
