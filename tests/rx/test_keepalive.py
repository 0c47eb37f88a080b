"""Keeping the way through address translators open."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rx.endpoint import Endpoint
from rx.output import Datagrams
from rx.packet import unpack_header
from rx.timers import NAT_KEEPALIVE_SECONDS
from tests.support.pair import CLIENT, SERVER, Pair


class KeepaliveTests(SynchronousTestCase):
    """An endpoint with connections that want it."""

    def setUp(self) -> None:
        self.endpoint = Endpoint(Random(1))
        self.now = 0.0

    def wait(self, seconds: float) -> list[Datagrams]:
        """What leaves by itself in that time."""
        sent = []
        end = self.now + seconds
        while (deadline := self.endpoint.next_timeout()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.endpoint.handle_timeout(self.now)
            sent += self.endpoint.datagrams_to_send(self.now)
        self.now = end
        return sent

    def test_packet(self) -> None:
        """One packet, as stock sends it, every 20 s to each server, however many connections there are to it."""
        for address in (SERVER, SERVER, ("10.0.0.9", 7000)):
            self.endpoint.connect(address, 1, nat_keepalive=True)
        sent = self.wait(3 * NAT_KEEPALIVE_SECONDS)
        self.assertEqual([run.address for run in sent], [SERVER, ("10.0.0.9", 7000)] * 3)
        (packet,) = sent[0].payloads
        self.assertEqual(unpack_header(packet), (999, 0, 0, 0, 0, 13, 4, 0, 0, 0, 0))
        self.assertEqual(packet[28:], b"\0")

    def test_not_asked_for(self) -> None:
        """Other connections send nothing by themselves."""
        self.endpoint.connect(SERVER, 1)
        self.assertEqual(self.wait(1000), [])

    def test_ends_with_the_last(self) -> None:
        """It goes on until the last connection to that server is closed, and can begin again."""
        one, other = (self.endpoint.connect(SERVER, 1, nat_keepalive=True) for _ in range(2))
        self.endpoint.close(one)
        self.assertEqual(len(self.wait(NAT_KEEPALIVE_SECONDS)), 1)
        self.endpoint.close(other)
        self.assertEqual(self.wait(1000), [])
        self.endpoint.connect(SERVER, 1, nat_keepalive=True)
        self.assertNotEqual(self.wait(1000), [])

    def test_unanswered(self) -> None:
        """A server of ours neither answers nor remembers it."""
        pair = Pair()
        pair.client.connect(SERVER, 1, nat_keepalive=True)
        seen = []
        pair.tap = lambda now, source, to, datagram: seen.append(source)
        pair.run(seconds=100)
        self.assertEqual(set(seen), {CLIENT})
        self.assertEqual(list(pair.server.server_connections), [])
