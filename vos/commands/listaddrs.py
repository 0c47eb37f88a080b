"""vos listaddrs"""

from __future__ import annotations

from ipaddress import IPv4Address
from socket import gethostbyname
from typing import Annotated, Any
from uuid import UUID

from vos.command import CommandError, Hidden, command
from vos.kinds import afs_uuid_text, parse_uuid
from vos.operations.addresses import Registration, find, registrations
from vos.operations.subject import Subject
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
    servers = Subject(session)
    with failing("vos: could not list the server addresses\n", status=USAGE_STATUS):
        if uuid is not None:
            found = [await _need(servers, _uuid(uuid), f"UUID '{uuid}'")]
        elif host is not None:
            address = _address(host)
            found = [await _need(servers, address, f"host '{host}' [0x{int(address):08x}]")]
        else:
            found = await registrations(servers)
    if json:
        session.output.json([_data(session, each) for each in found])
        return
    for each in found:
        if printuuid:
            session.output.say(f"UUID: {afs_uuid_text(each.uuid)}")
        for address in each.addresses:
            session.output.say(session.name(address))
        if printuuid:
            session.output.say()


async def _need(servers: Subject, wanted: UUID | IPv4Address, what: str) -> Registration:
    found = await find(servers, wanted)
    if found is None:
        raise CommandError(f"vos: no entry for {what} found in VLDB\n")
    return found


def _uuid(word: str) -> UUID:
    found = parse_uuid(word)
    if found is None:
        raise CommandError(f"vos: invalid UUID '{word}'\n")
    return found


def _address(word: str) -> IPv4Address:
    try:
        return IPv4Address(gethostbyname(word))
    except (OSError, UnicodeError):
        raise CommandError(f"vos: Can't get host info for '{word}'\n") from None


def _data(session: Session, server: Registration) -> dict[str, Any]:
    addresses = [{"address": str(each), "name": session.name(each)} for each in server.addresses]
    return {"uuid": server.uuid, "addresses": addresses}
