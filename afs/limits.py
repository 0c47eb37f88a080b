"""The options of every server that bound what clients may take of its UDP ports, and the `Limits` they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rx.constants import MAXIMUM_MTU, MINIMUM_MTU
from rx.limits import Limits

NO_LIMIT = 2**31 - 1
"""The largest number that means something: more than any machine has of anything here."""


class _Option(NamedTuple):
    """One option, and the fields of `Limits` it sets."""

    name: str
    fields: tuple[str, ...]
    text: str
    least: int = 1
    most: int = NO_LIMIT


_OPTIONS = (
    _Option("max-connections", ("server_connections",), "Connections to one UDP port at a time."),
    _Option("max-connections-per-host", ("server_connections_per_host",), "The same from one address."),
    _Option("max-calls", ("server_calls",), "Calls at one UDP port at a time, running or waiting; beyond it BUSY."),
    _Option("max-calls-per-host", ("server_calls_per_host",), "The same from one address."),
    _Option("max-unproven", ("unproven_connections",), "Clients challenged and not heard from yet; then stateless.", 0),
    _Option("max-unproven-per-host", ("unproven_connections_per_host",), "The same from one address.", 0),
    _Option(
        "max-buffered-bytes", ("buffered_bytes",), "Received at one UDP port and not read yet; then dropped.", 1 << 20
    ),
    _Option("max-buffered-bytes-per-host", ("buffered_bytes_per_host",), "The same from one address.", 1 << 20),
    _Option(
        "connection-idle", ("connection_idle_seconds",), "Seconds without use until a connection is forgotten.", 60
    ),
    _Option("rxmaxmtu", ("packet_size", "receive_size"), "Largest datagram, with Rx header.", MINIMUM_MTU, MAXIMUM_MTU),
)
"""`max-buffered-bytes` admits at least one window of the largest datagrams, and connections are kept at least twice as
long as a client waits before it says a call again.
"""


def whole(least: int, most: int = NO_LIMIT) -> Callable[[str], int]:
    """For usage.Options to coerce with: a number between the two. ValueError says which they are."""

    def parsed(word: str) -> int:
        number = int(word) if word.isascii() and word.isdigit() else -1
        if not least <= number <= most:
            raise ValueError(f"a number from {least} to {most}" if most < NO_LIMIT else f"a number from {least} on")
        return number

    return parsed


LIMIT_OPTIONS: list[list[Any]] = [
    [each.name, None, int(getattr(Limits(), each.fields[0])), each.text, whole(each.least, each.most)]
    for each in _OPTIONS
]
"""For the optParameters of a server's Options."""


def chosen_limits(options: Mapping[str, Any]) -> Limits:
    """What a command line allows the clients of each port."""
    return replace(Limits(), **{field: options[each.name] for each in _OPTIONS for field in each.fields})
