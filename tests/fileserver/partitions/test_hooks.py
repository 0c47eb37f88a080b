"""Hooks: what they are told, and what becomes of one that fails, hangs or does not exist."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from fileserver.partitions.hooks import HookFailed, Verb, run_hook

UUID_TEXT = "12345678-1234-1234-1234-123456789abc"


class Hooks(SynchronousTestCase):
    """Shell scripts as hooks."""

    def hook(self, script: str) -> str:
        """A program."""
        path = Path(os.path.abspath(self.mktemp()))
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return str(path)

    def fails(self, program: str, deadline: float = 10.0) -> str:
        """What is said of its failure."""
        return str(self.assertRaises(HookFailed, run_hook, program, Verb.FENCE, UUID(UUID_TEXT), "/p", deadline))

    def test_arguments(self) -> None:
        """The verb, the partition's UUID and its path."""
        seen = os.path.abspath(self.mktemp())
        run_hook(self.hook(f'echo "$@" > {seen}'), Verb.UNMOUNT, UUID(UUID_TEXT), "/vicepa")
        self.assertEqual(Path(seen).read_text(), f"unmount {UUID_TEXT} /vicepa\n")

    def test_failure(self) -> None:
        """The status and the last line say what went wrong."""
        message = self.fails(self.hook("echo first; echo no such LUN >&2; exit 3"))
        self.assertTrue(message.endswith(f"fence {UUID_TEXT} /p: exit status 3: no such LUN"), message)

    def test_hanging(self) -> None:
        """At the deadline the hook is killed with its children: nothing of it holds the output open."""
        pid_file = Path(os.path.abspath(self.mktemp()))
        message = self.fails(self.hook(f"sleep 600 & echo $! > {pid_file}; wait"), deadline=0.5)
        self.assertIn("killed after 0.5 s", message)
        state = Path(f"/proc/{int(pid_file.read_text())}/stat")
        self.assertTrue(not state.exists() or ") Z " in state.read_text())

    def test_missing(self) -> None:
        """A program that is not there, or not a program."""
        self.assertIn("No such file", self.fails("/nonexistent/hook"))
        plain = Path(os.path.abspath(self.mktemp()))
        plain.write_text("")
        self.assertIn("Permission denied", self.fails(str(plain)))
