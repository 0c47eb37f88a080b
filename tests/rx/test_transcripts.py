"""Exchanges between two engines, packet by packet, against tests/transcripts/rx-*.txt.

A transcript's lines that begin with `>` are commands; between them stands what happened. `TXAFS_REWRITE=1` writes the
files anew, to be reviewed as a diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rx.call import Call
from rx.constants import HEADER_SIZE, AckReason, Flag, PacketType
from rx.events import CallArrived, CallCompleted, DataArrived, Event
from rx.limits import Limits
from rx.packet import ACK_ACKS, abort_code, unpack_ack, unpack_header
from rx.peer import Address
from tests.support.pair import CLIENT, SERVER, Network, Pair

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
REWRITE = os.environ.get("TXAFS_REWRITE") == "1"


class Play:
    """One transcript being played: a pair whose applications do only what the commands say."""

    def __init__(self) -> None:
        self.pair = Pair(1, Network(latency=0.010))
        self.lines: list[str] = []
        self.client_calls: list[Call] = []
        self.server_calls: list[Call] = []
        self.losses: list[tuple[str, str, set[str], list[int]]] = []
        self.begun = self.pair.now
        self.prepare()
        self.commands: dict[str, Callable[..., None]] = {
            "server": self.server,
            "call": self.call,
            "answer": self.answer,
            "abort": self.abort,
            "read": self.read,
            "lose": self.lose,
            "run": self.run,
        }

    def prepare(self) -> None:
        pair = self.pair
        pair.tap, pair.drop = self.log_packet, self.drop
        pair.on_client = lambda event: self.log_event("client", event)
        pair.on_server = lambda event: self.log_event("server", event)

    def server(self, *options: str) -> None:
        """How the service is: `check_reach`, `calls=1`, `window=4`."""
        numbers = {name: int(value) for name, _, value in (option.partition("=") for option in options) if value}
        limits = Limits(server_calls=numbers.get("calls", 100), window=numbers.get("window", 255))
        self.pair = Pair(1, Network(latency=0.010), None, limits)
        self.prepare()
        self.pair.server.offer(1, check_reach="check_reach" in options)
        self.connection = self.pair.client.connect(SERVER, 1)

    def call(self, size: str, *options: str) -> None:
        """The client makes a call with a request of so many bytes; with `open` more would follow."""
        call = self.connection.call(self.pair.now)
        assert call is not None
        self.client_calls.append(call)
        call.write(bytes(int(size)))
        if "open" not in options:
            call.end_writing()

    def answer(self, which: str, size: str) -> None:
        """The server's call answers with so many bytes."""
        call = self.server_calls[int(which)]
        call.write(bytes(int(size)))
        call.end_writing()

    def abort(self, end: str, which: str, code: str) -> None:
        """One end aborts a call."""
        (self.client_calls if end == "client" else self.server_calls)[int(which)].abort(int(code))

    def read(self, which: str, size: str) -> None:
        """The server reads so many bytes of a request."""
        got = self.server_calls[int(which)].read(int(size))
        self.lines.append(f"  server read {len(got)} bytes")

    def lose(self, end: str, type_: str, *which: str) -> None:
        """Of the packets of this type that this end sends from now on, these are lost: `1` is the next, `2` the one
        after it; `all` are all. Type `ANY` is any.
        """
        self.losses.append((end, type_, set(which), [0]))

    def run(self, seconds: str) -> None:
        """Time passes."""
        self.pair.run(seconds=float(seconds))

    def at(self) -> str:
        return f"{self.pair.now - self.begun:8.3f}"

    def drop(self, to: Address, datagram: bytes) -> bool:
        end, kind = ("server" if to == CLIENT else "client"), PacketType(datagram[20]).name
        for loss in self.losses:
            if loss[0] == end and loss[1] in ("ANY", kind):
                loss[3][0] += 1
                if "all" in loss[2] or str(loss[3][0]) in loss[2]:
                    self.lines[-1] += "  -- lost"
                    return True
        return False

    def log_packet(self, now: float, source: Address, to: Address, datagram: bytes) -> None:
        _, cid, number, seq, serial, type_, flags, *_ = unpack_header(datagram)
        text = f"{self.at()} {'client' if source == CLIENT else 'server'} {PacketType(type_).name} {cid & 3}/{number}"
        if type_ == PacketType.DATA:
            text += f" seq {seq} serial {serial} bytes {len(datagram) - HEADER_SIZE}"
            text += " REQUEST_ACK" * bool(flags & Flag.REQUEST_ACK) + " LAST" * bool(flags & Flag.LAST_PACKET)
        elif type_ == PacketType.ACK:
            _, _, first, previous, acked, reason, count = unpack_ack(datagram, HEADER_SIZE)
            acks = "".join("*" if each else "-" for each in datagram[ACK_ACKS : ACK_ACKS + count])
            text += f" serial {serial} {AckReason(reason).name} of {acked} first {first} previous {previous} {acks}"
        elif type_ == PacketType.ABORT:
            text += f" code {abort_code(datagram)}"
        self.lines.append(text.rstrip())

    def log_event(self, end: str, event: Event) -> None:
        text = f"{self.at()} {end} {type(event).__name__} {event.call.channel}/{event.call.number}"
        if isinstance(event, CallArrived):
            self.server_calls.append(event.call)
        if isinstance(event, CallArrived | DataArrived):
            text += f" readable {event.call.readable}"
        if isinstance(event, CallCompleted):
            text += f" {event.error or 'well'}"
        self.lines.append(text)

    def play(self, script: list[str]) -> list[str]:
        """The transcript that the commands of `script` give."""
        for line in script:
            if line.startswith("#"):
                self.lines.append(line)
            elif line.startswith(">"):
                self.lines.append(line)
                name, *arguments = line[1:].split()
                self.commands[name](*arguments)
                self.pair.flush()
        return self.lines


class TranscriptTests(SynchronousTestCase):
    """Every transcript."""

    maxDiff = None

    def test_transcripts(self) -> None:
        """Each exchange goes as its transcript says, to the millisecond."""
        paths = sorted(TRANSCRIPTS.glob("rx-*.txt"))
        self.assertGreaterEqual(len(paths), 6)
        for path in paths:
            expected = path.read_text().splitlines()
            played = Play().play(expected)
            if REWRITE:
                path.write_text("\n".join(played) + "\n")
            else:
                self.assertEqual(expected, played, path.name)
