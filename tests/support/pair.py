"""Two real endpoints back to back over a simulated network: seeded loss, duplication, reordering, and a clock that
jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import IPv4Network
from math import inf
from random import Random

from rx.call import Call
from rx.constants import MAXIMUM_MTU, NATURAL_MTU
from rx.endpoint import Endpoint
from rx.events import CallArrived, CallCompleted, DataArrived, Event, Writable
from rx.limits import Limits
from rx.pathmtu import Near
from rx.peer import Address

SERVER: Address = ("10.0.0.1", 7000)
CLIENT: Address = ("10.0.0.2", 7001)
NEIGHBOURS = IPv4Network("10.0.0.0/24")

Tap = Callable[[float, Address, Address, bytes], None]
"""Sees every datagram that is sent: the time, from, to, bytes."""


@dataclass(frozen=True, slots=True)
class Network:
    """What happens to datagrams on the way. Probabilities are per datagram, `latency` and `jitter` in seconds.

    Both ends are on a network of `interface_mtu` bytes a packet; `path_mtu` is the largest datagram a router between
    them passes on. It sends `rate` bytes a second each way, and drops what would wait behind more than `queue` bytes.
    """

    latency: float = 0.001
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    interface_mtu: int = NATURAL_MTU
    path_mtu: int = MAXIMUM_MTU
    rate: float = inf
    queue: float = inf


class Pair:
    """A client and a server endpoint, what lies between, and the present time.

    Events go to `on_server` and `on_client`; by default the server answers every call with its own request, and the
    client collects what each call received in `replies` and how it ended in `outcomes`.
    """

    def __init__(
        self,
        seed: int = 0,
        network: Network | None = None,
        client_limits: Limits | None = None,
        server_limits: Limits | None = None,
    ) -> None:
        self.random = Random(seed)
        self.network = network or Network()
        self.now = 1000.0
        self.server = Endpoint(Random(self.random.random()), server_limits)
        self.client = Endpoint(Random(self.random.random()), client_limits)
        self.server.networks = self.client.networks = [Near(NEIGHBOURS, self.network.interface_mtu)]
        self.client_application = Collector()
        self.server_application = Echo()
        self.on_server: Callable[[Event], None] = self.server_application.receive
        self.on_client: Callable[[Event], None] = self.client_application.receive
        self.tap: Tap | None = None
        self.drop: Callable[[Address, bytes], bool] = lambda to, datagram: False
        self.sent = 0
        self._tick = 0
        self._free_at: dict[Address, float] = {}  # by direction, when the router has sent what waits
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []
        self.flush()

    def replace_server(self) -> Endpoint:
        """Another server takes the address of the one that was there, which is gone with all it knew."""
        networks = self.server.networks
        self.server = Endpoint(Random(self.random.random()))
        self.server.networks = networks
        return self.server

    def flush(self) -> None:
        """Give events to the applications and datagrams to the network until neither end has any more."""
        while self._flush_end(self.client, self.on_client, CLIENT) or self._flush_end(
            self.server, self.on_server, SERVER
        ):
            pass

    def _flush_end(self, endpoint: Endpoint, application: Callable[[Event], None], address: Address) -> bool:
        events = endpoint.events()
        for event in events:
            application(event)
        datagrams = endpoint.datagrams_to_send(self.now)
        for run in datagrams:
            assert all(len(payload) == run.segment_size for payload in run.payloads[:-1])
            assert len(run.payloads[-1]) <= run.segment_size
            for payload in run.payloads:
                self.send(address, run.address, payload)
        return bool(events or datagrams)

    def send(self, source: Address, to: Address, datagram: bytes) -> None:
        """Put a datagram on the network, which may lose, double or delay it."""
        self.sent += 1
        if self.tap is not None:
            self.tap(self.now, source, to, datagram)
        random, network = self.random, self.network
        if self.drop(to, datagram) or len(datagram) > network.path_mtu:
            return
        copies = 2 if random.random() < network.duplication else 1
        for _ in range(copies):
            if random.random() >= network.loss:
                self._tick += 1
                waited = self._wait(to, len(datagram))
                if waited is None:
                    continue
                when = self.now + waited + network.latency + random.random() * network.jitter
                heappush(self._flying, (when, self._tick, source, to, datagram))

    def _wait(self, to: Address, size: int) -> float | None:
        """The seconds until the router has sent a datagram; None when it has no room for it."""
        network = self.network
        if network.rate == inf:
            return 0.0
        behind = max(0.0, self._free_at.get(to, 0.0) - self.now)
        if behind * network.rate > network.queue:
            return None
        behind += size / network.rate
        self._free_at[to] = self.now + behind
        return behind

    def next_time(self) -> float | None:
        """When the next thing happens; None when nothing ever will."""
        times = [when for when in (self.client.next_timeout(), self.server.next_timeout()) if when is not None]
        if self._flying:
            times.append(self._flying[0][0])
        return max(self.now, min(times)) if times else None

    def step(self) -> bool:
        """Go to the next thing that happens. False when nothing ever will."""
        following = self.next_time()
        if following is None:
            return False
        self.now = following
        self._deliver()
        for endpoint in (self.client, self.server):
            deadline = endpoint.next_timeout()
            if deadline is not None and deadline <= self.now:
                endpoint.handle_timeout(self.now)
        self.flush()
        return True

    def _deliver(self) -> None:
        batches: dict[Address, list[tuple[bytes, Address]]] = {}
        while self._flying and self._flying[0][0] <= self.now:
            _, _, source, to, datagram = heappop(self._flying)
            batches.setdefault(to, []).append((datagram, source))
        for to, batch in batches.items():
            if to == SERVER:
                self.server.receive_datagrams(batch, self.now)
            elif to == CLIENT:
                self.client.receive_datagrams(batch, self.now)

    def run(self, until: Callable[[], bool] = lambda: False, seconds: float = 60.0) -> bool:
        """Step until `until()`, for at most `seconds` of simulated time. Returns what `until` said last."""
        self.flush()
        end = self.now + seconds
        while not until():
            following = self.next_time()
            if following is None or following > end:
                self.now = end
                return until()
            self.step()
        return True


class Collector:
    """A client application that reads everything. Keyed by call object."""

    def __init__(self) -> None:
        self.replies: dict[Call, bytearray] = {}
        self.outcomes: dict[Call, Exception | None] = {}

    def receive(self, event: Event) -> None:
        call = event.call
        if isinstance(event, DataArrived | CallCompleted) and call.error is None:
            self.replies.setdefault(call, bytearray()).extend(call.read())
        if isinstance(event, CallCompleted):
            assert call not in self.outcomes, "a call completed twice"
            self.outcomes[call] = event.error


class Echo:
    """A server application that answers with the request, when it has all of it, respecting `writable`."""

    def __init__(self) -> None:
        self.requests: dict[Call, bytearray] = {}
        self.unwritten: dict[Call, bytearray] = {}
        self.outcomes: dict[Call, Exception | None] = {}

    def receive(self, event: Event) -> None:
        call = event.call
        if isinstance(event, CallCompleted):
            assert call not in self.outcomes, "a call completed twice"
            self.outcomes[call] = event.error
        elif isinstance(event, CallArrived | DataArrived):
            if isinstance(event, CallArrived):
                assert call not in self.requests, "a call arrived twice"
                self.requests[call] = bytearray()
            if call.error is None:
                self.requests[call] += call.read()
                if call.at_end and call not in self.unwritten:
                    self.unwritten[call] = bytearray(self.requests[call])
                    self.write(call)
        elif isinstance(event, Writable):
            self.write(call)

    def write(self, call: Call) -> None:
        rest = self.unwritten[call]
        while rest and (room := call.writable):
            call.write(bytes(rest[:room]))
            del rest[:room]
        if not rest and not call.sender.ended:
            call.end_writing()
