"""A registry over a memory disk, and what tests of volumes do with it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from afs.types import AFSFid
from fileserver.interfaces import IPartition, ISalvager
from fileserver.store.memory import Disk, MemoryPartition
from fileserver.volser.cloning import create_root, new_header
from fileserver.volume.fsa import VolumeState
from fileserver.volume.interfaces import Surroundings
from fileserver.volume.registry import Registry
from fileserver.volume.vlru import Vlru, VlruSettings
from fileserver.volume.vn import SYMLINK, VnodeCache
from fileserver.volume.volume import Volume
from rx.errors import Abort

VOLUME = 536870912
ROOT = AFSFid(Volume=VOLUME, Vnode=1, Unique=1)
ANOTHER_DAY = 100 * 86400

T = TypeVar("T")


class Server:
    """A registry over one memory disk, which survives `crash`."""

    def __init__(
        self,
        disk: Disk | None = None,
        cache: VnodeCache | None = None,
        *,
        settings: VlruSettings | None = None,
        salvager: ISalvager | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.now = float(ANOTHER_DAY)
        self.disk = disk or Disk()
        self.broken: list[int] = []
        self._cache = VnodeCache() if cache is None else cache
        vlru: Vlru[Volume] = Vlru(settings, self.now)
        surroundings = Surroundings(lambda: self.now, self, self._cache, clock=clock, vlru=vlru)
        self.registry = Registry(surroundings, salvager)
        self.partition: IPartition = MemoryPartition(disk=self.disk)

    def break_volume(self, volume_id: int) -> None:
        self.broken.append(volume_id)

    async def start(self) -> None:
        await self.registry.add_partition(self.partition)

    async def crash(self) -> Server:
        """Another server on the same disk, as if the process had died."""
        fresh = Server(self.disk)
        await fresh.start()
        return fresh

    async def make(self, volume_id: int = VOLUME, **fields: Any) -> None:
        """A volume as `vos create` makes it."""
        header = new_header(volume_id, volume_id, b"vol.%d" % volume_id, 0, int(self.now))
        checkout = await self.registry.create(self.partition, header)
        await create_root(checkout)
        header.destroy_me, header.in_service = False, True
        for name, value in fields.items():
            setattr(header, name, value)
        await checkout.write()
        await checkout.give_back()

    def volume(self, volume_id: int = VOLUME) -> Volume:
        volume = self.registry.find(volume_id)
        assert volume is not None
        return volume


class Base(SynchronousTestCase):
    def run_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(ensureDeferred(coroutine))

    def refused(self, coroutine: Coroutine[Any, Any, Any]) -> int:
        failure = self.failureResultOf(ensureDeferred(coroutine), Abort)
        code: int = failure.value.code
        return code

    def started(self, *volumes: int, **fields: Any) -> Server:
        server = Server()
        self.run_now(server.start())
        for volume_id in volumes or (VOLUME,):
            self.run_now(server.make(volume_id, **fields))
        return server


async def make_file(volume: Volume, name: bytes, content: bytes = b"", kind: int = SYMLINK) -> AFSFid:
    """A file, directory or symlink in the root."""
    async with volume.exclusive(AFSFid(volume.id, 1, 1)) as (root,):
        directory = await root.directory()
        vn = await volume.create(kind, 0o644, 1, 1, 0, root, content=content)
        directory.insert(name, vn.number, vn.disk.uniquifier)
        await vn.save()
        await root.save()
        return vn.fid


async def drop_file(volume: Volume, name: bytes, fid: AFSFid) -> None:
    async with volume.exclusive(ROOT, fid) as (root, vn):
        (await root.directory()).remove(name)
        await root.save()
        await volume.remove(vn)


async def use(server: Server, volume_id: int = VOLUME) -> VolumeState:
    async with server.registry.use(volume_id) as volume:
        return volume.state
