"""rx.udp: a socket that takes and gives runs of datagrams, with and without the kernel's help."""

import socket
from errno import EIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rx.udp import UdpSocket


class Sockets(SynchronousTestCase):
    """Two sockets on loopback, where what was sent can be received at once."""

    def socket(self, address: str = "127.0.0.1") -> UdpSocket:
        made = UdpSocket((address, 0), self.report)
        self.addCleanup(made.close)
        return made

    def setUp(self) -> None:
        self.reports: list[tuple[str, OSError]] = []
        self.one, self.other = self.socket(), self.socket()

    def report(self, what: str, problem: OSError) -> None:
        self.reports.append((what, problem))

    def received(self, receiver: UdpSocket) -> list[bytes]:
        datagrams: list[bytes] = []
        while batch := receiver.receive(16):
            datagrams += [data for data, _ in batch]
        return datagrams

    def test_runs(self) -> None:
        """A run arrives as the datagrams it was, whether the kernel cuts and joins it, one end does, or neither."""
        payloads = [bytes([number]) * 1444 for number in range(40)] + [b"short"]
        for sends in {False, self.one.sends_batches}:
            for receives in {False, self.other.receives_batches}:
                self.one.sends_batches = sends
                receiver = self.other if receives else self.plain_receiver()
                self.assertEqual(self.one.send(receiver.address, 1444, payloads), 41)
                self.assertEqual(self.received(receiver), payloads, (sends, receives))

    def plain_receiver(self) -> UdpSocket:
        plain = self.socket()
        plain._accepts(17, 104, 0)
        return plain

    def test_peer_address(self) -> None:
        """Datagrams come with the address they came from."""
        self.one.send(self.other.address, 3, [b"abc"])
        self.assertEqual(self.other.receive(8), [(b"abc", self.one.address)])
        self.assertEqual(self.other.receive(8), [])

    def test_bounded_batch(self) -> None:
        """A batch is no longer than asked; what waits is there for the next."""
        for number in range(10):
            self.one.send(self.other.address, 1, [bytes([number])])
        self.assertEqual([len(self.other.receive(4)) for _ in range(4)], [4, 4, 2, 0])

    def test_reply_from_the_address_asked(self) -> None:
        """A socket bound to every address answers from the one a peer has sent to."""
        everywhere = self.socket("0.0.0.0")
        self.one.send(("127.0.0.3", everywhere.address[1]), 3, [b"one"])
        self.assertEqual(everywhere.receive(8), [(b"one", self.one.address)])
        self.assertEqual(everywhere.local(self.one.address), ("127.0.0.3", everywhere.address[1]))
        for payloads in ([b"reply"], [b"reply"] * 3):
            everywhere.send(self.one.address, 5, payloads)
            replies = self.one.receive(8)
            self.assertEqual(replies, [(b"reply", ("127.0.0.3", everywhere.address[1]))] * len(payloads))

    def test_too_large(self) -> None:
        """A datagram the network refuses is reported and counts as sent; the rest of its run leaves."""
        self.one.sends_batches = False
        self.assertEqual(self.one.send(self.other.address, 70_000, [bytes(70_000), b"a"]), 2)
        self.assertEqual(self.received(self.other), [b"a"])
        self.assertEqual([what for what, _ in self.reports], ["send"])

    def test_segments_the_path_cannot_take(self) -> None:
        """Where segmenting fails the run is sent one by one; after EIO it is not tried again."""
        payloads = [b"x" * 30_000] * 3  # more than one UDP send holds
        self.assertEqual(self.one.send(self.other.address, 30_000, payloads), 3)
        self.assertEqual(self.received(self.other), payloads)
        self.one._socket.close()
        broken: Any = Broken(EIO)
        self.one._socket = broken
        self.one.sends_batches = True
        self.assertEqual(self.one.send(self.other.address, 3, [b"abc", b"d"]), 2)
        self.assertEqual((broken.plainly, self.one.sends_batches), ([b"abc", b"d"], False))

    def test_full(self) -> None:
        """A full socket takes what it can and says how much that was."""
        self.one._socket.close()
        full: Any = Full(2)
        self.one._socket = full
        self.one.sends_batches = False
        self.assertEqual(self.one.send(self.other.address, 1, [b"a", b"b", b"c"]), 2)
        self.one.sends_batches = True
        self.assertEqual(self.one.send(self.other.address, 1, [b"c", b"d"]), 0)

    def test_port_in_use(self) -> None:
        """Binding a taken port raises and leaves no socket open."""
        with self.assertRaises(OSError):
            UdpSocket(self.one.address, self.report)


class Broken:
    """A socket whose device cannot segment."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.plainly: list[bytes] = []

    def sendmsg(self, *rest: Any) -> None:
        raise OSError(self.number, "no")

    def sendto(self, payload: bytes, address: Any) -> None:
        self.plainly.append(payload)

    def close(self) -> None: ...


class Full(Broken):
    """A socket with room for so many datagrams."""

    def sendmsg(self, *rest: Any) -> None:
        raise BlockingIOError

    def sendto(self, payload: bytes, address: Any) -> None:
        if not self.number:
            raise BlockingIOError
        self.number -= 1


class Errors(SynchronousTestCase):
    """What the network reports about earlier datagrams."""

    def test_icmp(self) -> None:
        """An ICMP error is reported, and what waits behind it is still received."""
        reports: list[str] = []
        receiver = UdpSocket(("127.0.0.1", 0), lambda what, problem: reports.append(what))
        self.addCleanup(receiver.close)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            gone = sender.getsockname()
        receiver._socket.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: have ICMP errors told to this socket
        receiver.send(gone, 1, [b"a"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"b", receiver.address)
            batches = [receiver.receive(8) for _ in range(2)]
        self.assertEqual([data for batch in batches for data, _ in batch], [b"b"])
        self.assertEqual(reports, ["receive"])
