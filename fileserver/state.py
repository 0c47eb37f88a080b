"""Hosts and promises over a clean restart: a note on each partition, so that clients notice nothing.

A note is taken, and with that gone, before it is believed; so a crash, which leaves none, never brings an old one back
(dafs.md section 10). Restored hosts are asked who they are at their first call, as at every new connection, but not
told that their promises are void.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from twisted.logger import Logger

from fileserver.callbacks import Callbacks, Fid, Kind, Promise
from fileserver.channel import Address, CallbackChannel
from fileserver.hosts import Host, Hosts
from fileserver.interfaces import IPartition, StoreError

NOTE = "host-state"
VERSION = 1

AGE_LIMIT = 1800
"""Seconds after which a note is worth nothing: clients have asked for everything anew (HOST_STATE_VALID_WINDOW)."""

FUTURE_LIMIT = 300
"""A note from further in the future than clocks are ever wrong by is not believed either."""

log = Logger(namespace="fileserver.state")


class HostState:
    """Saves and restores for one server. `find` says on which partition a volume is."""

    def __init__(
        self,
        server: UUID,
        hosts: Hosts,
        callbacks: Callbacks[Host],
        channel: CallbackChannel,
        find: Callable[[int], UUID | None],
        now: Callable[[], float],
    ) -> None:
        self._server = server
        self._hosts = hosts
        self._callbacks = callbacks
        self._channel = channel
        self._find = find
        self._now = now

    async def save(self, partition: IPartition) -> None:
        """Leave a note on a partition whose volumes are offline; without one its clients are reset later."""
        note = save(partition, self._find, self._server, self._now(), self._hosts, self._callbacks, self._channel)
        try:
            await partition.save_note(NOTE, note)
        except (OSError, StoreError) as problem:
            log.error("host state not saved on {partition}: {problem}", partition=partition.name, problem=problem)

    async def restore(self, partitions: Iterable[IPartition], *, believe: bool = True) -> None:
        """Take the notes of partitions that appeared together, and what they say unless not to `believe` it. Called
        before any of their volumes is served.
        """
        usable: dict[UUID, list[SavedHost]] = {}
        for partition in partitions:
            try:
                note = await partition.take_note(NOTE)
                if note is not None and believe:
                    usable[partition.uuid] = load(note, self._server, self._now())
            except (OSError, StoreError, StateRefused) as problem:
                log.warn("host state on {partition} not used: {problem}", partition=partition.name, problem=problem)
        count = restore(usable, self._now(), self._hosts, self._callbacks, self._channel)
        log.info("{count} promises to {hosts} hosts restored", count=count, hosts=len(self._hosts))


class StateRefused(Exception):
    """A note that is not to be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SavedHost:
    """What is kept of a host. `partitions` are all those it had promises on: without their notes, too, it does not know
    what it is owed.
    """

    address: Address
    local: Address | None
    uuid: UUID | None
    interfaces: tuple[str, ...]
    addresses: tuple[Address, ...]
    error_translation: bool
    down: bool
    last_call: float
    last_active: float
    partitions: frozenset[UUID]
    promises: tuple[tuple[Fid, Kind, int], ...]
    """(fid, kind, bucket)."""


def save(
    partition: IPartition,
    find: Callable[[int], UUID | None],
    server: UUID,
    now: float,
    hosts: Hosts,
    callbacks: Callbacks[Host],
    channel: CallbackChannel,
) -> bytes:
    """The note for a partition: hosts with promises on it, and those without any. `find` says on which partition a
    volume is.

    Hosts that are being told something this moment, or would have to be reset, are left out: they are reset when they
    call.
    """
    saved = []
    for host in hosts:
        if not host.settled:
            continue
        promises: dict[UUID | None, list[Promise[Host]]] = defaultdict(list)
        for promise in callbacks.promises(host):
            promises[find(promise.fid[0])].append(promise)
        if promises and partition.uuid not in promises:
            continue
        here = promises.get(partition.uuid, [])
        saved.append(
            {
                "address": host.address,
                "local": channel.route(host.address),
                "uuid": str(host.uuid) if host.uuid is not None else None,
                "interfaces": host.interfaces,
                "addresses": list(host.addresses),
                "error_translation": host.error_translation,
                "down": host.down,
                "last_call": host.last_call,
                "last_active": host.last_active,
                "partitions": [str(uuid) for uuid in promises if uuid is not None],
                "promises": [[*promise.fid, promise.kind, promise.bucket] for promise in here],
            }
        )
    body = json.dumps({"server": str(server), "saved": now, "hosts": saved}, separators=(",", ":")).encode()
    return b"txafs-state %d %s\n" % (VERSION, sha256(body).hexdigest().encode()) + body


def load(data: bytes, server: UUID, now: float) -> list[SavedHost]:
    """The hosts in a note. Raises StateRefused when it is another server's, too old, or not whole."""
    head, _, body = data.partition(b"\n")
    if head.split(b" ")[:2] != [b"txafs-state", b"%d" % VERSION]:
        raise StateRefused(f"it begins with {head[:40]!r}")
    if head.split(b" ")[2:] != [sha256(body).hexdigest().encode()]:
        raise StateRefused("its checksum is wrong")
    values = json.loads(body)
    if values["server"] != str(server):
        raise StateRefused(f"it is of server {values['server']}")
    age = now - values["saved"]
    if not -FUTURE_LIMIT <= age <= AGE_LIMIT:
        raise StateRefused(f"it is {age:.0f} s old")
    return [_saved_host(each) for each in values["hosts"]]


def restore(
    notes: Mapping[UUID, Iterable[SavedHost]],
    now: float,
    hosts: Hosts,
    callbacks: Callbacks[Host],
    channel: CallbackChannel,
) -> int:
    """Take in what `notes` say, by partition. Returns how many promises there are again.

    A host that had promises on a partition whose note is not here stays unknown, and is reset when it calls.
    """
    restored = 0
    for saved in [host for each in notes.values() for host in each]:
        if not saved.partitions <= notes.keys():
            continue
        host = hosts.adopt(saved.address, saved.uuid, saved.addresses, now)
        if host is not None:
            _know(host, saved, channel)
        else:
            host = hosts.same(saved.address, saved.uuid)
            if host is None or not host.settled:
                continue
        for fid, kind, bucket in saved.promises:
            restored += callbacks.restore(fid, host, kind, bucket)
            host.owed |= kind is Kind.DELAYED
    callbacks.expire(now)
    return restored


def _know(host: Host, saved: SavedHost, channel: CallbackChannel) -> None:
    host.interfaces, host.error_translation, host.down = saved.interfaces, saved.error_translation, saved.down
    host.last_call, host.last_active = saved.last_call, saved.last_active
    if saved.local is not None:
        channel.heard(saved.address, saved.local)


def _saved_host(values: dict[str, Any]) -> SavedHost:
    return SavedHost(
        address=_address(values["address"]),
        local=_address(values["local"]) if values["local"] is not None else None,
        uuid=UUID(values["uuid"]) if values["uuid"] is not None else None,
        interfaces=tuple(values["interfaces"]),
        addresses=tuple(map(_address, values["addresses"])),
        error_translation=values["error_translation"],
        down=values["down"],
        last_call=values["last_call"],
        last_active=values["last_active"],
        partitions=frozenset(map(UUID, values["partitions"])),
        promises=tuple(((v, n, u), Kind(kind), bucket) for v, n, u, kind, bucket in values["promises"]),
    )


def _address(pair: list[Any]) -> Address:
    return pair[0], pair[1]
