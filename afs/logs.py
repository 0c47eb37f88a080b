"""Where a program's log goes: a file that SIGHUP re-opens, at the level its options say."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEventAsClassicLogText,
)
from twisted.python.components import Componentized
from zope.interface import implementer

LEVELS = tuple(level.name for level in LogLevel.iterconstants())
"""What `--log-level` takes, least important first."""


def level_named(name: str) -> str:
    """`name` itself, for usage.Options to coerce with. ValueError when there is no such level."""
    if name not in LEVELS:
        raise ValueError(f"one of {', '.join(LEVELS)}")
    return name


OPTION = ["log-level", None, "info", f"Least important level that is logged: {', '.join(LEVELS)}.", level_named]
"""For the optParameters of a program's Options."""


def logged(service: IService, options: Mapping[str, Any]) -> IService:
    """`service` as a program of its own: the log goes where twistd's --logfile says, at the level of `options`."""
    twistd_options: Mapping[str, Any] = getattr(options, "parent", None) or {}
    path = twistd_options.get("logfile")
    program = LoggedService(Path(path).absolute() if path and path != "-" else None, options["log-level"])
    service.setServiceParent(program)
    return program


def end_with(message: str) -> NoReturn:
    """End the program with a line on standard error and exit status 1, also once sys.stderr leads into the log."""
    assert sys.__stderr__ is not None
    sys.__stderr__.write(f"{message}\n")
    sys.__stderr__.flush()
    raise SystemExit(1)


@implementer(ILogObserver)
class LogFile:
    """Writes events to a file, a line each, and can open it anew; to standard output when there is no path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: TextIO | None = None

    def __call__(self, event: LogEvent) -> None:
        text = formatEventAsClassicLogText(event)
        if text is not None:
            stream = self._opened()
            stream.write(text)
            stream.flush()

    def reopen(self) -> None:
        """Go on in a file of the same name: what log rotation asks for after it has renamed the old one."""
        if self._path is not None and self._stream is not None:
            self._stream.close()
            self._stream = None

    def _opened(self) -> TextIO:
        if self._stream is None:
            # What sys.stdout was before twistd made it another way into the log.
            self._stream = sys.__stdout__ if self._path is None else open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            assert self._stream is not None
        return self._stream


class LoggedService(MultiService):
    """The top service of a program. Given to an application it brings the log with it, and SIGHUP re-opens that.

    Inside another service it is an ordinary MultiService: the outermost one decides about the log.
    """

    def __init__(self, path: Path | None, level: str) -> None:
        super().__init__()
        self._log_file = LogFile(path)
        threshold = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(level))
        self._observer = FilteringLogObserver(self._log_file, [threshold])
        self._outermost = False
        self._restore: Callable[[], object] | None = None

    def setServiceParent(self, parent: object) -> None:
        """Called by twistd with the application, before it starts the log."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
            self._outermost = True
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start the children and listen for SIGHUP."""
        super().startService()
        if self._outermost:
            previous = signal.signal(signal.SIGHUP, lambda *_: self._log_file.reopen())
            self._restore = lambda: signal.signal(signal.SIGHUP, previous)

    def stopService(self) -> Deferred[None]:
        """Stop the children and leave SIGHUP as it was."""
        if self._restore is not None:
            self._restore()
            self._restore = None
        stopped: Deferred[None] = super().stopService()
        return stopped
