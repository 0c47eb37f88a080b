"""What the engine tells the layer above. `Endpoint.events()` drains them in the order they happened.

They are not frozen: that would cost each small call a microsecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rx.errors import RxError

if TYPE_CHECKING:
    from rx.call import Call


@dataclass(slots=True)
class CallArrived:
    """A client began a call on an offered service; its first bytes are readable, more may follow as DataArrived."""

    call: Call


@dataclass(slots=True)
class DataArrived:
    """A call has more to read, or has reached its end. At most one per call and batch of datagrams."""

    call: Call


@dataclass(slots=True)
class Writable:
    """A call whose `writable` had fallen to nothing has room again."""

    call: Call


@dataclass(slots=True)
class CallCompleted:
    """The call is over: exactly one for every call that was made or had arrived.

    With `error` None a client's call has all of the reply (what was not read yet still can be), a server's call has
    been answered and the client has the answer. Otherwise nothing more can be read or written.
    """

    call: Call
    error: RxError | None


Event = CallArrived | DataArrived | Writable | CallCompleted
