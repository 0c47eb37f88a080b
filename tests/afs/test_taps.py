"""afs.taps: the option, and the names it knows."""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from afs.errors import VLError, VolumeError
from afs.rpc.cb import RXAFSCB
from afs.rpc.fs import RXAFS
from afs.taps import CLIENT_NAMES, SERVER_NAMES, TappedOptions, code_named, open_taps
from rx.constants import RxCode
from rx.taps import Stack


class CommandLine(SynchronousTestCase):
    def test_order(self) -> None:
        """Taps are repeatable, their order is kept, and none is no tap at all."""
        options = TappedOptions()
        options.parseOptions(["--tap", "pcap:a", "--tap", "trace:/tmp/b:c", "--tap", "pcap:d"])
        self.assertEqual([str(each) for each in options["tap"]], [
            f"pcap:{Path('a').absolute()}", "trace:/tmp/b:c", f"pcap:{Path('d').absolute()}"
        ])  # fmt: skip
        self.assertIsNone(open_taps(TappedOptions(), Clock()))

    def test_open(self) -> None:
        """Opening makes the files, so that what cannot be written is known at the start."""
        home = Path(self.mktemp())
        home.mkdir()
        options = TappedOptions()
        options.parseOptions(["--tap", f"pcap:{home / 'a'}", "--tap", f"trace:{home / 'b'}"])
        self.assertIsInstance(open_taps(options, Clock()), Stack)
        self.assertEqual({path.name for path in home.iterdir()}, {"a", "b"})
        options.parseOptions(["--tap", f"trace:{home / 'none' / 'b'}"])
        self.assertRaises(OSError, open_taps, options, Clock())

    def test_refused(self) -> None:
        """What is no kind, no file or no script is refused with the reason."""
        script = Path(self.mktemp())
        script.write_text("drop\nfrop\n")
        for word, said in {
            "pcap": "KIND:FILE",
            "pcap:": "KIND:FILE",
            "tape:x": "one of pcap, trace, faults",
            "faults:/nowhere/at/all": "No such file",
            f"faults:{script}": f"{script}:2: 'frop'",
        }.items():
            with self.assertRaises(UsageError) as refused:
                TappedOptions().parseOptions(["--tap", word])
            self.assertIn(said, str(refused.exception))


class Words(SynchronousTestCase):
    def test_codes(self) -> None:
        """Codes have the names of every table, and errno's."""
        self.assertEqual(code_named("VBUSY"), VolumeError.VBUSY)
        self.assertEqual(code_named("VL_NOENT"), VLError.VL_NOENT)
        self.assertEqual(code_named("RX_RESTARTING"), RxCode.RX_RESTARTING)
        self.assertEqual(code_named("ENOENT"), errno.ENOENT)
        for name in ("NOTHING", "errorcode", "ENOTHING", ""):
            self.assertRaises(ValueError, code_named, name)

    def test_both_ends(self) -> None:
        """Service id 1 is RXAFS at a file server and RXAFSCB at its clients, seen from either."""
        self.assertEqual(SERVER_NAMES.opcode(True, 1, 65538), RXAFS.operations[65538].name)
        self.assertEqual(SERVER_NAMES.opcode(False, 1, 65538), RXAFSCB.operations[65538].name)
        self.assertEqual(CLIENT_NAMES.opcode(True, 1, 65538), RXAFSCB.operations[65538].name)
        self.assertEqual(CLIENT_NAMES.opcode(False, 1, 65538), RXAFS.operations[65538].name)
