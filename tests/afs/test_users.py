"""Who is an administrator."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from afs.acl import ANONYMOUSID, ANYUSERID, SYSADMINID, BuiltinNames
from afs.users import Authority, LocalRealms, UserList, parse_user_list
from rx.security.interfaces import ANONYMOUS, Identity

OWN = [IPv4Address("10.0.0.5")]
ADMIN = Identity("rxkad", "admin", "", "LAB.TEST")


class AskedNames(BuiltinNames):
    """Notes what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[bytes]] = []

    async def names_to_ids(self, names: Sequence[bytes]) -> list[int]:
        self.asked.append(list(names))
        return await super().names_to_ids(names)


class UserListTests(SynchronousTestCase):
    """UserList."""

    def test_read(self) -> None:
        """One principal a line; blank lines and what follows a name mean nothing."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "UserList").write_text("admin\n\n  root.admin  \nalice@OTHER.TEST\n")
        users = UserList.read(directory)
        self.assertEqual(users.principals, {"admin", "root.admin", "alice@OTHER.TEST"})

    def test_missing(self) -> None:
        """Where there is no file, nobody is an administrator."""
        self.assertEqual(len(UserList.read(Path(self.mktemp()))), 0)

    def test_changes(self) -> None:
        """Who is added to the file is an administrator at once, and who is removed is none."""
        directory = Path(self.mktemp())
        directory.mkdir()
        users = UserList.read(directory)
        authority = Authority(users, local_realms=["LAB.TEST"])
        for text, allowed in (("admin\n", True), ("bob\n", False), ("bob\nadmin\n", True)):
            (directory / "UserList").write_text(text)
            self.assertEqual(authority.is_administrator(ADMIN, "192.0.2.1"), allowed)

    def test_forms(self) -> None:
        """Kerberos 5's way to write an instance is the same; extended lines are names when they are of kind 0."""
        content = b"root/admin\nbob/admin@OTHER.TEST\n 0 Y2Fyb2w= carol\n 1 ZGF2ZQ== dave\n 0 !! eve\n\n"
        self.assertEqual(parse_user_list(content), {"root.admin", "bob.admin@OTHER.TEST", "carol"})


class LocalRealmsTests(SynchronousTestCase):
    """Which realms are the cell's own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_files(self) -> None:
        """The cell's name and the first line of krb.conf count, in any case; krb.excl takes principals out."""
        (self.directory / "ThisCell").write_text("lab.test\n")
        (self.directory / "krb.conf").write_text("KRB.TEST other.test\nNOT.TEST\n")
        (self.directory / "krb.excl").write_text("admin@KRB.TEST\nroot.x@OTHER.TEST\n")
        local = LocalRealms.read(self.directory)
        for name, instance, realm, expected in (
            ("admin", "", "LAB.TEST", True),
            ("admin", "", "lab.test", True),
            ("bob", "", "KRB.TEST", True),
            ("admin", "", "KRB.TEST", False),
            ("root", "x", "OTHER.TEST", False),
            ("root", "y", "OTHER.TEST", True),
            ("bob", "", "NOT.TEST", False),
            ("bob", "", "", True),
        ):
            self.assertEqual(local.has(Identity("rxkad", name, instance, realm)), expected, (name, realm))

    def test_letters(self) -> None:
        """Only ASCII has a case: realms that other letters' lower or upper case would make the same are foreign."""
        local = LocalRealms.of(["KISS.TEST"])
        for realm, expected in (
            ("kiss.test", True),
            ("\u212aiss.test", False),  # the Kelvin sign, K in lower case
            ("k\u0131ss.test", False),  # dotless i, I in upper case
            ("ki\u017fs.test", False),  # long s, S in upper case
        ):
            self.assertEqual(local.has(Identity("rxkad", "a", "", realm)), expected, realm)

    def test_no_files(self) -> None:
        """Without files only principals without a realm are the cell's own."""
        local = LocalRealms.read(self.directory)
        self.assertTrue(local.has(Identity("rxkad", "a")))
        self.assertFalse(local.has(ADMIN))


class AuthorityTests(SynchronousTestCase):
    """Decisions."""

    def test_authenticated(self) -> None:
        """A listed identity may administer from anywhere; another, or nobody, may not even from here."""
        authority = Authority(UserList(["admin", "root.admin"]), local_realms=["lab.test"], own=OWN)
        self.assertTrue(authority.is_administrator(ADMIN, "192.0.2.1"))
        self.assertTrue(authority.is_administrator(Identity("rxkad", "root", "admin"), "192.0.2.1"))
        self.assertFalse(authority.is_administrator(Identity("rxkad", "alice", "", "LAB.TEST"), "127.0.0.1"))
        self.assertFalse(authority.is_administrator(ANONYMOUS, "127.0.0.1"))
        self.assertFalse(authority.is_administrator(ANONYMOUS, "10.0.0.5"))

    def test_local_superuser(self) -> None:
        """Who has the cell's key is an administrator; a user of that name, of any realm, is just a user."""
        authority = Authority(UserList(), local_realms=["LAB.TEST"])
        self.assertTrue(authority.is_administrator(Identity("rxkad", "afs"), "192.0.2.1"))
        for name, instance, realm in (("afs", "x", ""), ("afs", "", "LAB.TEST"), ("afs", "", "OTHER"), ("AFS", "", "")):
            self.assertFalse(authority.is_administrator(Identity("rxkad", name, instance, realm), "192.0.2.1"))

    def test_foreign_listed(self) -> None:
        """A foreigner is listed with his realm, which may be in lower case; a local user without."""
        authority = Authority(
            UserList(["bob@other.test", "eve@LAB.TEST", "carol@OTHER.TEST"]), local_realms=["LAB.TEST"]
        )
        for name, realm, expected in (
            ("bob", "OTHER.TEST", True),
            ("bob", "LAB.TEST", False),
            ("carol", "OTHER.TEST", True),
            ("eve", "LAB.TEST", False),
            ("eve", "lab.test", False),
        ):
            self.assertEqual(authority.is_administrator(Identity("rxkad", name, "", realm), "192.0.2.1"), expected)

    def test_foreign(self) -> None:
        """The same name in another realm is somebody else."""
        authority = Authority(UserList(["admin"]), local_realms=["OTHER.TEST"])
        self.assertFalse(authority.is_administrator(ADMIN, "127.0.0.1"))

    def test_anonymous_name(self) -> None:
        """An anonymous caller has no name that a UserList could hold."""
        self.assertFalse(Authority(UserList([""])).is_administrator(ANONYMOUS, "127.0.0.1"))

    def test_noauth(self) -> None:
        """With noauth whoever sends from this machine administers it, and nobody else."""
        authority = Authority(UserList(), noauth=True, own=OWN)
        for host, allowed in (("127.0.0.1", True), ("10.0.0.5", True), ("10.0.0.6", False), ("0.0.0.0", False)):
            self.assertEqual(authority.is_administrator(ANONYMOUS, host), allowed, host)

    def test_noauth_from(self) -> None:
        """Networks may be added; without noauth that is a mistake."""
        networks = [IPv4Network("10.0.0.0/24")]
        authority = Authority(UserList(), noauth=True, noauth_from=networks, own=[])
        self.assertTrue(authority.is_administrator(ANONYMOUS, "10.0.0.6"))
        self.assertFalse(authority.is_administrator(ANONYMOUS, "10.0.1.6"))
        self.assertRaises(ValueError, Authority, UserList(), noauth_from=networks)

    def test_loud(self) -> None:
        """noauth says in the log whom it lets in."""
        with capturedLogs() as events:
            Authority(UserList(), own=OWN).announce("vlserver")
        self.assertEqual(list(events), [])
        with capturedLogs() as events:
            Authority(UserList(), noauth=True, own=OWN).announce("vlserver")
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.critical)
        self.assertIn("10.0.0.5/32", str(event["networks"]))

    def test_groups(self) -> None:
        """An administrator is in system:administrators, besides what anybody is in."""
        authority, names = Authority(UserList()), BuiltinNames()
        self.assertEqual(
            self.successResultOf(ensureDeferred(authority.groups(names, ANONYMOUSID, administrator=True))),
            (SYSADMINID, ANYUSERID, ANONYMOUSID),
        )
        self.assertEqual(
            self.successResultOf(ensureDeferred(authority.groups(names, ANONYMOUSID, administrator=False))),
            (ANYUSERID, ANONYMOUSID),
        )

    def test_user_id(self) -> None:
        """Nobody, and somebody unknown, is the anonymous user."""
        authority, names = Authority(UserList()), BuiltinNames()
        for identity in (ANONYMOUS, ADMIN):
            self.assertEqual(self.successResultOf(ensureDeferred(authority.user_id(names, identity))), ANONYMOUSID)

    def test_group_names(self) -> None:
        """Who is called as a group is, is not that group."""
        authority = Authority(UserList(), local_realms=["LAB.TEST"])
        for group in ("system:administrators", "System:AuthUser"):
            identity = Identity("rxkad", group, "", "LAB.TEST")
            found = self.successResultOf(ensureDeferred(authority.user_id(BuiltinNames(), identity)))
            self.assertEqual(found, ANONYMOUSID, group)

    def test_looked_up(self) -> None:
        """Names are looked up in lower case, of ASCII alone, whatever bytes the ticket held."""
        names = AskedNames()
        authority = Authority(UserList(), local_realms=["LAB.TEST"])
        for name, realm, asked in (
            ("Alice", "LAB.TEST", b"alice"),
            ("Alice", "OTHER.TEST", b"alice@other.test"),
            ("\u212aay", "LAB.TEST", "\u212aay".encode()),
            ("caf\udce9", "LAB.TEST", b"caf\xe9"),
        ):
            identity = Identity("rxkad", name, "", realm)
            self.successResultOf(ensureDeferred(authority.user_id(names, identity)))
            self.assertEqual(names.asked.pop(), [asked])
