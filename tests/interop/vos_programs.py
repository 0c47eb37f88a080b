"""The two vos programs on a node, stock's and ours, and what they say with what differs from run to run left out."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.namespaces import CHECKOUT, Node, NodeFailed, Result, wait_for
from tests.interop.ours import START_SECONDS

Program = Callable[..., Result]
"""Carries words out, with `stdin`."""

_LOOSE = (
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) [ \d]\d \d\d:\d\d:\d\d \d{4}"), "DATE"),
    (re.compile(r"(Date\t)\d{9,10}"), r"\1SECONDS"),
    (re.compile(r"\d+ (K blocks|KB free|MB free)"), r"# \1"),
    (re.compile(r"(transaction: )\d+"), r"\1#"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{12}\b"), "UUID"),
)


def said(result: Result) -> tuple[int, str, str]:
    """Exit status and both outputs of a command, without dates, room on disks, transactions' numbers and UUIDs."""
    out, err = result.out, result.err
    for pattern, instead in _LOOSE:
        out, err = pattern.sub(instead, out), pattern.sub(instead, err)
    return result.status, out, err


def stock_vos(node: Node) -> Program:
    """Stock's."""

    def run(*words: str, stdin: str = "") -> Result:
        return node.run_now("vos", *words, stdin=stdin)

    return run


@dataclass(frozen=True, slots=True)
class OwnVos:
    """Ours, forked for each command from a process that has imported it."""

    path: str

    @classmethod
    def on(cls, node: Node) -> OwnVos:
        """Start the process and wait until it serves."""
        path = node.home / "vos.socket"
        daemon = node.start(
            "vos", [sys.executable, "-m", "tests.interop.vos_forks", str(path)], {"PYTHONPATH": str(CHECKOUT)}
        )

        def serves() -> bool:
            if not daemon.running():
                raise NodeFailed(f"vos_forks ended: {daemon.tail()}")
            return path.exists()

        wait_for("our vos to be imported", serves, START_SECONDS)
        return cls(str(path))

    def __call__(self, *words: str, stdin: str = "") -> Result:
        """Carry words out."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(self.path)
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({"words": words, "stdin": stdin}).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
        return Result(" ".join(("vos", *words)), answer["status"] % 256, answer["out"], answer["err"])
