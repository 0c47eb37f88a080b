"""rxnull, security index 0: nobody proves anything, nothing is protected."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from rx.constants import RxCode, SecurityIndex
from rx.errors import Abort
from rx.security.interfaces import ANONYMOUS, Binding, ISecurity, SecurityStatistics


@implementer(ISecurity)
class Null:
    """Either end of an unauthenticated connection."""

    __slots__ = ()
    index = int(SecurityIndex.NULL)
    identity = ANONYMOUS
    authenticated = True
    sealing = False
    header_size = 0
    trailer_size = 0

    def bind(self, binding: Binding) -> None:
        """Nothing here depends on the connection."""

    def meet(self, spare: int) -> None:
        """Never called, as every null connection is authenticated."""

    def adopt(self, nonces: Sequence[int]) -> None:
        """Never called, for the same reason."""

    def challenge(self) -> bytes:
        """Never asked for, as every null connection is authenticated."""
        raise Abort(RxCode.RX_PROTOCOL_ERROR, "a null connection has no challenge")

    def respond(self, challenge: bytes, call_numbers: tuple[int, int, int, int]) -> bytes:
        """A server that challenges a null connection is confused."""
        raise Abort(RxCode.RX_PROTOCOL_ERROR, "challenged on a null connection")

    def check_response(self, response: bytes, now: float) -> tuple[int, int, int, int]:
        """A client that answers what nobody asked is confused."""
        raise Abort(RxCode.RX_PROTOCOL_ERROR, "response on a null connection")

    def seal(self, channel: int, number: int, seq: int, data: bytes) -> tuple[int, bytes]:
        return 0, data

    def open(self, channel: int, number: int, seq: int, spare: int, body: bytes, now: float) -> bytes:
        return body

    def statistics(self) -> SecurityStatistics:
        """Nothing is told of it, as stock has it."""
        return _STATISTICS


_STATISTICS = SecurityStatistics()
