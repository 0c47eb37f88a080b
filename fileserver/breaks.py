"""Promises broken: the messages to the hosts that hold them, now or before a host's next call.

A procedure takes the holders under the vnode's lock (`take`) and has them told before it replies (`tell`). A host
that cannot be told is marked down and its message kept; `settle` delivers such messages when it calls again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from afs.types import AFSCBMAX, AFSFid
from fileserver.callbacks import Callbacks, Fid, Kind
from fileserver.channel import Address, CallbackChannel
from fileserver.hosts import Host, Hosts
from rx.constants import RxCode
from rx.errors import Abort, RxError

IDLE_PROBE_SECONDS = 15 * 60
"""A host with promises that has been silent this long is asked whether it is still there (`viced/host.c`)."""

FORGET_SECONDS = 2 * 3600
"""A host idle this long is told that its promises are void, and forgotten."""

MAINTENANCE_SECONDS = 5 * 60
"""How often `maintain` wants to be called."""

log = Logger()


@dataclass(frozen=True, slots=True)
class Broken:
    """Who is to be told about a fid."""

    fid: Fid
    hosts: Sequence[Host]


class Breaks:
    """The promises of one server together with the means to break them. Also what volumes call when one changes as a
    whole.
    """

    def __init__(
        self, callbacks: Callbacks[Host], hosts: Hosts, channel: CallbackChannel, now: Callable[[], float]
    ) -> None:
        self.callbacks = callbacks
        self.hosts = hosts
        self._channel = channel
        self._now = now
        self._shedding: Host | None = None
        self._background: set[Deferred[None]] = set()

    def promise(self, host: Host, fid: AFSFid, kind: Kind) -> int:
        """ExpirationTime for the reply, 0 when the host is gone or the table full."""
        if host.deleted:
            return 0
        key = (fid.Volume, 0, 0) if kind is Kind.VOLUME else (fid.Volume, fid.Vnode, fid.Unique)
        seconds = self.callbacks.grant(key, host, kind, self._now())
        if self.callbacks.crowded and self._shedding is None:
            self._shed()
        return seconds

    def take(self, fid: AFSFid, spare: Host | None) -> Broken:
        """The promises for `fid` are void from now on, but `spare`'s; those who are down keep it as a debt of ours."""
        key = (fid.Volume, fid.Vnode, fid.Unique)
        hosts = []
        for host in self.callbacks.take(key, spare=spare):
            if host.down:
                self._owe(host, key)
            else:
                host.telling += 1
                hosts.append(host)
        return Broken(key, hosts)

    async def tell(self, *broken: Broken) -> None:
        """Send what `take` collected, to all at once; returns when each has heard, or is down."""
        messages = [self._tell_host(host, one.fid) for one in broken for host in one.hosts]
        if len(messages) == 1:
            await messages[0]
        elif messages:
            await _together(messages)

    def break_volume(self, volume_id: int) -> None:
        """Everything promised of a volume is void; its holders are told in the background, each by one message."""
        for host in self.callbacks.delay_volume(volume_id):
            host.owed = True
            self._start(self._tell_volume(host, volume_id))

    async def settle(self, host: Host) -> None:
        """Before a call of a host that is down or is owed messages: deliver them. Raises Abort(-1) when it does not
        listen.
        """
        async with host.messages:
            if not (host.down or host.owed):
                return
            if await self._deliver(host):
                return
            address = await self._find(host)
            if address is not None:
                self.hosts.move(host, address)
                if await self._deliver(host):
                    return
        raise Abort(RxCode.RX_CALL_DEAD, "the client does not take callbacks")

    async def maintain(self) -> None:
        """Every MAINTENANCE_SECONDS: drop promises that ran out, look after hosts nobody has heard of."""
        now = self._now()
        self.callbacks.expire(now)
        waits: list[Coroutine[Any, Any, None]] = []
        for host in self.hosts:
            if now - host.last_call >= FORGET_SECONDS:
                waits.append(self._retire(host))
            elif now - host.last_call >= IDLE_PROBE_SECONDS and not host.down and self.callbacks.held_by(host):
                waits.append(self._check(host))
        if waits:
            await _together(waits)

    async def drain(self) -> None:
        """Wait for the messages under way in the background."""
        while self._background:
            await DeferredList(list(self._background))

    async def _tell_host(self, host: Host, fid: Fid) -> None:
        try:
            if await self._said(host, [fid]):
                return
            host.down = True
            if not host.deleted:
                log.info("{host} is down: the change of {fid} is kept for it", host=host, fid=fid)
                self._owe(host, fid)
        finally:
            host.telling -= 1

    async def _said(self, host: Host, fids: Sequence[Fid]) -> bool:
        """Whether the message arrived, at the host's address or at another of its own."""
        try:
            await self._channel.tell(host.address, fids)
        except RxError as error:
            log.info("{host} did not take a callback: {error}", host=host, error=error)
        else:
            return True
        if host.down or host.deleted:
            return False
        address = await self._find(host)
        if address is None:
            return False
        self.hosts.move(host, address)
        try:
            await self._channel.tell(address, fids)
        except RxError:
            return False
        return True

    async def _tell_volume(self, host: Host, volume_id: int) -> None:
        async with host.messages:
            if host.down or host.deleted:
                return
            # Before the message: what is promised while it travels is about the volume as it is now.
            self.callbacks.take_volume(volume_id, host)
            try:
                await self._channel.tell(host.address, [(volume_id, 0, 0)])
            except RxError as error:
                log.info("{host} did not hear that volume {id} changed: {error}", host=host, id=volume_id, error=error)
                host.down = True
                self._owe(host, (volume_id, 0, 0))

    async def _deliver(self, host: Host) -> bool:
        """Whether the host now knows all it must; else it is down, and must be reset before anything else."""
        try:
            if not host.reset_done:
                until = self.callbacks.mark()
                await self._channel.reset(host.address, has_uuid=host.uuid is not None)
                host.reset_done = True
                self.callbacks.forget_host(host, until=until)
            host.down = False
            while owed := self.callbacks.take_delayed(host, AFSCBMAX):
                await self._channel.tell(host.address, owed)
        except RxError as error:
            log.warn("{host} does not take what it is owed: {error}", host=host, error=error)
            host.down = True
            if host.reset_done:
                host.reset_done = False
                self.callbacks.forget_host(host)
            return False
        host.down = host.owed = False
        return True

    async def _find(self, host: Host) -> Address | None:
        """Another address where the same client answers."""
        for address in host.others():
            try:
                await self._channel.probe(address, host.uuid)
            except RxError:
                if self.hosts.at(address) is None:
                    self._channel.close(address)
                continue
            return address
        return None

    async def _check(self, host: Host) -> None:
        try:
            await self._channel.probe(host.address, host.uuid)
        except RxError:
            address = await self._find(host)
            if address is None:
                host.down = True
            else:
                self.hosts.move(host, address)

    async def _retire(self, host: Host) -> None:
        """Forget a host, telling it first where it may still believe something."""
        if self.callbacks.held_by(host) and not host.down:
            try:
                await self._channel.reset(host.address, has_uuid=host.uuid is not None)
            except RxError as error:
                log.info("{host} is forgotten unheard: {error}", host=host, error=error)
        if self._now() - host.last_call >= FORGET_SECONDS:
            self.hosts.forget(host)

    def _owe(self, host: Host, fid: Fid) -> None:
        self.callbacks.delay(fid, host, self._now())

    def _shed(self) -> None:
        """The table is full: the host that was idle for longest is told to forget its promises, then they go."""
        holders = [host for host in self.hosts if self.callbacks.held_by(host)]
        self._shedding = min(holders, key=lambda host: host.last_active)
        self._start(self._shed_host(self._shedding))

    async def _shed_host(self, host: Host) -> None:
        self.callbacks.counters.got_some_spaces += 1
        until = self.callbacks.mark()
        try:
            if not host.down:
                await self._channel.reset(host.address, has_uuid=host.uuid is not None)
        except RxError as error:
            log.info("{host} loses its promises unheard: {error}", host=host, error=error)
            host.down = True
        if host.down:
            host.reset_done = False
        self.callbacks.forget_host(host, until=until)
        self._shedding = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = ensureDeferred(work)
        self._background.add(task)
        task.addBoth(self._ended, task)

    def _ended(self, result: object, task: Deferred[None]) -> None:
        self._background.discard(task)
        if result is not None:
            log.error("a message to a client failed: {result}", result=result)


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at once; a bug in one does not leave the others unawaited, and is raised when all have ended."""
    for succeeded, result in await DeferredList([ensureDeferred(one) for one in work], consumeErrors=True):
        if not succeeded:
            assert isinstance(result, Failure)
            result.raiseException()
