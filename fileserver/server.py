"""A file server's shared state: what its RXAFS procedures work on, one object made at start.

    channel = RxChannel(ports, uuid)  # fileserver.rxchannel
    server = FileServer(registry, channel, authority, names, time.time)
    rx_server.add(RXAFS, procedures(server), check_reach=True)

Whoever runs it calls `maintain` every `breaks.MAINTENANCE_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import DeferredLock

from afs.interfaces import INames
from afs.users import Authority
from fileserver.breaks import Breaks
from fileserver.callbacks import Callbacks
from fileserver.channel import CallbackChannel
from fileserver.clients import Clients
from fileserver.hosts import Host, Hosts
from fileserver.rules import Rules
from fileserver.statistics import Statistics
from fileserver.subdomains import Subdomains
from fileserver.volume.registry import Registry


class FileServer:
    """See the module. `now` is Unix time."""

    def __init__(
        self,
        registry: Registry,
        channel: CallbackChannel,
        authority: Authority,
        names: INames,
        now: Callable[[], float],
        rules: Rules | None = None,
    ) -> None:
        self.rules = rules = rules or Rules()
        self.registry = registry
        self.durability = registry.surroundings.durability
        self.names = names
        self.now = now
        self.callbacks: Callbacks[Host] = Callbacks(rules.callbacks)
        self.hosts = Hosts(channel, self.callbacks)
        self.breaks = Breaks(self.callbacks, self.hosts, channel, now)
        self.groups = Subdomains(names, now, rules.groups_refresh)
        self.clients = Clients(self.hosts, self.breaks, authority, self.groups, now)
        self.statistics = Statistics(now())
        self.moving_directories = DeferredLock()
        """Held while a directory changes its parent, so that no two such renames can make a circle between them."""
        registry.surroundings.callbacks = self.breaks

    async def maintain(self) -> None:
        """Drop what ran out, probe silent hosts, forget those long gone."""
        await self.breaks.maintain()
