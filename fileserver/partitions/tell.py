"""Clients told that volumes are elsewhere, and what each is answered whose call had to wait for that.

A whole-volume break of callbacks makes an OpenAFS client ask the VLDB again at its next access, at no cost, whoever
sends it; kAFS drops its promises and finds out from the refusal (docs/protocol/client-relocation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred, gatherResults  # noqa: A004
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from afs.errors import VolumeError
from afs.types import AFSCBMAX
from fileserver.callbacks import Callbacks
from fileserver.channel import Address, CallbackChannel
from fileserver.hosts import Host
from fileserver.partitions.journal import Contact
from fileserver.volume.holding import Holder
from fileserver.volume.registry import Registry
from rx.constants import RxCode
from rx.errors import Abort, RxError

log = Logger(namespace="fileserver.partitions")

T = TypeVar("T")

TELL_SECONDS = 1.5
"""How long who gives a partition up waits for any of its clients, all told at once. A client that lives answers within
milliseconds, or after the first packet was sent again (1.2 s). Who has not answered is left to the next owner.
"""

PATIENCE_SECONDS = 6.0
"""The same for whoever has the partition now, whom nobody waits for: several packets may be lost."""

TELL_VOLUMES = 500
"""To a client that used more volumes than this one message says that everything is void: ten of the others."""


class Teller:
    """Speaks for one server."""

    def __init__(
        self, channel: CallbackChannel, callbacks: Callbacks[Host], now: Callable[[], float], clock: IReactorTime
    ) -> None:
        self._channel = channel
        self._callbacks = callbacks
        self._now = now
        self._clock = clock

    def hosts(self, registry: Registry, number: int) -> dict[Host, set[int]]:
        """Who is to be told about the volumes of a partition: whoever used them, and whoever has a promise, which may
        be older than this process; in an order that is the same whenever all else is.
        """
        found: dict[Host, set[int]] = {}
        uses = [(volume.id, host) for volume in registry.used(number) for host in volume.clients()]
        promised = [volume_id for volume_id in self._callbacks.volumes() if registry.has(number, volume_id)]
        holders = [(volume_id, host) for volume_id in promised for host in self._callbacks.holders_of(volume_id)]
        for volume_id, host in (*uses, *holders):
            if isinstance(host, Host) and not host.deleted:
                found.setdefault(host, set()).add(volume_id)
        return dict(sorted(found.items(), key=lambda item: item[0].address))

    async def tell_host(self, host: Host, volume_ids: Iterable[int]) -> bool:
        """Tell a host we know, whose promises for these volumes are void from now on. Whether it heard; if not, it does
        before its next call. Takes TELL_SECONDS at most.
        """
        ids = sorted(volume_ids)
        for volume_id in ids:
            self._callbacks.take_volume(volume_id, host)
        heard = await self._tell(host.address, host.uuid, ids, TELL_SECONDS)
        if not heard and not host.deleted:
            for volume_id in ids:
                self._callbacks.delay((volume_id, 0, 0), host, self._now())
            host.down = True
        return heard

    async def tell_contact(self, contact: Contact) -> bool:
        """Tell a client that another server knew; one without volumes, that everything is void. Whether it heard."""
        return await self._tell(contact.address, contact.uuid, sorted(contact.volumes), PATIENCE_SECONDS)

    async def _tell(self, address: Address, uuid: UUID | None, ids: Sequence[int], seconds: float) -> bool:
        """Say that these volumes, or with none named all, are to be looked for anew. Whether it was heard in time."""
        try:
            await self._within(seconds, self._say(address, uuid, ids))
        except (RxError, TimeoutError) as problem:
            log.warn(
                "client {address} was not told of {count} volumes: {why}",
                address=address,
                count=len(ids),
                why=problem if isinstance(problem, RxError) else f"no answer in {seconds} s",
            )
            return False
        return True

    async def _say(self, address: Address, uuid: UUID | None, ids: Sequence[int]) -> None:
        if not 0 < len(ids) <= TELL_VOLUMES:
            await self._channel.reset(address, has_uuid=uuid is not None)
            return
        for start in range(0, len(ids), AFSCBMAX):
            fids = [(volume_id, 0, 0) for volume_id in ids[start : start + AFSCBMAX]]
            await self._channel.tell(address, fids)

    async def retry_code(self, host: Host) -> int:
        """With what a call is refused that this client is to make again, elsewhere, at once.

        An OpenAFS client sleeps 2 s after VMOVED, and repeats a call that ended with RX_MSGSIZE without sleeping,
        looking up the volume first if it was told so (afs_analyze.c). For others that code means failure.
        """
        try:
            is_openafs = await self._within(TELL_SECONDS, self._channel.is_openafs(host.address))
        except (RxError, TimeoutError):
            return VolumeError.VMOVED
        return RxCode.RX_MSGSIZE if is_openafs else VolumeError.VMOVED

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Raises TimeoutError."""
        return await ensureDeferred(work).addTimeout(seconds, self._clock)


class Told:
    """The telling of one move: each client's own, so that nobody waits for another."""

    def __init__(self, teller: Teller, hosts: dict[Host, set[int]]) -> None:
        self._teller = teller
        self._hosts = hosts
        self._codes: dict[Host, int] = {}
        self._waiting: dict[Host, list[Deferred[int]]] = {}

    def __len__(self) -> int:
        """The hosts."""
        return len(self._hosts)

    def volumes(self, host: Host) -> set[int]:
        """What this host is told about."""
        return self._hosts[host]

    async def everybody(self) -> list[Host]:
        """Tell all hosts, at once; returns those that did not hear in time."""
        telling = [ensureDeferred(self._tell(host, ids)) for host, ids in self._hosts.items()]
        heard = await gatherResults(telling, consumeErrors=True)
        return [host for host, did in zip(self._hosts, heard, strict=True) if not did]

    async def refusal(self, holder: Holder) -> Abort:
        """For a call that was held, as soon as its client has heard or is known not to."""
        host = holder.host
        if not isinstance(host, Host):
            return Abort(VolumeError.VMOVED)
        code = self._codes.get(host)
        if code is None and host in self._hosts:
            waiter: Deferred[int] = Deferred(lambda waiter: self._waiting[host].remove(waiter))
            self._waiting.setdefault(host, []).append(waiter)
            code = await waiter
        return Abort(code if code is not None else VolumeError.VMOVED)

    async def _tell(self, host: Host, ids: set[int]) -> bool:
        heard = await self._teller.tell_host(host, ids)
        self._codes[host] = await self._teller.retry_code(host) if heard else VolumeError.VMOVED
        for waiter in self._waiting.pop(host, []):
            waiter.callback(self._codes[host])
        return heard
