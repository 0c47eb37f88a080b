"""Who answered for a partition and when, while it went from server to server: whether two ever did at a time.

An answer proves that its server had the partition at some moment between question and answer. So it is wrong when the
question was put after the server had lost the partition, and the answer came after the next one had begun to answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """A question that a server answered as the owner, in seconds of the machine's clock."""

    server: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Change:
    """The partition was ordered to go to `owner` at `begun`; whoever had it before was dead since `died`, or alive."""

    owner: str
    begun: float
    died: float | None = None


@dataclass
class Answers:
    """See the module. The first change is where the partition was in the beginning."""

    changes: list[Change] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Empty when one server answered at any time."""
        ends = [change.begun for change in self.changes[1:]] + [float("inf")]
        return [problem for change, end in zip(self.changes, ends, strict=True) for problem in self._in(change, end)]

    def unseen(self) -> list[Change]:
        """Changes after which the owner was never heard: nothing is proved about them."""
        ends = [change.begun for change in self.changes[1:]] + [float("inf")]
        return [each for each, end in zip(self.changes, ends, strict=True) if not self._of_owner(each, end)]

    def _in(self, change: Change, end: float) -> Iterator[str]:
        first = min((each.ended for each in self._of_owner(change, end)), default=float("inf"))
        lost = first if change.died is None else change.died
        for each in self.answers:
            if each.server != change.owner and lost < each.begun < end and each.ended > first:
                yield f"{each}, which {change.owner} answered for since {first}"

    def _of_owner(self, change: Change, end: float) -> list[Answer]:
        return [each for each in self.answers if each.server == change.owner and change.begun <= each.begun < end]
