"""Rights through groups: of users and of addresses, remembered, flushed, and while nobody can say."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import IPv4Address

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from afs.acl import ANONYMOUSID, ANYUSERID, AUTHUSERID, SYSADMINID, AccessList, Entry, parse_rights
from afs.errors import PrError
from fileserver.clients import NO_GROUPS
from fileserver.server import FileServer
from fileserver.subdomains import ADDRESS_LIMIT, EVERYBODY, REFRESH_SECONDS, RETRY_SECONDS, Subdomains
from rx.constants import RxCode
from rx.errors import Abort, CallLost, RxError
from tests.fileserver.procedures.support import GROUPS, NOTHING, ROOT, Names, World

LAB = -208
STAFF = GROUPS[b"staff"]
GONE = CallLost(RxCode.RX_CALL_DEAD)


class Protection(Names):
    """Names whose groups change. `trouble` is raised instead of an answer; `stuck` is waited for before one."""

    known = Names.known | {b"lab": LAB}

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.trouble: RxError | None = None
        self.stuck: Deferred[None] | None = None
        self.members: dict[int, tuple[int, ...]] = {}
        self.hosts: dict[str, tuple[int, ...]] = {}

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        if self.trouble is not None:
            raise self.trouble
        return [self.known.get(name.lower(), ANONYMOUSID) for name in names]

    async def groups(self, user_id: int) -> tuple[int, ...]:
        await self._asked(user_id)
        return tuple(sorted({*await super().groups(user_id), *self.members.get(user_id, ())}))

    async def host_groups(self, address: str) -> tuple[int, ...]:
        await self._asked(address)
        return self.hosts.get(address, ())

    async def _asked(self, what: object) -> None:
        self.asked.append(what)
        if self.stuck is not None:
            await self.stuck
        if self.trouble is not None:
            raise self.trouble


class Grouped(World):
    """A world whose protection server changes. The root's access list is `staff rlidwk`, and what a test adds."""

    names: Protection
    acl = {"staff": "rlidwk"}

    def setUp(self) -> None:
        super().setUp()
        self.protection = Protection()
        self.use(self.server)

    def use(self, server: FileServer) -> None:
        server.names = self.protection
        server.groups._names = self.protection

    def may_write(self, user: str, machine: int = 1) -> bool:
        """Whether a user may make a directory in the root."""
        name = b"%d" % len(self.calls)
        outcome: list[object] = []
        self.begin(self.on(machine, user).MakeDir(ROOT, name, NOTHING)).addBoth(outcome.append)
        if not isinstance(outcome[0], Failure):
            return True
        refusal = outcome[0].value
        assert isinstance(refusal, Abort), refusal
        self.assertEqual(refusal.code, errno.EACCES)
        return False


class Users(Grouped):
    def test_groups_count(self) -> None:
        """A member of a group may what the group may; nobody else."""
        self.assertTrue(self.may_write("carol"))
        self.assertFalse(self.may_write("alice"))
        self.assertFalse(self.may_write(""))

    def test_a_new_connection_brings_new_groups(self) -> None:
        """Who was put into a group has its rights from the next connection on."""
        self.assertFalse(self.may_write("alice"))
        self.protection.members[1] = (STAFF,)
        self.assertFalse(self.may_write("alice"))
        self.reconnect()
        self.assertTrue(self.may_write("alice"))

    def test_flushed(self) -> None:
        """FlushCPS lets a user's new groups count at once, on the connections he has; others are not asked about."""
        self.assertFalse(self.may_write("alice"))
        self.assertFalse(self.may_write("bob"))
        self.protection.members[1] = self.protection.members[2] = (STAFF,)
        self.assertEqual(self.run_now(self.on(9, "admin").FlushCPS((1, 0), (), 0)), (0, 0))
        self.assertTrue(self.may_write("alice"))
        self.assertFalse(self.may_write("bob"))

    def test_flushing_is_for_administrators(self) -> None:
        """Others cannot make the server ask."""
        self.refused(errno.EPERM, self.on(1, "alice").FlushCPS((1,), (), 0))

    def test_old_groups_are_asked_for_again(self) -> None:
        """On a connection that goes on, groups count at the latest after the refresh time."""
        self.assertTrue(self.may_write("carol"))
        self.assertFalse(self.may_write("alice"))
        self.protection.members[1] = (STAFF,)
        self.time += REFRESH_SECONDS - 1
        self.assertFalse(self.may_write("alice"))
        self.time += 1
        self.assertTrue(self.may_write("alice"))

    def test_system_administrators(self) -> None:
        """A member of system:administrators administers, by that alone."""
        self.refused(errno.EPERM, self.on(1, "bob").FlushCPS((), (), 0))
        self.protection.members[2] = (SYSADMINID,)
        self.reconnect()
        self.assertEqual(self.run_now(self.on(1, "bob").FlushCPS((), (), 0)), (0, 0))

    def test_negative_rights(self) -> None:
        """What a negative entry takes from a group it takes from every member, whatever else he is in."""
        self.set_acl({"staff": "rlidwk", "carol": "rlidwka"}, {"staff": "i"})
        self.reconnect()
        self.assertFalse(self.may_write("carol"))


class Addresses(Grouped):
    def test_a_machine_has_rights(self) -> None:
        """Whoever calls from an address has the rights of its groups; elsewhere the same user has not."""
        self.protection.hosts["10.0.0.1"] = (STAFF,)
        for user in ("", "alice"):
            self.assertTrue(self.may_write(user, machine=1))
            self.assertFalse(self.may_write(user, machine=2))

    def test_told_to_clients(self) -> None:
        """Clients are told a machine's rights as everybody's there, for what one user cached serves the others."""
        self.protection.hosts["10.0.0.1"] = (STAFF,)
        status = self.run_now(self.on(1, "alice").FetchStatus(ROOT))[0]
        self.assertEqual((status.CallerAccess, status.AnonymousAccess), (parse_rights("rlidwk"),) * 2)
        status = self.run_now(self.on(2, "carol").FetchStatus(ROOT))[0]
        self.assertEqual((status.CallerAccess, status.AnonymousAccess), (parse_rights("rlidwk"), 0))

    def test_negative_rights_stay_apart(self) -> None:
        """A negative entry for a user takes nothing from what his machine may, nor the other way."""
        self.protection.hosts["10.0.0.1"] = (LAB,)
        known = Names.known | {b"lab": LAB}
        entries = [Entry(known[b"staff"], parse_rights("rlidwk")), Entry(LAB, parse_rights("rlidwk"))]
        listed = AccessList.of(entries, [Entry(3, parse_rights("i"))])
        text = self.run_now(listed.to_text(self.protection))
        self.run_now(self.on(9, "admin").StoreACL(ROOT, text))
        self.assertFalse(self.may_write("carol", machine=2))
        self.assertTrue(self.may_write("carol", machine=1))
        listed = AccessList.of(entries, [Entry(LAB, parse_rights("i"))])
        self.run_now(self.on(9, "admin").StoreACL(ROOT, self.run_now(listed.to_text(self.protection))))
        self.assertFalse(self.may_write("alice", machine=1))
        self.assertTrue(self.may_write("carol", machine=1))

    def test_flushed_in_either_byte_order(self) -> None:
        """FlushCPS takes addresses as numbers, and as OpenAFS's machines have them in memory."""
        number = int(IPv4Address("10.0.0.1"))
        for word in (number, int.from_bytes(number.to_bytes(4, "big"), "little")):
            self.protection.hosts.clear()
            self.run_now(self.on(9, "admin").FlushCPS((), (word,), 0))
            self.assertFalse(self.may_write("alice"))
            self.protection.hosts["10.0.0.1"] = (STAFF,)
            self.assertFalse(self.may_write("alice"))
            self.run_now(self.on(9, "admin").FlushCPS((), (word,), 0))
            self.assertTrue(self.may_write("alice"))

    def test_asked_once(self) -> None:
        """However many users call from one address, its groups are asked for once."""
        for user in ("alice", "bob", "carol"):
            self.may_write(user)
        self.assertEqual(self.protection.asked.count("10.0.0.1"), 1)

    def test_asked_once_at_a_time(self) -> None:
        """So it is when they come while the first answer is under way."""
        self.protection.stuck = Deferred()
        calls = [self.begin(self.on(1, "", port=7001).FetchStatus(ROOT)) for _ in range(3)]
        waiting, self.protection.stuck = self.protection.stuck, None
        waiting.callback(None)
        for call in calls:
            self.successResultOf(call)
        self.assertEqual(self.protection.asked.count("10.0.0.1"), 1)
        self.assertEqual(self.protection.asked.count(ANONYMOUSID), 1)


class Unreachable(Grouped):
    def setUp(self) -> None:
        super().setUp()
        self.run_now(self.on(9, "admin").StoreACL(ROOT, b"2\n0\nstaff 63\nsystem:anyuser 9\n\0"))

    def test_users_are_refused(self) -> None:
        """A user whose groups cannot be had gets NO_GROUPS on a new connection, not fewer rights."""
        self.assertTrue(self.may_write("carol"))
        self.protection.trouble = GONE
        self.assertTrue(self.may_write("carol"))
        self.reconnect()
        self.refused(NO_GROUPS, self.on(1, "carol").FetchStatus(ROOT))
        self.protection.trouble = None
        self.assertTrue(self.may_write("carol"))

    def test_nobody_goes_on(self) -> None:
        """Who has no token is served all the same, as everybody."""
        self.protection.trouble = GONE
        self.run_now(self.on(1).FetchStatus(ROOT))
        self.assertFalse(self.may_write(""))

    def test_old_groups_last(self) -> None:
        """On a connection that goes on, a user keeps the groups he had until somebody can say."""
        self.assertTrue(self.may_write("carol"))
        self.protection.trouble = GONE
        self.time += REFRESH_SECONDS
        self.assertTrue(self.may_write("carol"))
        asked = len(self.protection.asked)
        self.assertTrue(self.may_write("carol"))
        self.assertEqual(len(self.protection.asked), asked)

    def test_a_machine_gets_its_rights_later(self) -> None:
        """A machine first seen while nobody can say has its rights soon after somebody can."""
        self.protection.hosts["10.0.0.1"] = (STAFF,)
        self.protection.trouble = GONE
        self.assertFalse(self.may_write(""))
        self.protection.trouble = None
        self.time += RETRY_SECONDS
        self.assertTrue(self.may_write(""))

    def test_a_user_without_an_entry_any_more(self) -> None:
        """Whom the protection server refuses to speak of has no rights at all, as at stock servers."""

        async def groups(user_id: int) -> tuple[int, ...]:
            if user_id == 1:
                raise Abort(PrError.PRNOENT)
            return EVERYBODY

        self.protection.groups = groups  # type: ignore[method-assign]
        status = self.run_now(self.on(1, "alice").FetchStatus(ROOT))[0]
        self.assertEqual((status.CallerAccess, status.AnonymousAccess), (0, parse_rights("rl")))


class Remembering(Grouped):
    def test_the_anonymous_user_has_groups(self) -> None:
        """Whoever calls without a token is in the groups that the anonymous user is in."""
        self.protection.members[ANONYMOUSID] = (STAFF,)
        self.assertTrue(self.may_write(""))

    def test_bounded(self) -> None:
        """Addresses are forgotten, the first seen first, when there are too many."""
        groups = Subdomains(self.protection, lambda: self.time)
        for number in range(ADDRESS_LIMIT + 10):
            self.run_now(groups.host_groups(str(IPv4Address(number))))
        self.assertEqual(len(groups._addresses), ADDRESS_LIMIT)

    def test_lists_name_groups(self) -> None:
        """An access list is stored by name and comes back by name; a name that nobody has is refused."""
        self.run_now(self.on(9, "admin").StoreACL(ROOT, b"2\n1\nLab 7\nsystem:authuser 9\nbob 1\n\0"))
        text = self.run_now(self.on(9, "admin").FetchACL(ROOT))[0]
        self.assertEqual(text, b"2\n1\nlab\t7\nsystem:authuser\t9\nbob\t1\n\0")
        self.refused(errno.EINVAL, self.on(9, "admin").StoreACL(ROOT, b"1\n0\nstranger 7\n\0"))

    def test_everybody(self) -> None:
        """What is believed before anybody was asked is what every protection database begins with."""
        self.assertEqual(EVERYBODY, (ANYUSERID, ANONYMOUSID))
        self.assertNotIn(AUTHUSERID, EVERYBODY)
