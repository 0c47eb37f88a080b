"""afs-cell as a program: what scripts that start it rely on. Run without root, on a loopback address of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from afs.authentication import Authentication
from afs.client import FileClient
from afs.errors import VLError
from afs.keys import KeyStore
from rx.errors import Abort

CHECKOUT = Path(__file__).resolve().parents[3]
NOBODY = 65534
AS_NOBODY = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    # So that a Python or a checkout in root's home can be read.
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]
READY_SECONDS = 60.0
TWISTD = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from twisted.scripts.twistd import run; run()"
)
"""Whoever runs the tests in the background of a shell has them ignore SIGINT, and so whatever they start."""

IMPATIENT = f"import afs.cell.service; afs.cell.service.PREPARATION_SECONDS = 3; {TWISTD}"
PORTS = (7000, 7003, 7005)


def free_address() -> str:
    """An address in 127/8 on which nobody has the ports of AFS."""
    for last in range(1, 255):
        address = f"127.0.{os.getpid() % 250}.{last}"
        try:
            for port in PORTS:
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address
    raise AssertionError("no free address in 127/8")


class CellTests(TestCase):
    """One directory, one address."""

    timeout = 180.0

    def setUp(self) -> None:
        """A directory that an ordinary user may write."""
        self.home = Path(tempfile.mkdtemp(prefix="txafs-cell-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            os.chown(self.home, NOBODY, NOBODY)
            self.prefix = AS_NOBODY
        self.address = free_address()

    def start(self, *options: str, program: str = TWISTD) -> subprocess.Popen[str]:
        """Start afs-cell; its standard output and error are pipes."""
        words = ["--nodaemon", "--pidfile=", "afs-cell", "--address", self.address, "--directory", "cell", *options]
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-c", program, *words],
            cwd=self.home,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self._reap, process)
        return process

    def ready(self, process: subprocess.Popen[str]) -> list[str]:
        """All lines it prints until the last of the commands."""
        assert process.stdout is not None
        lines: list[str] = []
        # Nothing else ends the wait for a line that never comes: the reactor with trial's timeouts stands still.
        late = threading.Timer(READY_SECONDS, process.kill)
        late.start()
        try:
            while not lines or not lines[-1].startswith("umount "):
                line = process.stdout.readline()
                if not line:
                    log = self.home / "cell/log"
                    said = [process.stderr.read() if process.stderr else "", log.read_text() if log.exists() else ""]
                    self.fail("\n".join(["not ready:", *lines, *said]))
                lines.append(line.rstrip("\n"))
        finally:
            late.cancel()
        return lines

    def stop(self, process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
        """Send a signal; (exit status, standard error)."""
        process.send_signal(number)
        _, error = process.communicate(timeout=READY_SECONDS)
        return process.returncode, error

    def test_ready_line(self) -> None:
        """It prints the ready line and then commands, nothing else, and the log is in the directory."""
        process = self.start("--cell", "example.org")
        first, *commands = self.ready(process)
        home = self.home / "cell"
        self.assertEqual(
            first,
            f"cell example.org ready: vlserver {self.address}:7003 fileserver {self.address}:7000,7005 "
            f"server-config {home}/server client-config {home}/client",
        )
        self.assertIn(f"vos listvldb -noauth -config {home}/client", commands)
        self.assertIn(f"vos examine scratch -localauth -config {home}/server", commands)
        self.assertTrue(any(re.match(r"afsd\.fuse .*-confdir .*-cachedir ", line) for line in commands))
        self.assertTrue((home / "client/cacheinfo").exists())
        self.assertNotIn("NO AUTHENTICATION", (home / "log").read_text())
        status, error = self.stop(process, signal.SIGTERM)
        self.assertIn(status, (0, -signal.SIGTERM))
        self.assertEqual(error, "")

    def test_noauth(self) -> None:
        """With --noauth no command needs the key, and the log is loud; --noauth-from alone is refused."""
        process = self.start("--noauth", "--noauth-from", "192.0.2.0/24")
        commands = self.ready(process)
        self.assertFalse(any("-localauth" in command for command in commands))
        self.assertIn("NO AUTHENTICATION", (self.home / "cell/log").read_text())
        self.stop(process, signal.SIGTERM)
        process = self.start("--noauth-from", "192.0.2.0/24")
        out, _ = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, "--noauth-from means nothing" in out), (1, True))

    async def test_key(self) -> None:
        """The first start makes a key that nobody else can read and every later one keeps; its holder administers."""
        path = self.home / "cell/server/KeyFileExt"
        process = self._started()
        content = path.read_bytes()
        self.assertEqual((path.stat().st_mode & 0o777, len(content)), (0o600, 56))
        self.stop(process, signal.SIGTERM)
        self._started()
        self.assertEqual(path.read_bytes(), content)
        client = self._client(security=Authentication(KeyStore(path.parent)).own)
        self.assertGreater(await client.vl((self.address, 7003)).GetNewVolumeId(1), 0)
        await client.stop()
        client = self._client()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        try:
            await client.vl((self.address, 7003)).GetNewVolumeId(1)
        except Abort as refusal:
            self.assertEqual(refusal.code, VLError.VL_PERM)
        else:
            self.fail("somebody without the key was taken for an administrator")

    async def test_found_again(self) -> None:
        """After SIGINT and a new start the volumes, mount points and files are where they were."""
        self.stop(self._started(), signal.SIGINT)
        process = self._started()
        client = self._client()
        await client.write_file("/txafs.test/scratch/note", b"kept")
        await client.stop()
        self.stop(process, signal.SIGINT)
        self._started()
        client = self._client()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        self.assertEqual(await client.read_file("/.txafs.test/root.afs/txafs.test/scratch/note"), b"kept")
        granted, denied = await client.get_acl("/txafs.test/scratch")
        self.assertEqual((granted["system:anyuser"], denied), (0x3F, {}))
        granted, _ = await client.get_acl("/txafs.test")
        self.assertEqual(granted["system:anyuser"], 0x09)

    def test_several_fileservers(self) -> None:
        """--fileserver, given twice, runs two, each with a partition of its own."""
        second = f"{self.address.rpartition('.')[0]}.{int(self.address.rpartition('.')[2]) + 1}"
        lines = self.ready(self.start("--fileserver", self.address, "--fileserver", second))
        self.assertIn(f"fileserver {self.address}:7000,7005 fileserver {second}:7000,7005", lines[0])
        self.assertTrue((self.home / "cell/fileserver-2/vicepa").is_dir())

    def test_taken_port(self) -> None:
        """A port that somebody else has is named in one line on standard error, with exit status 1."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.bind((self.address, 7005))
            process = self.start()
            out, error = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, out), (1, ""))
        self.assertEqual(error.count("\n"), 1)
        self.assertIn(f"{self.address}:7005", error)

    def test_other_cell(self) -> None:
        """A directory keeps the name of its cell: another one is refused in one line."""
        self.stop(self._started(), signal.SIGTERM)
        process = self.start("--cell", "other.org")
        _, error = process.communicate(timeout=READY_SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(error, r"^afs-cell: .* is of cell txafs.test, not other.org\n$")

    def test_two_cells_in_one_directory(self) -> None:
        """The second is refused in one line, and changes nothing that the first relies on."""
        self._started()
        config = self.home / "cell/server/CellServDB"
        content = config.read_bytes()
        process = self.start("--address", f"{self.address.rpartition('.')[0]}.254")
        out, error = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, out), (1, ""))
        self.assertRegex(error, r"^afs-cell: .*/cell: another cell runs in this directory\n$")
        self.assertEqual(config.read_bytes(), content)

    def test_reason_of_a_server(self) -> None:
        """What prevents one of the servers is said on standard error, in its own words."""
        (self.home / "cell").mkdir()
        (self.home / "cell/vldb.sqlite").write_text("not a database, and longer than the header of one is" * 10)
        if self.prefix:
            for path in (self.home / "cell", self.home / "cell/vldb.sqlite"):
                os.chown(path, NOBODY, NOBODY)
        process = self.start()
        out, error = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, out), (1, ""))
        self.assertRegex(error, r"^afs-cell: afs-vlserver: .*vldb\.sqlite: file is not a database\n$")

    def test_held_call(self) -> None:
        """A server that keeps a call waiting, and alive, is not waited for for ever: it is said, with exit status 1."""
        script = self.home / "hold.faults"
        script.write_text("hold opcode=GetTime\n")
        process = self.start("--tap", f"faults:{script}", program=IMPATIENT)
        out, error = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, out), (1, ""))
        self.assertRegex(error, r"^afs-cell: .*not ready after 3 s.*\n$")

    def test_words_that_name_no_cell(self) -> None:
        """A name that no cell can have is refused before anything is made."""
        process = self.start("--cell", "a b/c")
        out, _ = process.communicate(timeout=READY_SECONDS)
        self.assertEqual((process.returncode, "'a b/c' is not the name of a cell" in out), (1, True))
        self.assertFalse((self.home / "cell").exists())

    def test_directory_with_a_space(self) -> None:
        """The commands can be run as printed whatever the directory is called."""
        lines = self.ready(self.start("--directory", "my cell"))
        for line in lines[1:]:
            self.assertTrue(any(word.startswith(f"{self.home}/my cell/") for word in shlex.split(line)), line)

    def test_hangup(self) -> None:
        """SIGHUP goes on in a new log file once the old one was renamed."""
        process = self._started()
        log, old = self.home / "cell/log", self.home / "cell/log.1"
        log.rename(old)
        process.send_signal(signal.SIGHUP)
        self.stop(process, signal.SIGTERM)
        self.assertIn("shutting down", log.read_text())
        self.assertNotIn("shutting down", old.read_text())

    def _started(self) -> subprocess.Popen[str]:
        process = self.start()
        self.ready(process)
        return process

    def _client(self, **options: Any) -> FileClient:
        client = FileClient(reactor, [(self.address, 7003)], address=self.address, **options)
        client.start()
        return client

    def _reap(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()
