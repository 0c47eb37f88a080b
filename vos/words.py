"""What the words of stock's subcommands mean, and what is said where they mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from afs.names import BACKUP_SUFFIX, READONLY_SUFFIX, READWRITE_NAME_MAX, base_name
from rx.errors import RxError
from vos.command import CommandError
from vos.entries import volume_id
from vos.errors import error_text
from vos.session import Session
from vos.syntax import USAGE_STATUS

MAX_INT32 = (1 << 31) - 1
_UNITS = "KMGT"
_INTEGER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


@contextmanager
def saying(text: str, status: int = USAGE_STATUS) -> Iterator[None]:
    """An error in here ends the command with this text alone."""
    try:
        yield
    except RxError:
        raise CommandError(f"{text}\n", status) from None


async def need_volume(session: Session, word: str, unknown: str, status: int = USAGE_STATUS) -> int:
    """The id of the volume a word means. Otherwise the command ends, with what the code means if the VLDB gave one,
    else with `unknown`.
    """
    try:
        found = await volume_id(session, word)
    except RxError as problem:
        raise CommandError(f"{error_text(problem.code)}\n", status) from problem
    if not found:
        raise CommandError(f"{unknown}\n", status)
    return found


def base_word(word: str) -> str:
    """A word that names a volume, without the suffix of a clone."""
    return base_name(word.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def encoded(word: str) -> bytes:
    """A name as it travels."""
    return word.encode("utf-8", "surrogateescape")


def need_new_name(word: str, too_long: str, status: int = USAGE_STATUS) -> None:
    """A word can name a new read-write volume. `too_long` is said of one that leaves no room for a suffix."""
    if len(encoded(word)) > READWRITE_NAME_MAX:
        raise CommandError(f"vos: the {too_long} {word} exceeds the size limit of {READWRITE_NAME_MAX}\n", status)
    need_base_name(word, status)
    if is_numeric(word):
        raise CommandError(f"Illegal volume name {word}, should not be a number\n", status)


def need_base_name(word: str, status: int = USAGE_STATUS) -> None:
    """A word has no suffix of a clone."""
    if encoded(word).endswith((READONLY_SUFFIX, BACKUP_SUFFIX)):
        raise CommandError(f"Illegal volume name {word}, should not end in .readonly or .backup\n", status)


def is_numeric(word: str) -> bool:
    """Whether stock takes it for a number: also the empty word."""
    return not word or (word.isascii() and word.isdigit())


def kilobytes(word: str) -> int | None:
    """A size with or without one of the units K, M, G, T; what is behind its letter does not matter. None for what is
    no size, or more than fits (util_GetHumanInt32).
    """
    found = _INTEGER.match(word)
    sign, digits, rest = (found[1], found[2], word[found.end() :]) if found else ("", "0", word)
    value = _integer(digits) * (-1 if sign == "-" else 1)
    if rest:
        if rest[0] not in _UNITS:
            return None
        value *= 1024 ** _UNITS.index(rest[0])
    return value if -MAX_INT32 - 1 <= value <= MAX_INT32 else None


def integer(word: str) -> int | None:
    """A decimal, octal (0...) or hexadecimal (0x...) number, as 32 bits; None for what is none (util_GetInt32)."""
    found = _INTEGER.fullmatch(word)
    if found is None or found[1] == "+":
        return None
    value = _integer(found[2]) * (-1 if found[1] else 1) & 0xFFFF_FFFF
    return value - (1 << 32) if value > MAX_INT32 else value


def _integer(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    return int(digits, 8 if digits.startswith("0") else 10)
