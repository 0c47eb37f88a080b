"""rx.taps.pcap: captures that other programs read."""

from __future__ import annotations

from pathlib import Path
from shutil import which
from subprocess import run

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rx.taps.pcap import FILE_HEADER, NotACapture, Pcap
from tests.rx.example import Example
from tests.rx.ports import Ports
from tests.support.pcap import datagrams

NOW = 1_700_000_000.25


class Captures(SynchronousTestCase):
    """A call captured at the server."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.ports = Ports(tap=Pcap(self.path, lambda: NOW, self.fail))
        self.addCleanup(self.ports.stop)
        self.example = Example.client(self.ports.connect())
        self.ports.run(self.example.Add(2, 3))

    def test_what_passed(self) -> None:
        """Every datagram each way is there, whole, with its addresses and time, in order."""
        captured = list(datagrams(self.path))
        client, server = self.ports.client.address, self.ports.server.address
        self.assertEqual([each.payload for each in captured if each.source == client], self.ports.wires[0].sent)
        self.assertEqual([each.payload for each in captured if each.source == server], self.ports.wires[1].sent)
        self.assertEqual({(each.source, each.destination) for each in captured}, {(client, server), (server, client)})
        self.assertEqual({each.when for each in captured}, {NOW})
        self.assertEqual(captured[0].source, client)

    def test_private(self) -> None:
        """Only its owner may read a capture: it holds what callers sent, tickets and all."""
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_goes_on_in_a_file(self) -> None:
        """Another run adds to the capture; a file that is something else is left alone."""
        before = self.path.read_bytes()
        again = Ports(tap=Pcap(self.path, lambda: NOW, self.fail))
        again.run(Example.client(again.connect()).Nothing())
        again.stop()
        after = self.path.read_bytes()
        self.assertTrue(after.startswith(before))
        self.assertEqual(after.count(FILE_HEADER), 1)
        self.assertGreater(len(list(datagrams(self.path))), len(before.split(FILE_HEADER)) + 1)
        self.path.write_bytes(b"notes of mine")
        with self.assertRaises(NotACapture):
            Pcap(self.path, lambda: NOW, self.fail)
        self.assertEqual(self.path.read_bytes(), b"notes of mine")

    def test_full_disk(self) -> None:
        """When the disk is full it says so once, for all its ports; their calls go on, and the file stays as it was."""
        reports: list[str] = []
        path = Path(self.mktemp())
        tap = Pcap(path, lambda: NOW, reports.append)
        path.unlink()
        path.symlink_to("/dev/full")
        for _ in range(2):
            ports = Ports(tap=tap)
            self.addCleanup(ports.stop)
            example = Example.client(ports.connect())
            for number in range(3):
                self.assertEqual(ports.run(example.Add(number, 3)), number + 3)
        (report,) = reports
        self.assertIn("No space left", report)

    def test_tshark(self) -> None:
        """tshark finds Rx packets in it and nothing malformed, IP checksums included."""
        tshark = which("tshark")
        if tshark is None:
            raise SkipTest("tshark is not installed")
        port = self.ports.server.address[1]
        words = [tshark, "-r", str(self.path), "-d", f"udp.port=={port},rx", "-o", "ip.check_checksum:TRUE"]
        fields = ["-T", "fields", "-e", "rx.type", "-e", "ip.checksum.status", "-e", "_ws.malformed"]
        lines = run([*words, *fields], capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual(len(lines), len(list(datagrams(self.path))))
        for line in lines:
            self.assertRegex(line, r"^\d+\t1\t$")
