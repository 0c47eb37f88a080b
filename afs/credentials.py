"""Kerberos credential caches, and the token for a cell that is in one.

Only MIT's FILE caches of format 4, which kinit has written for twenty years, alone or in a DIR; nothing here asks a KDC
for anything, so a service ticket for AFS must be there already (`kvno afs/CELL` puts it there).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from construct import (
    Const,
    ConstructError,
    GreedyBytes,
    GreedyRange,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    PrefixedArray,
    Struct,
    Terminated,
    this,
)

from rx.security.kerberos import des
from rx.security.kerberos.der import DerError
from rx.security.kerberos.enctypes import SealBroken
from rx.security.kerberos.ticket import encrypted_part
from rx.security.rxkad import ENCRYPTED_PART, WHOLE_TICKET, Token

KRB5_CONF = Path("/etc/krb5.conf")

_DATA = Prefixed(Int32ub, GreedyBytes)
_PRINCIPAL = Struct(
    "name_type" / Int32ub,
    "count" / Int32ub,
    "realm" / _DATA,
    "components" / _DATA[this.count],
)
_TYPED = Struct("type" / Int16ub, "data" / _DATA)
_CREDENTIAL = Struct(
    "client" / _PRINCIPAL,
    "server" / _PRINCIPAL,
    "enctype" / Int16ub,
    "key" / _DATA,
    "authenticated" / Int32ub,
    "start" / Int32ub,
    "end" / Int32ub,
    "renew_until" / Int32ub,
    "is_session_key" / Int8ub,
    "flags" / Int32ub,
    "addresses" / PrefixedArray(Int32ub, _TYPED),
    "authorization" / PrefixedArray(Int32ub, _TYPED),
    "ticket" / _DATA,
    "second_ticket" / _DATA,
)
_CACHE = Struct(
    "version" / Const(0x0504, Int16ub),
    "header" / Prefixed(Int16ub, GreedyBytes),
    "principal" / _PRINCIPAL,
    "credentials" / GreedyRange(_CREDENTIAL),
    Terminated,
)


class CredentialsError(Exception):
    """There is no credential cache, it cannot be understood, or it has nothing for the cell."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A ticket in a cache. Principals are `name/instance@REALM`, times Unix times."""

    client: str
    server: str
    enctype: int
    key: bytes = field(repr=False)
    start: int
    end: int
    ticket: bytes = field(repr=False)

    def token(self, kvno: int = WHOLE_TICKET) -> Token:
        """The token rxkad makes of it, of kind WHOLE_TICKET or ENCRYPTED_PART. Raises CredentialsError."""
        try:
            data = encrypted_part(self.ticket) if kvno == ENCRYPTED_PART else self.ticket
            return Token(kvno, data, des.session_key(self.enctype, self.key), self.end)
        except (DerError, SealBroken) as problem:
            raise CredentialsError(f"the ticket of {self.client} for {self.server}: {problem}") from problem


def default_cache() -> Path:
    """The user's cache: KRB5CCNAME, else what krb5.conf says, else /tmp/krb5cc_UID; of a DIR the primary one.
    Raises CredentialsError for a cache that is no file.
    """
    name = os.environ.get("KRB5CCNAME") or _configured(KRB5_CONF) or f"FILE:/tmp/krb5cc_{os.getuid()}"
    kind, colon, rest = name.partition(":")
    if not colon or kind.startswith("/"):
        return Path(name)
    if kind == "DIR":
        return Path(rest[1:]) if rest.startswith(":") else _primary(Path(rest))
    if kind != "FILE":
        raise CredentialsError(f"{name}: only FILE and DIR caches can be read")
    return Path(rest)


def _configured(path: Path) -> str:
    """The name of caches in krb5.conf, with the user's number in it; empty if it has none to say."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    section = re.search(r"^\[libdefaults\]$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    found = re.search(r"^\s*default_ccache_name\s*=\s*(\S+)", section[1], re.MULTILINE) if section else None
    if found is None:
        return ""
    number = str(os.getuid())
    return re.sub(r"%\{(uid|USERID|euid)\}", number, found[1])


def _primary(directory: Path) -> Path:
    """The cache in a directory of them that is in use."""
    try:
        name = (directory / "primary").read_text().strip()
    except OSError:
        name = ""
    return directory / (name if name.startswith("tkt") and "/" not in name else "tkt")


def read_cache(path: Path) -> list[Credential]:
    """The credentials in a cache. Raises CredentialsError."""
    try:
        return parse_cache(path.read_bytes())
    except OSError as problem:
        raise CredentialsError(f"{path}: {problem.strerror}") from problem
    except ConstructError:
        raise CredentialsError(f"{path} is not a credential cache of format 4") from None


def parse_cache(content: bytes) -> list[Credential]:
    """The credentials in a cache's content. Raises ConstructError."""
    return [
        Credential(_name(each.client), _name(each.server), each.enctype, each.key, each.start, each.end, each.ticket)
        for each in _CACHE.parse(content).credentials
    ]


def for_cell(credentials: Iterable[Credential], cell: str, now: float) -> Credential:
    """The credential for a cell, `afs/CELL@...` or `afs@CELL`, that lasts longest. Raises CredentialsError."""
    cell = cell.lower()
    found = [each for each in credentials if f"{each.server.lower()} ".startswith((f"afs/{cell}@", f"afs@{cell} "))]
    valid = [each for each in found if each.end > now]
    if not valid:
        what = "has expired" if found else "is not there (kvno afs/CELL fetches it)"
        raise CredentialsError(f"the ticket for cell {cell} {what}")
    return max(valid, key=lambda each: each.end)


def _name(principal: object) -> str:
    components: list[bytes] = principal.components  # type: ignore[attr-defined]  # what construct parsed
    realm: bytes = principal.realm  # type: ignore[attr-defined]
    return "/".join(each.decode(errors="replace") for each in components) + "@" + realm.decode(errors="replace")
