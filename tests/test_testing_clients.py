"""docs/testing-clients.md: its scripts, commands and samples do what the page says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from shlex import split
from subprocess import run
from time import monotonic
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.plugin import getPlugins
from twisted.trial.unittest import TestCase

from afs.client import FileClient, store_status
from afs.errors import VolumeError
from afs.rpc.fs import RXAFS
from afs.taps import TapOption, open_tap
from afs.types import AFSFid
from rx.constants import PacketType
from rx.errors import Abort, CallLost
from rx.taps import Stack, Tap
from rx.taps.faults import Faults
from rx.taps.rules import ACTIONS, CONDITIONS
from tests.support.cell import Cell, start_cell

PAGE = (Path(__file__).parent.parent / "docs" / "testing-clients.md").read_text()

CONTENT = bytes(range(256)) * 400


def captioned() -> dict[str, str]:
    """The code blocks of the page by their captions."""
    return dict(re.findall(r"```\{code-block\} \w+\n:caption: (\S+)\n(.*?)```", PAGE, re.DOTALL))


def words_of_table(heading: str) -> set[str]:
    """The first words of the first column of the table with this heading."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {word for row in table.splitlines()[2:] for word in re.findall(r"`([a-z]+)", row.split("|")[1])}


class Page(TestCase):
    """What the page says of the language and the commands."""

    def test_commands(self) -> None:
        """Every command on the page does what it should where the page's files are: twistd's are taken as they are."""
        self.go_where_the_files_are()
        makers = {maker.tapname: maker for maker in getPlugins(IServiceMaker)}
        for command in re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE):
            program, *words = split(command)
            if program != "twistd":
                run([program, *words], check=True)
                continue
            self.assertEqual(words[:2], ["--nodaemon", "--pidfile="])
            program, *words = words[2:]
            options = makers[program].options()
            options.parseOptions(words)
            self.assertEqual(len(options["tap"]), words.count("--tap"))
            for option in options["tap"]:
                self.assertIsInstance(open_tap(option, reactor), Tap)

    def test_every_word(self) -> None:
        """The page's tables have every action and every condition there is."""
        self.assertEqual(words_of_table("action"), set(ACTIONS))
        self.assertEqual(words_of_table("condition"), set(CONDITIONS))
        listed = PAGE.partition("packet types: ")[2].partition("|")[0]
        self.assertEqual(
            set(re.findall(r"`(\w+)`", listed)), set(PacketType.__members__) - {"PARAMS"}
        )  # fmt: skip

    def test_own_test(self) -> None:
        """The Python example runs as it is."""
        self.go_where_the_files_are()
        names: dict[str, Any] = {}
        exec(captioned()["own_test.py"], names)
        self.assertIsInstance(names["port"].tap, Stack)
        self.assertEqual(names["held"], 0)

    def go_where_the_files_are(self) -> None:
        """A directory with the page's scripts, in which relative names are looked up from now on."""
        home = Path(self.mktemp())
        home.mkdir()
        for name, content in captioned().items():
            if name.endswith(".faults"):
                (home / name).write_text(content)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(home)


class Sample(TestCase):
    async def test_trace(self) -> None:
        """A trace has lines like those on the page, numbers aside."""
        path = Path(self.mktemp())
        cell = await start_cell(self, tap=open_tap(TapOption("trace", path), reactor))
        volume = await cell.create_volume(b"vol", acl={"system:anyuser": "rl"})
        client = cell.client()
        fs = client.fs((str(cell.fileservers[0].address), cell.fileservers[0].port))
        await fs.FetchStatus(AFSFid(volume, 1, 1))
        with self.assertRaises(Abort):
            await fs.FetchStatus(AFSFid(volume, 77, 77))
        traced = {shape(line) for line in path.read_text().splitlines()}
        for line in captioned()["cell.trace"].splitlines():
            self.assertIn(shape(line), traced, line)


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    line = line.replace("+REQUEST-ACK ", "")
    return re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{8}/[0-9a-f]{8}", "X", line))


class Scripts(TestCase):
    """Each example script in a cell of one fileserver, whose volume everybody may write to."""

    cell: Cell
    fs: RXAFS
    root: AFSFid

    async def serve(self, name: str) -> None:
        """A cell with the script of that caption on every port, empty while the volume is made."""
        self.script = Path(self.mktemp())
        self.script.write_text("")
        tap = open_tap(TapOption("faults", self.script), reactor)
        assert isinstance(tap, Faults)
        self.faults = tap
        self.cell = await start_cell(self, tap=tap)
        volume = await self.cell.create_volume(b"vol", acl={"system:anyuser": "rlidwk"})
        self.root = AFSFid(volume, 1, 1)
        self.fs = self.files(self.cell.client())
        await self.fs.GetTime()
        self.script.write_text(captioned()[name])
        self.faults.script.refresh()

    def files(self, client: FileClient) -> RXAFS:
        fileserver = self.cell.fileservers[0]
        return client.fs((str(fileserver.address), fileserver.port))

    async def refusal(self, call: Any) -> int:
        try:
            await call
        except Abort as refusal:
            return refusal.code
        return 0

    def test_all_are_here(self) -> None:
        """Every script of the page is run by a test, and every test's script is on the page."""
        self.assertEqual(set(SCENARIOS), {name for name in captioned() if name.endswith(".faults")})

    async def busy(self) -> None:
        """The first three calls are told VBUSY, the fourth is served."""
        codes = [await self.refusal(self.fs.FetchStatus(self.root)) for _ in range(5)]
        self.assertEqual(codes, [VolumeError.VBUSY] * 3 + [0] * 2)

    async def loss(self) -> None:
        """What is stored over the bad network comes back whole."""
        client = self.cell.client()
        fid, *_ = await self.fs.CreateFile(self.root, b"file", store_status(mode=0o644))
        await client.store(fid, CONTENT, 0, len(CONTENT))
        self.assertEqual(await client.read_file(fid), CONTENT)
        self.assertTrue(all(rule.matches for rule in self.faults.script.rules))

    async def lost_reply(self) -> None:
        """The client gets the reply the second time, and the file was made once."""
        fid, *_ = await self.fs.CreateFile(self.root, b"file", store_status(mode=0o644))
        (rule,) = self.faults.script.rules
        self.assertGreaterEqual(rule.matches, 2)
        listing = await self.cell.tool.list_directory(self.root)
        self.assertEqual(listing[b"file"], (fid.Vnode, fid.Unique))
        self.assertEqual(len(listing), 3)

    async def hold(self) -> None:
        """The store waits until the line is taken out; other calls do not wait."""
        fid, *_ = await self.fs.CreateFile(self.root, b"file", store_status(mode=0o644))
        storing = Deferred.fromCoroutine(self.cell.client().store(fid, b"late", 0, 4))
        while not self.faults.held:
            await deferLater(reactor, 0.01)
        await self.fs.FetchStatus(fid)
        self.assertFalse(storing.called)
        self.script.write_text("# nothing more\n")
        status = await storing
        self.assertEqual(status.Length, 4)

    async def late_callbacks(self) -> None:
        """The other client hears of the change a second later, and the store is answered after that."""
        writer, reader = self.cell.client(), self.cell.client()
        fid, *_ = await self.fs.CreateFile(self.root, b"file", store_status(mode=0o644))
        await reader.status(fid)
        told = reader.breaks.expect(fid)
        started = monotonic()
        await writer.store(fid, b"new", 0, 3)
        self.assertGreater(monotonic() - started, 0.9)
        await told

    async def cut_off(self) -> None:
        """The client at that address gets no answer, another does."""
        lonely = self.cell.client(address="127.0.0.7", dead_seconds=1.0)
        with self.assertRaises(CallLost):
            await self.files(lonely).GetTime()
        await self.fs.GetTime()

    async def wrong_bit(self) -> None:
        """The first status is wrong in its first word alone, the second right."""
        wrong, right = [(await self.fs.FetchStatus(self.root))[0] for _ in range(2)]
        self.assertNotEqual(wrong.InterfaceVersion, right.InterfaceVersion)
        wrong.InterfaceVersion = right.InterfaceVersion
        self.assertEqual(wrong, right)


Scenario = Callable[[Scripts], Coroutine[Any, Any, None]]

SCENARIOS: dict[str, Scenario] = {
    "busy.faults": Scripts.busy,
    "loss.faults": Scripts.loss,
    "lost-reply.faults": Scripts.lost_reply,
    "hold.faults": Scripts.hold,
    "late-callbacks.faults": Scripts.late_callbacks,
    "cut-off.faults": Scripts.cut_off,
    "wrong-bit.faults": Scripts.wrong_bit,
}
"""Caption of a script -> what is seen when a cell has it."""


def _test(name: str, scenario: Scenario) -> Callable[[Scripts], Coroutine[Any, Any, None]]:
    async def test(self: Scripts) -> None:
        await self.serve(name)
        await scenario(self)

    test.__doc__ = scenario.__doc__
    return test


for _name, _scenario in SCENARIOS.items():
    setattr(Scripts, f"test_{_scenario.__name__}", _test(_name, _scenario))
