"""afs.limits: what a command line allows the clients of a port."""

from __future__ import annotations

from dataclasses import fields

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from afs.limits import LIMIT_OPTIONS, chosen_limits
from fileserver.tap import Options as FileserverOptions
from rx.limits import Limits
from vlserver.tap import Options as VLServerOptions


class CommandLine(SynchronousTestCase):
    """Both servers have the same options."""

    def test_defaults(self) -> None:
        """Without an option the limits are those of the engine."""
        for kind in (FileserverOptions, VLServerOptions):
            options = kind()
            options.parseOptions([])
            self.assertEqual(chosen_limits(options), Limits())

    def test_each(self) -> None:
        """Each option changes what it names, and nothing else."""
        expected = {
            "max-connections": ["server_connections"],
            "max-connections-per-host": ["server_connections_per_host"],
            "max-calls": ["server_calls"],
            "max-calls-per-host": ["server_calls_per_host"],
            "max-unproven": ["unproven_connections"],
            "max-unproven-per-host": ["unproven_connections_per_host"],
            "max-buffered-bytes": ["buffered_bytes"],
            "max-buffered-bytes-per-host": ["buffered_bytes_per_host"],
            "connection-idle": ["connection_idle_seconds"],
            "rxmaxmtu": ["packet_size", "receive_size"],
        }
        self.assertEqual([each[0] for each in LIMIT_OPTIONS], list(expected))
        for kind in (FileserverOptions, VLServerOptions):
            for name, changed in expected.items():
                number = 2_000_000 if name.startswith("max-buffered-bytes") else 1234
                options = kind()
                options.parseOptions([f"--{name}", str(number)])
                limits = chosen_limits(options)
                found = {each.name: getattr(limits, each.name) for each in fields(Limits)}
                different = [name for name, value in found.items() if value != getattr(Limits(), name)]
                self.assertEqual((different, {found[each] for each in changed}), (changed, {number}), name)

    def test_refused(self) -> None:
        """What would leave a port unusable, or is no number, is refused with the bounds."""
        for name, word, said in (
            ("max-connections", "0", "from 1 on"),
            ("max-calls", "-5", "from 1 on"),
            ("max-calls", "many", "from 1 on"),
            ("max-buffered-bytes", "1000", "from 1048576 on"),
            ("connection-idle", "59", "from 60 on"),
            ("rxmaxmtu", "100", "from 520 to 16384"),
            ("rxmaxmtu", "20000", "from 520 to 16384"),
            ("max-unproven", str(2**31), "from 0 on"),
        ):
            with self.assertRaises(UsageError) as refused:
                VLServerOptions().parseOptions([f"--{name}", word])
            self.assertIn(said, str(refused.exception))
        self.assertRaises(UsageError, FileserverOptions().parseOptions, ["--abortthreshold", "few"])
