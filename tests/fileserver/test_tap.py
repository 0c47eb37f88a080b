"""The command line of afs-fileserver."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from afs.acl import parse_rights
from fileserver.options import REFUSED, volume_settings
from fileserver.partitions.label import Label
from fileserver.rules import Rules
from fileserver.tap import Options, attachable, makeService
from fileserver.volume.durability import Sync
from fileserver.volume.vlru import VlruSettings

DAFILESERVER = (
    *("L", "S", "banner", "implicit", "lock", "readonly", "admin-write", "saneacls", "b", "cb", "vc", "l", "s"),
    *("sendsize", "m", "spare", "pctspare", "hr", "vattachpar", "abortthreshold", "busyat", "nobusy", "w", "novbc"),
    *("offline-timeout", "offline-shutdown-timeout", "vhandle-setaside", "vhandle-max-cachesize", "auditlog"),
    *("vhandle-initial-cachesize", "fs-state-dont-save", "fs-state-dont-restore", "fs-state-verify", "vhashsize"),
    *("vlrudisable", "vlruthresh", "vlruinterval", "vlrumax", "unsafe-nosalvage", "audit-interface", "config", "d"),
    *("logfile", "mrafslogs", "transarc-logs", "p", "syslog", "enable_peer_stats", "enable_process_stats", "nojumbo"),
    *("jumbo", "rxbind", "rxdbg", "rxdbge", "rxpck", "rxmaxmtu", "udpsize", "allow-dotted-principals", "realm", "sync"),
    "cve-2018-7168-enforce",
)
"""The options of OpenAFS 1.8 (viced.c), and one of its later releases."""


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

    def test_rules(self) -> None:
        """OpenAFS's options that mean the same here are what the server is told, in OpenAFS's units."""
        words = "--cb 20000 --hr 3 --implicit rl --spare 10 --readonly --admin-write --cve-2018-7168-enforce"
        words += " --sync onclose --offline-timeout 30 --offline-shutdown-timeout -1 --enable_process_stats"
        options = Options()
        options.parseOptions(words.split())
        settings = volume_settings(options)
        expected = Rules(20_000, 3 * 3600, parse_rights("rl"), True, True, 10, None, True)
        self.assertEqual(settings["rules"], expected)
        self.assertEqual((settings["sync"], settings["drain_seconds"]), (Sync.ONCLOSE, None))
        self.assertEqual(settings["holds"].offline_seconds, 30.0)
        self.assertEqual((settings["process_statistics"], settings["peer_statistics"]), (True, False))

    def test_defaults(self) -> None:
        """Said nothing, the rules are the plain ones."""
        options = Options()
        options.parseOptions([])
        settings = volume_settings(options)
        self.assertEqual((settings["rules"], settings["sync"]), (Rules(), Sync.ALWAYS))
        self.assertIsNone(settings["holds"].offline_seconds)

    def test_every_option_of_dafileserver(self) -> None:
        """is taken or refused with a reason of its own; none is unknown, and none ignored."""
        taken = set(Options())
        self.assertEqual(taken & set(REFUSED), set())
        self.assertEqual(set(DAFILESERVER) - taken - set(REFUSED), set())
        for name, reason in REFUSED.items():
            for word in (f"-{name}", f"--{name}", f"--{name}=1"):
                with self.assertRaises(UsageError) as refusal:
                    Options().parseOptions([word, "1"])
                self.assertIn(reason, str(refusal.exception))
        with self.assertRaises(UsageError) as refusal:
            Options().parseOptions(["-cb", "20000"])
        self.assertIn("--cb", str(refusal.exception))

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
            ["--cb", "9999"],
            ["--hr", "37"],
            ["--implicit", "z"],
            ["--sync", "sometimes"],
            ["--spare", "1", "--pctspare", "1"],
            ["--pctspare", "100"],
            ["--admin-write"],
            ["--offline-timeout", "-2"],
            ["--protection", "perhaps"],
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
