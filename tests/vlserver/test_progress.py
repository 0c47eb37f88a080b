"""A long piece of work shows how far it is on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import TestCase

from vlserver.tools import progress as module
from vlserver.tools.progress import progress


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


class ProgressTest(TestCase):
    """What is drawn, without tqdm."""

    def drawn(self, stream: io.StringIO) -> str:
        """What half of some work draws."""
        self.patch(sys, "stderr", stream)
        self.patch(module, "find_spec", lambda name: None)
        with progress("reading") as told:
            told(5, 10)
            told(6, 10)  # too soon after the first to be drawn
        return stream.getvalue()

    def test_terminal(self) -> None:
        """A bar, which is wiped at the end."""
        drawn = self.drawn(Terminal())
        self.assertIn("\rreading [" + "#" * 20 + " " * 20 + "]  50%", drawn)
        self.assertTrue(drawn.endswith("\r\x1b[K"))
        self.assertNotIn("60%", drawn)

    def test_piped(self) -> None:
        """Nothing."""
        self.assertEqual(self.drawn(io.StringIO()), "")
