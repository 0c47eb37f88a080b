"""vos remaddrs"""

from __future__ import annotations

from typing import Annotated

from rx.errors import RxError
from vos.command import CommandError, command
from vos.commands.setaddrs import need_uuid
from vos.errors import error_text
from vos.kinds import registration_lines
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import failing


@command
async def remaddrs(session: Session, uuid: Annotated[str, "uuid of server"]) -> None:
    """remove the list of IP addresses for a given UUID in the VLDB"""
    server = need_uuid(uuid)
    with failing("vos: could not list the server addresses\n", status=USAGE_STATUS):
        found = await session.cell.servers.find(server)
    if found is None:
        raise CommandError("vos: UUID not found\n")
    if not found.addresses:
        session.output.complain("vos: no addresses found for UUID")
        return
    if session.output.verbose:
        session.output.say("vos: Removing UUID with hosts:")
        session.output.lines(registration_lines(session, found.uuid, found.addresses))
    try:
        await session.cell.servers.remove_address(found.addresses[0])
    except RxError as problem:
        text = f"Could not remove server entry from the VLDB.\n{error_text(problem.code)}\n"
        raise CommandError(text) from problem
