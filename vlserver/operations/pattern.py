"""Volume name patterns: basic regular expressions without what makes matching them slow.

Characters, `.`, bracket expressions and `*` are understood, matched by following every possibility at once, so the
time is the product of the two lengths whatever the pattern (advisory 2015-006: patterns such as ``(((a*)*)*)*`` kept a
server busy; as in any basic expression those parentheses are characters). Groups, intervals and back references are
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_PATTERN = 65
"""Bytes of a pattern: what stock's buffer holds between its anchors."""

_SPECIAL = b".[]*^$\\"
_CLASSES: dict[bytes, Callable[[bytes], bool]] = {
    b"alpha": bytes.isalpha,
    b"digit": bytes.isdigit,
    b"alnum": bytes.isalnum,
    b"upper": bytes.isupper,
    b"lower": bytes.islower,
}
_EVERY_BYTE = frozenset(range(256))


class BadPattern(ValueError):
    """The pattern is malformed, too long, or uses what is refused."""


@dataclass(frozen=True, slots=True)
class _Atom:
    bytes_: frozenset[int]
    repeated: bool


class Pattern:
    """A compiled pattern. Raises BadPattern."""

    def __init__(self, text: bytes) -> None:
        if len(text) > MAX_PATTERN:
            raise BadPattern(f"{len(text)} bytes")
        self._atoms = _parse(text)

    def matches(self, name: bytes) -> bool:
        """Whether the pattern describes the whole name."""
        states = self._reachable({0})
        for byte in name:
            following = {
                state if self._atoms[state].repeated else state + 1
                for state in states
                if state < len(self._atoms) and byte in self._atoms[state].bytes_
            }
            states = self._reachable(following)
        return len(self._atoms) in states

    def _reachable(self, states: set[int]) -> set[int]:
        """The states, and those behind atoms that may match nothing."""
        reached = set(states)
        for state in states:
            while state < len(self._atoms) and self._atoms[state].repeated:
                state += 1
                reached.add(state)
        return reached


def _parse(text: bytes) -> list[_Atom]:
    atoms: list[_Atom] = []
    at = 0
    while at < len(text):
        if text[at : at + 1] == b"*" and atoms:
            atoms[-1] = _Atom(atoms[-1].bytes_, repeated=True)
            at += 1
        else:
            matched, at = _atom(text, at)
            atoms.append(_Atom(matched, repeated=False))
    return atoms


def _atom(text: bytes, at: int) -> tuple[frozenset[int], int]:
    match text[at : at + 1]:
        case b".":
            return _EVERY_BYTE, at + 1
        case b"[":
            return _bracket(text, at + 1)
        case b"\\":
            if at + 1 == len(text) or text[at + 1] not in _SPECIAL:
                raise BadPattern(f"{text[at : at + 2]!r} is not supported")
            return frozenset((text[at + 1],)), at + 2
        case _:
            return frozenset((text[at],)), at + 1


def _bracket(text: bytes, at: int) -> tuple[frozenset[int], int]:
    """A bracket expression from behind its `[`; a `]` that comes first is a character."""
    negated = text[at : at + 1] == b"^"
    at += negated
    end = text.find(b"]", at + 1)
    members: set[int] = set()
    while text[at : at + 2] == b"[:":
        name, closed, _ = text[at + 2 :].partition(b":]")
        if not closed or name not in _CLASSES:
            raise BadPattern(f"{name!r} is no class of characters")
        members |= {byte for byte in range(128) if _CLASSES[name](bytes((byte,)))}
        at += len(name) + 4
        end = text.find(b"]", at)
    if end < 0:
        raise BadPattern("a bracket is not closed")
    inside = text[at:end]
    while inside:
        if inside[1:2] == b"-" and len(inside) > 2:
            if inside[0] > inside[2]:
                raise BadPattern(f"{inside[:3]!r} is no range")
            members |= set(range(inside[0], inside[2] + 1))
            inside = inside[3:]
        else:
            members.add(inside[0])
            inside = inside[1:]
    return (_EVERY_BYTE - members if negated else frozenset(members)), end + 1
