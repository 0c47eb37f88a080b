"""What every RXAFS procedure starts and ends with: its client, its statistics, its errors as the client reads them."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.logger import Logger

from afs.errors import VolumeError, translate
from afs.rpc.fs import RXAFS
from afs.types import AFSFid
from fileserver import rights
from fileserver.breaks import Broken
from fileserver.callbacks import Kind
from fileserver.channel import Address
from fileserver.clients import Client, ServerConnection
from fileserver.directory import BadName
from fileserver.hosts import Host
from fileserver.server import FileServer
from fileserver.status import Target
from fileserver.volume.admission import Repaired
from fileserver.volume.durability import Sync
from fileserver.volume.holding import CALL_BYTES, Holder
from fileserver.volume.vn import DIRECTORY, Vn
from fileserver.volume.volume import Volume
from rx.errors import Abort

CHANGES = frozenset(
    (
        *("StoreData", "StoreData64", "StoreStatus", "StoreACL", "OldStoreACL", "SetVolumeStatus"),
        *("CreateFile", "MakeDir", "Symlink", "Link", "Rename", "RemoveFile", "RemoveDir"),
    )
)
"""RPCs that write: a read-only server refuses them, and their effects are synced where the rules say so."""

RETRIES = 20
"""How often a call starts over because what it looked up had changed when it got its locks: others got on each time."""

VREADONLY = errno.EROFS
"""As OpenAFS defines it."""

log = Logger()

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound="Base")


class Untranslated(Abort):
    """A refusal that OpenAFS servers give before they have looked who asks: in errno's numbers to everybody."""


class ServerCall(Protocol):
    """What is used of a call (rx.server.ServerCall)."""

    user_status: int

    @property
    def connection(self) -> ServerConnection: ...

    @property
    def local(self) -> Address: ...

    def abort(self, code: int) -> None: ...


class Base(RXAFS):
    """One call being served. `user` is there once the preamble is over."""

    user: Client

    streaming = False
    """Data has begun to move: the call cannot be made again."""

    changes = False
    """The call is one of CHANGES."""

    untold: Sequence[Broken] = ()
    """Promises that the call has voided, whose holders are told when it ends."""

    def __init__(self, server: FileServer, call: ServerCall) -> None:
        self.server = server
        self.call = call

    @property
    def host(self) -> Host:
        return self.user.host

    def use(self, volume_id: int, size: int = CALL_BYTES) -> AbstractAsyncContextManager[Volume]:
        """The volume, attached; see `Registry.use`. The call keeps `size` bytes while it is held for the volume."""
        using = self.server.registry.use(volume_id, Holder(self.host, size, self.call.abort))
        return self._synced(using) if self.changes and self.server.durability.mode is Sync.EVERY else using

    @asynccontextmanager
    async def _synced(self, using: AbstractAsyncContextManager[Volume]) -> AsyncIterator[Volume]:
        async with using as volume:
            yield volume
            await self.server.durability.answering(volume)

    def access(self, volume: Volume, vn: Vn, acl: bytes) -> rights.Access:
        """What the caller may do with `vn`."""
        return rights.access(vn.disk, acl, self.user.caller, volume.header.owner, self.server.rules.implicit)

    @asynccontextmanager
    async def opened(self, volume: Volume, fid: AFSFid, *, exclusive: bool = False) -> AsyncIterator[Target]:
        """The vnode, locked, and the caller's rights to it. Raises Abort as Volume.shared and Volume.exclusive do.

        Its directory is looked at, never locked: two vnodes are only ever locked in the order of their numbers.
        """
        parent = 0
        for _ in range(RETRIES):
            async with (
                volume.kept(parent) if parent else nullcontext(),
                volume.exclusive(fid) if exclusive else volume.shared(fid) as locked,
            ):
                vn = locked if isinstance(locked, Vn) else locked[0]
                target = self.target(volume, vn)
                if target is not None:
                    yield target
                    return
                parent = vn.disk.parent
        raise Abort(VolumeError.VBUSY)

    def glance(self, volume: Volume, fid: AFSFid) -> Target | None:
        """Fast path beside `opened`: the vnode and the caller's rights, if there is nothing to wait for.

        It holds until the next await. None says that `opened` must be asked, whatever the reason.
        """
        vn = volume.glance(fid)
        return None if vn is None else self.target(volume, vn)

    def target(self, volume: Volume, vn: Vn) -> Target | None:
        """A locked vnode with its rights, or None when its directory is not in memory."""
        governor: Vn | None = vn
        if vn.disk.type != DIRECTORY:
            governor = volume.peek(vn.disk.parent)
            if governor is None:
                return None
        assert governor is not None
        acl = governor.disk.acl
        return Target(volume, vn, (governor.number, governor.disk.uniquifier), acl, self.access(volume, vn, acl))

    def directory(self, volume: Volume, vn: Vn) -> Target:
        """A locked vnode that must be a directory. Raises Abort(ENOTDIR)."""
        if vn.disk.type != DIRECTORY:
            raise Abort(errno.ENOTDIR)
        acl = vn.disk.acl
        return Target(volume, vn, (vn.number, vn.disk.uniquifier), acl, self.access(volume, vn, acl))

    def void(self, fid: AFSFid, spare: Host | None) -> None:
        """What was promised about a vnode that the call has for change holds no more, but for `spare`. Whatever becomes
        of the call, it does not end before the holders were told, or given up.
        """
        broken = self.server.breaks.take(fid, spare)
        if broken.hosts:
            self.untold = [*self.untold, broken]

    def promise(self, volume: Volume, fid: AFSFid, *, bulk: bool = False) -> int:
        """Promise the caller a callback; for any file of a read-only volume it is the one promise for the volume."""
        kind = Kind.VOLUME if not volume.writable else Kind.BULK if bulk else Kind.NORMAL
        return self.server.breaks.promise(self.host, fid, kind)

    def translated(self, code: int) -> int:
        """The code as this client reads it."""
        return translate(code) if self.host.error_translation else code


def procedure(method: Callable[Concatenate[B, P], Awaitable[R]]) -> Callable[Concatenate[B, P], Coroutine[Any, Any, R]]:
    """An RPC: count it, find out who calls and that it knows what it must, and translate what it is refused with.

    One that met damage is made again when that is repaired, if its data has not begun to move.
    """
    return _served(method, active=True)


def passive(method: Callable[Concatenate[B, P], Awaitable[R]]) -> Callable[Concatenate[B, P], Coroutine[Any, Any, R]]:
    """An RPC that is only a sign of life: a host that makes no others counts as idle."""
    return _served(method, active=False)


def _served(
    method: Callable[Concatenate[B, P], Awaitable[R]], *, active: bool
) -> Callable[Concatenate[B, P], Coroutine[Any, Any, R]]:
    name = method.__name__
    changes = name in CHANGES

    @wraps(method)
    async def served(self: B, /, *args: P.args, **kwargs: P.kwargs) -> R:
        server = self.server
        timing, began = server.statistics.count(name), server.now()
        clients = server.clients
        self.user = clients.admitted(self.call, active) or await clients.admit(self.call, active=active)
        try:
            if changes:
                self.changes = True
                if server.rules.readonly and not (server.rules.admin_write and self.user.caller.admin):
                    raise Abort(VREADONLY)
            try:
                result = await method(self, *args, **kwargs)
            except Repaired:
                if self.streaming:
                    raise
                result = await method(self, *args, **kwargs)
            finally:
                if self.untold:
                    await server.breaks.tell(*self.untold)
            timing.succeeded(server.now() - began)
            return result
        except Untranslated:
            raise
        except Abort as abort:
            code = self.translated(abort.code)
            if code == abort.code:
                raise
            raise Abort(code, abort.message) from abort
        except BadName as bad:
            raise Abort(self.translated(errno.EINVAL), str(bad)) from bad
        except OSError as problem:
            raise Abort(self.translated(disk_code(problem)), str(problem)) from problem

    return served


def disk_code(problem: OSError) -> int:
    """What a client is told when the store failed: the file system's own full is VDISKFULL, a bad disk EIO."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return VolumeError.VDISKFULL
    if problem.errno == errno.EFBIG:
        return errno.EFBIG
    log.error("the store failed: {problem}", problem=problem)
    return errno.EIO
