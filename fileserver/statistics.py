"""What the server counts, and the forms in which monitors ask for it (scout, xstat_fs_test, afsmonitor).

The xstat collections are images of C structures of a 64-bit OpenAFS server (`viced/fs_stats.h`): words at fixed
places. What is not measured is zero, as in much of OpenAFS's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from resource import getpagesize
from typing import Any

from afs.rpc.fs import AFS_DISKNAMESIZE, ViceDisk, ViceStatistics
from fileserver.callbacks import Callbacks
from fileserver.hosts import Host, Hosts
from fileserver.interfaces import IPartition
from fileserver.rx_words import RX_WORDS, rx_words
from fileserver.timings import Timing, Transfers, int32, timeval

ACTIVE_SECONDS = 15 * 60
"""A workstation that called within this time counts as active."""

DISKS = 10
"""Disks that ViceStatistics has places for."""

PERF_WORDS = 98
NUM_PERF_CALLS, RX, HOST_ENTRIES, HOSTS_NOT_DELETED, CLIENTS, CAPABILITY_CALLS = 0, 17, 58, 60, 64, 69
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

CALLBACK_WORDS = 16

PAGE_SIZE = getpagesize()


class Statistics:
    """Counters since the server started (`started`, Unix seconds)."""

    def __init__(self, started: float) -> None:
        self.started = int(started)
        self.timings: defaultdict[str, Timing] = defaultdict(Timing)
        self.fetches = Transfers()
        self.stores = Transfers()
        self.rx: Callable[[], Iterable[Any]] = tuple
        """What Rx has counted, of each port that files are served at."""
        self._perf_calls = 0

    def count(self, name: str) -> Timing:
        """One more call of that RPC."""
        timing = self.timings[name]
        timing.calls += 1
        return timing

    def calls(self, *names: str) -> int:
        """How often these RPCs were called."""
        return sum(self.timings[name].calls for name in names)

    def vice_statistics(
        self, partitions: Iterable[IPartition], hosts: Hosts, connections: int, now: float
    ) -> ViceStatistics:
        """GetStatistics: everything in 32 bits."""
        stations, active = _workstations(hosts, now)
        statistics = ViceStatistics(
            CurrentTime=int(now),
            StartTime=self.started,
            CurrentConnections=connections,
            TotalViceCalls=self._all_calls & 0xFFFFFFFF,
            TotalFetchs=self._fetches & 0xFFFFFFFF,
            FetchDatas=self.calls("FetchData", "FetchData64") & 0xFFFFFFFF,
            FetchedBytes=self.fetches.size & 0xFFFFFFFF,
            FetchDataRate=self._rate(self.fetches, now) & 0x7FFFFFFF,
            TotalStores=self._stores & 0xFFFFFFFF,
            StoreDatas=self.calls("StoreData", "StoreData64") & 0xFFFFFFFF,
            StoredBytes=self.stores.size & 0xFFFFFFFF,
            StoreDataRate=self._rate(self.stores, now) & 0x7FFFFFFF,
            ProcessSize=process_size(),
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
            0,  # BootTime, which OpenAFS does not fill in either
            self.started,
            connections,
            self._fetches,
            self.calls("FetchData", "FetchData64"),
            self.fetches.size,
            self._rate(self.fetches, now),
            self._stores,
            self.calls("StoreData", "StoreData64"),
            self.stores.size,
            self._rate(self.stores, now),
            self._all_calls,
            stations,
            active,
            process_size(),
        )

    def performance(self, hosts: Hosts, clients: int) -> list[int]:
        """xstat collection 1, struct afs_PerfStats."""
        self._perf_calls += 1
        words = [0] * PERF_WORDS
        words[NUM_PERF_CALLS] = self._perf_calls
        words[RX : RX + RX_WORDS] = rx_words(self.rx())
        words[HOST_ENTRIES] = words[HOSTS_NOT_DELETED] = len(hosts)
        words[CLIENTS] = clients
        words[CAPABILITY_CALLS] = int32(self.calls("GetCapabilities"))
        return words

    def full_performance(self, hosts: Hosts, clients: int) -> list[int]:
        """xstat collection 2, struct fs_stats_FullPerfStats: how often each RPC was called, and how long it took."""
        words = self.performance(hosts, clients)
        words += [0] * (len(words) % 2)  # what follows holds 64-bit words
        words += timeval(self.started)
        for names in OPERATIONS:
            words += reduce(Timing.with_other, (self.timings[name] for name in names)).words()
        return words + self.fetches.words() + self.stores.words()

    @property
    def _all_calls(self) -> int:
        return sum(timing.calls for timing in self.timings.values())

    def _rate(self, transfers: Transfers, now: float) -> int:
        """Bytes a second since the start."""
        return transfers.size // max(int(now) - self.started, 1)

    @property
    def _fetches(self) -> int:
        return self.calls("FetchData", "FetchData64", "FetchACL", "FetchStatus")

    @property
    def _stores(self) -> int:
        return self.calls("StoreData", "StoreData64", "StoreACL", "OldStoreACL", "StoreStatus")


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
    return [int32(word) for word in words] + [0] * (CALLBACK_WORDS - len(words))


def _workstations(hosts: Hosts, now: float) -> tuple[int, int]:
    return len(hosts), sum(now - host.last_active < ACTIVE_SECONDS for host in hosts)


def _disk(partition: IPartition) -> ViceDisk:
    space = partition.space()
    name = partition.name.encode()[:AFS_DISKNAMESIZE].ljust(AFS_DISKNAMESIZE, b"\0")
    return ViceDisk(min(space.free, 2**31 - 1), min(space.total, 2**31 - 1), name)


def process_size() -> int:
    """KiB of memory that the process has resident."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * PAGE_SIZE // 1024
