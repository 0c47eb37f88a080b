"""The dates that vos takes, as OpenAFS reads them (ktime.c): `mm/dd/yy hh:mm`, `yyyy-mm-dd hh:mm`, both with seconds
or without a time, Unix seconds, `now` and `never`.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right

from vos.command import CommandError

NEVER = 0xFFFF_FFFF

UNIX_SECONDS = 200_000_000
"""A plain number above this is Unix seconds."""

END = 1 << 31
"""No date is beyond 2038."""

MALFORMED, IMPOSSIBLE = -1, -2
"""What stock calls a date that cannot be read, and one that there is not."""

_NUMBER = r"\s*([+-]?\d+)"
_SLASHES = rf"{_NUMBER}\s*/{_NUMBER}\s*/{_NUMBER}"
_PLAIN = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_SLASHES}{_NUMBER}\s*:{_NUMBER}\s*:{_NUMBER}\s*",
        rf"{_SLASHES}{_NUMBER}\s*:{_NUMBER}\s*",
        rf"{_SLASHES}\s*",
    )
)
_ISO = re.compile(rf"{_NUMBER}-{_NUMBER}-{_NUMBER}(?:{_NUMBER}(?::{_NUMBER}(?::{_NUMBER}\s*(\S)?)?)?)?")


class BadDate(ValueError):
    """No date; with stock's code for why not."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def need_date(word: str | None) -> int:
    """Unix seconds; 0 where nothing is said. Raises CommandError."""
    if word is None or word == "0":
        return 0
    try:
        return parse_date(word)
    except BadDate as problem:
        raise CommandError(f"vos: failed to parse date '{word}' (error={problem.code}))\n") from None


def parse_date(text: str) -> int:
    """Unix seconds, in the zone of this machine. Raises BadDate."""
    number = re.fullmatch(rf"{_NUMBER}\s*", text)
    if number and int(number[1]) > UNIX_SECONDS:
        return int(number[1]) & 0xFFFF_FFFF
    word = text.lower()
    if word == "never":
        return NEVER
    if word == "now":
        return int(time.time())
    year, *rest = _fields(text)
    if year < 69:
        year += 2000
    elif year < 100:
        year += 1900
    elif year < 1900:
        raise BadDate(IMPOSSIBLE)
    wanted = (year, *rest)
    # The last second that is not after it: of the 31st of a month of 30 days the end of the 30th.
    return max(0, bisect_right(range(END), wanted, key=lambda second: tuple(time.localtime(second)[:6])) - 1)


def _fields(text: str) -> list[int]:
    """Year, month, day, hour, minute, second."""
    found = next((match for each in _PLAIN if (match := each.fullmatch(text))), None)
    if found:
        month, day, year, *clock = map(int, found.groups())
    else:
        iso = _ISO.match(text)
        if iso is None or iso[7] is not None or (iso[4] is not None and iso[5] is None):
            raise BadDate(MALFORMED)
        year, month, day, *clock = (int(each) for each in iso.groups() if each is not None)
    fields = [year, month, day, *clock, 0, 0, 0][:6]
    for value, (low, high) in zip(fields, _BOUNDS, strict=True):
        if not low <= value <= high:
            raise BadDate(IMPOSSIBLE)
    return fields


_BOUNDS = ((0, END), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
