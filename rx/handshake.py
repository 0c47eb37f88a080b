"""The server's side of a security handshake: challenge the client, and keep its first packets until it has answered."""

from __future__ import annotations

from math import inf

from rx.constants import PacketType
from rx.output import Output
from rx.packet import Fields
from rx.timers import CHALLENGE_SECONDS, CHALLENGE_TRIES
from rx.wire import Wire

_CHALLENGE = int(PacketType.CHALLENGE)


class Handshake:
    """One connection's handshake. Idle on client ends and on connections that need none."""

    __slots__ = ("_counted", "_early", "_output", "_tries", "_wire", "deadline")

    def __init__(self, output: Output, wire: Wire) -> None:
        self.deadline = inf  # when to challenge again
        self._output = output
        self._wire = wire
        self._tries = 0
        self._counted = False  # in output.unproven
        self._early: list[tuple[Fields, bytes]] = []

    @property
    def waiting(self) -> bool:
        """A challenge was sent and not answered yet."""
        return self._tries > 0

    def keep(self, fields: Fields, datagram: bytes, now: float) -> None:
        """Data came from a client that has yet to prove who it is: keep a little of it, and challenge."""
        self._wire.security.meet(fields[9])
        output = self._output
        host = self._wire.peer.host
        if len(self._early) < output.limits.early_packets and len(datagram) <= output.room(host):
            self._early.append((fields, datagram))
            output.hold(host, len(datagram))
        if not self._tries:
            self._counted = output.unproven.take(self._wire.peer.address[0])
            self._challenge(now)

    def _challenge(self, now: float) -> None:
        self._tries += 1
        self.deadline = now + CHALLENGE_SECONDS
        self._wire.send(self._wire.cid, 0, _CHALLENGE, self._wire.security.challenge())

    def wake(self, now: float) -> float:
        """Challenge again when it is time. Returns the next deadline; inf when the client is given up, too."""
        if now >= self.deadline:
            if self._tries < CHALLENGE_TRIES:
                self._challenge(now)
            else:
                self.deadline = inf
        return self.deadline

    def end(self) -> list[tuple[Fields, bytes]]:
        """It is over, one way or the other. Returns what was kept, in order of arrival."""
        early, self._early = self._early, []
        self._output.hold(self._wire.peer.host, -sum(len(datagram) for _, datagram in early))
        self._tries = 0
        self.deadline = inf
        if self._counted:
            self._counted = False
            self._output.unproven.give_back(self._wire.peer.address[0])
        return early
