"""Callback promises: which host was promised to be told about which file, and until when.

Pure bookkeeping, told the time. Who a host is and how a message reaches it is `hosts.py` and `breaks.py`; when one is
made or broken is the procedures' business. Numbers are those of `viced/callback.c`, fileserver.md section 2.

A promise is taken out of the table *while the vnode is locked* and its message sent afterwards: whoever reads the file
in between gets the new status and a new promise, so a late message costs a fetch and never coherence.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeAlias, TypeVar

H = TypeVar("H", bound=Hashable)
"""Whatever stands for a host."""

Fid: TypeAlias = tuple[int, int, int]
"""(volume, vnode, uniquifier): what promises are keyed by. (volume, 0, 0) is a whole read-only volume."""

PROMISE_LIMIT = 60_000
"""Promises kept before idle hosts are asked to forget theirs: OpenAFS's default `-cb`."""

PROMISE_EXCESS = 6_000
"""Above PROMISE_LIMIT by this much no promise is made: room for what is granted while idle hosts are being told."""

SERVER_BIAS = 180
"""Seconds a promise is kept here longer than the client believes, so that clocks and delays never favour staleness."""

BUCKET_SECONDS = 128
"""Expiry is rounded up to this, and promises are dropped a bucket at a time."""

BULK_HOLDERS = 22
"""A bulk status counts this many holders more: most of what it promises is never looked at again."""

VOLUME_SECONDS = 7200
"""Lifetime of the one promise for a read-only volume."""

LIFETIMES = ((8, 4 * 3600), (16, 3600), (24, 1800), (40, 900), (64, 600))
"""(holders below, seconds): the more hosts share a file, the shorter the promise."""

SHORTEST_SECONDS = 7 * 60
"""Lifetime for a file that 64 hosts or more hold."""


class Kind(IntEnum):
    """State of a promise, numbered as OpenAFS's CB_NORMAL ... CB_BULK."""

    NORMAL = 1
    DELAYED = 2
    VOLUME = 3
    BULK = 4


def lifetime(holders: int) -> int:
    """Seconds a promise lasts for a file with `holders` promises already out."""
    for below, seconds in LIFETIMES:
        if holders < below:
            return seconds
    return SHORTEST_SECONDS


@dataclass(slots=True, eq=False)
class Promise(Generic[H]):
    """One host's promise for one fid. `bucket` is its expiry in BUCKET_SECONDS; `serial` rises with every renewal."""

    fid: Fid
    host: H
    kind: Kind
    bucket: int
    serial: int


@dataclass(slots=True)
class Counters:
    """What xstat collection 3 reports (DeleteFiles, DeleteCallBacks, ... there)."""

    delete_files: int = 0
    delete_callbacks: int = 0
    break_callbacks: int = 0
    add_callbacks: int = 0
    got_some_spaces: int = 0
    delete_all_callbacks: int = 0
    callbacks_timed_out: int = 0


@dataclass(slots=True)
class Callbacks(Generic[H]):
    """All promises of this server, found by file, by host and by expiry."""

    limit: int = PROMISE_LIMIT
    excess: int = PROMISE_EXCESS
    count: int = 0
    counters: Counters = field(default_factory=Counters)
    _volumes: dict[int, dict[Fid, dict[H, Promise[H]]]] = field(default_factory=dict)
    _hosts: dict[H, dict[Fid, Promise[H]]] = field(default_factory=dict)
    _buckets: dict[int, dict[Promise[H], None]] = field(default_factory=dict)
    _serial: int = 0

    @property
    def crowded(self) -> bool:
        """More promises than wanted: the longest idle host should be asked to forget its own."""
        return self.count > self.limit

    @property
    def files(self) -> int:
        """How many fids have promises."""
        return sum(map(len, self._volumes.values()))

    def grant(self, fid: Fid, host: H, kind: Kind, now: float) -> int:
        """Promise `host` to tell it about `fid`; returns the ExpirationTime to send, in seconds from now.

        0 means that no promise was made because the table is full. A promise still DELAYED stays so: the client has yet
        to be told of the change before.
        """
        self.counters.add_callbacks += 1
        holders = self._holders(fid)
        if kind is Kind.VOLUME:
            seconds = VOLUME_SECONDS
        else:
            seconds = lifetime(len(holders) + (BULK_HOLDERS if kind is Kind.BULK else 0))
        moment = int(now)
        bucket = -(-(moment + seconds + SERVER_BIAS) // BUCKET_SECONDS)
        promise = holders.get(host)
        if promise is not None:
            self._renew(promise, kind, bucket)
        elif self.count >= self.limit + self.excess:
            return 0
        else:
            self._insert(fid, host, kind, bucket)
        return bucket * BUCKET_SECONDS - SERVER_BIAS - moment

    def take(self, fid: Fid, *, spare: H | None = None) -> list[H]:
        """Remove the promises for `fid` and return whom to tell; `spare`'s own and those already DELAYED stay."""
        self.counters.break_callbacks += 1
        told = [p for p in self._holders(fid).values() if p.host != spare and p.kind is not Kind.DELAYED]
        for promise in told:
            self._remove(promise)
        return [promise.host for promise in told]

    def delay(self, fid: Fid, host: H, now: float) -> None:
        """The message for `fid` did not reach `host`: keep it to be delivered before the host's next call."""
        promise = self._holders(fid).get(host)
        if promise is None:
            bucket = -(-(int(now) + LIFETIMES[0][1] + SERVER_BIAS) // BUCKET_SECONDS)
            self._insert(fid, host, Kind.DELAYED, bucket)
        else:
            promise.kind = Kind.DELAYED

    def delay_volume(self, volume: int) -> list[H]:
        """Mark every promise of a volume DELAYED; returns the hosts to be told."""
        hosts: dict[H, None] = {}
        for holders in self._volumes.get(volume, {}).values():
            for promise in holders.values():
                promise.kind = Kind.DELAYED
                hosts[promise.host] = None
        return list(hosts)

    def take_volume(self, volume: int, host: H) -> None:
        """`host` has heard that all of `volume` changed: nothing of it is promised any more."""
        held = self._volumes.get(volume, {}).values()
        for promise in [holders[host] for holders in held if host in holders]:
            self._remove(promise)

    def take_delayed(self, host: H, most: int) -> list[Fid]:
        """Up to `most` fids whose message is still owed to `host`; they are removed."""
        owed: list[Promise[H]] = []
        for promise in self._hosts.get(host, {}).values():
            if promise.kind is Kind.DELAYED:
                owed.append(promise)
                if len(owed) == most:
                    break
        for promise in owed:
            self._remove(promise)
        return [promise.fid for promise in owed]

    def give_up(self, fid: Fid, host: H) -> None:
        """`host` does not want to be told about `fid` any more."""
        self.counters.delete_callbacks += 1
        promise = self._holders(fid).get(host)
        if promise is not None:
            self._remove(promise)

    def forget_file(self, fid: Fid) -> None:
        """The file is gone: nobody can ask for it, so nobody is told."""
        self.counters.delete_files += 1
        for promise in list(self._holders(fid).values()):
            self._remove(promise)

    def forget_host(self, host: H, *, until: int | None = None) -> None:
        """Drop the host's promises: all, or those last renewed no later than `mark()` said `until`."""
        self.counters.delete_all_callbacks += 1
        for promise in list(self._hosts.get(host, {}).values()):
            if until is None or promise.serial <= until:
                self._remove(promise)

    def mark(self) -> int:
        """A point in the order of grants, for `forget_host`."""
        return self._serial

    def restore(self, fid: Fid, host: H, kind: Kind, bucket: int) -> bool:
        """A promise made before the server restarted. False when there is one already, or no room."""
        if host in self._holders(fid) or self.count >= self.limit + self.excess:
            return False
        self._insert(fid, host, kind, bucket)
        return True

    def expire(self, now: float) -> int:
        """Drop what has run out; returns how many. Clients dropped theirs SERVER_BIAS seconds ago."""
        current = int(now) // BUCKET_SECONDS
        ended = [promise for number in self._buckets if number <= current for promise in self._buckets[number]]
        for promise in ended:
            self._remove(promise)
        self.counters.callbacks_timed_out += len(ended)
        return len(ended)

    def volumes(self) -> list[int]:
        """The volumes for anything in which there are promises."""
        return list(self._volumes)

    def holders_of(self, volume: int) -> set[H]:
        """The hosts with promises for anything in a volume."""
        return {host for holders in self._volumes.get(volume, {}).values() for host in holders}

    def held_by(self, host: H) -> int:
        """How many promises the host has."""
        return len(self._hosts.get(host, ()))

    def promises(self, host: H | None = None) -> Iterator[Promise[H]]:
        """Everything (or one host's part), for saving and for tests."""
        tables: Iterable[dict[Fid, Promise[H]]] = self._hosts.values() if host is None else (self._hosts.get(host, {}),)
        for table in tables:
            yield from table.values()

    def _holders(self, fid: Fid) -> dict[H, Promise[H]]:
        volume = self._volumes.get(fid[0])
        return {} if volume is None else volume.get(fid, {})

    def _renew(self, promise: Promise[H], kind: Kind, bucket: int) -> None:
        self._serial += 1
        promise.serial = self._serial
        if promise.kind is not Kind.DELAYED:
            promise.kind = kind
        if bucket > promise.bucket:
            self._leave_bucket(promise)
            promise.bucket = bucket
            self._buckets.setdefault(bucket, {})[promise] = None

    def _insert(self, fid: Fid, host: H, kind: Kind, bucket: int) -> None:
        self._serial += 1
        promise = Promise(fid, host, kind, bucket, self._serial)
        self._volumes.setdefault(fid[0], {}).setdefault(fid, {})[host] = promise
        self._hosts.setdefault(host, {})[fid] = promise
        self._buckets.setdefault(bucket, {})[promise] = None
        self.count += 1

    def _remove(self, promise: Promise[H]) -> None:
        fid, host = promise.fid, promise.host
        volume = self._volumes[fid[0]]
        holders = volume[fid]
        del holders[host]
        if not holders:
            del volume[fid]
            if not volume:
                del self._volumes[fid[0]]
        mine = self._hosts[host]
        del mine[fid]
        if not mine:
            del self._hosts[host]
        self._leave_bucket(promise)
        self.count -= 1

    def _leave_bucket(self, promise: Promise[H]) -> None:
        bucket = self._buckets[promise.bucket]
        del bucket[promise]
        if not bucket:
            del self._buckets[promise.bucket]
