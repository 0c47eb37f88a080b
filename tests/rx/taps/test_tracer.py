"""rx.taps.tracer: a line a packet, for people."""

from __future__ import annotations

from io import FileIO
from os import close, pipe, read, set_blocking
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import Flag, PacketType
from rx.errors import Abort
from rx.packet import abort_body
from rx.taps import packets
from rx.taps.packets import Names, Reader
from rx.taps.recording import Recording
from rx.taps.tracer import Trace, line
from tests.rx.example import REFUSED, Example
from tests.rx.ports import Ports
from tests.support.craft import ack_body, craft, data

NAMES = Names(served=(Example,))
ADD = (2).to_bytes(4, "big") + bytes(8)
PEER = ("192.0.2.7", 7001)


def describe(code: int) -> str:
    return {REFUSED: "REFUSED: not today"}.get(code, str(code))


class Traces(SynchronousTestCase):
    def test_a_call(self) -> None:
        """Time, direction, peer, type, connection, numbers, flags and the RPC's name, of both directions."""
        path = Path(self.mktemp())
        ports = Ports(tap=Trace(path, NAMES, describe, lambda: 1_700_000_000.5, self.fail))
        client, server = ports.client.address, ports.server.address
        example = Example.client(ports.connect())
        ports.run(example.Add(2, 3))
        refused = ports.begin(example.Refuse(REFUSED))
        ports.advance(0.1)
        self.failureResultOf(refused, Abort)
        ports.stop()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600, "names of files are nobody else's business")
        lines = path.read_text().splitlines()
        self.assertEqual(lines[0], f"# 2023-11-14 UTC, port 127.0.0.1:{server[1]}")
        peer = f"127.0.0.1:{client[1]}"
        numbers = r"[0-9a-f]{8}/[0-9a-f]{8}\.0 call 1 seq 1 serial 1"
        self.assertRegex(
            lines[1], rf"^22:13:20\.500000 < {peer} DATA {numbers} \+CLIENT.* \+LAST Example\.Add 12 bytes$"
        )
        self.assertRegex(lines[2], rf"^22:13:20\.500000 > {peer} DATA {numbers}.* Example\.Add 4 bytes$")
        self.assertRegex(lines[-1], r" > .* ABORT .* call 2 .* Example\.Refuse 49733 REFUSED: not today$")

    def test_several_share_a_file(self) -> None:
        """A second port's lines go to the end of the same file."""
        path = Path(self.mktemp())
        for _ in range(2):
            ports = Ports(tap=Trace(path, NAMES, describe, lambda: 0.0, self.fail))
            ports.run(Example.client(ports.connect()).Nothing())
            ports.stop()
        self.assertEqual([text[0] for text in path.read_text().splitlines()].count("#"), 2)

    def test_full_disk(self) -> None:
        """When the disk is full it says so once, and calls go on."""
        reports: list[str] = []
        ports = Ports(tap=Trace(Path("/dev/full"), NAMES, describe, lambda: 0.0, reports.append))
        self.addCleanup(ports.stop)
        example = Example.client(ports.connect())
        for number in range(3):
            self.assertEqual(ports.run(example.Add(number, 3)), number + 3)
        (report,) = reports
        self.assertIn("No space left", report)

    def test_cut_short(self) -> None:
        """After a line that was not taken whole no other follows."""
        reports: list[str] = []
        reading, writing = pipe()
        self.addCleanup(close, reading)
        set_blocking(writing, False)
        recording = Recording(Path("trace"), reports.append)
        with FileIO(writing, "wb") as file:
            recording.write(file, bytes(1 << 20))
            taken = len(read(reading, 1 << 20))
            recording.write(file, b"more")
            file.close()
        self.assertEqual(read(reading, 1 << 20), b"")
        self.assertEqual(len(reports), 1)
        self.assertIn(f"{taken} bytes of {1 << 20} written", reports[0])


class Lines(SynchronousTestCase):
    """One packet each."""

    def shown(self, *payloads: bytes, names: Names = NAMES, incoming: bool = True) -> str:
        """The line of the last of some datagrams of one peer."""
        reader = Reader(names)
        packets = [reader.read(incoming, PEER, payload) for payload in payloads]
        assert packets[-1] is not None
        return line(packets[-1], describe)

    def test_acknowledgements(self) -> None:
        """Why, everything before what, which beyond, and the window."""
        body = ack_body(5, b"\1\0\1\1\1\0", reason=8, serial=9, words=(1444, 1444, 32, 1))
        shown = self.shown(data(ADD, service_id=77), craft(PacketType.ACK, body, service_id=77))
        self.assertTrue(
            shown.endswith("+CLIENT Example.Add DELAY of serial 9, all before 5, also 5,7-9, window 32"), shown
        )

    def test_bodies_cut_short(self) -> None:
        """A packet too short for what its type says is shown, not failed over."""
        self.assertTrue(self.shown(craft(PacketType.ACK, b"abc")).endswith("cut short: 3 bytes"))
        self.assertTrue(self.shown(craft(PacketType.ABORT, b"ab")).endswith("without a code"))
        for size in range(40):
            self.shown(craft(PacketType.ACK, ack_body(1, b"\1" * 9)[:size]))
        self.assertIsNone(Reader(NAMES).read(True, PEER, bytes(27)))

    def test_unknown(self) -> None:
        """Types, services and opcodes without a name are shown by number."""
        self.assertTrue(self.shown(craft(11, service_id=9)).startswith("11 "))
        self.assertIn(" service 9 ", self.shown(craft(11, service_id=9)))
        self.assertIn(" Example.99 ", self.shown(data((99).to_bytes(4, "big"), service_id=77)))

    def test_flags_that_mean_two_things(self) -> None:
        """0x20 is JUMBO on data and SLOW-START-OK on acknowledgements."""
        flags = int(Flag.JUMBO | Flag.CLIENT_INITIATED)
        self.assertIn("+JUMBO", self.shown(craft(PacketType.DATA, flags=flags)))
        self.assertIn("+SLOW-START-OK", self.shown(craft(PacketType.ACK, ack_body(1), flags=flags)))

    def test_whose_service(self) -> None:
        """The same service id is named by who calls: us or them."""

        class Other(Example, service_id=77):
            pass

        names = Names(served=(Example,), called=(Other,))
        self.assertIn(" Example.Add ", self.shown(data(ADD, service_id=77), names=names))
        self.assertIn(" Other.Add ", self.shown(data(ADD, service_id=77), names=names, incoming=False))

    def test_encrypted_calls_have_no_opcode(self) -> None:
        """On a connection with a security class, a first word that is no opcode is taken for what it is."""
        sealed = data(b"\x8a\x11\x22\x33rest", service_id=77, security_index=2)
        self.assertIn(" Example 8 bytes", self.shown(sealed))
        self.assertIn(" Example.Add ", self.shown(data(ADD, service_id=77, security_index=2)))

    def test_memory(self) -> None:
        """However many connections pass, no more than so many are remembered."""
        self.patch(packets, "CHANNELS_REMEMBERED", 20)
        reader = Reader(NAMES)
        for epoch in range(30):
            reader.read(True, PEER, data(ADD, service_id=77, epoch=epoch))
        self.assertEqual(len(reader._opcodes), 20)

    def test_aborts(self) -> None:
        """The code and what it means."""
        shown = self.shown(craft(PacketType.ABORT, abort_body(REFUSED)), incoming=False)
        self.assertTrue(shown.endswith("49733 REFUSED: not today"))
