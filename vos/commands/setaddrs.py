"""vos setaddrs"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated
from uuid import UUID

from afs.errors import VLError
from rx.constants import RxgenCode
from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import error_text
from vos.kinds import parse_uuid, registration_lines
from vos.session import Session
from vos.volservers import host_named

MOST = 16
"""Addresses of a server (ADDRSPERSITE); stock leaves out what is more."""


@command
async def setaddrs(
    session: Session,
    uuid: Annotated[str, "uuid of server"],
    host: Annotated[tuple[str, ...], "address of host"],
) -> None:
    """set the list of IP addresses for a given UUID in the VLDB"""
    server = need_uuid(uuid)
    addresses = [_address(session, word) for word in host[:MOST]]
    try:
        await session.cell.servers.register(server, addresses)
    except RxError as problem:
        raise CommandError(f"{_refusal(problem.code)}\n{error_text(problem.code)}\n") from problem
    if session.output.verbose:
        session.output.say("vos: Changed UUID with addresses:")
        session.output.lines(registration_lines(session, server, addresses))


def need_uuid(word: str) -> UUID:
    """A server's. Raises CommandError."""
    found = parse_uuid(word)
    if found is None:
        raise CommandError(f"vos: invalid UUID '{word}'\n")
    return found


def _address(session: Session, word: str) -> IPv4Address:
    found = host_named(session, word)
    if found is None:
        raise CommandError(f"vos: Can't get host info for '{word}'\n")
    return found


def _refusal(code: int) -> str:
    if code == VLError.VL_MULTIPADDR:
        return "vos: VL_RegisterAddrs rpc failed; The IP address exists on a different server; repair it"
    if code == RxgenCode.RXGEN_OPCODE:
        return "vlserver doesn't support VL_RegisterAddrs rpc; ignored"
    return "vos: VL_RegisterAddrs rpc failed"
