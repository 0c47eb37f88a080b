"""rx.clock: setting the machine's clock changes nothing for calls, and tickets are dated by Unix time all the same."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from rx.clock import Clock, clock_of, run_steadily
from rx.errors import CallLost
from tests.rx.cases import DirectCase
from tests.rx.example import Example
from tests.rx.ports import Ports
from tests.support.craft import craft, data
from tests.support.sealing import INDEX, Sealing

HOUR = 3600.0


class Dated(Sealing):
    """Remembers which times it was given."""

    def __init__(self) -> None:
        super().__init__(server=True)
        self.dates: list[float] = []

    def check_response(self, response: bytes, now: float) -> tuple[int, int, int, int]:
        self.dates.append(now)
        return super().check_response(response, now)

    def open(self, channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        self.dates.append(now)
        return super().open(channel, number, seq, spare, body, now)


class UnixTimeTests(DirectCase):
    """What security classes are told."""

    def test_offset(self) -> None:
        """Responses and sealed packets are dated by Unix time, whatever the engine's clock shows."""
        security = Dated()
        self.server.secure(INDEX, lambda: security)
        self.server.offer(1, (INDEX,))
        self.server.unix_offset = 1_700_000_000.0
        client = Sealing()
        self.give(data(b"", security_index=INDEX, spare=1))
        assert security.binding is not None
        client.bind(security.binding)
        _, body = client.seal(0, 1, 1, b"hello")
        self.give(craft(7, client.respond(b"who?\0\0\0\0", (1, 0, 0, 0)), number=0, security_index=INDEX))
        self.give(data(body, number=2, spare=client.seal(0, 2, 1, b"")[0], security_index=INDEX))
        self.assertGreaterEqual(len(security.dates), 2)
        self.assertEqual(set(security.dates), {self.now + 1_700_000_000.0})


class Steady:
    """Makes the ports of a test see a steady clock beside the reactor's, which the test may set."""

    def __init__(self, ports: Ports) -> None:
        self.reactor: Any = ports.clock
        self.set_by = 0.0
        for port in (ports.client, ports.server):
            port._clock = Clock(self.seconds, self.reactor.seconds)
            port.now = self.seconds

    def seconds(self) -> float:
        now: float = self.reactor.seconds() - self.set_by
        return now

    def set(self, seconds: float) -> None:
        """Set the machine's clock forward: what was to happen within `seconds` is due at once."""
        self.set_by += seconds
        self.reactor.advance(seconds)


class JumpTests(SynchronousTestCase):
    """The machine's clock is set while calls run."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.stop)
        self.clock = Steady(self.ports)

    def test_forward(self) -> None:
        """Set forward an hour during a call: the call, whose dead time is 12 s and hard limit 30 s, ends well."""
        call = self.ports.begin(Example.client(self.ports.connect(hard_seconds=30.0)).Wait(1))
        self.clock.set(HOUR)
        self.ports.pump()
        self.assertNoResult(call)
        self.ports.instance.waiting[1].callback(7)
        self.ports.advance(0.2)
        self.assertEqual(self.successResultOf(call), 7)

    def test_limits_still_hold(self) -> None:
        """After the clock was set the hard limit ends the call when its own time has come."""
        call = self.ports.begin(Example.client(self.ports.connect(hard_seconds=10.0)).Wait(1))
        self.clock.set(HOUR)
        self.ports.advance(9.5)
        self.assertNoResult(call)
        self.ports.advance(1.0)
        self.failureResultOf(call, CallLost)


class FakeReactor(ReactorBase):
    """A real reactor as far as its time goes."""

    def installWaker(self) -> None:
        """It never waits."""


class ChoiceTests(SynchronousTestCase):
    """Whose clock counts."""

    def test_test_reactors(self) -> None:
        """A reactor that is a test's clock tells both times."""
        reactor: Any = MemoryReactorClock()
        reactor.advance(5.0)
        clock = clock_of(reactor)
        self.assertEqual((clock.steady(), clock.unix()), (5.0, 5.0))
        run_steadily(reactor)
        self.assertEqual(reactor.seconds(), 5.0)

    def test_real_reactors(self) -> None:
        """With a real one the engine runs on the monotonic clock, whatever `reactor.seconds` is."""
        self.assertEqual(clock_of(FakeReactor()), (time.monotonic, time.time))

    def test_run_steadily(self) -> None:
        """A pending delayed call keeps the time it had left; a second run changes nothing."""
        reactor: Any = FakeReactor()
        pending: DelayedCall = reactor.callLater(100.0, lambda: None)
        for _ in range(2):
            run_steadily(reactor)
            self.assertIs(reactor.seconds, time.monotonic)
            self.assertApproximates(pending.getTime() - time.monotonic(), 100.0, 1.0)
        pending.cancel()
