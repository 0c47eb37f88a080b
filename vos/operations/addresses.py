"""File servers' addresses in the VLDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import VLADDR_INDEX, VLADDR_IPADDR, VLADDR_UUID, ListAddrByAttributes
from rx.errors import Abort
from vos.operations.subject import Server, Subject

REMOVE = 0xFFFF_FFFF
"""As the old address of a change: the new one, or the server that has it, is removed."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A file server as it has registered."""

    uuid: UUID
    addresses: tuple[IPv4Address, ...]


async def find(self: Subject, wanted: UUID | Server | int) -> Registration | None:
    """The registration of a UUID, of an address, or at an index from 1; None if there is none. Raises RxError."""
    if isinstance(wanted, UUID):
        by = ListAddrByAttributes(Mask=VLADDR_UUID, uuid=wanted)
    elif isinstance(wanted, int):
        by = ListAddrByAttributes(Mask=VLADDR_INDEX, index=wanted)
    else:
        by = ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=int(self.server(wanted)))
    try:
        uuid, _, _, numbers = await self.session.vl.GetAddrsU(by)
    except Abort as refusal:
        if refusal.code != VLError.VL_NOENT:
            raise
        return None
    return Registration(uuid, tuple(IPv4Address(number & 0xFFFF_FFFF) for number in numbers))


async def registrations(self: Subject) -> list[Registration]:
    """All that there are; some of the indexes are of nobody. Raises RxError."""
    _, count, _ = await self.session.vl.GetAddrs(0, 0)
    found: list[Registration] = []
    index = 1
    while len(found) < count:
        try:
            registration = await find(self, index)
        except Abort as refusal:
            if refusal.code != VLError.VL_INDEXERANGE:
                raise
            break
        if registration is not None:
            found.append(registration)
        index += 1
    return found


async def register(self: Subject, uuid: UUID, addresses: Sequence[Server]) -> None:
    """Give a file server these addresses, and no others. Raises RxError."""
    await self.session.vl.RegisterAddrs(uuid, 0, tuple(int(self.server(each)) for each in addresses))


async def change_address(self: Subject, old: Server, new: Server) -> None:
    """Give the server that has the one address the other in its place. Raises RxError."""
    await self.session.vl.ChangeAddr(int(self.server(old)), int(self.server(new)))


async def remove_address(self: Subject, address: Server) -> None:
    """Take an address, or the server whose only one it is, out of the VLDB. Raises RxError."""
    await self.session.vl.ChangeAddr(REMOVE, int(self.server(address)))
