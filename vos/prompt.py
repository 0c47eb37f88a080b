"""A question to somebody at a terminal."""

from __future__ import annotations

import signal
import sys

from twisted.internet.defer import CancelledError


def answer() -> str:
    """A line of the standard input; nothing else goes on meanwhile. Raises CancelledError at an interrupt."""
    try:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return sys.stdin.readline()
        finally:
            signal.signal(signal.SIGINT, before)
    except KeyboardInterrupt as interrupt:
        raise CancelledError from interrupt
