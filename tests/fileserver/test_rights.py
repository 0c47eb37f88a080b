"""Access lists evaluated, and the table of who may do what (fileserver.md section 4), row by row."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from afs.acl import ANONYMOUSID, ANYUSERID, AUTHUSERID, SYSADMINID, AccessList, Entry, parse_rights
from afs.types import AFS_SETGROUP, AFS_SETMODE, AFS_SETOWNER, AFSStoreStatus
from fileserver import rights
from fileserver.interfaces import Vnode
from fileserver.locks import LockType
from fileserver.rights import Access, Caller, evaluate
from rx.errors import Abort

ALICE, BOB, STAFF = 1, 2, -300
FILE, DIRECTORY, SYMLINK = 1, 2, 3
NOTHING = AFSStoreStatus()
OK = 0

ANONYMOUS = Caller(ANONYMOUSID, (ANYUSERID, ANONYMOUSID))
ALICE_HERSELF = Caller(ALICE, (AUTHUSERID, ANYUSERID, ALICE))
ADMIN = Caller(BOB, (SYSADMINID, AUTHUSERID, ANYUSERID, BOB))
CALLERS = {"alice": ALICE_HERSELF, "admin": ADMIN, "anonymous": ANONYMOUS}


def listed(positive: dict[int, str], negative: dict[int, str] | None = None) -> bytes:
    def entries(rows: dict[int, str]) -> list[Entry]:
        return [Entry(number, parse_rights(letters)) for number, letters in rows.items()]

    return AccessList.of(entries(positive), entries(negative or {})).to_bytes()


def vnode(kind: int = FILE, *, owner: int = 77, mode: int = 0o777) -> Vnode:
    return Vnode(kind, mode, 1, 0, 1, 0, 0, 0, owner, 0, 1, 0)


class Evaluate(SynchronousTestCase):
    def test_entries(self) -> None:
        """Rights are what any entry gives, less what any negative one takes."""
        acl = listed({ANYUSERID: "l", AUTHUSERID: "r", ALICE: "iw"}, {ALICE: "r", STAFF: "l"})
        for cps, letters in [
            ((ANYUSERID,), "l"),
            ((AUTHUSERID, ANYUSERID, BOB), "rl"),
            ((AUTHUSERID, ANYUSERID, ALICE), "liw"),
            ((STAFF, AUTHUSERID, ANYUSERID, BOB), "r"),
            ((), ""),
        ]:
            self.assertEqual(evaluate(acl, cps), parse_rights(letters), cps)

    def test_nonsense(self) -> None:
        """A list that makes no sense gives nobody anything."""
        self.assertEqual(evaluate(b"", (ANYUSERID,)), 0)
        self.assertEqual(evaluate(b"\xff" * 192, (ANYUSERID,)), 0)

    def test_administrators(self) -> None:
        """get lookup, and nothing else for being administrators."""
        access = rights.access(vnode(DIRECTORY), listed({}), ADMIN, 0)
        self.assertEqual(access.rights, rights.LOOKUP)
        self.assertEqual(access.anyone, 0)

    def test_administer_on_a_file_means_owner(self) -> None:
        """The bit of the directory's list is replaced by whether the caller owns the file."""
        acl = listed({ANYUSERID: "rla"})
        self.assertEqual(rights.access(vnode(owner=ALICE), acl, ALICE_HERSELF, 0).rights, parse_rights("rla"))
        self.assertEqual(rights.access(vnode(owner=BOB), acl, ALICE_HERSELF, 0).rights, parse_rights("rl"))
        self.assertEqual(rights.access(vnode(DIRECTORY), acl, ALICE_HERSELF, 0).rights, parse_rights("rla"))

    def test_volume_owner(self) -> None:
        """A user, or every member of a group."""
        staff = Caller(ALICE, (STAFF, ANYUSERID, ALICE))
        for caller, owner, expected in [
            (ALICE_HERSELF, ALICE, True),
            (ALICE_HERSELF, BOB, False),
            (staff, STAFF, True),
            (ALICE_HERSELF, STAFF, False),
        ]:
            self.assertIs(rights.access(vnode(), listed({}), caller, owner).volume_owner, expected)


Check = Callable[[Vnode, Access], None]


def fetch_data(vn: Vnode, access: Access) -> None:
    rights.fetch_data(vn, access)


def store_data(status: AFSStoreStatus = NOTHING) -> Check:
    return lambda vn, access: rights.store_data(vn, access, status)


def store_status(status: AFSStoreStatus = NOTHING) -> Check:
    return lambda vn, access: rights.store_status(vn, access, status)


def lock(kind: LockType) -> Check:
    return lambda vn, access: rights.set_lock(vn, access, kind)


CHOWN = AFSStoreStatus(AFS_SETOWNER, Owner=5)
CHGRP = AFSStoreStatus(AFS_SETGROUP, Group=5)
SAME_OWNER = AFSStoreStatus(AFS_SETOWNER, Owner=77)
SETUID = AFSStoreStatus(AFS_SETMODE, UnixModeBits=0o4755)
EACCES, EPERM = errno.EACCES, errno.EPERM

MINE, ALIEN = vnode(owner=ALICE), vnode()
UNREADABLE, UNWRITABLE = vnode(mode=0o333), vnode(mode=0o555)
EXECUTABLE = vnode(mode=0o111)
MY_UNREADABLE, MY_UNWRITABLE = vnode(owner=ALICE, mode=0), vnode(owner=ALICE, mode=0o555)
ANONYMOUS_FILE = vnode(owner=ANONYMOUSID)
DIR, LINK, MY_LINK = vnode(DIRECTORY), vnode(SYMLINK), vnode(SYMLINK, owner=ALICE)

TABLE: list[tuple[Check, Vnode, str, str, int]] = [
    # check, vnode, caller, the rights the list gives, result
    (fetch_data, ALIEN, "alice", "r", OK),
    (fetch_data, ALIEN, "alice", "lidwka", EACCES),
    (fetch_data, MINE, "alice", "i", OK),
    (fetch_data, MINE, "alice", "lw", EACCES),
    (fetch_data, ANONYMOUS_FILE, "anonymous", "i", EACCES),
    (fetch_data, ALIEN, "admin", "", EACCES),
    (fetch_data, UNREADABLE, "alice", "r", OK),
    (fetch_data, EXECUTABLE, "alice", "r", OK),
    (fetch_data, vnode(mode=0o277), "alice", "r", EACCES),
    (fetch_data, MY_UNREADABLE, "alice", "r", OK),
    (fetch_data, vnode(mode=0), "admin", "r", OK),
    (fetch_data, DIR, "alice", "l", OK),
    (fetch_data, DIR, "alice", "r", EACCES),
    (fetch_data, LINK, "alice", "l", OK),
    (fetch_data, LINK, "admin", "", OK),
    (rights.fetch_status, DIR, "anonymous", "", OK),
    (rights.fetch_status, LINK, "alice", "l", OK),
    (rights.fetch_status, LINK, "alice", "r", EACCES),
    (rights.fetch_status, LINK, "admin", "", OK),
    (rights.fetch_status, ALIEN, "alice", "r", OK),
    (rights.fetch_status, ALIEN, "alice", "l", EACCES),
    (rights.fetch_status, MINE, "alice", "i", OK),
    (rights.fetch_status, ALIEN, "admin", "", OK),
    (rights.fetch_acl, DIR, "alice", "l", OK),
    (rights.fetch_acl, DIR, "alice", "r", EACCES),
    (rights.fetch_acl, ALIEN, "alice", "r", OK),
    (rights.fetch_acl, ALIEN, "alice", "l", EACCES),
    (rights.fetch_acl, DIR, "admin", "", OK),
    (store_data(), ALIEN, "alice", "w", OK),
    (store_data(), ALIEN, "alice", "rlidka", EACCES),
    (store_data(), MINE, "alice", "i", OK),
    (store_data(), MY_UNWRITABLE, "alice", "i", OK),
    (store_data(), MY_UNWRITABLE, "alice", "w", EACCES),
    (store_data(), UNWRITABLE, "alice", "w", EACCES),
    (store_data(), UNWRITABLE, "admin", "w", OK),
    (store_data(), ALIEN, "admin", "", EACCES),
    (store_data(CHOWN), MINE, "alice", "iw", EPERM),
    (store_data(CHGRP), ALIEN, "alice", "w", EPERM),
    (store_data(CHOWN), ALIEN, "admin", "w", OK),
    (store_data(SETUID), ALIEN, "alice", "w", EACCES),
    (store_data(SETUID), MINE, "alice", "i", OK),
    (store_status(), MINE, "alice", "i", OK),
    (store_status(), ALIEN, "alice", "w", OK),
    (store_status(), ALIEN, "alice", "rlidka", EACCES),
    (store_status(), LINK, "alice", "w", OK),
    (store_status(), MY_LINK, "alice", "i", EACCES),
    (store_status(), DIR, "alice", "d", OK),
    (store_status(), DIR, "alice", "i", OK),
    (store_status(), DIR, "alice", "rlwka", EACCES),
    (store_status(), DIR, "admin", "", OK),
    (store_status(CHOWN), MINE, "alice", "iw", EPERM),
    (store_status(CHOWN), ALIEN, "alice", "w", EPERM),
    (store_status(CHGRP), ALIEN, "alice", "w", EPERM),
    (store_status(SAME_OWNER), ALIEN, "alice", "w", OK),
    (store_status(CHOWN), ALIEN, "admin", "", OK),
    (store_status(SETUID), ALIEN, "alice", "w", EACCES),
    (store_status(SETUID), ALIEN, "admin", "", OK),
    (lock(LockType.READ), ALIEN, "alice", "k", OK),
    (lock(LockType.READ), ALIEN, "alice", "w", OK),
    (lock(LockType.READ), MINE, "alice", "i", OK),
    (lock(LockType.READ), ALIEN, "alice", "rli", EACCES),
    (lock(LockType.READ), ALIEN, "admin", "", EACCES),
    (lock(LockType.WRITE), ALIEN, "alice", "w", OK),
    (lock(LockType.WRITE), ALIEN, "alice", "k", EACCES),
    (lock(LockType.WRITE), MINE, "alice", "i", OK),
    (lambda vn, access: rights.store_acl(access), DIR, "alice", "a", OK),
    (lambda vn, access: rights.store_acl(access), DIR, "alice", "rlidwk", EACCES),
    (lambda vn, access: rights.store_acl(access), DIR, "admin", "", OK),
    (lambda vn, access: rights.make_mount_point(access), DIR, "alice", "rlidwk", EACCES),
    (lambda vn, access: rights.make_mount_point(access), DIR, "alice", "a", OK),
    (lambda vn, access: rights.make_mount_point(access), DIR, "admin", "", OK),
    (lambda vn, access: rights.change_directory(access, rights.INSERT), DIR, "alice", "i", OK),
    (lambda vn, access: rights.change_directory(access, rights.INSERT), DIR, "admin", "", EACCES),
    (lambda vn, access: rights.change_directory(access, rights.DELETE), DIR, "alice", "d", OK),
    (lambda vn, access: rights.change_directory(access, rights.DELETE), DIR, "alice", "rliwka", EACCES),
    (lambda vn, access: rights.set_volume_status(access.caller), DIR, "alice", "rlidwka", EACCES),
    (lambda vn, access: rights.set_volume_status(access.caller), DIR, "admin", "", OK),
]


class Table(SynchronousTestCase):
    def test_rows(self) -> None:
        """Each row of the table is what happens."""
        for row, (check, vn, name, letters, expected) in enumerate(TABLE):
            access = rights.access(vn, listed({ANYUSERID: letters}), CALLERS[name], 0)
            try:
                check(vn, access)
                code = OK
            except Abort as abort:
                code = abort.code
            self.assertEqual(code, expected, (row, TABLE[row][1:]))

    def test_volume_owners(self) -> None:
        """may look everywhere and change every list, but read nothing more."""
        access = rights.access(DIR, listed({}), ALICE_HERSELF, ALICE)
        for check in (rights.fetch_data, rights.fetch_acl, rights.fetch_status):
            check(DIR, access)
            check(LINK, access)
            self.assertRaises(Abort, check, ALIEN, access)
        rights.store_acl(access)
