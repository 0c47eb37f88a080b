"""Who the clients are: a host is a cache manager, known by its UUID and reached at the addresses it calls from.

Identification only; promises and messages about them are `callbacks.py` and `breaks.py`. The rules are fileserver.md
section 3 (`viced/host.c`, h_GetHost_r). Waiting for one client never holds up another: nothing here is locked but the
address asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from afs.errors import VolumeError
from afs.types import CLIENT_CAPABILITY_ERRORTRANS
from fileserver.callbacks import Callbacks
from fileserver.channel import Address, CallbackChannel, Introduction
from rx.errors import Abort, RxError

HOST_LIMIT = 20_000
"""Hosts remembered. Each costs about a kilobyte, and a new one the question who it is; idle ones without promises go
first.
"""

HOST_SPARE = 1_000
"""How many are forgotten at once when the limit is reached, so that looking for idle ones stays rare."""

WAITING_LIMIT = 64
"""Calls from one address that may wait for it to say who it is; more are answered VBUSY, as OpenAFS's thread quota
does.
"""

log = Logger()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Host:
    """One cache manager. Times are Unix seconds; `last_active` leaves out GetTime and its like.

    `down` (VENUSDOWN): the last message did not arrive. `owed` (HFE_LATER): messages wait for its next call.
    `reset_done` (RESETDONE): it knows that promises older than our acquaintance are void. `telling`: messages it
    is being sent, or about to be, of promises already taken out.
    """

    address: Address
    uuid: UUID | None = None
    interfaces: tuple[str, ...] = ()
    addresses: dict[Address, None] = field(default_factory=dict)
    identified: bool = False
    reset_done: bool = False
    down: bool = False
    owed: bool = False
    deleted: bool = False
    error_translation: bool = False
    last_call: float = 0.0
    last_active: float = 0.0
    introduced: int = 0
    telling: int = 0
    messages: DeferredLock = field(default_factory=DeferredLock)

    def __post_init__(self) -> None:
        self.addresses[self.address] = None

    def __repr__(self) -> str:
        return f"<Host {self.address[0]}:{self.address[1]} {self.uuid or 'no uuid'}>"

    @property
    def settled(self) -> bool:
        """We know who it is and all that it is owed."""
        return self.identified and self.reset_done and not (self.telling or self.messages.locked or self.deleted)

    def others(self) -> list[Address]:
        """Where else it might be reached: addresses it called from, then its interfaces on the same port."""
        guesses = dict.fromkeys([*self.addresses, *((ip, self.address[1]) for ip in self.interfaces)])
        guesses.pop(self.address, None)
        return list(guesses)


@dataclass(slots=True)
class _Meeting:
    """Calls from one address waiting to learn who it is."""

    lock: DeferredLock = field(default_factory=DeferredLock)
    waiting: int = 0


class Hosts:
    """Every host this server knows, by address and by UUID."""

    def __init__(self, channel: CallbackChannel, callbacks: Callbacks[Host], limit: int = HOST_LIMIT) -> None:
        self._channel = channel
        self._callbacks = callbacks
        self._limit = limit
        self._by_address: dict[Address, Host] = {}
        self._by_uuid: dict[UUID, Host] = {}
        self._hosts: dict[Host, None] = {}
        self._meetings: dict[Address, _Meeting] = {}
        self._introductions = 0

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(list(self._hosts))

    def at(self, address: Address) -> Host | None:
        """The host known at an address."""
        return self._by_address.get(address)

    async def identify(self, address: Address, local: Address, now: float) -> Host:
        """The host behind a new connection from `address` to ours, `local`: it is asked, for another may have got the
        address.

        Never raises for a silent client: the host is then `down`. Raises Abort(VBUSY) when too many calls wait already.
        """
        arrived = self._introductions
        meeting = self._meetings.setdefault(address, _Meeting())
        if meeting.waiting >= WAITING_LIMIT:
            raise Abort(VolumeError.VBUSY)
        self._channel.heard(address, local)
        meeting.waiting += 1
        try:
            async with meeting.lock:
                host = self._by_address.get(address)
                # An introduction that began after this call came tells what we would hear ourselves.
                if host is None or host.introduced <= arrived:
                    host = await self._meet(address, now)
                return host
        finally:
            meeting.waiting -= 1
            if not meeting.waiting:
                del self._meetings[address]
                if address not in self._by_address:  # refused: there is no room
                    self._channel.close(address)

    def adopt(self, address: Address, uuid: UUID | None, addresses: Iterable[Address], now: float) -> Host | None:
        """A host that this server knew before it restarted. None when it is known, or there is no room for it."""
        if uuid in self._by_uuid or address in self._by_address or len(self._hosts) >= self._limit:
            return None
        host = self._add(address, now)
        host.uuid = uuid
        if uuid is not None:
            self._by_uuid[uuid] = host
        for other in addresses:
            if other not in self._by_address:
                self._take_address(host, other)
        host.identified = host.reset_done = True
        return host

    def same(self, address: Address, uuid: UUID | None) -> Host | None:
        """The host of that UUID, or, where there is none, the one without at that address."""
        if uuid is not None:
            return self._by_uuid.get(uuid)
        host = self._by_address.get(address)
        return host if host is not None and host.uuid is None else None

    def forget(self, host: Host) -> None:
        """Delete a host and its promises: its connections will be identified anew."""
        host.deleted = True
        self._callbacks.forget_host(host)
        self._hosts.pop(host, None)
        for address in list(host.addresses):
            self._drop_address(host, address)
        if host.uuid is not None and self._by_uuid.get(host.uuid) is host:
            del self._by_uuid[host.uuid]

    def move(self, host: Host, address: Address) -> None:
        """Messages go to `address` from now on."""
        self._take_address(host, address)
        host.address = address

    async def _meet(self, address: Address, now: float) -> Host:
        self._introductions += 1
        serial = self._introductions
        try:
            who = await self._channel.introduce(address)
        except RxError as error:
            host = self._silent(address, error, now)
        else:
            host = await self._introduced(address, who, now)
            host.error_translation = bool(who.capabilities & CLIENT_CAPABILITY_ERRORTRANS)
        host.introduced = serial
        return host

    def _silent(self, address: Address, error: RxError, now: float) -> Host:
        """Nobody answers there. A host that has another primary address only loses this one."""
        known = self._by_address.get(address)
        log.warn("client at {address} does not say who it is: {error}", address=address, error=error)
        if known is not None and known.address != address:
            self._drop_address(known, address)
            known = None
        host = known or self._add(address, now)
        host.down = True
        return host

    async def _introduced(self, address: Address, who: Introduction, now: float) -> Host:
        known = self._by_address.get(address)
        if known is not None and known.uuid != who.uuid:
            log.info("client at {address} is now {uuid}, was {known}", address=address, uuid=who.uuid, known=known)
            self._leave(known, address)
            known = None
        if who.uuid is not None:
            same = self._by_uuid.get(who.uuid)
            if same is not None and same.address != address:
                await self._moved(same, address)
                known = None if same.deleted else same
        if known is None:
            known = await self._welcome(address, who, now)
        known.interfaces = who.addresses
        known.identified = True
        return known

    async def _welcome(self, address: Address, who: Introduction, now: float) -> Host:
        """A host never seen: it may hold promises of an earlier life of this server, and is told they are void."""
        host = self._add(address, now)
        host.uuid = who.uuid
        if who.uuid is not None:
            self._by_uuid[who.uuid] = host
        try:
            await self._channel.reset(host.address, has_uuid=who.uuid is not None)
        except RxError as error:
            log.warn("{host} does not take its initial reset: {error}", host=host, error=error)
            host.down = True
        else:
            host.reset_done = True
        return host

    async def _moved(self, host: Host, address: Address) -> None:
        """A known client calls from another address: that becomes the primary one; the old stays only while it
        answers.
        """
        old = host.address
        self.move(host, address)
        try:
            await self._channel.probe(old, host.uuid)
        except RxError:
            if host.address != old:
                self._drop_address(host, old)

    def _leave(self, host: Host, address: Address) -> None:
        """Somebody else has this address now."""
        self._drop_address(host, address)
        if not host.addresses:
            self.forget(host)
        elif host.address == address:
            host.address = next(iter(host.addresses))

    def _add(self, address: Address, now: float) -> Host:
        if len(self._hosts) >= self._limit:
            self._make_room()
        host = Host(address, last_call=now, last_active=now)
        self._hosts[host] = None
        self._take_address(host, address)
        return host

    def _make_room(self) -> None:
        """Forget those idle for longest that hold no promise. Raises Abort(VBUSY) when there is none."""
        idle = [host for host in self._hosts if not self._callbacks.held_by(host)]
        if not idle:
            raise Abort(VolumeError.VBUSY)
        for host in sorted(idle, key=lambda host: host.last_call)[:HOST_SPARE]:
            self.forget(host)

    def _take_address(self, host: Host, address: Address) -> None:
        holder = self._by_address.get(address)
        if holder is not None and holder is not host:
            self._leave(holder, address)
        host.addresses[address] = None
        self._by_address[address] = host

    def _drop_address(self, host: Host, address: Address) -> None:
        host.addresses.pop(address, None)
        if self._by_address.get(address) is host:
            del self._by_address[address]
            self._channel.close(address)
