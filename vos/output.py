"""What a subcommand says: results on the standard output, everything else on the standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from afs.names import partition_name


@dataclass(frozen=True, slots=True)
class Output:
    """Two streams, and whether more is wanted than the result. What is on `out` comes before a later complaint."""

    out: TextIO
    err: TextIO
    verbose: bool = False
    switches: str = ""
    """Those of the session, from a space on: what a proposed command needs, to mean the same cell and caller."""

    def say(self, text: str = "") -> None:
        """A line of the result."""
        self.out.write(text + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Several."""
        self.out.writelines(f"{line}\n" for line in lines)

    def detail(self, text: str) -> None:
        """A line of the result with -verbose alone, at once."""
        self.part(text + "\n")

    def part(self, text: str) -> None:
        """A part of a line with -verbose alone, at once."""
        if self.verbose:
            self.now(text)

    def now(self, text: str) -> None:
        """A part of a line, at once."""
        self.out.write(text)
        self.out.flush()

    def complain(self, text: str, end: str = "\n") -> None:
        """A line on the standard error, also when the standard output has failed."""
        with suppress(OSError):  # whoever writes there next is told
            self.out.flush()
        self.err.write(text + end)
        self.err.flush()

    def left(self, what: str, remedy: str) -> None:
        """Something that was left as it is, and the command that goes on from there."""
        self.complain(f"vos: left as it is: {what}\nvos: go on with: {remedy}{self.switches}")

    def json(self, data: Any) -> None:
        """The result as JSON."""
        self.out.write(json.dumps(data, indent=1, default=str) + "\n")


def columns(rows: list[tuple[str, ...]], write: Callable[[str], None]) -> None:
    """Rows below one another, the columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def vice_name(number: int) -> str:
    """`/vicepX`; what is not a number of any partition as it is."""
    try:
        return partition_name(number)
    except ValueError:
        return str(number)
