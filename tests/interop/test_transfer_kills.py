"""kill -9 of the source, the target or the client at every AFSVol call of vos move, release and restore: the way out
that docs/transfers.md describes ends with the volume in one place, whole, and the same command done.
"""

from __future__ import annotations

import random
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTest
from tests.interop.data_cells import PARTITIONS, SERVERS, OurDataCell, some_dump
from tests.interop.namespaces import Daemon, wait_for
from tests.interop.ours import start_plugin
from tests.interop.test_dump import vnodes
from tests.interop.volser_dying import WAIT
from tests.support.budget import budget

PROGRAM = str(Path(__file__).with_name("volser_dying.py"))
GIVEN, FOUND = "/var/log/openafs/given.dump", "/var/log/openafs/found.dump"
"""As the node sees them."""
COMMAND_SECONDS = 150.0
"""A stock client takes a server for dead after 50 s of silence, and asks it again to clean up."""

MOVE = ("move", "vol", "fs1", "a", "fs2", "a")
BACK = ("move", "vol", "fs2", "a", "fs1", "a")

TRANSACTION = re.compile(r"^transaction: (\d+)", re.MULTILINE)
NUMBER = re.compile(r"\b\d{9,}\b")
LISTED = re.compile(r"^(\S+) +(\d+) (RW|RO|BK) +\d+ K (On-line|Off-line)", re.MULTILINE)
SITE = re.compile(r"server (\S+) partition /vicep(\S) (RW|RO) Site")


@dataclass(frozen=True)
class Case:
    """When `server` comes to `step` of `command`, it dies, or the client does."""

    command: str
    server: str
    step: str
    client: bool


class DyingCell(OurDataCell):
    """Whose fileservers die when they are told to."""

    def start(self, name: str) -> Daemon:
        node = self.nodes[name]
        places = [word for letter in PARTITIONS for word in ("--partition", f"/vicep{letter}")]
        options = ["--address", node.address, "--state", str(node.home / "state"), "--protection", "none", *places]
        twistd = [sys.executable, PROGRAM, str(self.order(name))]
        return start_plugin(node, "afs-fileserver", *options, twistd=twistd)

    def order(self, name: str) -> Path:
        """What a server is told by."""
        return self.nodes[name].home / "order"

    def told(self, name: str, step: str) -> None:
        """Tell a server when to die, and to count from now on."""
        self.order(name).write_text(step)
        self._called(name).unlink(missing_ok=True)

    def calls(self, name: str) -> list[str]:
        """What it was called since."""
        path = self._called(name)
        return path.read_text().split() if path.exists() else []

    def _called(self, name: str) -> Path:
        return self.order(name).with_name("order.calls")

    def start_again(self, name: str) -> None:
        """After it died."""
        self.fileservers[name] = self.start(name)
        self.ready(name)

    def listed(self, name: str) -> Iterator[tuple[str, str, str, str]]:
        """(server, partition, id, state) wherever there is a volume of that name."""
        for server in SERVERS:
            for letter in PARTITIONS:
                for called, number, _, state in LISTED.findall(self.vos("listvol", server, letter).check().out):
                    if called == name:
                        yield server, letter, number, state

    def left(self) -> Iterator[tuple[str, str, str]]:
        """(server, partition, id) of volumes that only a listing of ids shows: those marked for deletion."""
        for server in SERVERS:
            for letter in PARTITIONS:
                ids = NUMBER.findall(self.vos("listvol", server, letter, "-fast").check().out)
                shown = set(NUMBER.findall(self.vos("listvol", server, letter).check().out))
                yield from ((server, letter, number) for number in ids if number not in shown)

    def site(self, name: str) -> tuple[str, str] | None:
        """Where the VLDB has the read-write volume."""
        for server, letter, kind in SITE.findall(self.vos("listvldb", "-name", name).out):
            if kind == "RW":
                return server.partition(".")[0], letter
        return None

    def recover(self, name: str) -> None:
        """The way out, for a volume whose transfer was interrupted."""
        for server in SERVERS:
            for transaction in TRANSACTION.findall(self.vos("status", server).check().out):
                self.vos("endtrans", server, transaction).check()
        site = self.site(name)
        if site is not None:
            self.vos("unlock", name)
        for place in self.left():
            self.vos("zap", *place).check()
        for server, letter, number, state in list(self.listed(name)):
            if (server, letter) != site:
                self.vos("zap", server, letter, number).check()
            elif state == "Off-line":
                self.vos("online", server, letter, name).check()


class TransferKills(InteropTest):
    """One cell; the volume goes to and fro, is released to both servers, and restored anew."""

    timeout = 7200.0
    cell: DyingCell
    content: bytes

    async def test_every_call(self) -> None:
        """See the module."""
        given = await some_dump(self)
        self.cell = await deferToThread(DyingCell, self.new_network())
        self.content = vnodes(given)
        await deferToThread(self._prepare, given)
        cases = await deferToThread(self._cases)
        share = budget("interop.transfer-kills", full=len(cases), least=4)
        rng = random.Random(share.seed)
        chosen = [case for _ in range(-(-share.count // len(cases))) for case in rng.sample(cases, len(cases))]
        for case in chosen[: share.count]:
            try:
                await deferToThread(self._interrupted, case)
            except Exception as problem:
                raise AssertionError(f"{case} (seed {share.seed}): {problem}") from problem

    def _prepare(self, given: bytes) -> None:
        """A volume on fs1 with a read-only site on either server."""
        self.cell.node.path(GIVEN).write_bytes(given)
        self.cell.vos("restore", "fs1", "a", "vol", "-file", GIVEN).check()
        for server in SERVERS:
            self.cell.vos("addsite", server, "b", "vol").check()
        self.cell.vos("release", "vol").check()

    def _words(self, command: str) -> tuple[str, ...]:
        if command == "restore":
            return "restore", "fs2", "a", "fresh", "-file", GIVEN
        if command == "release":
            return "release", "vol", "-force"
        return MOVE

    def _name(self, command: str) -> str:
        return "fresh" if command == "restore" else "vol"

    def _cases(self) -> list[Case]:
        """Every call of every command, at its begin and at its end."""
        cases = []
        for command in ("move", "release", "restore"):
            for server in SERVERS:
                self.cell.told(server, "none")
            self.cell.vos(*self._words(command)).check()
            for server in SERVERS:
                for number, _ in enumerate(self.cell.calls(server), 1):
                    steps = [f"{number} {moment}" for moment in ("begun", "done")]
                    cases += [Case(command, server, step, client) for step in steps for client in (False, True)]
            self._as_before()
        return cases

    def _interrupted(self, case: Case) -> None:
        words = self._words(case.command)
        for server in SERVERS:
            self.cell.told(server, "none")
        order = self.cell.order(case.server)
        there = order.with_name("order.there")
        there.unlink(missing_ok=True)
        self.cell.told(case.server, case.step + (WAIT if case.client else ""))
        client = self.cell.node.start("vos", ["vos", *words, "-localauth"])
        if case.client:
            wait_for("the call", lambda: there.exists() or not client.running(), COMMAND_SECONDS)
            if client.running():
                client.stop(signal.SIGKILL)
            order.unlink()
            self.assertTrue(there.exists(), "the call came")
        else:
            server = self.cell.fileservers[case.server]
            wait_for("the call", lambda: not server.running() or not client.running(), COMMAND_SECONDS)
            self.assertFalse(server.running(), "the call came")
            order.unlink()
            self.cell.start_again(case.server)
            wait_for("vos to give up", lambda: not client.running(), COMMAND_SECONDS)
        self._recovered(case)

    def _recovered(self, case: Case) -> None:
        """Nothing is lost, nothing double, and the same command does what it should have done."""
        name = self._name(case.command)
        self.cell.recover(name)
        found = list(self.cell.listed(name))
        if case.command == "restore":
            if self.cell.site(name) is not None:
                self.cell.vos("delentry" if not found else "remove", *(("-id",) if found else ()), name).check()
        else:
            self._whole(name, found)
            self._back()
        self.cell.vos(*self._words(case.command)).check()
        self._whole(name, list(self.cell.listed(name)))
        if case.command == "release":
            self.assertEqual(len(list(self.cell.listed("vol.readonly"))), len(SERVERS))
        self._as_before()

    def _whole(self, name: str, found: list[tuple[str, str, str, str]]) -> None:
        self.assertEqual([(server, letter) for server, letter, _, _ in found], [self.cell.site(name)])
        self.assertEqual(found[0][3], "On-line")
        self.cell.vos("dump", name, "-file", FOUND).check()
        self.assertTrue(vnodes(self.cell.node.path(FOUND).read_bytes()) == self.content, "the content is the same")

    def _as_before(self) -> None:
        """For the next command."""
        if self.cell.site("fresh") is not None:
            self.cell.vos("remove", "-id", "fresh").check()
        self._back()

    def _back(self) -> None:
        if self.cell.site("vol") == ("fs2", "a"):
            self.cell.vos(*BACK).check()
