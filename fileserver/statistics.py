"""What the server counts, and the forms in which monitors ask for it (scout, xstat_fs_test, afsmonitor).

The xstat collections are images of C structures of a 64-bit OpenAFS server (`viced/fs_stats.h`): words at fixed
places. What is not measured is zero, as in much of OpenAFS's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from afs.rpc.fs import AFS_DISKNAMESIZE, ViceDisk, ViceStatistics
from fileserver.callbacks import Callbacks
from fileserver.hosts import Host, Hosts
from fileserver.interfaces import IPartition

ACTIVE_SECONDS = 15 * 60
"""A workstation that called within this time counts as active."""

DISKS = 10
"""Disks that ViceStatistics has places for."""

PERF_WORDS = 98
NUM_PERF_CALLS, HOST_ENTRIES, HOSTS_NOT_DELETED, CLIENTS, CAPABILITY_CALLS = 0, 58, 60, 64, 69
"""Places in struct afs_PerfStats."""

OPERATIONS = (
    ("FetchData", "FetchData64"),
    ("FetchACL",),
    ("FetchStatus",),
    ("StoreData", "StoreData64"),
    ("StoreACL", "OldStoreACL"),
    ("StoreStatus",),
    ("RemoveFile",),
    ("CreateFile",),
    ("Rename",),
    ("Symlink",),
    ("Link",),
    ("MakeDir",),
    ("RemoveDir",),
    ("SetLock", "OldSetLock"),
    ("ExtendLock", "OldExtendLock"),
    ("ReleaseLock", "OldReleaseLock"),
    ("GetStatistics", "GetStatistics64"),
    ("GiveUpCallBacks", "GiveUpAllCallBacks"),
    ("GetVolumeInfo",),
    ("GetVolumeStatus",),
    ("SetVolumeStatus",),
    ("GetRootVolume",),
    ("CheckToken",),
    ("GetTime",),
    ("NGetVolumeInfo",),
    ("BulkStatus", "InlineBulkStatus"),
    ("XStatsVersion",),
    ("GetXStats",),
)
"""RPCs in the order of FS_STATS_RPCIDX, each with the forms OpenAFS counts together."""

OPERATION_WORDS = 18
"""struct fs_stats_opTimingData: numOps, numSuccesses, four timevals of 64-bit words."""

TRANSFER_WORDS = 30
"""struct fs_stats_xferData."""

EPOCH_WORDS = 4
"""A timeval."""

CALLBACK_WORDS = 16


class Statistics:
    """Counters since the server started (`started`, Unix seconds)."""

    def __init__(self, started: float) -> None:
        self.started = int(started)
        self.calls: Counter[str] = Counter()
        self.fetched_bytes = 0
        self.stored_bytes = 0
        self._perf_calls = 0

    def count(self, name: str) -> None:
        """One more call of that RPC."""
        self.calls[name] += 1

    def fetched(self, size: int) -> None:
        self.fetched_bytes += size

    def stored(self, size: int) -> None:
        self.stored_bytes += size

    def vice_statistics(
        self, partitions: Iterable[IPartition], hosts: Hosts, connections: int, now: float
    ) -> ViceStatistics:
        """GetStatistics: everything in 32 bits."""
        stations, active = _workstations(hosts, now)
        statistics = ViceStatistics(
            CurrentTime=int(now),
            StartTime=self.started,
            CurrentConnections=connections,
            TotalViceCalls=self.calls.total() & 0xFFFFFFFF,
            TotalFetchs=self._fetches & 0xFFFFFFFF,
            FetchDatas=self._sum("FetchData", "FetchData64") & 0xFFFFFFFF,
            FetchedBytes=self.fetched_bytes & 0xFFFFFFFF,
            TotalStores=self._stores & 0xFFFFFFFF,
            StoreDatas=self._sum("StoreData", "StoreData64") & 0xFFFFFFFF,
            StoredBytes=self.stored_bytes & 0xFFFFFFFF,
            WorkStations=stations,
            ActiveWorkStations=active,
        )
        disks = [_disk(partition) for partition in partitions][:DISKS]
        disks += [ViceDisk(TotalBlocks=-1)] * (DISKS - len(disks))
        for number, disk in enumerate(disks, 1):
            setattr(statistics, f"Disk{number}", disk)
        return statistics

    def vice_statistics64(self, hosts: Hosts, connections: int, now: float) -> tuple[int, ...]:
        """GetStatistics64: sixteen words in the order of STATS64_*."""
        stations, active = _workstations(hosts, now)
        return (
            int(now),
            0,  # BootTime
            self.started,
            connections,
            self._fetches,
            self._sum("FetchData", "FetchData64"),
            self.fetched_bytes,
            0,  # FetchDataRate
            self._stores,
            self._sum("StoreData", "StoreData64"),
            self.stored_bytes,
            0,  # StoreDataRate
            self.calls.total(),
            stations,
            active,
            0,  # ProcessSize
        )

    def performance(self, hosts: Hosts, clients: int) -> list[int]:
        """xstat collection 1, struct afs_PerfStats."""
        self._perf_calls += 1
        words = [0] * PERF_WORDS
        words[NUM_PERF_CALLS] = self._perf_calls
        words[HOST_ENTRIES] = words[HOSTS_NOT_DELETED] = len(hosts)
        words[CLIENTS] = clients
        words[CAPABILITY_CALLS] = _int32(self.calls["GetCapabilities"])
        return words

    def full_performance(self, hosts: Hosts, clients: int) -> list[int]:
        """xstat collection 2, struct fs_stats_FullPerfStats: how often each RPC was called; times are not kept."""
        words = self.performance(hosts, clients)
        words += [0] * (len(words) % 2)  # what follows holds 64-bit words
        words += [self.started, *[0] * (EPOCH_WORDS - 1)]
        for names in OPERATIONS:
            words += [_int32(self._sum(*names)), *[0] * (OPERATION_WORDS - 1)]
        for size in (self.fetched_bytes, self.stored_bytes):
            words += [0] * 18 + [_int32(size)] + [0] * (TRANSFER_WORDS - 19)
        return words

    @property
    def _fetches(self) -> int:
        return self._sum("FetchData", "FetchData64", "FetchACL", "FetchStatus")

    @property
    def _stores(self) -> int:
        return self._sum("StoreData", "StoreData64", "StoreACL", "OldStoreACL", "StoreStatus")

    def _sum(self, *names: str) -> int:
        return sum(self.calls[name] for name in names)


def callback_words(callbacks: Callbacks[Host]) -> list[int]:
    """xstat collection 3, struct cbcounters."""
    counters = callbacks.counters
    words = [
        counters.delete_files,
        counters.delete_callbacks,
        counters.break_callbacks,
        counters.add_callbacks,
        counters.got_some_spaces,
        counters.delete_all_callbacks,
        callbacks.files,
        callbacks.count,
        callbacks.limit,
        counters.callbacks_timed_out,
    ]
    return [_int32(word) for word in words] + [0] * (CALLBACK_WORDS - len(words))


def _workstations(hosts: Hosts, now: float) -> tuple[int, int]:
    return len(hosts), sum(now - host.last_active < ACTIVE_SECONDS for host in hosts)


def _disk(partition: IPartition) -> ViceDisk:
    space = partition.space()
    name = partition.name.encode()[:AFS_DISKNAMESIZE].ljust(AFS_DISKNAMESIZE, b"\0")
    return ViceDisk(min(space.free, 2**31 - 1), min(space.total, 2**31 - 1), name)


def _int32(count: int) -> int:
    """A counter as C wraps it."""
    return (count + 2**31) % 2**32 - 2**31
