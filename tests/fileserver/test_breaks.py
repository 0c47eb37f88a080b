"""Broken promises: who is told of a change, at once or before it is served again."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred

from fileserver.callbacks import Kind
from tests.fileserver.procedures.support import NOTHING, ROOT, VOLUME, key
from tests.fileserver.test_hosts import Known


class Messages(Known):
    def setUp(self) -> None:
        super().setUp()
        self.fid = self.create(content=b"data")

    def change(self) -> None:
        self.store(self.fid, b"changed")

    def test_table(self) -> None:
        """Who hears of what, operation by operation: another holder, and the caller only where its status comes by
        surprise.
        """
        directory, twin = self.mkdir(b"d"), self.create(b"twin")
        self.run_now(self.on(1).Link(ROOT, b"twin2", twin))
        acl = self.run_now(self.on(1).FetchACL(ROOT))[0]
        on = self.on
        rows = [
            ("StoreData64", lambda: self.store(self.fid, b"x"), [self.fid], []),
            ("StoreStatus", lambda: self.run_now(on(1).StoreStatus(self.fid, NOTHING)), [self.fid], []),
            ("StoreACL", lambda: self.run_now(on(1, "admin").StoreACL(ROOT, acl)), [ROOT], []),
            ("OldStoreACL", lambda: self.run_now(on(1, "admin").OldStoreACL(ROOT, acl)), [ROOT], []),
            ("CreateFile", lambda: self.create(b"new"), [ROOT], []),
            ("MakeDir", lambda: self.mkdir(b"newdir"), [ROOT], []),
            ("Symlink", lambda: self.run_now(on(1).Symlink(ROOT, b"s", b"x", NOTHING)), [ROOT], []),
            ("Link", lambda: self.run_now(on(1).Link(ROOT, b"more", self.fid)), [ROOT, self.fid], []),
            (
                "RemoveFile, links left",
                lambda: self.run_now(on(1).RemoveFile(ROOT, b"more")),
                [ROOT, self.fid],
                [self.fid],
            ),
            ("RemoveFile", lambda: self.run_now(on(1).RemoveFile(ROOT, b"f")), [ROOT], []),
            ("RemoveDir", lambda: self.run_now(on(1).RemoveDir(ROOT, b"d")), [ROOT], []),
            ("SetLock", lambda: self.run_now(on(1).SetLock(twin, 0)), [], []),
            ("ExtendLock", lambda: self.run_now(on(1).ExtendLock(twin)), [], []),
            ("ReleaseLock", lambda: self.run_now(on(1).ReleaseLock(twin)), [twin], []),
            ("FetchData64", lambda: self.fetch(twin), [], []),
            ("FetchACL", lambda: self.run_now(on(1).FetchACL(twin)), [], []),
        ]
        gone: set[int] = set()
        for name, act, others, caller in rows:
            for machine in (1, 2):
                for fid in (ROOT, self.fid, directory, twin):
                    if fid.Vnode not in gone:
                        self.watch(fid, machine)
            act()
            self.assertEqual(self.heard(2), sorted(map(key, others)), name)
            self.assertEqual(self.heard(1), sorted(map(key, caller)), name)
            if name == "RemoveFile":
                gone.add(self.fid.Vnode)
            if name == "RemoveDir":
                gone.add(directory.Vnode)

    def test_who_promises(self) -> None:
        """Fetches, statuses and creations make a promise; ACLs, stores, links, renames and locks do not."""
        acl = self.run_now(self.on(3).FetchACL(ROOT))[0]
        host = self.server.hosts.at(("10.0.0.3", 7001))
        assert host is not None
        rows = [
            (lambda: self.run_now(self.on(3).FetchACL(ROOT)), []),
            (lambda: self.run_now(self.on(3, "admin").StoreACL(ROOT, acl)), []),
            (lambda: self.store(self.fid, b"x", machine=3), []),
            (lambda: self.run_now(self.on(3).StoreStatus(self.fid, NOTHING)), []),
            (lambda: self.run_now(self.on(3).Symlink(ROOT, b"s", b"x", NOTHING)), []),
            (lambda: self.run_now(self.on(3).Link(ROOT, b"l", self.fid)), []),
            (lambda: self.run_now(self.on(3).Rename(ROOT, b"l", ROOT, b"m")), []),
            (lambda: self.run_now(self.on(3).SetLock(self.fid, 0)), []),
            (lambda: self.fetch(self.fid, machine=3), [self.fid]),
            (lambda: self.run_now(self.on(3).FetchStatus(self.fid)), [self.fid]),
            (lambda: self.run_now(self.on(3).BulkStatus((ROOT, self.fid))), [ROOT, self.fid]),
        ]
        for act, expected in rows:
            self.server.callbacks.forget_host(host)
            act()
            self.assertEqual(sorted(p.fid for p in self.server.callbacks.promises(host)), sorted(map(key, expected)))

    def test_told_before_the_answer(self) -> None:
        """A change is not answered before every holder has heard of it, or is known to be down."""
        self.watch(self.fid, 2)
        self.watch(self.fid, 3)
        gate: Deferred[None] = Deferred()
        self.machine(3).stuck = gate
        changing = ensureDeferred(self.on(1).StoreStatus(self.fid, NOTHING))
        self.assertEqual(self.heard(2), [key(self.fid)])
        self.assertNoResult(changing)
        self.run_now(self.on(2).FetchStatus(self.fid))
        gate.callback(None)
        self.successResultOf(changing)

    def test_a_dead_holder(self) -> None:
        """It is down at the first message it misses, nobody waits for it again, and at its next call it is told all."""
        second = self.create(b"g")
        self.watch(self.fid)
        self.watch(second)
        self.machine(2).up = False
        self.change()
        self.store(second, b"x")
        host = self.server.hosts.at(("10.0.0.2", 7001))
        assert host is not None
        self.assertTrue(host.down)
        self.machine(2).up = True
        self.assertEqual(self.fetch(self.fid, machine=2), b"changed")
        self.assertEqual(self.machine(2).told, [("break", key(self.fid), key(second))])
        self.assertFalse(host.down)

    def test_a_holder_that_stays_deaf(self) -> None:
        """Its calls fail with -1; once it listens again it is reset, since its promises were dropped."""
        self.watch(self.fid)
        self.machine(2).up = False
        self.change()
        self.refused(-1, self.on(2).FetchStatus(self.fid))
        self.assertEqual([p.fid for p in self.server.callbacks.promises() if p.host.address[0] == "10.0.0.2"], [])
        self.machine(2).up = True
        self.run_now(self.on(2).FetchStatus(self.fid))
        self.assertEqual(self.machine(2).told, [("reset", True)])

    def test_more_than_a_message_holds(self) -> None:
        """Owed messages travel fifty at a time, and every one arrives."""
        fids = [self.create(b"%d" % number) for number in range(120)]
        self.run_now(self.on(2).GetTime())
        for fid in fids:
            self.watch(fid)
        self.machine(2).up = False
        for fid in fids:
            self.store(fid, b"x")
        self.machine(2).up = True
        self.run_now(self.on(2).GetTime())
        self.assertEqual([len(what) - 1 for what in self.machine(2).told], [50, 50, 20])
        self.assertEqual(self.heard(), sorted(map(key, fids)))

    def test_a_whole_volume(self) -> None:
        """One message for each holder, fid (volume, 0, 0); who misses it is told when it calls."""
        self.watch(self.fid, 2)
        self.watch(ROOT, 2)
        self.watch(self.fid, 3)
        self.machine(3).up = False
        self.server.breaks.break_volume(VOLUME)
        self.run_now(self.server.breaks.drain())
        self.assertEqual(self.heard(2), [(VOLUME, 0, 0)])
        self.run_now(self.on(2).GetTime())
        self.assertEqual(self.machine(2).told, [])
        self.machine(3).up = True
        self.run_now(self.on(3).GetTime())
        self.assertEqual(self.machine(3).told, [("break", (VOLUME, 0, 0))])

    def test_promised_while_the_volume_is_broken(self) -> None:
        """A call that was let in before gets a promise that counts: it is about the volume as it is now."""
        self.watch(self.fid)
        gate: Deferred[None] = Deferred()
        self.machine(2).stuck = gate
        self.server.breaks.break_volume(VOLUME)
        self.server.breaks.promise(self.host(2), self.fid, Kind.NORMAL)
        self.machine(2).stuck = None
        gate.callback(None)
        self.run_now(self.server.breaks.drain())
        self.assertEqual(self.heard(), [(VOLUME, 0, 0)])
        self.change()
        self.assertEqual(self.heard(), [key(self.fid)])

    def test_promised_while_it_was_deaf(self) -> None:
        """What a call that was let in before was promised is void after the reset, and does not hide later ones."""
        self.watch(self.fid)
        self.machine(2).up = False
        self.change()
        self.refused(-1, self.on(2).GetTime())
        self.server.breaks.promise(self.host(2), self.fid, Kind.NORMAL)
        self.change()
        self.machine(2).up = True
        self.watch(self.fid)
        self.change()
        self.assertEqual(self.heard(), [key(self.fid)])

    def test_giving_up(self) -> None:
        """A promise given back is not broken."""
        self.watch(self.fid)
        self.run_now(self.on(2).GiveUpCallBacks((self.fid,), ()))
        self.change()
        self.assertEqual(self.heard(), [])
        self.watch(self.fid)
        self.watch(ROOT)
        self.run_now(self.on(2).GiveUpAllCallBacks())
        self.change()
        self.create(b"x")
        self.assertEqual(self.heard(), [])
        self.refused(22, self.on(2).GiveUpCallBacks((), self.run_now(self.on(2).BulkStatus((ROOT,)))[1]))

    def test_a_full_table_sheds_the_idle(self) -> None:
        """The host idle for longest is told to forget everything; only then are its promises gone."""
        fids = [self.create(b"%d" % number) for number in range(12)]
        callbacks = self.server.callbacks
        callbacks.limit = callbacks.count + 10
        for fid in fids[:8]:
            self.watch(fid, 2)
        self.time += 60
        self.run_now(self.on(1).FetchStatus(ROOT))
        gate: Deferred[None] = Deferred()
        self.machine(2).stuck = gate
        for fid in fids[:6]:
            self.watch(fid, 3)
        idle = self.server.hosts.at(("10.0.0.2", 7001))
        assert idle is not None
        self.assertEqual(callbacks.held_by(idle), 8)
        gate.callback(None)
        self.run_now(self.server.breaks.drain())
        self.assertEqual(callbacks.held_by(idle), 0)
        self.assertEqual(self.machine(2).told, [("reset", True)])
        self.assertEqual(callbacks.counters.got_some_spaces, 1)
