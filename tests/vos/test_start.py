"""What the program does before it talks to anybody."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from vos.main import every_command, exact

SECONDS = 30.0
"""For Python to start on a machine that does much else."""

HEAVY = ("afs.rpc.fs", "afs.rpc.cb", "afs.rpc.pr", "afs.client", "tqdm", "rich", "vlserver", "fileserver")
"""What a listing has no use for."""


class Start(SynchronousTestCase):
    """A process of its own."""

    def test_light(self) -> None:
        """A listing imports what it needs, and no other subcommand."""
        program = (
            "import sys; from vos.main import main; main(['listpartitions', '-noauth', '-config', '/nonexistent']); "
            "import vos.run; print(*sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=True
        )
        loaded = set(done.stdout.split())
        self.assertIn("vos.commands.listpartitions", loaded)
        self.assertEqual(
            [name for name in loaded if name.startswith(("vos.commands.list", "vos.commands.e"))],
            ["vos.commands.listpartitions"],
        )
        self.assertEqual(loaded.intersection(HEAVY), set())

    def test_as_module(self) -> None:
        """`python -m vos` is the program: statuses and streams of help, a wrong call, and a cell that is not there."""
        for words, status, out, err in (
            ((), 255, "vos: Type 'vos help' or 'vos help <topic>' for help\n", ""),
            (("apropos", "unmount"), 0, "umountpartition: unmount a vice partition from a server\n", ""),
            (("nonsense",), 255, "", "vos: Unrecognized operation 'nonsense'; type 'vos help' for list\n"),
            (
                ("listvldb", "-config", "/nonexistent"),
                1,
                "",
                "vos: Could not process files in configuration directory (/nonexistent).\n"
                "could not initialize VLDB library (code=5) \n",
            ),
        ):
            command = [sys.executable, "-m", "vos", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (status, out, err), words)

    def test_nobody_reads(self) -> None:
        """Where the output is not wanted any more it ends, without a word."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            command = [sys.executable, "-m", "vos", "help"]
            done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
        finally:
            os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (255, b""))

    def test_any_bytes(self) -> None:
        """Words that are no UTF-8 are told as they came."""
        command = [sys.executable.encode(), b"-m", b"vos", b"caf\xe9"]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual(done.stderr, b"vos: Unrecognized operation 'caf\xe9'; type 'vos help' for list\n")

    def test_scanned(self) -> None:
        """A subcommand is in the file of its name."""
        for command in every_command():
            self.assertIs(exact(command.syntax.name), command)
        self.assertIsNone(exact("../main"))
        self.assertIsNone(exact("__init__"))
