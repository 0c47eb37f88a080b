"""vos status"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

from afs.rpc.volser import (
    ITBusy,
    ITCreate,
    ITOffline,
    ITReadOnly,
    VTDeleted,
    VTDeleteOnSalvage,
    VTOutOfService,
    transDebugInfo,
)
from vos.command import Hidden, command
from vos.entries import text
from vos.output import vice_name
from vos.session import Session
from vos.volservers import failing, server_named

RULE = "--------------------------------------"

_ATTACH = {ITOffline: "offline", ITBusy: "busy", ITReadOnly: "readonly", ITCreate: "create", 0x1000: "create volid"}
_STATUS = {VTDeleteOnSalvage: "deleteOnSalvage", VTOutOfService: "outOfService", VTDeleted: "deleted"}


@command
async def status(
    session: Session,
    server: Annotated[str, "machine name"],
    json: Annotated[bool, Hidden(), "list as JSON"] = False,
) -> None:
    """report on volser status"""
    address = server_named(session, server, "host")
    with failing("Could not access status information about the server\n", "status"):
        transactions = await session.volser(address).Monitor()
    if json:
        session.output.json(
            [
                {
                    "transaction": each.tid,
                    "volume": each.volid,
                    "partition": vice_name(each.partition),
                    "created": each.creationTime,
                    "active": each.time,
                    "procedure": text(each.lastProcName),
                }
                for each in transactions
            ]
        )
        return
    if transactions:
        session.output.say(f"Total transactions: {len(transactions)}")
    else:
        session.output.say(f"No active transactions on {server}")
    for each in transactions:
        session.output.lines(_lines(each))


def _lines(transaction: transDebugInfo) -> Iterator[str]:
    yield RULE
    yield f"transaction: {transaction.tid}  created: {time.ctime(transaction.creationTime)}"
    yield f"lastActiveTime: {time.ctime(transaction.time)}"
    if transaction.returnCode:
        yield f"returnCode: {transaction.returnCode & 0xFFFF_FFFF_FFFF_FFFF}"
    if transaction.iflags:
        yield f"attachFlags:  {_words(transaction.iflags, _ATTACH)}"
    if transaction.vflags:
        yield f"volumeStatus: {_words(transaction.vflags, _STATUS)}"
    if transaction.tflags:
        yield "transactionFlags: delete"
    name, procedure = vice_name(transaction.partition), text(transaction.lastProcName)
    yield f"volume: {transaction.volid}  partition: {name}  procedure: {procedure}"
    if transaction.callValid:
        yield f"packetRead: {transaction.readNext}  lastReceiveTime: {time.ctime(transaction.lastReceiveTime)}"
        yield f"packetSend: {transaction.transmitNext}  lastSendTime: {time.ctime(transaction.lastSendTime)}"
    yield RULE
    yield ""


def _words(flags: int, names: dict[int, str]) -> str:
    return "".join(f"{name} " for flag, name in names.items() if flags & flag)
