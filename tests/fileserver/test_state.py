"""Hosts and promises over a restart: what is restored, and what never is."""

from __future__ import annotations

from uuid import UUID, uuid4

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from fileserver.callbacks import Callbacks, Fid, Kind
from fileserver.hosts import Host, Hosts
from fileserver.state import AGE_LIMIT, NOTE, HostState, StateRefused, load
from fileserver.store.memory import MemoryPartition
from tests.fileserver.procedures.support import Channel

SERVER = uuid4()
NOW = 1_700_000_000.0
A, B, C = [(f"10.0.0.{number}", 7001) for number in (1, 2, 3)]
LOCAL = ("10.0.0.9", 7000)
ONE: Fid = (1, 2, 3)
OTHER: Fid = (2, 4, 5)


class Server:
    """What of a server the state is about. Volume 1 is on the first partition, 2 on the second."""

    def __init__(self, first: MemoryPartition, second: MemoryPartition, now: float = NOW, uuid: UUID = SERVER) -> None:
        self.now = now
        self.channel = Channel()
        self.callbacks: Callbacks[Host] = Callbacks()
        self.hosts = Hosts(self.channel, self.callbacks)
        self.partitions = [first, second]
        where = {1: first.uuid, 2: second.uuid}
        self.state = HostState(uuid, self.hosts, self.callbacks, self.channel, where.get, lambda: self.now)

    def know(self, address: tuple[str, int], uuid: UUID | None = None) -> Host:
        host = self.hosts.adopt(address, uuid or uuid4(), [address], self.now)
        assert host is not None
        self.channel.heard(address, LOCAL)
        return host


class Restarting(SynchronousTestCase):
    def setUp(self) -> None:
        self.first, self.second = MemoryPartition(0), MemoryPartition(1)
        self.before = Server(self.first, self.second)

    def save(self, *partitions: MemoryPartition) -> None:
        for partition in partitions or self.before.partitions:
            self.successResultOf(ensureDeferred(self.before.state.save(partition)))

    def after(self, *, now: float = NOW + 60, uuid: UUID = SERVER, believe: bool = True) -> Server:
        """The server that takes the notes."""
        server = Server(self.first, self.second, now, uuid)
        self.successResultOf(ensureDeferred(server.state.restore(server.partitions, believe=believe)))
        return server

    def test_everything_comes_back(self) -> None:
        """A host is known again with its UUID, its addresses, our side of its path, promises and what it is owed."""
        host = self.before.know(A)
        self.before.hosts.move(host, B)
        self.before.channel.heard(B, LOCAL)
        host.error_translation, host.interfaces, host.last_call = True, ("192.168.0.1",), 17.0
        self.before.callbacks.grant(ONE, host, Kind.NORMAL, NOW)
        self.before.callbacks.grant((1, 0, 0), host, Kind.VOLUME, NOW)
        self.before.callbacks.delay(OTHER, host, NOW)
        self.save()
        server = self.after()
        (again,) = server.hosts
        self.assertEqual((again.uuid, again.address, set(again.addresses)), (host.uuid, B, {A, B}))
        self.assertEqual((again.error_translation, again.interfaces, again.last_call), (True, ("192.168.0.1",), 17.0))
        self.assertTrue(again.settled and again.owed)
        self.assertEqual(server.channel.route(B), LOCAL)
        kinds = {promise.fid: (promise.kind, promise.bucket) for promise in server.callbacks.promises(again)}
        self.assertEqual(
            kinds, {promise.fid: (promise.kind, promise.bucket) for promise in self.before.callbacks.promises(host)}
        )
        self.assertIs(server.hosts.at(A), again)

    def test_read_once(self) -> None:
        """A note is gone once it was taken: what crashes afterwards leaves none."""
        self.before.callbacks.grant(ONE, self.before.know(A), Kind.NORMAL, NOW)
        self.save()
        self.assertEqual(len(self.after().hosts), 1)
        self.assertEqual(len(self.after().hosts), 0)

    def test_not_believed(self) -> None:
        """A server told not to restore takes the note away all the same."""
        self.before.know(A)
        self.save()
        self.assertEqual(len(self.after(believe=False).hosts), 0)
        self.assertEqual(len(self.after().hosts), 0)

    def test_too_old(self) -> None:
        """After half an hour the note is worth nothing, nor when it comes from the future."""
        for now, hosts in ((NOW + AGE_LIMIT, 1), (NOW + AGE_LIMIT + 1, 0), (NOW - 1000, 0)):
            self.setUp()
            self.before.know(A)
            self.save()
            self.assertEqual(len(self.after(now=now).hosts), hosts, now)

    def test_another_server(self) -> None:
        """What another server promised is not ours to keep."""
        self.before.know(A)
        self.save()
        self.assertEqual(len(self.after(uuid=uuid4()).hosts), 0)

    def test_every_flipped_byte(self) -> None:
        """A note with any byte changed, or cut short anywhere, is refused."""
        self.before.callbacks.grant(ONE, self.before.know(A), Kind.NORMAL, NOW)
        self.save()
        note = self.first.disk.notes[NOTE]
        self.assertEqual(len(load(note, SERVER, NOW)), 1)
        for place in range(len(note)):
            flipped = note[:place] + bytes([note[place] ^ 4]) + note[place + 1 :]
            self.assertRaises(StateRefused, load, flipped, SERVER, NOW)
            self.assertRaises(StateRefused, load, note[:place], SERVER, NOW)

    def test_one_note_missing(self) -> None:
        """A host that had promises on two partitions is only known again with the notes of both; others do not mind."""
        both, one = self.before.know(A), self.before.know(B)
        for host in (both, one):
            self.before.callbacks.grant(ONE, host, Kind.NORMAL, NOW)
        self.before.callbacks.grant(OTHER, both, Kind.NORMAL, NOW)
        self.save(self.first)
        server = self.after()
        self.assertEqual([host.address for host in server.hosts], [B])
        self.assertEqual(server.callbacks.count, 1)

    def test_left_out(self) -> None:
        """Hosts that are being told something, were never reset, or do not say who they are, are not saved."""
        for address, change in ((A, "telling"), (B, "reset_done"), (C, "identified")):
            setattr(self.before.know(address), change, change == "telling")
        self.save()
        self.assertEqual(len(self.after().hosts), 0)

    def test_expired(self) -> None:
        """A promise that ran out meanwhile is not restored."""
        host = self.before.know(A)
        self.before.callbacks.grant(ONE, host, Kind.NORMAL, NOW - 5 * 3600)
        self.before.callbacks.grant((1, 4, 4), host, Kind.NORMAL, NOW)
        self.save()
        self.assertEqual([promise.fid for promise in self.after().callbacks.promises()], [(1, 4, 4)])
