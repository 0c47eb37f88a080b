"""One call's throughput over a long, lossy path, in simulated time: our own window, and one of 32 packets as stock's.

    python -m tests.bench.bench_path [--round-trip-ms 50] [--loss 0.001]

Simulated: the numbers depend on the seeds alone, not on the machine.
"""

import argparse
from statistics import median
from typing import NamedTuple

from rx.call import Call
from rx.constants import PacketType
from rx.events import CallArrived, CallCompleted, DataArrived, Event, Writable
from rx.limits import Limits
from tests.support.pair import SERVER, Network, Pair

SIZE = 8 << 20
SEEDS = 7
STOCK_WINDOW = 32
BLOCK = bytes(64 << 10)


class Transfer(NamedTuple):
    """What a fetch took: simulated seconds, and the part of the data packets that were repeats."""

    seconds: float
    resent: float


def transfer(network: Network, window: int, seed: int) -> Transfer:
    """Fetch SIZE bytes in one call."""
    limits = Limits(window=window)
    pair = Pair(seed, network, limits, limits)
    pair.server.offer(1)
    left, received, over = SIZE, 0, False

    def fill(call: Call) -> None:
        nonlocal left
        while left and call.writable:
            call.write(BLOCK)
            left -= len(BLOCK)
        if not left and not call.sender.ended:
            call.end_writing()

    def serve(event: Event) -> None:
        if isinstance(event, CallArrived | Writable):
            fill(event.call)

    def consume(event: Event) -> None:
        nonlocal received, over
        if isinstance(event, DataArrived | CallCompleted):
            received += len(event.call.read())
        over = over or isinstance(event, CallCompleted)

    pair.on_server, pair.on_client = serve, consume
    call = pair.client.connect(SERVER, 1).call(pair.now)
    assert call is not None
    call.end_writing()
    begun = pair.now
    assert pair.run(lambda: over, 3600.0)
    assert received == SIZE
    counted = pair.server.statistics
    return Transfer(pair.now - begun, counted.data_resent / counted.packets_sent[PacketType.DATA])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--round-trip-ms", type=float, default=50.0)
    parser.add_argument("--loss", type=float, default=0.001, help="of each datagram, each way")
    options = parser.parse_args()
    network = Network(latency=options.round_trip_ms / 2000, loss=options.loss)
    rates = {}
    for window in (STOCK_WINDOW, Limits().window):
        each = [SIZE / transfer(network, window, seed).seconds / 1e6 for seed in range(SEEDS)]
        rates[window] = median(each)
        print(f"window {window:3}: {rates[window]:6.2f} MB/s [{min(each):.2f}..{max(each):.2f}]")
    print(f"ratio: {rates[Limits().window] / rates[STOCK_WINDOW]:.2f}")


if __name__ == "__main__":
    main()
