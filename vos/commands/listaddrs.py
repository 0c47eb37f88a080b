"""vos listaddrs"""

from __future__ import annotations

from ipaddress import IPv4Address
from socket import gethostbyname
from typing import Annotated, Any
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import VLADDR_INDEX, VLADDR_IPADDR, VLADDR_UUID, ListAddrByAttributes
from rx.errors import Abort
from vos.command import CommandError, Hidden, command
from vos.kinds import afs_uuid_text, parse_uuid
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import failing


@command
async def listaddrs(
    session: Session,
    uuid: Annotated[str | None, "uuid of server"] = None,
    host: Annotated[str | None, "address of host"] = None,
    printuuid: Annotated[bool, "print uuid of hosts"] = False,
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """list the IP address of all file servers registered in the VLDB"""
    if uuid is not None and host is not None:
        raise CommandError("vos: Can't use the -uuid and -host flags together\n")
    with failing("vos: could not list the server addresses\n", status=USAGE_STATUS):
        _, count, _ = await session.vl.GetAddrs(0, 0)
        if uuid is not None:
            servers = [await _one(session, _by_uuid(uuid), f"UUID '{uuid}'")]
        elif host is not None:
            wanted = _by_host(host)
            servers = [await _one(session, wanted, f"host '{host}' [0x{wanted.ipaddr:08x}]")]
        else:
            servers = await _all(session, count)
    if json:
        session.output.json([_data(session, *each) for each in servers])
        return
    for identity, addresses in servers:
        if printuuid:
            session.output.say(f"UUID: {afs_uuid_text(identity)}")
        for address in addresses:
            session.output.say(session.name(address))
        if printuuid:
            session.output.say()


Registered = tuple[UUID, list[IPv4Address]]


async def _ask(session: Session, wanted: ListAddrByAttributes) -> Registered:
    uuid, _, _, numbers = await session.vl.GetAddrsU(wanted)
    return uuid, [IPv4Address(number & 0xFFFF_FFFF) for number in numbers]


async def _one(session: Session, wanted: ListAddrByAttributes, what: str) -> Registered:
    try:
        return await _ask(session, wanted)
    except Abort as refusal:
        if refusal.code != VLError.VL_NOENT:
            raise
        raise CommandError(f"vos: no entry for {what} found in VLDB\n") from None


async def _all(session: Session, count: int) -> list[Registered]:
    """As many as there are; some of the indexes are of nobody."""
    found: list[Registered] = []
    index = 1
    while len(found) < count:
        try:
            found.append(await _ask(session, ListAddrByAttributes(Mask=VLADDR_INDEX, index=index)))
        except Abort as refusal:
            if refusal.code == VLError.VL_INDEXERANGE:
                break
            if refusal.code != VLError.VL_NOENT:
                raise
        index += 1
    return found


def _by_uuid(word: str) -> ListAddrByAttributes:
    found = parse_uuid(word)
    if found is None:
        raise CommandError(f"vos: invalid UUID '{word}'\n")
    return ListAddrByAttributes(Mask=VLADDR_UUID, uuid=found)


def _by_host(word: str) -> ListAddrByAttributes:
    try:
        return ListAddrByAttributes(Mask=VLADDR_IPADDR, ipaddr=int(IPv4Address(gethostbyname(word))))
    except (OSError, UnicodeError):
        raise CommandError(f"vos: Can't get host info for '{word}'\n") from None


def _data(session: Session, uuid: UUID, addresses: list[IPv4Address]) -> dict[str, Any]:
    return {"uuid": uuid, "addresses": [{"address": str(each), "name": session.name(each)} for each in addresses]}
