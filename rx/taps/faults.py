"""A tap that does to packets and calls what the rules of a script say; `rx.taps.rules` has their language.

The script is read again when the file changes: rules that are still there keep their counts, and a call held by a rule
that is gone is let go. Packet faults happen at the socket, call faults in the server, whatever the security class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from rx.errors import Abort
from rx.peer import Address
from rx.service import Service
from rx.taps import Tap, Through
from rx.taps.packets import Packet, Reader
from rx.taps.rules import ON_CALLS, Action, BadScript, Called, Rule, Vocabulary, first_of, parse
from rx.udp import Datagram, DatagramPort

if TYPE_CHECKING:
    from rx.server import ServerCall

WATCH_SECONDS = 0.25
"""Between two looks at whether the script has changed: soon for a person, nothing for the machine."""

REORDER_SECONDS = 0.2
"""A packet waits this long for one to overtake it: less than any retransmission of a stock client."""

RETRY_SECONDS = 0.005
"""Before datagrams that a full socket refused are offered again: some hundred packets' time."""

DELAYED_LIMIT = 16384
"""Datagrams on their way at a time, 23 MB; beyond, they are dropped as a full queue of a router drops them."""


class Script:
    """The rules of a file as it is now. Raises OSError and BadScript at the start, never later."""

    _log = Logger()

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self._path = path
        self._vocabulary = vocabulary
        self._stamp = self._look()
        self._set(self._read())

    def _look(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size

    def _read(self) -> list[Rule]:
        return parse(self._path.read_text(encoding="utf-8"), str(self._path), self._vocabulary)

    def _set(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.on_packets = [rule for rule in rules if rule.action not in ON_CALLS]
        self.on_calls = [rule for rule in rules if rule.action in ON_CALLS]

    def refresh(self) -> None:
        """Read the file again if it has changed. While it cannot be read or understood, what was in force stays so."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            rules = self._read()
        except (OSError, BadScript) as problem:
            self._log.warn("{problem}: the rules read before stay in force", problem=problem)
            return
        known = {rule.text: rule for rule in self.rules}
        self._set([known.pop(rule.text, rule) for rule in rules])
        self._log.info("{path}: {count} rules now", path=self._path, count=len(rules))


class Faults(Tap):
    """See the module. `clock` provides IReactorTime. Raises OSError and BadScript."""

    def __init__(self, path: Path, vocabulary: Vocabulary, clock: Any) -> None:
        self.script = Script(path, vocabulary)
        self._vocabulary = vocabulary
        self._clock = clock
        self._held: dict[Deferred[None], Rule] = {}
        self._ports = 0
        self._watch: IDelayedCall | None = None

    def wrap(self, port: DatagramPort, readable: Callable[[], None]) -> DatagramPort:
        self._ports += 1
        if self._watch is None:
            self._watch = self._clock.callLater(WATCH_SECONDS, self._look)
        return FaultyPort(port, self.script, Reader(self._vocabulary.names), self._clock, readable, self._port_closed)

    async def admit(self, service: type[Service], call: ServerCall) -> None:
        if not self.script.on_calls:
            return
        operation = service.operations.get(call.opcode)
        name = operation.name if operation is not None else ""
        called = Called(call.peer, service.service_id, service.__name__, call.opcode, name)
        rule = first_of(self.script.on_calls, called)
        if rule is None:
            return
        if rule.action is Action.ANSWER:
            assert rule.argument is not None
            raise Abort(int(rule.argument), rule.text)
        await self._hold(rule, call)

    @property
    def held(self) -> int:
        """How many calls are held."""
        return len(self._held)

    def release(self) -> None:
        """Let every held call go on."""
        for waiting in list(self._held):
            self._let_go(waiting)

    async def _hold(self, rule: Rule, call: ServerCall) -> None:
        waiting: Deferred[None] = Deferred()
        self._held[waiting] = rule
        alarm = None if rule.argument is None else self._clock.callLater(rule.argument, self._let_go, waiting)
        call.when_over(lambda: self._let_go(waiting))
        await waiting
        if alarm is not None and alarm.active():
            alarm.cancel()

    def _let_go(self, waiting: Deferred[None]) -> None:
        if self._held.pop(waiting, None) is not None:
            waiting.callback(None)

    def _look(self) -> None:
        self._watch = self._clock.callLater(WATCH_SECONDS, self._look)
        self.script.refresh()
        for waiting, rule in list(self._held.items()):
            if not any(rule is each for each in self.script.rules):
                self._let_go(waiting)

    def _port_closed(self) -> None:
        self._ports -= 1
        if not self._ports and self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self.release()


class FaultyPort(Through):
    """A socket that loses, repeats, delays and spoils what the script says, each way."""

    def __init__(
        self,
        port: DatagramPort,
        script: Script,
        reader: Reader,
        clock: Any,
        readable: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(port)
        self._script = script
        self._reader = reader
        self._clock = clock
        self._readable = readable
        self._closed = closed
        self._random = Random(0)
        self._arrived = _Lane(readable)
        self._leaving = _Lane(self._drain)
        self._timers: dict[int, IDelayedCall] = {}
        self._timer = 0
        self._retrying = False

    def receive(self, limit: int) -> list[Datagram]:
        arriving = self.port.receive(limit)
        if not self._script.on_packets and not self._arrived.ready:
            return arriving
        for payload, peer in arriving:
            self._pass(self._arrived, True, peer, payload)
        ready = self._arrived.ready
        batch = [ready.popleft() for _ in range(min(limit, len(ready)))]
        if ready:
            self._later(0, self._readable)
        return batch

    def send(self, address: Address, segment_size: int, payloads: Sequence[bytes]) -> int:
        if not self._script.on_packets and not self._leaving.ready:
            return self.port.send(address, segment_size, payloads)
        self._drain()
        if self._leaving.ready:
            return 0
        for payload in payloads:
            self._pass(self._leaving, False, address, payload)
        self._drain()
        return len(payloads)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().close()
        self._closed()

    def _pass(self, lane: _Lane, incoming: bool, peer: Address, payload: bytes) -> None:
        """Put a datagram where the rule that applies to it, if any, wants it."""
        packet = self._reader.read(incoming, peer, payload)
        rule = first_of(self._script.on_packets, packet) if packet is not None else None
        if rule is None or packet is None:
            lane.put((payload, peer))
        else:
            _DEEDS[rule.action](self, lane, rule, packet)

    def _drop(self, lane: _Lane, rule: Rule, packet: Packet) -> None:
        """It never was."""

    def _duplicate(self, lane: _Lane, rule: Rule, packet: Packet) -> None:
        for _ in range(1 + int(rule.argument or 1)):
            lane.put((packet.payload, packet.peer))

    def _delay(self, lane: _Lane, rule: Rule, packet: Packet) -> None:
        assert rule.argument is not None
        datagram = packet.payload, packet.peer
        if len(self._timers) < DELAYED_LIMIT:
            self._later(rule.argument, lambda: self._arrive(lane, datagram))

    def _reorder(self, lane: _Lane, rule: Rule, packet: Packet) -> None:
        if lane.overtaken is not None:
            lane.put((packet.payload, packet.peer))
            return
        overtaken = lane.overtaken = (packet.payload, packet.peer)
        self._later(REORDER_SECONDS, lambda: self._not_overtaken(lane, overtaken))

    def _corrupt(self, lane: _Lane, rule: Rule, packet: Packet) -> None:
        spoiled = bytearray(packet.payload)
        offset = self._random.randrange(len(spoiled)) if rule.argument is None else int(rule.argument)
        if offset < len(spoiled):
            spoiled[offset] ^= 1 << self._random.randrange(8)
        lane.put((bytes(spoiled), packet.peer))

    def _arrive(self, lane: _Lane, datagram: Datagram) -> None:
        lane.put(datagram)
        lane.moved()

    def _not_overtaken(self, lane: _Lane, datagram: Datagram) -> None:
        if lane.overtaken is datagram:
            lane.overtaken = None
            self._arrive(lane, datagram)

    def _drain(self) -> None:
        """Send what is ready, as far as the socket takes it."""
        ready = self._leaving.ready
        while ready:
            payload, peer = ready[0]
            if not self.port.send(peer, len(payload), (payload,)):
                if not self._retrying:
                    self._retrying = True
                    self._later(RETRY_SECONDS, self._retry)
                return
            ready.popleft()

    def _retry(self) -> None:
        self._retrying = False
        self._drain()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer += 1
        number = self._timer

        def fire() -> None:
            del self._timers[number]
            act()

        self._timers[number] = self._clock.callLater(seconds, fire)


class _Lane:
    """One direction: datagrams that may go on, and one that waits to be overtaken."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self.ready: deque[Datagram] = deque()
        self.overtaken: Datagram | None = None
        self.moved = moved

    def put(self, datagram: Datagram) -> None:
        self.ready.append(datagram)
        if self.overtaken is not None and self.overtaken[1] == datagram[1]:
            self.ready.append(self.overtaken)
            self.overtaken = None


_DEEDS: dict[Action, Callable[[FaultyPort, _Lane, Rule, Packet], None]] = {
    Action.DROP: FaultyPort._drop,
    Action.DUPLICATE: FaultyPort._duplicate,
    Action.DELAY: FaultyPort._delay,
    Action.REORDER: FaultyPort._reorder,
    Action.CORRUPT: FaultyPort._corrupt,
}
