"""The volume automaton: states (numbered as OpenAFS's volume.h VolState), events, the table of moves, and what to
answer in each.

Everything that decides a volume's state is here; the flows (attach.py, offline.py, checkout.py) only send events. A
sub-step of a flow (UPDATING, GET_BITMAP ...) ends with the RESUME event of the flow it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum

from twisted.internet.defer import Deferred

from afs.errors import VolumeError


class VolumeState(IntEnum):
    """Where a volume is, dafs.md section 1."""

    UNATTACHED = 0
    PREATTACHED = 1
    ATTACHING = 2
    ATTACHED = 3
    UPDATING = 4
    GET_BITMAP = 5
    HDR_LOADING = 6
    HDR_ATTACHING = 7
    SHUTTING_DOWN = 8
    GOING_OFFLINE = 9
    OFFLINING = 10
    DETACHING = 11
    SALVSYNC_REQ = 12
    SALVAGING = 13
    ERROR = 14
    VNODE_ALLOC = 15
    VNODE_GET = 16
    VNODE_CLOSE = 17
    VNODE_RELEASE = 18
    VLRU_ADD = 19
    DELETED = 20
    SALVAGE_REQ = 21
    SCANNING_RXCALLS = 22
    FREED = 23


class Event(Enum):
    """What can happen to a volume."""

    PREATTACH = "known from a partition scan, or given back by whoever had it"
    DEMAND = "first use: attach it"
    READ_HEADER_FILE = "the .vol file is being read"
    READ_HEADER = "the volume's own header is being read"
    READ_BITMAP = "the vnode index is being scanned for what is in use"
    WRITE_HEADER = "the header is being written"
    RESUME_ATTACH = "a sub-step of attaching is done"
    RESUME = "a sub-step of ordinary service is done"
    RESUME_OFFLINE = "a sub-step of going offline is done"
    RESUME_DETACH = "a sub-step of detaching is done"
    ATTACH_OK = "attached"
    PEEK = "its header is being looked at without attaching it"
    RESUME_IDLE = "its header was looked at"
    NOT_BLESSED = "the header says it is not to be served yet"
    NOT_IN_SERVICE = "the header says it is out of service"
    OFFLINE = "wanted offline"
    SHUTDOWN = "the server is stopping"
    INTERRUPT = "the calls that use it are being looked up to interrupt them"
    INTERRUPTED = "the calls that use it were told"
    DRAINED = "the last user left"
    CLOSE_VNODES = "its vnodes' descriptors are being closed"
    RELEASE_VNODES = "its vnodes are being forgotten"
    OFFLINE_OK = "header written, descriptors closed"
    DETACH = "the volume object is being given up"
    ALLOCATE = "a vnode is being allocated"
    QUEUE = "being linked into the VLRU"
    DAMAGED = "what is on disk contradicts itself"
    CONDEMNED = "closed, to be salvaged"
    SCHEDULE = "the salvager is being asked"
    SCHEDULED = "the salvager took it"
    FAILED = "no more automatic repair"
    DESTROY = "destroyed on disk"
    FREE = "the object is no longer known to anybody"


class IllegalMove(AssertionError):
    """An event came in a state that knows no such event: a bug in a flow, never a peer's doing."""


_S, _E = VolumeState, Event

MOVES: dict[VolumeState, dict[Event, VolumeState]] = {
    _S.UNATTACHED: {
        _E.PREATTACH: _S.PREATTACHED,
        _E.DAMAGED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
        _E.DESTROY: _S.DELETED,
        _E.FREE: _S.FREED,
    },
    _S.PREATTACHED: {
        _E.DEMAND: _S.ATTACHING,
        _E.PEEK: _S.HDR_LOADING,
        _E.OFFLINE: _S.UNATTACHED,
        _E.SHUTDOWN: _S.UNATTACHED,
        _E.DAMAGED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
        _E.DESTROY: _S.DELETED,
        _E.FREE: _S.FREED,
    },
    _S.ATTACHING: {
        _E.READ_HEADER_FILE: _S.HDR_ATTACHING,
        _E.READ_HEADER: _S.HDR_LOADING,
        _E.READ_BITMAP: _S.GET_BITMAP,
        _E.WRITE_HEADER: _S.UPDATING,
        _E.ATTACH_OK: _S.ATTACHED,
        _E.NOT_BLESSED: _S.PREATTACHED,
        _E.NOT_IN_SERVICE: _S.UNATTACHED,
        _E.DAMAGED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
    },
    _S.HDR_ATTACHING: {
        _E.READ_HEADER: _S.HDR_LOADING,
        _E.RESUME_ATTACH: _S.ATTACHING,
        _E.RESUME: _S.ATTACHED,
        _E.DAMAGED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
    },
    _S.HDR_LOADING: {
        _E.RESUME_ATTACH: _S.ATTACHING,
        _E.RESUME: _S.ATTACHED,
        _E.RESUME_IDLE: _S.PREATTACHED,
        _E.DAMAGED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
    },
    _S.GET_BITMAP: {
        _E.RESUME_ATTACH: _S.ATTACHING,
        _E.RESUME: _S.ATTACHED,
        _E.DAMAGED: _S.SALVAGE_REQ,
        _E.FAILED: _S.ERROR,
    },
    _S.UPDATING: {
        _E.RESUME_ATTACH: _S.ATTACHING,
        _E.RESUME: _S.ATTACHED,
        _E.RESUME_OFFLINE: _S.OFFLINING,
        _E.RESUME_DETACH: _S.DETACHING,
        _E.DAMAGED: _S.SALVAGE_REQ,
        _E.FAILED: _S.ERROR,
    },
    _S.ATTACHED: {
        _E.OFFLINE: _S.GOING_OFFLINE,
        _E.SHUTDOWN: _S.SHUTTING_DOWN,
        _E.DAMAGED: _S.SALVAGE_REQ,
        _E.READ_HEADER_FILE: _S.HDR_ATTACHING,
        _E.READ_HEADER: _S.HDR_LOADING,
        _E.WRITE_HEADER: _S.UPDATING,
        _E.READ_BITMAP: _S.GET_BITMAP,
        _E.ALLOCATE: _S.VNODE_ALLOC,
        _E.QUEUE: _S.VLRU_ADD,
    },
    _S.VNODE_ALLOC: {_E.RESUME: _S.ATTACHED, _E.READ_BITMAP: _S.GET_BITMAP, _E.DAMAGED: _S.SALVAGE_REQ},
    _S.VLRU_ADD: {_E.RESUME: _S.ATTACHED, _E.RESUME_ATTACH: _S.ATTACHING},
    _S.GOING_OFFLINE: {
        _E.DRAINED: _S.OFFLINING,
        _E.INTERRUPT: _S.SCANNING_RXCALLS,
        _E.SHUTDOWN: _S.SHUTTING_DOWN,
        _E.DAMAGED: _S.SALVAGE_REQ,
    },
    _S.SCANNING_RXCALLS: {_E.INTERRUPTED: _S.GOING_OFFLINE},
    _S.SHUTTING_DOWN: {_E.DRAINED: _S.OFFLINING, _E.DETACH: _S.DETACHING, _E.DAMAGED: _S.SALVAGE_REQ},
    _S.OFFLINING: {
        _E.WRITE_HEADER: _S.UPDATING,
        _E.CLOSE_VNODES: _S.VNODE_CLOSE,
        _E.RELEASE_VNODES: _S.VNODE_RELEASE,
        _E.OFFLINE_OK: _S.UNATTACHED,
        _E.CONDEMNED: _S.SALVAGING,
        _E.FAILED: _S.ERROR,
    },
    _S.VNODE_CLOSE: {_E.RESUME_OFFLINE: _S.OFFLINING, _E.RESUME_DETACH: _S.DETACHING},
    _S.VNODE_RELEASE: {_E.RESUME_OFFLINE: _S.OFFLINING, _E.RESUME_DETACH: _S.DETACHING},
    _S.DETACHING: {
        _E.WRITE_HEADER: _S.UPDATING,
        _E.CLOSE_VNODES: _S.VNODE_CLOSE,
        _E.RELEASE_VNODES: _S.VNODE_RELEASE,
        _E.FREE: _S.FREED,
    },
    _S.SALVAGE_REQ: {_E.DRAINED: _S.OFFLINING, _E.FAILED: _S.ERROR},
    _S.SALVAGING: {
        _E.SCHEDULE: _S.SALVSYNC_REQ,
        _E.PREATTACH: _S.PREATTACHED,
        _E.SHUTDOWN: _S.UNATTACHED,
        _E.FAILED: _S.ERROR,
        _E.DESTROY: _S.DELETED,
    },
    _S.SALVSYNC_REQ: {_E.SCHEDULED: _S.SALVAGING, _E.FAILED: _S.ERROR},
    _S.ERROR: {_E.PREATTACH: _S.PREATTACHED, _E.SHUTDOWN: _S.UNATTACHED, _E.DESTROY: _S.DELETED},
    _S.DELETED: {_E.PREATTACH: _S.PREATTACHED, _E.FREE: _S.FREED},
    _S.FREED: {},
}
"""MOVES[state][event] is the next state; what is not here is an IllegalMove."""


EXCLUSIVE = frozenset(
    {
        VolumeState.ATTACHING,
        VolumeState.UPDATING,
        VolumeState.GET_BITMAP,
        VolumeState.HDR_LOADING,
        VolumeState.HDR_ATTACHING,
        VolumeState.OFFLINING,
        VolumeState.DETACHING,
        VolumeState.SALVSYNC_REQ,
        VolumeState.VNODE_ALLOC,
        VolumeState.VNODE_GET,
        VolumeState.VNODE_CLOSE,
        VolumeState.VNODE_RELEASE,
        VolumeState.VLRU_ADD,
        VolumeState.SCANNING_RXCALLS,
    }
)
"""One flow owns the volume; everybody else waits in `settled` and then looks again."""

ERROR_STATES = frozenset({VolumeState.ERROR, VolumeState.SALVAGING, VolumeState.SALVAGE_REQ})
OFFLINE_STATES = frozenset({VolumeState.UNATTACHED, VolumeState.ERROR, VolumeState.SALVAGING, VolumeState.DELETED})
GOING_AWAY = frozenset({VolumeState.SHUTTING_DOWN, VolumeState.GOING_OFFLINE})

REFUSAL = {
    VolumeState.UNATTACHED: VolumeError.VOFFLINE,
    VolumeState.GOING_OFFLINE: VolumeError.VOFFLINE,
    VolumeState.SHUTTING_DOWN: VolumeError.VNOVOL,
    VolumeState.SALVAGE_REQ: VolumeError.VBUSY,
    VolumeState.SALVAGING: VolumeError.VBUSY,
    VolumeState.ERROR: VolumeError.VSALVAGE,
    VolumeState.DELETED: VolumeError.VNOVOL,
    VolumeState.FREED: VolumeError.VNOVOL,
}
"""What a client is told in a settled state that does not serve (dafs.md section 2), unless the volume has a special
status.
"""

Watcher = Callable[["Automaton", VolumeState, Event, VolumeState], None]


def ignore(automaton: Automaton, old: VolumeState, event: Event, new: VolumeState) -> None:
    """The watcher of those who do not watch."""


class Automaton:
    """A state, and those waiting for it to settle. Waiters run inside `send`: send is the last thing a flow does before
    it awaits.
    """

    __slots__ = ("_waiters", "_watch", "state")

    def __init__(self, state: VolumeState = VolumeState.UNATTACHED, watch: Watcher = ignore) -> None:
        self.state = state
        self._watch = watch
        self._waiters: list[Deferred[None]] | None = None

    def send(self, *events: Event) -> None:
        """Move as MOVES says; several moves are one to whoever waits. Raises IllegalMove, and does not move, where it
        says nothing.
        """
        for event in events:
            old = self.state
            new = MOVES.get(old, {}).get(event)
            if new is None:
                raise IllegalMove(f"{self!r}: {event.name} in state {old.name}")
            self.state = new
            self._watch(self, old, event, new)
        if self.state not in EXCLUSIVE:
            self.wake()

    def wake(self) -> None:
        """Have all who wait for a change look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            waiter.callback(None)

    async def settled(self) -> VolumeState:
        """The state, once it is not an exclusive one."""
        while self.state in EXCLUSIVE:
            await self.changed()
        return self.state

    def changed(self) -> Deferred[None]:
        """Fires at the next move into a state that is not exclusive. Cancel it to stop waiting."""
        waiter: Deferred[None] = Deferred(self._forget)
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def _forget(self, waiter: Deferred[None]) -> None:
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)
