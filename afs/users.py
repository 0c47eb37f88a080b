"""Who is an administrator: the UserList of a server's configuration directory, and what `--noauth` adds to it."""

from base64 import b64decode
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from twisted.logger import Logger

from afs.acl import ANONYMOUSID, SYSADMINID
from afs.addresses import own_addresses
from afs.interfaces import INames
from afs.keys import LOCAL_USER
from afs.watched import WatchedFile
from rx.security.interfaces import Identity

log = Logger()

_THIS_MACHINE = IPv4Network("127.0.0.0/8")


class UserList:
    """The principals that may administer a server: `name`, `name.instance` or `name/instance`, `@REALM` if foreign."""

    def __init__(self, principals: Iterable[str] = ()) -> None:
        self._principals = frozenset(principals)

    @classmethod
    def read(cls, directory: Path) -> "UserList":
        """The UserList in a configuration directory, as it will be at any time; empty where there is none.

        Raises OSError.
        """
        return _UserListFile(directory)

    @property
    def principals(self) -> frozenset[str]:
        """As AFS writes them, with a dot before the instance."""
        return self._principals

    def __contains__(self, principal: object) -> bool:
        return principal in self.principals

    def __len__(self) -> int:
        return len(self.principals)


class _UserListFile(UserList):
    """A UserList that follows its file, as `bos adduser` expects."""

    def __init__(self, directory: Path) -> None:
        self._file = WatchedFile(directory / "UserList", parse_user_list, frozenset[str]())

    @property
    def principals(self) -> frozenset[str]:
        return self._file.value


def parse_user_list(content: bytes) -> frozenset[str]:
    """The principals of a UserList, one a line. Lines that begin with a space have another form (userok.c ParseLine):
    kind, name in base64, what to show; those of kind 0 are names like the others, we know no other kind.
    """
    principals = []
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        words = line.split()
        if line.startswith(" ") and len(words) >= 3 and words[0].lstrip("-").isdigit():
            words = [_decoded(words[1])] if words[0] == "0" else []
        if words and words[0]:
            name, at, realm = words[0].partition("@")
            principals.append(name.replace("/", ".", 1) + at + realm)
    return frozenset(principals)


def _decoded(word: str) -> str:
    try:
        return b64decode(word, validate=True).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class LocalRealms:
    """Whose principals are this cell's own: realms, in lower case, less the principals `name.instance@REALM` excluded.

    They match in any case.
    """

    realms: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    @classmethod
    def of(cls, realms: Iterable[str], excluded: Iterable[str] = ()) -> "LocalRealms":
        """From names as they are written."""
        return cls(frozenset(_lower(realm) for realm in realms), frozenset(excluded))

    @classmethod
    def read(cls, directory: Path) -> "LocalRealms":
        """The cell's own name, the realms on the first line of krb.conf, and krb.excl; none of them need be there."""
        lines = [_read(directory / name).splitlines() for name in ("ThisCell", "krb.conf", "krb.excl")]
        this_cell, krb_conf, excluded = ([line.split() for line in each] for each in lines)
        realms = [word for words in (*this_cell[:1], *krb_conf[:1]) for word in words]
        return cls.of(realms, [words[0] for words in excluded if words])

    def has(self, identity: Identity) -> bool:
        """Whether an identity is one of this cell's own."""
        if not identity.realm:
            return True
        return _lower(identity.realm) in self.realms and _name(identity) + "@" + identity.realm not in self.excluded


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def is_local_superuser(identity: Identity) -> bool:
    """Whether somebody who has the cell's key calls: servers and `-localauth` programs (userok.c)."""
    return (identity.kind, identity.name, identity.instance, identity.realm) == ("rxkad", LOCAL_USER, "", "")


class Authority:
    """Decides whether a caller may administer a server.

    A caller whose identity is established is an administrator when the UserList names it, or when it has the cell's
    own key. With `noauth`, so is everyone whose packets come from this machine's own addresses (as they were at the
    start) or from one of the `noauth_from` networks; the kernel lets no packet in from outside that claims one of its
    own addresses. Others are anonymous.
    """

    def __init__(
        self,
        users: UserList,
        *,
        noauth: bool = False,
        noauth_from: Sequence[IPv4Network] = (),
        local_realms: LocalRealms | Collection[str] = (),
        own: Sequence[IPv4Address] | None = None,
    ) -> None:
        self.users = users
        self.noauth = noauth
        self._local = local_realms if isinstance(local_realms, LocalRealms) else LocalRealms.of(local_realms)
        addresses = (own_addresses() if own is None else own) if noauth else ()
        self._trusted = [_THIS_MACHINE, *(IPv4Network(each) for each in addresses), *noauth_from] if noauth else []
        if noauth_from and not noauth:
            raise ValueError("networks whose callers are administrators mean nothing without noauth")

    def is_administrator(self, identity: Identity, host: str) -> bool:
        """Whether the caller with this identity, whose packets come from IPv4 address `host`, is an administrator."""
        if identity.kind != "anonymous" and (is_local_superuser(identity) or self._is_listed(identity)):
            return True
        return any(IPv4Address(host) in network for network in self._trusted)

    async def user_id(self, names: INames, identity: Identity) -> int:
        """The caller's protection id; ANONYMOUSID for nobody, and for a name that is unknown or a group's."""
        if identity.kind == "anonymous":
            return ANONYMOUSID
        (found,) = await names.names_to_ids([_encoded(self._principal(identity)).lower()])
        return found if found > 0 else ANONYMOUSID

    async def groups(self, names: INames, user_id: int, administrator: bool) -> tuple[int, ...]:
        """The CPS of a caller (see INames.groups), system:administrators included when it is an administrator."""
        groups = await names.groups(user_id)
        return tuple(sorted({*groups, SYSADMINID})) if administrator else groups

    def announce(self, server: str) -> None:
        """Say in the log, loudly, what `noauth` opens."""
        if self.noauth:
            log.critical(
                "{server}: NO AUTHENTICATION: every caller from {networks} is an administrator",
                server=server,
                networks=", ".join(str(network) for network in self._trusted),
            )

    def _is_listed(self, identity: Identity) -> bool:
        """Of a foreign realm, which may be listed in lower case too."""
        principal = self._principal(identity)
        if principal in self.users:
            return True
        return "@" in principal and f"{_name(identity)}@{_lower(identity.realm)}" in self.users

    def _principal(self, identity: Identity) -> str:
        """The identity as UserList writes it."""
        return _name(identity) if self._local.has(identity) else f"{_name(identity)}@{identity.realm}"


def _name(identity: Identity) -> str:
    return f"{identity.name}.{identity.instance}" if identity.instance else identity.name


def _lower(text: str) -> str:
    """In lower case as AFS has it, of ASCII alone: `str` would make some letters of others, and of two realms one."""
    return _encoded(text).lower().decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    """As it stood in a ticket or a file, which need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")
