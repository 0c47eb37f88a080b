"""What the fileserver's procedures cost by themselves: no network, one client, the store in /dev/shm.

    python -m tests.bench.bench_procedures [--rounds N] [--profile FILE]

Microseconds of processor time a call; the least of the rounds, which holds best on a machine that does other things.
"""

from __future__ import annotations

import argparse
import cProfile
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import process_time
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react

from afs.acl import ALL_RIGHTS, AccessList, Entry
from afs.types import AFSFid, AFSStoreStatus
from afs.users import Authority, UserList
from fileserver.directory import Directory
from fileserver.interfaces import Vnode, VolumeHeader
from fileserver.procedures import Procedures, procedures
from fileserver.server import FileServer
from fileserver.store.namei_user import open_namei_user
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from rx.security.interfaces import ANONYMOUS
from tests.fileserver.procedures.support import Bytes, Call, Channel, Connection, Machine, Names, Pieces

VOLUME = 100
ROOT = AFSFid(VOLUME, 1, 1)
NOTHING = AFSStoreStatus()
FILES = 500
ANYUSER = -101
ADDRESS = ("10.0.0.1", 7001)
SMALL = b"x" * 1024


class Bench:
    """A fileserver's procedures over one volume."""

    def __init__(self, home: Path, reactor: Any) -> None:
        self.partition = open_namei_user(str(home), 0, reactor)
        self.registry = Registry(Surroundings(reactor.seconds, clock=reactor))
        self.connection = Connection(ADDRESS, ANONYMOUS)
        channel = Channel()
        channel.machines[ADDRESS] = Machine(ADDRESS, None)
        server = FileServer(self.registry, channel, Authority(UserList([])), Names(), reactor.seconds)
        self._begin = procedures(server)
        self.fids: list[AFSFid] = []
        self.costs: dict[str, float] = {}

    async def prepare(self) -> None:
        """One volume, that anybody may use."""
        files = await self.partition.create_volume(VolumeHeader(VOLUME, VOLUME, b"bench", 0, max_quota=0))
        root = Directory.new((1, 1), (1, 1)).to_bytes()
        acl = AccessList.of([Entry(ANYUSER, ALL_RIGHTS)], []).to_bytes()
        await files.create_vnode(1, Vnode(2, 0o777, 2, len(root), 1, 1, 5, 0, 0, 0, 0, 5, acl=acl), root)
        await files.close()
        await self.registry.add_partition(self.partition)
        await self.call.FetchStatus(ROOT)

    @property
    def call(self) -> Procedures:
        return self._begin(Call(self.connection))

    async def round(self) -> None:
        """Each kind of call FILES times."""
        names = [b"f%d" % number for number in range(FILES)]
        self.fids = []
        await self._timed("CreateFile", self._create, names)
        await self._timed("StoreData 1 KiB", self._store, self.fids)
        await self._timed("FetchStatus", lambda fid: self.call.FetchStatus(fid), self.fids)
        await self._timed("FetchData 1 KiB", lambda fid: self.call.FetchData64(fid, 0, 1024, Bytes()), self.fids)
        await self._timed("RemoveFile", lambda name: self.call.RemoveFile(ROOT, name), names)

    async def _create(self, name: bytes) -> None:
        self.fids.append((await self.call.CreateFile(ROOT, name, NOTHING))[0])

    async def _store(self, fid: AFSFid) -> None:
        await self.call.StoreData64(fid, NOTHING, 0, 1024, 1024, Pieces(SMALL))

    async def _timed(self, name: str, work: Callable[[Any], Awaitable[Any]], over: list[Any]) -> None:
        begun = process_time()
        for each in over:
            await work(each)
        cost = (process_time() - begun) / len(over) * 1e6
        self.costs[name] = min(self.costs.get(name, cost), cost)


async def measure(reactor: Any, rounds: int, profile: str | None) -> None:
    """Print the least of the rounds."""
    with tempfile.TemporaryDirectory(prefix="txafs-bench-", dir="/dev/shm") as home:
        bench = Bench(Path(home), reactor)
        await bench.prepare()
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        for _ in range(rounds):
            await bench.round()
        if profile:
            profiler.disable()
            profiler.dump_stats(profile)
        for name, cost in bench.costs.items():
            print(f"{name:16} {cost:6.1f}")
        await bench.registry.shutdown()


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", metavar="FILE", help="write a cProfile here")
    options = parser.parse_args()

    def run(reactor: Any) -> Deferred[None]:
        return ensureDeferred(measure(reactor, options.rounds, options.profile))

    react(run)


if __name__ == "__main__":
    main()
