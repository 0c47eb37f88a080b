"""Hosts: who a client is, and that every one hears what it must before it is answered."""

from __future__ import annotations

from uuid import UUID

from twisted.internet.defer import Deferred, ensureDeferred

from afs.errors import VolumeError
from afs.types import AFSFid
from fileserver.breaks import FORGET_SECONDS, IDLE_PROBE_SECONDS
from fileserver.hosts import WAITING_LIMIT, Host, Hosts
from rx.constants import RxCode
from rx.errors import Abort
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, Machine, World, key


class Known(World):
    def host(self, number: int, port: int = 7001) -> Host:
        found = self.server.hosts.at((f"10.0.0.{number}", port))
        assert found is not None
        return found


class Identification(Known):
    def test_first_contact(self) -> None:
        """A client unknown so far is asked who it is and told that older promises are void, then served."""
        self.run_now(self.on(1).GetTime())
        self.assertEqual(self.machine(1).told, [("introduce",), ("reset", True)])
        self.run_now(self.on(1).GetTime())
        self.assertEqual(len(self.machine(1).told), 2)

    def test_each_connection_is_asked(self) -> None:
        """A new connection from a known address may be somebody else: it is asked, and not reset when it is not."""
        self.run_now(self.on(1).GetTime())
        self.run_now(self.on(1, "alice").GetTime())
        self.assertEqual(self.machine(1).told, [("introduce",), ("reset", True), ("introduce",)])
        self.assertEqual(len(self.server.hosts), 1)

    def test_without_a_uuid(self) -> None:
        """An old client is known by its address alone, and reset by the call it knows."""
        self.machine(1).uuid = None
        self.run_now(self.on(1).FetchStatus(ROOT))
        self.assertEqual(self.machine(1).told, [("introduce",), ("reset", False)])

    def test_another_client_at_the_same_address(self) -> None:
        """gets none of its predecessor's promises."""
        self.watch(ROOT, 1)
        old = self.host(1)
        self.machine(1).uuid = UUID(int=99)
        self.reconnect()
        self.run_now(self.on(1).GetTime())
        self.assertTrue(old.deleted)
        self.assertIsNot(self.host(1), old)
        self.assertEqual(self.server.callbacks.count, 0)
        self.assertEqual(self.machine(1).told, [("introduce",), ("reset", True)])

    def test_a_client_that_moves(self) -> None:
        """keeps its promises, is reached at the new address, and the old one is forgotten when it is silent there."""
        self.watch(ROOT, 1)
        moved = self.machine(1, port=4000)
        moved.uuid = self.machine(1).uuid
        self.machine(1).up = False
        self.run_now(self.on(1, port=4000).GetTime())
        self.assertIs(self.host(1, 4000).uuid, moved.uuid)
        self.assertIsNone(self.server.hosts.at(("10.0.0.1", 7001)))
        self.assertEqual(moved.told, [("introduce",)])
        self.run_now(self.on(2).CreateFile(ROOT, b"x", NOTHING))
        self.assertEqual(moved.told[-1], ("break", key(ROOT)))

    def test_two_addresses(self) -> None:
        """A client that calls from two addresses is one host; what fails at one is tried at the other."""
        self.watch(ROOT, 1)
        second = self.machine(3)
        second.uuid = self.machine(1).uuid
        self.run_now(self.on(3).GetTime())
        self.assertIs(self.host(1), self.host(3))
        second.up = False
        self.run_now(self.on(2).CreateFile(ROOT, b"x", NOTHING))
        self.assertIn(("break", key(ROOT)), self.machine(1).told)
        self.assertEqual(self.host(1).address, ("10.0.0.1", 7001))
        self.assertFalse(self.host(1).down)

    def test_a_silent_client(self) -> None:
        """A client that does not answer is refused with -1, and others are served meanwhile."""
        gate: Deferred[None] = Deferred()
        self.machine(1).stuck = gate
        waiting = ensureDeferred(self.on(1).GetTime())
        self.run_now(self.on(2).FetchStatus(ROOT))
        self.assertNoResult(waiting)
        self.machine(1).stuck = None
        self.machine(1).up = False
        gate.errback(Abort(RxCode.RX_CALL_DEAD))
        self.assertEqual(self.failureResultOf(waiting, Abort).value.code, -1)
        self.machine(1).up = True
        self.run_now(self.on(1).GetTime())
        self.assertTrue(self.host(1).reset_done)

    def test_many_calls_wait_for_one_answer(self) -> None:
        """Those that came while another was being asked share what the next answer says; too many are VBUSY."""
        machine = self.machine(1)
        gate: Deferred[None] = Deferred()
        machine.stuck = gate
        calls = [ensureDeferred(self.on(1, f"user{number}").GetTime()) for number in range(WAITING_LIMIT)]
        self.refused(VolumeError.VBUSY, self.on(1, "one more").GetTime())
        machine.stuck = None
        gate.callback(None)
        for call in calls:
            self.successResultOf(call)
        self.assertEqual([what[0] for what in machine.told], ["introduce", "reset", "introduce"])
        self.run_now(self.on(1, "one more").GetTime())
        self.assertEqual(self.server.hosts._meetings, {})

    def test_error_translation_follows_the_client(self) -> None:
        """A client that no longer announces the capability reads plain codes."""
        self.machine(1).capabilities = 1
        self.run_now(self.on(1).GetTime())
        self.assertTrue(self.host(1).error_translation)
        self.machine(1).capabilities = 0
        self.reconnect()
        self.run_now(self.on(1).GetTime())
        self.assertFalse(self.host(1).error_translation)

    def test_hosts_are_bounded(self) -> None:
        """Beyond the limit those idle for longest and without promises go; one with promises does not."""
        hosts = self.server.hosts
        hosts._limit = 4
        self.watch(ROOT, 1)
        for number in range(2, 12):
            self.time += 1
            self.run_now(self.on(number).GetTime())
        self.assertLessEqual(len(hosts), 4)
        self.assertIsNotNone(hosts.at(("10.0.0.1", 7001)))
        self.assertIsNone(hosts.at(("10.0.0.2", 7001)))
        self.run_now(self.on(2).FetchStatus(ROOT))


class Maintenance(World):
    def test_silent_hosts_are_probed(self) -> None:
        """After a quarter of an hour a holder is asked whether it is there; one that is not counts as down."""
        self.watch(ROOT, 1)
        self.watch(ROOT, 2)
        self.machine(2).up = False
        self.time += IDLE_PROBE_SECONDS
        self.run_now(self.server.maintain())
        self.assertEqual(self.machine(1).told, [("probe",)])
        down = {host.address[0]: host.down for host in self.server.hosts}
        self.assertEqual(down, {"10.0.0.1": False, "10.0.0.2": True})

    def test_hosts_long_gone_are_forgotten(self) -> None:
        """After two hours a host is told that its promises are void and forgotten; its next call makes it a new one."""
        self.watch(ROOT, 1)
        self.time += FORGET_SECONDS
        self.run_now(self.server.maintain())
        self.assertEqual(len(self.server.hosts), 0)
        self.assertEqual(self.server.callbacks.count, 0)
        self.assertEqual(self.machine(1).told, [("reset", True)])
        self.assertIn(("10.0.0.1", 7001), self.channel.closed)
        self.run_now(self.on(1).FetchStatus(ROOT))
        self.assertEqual(self.machine(1).told, [("reset", True), ("introduce",), ("reset", True)])

    def test_promises_run_out(self) -> None:
        """Expired promises are dropped by the same round, with nobody told."""
        self.watch(ROOT, 1)
        self.time += 3600
        self.run_now(self.on(1).GetTime())
        self.time += 4 * 3600
        self.run_now(self.on(1).GetTime())
        self.machine(1).told.clear()
        self.run_now(self.server.maintain())
        self.assertEqual(self.server.callbacks.count, 0)
        self.assertEqual(self.machine(1).told, [])


class Alone(World):
    def test_nothing_is_left(self) -> None:
        """A host forgotten leaves no trace in any table."""
        hosts: Hosts = self.server.hosts
        self.watch(ROOT, 1)
        hosts.forget(next(iter(hosts)))
        self.assertEqual((hosts._by_address, hosts._by_uuid, hosts._hosts, hosts._meetings), ({}, {}, {}, {}))
        self.assertEqual(self.server.callbacks.count, 0)
        self.run_now(self.on(1).FetchStatus(AFSFid(VOLUME, 1, 1)))
        self.assertIsInstance(self.machine(1), Machine)
