"""What takes the place of the machine's own things in the modules of servers and clients, while runs are simulated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

from fileserver import locks, partitions, service
from fileserver.partitions import journal, label
from fileserver.partitions.journal import Contact
from rx import transport
from tests.simulation.clients.cell import LEASE_SECONDS, current
from tests.simulation.clients.server import Server
from tests.simulation.ownership.storage import Os
from tests.simulation.ownership.world import Threads


class Journal:
    """Who has used what, on the partition itself."""

    full = False

    def __init__(self, path: str, guard: Callable[[], None]) -> None:
        self._contacts = current().contacts.setdefault(path, {})
        self._guard = guard

    def note(self, address: Any, uuid: UUID | None, volume_id: int) -> None:
        self._guard()
        self._contacts.setdefault((address, uuid), Contact(address, uuid)).volumes.add(volume_id)

    def rewrite(self, contacts: Any) -> None:
        self._guard()
        self._contacts.clear()
        self._contacts.update({(each.address, each.uuid): each for each in contacts})

    def close(self) -> None:
        """Nothing is open."""


def read_journal(path: str) -> list[Contact]:
    """What stands there."""
    found = current().contacts.get(path, {}).values()
    return [Contact(each.address, each.uuid, set(each.volumes)) for each in found]


@contextmanager
def simulated() -> Iterator[None]:
    """Servers and clients work on the machines of the cell that is current."""
    system = Os(lambda: current().directory)
    threads = Threads(lambda: current().world)
    time = SimpleNamespace(
        CLOCK_BOOTTIME=7,
        clock_gettime=lambda _: current().world.process.clock(),
        time=lambda: current().now(),
    )
    stands = {
        "os": system,
        "fcntl": system,
        "Path": system.path_class(),
        "time": time,
        "Thread": threads.Thread,
        "Event": threads.Event,
        "SimpleQueue": threads.SimpleQueue,
        "Journal": Journal,
        "read_journal": read_journal,
        "leave_listing": lambda *_: None,
        "read_listing": lambda *_: None,
    }

    def server_of_process() -> Server:
        process = current().world.process
        return next(server for server in current().servers if server.process is process)

    def random_of_seed() -> Random:
        return Random(current().world.random.getrandbits(64))

    with ExitStack() as patches:

        def patch(module: Any, **names: Any) -> None:
            for name, stand in names.items():
                patches.enter_context(mock.patch.object(module, name, stand))

        patches.enter_context(mock.patch.object(label, "open", system.open_file, create=True))
        for each in iter_modules(partitions.__path__):
            module = import_module(f"{partitions.__name__}.{each.name}")
            if module is not journal and each.name != "takeover":
                patch(module, **{name: stand for name, stand in stands.items() if hasattr(module, name)})
        patch(
            transport,
            UdpSocket=lambda address, report: current().network.bind(address, report),
            near_networks=tuple,
            sched_getaffinity=lambda _: {0},
            perf_counter=lambda: current().world.now,
            SystemRandom=random_of_seed,
        )
        patch(
            service,
            Table=SimpleNamespace(read=lambda _: server_of_process().table),
            own_uuid=lambda *_: server_of_process().uuid,
            write_sysid=lambda *_: None,
        )
        patch(locks, LEASE_SECONDS=LEASE_SECONDS)
        patch(uuid, os=SimpleNamespace(urandom=lambda size: current().world.random.randbytes(size)))
        yield
