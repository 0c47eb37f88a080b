"""What the Rx engine itself costs, no sockets and no services: two endpoints back to back in one process.

`python -m tests.bench.bench_engine [--profile]` prints, as medians of several rounds, microseconds of server engine
time per small call, of both ends per bulk packet, and of the sender's end per acknowledgement.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Callable
from random import Random
from statistics import median
from time import perf_counter

from rx.call import Call
from rx.constants import PacketType
from rx.endpoint import Endpoint
from rx.events import CallArrived, CallCompleted, DataArrived, Writable
from rx.peer import Address
from tests.support.craft import ack_body, craft, data

SERVER: Address = ("10.0.0.1", 7000)
CLIENT: Address = ("10.0.0.2", 7001)
ROUNDS = 7
SMALL_CALLS = 3000
CALLERS = 16
BULK_BYTES = 16 << 20
STOCK_ACKS = 5000


class Bench:
    """A client and a server endpoint, and how long each end has worked."""

    def __init__(self) -> None:
        self.server = Endpoint(Random(1))
        self.client = Endpoint(Random(2))
        self.server.offer(1)
        self.now = 0.0
        self.server_seconds = 0.0
        self.client_seconds = 0.0
        self.packets = 0
        self.acks = 0

    def exchange(self, serve: Callable[[], None], consume: Callable[[], None]) -> bool:
        """One flush of each end. False when neither had anything to say."""
        begun = perf_counter()
        consume()
        to_server = [(payload, CLIENT) for run in self.client.datagrams_to_send(self.now) for payload in run.payloads]
        between = perf_counter()
        self.client_seconds += between - begun
        self.server.receive_datagrams(to_server, self.now)
        serve()
        to_client = [(payload, SERVER) for run in self.server.datagrams_to_send(self.now) for payload in run.payloads]
        after = perf_counter()
        self.server_seconds += after - between
        self.client.receive_datagrams(to_client, self.now)
        self.client_seconds += perf_counter() - after
        self.now += 0.000_2
        deadline = min(self.client.next_timeout() or self.now, self.server.next_timeout() or self.now)
        if deadline < self.now:
            self.client.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
        self.packets += len(to_client)
        self.acks += len(to_server)
        return bool(to_server or to_client)


def small_calls() -> dict[str, float]:
    """Sixteen callers, one request packet and one reply packet a call; the final acknowledgement rides in the next
    batch.
    """
    bench = Bench()
    connections = [bench.client.connect(SERVER, 1) for _ in range(CALLERS)]
    done = 0

    def serve() -> None:
        for event in bench.server.events():
            if type(event) is CallArrived:
                call = event.call
                call.read()
                call.write(b"y" * 400)
                call.end_writing()

    def consume() -> None:
        nonlocal done
        for event in bench.client.events():
            if type(event) is CallCompleted:
                event.call.read()
                done += 1
                begin(event.call.connection)

    def begin(connection: object) -> None:
        call = connection.call(bench.now)  # type: ignore[attr-defined]
        call.write(b"x" * 76)
        call.end_writing()

    for connection in connections:
        begin(connection)
    while done < SMALL_CALLS:
        bench.exchange(serve, consume)
    return {
        "server us per small call": bench.server_seconds / done * 1e6,
        "client us per small call": bench.client_seconds / done * 1e6,
    }


def bulk() -> dict[str, float]:
    """One call whose reply is 16 MiB, written as there is room, read as it comes."""
    bench = Bench()
    block = bytes(64 << 10)
    left = BULK_BYTES
    received = 0
    over = False
    request = bench.client.connect(SERVER, 1).call(bench.now)
    assert request is not None
    request.end_writing()

    def fill(call: Call) -> None:
        nonlocal left
        while left and call.writable:
            call.write(block)
            left -= len(block)
        if not left and not call.sender.ended:
            call.end_writing()

    def serve() -> None:
        for event in bench.server.events():
            if type(event) is CallArrived or type(event) is Writable:
                fill(event.call)

    def consume() -> None:
        nonlocal received, over
        for event in bench.client.events():
            if type(event) is DataArrived:
                received += len(event.call.read())
            elif type(event) is CallCompleted:
                over = True

    while not over:
        bench.exchange(serve, consume)
    assert received == BULK_BYTES
    return {
        "sender us per bulk packet": bench.server_seconds / bench.packets * 1e6,
        "receiver us per bulk packet": bench.client_seconds / bench.packets * 1e6,
        "both MB/s": BULK_BYTES / (bench.server_seconds + bench.client_seconds) / 1e6,
        "bulk packets per ack": bench.packets / bench.acks,
    }


def stock_acks() -> dict[str, float]:
    """A reply to a peer as stock is: a window of 32, and a single acknowledgement for every two packets."""
    server = Endpoint(Random(1))
    server.offer(1)
    server.receive_datagrams([(data(b"request"), CLIENT)], 0.0)
    (event,) = server.events()
    call = event.call
    call.write(bytes(20 << 20))
    now, first, seconds = 0.0, 1, 0.0
    server.datagrams_to_send(now)
    for serial in range(2, STOCK_ACKS + 2):
        now += 0.000_1
        first += 2
        ack = craft(PacketType.ACK, ack_body(first, previous=first - 1), serial=serial)
        begun = perf_counter()
        server.receive_datagrams([(ack, CLIENT)], now)
        server.datagrams_to_send(now)
        seconds += perf_counter() - begun
    assert call.sender.first == first
    return {"us per stock ack and its 2 packets": seconds / STOCK_ACKS * 1e6}


def main() -> None:
    if "--profile" in sys.argv:
        for work in (small_calls, bulk, stock_acks):
            profile = cProfile.Profile()
            profile.runcall(work)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    results: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for work in (small_calls, bulk, stock_acks):
            for name, value in work().items():
                results.setdefault(name, []).append(value)
    for name, values in results.items():
        print(f"{name:36} {median(values):8.2f}  (best {min(values):.2f}, worst {max(values):.2f})")


if __name__ == "__main__":
    main()
