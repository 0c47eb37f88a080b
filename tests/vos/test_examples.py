"""docs/vos.md: what its programs do, they do."""

from __future__ import annotations

import ast
import builtins
import io
import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet import reactor

import vos.session
from tests.vos.cells import FIRST, SECOND, VosCase
from vos.options import Options
from vos.output import Output
from vos.session import Session

PAGE = Path(__file__).parents[2] / "docs/vos.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SAID = (
    r"home.alice is \d+ in test",
    r"a dump of home.alice has \d+ bytes",
    r"0 of 1 entries are locked",
    r"Could not lock the VLDB entry for the volume \d+: VLDB: vldb entry is already locked",
    r".*\n0 \[b'home.alice', b'home.alice.backup'\].*",
    r"0 of \d+ were wrong",
)
"""What each prints."""


class Examples(VosCase):
    """The programs, one after the other, in a cell with two file servers."""

    async def test_page(self) -> None:
        """Each runs and prints what it should; the volume they were about is gone in the end."""
        first, *others = BLOCK.findall(PAGE.read_text())
        numbers = {"fs1.example.com": FIRST, "fs2.example.com": SECOND}
        self.patch(vos.session, "_resolved", _resolver(numbers))
        self.patch(Session, "of", lambda _, options, output: self.session(options, output))
        printed: list[str] = []
        namespace: dict[str, Any] = {"__name__": "example", "print": _printer(printed)}
        await _run(first, namespace)
        await namespace["main"](reactor)
        async with vos.session.open_cell(reactor, Options(), Output(io.StringIO(), io.StringIO())) as cell:
            namespace["cell"] = cell
            said = [printed]
            for block in others:
                said.append([])
                namespace["print"] = _printer(said[-1])
                await _run(block, namespace)
            self.assertEqual([entry async for entry in cell.vldb.entries()], [])
        for pattern, lines in zip(SAID, (each for each in said if each), strict=True):
            text = "\n".join(lines)
            self.assertTrue(re.fullmatch(pattern, text, re.DOTALL), text)


async def _run(source: str, namespace: dict[str, Any]) -> None:
    code = compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, namespace)
    if running is not None:
        await running


def _resolver(numbers: dict[str, str]) -> Any:
    resolved = vos.session._resolved

    def resolve(name: str) -> list[IPv4Address]:
        return resolved(numbers.get(name, name))

    return resolve


def _printer(lines: list[str]) -> Any:
    def put(*values: object) -> None:
        out = io.StringIO()
        builtins.print(*values, file=out)
        lines.append(out.getvalue().rstrip("\n"))

    return put
