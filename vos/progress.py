"""How far long work is: a bar on the terminal (tqdm's, where that is installed), else, with -verbose, a line on the
standard error now and then. The standard output has what stock prints, and no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from ipaddress import IPv4Address
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from rx.errors import RxError
from vos.output import Output
from vos.session import Session

STEP_SECONDS = 0.2
"""Between two drawings of a bar."""

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal: what takes less is not worth one."""

WATCH_SECONDS = 2.0
"""Between two looks at what servers do among themselves."""

Told = Callable[[int], None]
"""Is given the number of bytes that have passed since the last time."""


@contextmanager
def bytes_passing(session: Session, what: str, total: int = 0) -> Iterator[Told]:
    """A function to tell how many bytes have passed; what it draws is gone at the end. `total` 0 is not known."""
    output = session.output
    if not output.err.isatty():
        lines = _Lines(session, what) if output.verbose else None
        yield lines.told if lines else _ignored
    elif find_spec("tqdm"):
        from tqdm import tqdm

        bar = tqdm(desc=what, total=total or None, unit="B", unit_scale=True, leave=False, mininterval=STEP_SECONDS)
        with bar:
            yield bar.update
    else:
        yield _Bar(session, what, total).told
        _erase(output.err)


@asynccontextmanager
async def watched(session: Session, server: IPv4Address, trans: int) -> AsyncIterator[None]:
    """While servers send one another something in a transaction of `server`, show how far that is."""
    output = session.output
    if not (output.err.isatty() or output.verbose):
        yield
        return
    watch = _Watch(session, server, trans)
    looking = LoopingCall(lambda: Deferred.fromCoroutine(watch.look()))
    looking.clock = session.reactor
    looking.start(WATCH_SECONDS if output.err.isatty() else LINE_SECONDS, now=False)
    try:
        yield
    finally:
        looking.stop()
        if output.err.isatty():
            _erase(output.err)


class _Lines:
    """A line now and then."""

    def __init__(self, session: Session, what: str) -> None:
        self._output: Output = session.output
        self._reactor = session.reactor
        self._what = what
        self._bytes = 0
        self._begun = self._last = session.reactor.seconds()

    def told(self, count: int) -> None:
        self._bytes += count
        now = self._reactor.seconds()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._output.err.write(f"{self._what}: {size(self._bytes)}, {size(self._bytes / (now - self._begun))}/s\n")
            self._output.err.flush()


class _Bar:
    """The terminal's last line."""

    def __init__(self, session: Session, what: str, total: int) -> None:
        self._err = session.output.err
        self._reactor = session.reactor
        self._what = what
        self._total = total
        self._bytes = 0
        self._begun = session.reactor.seconds()
        self._shown = 0.0

    def told(self, count: int) -> None:
        self._bytes += count
        now = self._reactor.seconds()
        if now - self._shown < STEP_SECONDS:
            return
        self._shown = now
        part = f" of {size(self._total)}" if self._total >= self._bytes else ""
        speed = f", {size(self._bytes / (now - self._begun))}/s" if now > self._begun else ""
        self._err.write(f"\r\x1b[K{self._what}: {size(self._bytes)}{part}{speed}")
        self._err.flush()


class _Watch:
    """What the volume server says of a transaction."""

    def __init__(self, session: Session, server: IPv4Address, trans: int) -> None:
        self._session = session
        self._server = server
        self._trans = trans
        self._begun = session.reactor.seconds()

    async def look(self) -> None:
        """A glance: whoever does not answer is no problem of ours, the work itself will tell."""
        try:
            found = await self._session.volser(self._server).Monitor()
        except RxError:
            return
        err = self._session.output.err
        start, end = ("\r\x1b[K", "") if err.isatty() else ("", "\n")
        for each in found:
            if each.tid == self._trans:
                seconds = self._session.reactor.seconds() - self._begun
                packets = f", {each.transmitNext - 1} packets" if each.callValid and each.transmitNext > 1 else ""
                name = each.lastProcName.decode(errors="replace")
                err.write(f"{start}{name} of volume {each.volid}: {seconds:.0f} s{packets}{end}")
                err.flush()


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _ignored(count: int) -> None:
    pass


def _erase(err: TextIO) -> Any:
    err.write("\r\x1b[K")
    err.flush()
