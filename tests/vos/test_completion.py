"""The completion of words, by bash."""

from __future__ import annotations

import shutil
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

SECONDS = 30.0
"""For Python and bash to start on a machine that does much else."""


class Completion(SynchronousTestCase):
    """What bash offers after the script has been read."""

    skip = None if shutil.which("bash") else "bash is not installed"

    def setUp(self) -> None:
        command = [sys.executable, "-m", "vos", "completion"]
        self.script = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout

    def offered(self, *words: str) -> list[str]:
        """For the last of the words."""
        listed = " ".join(f"'{word}'" for word in words)
        asked = f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _vos; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(
            ["bash", "-c", f"{self.script}\n{asked}"], capture_output=True, text=True, timeout=SECONDS, check=True
        )
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_words(self) -> None:
        """Subcommands, their switches and those of all, also by another name; values are left to bash."""
        self.assertEqual(self.offered("vos", "unl"), ["unlock", "unlockvldb"])
        self.assertEqual(self.offered("vos", "lock", "-l"), ["-localauth"])
        self.assertEqual(self.offered("vos", "volinfo", "v", "-f"), ["-format"])
        self.assertEqual(self.offered("vos", "addsite", "-force"), [])
        self.assertEqual(self.offered("vos", "create", "fs"), [])
        self.assertEqual(self.offered("vos", "nosuch", "-"), [])
