"""The command line of afs-fileserver."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from fileserver.options import volume_settings
from fileserver.partitions.label import Label
from fileserver.tap import Options, attachable, makeService
from fileserver.volume.vlru import VlruSettings


class CommandLine(SynchronousTestCase):
    def test_plugin(self) -> None:
        """twistd knows the command."""
        makers = {maker.tapname: maker for maker in getPlugins(IServiceMaker)}
        self.assertIs(makers["afs-fileserver"].options, Options)

    def test_partitions(self) -> None:
        """A partition's last name says which it is; the same one twice, or another name, is refused."""
        options = Options()
        options.parseOptions(["--partition", "/srv/vicepa", "--partition", "/srv/more/vicepab/"])
        self.assertEqual(options["partition"], [("/srv/vicepa", 0), ("/srv/more/vicepab/", 27)])
        for words in (["/srv/disk"], ["/a/vicepa", "/b/vicepa"], ["/a/vicepABC"]):
            with self.assertRaises(UsageError):
                Options().parseOptions([word for path in words for word in ("--partition", path)])

    def test_volume_options(self) -> None:
        """What is said of idle volumes, held calls and saved state is what the server is told, in OpenAFS's units."""
        options = Options()
        options.parseOptions(["--vlruthresh", "5", "--vlrumax", "3", "--vlrudisable", "--fs-state-dont-save"])
        settings = volume_settings(options)
        self.assertEqual(settings["vlru"], VlruSettings(threshold=300, most=3, enabled=False))
        self.assertEqual((settings["save_state"], settings["restore_state"]), (False, True))

    def test_refusals(self) -> None:
        """Options that cannot be meant are refused."""
        for words in (
            ["--noauth-from", "10.0.0.0/8"],
            ["--backend", "tape"],
            ["--port", "70000"],
            ["--address", "localhost"],
            ["--log-level", "loud"],
            ["--vlruthresh", "0"],
            ["--max-attached", "none"],
        ):
            with self.assertRaises(UsageError):
                Options().parseOptions(words)

    def test_what_prevents_the_start_is_one_line(self) -> None:
        """No configuration ends the process with a line that says so."""
        home = Path(self.mktemp())
        self.assertIn("ThisCell", self._refused(["--config", str(home), "--state", str(home / "state")]))

    def _refused(self, words: list[str]) -> str:
        options = Options()
        options.parseOptions(words)
        with self.assertRaises(SystemExit) as refused:
            makeService(options)
        message = str(refused.exception)
        self.assertEqual(len(message.splitlines()), 1)
        return message


class Attachable(SynchronousTestCase):
    def test_which(self) -> None:
        """Without --partition those are served that stock servers attach, and those that only ours can."""
        root = Path(self.mktemp())
        for name, files in {
            "vicepa": ["AlwaysAttach"],
            "vicepb": [],
            "vicepc": ["AlwaysAttach", "NeverAttach"],
            "vicepaa": ["NeverAttach"],
            "vicepABC": ["AlwaysAttach"],
            "other": ["AlwaysAttach"],
        }.items():
            (root / name).mkdir(parents=True)
            for file in files:
                (root / name / file).touch()
        Label(uuid4(), "namei-user").write(str(root / "vicepaa"))
        self.assertEqual(attachable(str(root)), [(str(root / "vicepa"), 0), (str(root / "vicepaa"), 26)])
