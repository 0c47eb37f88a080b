"""Who is an administrator: the UserList of a server's configuration directory, and what `--noauth` adds to it."""

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from twisted.logger import Logger

from afs.acl import ANONYMOUSID, SYSADMINID
from afs.addresses import own_addresses
from afs.interfaces import INames
from rx.security.interfaces import Identity

log = Logger()

_THIS_MACHINE = IPv4Network("127.0.0.0/8")


class UserList:
    """The principals that may administer a server: one a line, `name` or `name.instance`, with `@REALM` if foreign."""

    def __init__(self, principals: Iterable[str] = ()) -> None:
        self.principals = frozenset(principals)

    @classmethod
    def read(cls, directory: Path) -> "UserList":
        """The UserList in a configuration directory; an empty one where there is none. Raises OSError otherwise."""
        try:
            text = (directory / "UserList").read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return cls()
        return cls(words[0] for words in map(str.split, text.splitlines()) if words)

    def __contains__(self, principal: object) -> bool:
        return principal in self.principals

    def __len__(self) -> int:
        return len(self.principals)


class Authority:
    """Decides whether a caller may administer a server.

    A caller whose identity is established is an administrator when the UserList names it. With `noauth`, so is everyone
    whose packets come from this machine's own addresses (as they were at the start) or from one of the `noauth_from`
    networks; the kernel lets no packet in from outside that claims one of its own addresses. Others are anonymous.
    """

    def __init__(
        self,
        users: UserList,
        *,
        noauth: bool = False,
        noauth_from: Sequence[IPv4Network] = (),
        local_realms: Collection[str] = (),
        own: Sequence[IPv4Address] | None = None,
    ) -> None:
        self.users = users
        self.noauth = noauth
        self._local_realms = {realm.upper() for realm in local_realms}
        addresses = (own_addresses() if own is None else own) if noauth else ()
        self._trusted = [_THIS_MACHINE, *(IPv4Network(each) for each in addresses), *noauth_from] if noauth else []
        if noauth_from and not noauth:
            raise ValueError("networks whose callers are administrators mean nothing without noauth")

    def is_administrator(self, identity: Identity, host: str) -> bool:
        """Whether the caller with this identity, whose packets come from IPv4 address `host`, is an administrator."""
        if identity.kind != "anonymous" and self._principal(identity) in self.users:
            return True
        return any(IPv4Address(host) in network for network in self._trusted)

    async def user_id(self, names: INames, identity: Identity) -> int:
        """The caller's protection id; ANONYMOUSID for nobody, and for a name that is unknown."""
        if identity.kind == "anonymous":
            return ANONYMOUSID
        (found,) = await names.names_to_ids([self._principal(identity).lower().encode()])
        return found

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

    def _principal(self, identity: Identity) -> str:
        """The identity as UserList writes it."""
        name = f"{identity.name}.{identity.instance}" if identity.instance else identity.name
        local = not identity.realm or identity.realm.upper() in self._local_realms
        return name if local else f"{name}@{identity.realm}"
