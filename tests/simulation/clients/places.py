"""What there is in the cell that clients work on, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from afs.client import store_status
from afs.types import AFSFid
from tests.simulation.clients.history import Exclusion, Thing

SIZES = (8, 8, 400, 400, 3000, 20_000, 100_000, 1_060_000)
"""Of files: less and more than a packet, than a window, than a piece of fileserver.procedures.files."""

BIG = 50_000
"""Larger ones are rare."""

MODE = store_status(mode=0o644)
LINK = store_status(mode=0o755)


def content(number: int) -> bytes:
    """What a file's change of that number writes: anybody can tell which it was, and whether it is whole."""
    size = SIZES[number * 7919 % 97 % len(SIZES)]
    if size > BIG and number % 6:
        size = SIZES[2]
    return b"%08d" % number * (size // 8)


@dataclass(eq=False)
class Place:
    """A file or a lock file that all know."""

    name: str
    fid: AFSFid
    thing: Thing
    exclusion: Exclusion
    versions: dict[int, int] = field(default_factory=dict)
    writing: bool = False
    spoiled: bool = False
    """Two may have written to a lock file at a time, as a lock ran out."""


@dataclass
class Places:
    """What there is in the cell."""

    files: list[Place] = field(default_factory=list)
    locks: list[Place] = field(default_factory=list)
    names: dict[tuple[int, bytes], Thing] = field(default_factory=dict)
    """By volume: what names in its root directory lead to, None for nothing."""


def root(volume: int) -> AFSFid:
    """Of a volume: its root directory."""
    return AFSFid(volume, 1, 1)
