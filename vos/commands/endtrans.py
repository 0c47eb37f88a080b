"""vos endtrans"""

from __future__ import annotations

from typing import Annotated

from rx.errors import RxError
from vos.command import CommandError, command
from vos.errors import diagnostics
from vos.session import Session
from vos.syntax import USAGE_STATUS
from vos.volservers import server_named
from vos.words import integer


@command
async def endtrans(
    session: Session,
    server: Annotated[str, "machine name"],
    transaction: Annotated[str, "transaction ID"],
) -> None:
    """end a volserver transaction"""
    address = server_named(session, server, "host", USAGE_STATUS)
    number = integer(transaction)
    if number is None:
        raise CommandError("vos: bad integer specified for transaction ID.\n")
    try:
        await session.cell.servers.end_transaction(address, number)
    except RxError as problem:
        raise CommandError(diagnostics("endtrans", problem.code)) from problem
