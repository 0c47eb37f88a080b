"""What an RPC costs on loopback between our own ends: small calls a second, and one stream's MB/s each way.

    python -m tests.bench.bench_rpc [--seconds N] [--profile FILE] [--level clear|auth|crypt] [--json]

The server is a process of its own, as in life. Null security unless --level asks for rxkad; nothing else should run.
"""

# mypy: disable-error-code="empty-body"

import argparse
import cProfile
import json
import subprocess
import sys
import time
from collections.abc import Coroutine
from random import SystemRandom
from typing import Annotated, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from rx.security.interfaces import ISecurity
from rx.security.kerberos.ticket import Ticket
from rx.security.rxkad import Level, RxkadClient, RxkadServer
from rx.server import Server, ServerCall
from rx.service import Service, rpc
from rx.streams import Counted64, Rest, Sink, Source
from rx.transport import RxPort
from tests.support.rxkad import SESSION_KEY, Keys, token
from xdr import Opaque, String, UInt32, UInt64

STREAM_SIZE = 256 << 20
PIECE = bytes(1 << 16)
CALLERS = (1, 16, 64)
TOKEN = token(Ticket("bench", "", "", SESSION_KEY, 0, 0x7FFF_FFFF))


class Bench(Service, service_id=7):
    """A small call shaped like VL_GetEntryByNameU (a name in, about a KB out) and two streams."""

    @rpc(1)
    async def Small(self, name: Annotated[bytes, String(65)]) -> Annotated[bytes, Opaque(2048)]: ...

    @rpc(2)
    async def Fetch(self, length: UInt64, data: Annotated[Sink, Counted64]) -> UInt32: ...

    @rpc(3)
    async def Store(self, length: UInt64, data: Annotated[Source, Rest]) -> UInt32: ...


class Procedures(Bench):
    """The server's side."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call

    async def Small(self, name: bytes) -> bytes:
        return PIECE[:1044]

    async def Fetch(self, length: int, data: Sink) -> int:
        data.announce(length)
        for start in range(0, length, len(PIECE)):
            await data.write(PIECE[: length - start])
        return 0

    async def Store(self, length: int, data: Source) -> int:
        taken = 0
        while piece := await data.read(1 << 20):
            taken += len(piece)
        return taken & 0xFFFF_FFFF


class Discard:
    """A sink that counts."""

    def __init__(self) -> None:
        self.taken = 0

    def announce(self, length: int) -> None: ...

    async def write(self, data: bytes | memoryview, /) -> None:
        self.taken += len(data)


class Zeros:
    """A source of so many bytes."""

    def __init__(self, length: int) -> None:
        self.length = self._left = length

    async def read(self, size: int, /) -> bytes:
        piece = PIECE[: min(size, self._left)]
        self._left -= len(piece)
        return piece


def serve(profile: str | None) -> None:
    """Run the server until SIGTERM."""
    port = RxPort(reactor, "127.0.0.1")
    port.start()
    port.endpoint.secure(2, lambda: RxkadServer(Keys(), SystemRandom().getrandbits))
    Server(port).add(Bench, Procedures, security_indices=(0, 2))
    print(port.address[1], flush=True)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    reactor.run()
    if profile:
        profiler.disable()
        profiler.dump_stats(profile)


def security(level: str | None) -> ISecurity | None:
    """A client's end."""
    made: ISecurity | None = RxkadClient(TOKEN, Level[level.upper()]) if level else None
    return made


async def small_calls(port: RxPort, server: tuple[str, int], level: str | None, callers: int, seconds: float) -> float:
    """Calls a second by so many callers at a time, four a connection."""
    connections = [port.connect(server, Bench.service_id, security(level)) for _ in range((callers + 3) // 4)]
    count = 0
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        nonlocal count
        bench = Bench.client(connections[number // 4])
        while time.perf_counter() < end:
            await bench.Small(b"root.cell.readonly")
            count += 1

    started = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(caller(number)) for number in range(callers)])
    rate = count / (time.perf_counter() - started)
    for connection in connections:
        connection.close()
    return rate


async def streams(port: RxPort, server: tuple[str, int], level: str | None) -> tuple[float, float]:
    """MB/s of one fetch and one store."""
    connection = port.connect(server, Bench.service_id, security(level))
    bench = Bench.client(connection)
    sink = Discard()
    started = time.perf_counter()
    await bench.Fetch(STREAM_SIZE, sink)
    fetched = sink.taken / (time.perf_counter() - started) / 1e6
    started = time.perf_counter()
    stored_bytes = await bench.Store(STREAM_SIZE, Zeros(STREAM_SIZE))
    stored = stored_bytes / (time.perf_counter() - started) / 1e6
    connection.close()
    return fetched, stored


async def measure(seconds: float, profile: str | None, level: str | None) -> dict[str, float]:
    """Everything once, by name."""
    command = [sys.executable, "-m", "tests.bench.bench_rpc", "--serve"] + (["--profile", profile] if profile else [])
    with subprocess.Popen(  # noqa: ASYNC220  started before anything is measured
        command, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        server = ("127.0.0.1", int(process.stdout.readline()))
        port = RxPort(reactor, "127.0.0.1")
        port.start()
        measured: dict[str, float] = {}
        for callers in CALLERS:
            name = f"small calls/s, {callers} callers"
            measured[name] = await small_calls(port, server, level, callers, seconds)
        measured["fetch, MB/s"], measured["store, MB/s"] = await streams(port, server, level)
        await port.stop()
        process.terminate()
    return measured


async def report(seconds: float, profile: str | None, level: str | None, as_json: bool) -> None:
    """Print what was measured."""
    measured = await measure(seconds, profile, level)
    if as_json:
        print(json.dumps(measured))
        return
    for name, number in measured.items():
        print(f"{name:24} {number:8.0f}")


def main() -> None:
    """Parse the command line and measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round of small calls")
    parser.add_argument("--profile", metavar="FILE", help="write a cProfile of the server here")
    parser.add_argument("--level", choices=[level.name.lower() for level in Level], help="of rxkad, instead of rxnull")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.profile)
        return
    work: Coroutine[Any, Any, None] = report(options.seconds, options.profile, options.level, options.json)
    react(lambda _: Deferred.fromCoroutine(work))


if __name__ == "__main__":
    main()
