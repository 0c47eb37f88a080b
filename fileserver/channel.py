"""What this server may say to a cache manager; over Rx it is `rxchannel.py`, in tests a record of what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from uuid import UUID

from fileserver.callbacks import Fid

Address: TypeAlias = tuple[str, int]
"""(IPv4 address, UDP port)."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who a client says it is. `uuid` is None for one that has none; `addresses` are its interfaces."""

    uuid: UUID | None = None
    addresses: tuple[str, ...] = ()
    capabilities: int = 0


class CallbackChannel(Protocol):
    """What the server says to clients. Every method raises RxError: Abort when the client refused, CallLost when
    silent.
    """

    async def introduce(self, address: Address) -> Introduction:
        """Ask who is there."""

    async def reset(self, address: Address, *, has_uuid: bool) -> None:
        """Everything this server ever promised is void."""

    async def tell(self, address: Address, fids: Sequence[Fid]) -> None:
        """These fids have changed; vnode 0 stands for a whole volume."""

    async def probe(self, address: Address, uuid: UUID | None) -> None:
        """Is it still there, and still the client with this UUID."""

    async def is_openafs(self, address: Address) -> bool:
        """Whether the client is OpenAFS's: it answers what kAFS and others never learned."""

    def heard(self, address: Address, local: Address) -> None:
        """A client at `address` has called us at `local`: what it is told leaves from there from now on."""

    def route(self, address: Address) -> Address | None:
        """The address of ours that was last `heard` with this one."""

    def close(self, address: Address) -> None:
        """Nothing more will be said to this address."""
