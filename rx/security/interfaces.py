"""What a security class does for a connection, and who the other end turned out to be.

A security object belongs to one end of one connection. The engine gives it numbers and bytes and never looks inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from zope.interface import Attribute, Interface


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes the calls of a connection, as its security class established it."""

    kind: Literal["anonymous", "rxkad"]
    name: str = ""
    instance: str = ""
    realm: str = ""


ANONYMOUS = Identity("anonymous")


@dataclass(frozen=True, slots=True)
class SecurityStatistics:
    """What rxdebug tells of one end's security (rx.h rx_securityObjectStats). Packets are of data, bytes as they are
    before the class has sealed, or opened, them.
    """

    type: int = 0
    level: int = 0
    authenticated: bool = False
    checksums: bool = False
    expires: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Binding:
    """The connection a security object belongs to: the numbers that handshakes and checksums are bound to.

    `cid` has its channel bits clear.
    """

    epoch: int
    cid: int
    security_index: int


class ISecurity(Interface):
    """One end of one connection's security."""

    index = Attribute("The security index this class answers to (rx.constants.SecurityIndex).")
    identity = Attribute("Identity of the client; ANONYMOUS until established, and always on the client's own end.")
    authenticated = Attribute("Server end: whether calls may run. Client end: always True.")
    sealing = Attribute("False when seal and open would change nothing, so the engine need not call them.")
    header_size = Attribute("Bytes that seal puts before each packet's data.")
    trailer_size = Attribute("Bytes that seal may add after each packet's data.")

    def bind(binding: Binding) -> None:
        """Belong to this connection. Called once, before anything else."""

    def meet(spare: int) -> None:
        """Server end: a data packet with this spare field came before any response was checked."""

    def adopt(nonces: Sequence[int]) -> None:
        """Server end: of the class's newest form of challenge, use the first of these 32-bit nonces rather than a
        random one, and take an answer to any. The endpoint does so when it keeps nothing of a client it challenges.
        """

    def challenge() -> bytes:
        """Server end: the body of a CHALLENGE packet. The same one until a response has been checked."""

    def respond(challenge: bytes, call_numbers: tuple[int, int, int, int]) -> bytes:
        """Client end: the body of the RESPONSE to this challenge. `call_numbers` is the current one of each channel.

        Raises Abort when the challenge makes no sense or asks for more than we have.
        """

    def check_response(response: bytes, now: float) -> tuple[int, int, int, int]:
        """Server end: check the body of a RESPONSE at Unix time `now`; set `identity` and `authenticated`, and with
        them `level`, `header_size` and `trailer_size`.

        Returns the client's call numbers. Raises Abort with the security class's code; the connection is then dead.
        """

    def seal(channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        """Protect one data packet of call `number`: the value of the header's spare field, and the body to send."""

    def open(channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        """Check and unwrap one data packet received at Unix time `now`. Raises Abort; the call or connection is then
        refused with its code.
        """

    def statistics() -> SecurityStatistics:
        """What this end has done so far."""


SecurityFactory = Callable[[], ISecurity]
"""Makes the server's end for one new connection."""
