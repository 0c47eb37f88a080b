"""How much ten thousand open connections slow small calls, on loopback between our own ends.

    python -m tests.bench.bench_connections [--connections 10000] [--seconds 2] [--rounds 5]

Rounds without and with the idle connections alternate, each with a server process of its own. Every idle connection has
made one call, so that the server knows it. What counts is the server's processor time for a call: it hardly depends on
what else the machine does, and the client, which holds the other ends, is not what is measured.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from rx.transport import RxPort
from tests.bench.bench_rpc import Bench, small_calls

CALLERS = 16
AT_ONCE = 64
"""Connections opened at a time."""


async def open_connections(port: RxPort, server: tuple[str, int], count: int) -> None:
    """Connections that have made one call each, and stay."""
    waiting = [port.connect(server, Bench.service_id) for _ in range(count)]

    async def opener() -> None:
        while waiting:
            await Bench.client(waiting.pop()).Small(b"root.cell")

    await gatherResults([Deferred.fromCoroutine(opener()) for _ in range(AT_ONCE)])


class Round(NamedTuple):
    """Small calls a second, and the server's processor microseconds for each."""

    rate: float
    cost: float


def processor_seconds(process_id: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def one_round(connections: int, seconds: float) -> Round:
    """CALLERS callers beside so many idle connections."""
    command = [sys.executable, "-m", "tests.bench.bench_rpc", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  before anything is measured
        assert process.stdout is not None
        server = ("127.0.0.1", int(process.stdout.readline()))
        idle, busy = RxPort(reactor, "127.0.0.1"), RxPort(reactor, "127.0.0.1")
        for port in (idle, busy):
            port.start()
        await open_connections(idle, server, connections)
        before = processor_seconds(process.pid)
        rate = await small_calls(busy, server, None, CALLERS, seconds)
        cost = (processor_seconds(process.pid) - before) / (rate * seconds) * 1e6
        for port in (idle, busy):
            await port.stop()
        process.terminate()
    return Round(rate, cost)


async def measure(connections: int, seconds: float, rounds: int) -> None:
    """Print the table."""
    found: dict[int, list[Round]] = {0: [], connections: []}
    for number in range(rounds):
        for count in sorted(found, reverse=bool(number % 2)):
            found[count].append(await one_round(count, seconds))
    for count, each in found.items():
        costs = [one.cost for one in each]
        spread = f"{median(costs):5.1f} us of the server each [{min(costs):.1f}..{max(costs):.1f}]"
        print(f"{count:6} idle connections: {median(one.rate for one in each):6.0f} small calls/s, {spread}")
    print(f"cost ratio: {median(one.cost for one in found[connections]) / median(one.cost for one in found[0]):.3f}")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    react(
        lambda _: Deferred.fromCoroutine(measure(options.connections, options.seconds, options.rounds)),
    )


if __name__ == "__main__":
    main()
