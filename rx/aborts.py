"""The aborts of one connection: what was last said on each channel, to say it again, and how often the same was said.

A client that repeats a call as often as it is refused costs a server more than one that works. So after a number of
equal refusals in a row further ones wait (rx.c rxi_SendCallAbort, rxi_SendConnectionAbort).
"""

from __future__ import annotations

from math import inf

from rx.constants import CHANNEL_MASK, CHANNELS, PacketType, RxgenCode
from rx.packet import abort_body
from rx.timers import ABORT_DELAY_SECONDS
from rx.wire import Wire

_ABORT = int(PacketType.ABORT)


class Aborts:
    """Slots 0 to 3 are the channels, slot 4 is the connection itself. `threshold` 0: nothing ever waits."""

    __slots__ = ("_last", "_late", "_rows", "_threshold", "_wire", "deadline")

    def __init__(self, wire: Wire, threshold: int) -> None:
        self.deadline = inf  # when the next one that waits is due
        self._wire = wire
        self._threshold = threshold
        self._last: dict[int, tuple[int, int]] = {}  # slot -> call number, code
        self._rows: dict[int, tuple[int, int]] = {}  # slot -> code, how often in a row
        self._late: dict[int, tuple[float, int, int]] = {}  # slot -> when due, cid, call number

    def send(self, cid: int, number: int, code: int, now: float, user_status: int = 0) -> None:
        """Abort a call, or with `number` 0 the connection, with `code`: now, or later."""
        slot = cid & CHANNEL_MASK if number else CHANNELS
        self._last[slot] = number, code
        if self._threshold and code != RxgenCode.RXGEN_OPCODE:  # to ask for what is not here yet is no misbehaviour
            before, count = self._rows.get(slot, (code, 0))
            count = count if before == code else 0
            if count >= self._threshold:
                self._postpone(slot, cid, number, now)
                return
            self._rows[slot] = code, count + 1
        self._late.pop(slot, None)
        self._wire.send(cid, number, _ABORT, abort_body(code), 0, user_status)

    def _postpone(self, slot: int, cid: int, number: int, now: float) -> None:
        waiting = self._late.get(slot)
        if waiting is None or waiting[2] != number:
            self._late[slot] = now + ABORT_DELAY_SECONDS, cid, number
            self.deadline = min(self.deadline, now + ABORT_DELAY_SECONDS)

    def repeat(self, cid: int, number: int, now: float) -> None:
        """The peer goes on with a call; if that was aborted, the abort was lost or waits."""
        of, code = self._last.get(cid & CHANNEL_MASK, (0, 0))
        if of == number:
            self.send(cid, number, code, now)

    def forgive(self, channel: int) -> None:
        """A call on this channel went well."""
        self._rows.pop(channel, None)

    def wake(self, now: float) -> float:
        """Send what is due. Returns the next deadline, or inf."""
        self.deadline = inf
        for slot, (when, cid, number) in list(self._late.items()):
            if when > now:
                self.deadline = min(self.deadline, when)
                continue
            del self._late[slot]
            self._wire.send(cid, number, _ABORT, abort_body(self._last[slot][1]))
        return self.deadline
