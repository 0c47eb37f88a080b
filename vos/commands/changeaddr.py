"""vos changeaddr"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated

from afs.errors import VLError
from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import error_text
from vos.kinds import afs_uuid_text
from vos.session import Session
from vos.volservers import host_named


@command
async def changeaddr(
    session: Session,
    oldaddr: Annotated[str, "original IP address"],
    newaddr: Annotated[str | None, "new IP address"] = None,
    remove: Annotated[bool, "remove the IP address from the VLDB"] = False,
    force: Annotated[bool, "allow multi-homed server entry change (not recommended)"] = False,
) -> None:
    """change the IP address of a file server"""
    old = _address(session, oldaddr)
    if (newaddr is not None) == remove:
        raise CommandError("vos: Must specify either '-newaddr <addr>' or '-remove' flag\n")
    if newaddr is None:
        await _remove(session, old)
        session.output.say(f"Removed server {oldaddr} from the VLDB")
        return
    new = _address(session, newaddr)
    if not force:
        await _need_single(session, old)
    try:
        await session.cell.servers.change_address(old, new)
    except RxError as problem:
        text = f"Could not change server {old} to server {new}\n{error_text(problem.code)}\n"
        raise CommandError(text) from problem
    session.output.say(f"Changed server {oldaddr} to server {newaddr}")


def _address(session: Session, word: str) -> IPv4Address:
    found = host_named(session, word)
    if found is None:
        raise CommandError("vos: invalid host address\n")
    return found


async def _remove(session: Session, address: IPv4Address) -> None:
    try:
        await session.cell.servers.remove_address(address)
    except RxError as problem:
        old = "vlserver does not support the remove flag or " if problem.code == VLError.VL_NOENT else ""
        text = f"Could not remove server {address} from the VLDB\n{old}{error_text(problem.code)}\n"
        raise CommandError(text) from problem


async def _need_single(session: Session, address: IPv4Address) -> None:
    """The address is of no server that registers itself: that would do so again. Raises CommandError."""
    try:
        found = await session.cell.servers.find(address)
    except RxError as problem:
        text = f"vos: could not list the server addresses\n{error_text(problem.code)}\n"
        raise CommandError(text) from problem
    if found is not None:
        raise CommandError(
            "vos: Refusing to change address in multi-homed server entry.\n"
            f"     -oldaddr address is registered to file server UUID {afs_uuid_text(found.uuid)}\n"
            "     Please restart the file server or use vos setaddrs.\n"
        )
