"""What xstat says of Rx: the same as rxdebug, at the places of struct afs_PerfStats."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from fileserver import rx_words
from fileserver.rx_words import RX_WORDS
from fileserver.statistics import PERF_WORDS, RX
from tests.support.cell import start_cell

COLLECTIONS = (1, 2)
ONLY_RISE = ("data_read", "acks_sent", "data_sent", "rtt_samples", "calls")


class RxWordsTests(TestCase):
    async def test_a_server(self) -> None:
        """The figures of the port that files are served at, in both collections, and they go on counting."""
        cell = await start_cell(self)
        await cell.create_volume(b"root.afs", acl={"system:anyuser": "rlidwk"})
        client = cell.client()
        await client.write_file("/file", bytes(50_000))
        server = cell.fileservers[0]
        fs = client.fs((str(server.address), server.port))
        port = server.service.ports[0]
        for collection in COLLECTIONS:
            before = port.endpoint.debug.figures()
            _, _, words = await fs.GetXStats(2, collection)
            after = port.endpoint.debug.figures()
            self.assertGreaterEqual(len(words), PERF_WORDS)
            rx = words[RX : RX + RX_WORDS]
            for place, name in rx_words.SUMS.items():
                self.assertTrue(getattr(before, name) <= rx[place] <= getattr(after, name), name)
            for name in ONLY_RISE:
                self.assertGreater(rx[{name: place for place, name in rx_words.SUMS.items()}[name]], 0, name)
            self.assertEqual(rx[rx_words.PACKETS_READ + 1], rx[15])
            minimum, maximum, total = (
                tuple(rx[place : place + 2])
                for place in (rx_words.MINIMUM_RTT, rx_words.MAXIMUM_RTT, rx_words.TOTAL_RTT)
            )
            self.assertTrue((0, 0) < minimum <= maximum <= total)
            self.assertEqual(words[RX + RX_WORDS], words[RX + RX_WORDS + 2])  # host entries come next

    def test_no_port(self) -> None:
        """Nothing is zeros."""
        self.assertEqual(rx_words.rx_words([]), [0] * RX_WORDS)
