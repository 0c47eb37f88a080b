"""Packets that keep the way through address translators open from the servers to us, when nothing else is sent.

Servers ignore them; what counts is that the translator sees them (rx.c rxi_NatKeepAliveEvent).
"""

from __future__ import annotations

from math import inf

from rx.constants import Flag, PacketType
from rx.packet import pack_header
from rx.peer import Address
from rx.timers import NAT_KEEPALIVE_SECONDS, Deadlines
from rx.wire import Outbox

NAT_EPOCH = 999
"""What rx.c puts where others have their epoch."""

PACKET = pack_header(NAT_EPOCH, 0, 0, 0, 0, int(PacketType.VERSION), int(Flag.LAST_PACKET), 0, 0, 0, 0) + b"\0"


class NatKeepalive:
    """Sends one to every address held, every NAT_KEEPALIVE_SECONDS."""

    __slots__ = ("_addresses", "_deadlines", "_outbox", "wake_at")

    def __init__(self, deadlines: Deadlines, outbox: Outbox) -> None:
        self.wake_at = inf
        self._deadlines = deadlines
        self._outbox = outbox
        self._addresses: dict[Address, int] = {}

    def hold(self, address: Address, now: float) -> None:
        """Keep the way from this address open, until `release` is called as often."""
        self._addresses[address] = self._addresses.get(address, 0) + 1
        self._deadlines.arm(self, now + NAT_KEEPALIVE_SECONDS)

    def release(self, address: Address) -> None:
        """One connection fewer has need of it."""
        left = self._addresses[address] - 1
        if left:
            self._addresses[address] = left
        else:
            del self._addresses[address]

    def wake(self, now: float) -> float:
        """See rx.timers.Sleeper."""
        for address in self._addresses:
            self._outbox.setdefault(address, []).append(PACKET)
        return now + NAT_KEEPALIVE_SECONDS if self._addresses else inf
