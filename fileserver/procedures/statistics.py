"""What monitors ask: GetStatistics, GetStatistics64 and the xstat collections."""

from __future__ import annotations

import errno

from afs.rpc.fs import AFS_XSTAT_VERSION, STATS64_VERSION, ViceStatistics
from fileserver.procedures.base import Base, passive
from fileserver.statistics import callback_words
from rx.errors import Abort

NO_COLLECTION = 1
"""The code for a collection that does not exist."""


class Statistics(Base):
    """See the module. The xstat calls have no preamble: they come from programs that are no cache managers."""

    @passive
    async def GetStatistics(self) -> ViceStatistics:
        server = self.server
        return server.statistics.vice_statistics(
            server.registry.partitions(), server.hosts, len(server.clients), server.now()
        )

    @passive
    async def GetStatistics64(self, stats_version: int) -> tuple[int, ...]:
        if stats_version != STATS64_VERSION:
            raise Abort(errno.EINVAL)
        server = self.server
        return server.statistics.vice_statistics64(server.hosts, len(server.clients), server.now())

    async def XStatsVersion(self) -> int:
        self.server.statistics.count("XStatsVersion")
        return AFS_XSTAT_VERSION

    async def GetXStats(self, client_version_number: int, collection_number: int) -> tuple[int, int, tuple[int, ...]]:
        server = self.server
        statistics = server.statistics
        statistics.count("GetXStats")
        match collection_number:
            case 0:
                words: list[int] = []
            case 1:
                words = statistics.performance(server.hosts, len(server.clients))
            case 2:
                words = statistics.full_performance(server.hosts, len(server.clients))
            case 3:
                words = callback_words(server.callbacks)
            case _:
                raise Abort(NO_COLLECTION)
        return AFS_XSTAT_VERSION, int(server.now()), tuple(words)
