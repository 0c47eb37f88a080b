"""A cache manager without a cache: files, directories, access lists and locks of a cell, by path, over RXAFS.

It has one Rx port, on which it calls servers and answers their RXAFSCB calls, so a file server takes it for the client
it is. Every coroutine asks the servers; nothing is kept but where volumes are. Example:

    client = FileClient(reactor, [("192.0.2.10", 7003)])
    client.start()
    path = "/afs/example.org/scratch/greeting"
    await client.write_file(path, b"hello")
    changed = client.breaks.expect(await client.resolve(path))
    print(await client.read_file(path))
    await changed  # somebody else has written to it
    await client.stop()

Refusals are `Abort` with an errno or a volume package code, whichever way the server said it; no answer is `CallLost`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from afs.acl import parse_rights
from afs.dirpages import read_directory
from afs.paths import MountPoint, Walker, split_parent
from afs.rpc.fs import (
    AFS_SETMAXQUOTA,
    RXAFS,
    AFSFetchVolumeStatus,
    AFSStoreVolumeStatus,
    LockRead,
    LockWrite,
)
from afs.session import Session
from afs.types import (
    AFS_SETGROUP,
    AFS_SETMODE,
    AFS_SETMODTIME,
    AFS_SETOWNER,
    AFSCBMAX,
    AFSFetchStatus,
    AFSFid,
    AFSStoreStatus,
    AFSVolSync,
)
from rx.constants import RxgenCode
from rx.errors import Abort
from rx.streams import Buffer, BytesSource, Sink, Source

Place = str | AFSFid
"""A path below the root volume (a leading /afs means that root), or a file id."""

FILE_MODE, DIRECTORY_MODE, LINK_MODE, MOUNT_MODE = 0o644, 0o755, 0o755, 0o644
"""A link without execute bits is a mount point."""

MAX_IN_MEMORY = 1 << 30
"""Bytes `read_file` returns at most; `fetch` is for larger files."""


class FileClient(Session):
    """See the module; the arguments are those of `Session`."""

    root_volume = b"root.afs"
    """Where paths begin."""

    async def resolve(self, place: Place, follow: bool = True) -> AFSFid:
        """The file id of a place. Without `follow` a link or mount point at the end is not followed."""
        return place if isinstance(place, AFSFid) else await Walker(self, self.root_volume).resolve(place, follow)

    async def status(self, place: Place, follow: bool = True) -> AFSFetchStatus:
        """The status of a file, and the server's promise to tell when it changes."""
        fid = await self.resolve(place, follow)
        status, _, _ = await self.on_volume(fid.Volume, lambda fs: fs.FetchStatus(fid))
        return status

    async def bulk_status(self, fids: Sequence[AFSFid]) -> list[AFSFetchStatus]:
        """The status of files of one volume, 50 a call. A file's error is in its `errorCode`."""
        statuses: list[AFSFetchStatus] = []
        for start in range(0, len(fids), AFSCBMAX):
            batch = tuple(fids[start : start + AFSCBMAX])
            found, _, _ = await self._bulk(batch)
            statuses += found
        return statuses

    async def set_status(
        self,
        place: Place,
        *,
        mode: int | None = None,
        mtime: int | None = None,
        owner: int | None = None,
        group: int | None = None,
    ) -> AFSFetchStatus:
        """Change what is given; the new status."""
        fid = await self.resolve(place)
        wanted = store_status(mode=mode, mtime=mtime, owner=owner, group=group)
        status, _ = await self.on_volume(fid.Volume, lambda fs: fs.StoreStatus(fid, wanted))
        return status

    async def read_file(self, place: Place, offset: int = 0, length: int | None = None) -> bytes:
        """The content from `offset`: `length` bytes of it, or as much as there is."""
        fid = await self.resolve(place)
        if length is None:
            status = await self.status(fid)
            length = max(0, file_length(status) - offset)
        return await self.on_volume(fid.Volume, lambda fs: _fetched(fs, fid, offset, length))

    async def fetch(self, place: Place, sink: Sink, offset: int, length: int) -> AFSFetchStatus:
        """Stream a range of the content to `sink`; the status. The server sends less where the file ends before.

        Only one server is asked, since what a sink has taken it has.
        """
        fid = await self.resolve(place)
        status, _, _ = await self.on_volume(fid.Volume, lambda fs: fs.FetchData64(fid, offset, length, sink), once=True)
        return status

    async def write_file(self, path: str, data: bytes, mode: int = FILE_MODE) -> AFSFetchStatus:
        """Make `data` the whole content of a file, which is created if need be. It is durable when this returns."""
        parent, name = split_parent(path)
        directory = await self.resolve(parent)
        if name in await self.list_directory(directory):
            fid = await self.resolve(path)
        else:
            fid = await self._create(directory, name, mode)
        return await self.store(fid, data, 0, len(data))

    async def store(
        self, place: Place, data: bytes | Source, offset: int, file_length: int, *, length: int | None = None
    ) -> AFSFetchStatus:
        """Write `data` at `offset` and make the file `file_length` bytes long, or longer if the data ends beyond.

        The data is durable when this returns. A source must say its `length`, and only one server is asked, since a
        source cannot be read twice.
        """
        fid = await self.resolve(place)
        once = not isinstance(data, bytes)
        size = len(data) if isinstance(data, bytes) else length
        if size is None:
            raise TypeError("the length of a source must be given")

        def send(fs: RXAFS) -> Awaitable[tuple[AFSFetchStatus, AFSVolSync]]:
            source = BytesSource(data) if isinstance(data, bytes) else data
            return fs.StoreData64(fid, AFSStoreStatus(), offset, size, file_length, source)

        status, _ = await self.on_volume(fid.Volume, send, once)
        return status

    async def create(self, path: str, mode: int = FILE_MODE) -> AFSFid:
        """Make an empty file. Abort(EEXIST)."""
        parent, name = split_parent(path)
        return await self._create(await self.resolve(parent), name, mode)

    async def mkdir(self, path: str, mode: int = DIRECTORY_MODE) -> AFSFid:
        """Make a directory. Abort(EEXIST)."""
        parent, name = split_parent(path)
        directory = await self.resolve(parent)
        wanted = store_status(mode=mode)
        fid, *_ = await self.on_volume(directory.Volume, lambda fs: fs.MakeDir(directory, name, wanted))
        return fid

    async def remove(self, path: str) -> None:
        """Remove a name that is not a directory's; a mount point too."""
        parent, name = split_parent(path)
        directory = await self.resolve(parent)
        await self.on_volume(directory.Volume, lambda fs: fs.RemoveFile(directory, name))

    async def rmdir(self, path: str) -> None:
        """Remove an empty directory. Abort(EEXIST) when it is not."""
        parent, name = split_parent(path)
        directory = await self.resolve(parent)
        await self.on_volume(directory.Volume, lambda fs: fs.RemoveDir(directory, name))

    async def rename(self, old: str, new: str) -> None:
        """Rename within a volume, replacing what has the new name. Abort(EXDEV) across volumes."""
        (old_parent, old_name), (new_parent, new_name) = split_parent(old), split_parent(new)
        source, target = await self.resolve(old_parent), await self.resolve(new_parent)
        await self.on_volume(source.Volume, lambda fs: fs.Rename(source, old_name, target, new_name))

    async def link(self, existing: Place, new: str) -> None:
        """Make a hard link; AFS has them within one directory only, Abort(EXDEV) otherwise."""
        fid = await self.resolve(existing, follow=False)
        parent, name = split_parent(new)
        directory = await self.resolve(parent)
        await self.on_volume(directory.Volume, lambda fs: fs.Link(directory, name, fid))

    async def symlink(self, target: bytes, path: str, mode: int = LINK_MODE) -> AFSFid:
        """Make a symbolic link to `target`."""
        parent, name = split_parent(path)
        directory = await self.resolve(parent)
        wanted = store_status(mode=mode)
        fid, *_ = await self.on_volume(directory.Volume, lambda fs: fs.Symlink(directory, name, target, wanted))
        return fid

    async def read_link(self, path: str) -> bytes:
        """The target of a symbolic link, or the content of a mount point."""
        return await self.read_file(await self.resolve(path, follow=False))

    async def make_mount_point(self, path: str, volume: bytes, readwrite: bool = False) -> AFSFid:
        """Mount a volume."""
        return await self.symlink(MountPoint(volume, readwrite).content(), path, MOUNT_MODE)

    async def list_directory(self, place: Place) -> dict[bytes, tuple[int, int]]:
        """name -> (vnode, uniquifier), `.` and `..` included. Raises afs.dirpages.BadDirectory."""
        return read_directory(await self.read_file(place))

    async def get_acl(self, place: Place) -> tuple[dict[str, int], dict[str, int]]:
        """(granted, denied) rights bits by name, of a directory or of the directory a file is in."""
        fid = await self.resolve(place)
        text, _, _ = await self.on_volume(fid.Volume, lambda fs: fs.FetchACL(fid))
        return parse_acl_text(text)

    async def set_acl(
        self, place: Place, granted: Mapping[str, str | int], denied: Mapping[str, str | int] | None = None
    ) -> None:
        """Replace the access list of a directory. Rights: bits, letters (`rlidwka`) or a word (`read`, `all` ...)."""
        fid = await self.resolve(place)
        text = format_acl_text(granted, denied or {})
        try:
            await self.on_volume(fid.Volume, lambda fs: fs.StoreACL(fid, text))
        except Abort as refusal:
            if refusal.code != RxgenCode.RXGEN_OPCODE:  # OpenAFS before 1.8.14 has only the old one
                raise
            await self.on_volume(fid.Volume, lambda fs: fs.OldStoreACL(fid, text))

    async def lock(self, place: Place, write: bool = False) -> None:
        """Lock a file for reading or writing for 300 s. Abort(EAGAIN) where another lock forbids it."""
        fid = await self.resolve(place)
        lock_type = LockWrite if write else LockRead
        await self.on_volume(fid.Volume, lambda fs: fs.SetLock(fid, lock_type))

    async def extend_lock(self, place: Place) -> None:
        """Make a lock last for 300 s from now. Abort(EINVAL) where there is none."""
        fid = await self.resolve(place)
        await self.on_volume(fid.Volume, lambda fs: fs.ExtendLock(fid))

    async def release_lock(self, place: Place) -> None:
        """Give a lock back."""
        fid = await self.resolve(place)
        await self.on_volume(fid.Volume, lambda fs: fs.ReleaseLock(fid))

    async def volume_status(self, place: Place) -> tuple[AFSFetchVolumeStatus, bytes]:
        """(quota, space and state, name) of the volume a file is in."""
        fid = await self.resolve(place)
        status, name, _, _ = await self.on_volume(fid.Volume, lambda fs: fs.GetVolumeStatus(_signed(fid.Volume)))
        return status, name

    async def set_quota(self, place: Place, blocks: int) -> None:
        """Limit the volume a file is in to this many KiB, 0 for no limit."""
        fid = await self.resolve(place)
        wanted = AFSStoreVolumeStatus(Mask=AFS_SETMAXQUOTA, MaxQuota=blocks)
        await self.on_volume(fid.Volume, lambda fs: fs.SetVolumeStatus(_signed(fid.Volume), wanted, b"", b"", b""))

    async def give_up(self, fid: AFSFid) -> None:
        """Tell the server that the promise about this file is not needed any more."""
        await self.on_volume(fid.Volume, lambda fs: fs.GiveUpCallBacks((fid,), ()))

    async def _create(self, directory: AFSFid, name: bytes, mode: int) -> AFSFid:
        wanted = store_status(mode=mode)
        fid, *_ = await self.on_volume(directory.Volume, lambda fs: fs.CreateFile(directory, name, wanted))
        return fid

    async def _bulk(self, fids: tuple[AFSFid, ...]) -> Any:
        return await self.on_volume(fids[0].Volume, lambda fs: fs.InlineBulkStatus(fids))


async def _fetched(fs: RXAFS, fid: AFSFid, offset: int, length: int) -> bytes:
    content = Buffer(MAX_IN_MEMORY)
    await fs.FetchData64(fid, offset, length, content)
    return bytes(content)


def store_status(
    *, mode: int | None = None, mtime: int | None = None, owner: int | None = None, group: int | None = None
) -> AFSStoreStatus:
    """The status to store, with a mask of what is given."""
    given = ((mode, AFS_SETMODE), (mtime, AFS_SETMODTIME), (owner, AFS_SETOWNER), (group, AFS_SETGROUP))
    mask = sum(bit for value, bit in given if value is not None)
    return AFSStoreStatus(mask, mtime or 0, owner or 0, group or 0, mode or 0)


def file_length(status: AFSFetchStatus) -> int:
    """Bytes in the file."""
    return status.Length_hi << 32 | status.Length


def parse_acl_text(text: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """(granted, denied) rights bits by name, of the text that FetchACL answers. ValueError when it is none."""
    lines = text.partition(b"\0")[0].decode("utf-8", "surrogateescape").splitlines()
    positive, negative = int(lines[0]), int(lines[1])
    entries = [line.split("\t") for line in lines[2 : 2 + positive + negative]]
    rights = [(name, int(bits) & 0xFFFF_FFFF) for name, bits in entries]
    return dict(rights[:positive]), dict(rights[positive:])


def format_acl_text(granted: Mapping[str, str | int], denied: Mapping[str, str | int]) -> bytes:
    """The text that StoreACL takes, with its NUL."""
    lines = [str(len(granted)), str(len(denied))]
    for name, rights in (*granted.items(), *denied.items()):
        lines.append(f"{name}\t{_signed(parse_rights(rights) if isinstance(rights, str) else rights)}")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape") + b"\0"


def _signed(word: int) -> int:
    """An unsigned 32-bit word where the protocol declares a signed one."""
    return word - 2**32 if word >= 2**31 else word
