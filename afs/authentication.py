"""rxkad on a server's ports, and in the calls that servers make to each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.logger import Logger

from afs.keys import KeyStore, local_token
from rx.constants import SecurityIndex
from rx.security import fcrypt
from rx.security.interfaces import ISecurity
from rx.security.rxkad import Level, RxkadClient, RxkadServer
from rx.transport import RxPort

log = Logger()

ANONYMOUS_ONLY = (int(SecurityIndex.NULL),)
"""The security indices of services that know nobody."""


def level_named(name: str) -> str:
    """`name` itself, for usage.Options to coerce with. ValueError when rxkad has no such level."""
    if name.upper() not in Level.__members__:
        raise ValueError(f"one of {', '.join(level.name.lower() for level in Level)}")
    return name


ALLOW_DES_OPTION = ["allow-des", None, "Take DES keys (KeyFile too), and tickets of Kerberos 4 and DES enctypes."]
LEVEL_OPTION = ["rxkad-level", None, "clear", "Least that tickets must protect: clear, auth or crypt.", level_named]
"""For the optFlags and the optParameters of a server's Options."""


class Authentication:
    """What a server proves and has proven to it with the cell's keys."""

    def __init__(self, keys: KeyStore, minimum: Level = Level.CLEAR) -> None:
        self.keys = keys
        self._minimum = minimum

    @classmethod
    def of(cls, options: Mapping[str, Any], config: Path) -> Authentication:
        """As a server's options say, with the keys in its configuration directory. Raises OSError, KeyFileDamaged."""
        return cls(KeyStore(config, bool(options["allow-des"])), Level[options["rxkad-level"].upper()])

    def secure(self, port: RxPort) -> tuple[int, ...]:
        """Make a port take calls with tickets. Returns the security indices to offer services with: everybody may
        call, and whoever has a ticket is known.
        """
        random_bits = SystemRandom().getrandbits
        port.endpoint.secure(SecurityIndex.RXKAD, partial(RxkadServer, self.keys, random_bits, self._minimum))
        return *ANONYMOUS_ONLY, int(SecurityIndex.RXKAD)

    def own(self, level: Level = Level.CLEAR) -> ISecurity | None:
        """For a connection to another server of the cell, with a ticket of our own; None, anonymous, without a key."""
        key = self.keys.latest()
        if key is None:
            return None
        security: ISecurity = RxkadClient(local_token(key), max(level, self._minimum))
        return security

    def announce(self) -> None:
        """Say in the log what the keys are good for."""
        keys = ", ".join(f"kvno {key.kvno} enctype {key.enctype}" for key in self.keys.keys)
        log.info("keys of the cell in {directory}: {keys}", directory=self.keys.directory, keys=keys or "none")
        if self.keys.allow_des:
            log.warn("DES is allowed: whoever can search 2^56 keys can be anybody")
        if not fcrypt.FAST:
            log.warn("fcrypt runs in Python alone: encrypted calls do 2 MB/s (no C compiler when this was installed)")
