"""Runs of datagrams: what one send with segmentation takes."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.limits import Limits
from rx.output import Output, runs
from rx.peer import Host
from tests.support.budget import budget

HERE, THERE = ("10.0.0.1", 7000), ("10.0.0.2", 7001)


class RunTests(SynchronousTestCase):
    """`runs`."""

    def test_order_and_shape(self) -> None:
        """Every datagram leaves once, in order per address, in runs of one size whose last may be shorter."""
        spent = budget("rx.runs", full=20_000, least=300)
        random = Random(spent.seed)
        for _ in range(spent.count):
            limits = Limits(segments=random.choice((1, 2, 7, 64)), run_bytes=random.choice((100, 3000, 65_000)))
            sizes = (28, 65, 520, 1444)
            outbox = {
                address: [random.randbytes(4) + bytes(random.choice(sizes)) for _ in range(random.randrange(1, 100))]
                for address in (HERE, THERE)
            }
            left: dict[tuple[str, int], list[bytes]] = {HERE: [], THERE: []}
            for address, size, payloads in runs(outbox, limits):
                self.assertLessEqual(len(payloads), limits.segments)
                self.assertTrue(len(payloads) == 1 or sum(map(len, payloads)) <= limits.run_bytes)
                self.assertTrue(all(len(payload) == size for payload in payloads[:-1]))
                self.assertLessEqual(len(payloads[-1]), size)
                left[address] += payloads
            self.assertEqual(left, outbox)

    def test_full_packets_go_together(self) -> None:
        """Sixty-four equal packets are one run of as many as fit the bytes, not sixty-four sends."""
        result = runs({HERE: [bytes(1444)] * 64}, Limits())
        self.assertEqual([len(run.payloads) for run in result], [45, 19])

    def test_advertised_window_shrinks_with_memory(self) -> None:
        """Past half of the memory for unread data, or of a host's share, acknowledgements advertise one packet."""
        output = Output(Limits(buffered_bytes=1000, buffered_bytes_per_host=600))
        here, there = Host(), Host()

        def windows() -> tuple[int, int]:
            here_window, there_window = (
                int.from_bytes(output.ack_trailer(1444, host)[11:15], "big") for host in (here, there)
            )
            return here_window, there_window

        self.assertEqual(windows(), (255, 255))
        output.hold(here, 301)
        self.assertEqual(windows(), (1, 255))
        output.hold(there, 200)
        self.assertEqual(windows(), (1, 1))
