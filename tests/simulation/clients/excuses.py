"""Which errors of clients the injected faults explain. All others are defects."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from afs.errors import VolumeError
from rx.constants import RxCode
from rx.errors import CallLost, RxError
from tests.simulation.clients.cell import SERVERS, Cell
from tests.simulation.clients.server import HOLD_SECONDS

AFTER_SECONDS = 3.0
"""How long after something has happened clients may still meet it: answers that were on their way, and stale places."""

PASSING = frozenset(
    (
        *(VolumeError.VBUSY, VolumeError.VOFFLINE, VolumeError.VNOVOL, VolumeError.VMOVED, VolumeError.VSALVAGE),
        *(VolumeError.VSALVAGING, VolumeError.VRESTARTING, RxCode.RX_MSGSIZE, RxCode.RX_CALL_DEAD),
    )
)
"""Codes after which a cache manager tries again."""

OFFLINE = frozenset((VolumeError.VOFFLINE, VolumeError.VSALVAGE, VolumeError.VSALVAGING))
AWAY = frozenset((VolumeError.VNOVOL, VolumeError.VMOVED, RxCode.RX_MSGSIZE))
TWICE = frozenset((errno.EEXIST, errno.ENOENT, VolumeError.VNOVNODE))
FULL = frozenset((VolumeError.VDISKFULL, errno.ENOSPC))


HOLDING = ("kill", "restart", "stop", "hush", "cut", "vanish")
"""Troubles for which calls on any partition may wait: for a server, or until a client is given up that does not hear
what another one changes.
"""

SLOW_SECONDS = 2.0
"""A call that takes longer has waited for something."""


def passes(problem: RxError) -> bool:
    """Whether to try again."""
    return isinstance(problem, CallLost) or problem.code in PASSING


@dataclass(slots=True)
class Trouble:
    """Something that went wrong, or was ordered; `subject` is a server's host or a partition."""

    kind: str
    subject: object
    began: float
    ended: float | None = None


class Excuses:
    """What happened, and to whom."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.troubles: list[Trouble] = []
        self.errors = 0

    def begin(self, kind: str, subject: object, seconds: float | None = None) -> Trouble:
        """From now until its end, or for so long."""
        now = self.cell.world.now
        trouble = Trouble(kind, subject, now, None if seconds is None else now + seconds)
        self.troubles.append(trouble)
        return trouble

    def end(self, *kinds: str, subject: object) -> None:
        """Of these kinds."""
        for trouble in self.troubles:
            if trouble.subject == subject and trouble.kind in kinds and trouble.ended is None:
                trouble.ended = self.cell.world.now

    def happened(self, since: float, kinds: tuple[str, ...], subjects: tuple[object, ...]) -> bool:
        """Whether such a thing went on at any time since then."""
        return any(each.kind in kinds and each.subject in subjects for each in self.since(since))

    def restarted(self, volume: int, since: float) -> bool:
        """Whether a call on a volume may have been carried out by two lives of its server."""
        return self.happened(since - AFTER_SECONDS, ("kill", "restart"), SERVERS)

    def judge(self, who: Any, volume: int, what: str, problem: RxError, since: float, once: bool = False) -> None:
        """Somebody's call on a volume, begun at `since`, has met an error."""
        self.errors += 1
        if self.cell.network.cut_since(who.client.host, since) and (passes(problem) or once):
            return
        if not self._explained(volume, problem, since, once):
            self.cell.defect(f"{who} at {who.client.host}: {what} in {volume}, begun at {since:.3f}: {problem!r}")

    def judge_time(self, host: str, volume: int, since: float) -> None:
        """A client's call on a volume, begun at `since`, was answered now."""
        seconds = self.cell.world.now - since
        if seconds < SLOW_SECONDS or self.cell.network.poor:
            return
        before = since - AFTER_SECONDS - HOLD_SECONDS
        storage = self.cell.storage_of(volume)
        waited = any(storage.met(before, volume, "damage", "EIO", "fence")) or any(storage.met(before, 0, "stall"))
        away = self.happened(before, ("move", "unmount"), (storage.uuid,))
        if not (waited or away or any(each.kind in HOLDING for each in self.since(before))):
            self.cell.defect(f"{host}: a call on {volume} took {seconds:.1f} s")

    def since(self, moment: float) -> Iterator[Trouble]:
        """What went on at any time since then."""
        return (each for each in self.troubles if each.ended is None or each.ended >= moment)

    def _explained(self, volume: int, problem: RxError, since: float, once: bool) -> bool:
        code = problem.code
        storage = self.cell.storage_of(volume)
        before = since - AFTER_SECONDS
        call = getattr(problem, "call", None)
        down = self.happened(before, ("kill", "restart"), SERVERS)
        away = self.happened(before, ("move", "unmount"), (storage.uuid,))
        if isinstance(problem, CallLost) or code in (VolumeError.VRESTARTING, RxCode.RX_CALL_DEAD):
            return down
        if code in TWICE:
            return once and down
        if code == errno.EIO:
            return any(storage.met(since, volume, "EIO"))
        if code in FULL:
            return any(storage.met(since, volume, "ENOSPC"))
        if code in AWAY:
            owner = self.cell.owner(storage)
            return away or down or owner is None or call is None or call.server != owner.host
        if code == VolumeError.VBUSY:
            return call is not None and call.since <= self.cell.world.now - HOLD_SECONDS
        if code in OFFLINE:
            return any(storage.met(0.0, volume, "EIO"))
        return False
