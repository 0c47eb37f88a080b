"""Who this fileserver is (`sysid`: its UUID and addresses), and telling the vlservers at start.

A server that no vlserver has taken serves nothing: clients would not find it, and two servers could answer for one
address.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from uuid import UUID, uuid4

from construct import Array, Bytes, Const, ConstructError, Int32ub, Int32un, Rebuild, Struct, len_, this
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from afs.errors import VLError, describe
from afs.rpc.vl import VL
from fileserver.interfaces import Damaged
from rx.constants import RxgenCode
from rx.errors import Abort, RxError

log = Logger(namespace="fileserver")

SYSID = Struct(
    "magic" / Const(0x88AABBCC, Int32un),
    "version" / Const(1, Int32un),
    "uuid" / Bytes(16),
    "count" / Rebuild(Int32un, len_(this.addresses)),
    "addresses" / Array(this.count, Int32ub),
)
"""The file as stock fileservers write it (volume-format.md section 10): numbers native, UUID and addresses in network
order.
"""

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
"""Between attempts to register: soon at first, for a vlserver that starts beside us, then doubling up to a minute."""

CALL_SECONDS = 15.0
"""Given to one vlserver before the next is asked."""


def read_sysid(path: Path) -> UUID | None:
    """The UUID in a sysid file, None where there is none. Raises Damaged, OSError."""
    try:
        return UUID(bytes=SYSID.parse(path.read_bytes()).uuid)
    except FileNotFoundError:
        return None
    except ConstructError as error:
        raise Damaged(f"{path} is not a sysid file: {error}") from error


def write_sysid(path: Path, uuid: UUID, addresses: Sequence[IPv4Address]) -> None:
    """Replace the file atomically."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb") as file:
        file.write(SYSID.build({"uuid": uuid.bytes, "addresses": [int(address) for address in addresses]}))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def own_uuid(path: Path, addresses: Sequence[IPv4Address]) -> UUID:
    """The UUID this server has had since its first start. Raises Damaged, OSError."""
    uuid = read_sysid(path)
    if uuid is None:
        uuid = uuid4()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sysid(path, uuid, addresses)
    return uuid


class Registration:
    """Registers a server with the first vlserver that answers, and tries until one does."""

    def __init__(
        self,
        vlservers: Sequence[tuple[str, VL]],
        uuid: UUID,
        addresses: Sequence[IPv4Address],
        clock: IReactorTime,
    ) -> None:
        """`vlservers` are (how to name it in the log, client)."""
        self._vlservers = vlservers
        self._uuid = uuid
        self._addresses = addresses
        self._clock = clock

    async def register(self) -> None:
        """Returns when a vlserver has taken the UUID and the addresses. Cancelling gives up."""
        delay = FIRST_RETRY_SECONDS
        while not await self._try_all():
            log.error("not registered with any vlserver: serving nothing, trying again in {delay:.0f} s", delay=delay)
            await deferLater(self._clock, delay)
            delay = min(2 * delay, LONGEST_RETRY_SECONDS)

    async def _try_all(self) -> bool:
        words = tuple(int(address) for address in self._addresses)
        for name, vlserver in self._vlservers:
            try:
                await vlserver.RegisterAddrs(self._uuid, 0, words)
            except Abort as refusal:
                if refusal.code == RxgenCode.RXGEN_OPCODE:
                    log.info("vlserver {name} knows no registration", name=name)
                    return True
                if refusal.code == VLError.VL_MULTIPADDR:
                    log.critical("vlserver {name}: {addresses} belong to other servers too", name=name, addresses=words)
                else:
                    log.error("vlserver {name} refuses: {code}", name=name, code=describe(refusal.code))
            except RxError as problem:
                log.warn("vlserver {name} does not answer: {problem}", name=name, problem=problem)
            else:
                log.info("registered with vlserver {name} as {uuid}", name=name, uuid=self._uuid)
                return True
        return False
