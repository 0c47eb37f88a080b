"""A cell's keys: KeyFileExt and KeyFile, and the tokens their owner makes for himself (`-localauth`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from construct import Bytes, ConstructError, Int32ub, PrefixedArray, Struct, this

from afs.watched import WatchedFile
from rx.security.kerberos import des, krb4
from rx.security.kerberos.enctypes import CONFOUNDER_SIZE, PROFILES, Enctype
from rx.security.kerberos.ticket import NEVER, Ticket, encode
from rx.security.rxkad import ENCRYPTED_PART, Token

KEY_FILE_EXT, KEY_FILE = "KeyFileExt", "KeyFile"

METADATA_SIZE = 16
"""Bytes of the words before a key in KeyFileExt; a record may have more of them, which mean nothing to us."""

LOCAL_USER = "afs"
"""The name in tickets that a cell's servers and `-localauth` programs make for themselves; every server knows it as an
administrator (auth.p.h AUTH_SUPERUSER)."""

LOCAL_END = 0x7FFF_FFFF
"""When such tickets end: the last second that stock programs can tell."""

PREFERENCE = (Enctype.AES256_SHA1, Enctype.AES128_SHA1, Enctype.AES256_SHA384, Enctype.AES128_SHA256)
"""Which key makes our own tickets (authcon.c GenericAuth), those that stock servers do not know last."""


class KeyKind(IntEnum):
    """What a key in KeyFileExt is for (keys.h afsconf_keyType)."""

    RXKAD = 0
    RXGK = 1
    RXKAD_KRB5 = 2


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a cell. `enctype` is 0 for those of kind RXKAD, which are DES keys."""

    kind: int
    kvno: int
    enctype: int
    value: bytes = field(repr=False)

    @property
    def usable(self) -> bool:
        """Whether rxkad knows what to do with a key of this kind and enctype, and it is as long as it has to be."""
        if self.kind == KeyKind.RXKAD:
            return len(self.value) == des.KEY_SIZE
        profile = PROFILES.get(self.enctype) if self.kind == KeyKind.RXKAD_KRB5 else None
        return profile is not None and len(self.value) == profile.key_size


_RECORD = Struct(
    "size" / Int32ub,
    "kind" / Int32ub,
    "kvno" / Int32ub,
    "enctype" / Int32ub,
    "more" / Bytes(this.size - METADATA_SIZE),
    "length" / Int32ub,
    "value" / Bytes(this.length),
)
_KEY_FILE_EXT = Struct("records" / PrefixedArray(Int32ub, _RECORD))
_DES_RECORD = Struct("kvno" / Int32ub, "value" / Bytes(des.KEY_SIZE))
_KEY_FILE = Struct("records" / PrefixedArray(Int32ub, _DES_RECORD))
"""What follows the records of either file means nothing, as with stock."""


class KeyFileDamaged(ValueError):
    """A key file is not one."""


def parse_key_file_ext(content: bytes) -> tuple[Key, ...]:
    """The keys of a KeyFileExt. Raises KeyFileDamaged."""
    try:
        records = _KEY_FILE_EXT.parse(content).records
    except ConstructError as problem:
        raise KeyFileDamaged(f"not a {KEY_FILE_EXT}: {problem}") from None
    return tuple(Key(each.kind, each.kvno, each.enctype, each.value) for each in records)


def format_key_file_ext(keys: Iterable[Key]) -> bytes:
    """A KeyFileExt, as asetkey writes it."""
    records = [
        {
            "size": METADATA_SIZE,
            "kind": key.kind,
            "kvno": key.kvno,
            "enctype": key.enctype,
            "more": b"",
            "length": len(key.value),
            "value": key.value,
        }
        for key in keys
    ]
    content: bytes = _KEY_FILE_EXT.build({"records": records})
    return content


def parse_key_file(content: bytes) -> tuple[Key, ...]:
    """The DES keys of a KeyFile. Raises KeyFileDamaged."""
    try:
        records = _KEY_FILE.parse(content).records
    except ConstructError as problem:
        raise KeyFileDamaged(f"not a {KEY_FILE}: {problem}") from None
    return tuple(Key(KeyKind.RXKAD, each.kvno, 0, each.value) for each in records)


def random_key(random_bytes: Callable[[int], bytes] = os.urandom, kvno: int = 1) -> Key:
    """A new key for a cell, of the enctype every stock server knows."""
    enctype = Enctype.AES256_SHA1
    return Key(KeyKind.RXKAD_KRB5, kvno, enctype, random_bytes(PROFILES[enctype].key_size))


def write_key_file_ext(directory: Path, keys: Iterable[Key]) -> None:
    """Replace a configuration directory's KeyFileExt whole; only its owner may read it. Raises OSError."""
    path = directory / KEY_FILE_EXT
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(format_key_file_ext(keys))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class KeyStore:
    """The keys in a configuration directory, as they are now: what `rx.security.rxkad` asks a server for.

    DES keys, of either file, exist only with `allow_des`. Making one raises OSError or KeyFileDamaged; files that are
    damaged later leave the keys as they were.
    """

    def __init__(self, directory: Path, allow_des: bool = False) -> None:
        self.directory = directory
        self.allow_des = allow_des
        self._files: list[WatchedFile[tuple[Key, ...]]] = []
        self._files.append(WatchedFile(directory / KEY_FILE_EXT, parse_key_file_ext, ()))
        if allow_des:
            self._files.append(WatchedFile(directory / KEY_FILE, parse_key_file, ()))

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every key, those of KeyFileExt first."""
        return tuple(key for file in self._files for key in file.value)

    def krb5_key(self, enctype: int, kvno: int) -> bytes | None:
        """See rx.security.kerberos.ticket.Keys."""
        return self._find(KeyKind.RXKAD_KRB5, enctype, kvno)

    def des_key(self, kvno: int) -> bytes | None:
        """See rx.security.kerberos.ticket.Keys."""
        return self._find(KeyKind.RXKAD, 0, kvno) if self.allow_des else None

    def latest(self) -> Key | None:
        """The key for our own tickets: of the best enctype there is the highest version, a DES key if nothing else."""
        best = None
        for key in self.keys:
            rank = _rank(key)
            if rank is not None and (self.allow_des or key.kind != KeyKind.RXKAD) and (best is None or rank > best[0]):
                best = rank, key
        return best and best[1]

    def _find(self, kind: int, enctype: int, kvno: int) -> bytes | None:
        for key in self.keys:
            if (key.kind, key.enctype, key.kvno) == (kind, enctype, kvno) and key.usable:
                return key.value
        return None


def _rank(key: Key) -> tuple[int, int] | None:
    """How a key compares with others as the one to make tickets with; None when it cannot."""
    if not key.usable:
        return None
    if key.kind == KeyKind.RXKAD:
        return -len(PREFERENCE) - 1, key.kvno
    return -PREFERENCE.index(Enctype(key.enctype)), key.kvno


def local_token(key: Key, random_bytes: Callable[[int], bytes] = os.urandom) -> Token:
    """The token that a holder of the cell's key makes for himself; every server of the cell takes it."""
    ticket = Ticket(LOCAL_USER, "", "", _session_key(random_bytes), 0, LOCAL_END)
    if key.kind == KeyKind.RXKAD:
        return Token(key.kvno, krb4.encode(ticket, key.value), ticket.session_key, NEVER)
    sealed = encode(ticket, key.enctype, key.kvno, key.value, random_bytes(CONFOUNDER_SIZE))
    return Token(ENCRYPTED_PART, sealed, ticket.session_key, ticket.end)


def _session_key(random_bytes: Callable[[int], bytes]) -> bytes:
    while True:
        key = des.with_odd_parity(random_bytes(des.KEY_SIZE))
        if key not in des.WEAK_KEYS:
            return key
