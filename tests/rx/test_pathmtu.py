"""Packet sizes: what both ends take, as far as the path carries it."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import IPv4Network

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import MAXIMUM_MTU, MINIMUM_MTU, NATURAL_MTU, PacketType
from rx.interfaces import near_networks
from rx.limits import Limits
from rx.pathmtu import AGAIN_SECONDS, PRECISION, PROBE_SECONDS, TRIES, Near, PathMtu, mtu_towards
from rx.peer import Peer
from tests.rx.cases import PairCase
from tests.support.pair import CLIENT, SERVER, Network

ANNOUNCED = (
    # maximum, natural: what is used between NATURAL_MTU proven and 16384 of our own
    ((0, 0), MINIMUM_MTU),
    ((1, 2**32 - 1), MINIMUM_MTU),
    ((2**32 - 1, 1), MINIMUM_MTU),
    ((519, 519), MINIMUM_MTU),
    ((521, 1444), 521),
    ((1443, 9000), 1443),
    ((1444, 1444), 1444),
    ((16384, 1444), 1444),
    ((9000, 9000), 9000),
    ((16384, 16384), 16384),
    ((16385, 65536), 16384),
    ((2**31, 2**31), 16384),
    ((2**32 - 1, 2**32 - 1), 16384),
)
"""What a hostile or careless peer may say of itself, and the largest datagram it may get for it."""


class SearchTests(SynchronousTestCase):
    """The search alone."""

    def search(self, path: PathMtu, carries: int, now: float = 0.0) -> int:
        """Probe until there is nothing to find out; how many probes that took."""
        count = 0
        while path.probe_at <= now:
            size = path.probe(now)
            if size:
                count += 1
                self.assertGreater(size, path.size)
                self.assertLessEqual(size, path.limit)
                if size <= carries:
                    path.answered(size)
                else:
                    now += PROBE_SECONDS
        return count

    def test_finds(self) -> None:
        """The size found is carried, no further from what is possible than PRECISION, in a few probes."""
        for limit in (1500, 4000, 9000, MAXIMUM_MTU):
            for carries in (NATURAL_MTU, 1500, 2000, 4352, 8192, 9000, MAXIMUM_MTU):
                path = PathMtu(limit)
                path.allow(limit)
                count = self.search(path, carries)
                self.assertLessEqual(path.size, max(carries, NATURAL_MTU))
                self.assertGreaterEqual(path.size, min(limit, carries) - PRECISION)
                self.assertLess(count, 12 * TRIES)

    def test_first_the_largest(self) -> None:
        """Where the path carries what both ends take one probe is enough, and none follows."""
        path = PathMtu(MAXIMUM_MTU)
        path.allow(9000)
        self.assertEqual(self.search(path, MAXIMUM_MTU), 1)
        self.assertEqual((path.size, path.probe(1e9) > 0 and path.probe_at > 1e9), (9000, True))

    def test_small_ones_need_no_probe(self) -> None:
        """Up to 1444 bytes what is announced is used at once."""
        path = PathMtu(MAXIMUM_MTU)
        for size in (520, 1444, 1000):
            path.allow(size)
            self.assertEqual((path.size, path.probe_at), (size, float("inf")))

    def test_lost_probes(self) -> None:
        """One lost probe is no reason for smaller packets; after three of one size a smaller one is tried."""
        path = PathMtu(9000)
        path.allow(9000)
        self.assertEqual([path.probe(float(second)) for second in range(4)], [9000] * TRIES + [(1444 + 9001) // 2])

    def test_stalled(self) -> None:
        """When nothing arrives any more it is back to 1444 bytes, and another search after ten minutes."""
        path = PathMtu(9000)
        path.allow(9000)
        self.search(path, 9000)
        path.stalled(100.0)
        self.assertEqual((path.size, path.probe_at), (NATURAL_MTU, 100.0 + AGAIN_SECONDS))
        self.search(path, 9000, 100.0 + AGAIN_SECONDS)
        self.assertEqual(path.size, 9000)

    def test_late_answer(self) -> None:
        """The answer to a probe of before a change proves nothing."""
        path = PathMtu(9000)
        path.allow(9000)
        size = path.probe(0.0)
        path.allow(8000)
        path.answered(size)
        self.assertEqual(path.size, NATURAL_MTU)

    def test_hostile_announcements(self) -> None:
        """Whatever a peer says of itself, datagrams stay between 520 bytes and 16384, and no larger than it said."""
        for words, largest in ANNOUNCED:
            peer = Peer(CLIENT, MAXIMUM_MTU)
            peer.announce_mtu(*words)
            self.search(peer.path, MAXIMUM_MTU)
            self.assertEqual(peer.mtu, largest, words)


class InterfaceTests(SynchronousTestCase):
    """What the machine says of its networks."""

    def test_loopback(self) -> None:
        """Loopback carries the largest datagram there is in Rx."""
        self.assertIn(Near(IPv4Network("127.0.0.0/8"), MAXIMUM_MTU), near_networks())

    def test_all_of_them(self) -> None:
        """Every network has a size that Rx allows, and the address that leads to others is on one of them."""
        networks = near_networks()
        for near in networks:
            self.assertIn(near.mtu, range(MINIMUM_MTU, MAXIMUM_MTU + 1))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect(("192.0.2.200", 9))
            except OSError:
                return  # nothing leads anywhere
            own = asking.getsockname()[0]
        self.assertTrue(
            any(own in map(str, (near.network,)) or mtu_towards(own, [near]) == near.mtu for near in networks)
        )

    def test_own_address(self) -> None:
        """What goes to an address of the machine's own goes over loopback."""
        for near in near_networks():
            if near.network.prefixlen == 32:
                self.assertEqual(near.mtu, MAXIMUM_MTU)
        self.assertIn(32, [near.network.prefixlen for near in near_networks()])

    def test_strangers(self) -> None:
        """An address on no network of ours gets what every path carries; on several, what the most particular one
        says, and of two alike the smaller.
        """
        sizes = {"10.0.0.0/8": 9000, "10.1.0.0/16": 4000, "10.1.0.7/32": 16384}
        near = [Near(IPv4Network(network), size) for network, size in sizes.items()]
        near.append(Near(IPv4Network("10.1.0.0/16"), 3000))
        expected = {"10.2.3.4": 9000, "10.1.3.4": 3000, "10.1.0.7": 16384, "11.0.0.1": NATURAL_MTU}
        for host, size in expected.items():
            self.assertEqual(mtu_towards(host, near), size)


class PathCase(PairCase):
    """Calls with much to say, over a network of large packets."""

    network = Network(interface_mtu=9000)
    payload = bytes(range(256)) * 4000

    def largest_data(self) -> int:
        return max(len(datagram) for _, datagram in self.wire if datagram[20] == PacketType.DATA)

    def transfer(self) -> None:
        call = self.call(self.payload)
        self.assertIsNone(self.finish(call))
        self.assertTrue(self.reply(call) == self.payload)
        self.nothing_left(60.0)


class JumboNetworkTests(PathCase):
    """A network that carries what both ends take."""

    def test_used(self) -> None:
        """Both directions use the network's packets, after one probe each."""
        self.transfer()
        for who in ("client", "server"):
            sizes = [len(datagram) for sender, datagram in self.wire if sender == who and datagram[20] == 1]
            self.assertEqual(max(sizes), 9000)
            self.assertLess(len(sizes), 250)
            probes = [datagram for sender, datagram in self.wire if sender == who and datagram[20] == 2]
            self.assertEqual([len(probe) for probe in probes if len(probe) > 1444], [9000])

    def test_remembered(self) -> None:
        """The next call, on any connection to the same peer, uses them from its first packet."""
        self.transfer()
        self.wire.clear()
        self.connection = self.pair.client.connect(SERVER, 1)
        self.transfer()
        self.assertEqual(len([1 for who, datagram in self.wire if who == "client" and len(datagram) == 1444]), 0)

    def test_small_calls(self) -> None:
        """Calls with little to say never probe."""
        for _ in range(20):
            self.finish(self.call(bytes(3000)))
        self.assertLessEqual(max(len(datagram) for _, datagram in self.wire), 1444)


class NarrowPathTests(PathCase):
    """Routers between that pass on less than both ends' networks carry."""

    network = Network(interface_mtu=9000, path_mtu=4500)

    def test_found(self) -> None:
        """The data is never larger than what passes; nothing but probes is lost, and no call waits for them."""
        for _ in range(20):
            self.transfer()
            self.pair.run(seconds=2.0)
        lost = [datagram for _, datagram in self.wire if len(datagram) > 4500]
        self.assertEqual({datagram[20] for datagram in lost}, {PacketType.ACK})
        self.assertGreater(self.largest_data(), 4500 - PRECISION)

    def test_changed(self) -> None:
        """A path that stops carrying large packets costs the calls that are on it, one each way; others go well."""
        self.pair.network = replace(self.pair.network, path_mtu=MAXIMUM_MTU)
        self.transfer()
        self.assertEqual(self.largest_data(), 9000)
        self.pair.network = replace(self.pair.network, path_mtu=1500)
        for _ in ("there", "back"):
            self.finish(self.call(self.payload))
        self.wire.clear()
        self.transfer()
        self.assertEqual(self.largest_data(), NATURAL_MTU)


class OneSidedTests(PathCase):
    """Only one end takes large packets."""

    server_limits = Limits(packet_size=2000, receive_size=2000)

    def test_smaller_counts(self) -> None:
        """Neither sends more than the other announced."""
        self.transfer()
        self.assertEqual(self.largest_data(), 2000)


class LossyTests(PathCase):
    """Large packets on a network that also loses."""

    network = Network(interface_mtu=9000, path_mtu=9000, loss=0.02, jitter=0.001)

    def test_loss(self) -> None:
        """Everything arrives, in large packets."""
        for _ in range(5):
            self.transfer()
        self.assertEqual(self.largest_data(), 9000)


class WindowTests(PairCase):
    """The window that goes with a packet size."""

    def windows(self, interface_mtu: int) -> set[int]:
        self.network = Network(interface_mtu=interface_mtu)
        self.setUp()
        self.finish(self.call(bytes(100_000)))
        return {each.peer_window for each in self.pair.client.client_connections}

    def test_bytes(self) -> None:
        """255 packets of 1444 bytes, and fewer large ones: at most window_bytes."""
        self.assertEqual(self.windows(1444), {255})
        self.assertEqual(self.windows(MAXIMUM_MTU), {(1 << 20) // MAXIMUM_MTU})
