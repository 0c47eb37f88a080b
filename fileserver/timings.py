"""How long calls took and how much they moved, in the form of OpenAFS's xstat collections (`viced/fs_stats.h`).

Only what succeeded is timed. A structure is a list of 32-bit words as a 64-bit little-endian server has them in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TRANSFER_WORDS = 30
"""struct fs_stats_xferData is padded to this: its times are of 64-bit words."""

BUCKETS = (128, 1024, 8192, 16384, 32768, 131_072, 524_288, 1_048_576)
"""The sizes up to which transfers are counted together; one more count is for larger ones."""

SHORTEST = 999_999.0
"""The shortest time, in seconds, before there was any, as OpenAFS has it."""


def timeval(seconds: float) -> list[int]:
    """A time as the four words of two 64-bit numbers: seconds and microseconds."""
    whole = int(seconds)
    return [int32(whole), whole >> 32, int((seconds - whole) * 1_000_000), 0]


def int32(count: int) -> int:
    """A counter as C wraps it."""
    return (count + 2**31) % 2**32 - 2**31


@dataclass(slots=True)
class Timing:
    """Calls of one kind: how many, how many succeeded, and the seconds these took."""

    calls: int = 0
    successes: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = SHORTEST
    most: float = 0.0

    def succeeded(self, seconds: float) -> None:
        """One more that did."""
        seconds = max(seconds, 0.0)  # somebody may have set the clock back
        self.successes += 1
        self.total += seconds
        self.squares += seconds * seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)

    def words(self) -> list[int]:
        """struct fs_stats_opTimingData."""
        times = [word for each in (self.total, self.squares, self.least, self.most) for word in timeval(each)]
        return [int32(self.calls), int32(self.successes), *times]

    def with_other(self, other: Timing) -> Timing:
        """Both kinds together."""
        return Timing(
            self.calls + other.calls,
            self.successes + other.successes,
            self.total + other.total,
            self.squares + other.squares,
            min(self.least, other.least),
            max(self.most, other.most),
        )


@dataclass(slots=True)
class Transfers:
    """Data moved by calls of one kind: how much, the least and the most at a time, and how often which sizes."""

    timing: Timing = field(default_factory=Timing)
    size: int = 0
    least: int = 0
    most: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def moved(self, size: int, seconds: float) -> None:
        """One more, of so many bytes."""
        first = not self.timing.calls
        self.timing.calls += 1
        self.timing.succeeded(seconds)
        self.size += size
        self.least = size if first else min(self.least, size)
        self.most = max(self.most, size)
        self.counts[sum(size > bound for bound in BUCKETS)] += 1

    def words(self) -> list[int]:
        """struct fs_stats_xferData, with the padding at its end."""
        words = [*self.timing.words(), *map(int32, (self.size, self.least, self.most, *self.counts))]
        return words + [0] * (TRANSFER_WORDS - len(words))
