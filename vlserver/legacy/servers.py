"""The servers of a vldb.DB0: the header's words and the records in its extension blocks."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from afs.types import NIL_UUID
from vlserver.legacy.layout import (
    BLOCK_HEADER,
    BLOCK_RECORDS,
    BLOCK_SIZE,
    FLAGS_AT,
    HEADER,
    POINTER,
    RECORD,
    RECORD_SIZE,
    SERVERS_AT,
    UBIK_SIZE,
)
from vlserver.operations.servers import RECORDS_PER_BLOCK, RETIRED_UNIQUIFIER
from vlserver.schema import Server
from xdr.codec import XdrError


class DamagedFile(Exception):
    """What is wrong with a file, and at which of its bytes."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"offset {offset} (0x{offset:x}): {reason}")
        self.offset = offset
        self.reason = reason


class StoredServers:
    """`servers` by slot, the `settings` that go with them, and where the extension blocks are. Raises DamagedFile."""

    def __init__(self, data: memoryview, header: Any) -> None:
        self._data = data
        self._header = header
        self.settings: dict[str, int] = {}
        self.blocks = self._block_offsets()
        self.servers = self._servers()

    def _block_offsets(self) -> list[int]:
        """Where the extension blocks are, in the order of their numbers."""
        first = self._header.blocks
        if not first:
            return []
        listed = self._block_header(first, "the header's link to the first extension block").blocks
        if listed[0] != first:
            raise DamagedFile(first + UBIK_SIZE + 16, f"the first extension block says it is at {listed[0]}")
        used = [offset for offset in listed if offset]
        if list(listed[: len(used)]) != used or sorted(set(used)) != used:
            raise DamagedFile(first + UBIK_SIZE + 16, f"the extension blocks are not one behind the other: {listed}")
        for offset in used[1:]:
            self._block_header(offset, "a link to an extension block")
        return used

    def _block_header(self, offset: int, what: str) -> Any:
        if not HEADER.size <= offset <= self._header.end - BLOCK_SIZE:
            raise DamagedFile(UBIK_SIZE + HEADER.size - 4, f"{what} points to {offset}, outside the entries")
        try:
            return BLOCK_HEADER.unpack(self._data, offset + UBIK_SIZE)
        except XdrError as problem:
            raise DamagedFile(offset + UBIK_SIZE + FLAGS_AT, f"no extension block: {problem}") from problem

    def _servers(self) -> list[Server]:
        servers: list[Server] = []
        known: dict[object, int] = {}
        for slot, word in enumerate(self._header.servers):
            at = UBIK_SIZE + SERVERS_AT + 4 * slot
            if not word:
                continue
            server = self._multihomed(slot, word, at) if word & POINTER == POINTER else Server(slot, (word,))
            for what in (
                *server.addresses,
                server.uuid or (),
                () if server.record is None else ("record", server.record),
            ):
                if what and known.setdefault(what, slot) != slot:
                    raise DamagedFile(at, f"servers {known[what]} and {slot} share {_shown(what)}")
            if len(set(server.addresses)) != len(server.addresses):
                raise DamagedFile(at, f"server {slot} has an address twice")
            servers.append(server)
        self._check_unused_records({server.record for server in servers})
        return servers

    def _multihomed(self, slot: int, word: int, at: int) -> Server:
        block, index = word >> 16 & 0xFF, word & 0xFFFF
        if block >= len(self.blocks) or not 1 <= index < BLOCK_RECORDS:
            raise DamagedFile(at, f"server {slot} points to record {index} of extension block {block}: there is none")
        record = RECORD.unpack(self._data, self._record_at(block, index))
        uuid = UUID(bytes=record.uuid)
        if uuid == NIL_UUID:
            raise DamagedFile(self._record_at(block, index), f"server {slot} has an empty record")
        addresses = tuple(address for address in record.addresses if address)
        return Server(slot, addresses, uuid, block * RECORDS_PER_BLOCK + index - 1, record.uniquifier)

    def _check_unused_records(self, used: set[int | None]) -> None:
        """The uniquifier of a record without a server is kept for its next one."""
        for number in range(len(self.blocks) * RECORDS_PER_BLOCK):
            if number in used:
                continue
            block, index = divmod(number, RECORDS_PER_BLOCK)
            at = self._record_at(block, index + 1)
            record = RECORD.unpack(self._data, at)
            if UUID(bytes=record.uuid) != NIL_UUID:
                raise DamagedFile(at, f"a record of the server {UUID(bytes=record.uuid)}, to which no server points")
            if record.uniquifier:
                self.settings[RETIRED_UNIQUIFIER % number] = record.uniquifier

    def _record_at(self, block: int, index: int) -> int:
        return self.blocks[block] + UBIK_SIZE + index * RECORD_SIZE


def _shown(what: object) -> str:
    return f"the address {IPv4Address(what)}" if isinstance(what, int) else str(what)
