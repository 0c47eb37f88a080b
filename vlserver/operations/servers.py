"""Servers: named by an address in an entry, registered by UUID, changed and removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from afs.errors import VLError
from afs.rpc.vl import VLADDR_INDEX, VLADDR_IPADDR, VLADDR_UUID
from afs.types import NIL_UUID
from rx.errors import Abort
from vlserver.interfaces import ITransaction
from vlserver.operations.places import is_used
from vlserver.schema import SERVER_ADDRESSES, SERVER_RECORDS, SERVER_SLOTS, Server

REMOVE = 0xFFFFFFFF
"""ChangeAddr's first address that asks to remove the server with the second."""

RECORDS_PER_BLOCK = 63
"""Server records in an extension block of a stock database, beside its header (VL_MHSRV_PERBLK less one)."""

_POINTER = 0xFF000000
"""A slot word of this top byte is not an address but points to a server's record: no address may begin with it."""

RETIRED_UNIQUIFIER = "uniquifier of record %d"
"""The setting that keeps a removed server's uniquifier for the next of its record, so that clients see it change."""


def is_address(address: int) -> bool:
    """Whether a server can be named by this address."""
    return address != 0 and address & _POINTER != _POINTER


def server_named(transaction: ITransaction, address: int) -> Server:
    """The server with this address, as entries name it; an unknown one is added. Raises VL_BADSERVER."""
    found = transaction.server_at(address)
    if found is not None:
        return found
    slot = _free_slot(transaction)
    if slot is None or not is_address(address):
        raise Abort(VLError.VL_BADSERVER)
    server = Server(slot, (address,))
    transaction.put_server(server)
    return server


def register(transaction: ITransaction, uuid: UUID, words: Sequence[int]) -> None:
    """RegisterAddrs (vldb.md section 6, steps a to f). Addresses beyond the fifteenth are left out, as stock does."""
    addresses = tuple(dict.fromkeys(word for word in words if word))[:SERVER_ADDRESSES]
    if not addresses:
        raise Abort(VLError.VL_INDEXERANGE)
    if uuid == NIL_UUID:
        raise Abort(VLError.VL_BADENTRY)  # stock takes it, and then has a record that counts as free
    servers = transaction.servers()
    own = next((server for server in servers if server.uuid == uuid), None)
    changed = [server for server in servers if server is not own and set(server.addresses) & set(addresses)]
    replaced = [server for server in changed if server.uuid is None or set(server.addresses) <= set(addresses)]
    if (own and replaced) or (own is None and len(changed) > 1):
        raise Abort(VLError.VL_MULTIPADDR)
    if own and own.addresses == addresses:
        return
    target = own or next(iter(changed), None) or _new_server(transaction)
    for server in changed:
        if server is not target:
            kept = tuple(address for address in server.addresses if address not in addresses)
            transaction.put_server(replace(server, addresses=kept, uniquifier=server.uniquifier + 1))
    if target.record is None:
        target = _with_record(transaction, target, servers)
    transaction.put_server(replace(target, uuid=uuid, addresses=addresses, uniquifier=target.uniquifier + 1))


def _new_server(transaction: ITransaction) -> Server:
    slot = _free_slot(transaction)
    if slot is None:
        raise Abort(VLError.VL_REPSFULL)
    return Server(slot, ())


def _with_record(transaction: ITransaction, server: Server, servers: Iterable[Server]) -> Server:
    """The server with the lowest free record number, and the uniquifier that record had last."""
    used = {each.record for each in servers}
    record = next((number for number in range(SERVER_RECORDS) if number not in used), None)
    if record is None:
        raise Abort(VLError.VL_REPSFULL)
    return replace(server, record=record, uniquifier=transaction.setting(RETIRED_UNIQUIFIER % record) or 0)


def _free_slot(transaction: ITransaction) -> int | None:
    used = {server.slot for server in transaction.servers()}
    return next((slot for slot in range(SERVER_SLOTS) if slot not in used), None)


def change_address(transaction: ITransaction, old: int, new: int) -> None:
    """ChangeAddr: a single-homed server's address, or the removal of a server that no entry names."""
    if new & _POINTER == _POINTER:
        raise Abort(VLError.VL_BADSERVER)
    if old == REMOVE:
        old, new = new, 0
    server = transaction.server_at(old)
    if server is None:
        raise Abort(VLError.VL_NOENT)
    if new == 0:
        _remove(transaction, server)
        return
    other = transaction.server_at(new)
    if other is not None and other.slot != server.slot:
        raise Abort(VLError.VL_MULTIPADDR)
    if server.uuid is not None:
        raise Abort(VLError.VL_NOENT)
    transaction.put_server(replace(server, addresses=(new,)))


def _remove(transaction: ITransaction, server: Server) -> None:
    if is_used(transaction, server.slot):
        raise Abort(VLError.VL_IDEXIST)
    for definition in transaction.definitions_on(server.slot):
        transaction.remove_definition(definition.partition, server.slot)
    for partition in transaction.partitions():
        if server.slot not in (partition.owner, partition.last_owner):
            continue
        if partition.implicit and not transaction.volumes_on(partition.uuid, 0, 1):
            transaction.remove_partition(partition.uuid)
        else:
            owner = None if partition.owner == server.slot else partition.owner
            last_owner = None if partition.last_owner == server.slot else partition.last_owner
            transaction.put_partition(replace(partition, owner=owner, last_owner=last_owner))
    if server.record is not None:
        transaction.set_setting(RETIRED_UNIQUIFIER % server.record, server.uniquifier)
    transaction.remove_server(server.slot)


def uniquifiers(transaction: ITransaction) -> dict[int, int]:
    """By record, every one that has ever been used: that of the server there, or the last one's."""
    settings = transaction.settings()
    named = {record: RETIRED_UNIQUIFIER % record for record in range(SERVER_RECORDS)}
    found = {record: settings[name] for record, name in named.items() if name in settings}
    return found | {each.record: each.uniquifier for each in transaction.servers() if each.record is not None}


def slot_words(transaction: ITransaction) -> list[int]:
    """GetAddrs: what each slot holds, in order: an address, or for a server with a UUID a pointer to its record."""
    return [_word(server) for server in transaction.servers()]


def _word(server: Server) -> int:
    if server.record is None:
        return server.addresses[0]
    block, index = divmod(server.record, RECORDS_PER_BLOCK)
    return _POINTER | block << 16 | index + 1


def registered(transaction: ITransaction, mask: int, address: int, index: int, uuid: UUID) -> Server:
    """GetAddrsU: the server with a UUID that has this address, or is in slot `index` - 1, or has this UUID."""
    found: Server | None
    match mask & (VLADDR_IPADDR | VLADDR_INDEX | VLADDR_UUID):
        case 0x1:
            found = transaction.server_at(address)
        case 0x2:
            if not 1 <= index < SERVER_SLOTS:
                raise Abort(VLError.VL_INDEXERANGE)
            found = transaction.server(index - 1)
        case 0x4:
            found = next((server for server in transaction.servers() if server.uuid == uuid), None)
        case _:
            raise Abort(VLError.VL_BADMASK)
    if found is None or found.uuid is None:
        raise Abort(VLError.VL_NOENT)
    return found
