"""Keys, tickets and ends of rxkad for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from rx.security.kerberos import krb4
from rx.security.kerberos.enctypes import Enctype
from rx.security.kerberos.ticket import Ticket, encode
from rx.security.rxkad import ENCRYPTED_PART, Level, RxkadClient, RxkadServer, Token

LAB_KEY = bytes.fromhex("85803b8a93f12bd2c551ce101df8feb8a869e6de5177df813e56ecfef2fabf45")
"""The key of the cell the captures were made in (tests/vectors/pcap/README.md)."""

NOW = 1_000_000_000
SESSION_KEY = bytes.fromhex("d37c23d5c28fbc89")
DES_KEY = bytes.fromhex("0123456789abcdef")
USER = Ticket("alice", "", "LAB.TEST", SESSION_KEY, NOW - 3600, NOW + 36000)


@dataclass
class Keys:
    """A server's keys: (enctype, kvno) -> key, and kvno -> DES key where DES is allowed."""

    krb5: dict[tuple[int, int], bytes] = field(default_factory=lambda: {(18, 1): LAB_KEY})
    des: dict[int, bytes] = field(default_factory=dict)

    def krb5_key(self, enctype: int, kvno: int) -> bytes | None:
        return self.krb5.get((enctype, kvno))

    def des_key(self, kvno: int) -> bytes | None:
        return self.des.get(kvno)


def token(ticket: Ticket = USER, kvno: int = 1, key: bytes = LAB_KEY) -> Token:
    """A token whose ticket the lab's key opens."""
    sealed = encode(ticket, Enctype.AES256_SHA1, kvno, key, bytes(range(16)))
    return Token(ENCRYPTED_PART, sealed, ticket.session_key, ticket.end)


def krb4_token(ticket: Ticket = USER, kvno: int = 3, life: int = 120) -> Token:
    """A token of Kerberos 4 under DES_KEY."""
    return Token(kvno, krb4.encode(ticket, DES_KEY, life), ticket.session_key)


def client(of: Token | None = None, level: Level = Level.CLEAR) -> RxkadClient:
    """A client's end."""
    return RxkadClient(of or token(), level)


def server(keys: Keys | None = None, minimum: Level = Level.CLEAR, seed: int = 1) -> RxkadServer:
    """A server's end."""
    return RxkadServer(keys or Keys(), Random(seed).getrandbits, minimum)
