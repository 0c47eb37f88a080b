"""Volume names picked by how they begin, or, with a `^` before it, by a basic regular expression of POSIX.

The C library's own are used: Python's mean other things by the same words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

ANCHOR = "^"
"""What an expression begins with."""

REG_NOSUB = 8

_STRUCTURE_SIZE = 1024
"""More than the regex_t of any C library."""

_MESSAGE_SIZE = 256

Test = Callable[[bytes], bool]


class BadExpression(ValueError):
    """The C library cannot make anything of it, and says why."""


def begins(word: str) -> Test:
    """Whether a name is picked by a word. Raises BadExpression."""
    encoded = word.encode("utf-8", "surrogateescape")
    return _expression(encoded) if word.startswith(ANCHOR) else lambda name: name.startswith(encoded)


def described(words: Sequence[str], conjunction: str) -> str:
    """The words as a listing of what is picked has them: `prefix 'a' or expression '^b'`."""
    return f" {conjunction} ".join(
        f"{'expression' if word.startswith(ANCHOR) else 'prefix'} '{word}'" for word in words
    )


def _expression(pattern: bytes) -> Test:
    library = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(_STRUCTURE_SIZE)  # kept for as long as the process, which is short
    problem = library.regcomp(compiled, pattern, REG_NOSUB)
    if problem:
        message = ctypes.create_string_buffer(_MESSAGE_SIZE)
        library.regerror(problem, compiled, message, ctypes.c_size_t(_MESSAGE_SIZE))
        raise BadExpression(message.value.decode(errors="replace"))
    return lambda name: not library.regexec(compiled, name, ctypes.c_size_t(0), None, 0)
