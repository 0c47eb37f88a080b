"""Many hosts to be told at once, and those that are hard to find: behind one address, or at several."""

from __future__ import annotations

from uuid import UUID

from twisted.internet.defer import Deferred, gatherResults

from afs.types import AFSCBMAX
from fileserver.hosts import Host
from tests.fileserver.procedures.support import NOTHING, ROOT, Machine, World, key

HOLDERS = 300
"""Hosts that hold one promise: more than a thread pool would tell at a time."""

DEAD = 10


class Crowd(World):
    def host(self, number: int, port: int = 7001) -> Host:
        found = self.server.hosts.at((f"10.0.0.{number}", port))
        assert found is not None
        return found

    def crowd(self, count: int = HOLDERS) -> list[Machine]:
        """Machines behind one address, each with a promise for the root."""
        machines = [self.machine(2, port=20_000 + number) for number in range(count)]
        for machine in machines:
            self.run_now(self.on(2, port=machine.address[1]).FetchStatus(ROOT))
            machine.told.clear()
        return machines


class Storms(Crowd):
    def test_all_at_once(self) -> None:
        """A change that hundreds of hosts must hear of is sent to all of them before any has answered, once each; the
        change is answered when the last has.
        """
        machines = self.crowd()
        gates = [Deferred[None]() for _ in machines]
        for machine, gate in zip(machines, gates, strict=True):
            machine.stuck = gate
        asked: list[object] = []
        reach = self.channel._reach

        async def counted(address: tuple[str, int], *what: object) -> Machine:
            asked.append((address, *what))
            return await reach(address, *what)

        self.patch(self.channel, "_reach", counted)
        changing = self.begin(self.on(1).MakeDir(ROOT, b"d", NOTHING))
        self.assertEqual(len(asked), HOLDERS + 2)  # and who calls was asked who it is, and reset
        for gate in gates[:-1]:
            gate.callback(None)
        self.assertNoResult(changing)
        gates[-1].callback(None)
        self.successResultOf(changing)
        self.assertEqual([machine.told for machine in machines], [[("break", key(ROOT))]] * HOLDERS)

    def test_the_dead_among_them(self) -> None:
        """Hosts that do not answer are down after one message, and what they missed is kept for them; all others have
        heard.
        """
        machines = self.crowd()
        for machine in machines[:DEAD]:
            machine.up = False
        self.mkdir(b"d")
        self.assertEqual([len(machine.told) for machine in machines], [0] * DEAD + [1] * (HOLDERS - DEAD))
        self.assertEqual(sum(self.host(2, machine.address[1]).down for machine in machines), DEAD)
        for machine in machines[:DEAD]:
            machine.up = True
            self.run_now(self.on(2, port=machine.address[1]).FetchStatus(ROOT))
            self.assertEqual(machine.told, [("break", key(ROOT))])

    def test_a_volume(self) -> None:
        """A volume that changed as a whole costs each holder one message, whatever it holds of it."""
        fids = [self.create(b"%d" % number) for number in range(AFSCBMAX + 10)]
        machines = self.crowd(20)
        for machine in machines:
            for fid in fids:
                self.run_now(self.on(2, port=machine.address[1]).FetchStatus(fid))
        for machine in machines:
            machine.told.clear()
        self.server.breaks.break_volume(ROOT.Volume)
        self.run_now(self.server.breaks.drain())
        self.assertEqual([machine.told for machine in machines], [[("break", (ROOT.Volume, 0, 0))]] * 20)
        self.assertEqual(sum(promise.host.address[0] == "10.0.0.2" for promise in self.server.callbacks.promises()), 0)

    def test_changes_at_once(self) -> None:
        """Of changes at the same time every holder hears, of each."""
        machines = self.crowd(50)
        directories = [self.mkdir(b"d%d" % number) for number in range(4)]
        for machine in machines:
            for directory in directories:
                self.run_now(self.on(2, port=machine.address[1]).FetchStatus(directory))
            machine.told.clear()
        work = [self.begin(self.on(1).MakeDir(each, b"x", NOTHING)) for each in directories]
        self.successResultOf(gatherResults(work))
        for machine in machines:
            self.assertEqual(sorted(machine.told), [("break", key(each)) for each in directories])


class HardToFind(Crowd):
    def test_behind_one_address(self) -> None:
        """Clients behind a NAT are hosts of their own: each hears of what it holds, at its own port, and no other."""
        first, second = self.machine(2, port=4001), self.machine(2, port=4002)
        directory = self.mkdir(b"d")
        self.run_now(self.on(2, port=4001).FetchStatus(ROOT))
        self.run_now(self.on(2, port=4002).FetchStatus(directory))
        self.assertIsNot(self.host(2, 4001), self.host(2, 4002))
        first.told.clear()
        second.told.clear()
        self.mkdir(b"e")
        self.assertEqual((first.told, second.told), ([("break", key(ROOT))], []))

    def test_another_port_of_the_nat(self) -> None:
        """A NAT that has given a client another port, and the old one to another client: both are known for who they
        are, and the promises went along.
        """
        first = self.machine(2, port=4001)
        self.run_now(self.on(2, port=4001).FetchStatus(ROOT))
        moved = self.machine(2, port=4002)
        first.uuid, moved.uuid = UUID(int=5), first.uuid
        self.reconnect()
        self.run_now(self.on(2, port=4002).GetTime())
        self.run_now(self.on(2, port=4001).GetTime())
        self.assertEqual(self.host(2, 4002).uuid, moved.uuid)
        self.assertEqual(self.host(2, 4001).uuid, UUID(int=5))
        first.told.clear()
        moved.told.clear()
        self.mkdir(b"d")
        self.assertEqual((first.told, moved.told), ([], [("break", key(ROOT))]))

    def test_an_interface_it_never_called_from(self) -> None:
        """A multihomed client is told at another of the addresses it named, when it is the same client there."""
        client, other = self.machine(2), self.machine(3)
        client.interfaces = ("10.0.0.2", "10.0.0.3")
        other.uuid = client.uuid
        self.run_now(self.on(2).FetchStatus(ROOT))
        client.up = False
        self.mkdir(b"d")
        self.assertEqual(other.told, [("probe",), ("break", key(ROOT))])
        self.assertEqual(self.host(3).address, other.address)
        self.assertFalse(self.host(3).down)

    def test_somebody_else_there(self) -> None:
        """When somebody else answers at that address, he is not told, and the client is down."""
        client, other = self.machine(2), self.machine(3)
        client.interfaces = ("10.0.0.2", "10.0.0.3")
        self.run_now(self.on(2).FetchStatus(ROOT))
        client.up = False
        self.mkdir(b"d")
        self.assertEqual(other.told, [("probe",)])
        self.assertTrue(self.host(2).down)

    def test_giving_up_everything(self) -> None:
        """GiveUpAllCallBacks is about the host that calls, not about its neighbours behind the same address."""
        machines = self.crowd(3)
        self.run_now(self.on(2, port=machines[0].address[1]).GiveUpAllCallBacks())
        self.mkdir(b"d")
        self.assertEqual([len(machine.told) for machine in machines], [0, 1, 1])
