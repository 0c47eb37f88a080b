"""The option `--tap KIND:FILE` of every server, and the AFS words that taps show and understand."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from twisted.logger import Logger
from twisted.python.usage import Options, UsageError

from afs.errors import PrError, RxkadError, UbikError, UnifiedError, VLError, VolserError, VolumeError, describe
from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.rpc.partitions import VLPartitions
from afs.rpc.pr import PR
from afs.rpc.rxstats import RXSTATS
from afs.rpc.ubik import DISK, VOTE
from afs.rpc.volpartitions import AFSVolPartitions
from rx.constants import RxCode, RxgenCode
from rx.taps import Stack, Tap
from rx.taps.faults import Faults
from rx.taps.packets import Names
from rx.taps.pcap import Pcap
from rx.taps.rules import BadScript, Vocabulary, parse
from rx.taps.tracer import Trace

_log = Logger()

_COMMON = (VLPartitions, AFSVolPartitions, PR, VOTE, DISK, RXSTATS)

SERVER_NAMES = Names(served=(RXAFS, *_COMMON), called=(RXAFSCB, *_COMMON))
"""What the RPCs are called on a server's port, whichever server."""

CLIENT_NAMES = Names(served=(RXAFSCB, RXSTATS), called=(RXAFS, *_COMMON))
"""And on a cache manager's."""

_CODES: tuple[type[IntEnum], ...] = (
    RxCode,
    RxgenCode,
    RxkadError,
    VolumeError,
    VLError,
    VolserError,
    PrError,
    UbikError,
    UnifiedError,
)
"""Where `code_named` looks, in this order."""


def code_named(name: str) -> int:
    """The number of an error an AFS program may answer: `VBUSY`, `UAEAGAIN`, or an errno's name. ValueError."""
    for table in _CODES:
        if name in table.__members__:
            return int(table[name])
    if name.startswith("E") and isinstance(number := getattr(errno, name, None), int):
        return number
    raise ValueError(f"{name}: no error of this name")


class TapOption(NamedTuple):
    """One `--tap`."""

    kind: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"


def vocabulary(names: Names = SERVER_NAMES) -> Vocabulary:
    """The words of a fault script."""
    return Vocabulary(names, code_named)


def open_tap(option: TapOption, clock: Any, names: Names = SERVER_NAMES) -> Tap:
    """The tap an option means. Raises OSError, and ValueError where the file is not what it should be."""
    return _KINDS[option.kind](option.path, clock, names)


def open_taps(options: Mapping[str, Any], clock: Any) -> Tap | None:
    """The taps of a command line, None where there are none. Raises OSError and ValueError."""
    taps = [open_tap(option, clock) for option in options["tap"]]
    return Stack(taps) if taps else None


def _report(problem: str) -> None:
    _log.error("{problem}", problem=problem)


def _pcap(path: Path, clock: Any, names: Names) -> Tap:
    return Pcap(path, time, _report)


def _trace(path: Path, clock: Any, names: Names) -> Tap:
    return Trace(path, names, describe, time, _report)


def _faults(path: Path, clock: Any, names: Names) -> Tap:
    return Faults(path, vocabulary(names), clock)


_KINDS: dict[str, Callable[[Path, Any, Names], Tap]] = {"pcap": _pcap, "trace": _trace, "faults": _faults}


class TappedOptions(Options):
    """A server's Options with `--tap`; `self["tap"]` lists them."""

    def __init__(self) -> None:
        super().__init__()
        self["tap"] = []

    def opt_tap(self, word: str) -> None:
        """For testing clients: pcap:FILE writes a capture, trace:FILE a readable line a packet, faults:FILE does what
        the script in the file says (repeatable; the first is nearest to the network).
        """
        kind, _, name = word.partition(":")
        if kind not in _KINDS or not name:
            raise UsageError(f"--tap {word}: KIND:FILE, the kind one of {', '.join(_KINDS)}")
        path = Path(name).absolute()
        if kind == "faults":
            try:
                parse(path.read_text(encoding="utf-8"), name, vocabulary())
            except (OSError, BadScript) as problem:
                raise UsageError(f"--tap: {problem}") from problem
        self["tap"].append(TapOption(kind, path))
