"""Filling a volume from a dump stream (dumpstuff.c RestoreVolume).

A vnode that the stream has replaces the one of its number, one it only mentions stays, the others are deleted. What
comes is written as it comes; until all of it has come the volume is marked as needing a salvage, and a new one that
never gets that far is removed: nobody finds half a volume.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from afs.acl import ACL_SIZE, ALL_RIGHTS, SYSADMINID, AccessList, BadAccessList, Entry
from afs.names import VOLUME_NAME_MAX
from afs.rpc.volser import restoreCookie
from fileserver.interfaces import Vnode, VolumeHeader
from fileserver.volser.cloning import ROOT_VNODE, usage
from fileserver.volser.dump import BREATH, PIECE_SIZE
from fileserver.volser.dump_format import (
    ACCESS_LIST,
    CONTENT,
    LAST_SECTION,
    LONG_CONTENT,
    VNODE,
    VNODE_FIELDS,
    VOLUME_HEADER,
)
from fileserver.volser.dump_reader import DumpReader
from fileserver.volume.checkout import Checkout
from fileserver.volume.vn import DIRECTORY, FILE, SYMLINK
from fileserver.volume.volume import MAX_INT32, MAX_UINT32, UNIQUIFIER_START
from rx.streams import Source

log = Logger(namespace="fileserver.volser")

MAX_VNODE = {True: 4 << 20, False: 16 << 20}
"""The largest number of a directory and of a file that is taken: their index records then fill 512 MiB, which the store
reads in one. A number is a place in the index, so that one bad one would make it as large as the disk.
"""

MADE = 256
"""New vnodes made at a time, or PIECE_SIZE of their contents: a few milliseconds, in which nobody else counts links."""

MAX_LENGTH = (1 << 63) - 1
"""Of a file: what the system's offsets end at."""

MAX_MESSAGE = 127
"""Bytes of an offline message without its NUL; longer ones are cut, as in OpenAFS."""

HEADER_FIELDS = (
    "min_quota",
    "max_quota",
    "account_number",
    "owner",
    "creation_date",
    "access_date",
    "update_date",
    "expiration_date",
    "backup_date",
    "uniquifier",
)
"""What the volume takes from the stream as it is; the rest is the volume's own, or the caller's, or counted."""

ZEROS = bytes(PIECE_SIZE)

VNODE_NUMBERS = {field.tag: field for field in VNODE_FIELDS}
VNODE_TAGS = (*VNODE_NUMBERS, ACCESS_LIST, CONTENT, LONG_CONTENT)

ADMINISTRATORS_ONLY = AccessList(positive=(Entry(SYSADMINID, ALL_RIGHTS),)).to_bytes()
"""For a directory that was dumped without an access list, as one whose list was damaged is."""


async def is_new(checkout: Checkout) -> bool:
    """Whether the volume was made to be restored into: nothing is lost with it."""
    return checkout.header.destroy_me and {number for number, _ in await checkout.files.vnodes()} <= {ROOT_VNODE}


async def restore(
    checkout: Checkout, cookie: restoreCookie, source: Source, breathe: Callable[[], Awaitable[None]]
) -> None:
    """Make the volume what the stream says, with the names and ids of `cookie`; it is not destroy_me any more.

    Raises Abort VOLSERREAD_DUMPERROR for a damaged stream, OSError, and what `source` raises. The volume is then
    marked as needing a salvage, unless nothing of it was touched.
    """
    reader = DumpReader(source)
    await reader.dump_header()
    fields = await reader.volume_header()
    old = {number for number, _ in await checkout.files.vnodes()}
    checkout.header.needs_salvaged = True
    await checkout.write()
    restored = _Vnodes(checkout, reader, old)
    try:
        while reader.section in (VNODE, VOLUME_HEADER):
            if reader.section == VOLUME_HEADER:
                fields = await reader.volume_header()
                continue
            await restored.next()
            if restored.count % BREATH == 0:
                await breathe()
        await reader.end()
        await restored.flush()
    finally:
        await restored.settled()
    await restored.remove_unmentioned()
    await _recount(checkout, fields)
    checkout.header = _header(checkout.header, fields, cookie)
    await checkout.sync()  # who moves a volume deletes its source next
    await checkout.write()


def _header(own: VolumeHeader, fields: dict[str, Any], cookie: restoreCookie) -> VolumeHeader:
    """Ids, copy date (vutil.c CopyVolumeHeader) and usage stay, as do the counts just made."""
    return VolumeHeader(
        id=own.id,
        parent=own.parent,
        copy_date=own.copy_date,
        name=cookie.name[:VOLUME_NAME_MAX],
        type=cookie.type,
        clone_id=cookie.clone,
        in_service=bool(fields.get("in_service", 0)),
        blessed=bool(fields.get("blessed", 0)),
        offline_message=fields.get("offline_message", b"")[:MAX_MESSAGE],
        disk_used=own.disk_used,
        file_count=own.file_count,
        **{name: fields.get(name, 0) for name in HEADER_FIELDS},
        **usage(own),
    )


async def _recount(checkout: Checkout, fields: dict[str, Any]) -> None:
    """Blocks and files are counted, and the uniquifier is beyond every one in use, whatever the stream says.

    A stream's count of files is kept when it is one less: those who make volumes do not count the root.
    """
    tally = await checkout.files.tally()
    stated = fields.get("file_count", 0)
    checkout.header.file_count = stated if stated == tally.vnodes - 1 else tally.vnodes
    checkout.header.disk_used = min(tally.blocks, MAX_INT32)
    following = tally.uniquifier + 1 if tally.uniquifier < MAX_UINT32 else UNIQUIFIER_START
    fields["uniquifier"] = max(fields.get("uniquifier", 0), following)


class _Vnodes:
    """The vnodes of a stream, one after the other. `old` are those the volume had."""

    def __init__(self, checkout: Checkout, reader: DumpReader, old: set[int]) -> None:
        self._files = checkout.files
        self._reader = reader
        self._here = old
        self._unmentioned = set(old)
        self._made: list[tuple[int, Vnode, bytes]] = []
        self._made_size = 0
        self._making: Deferred[None] | None = None
        self.count = 0

    async def next(self) -> None:
        """The vnode that the stream has now. New small ones are made many at a time, while the next ones come."""
        reader = self._reader
        self.count += 1
        found = reader.vnode()
        if found is None:
            await self.flush()
            await self._next()
            return
        number, vnode, content = found
        self._check(number, vnode)
        self._unmentioned.discard(number)
        if number in self._here:
            await self.flush()
            await self._create(number, vnode, content)
            return
        self._here.add(number)
        self._made.append(found)
        self._made_size += len(content)
        if len(self._made) >= MADE or self._made_size >= PIECE_SIZE:
            await self._begin()

    async def flush(self) -> None:
        """Everything that was read is made when this returns."""
        if self._made:
            await self._begin()
        making, self._making = self._making, None
        if making is not None:
            await making

    async def settled(self) -> None:
        """Nothing is being made any more, whatever became of it."""
        making, self._making = self._making, None
        if making is not None:
            await making.addErrback(_forget)

    async def _begin(self) -> None:
        making, self._making = self._making, None
        if making is not None:
            await making
        made, self._made, self._made_size = self._made, [], 0
        self._making = ensureDeferred(self._files.create_vnodes(made))

    async def _next(self) -> None:
        """The plain path: field by field, content in pieces."""
        reader = self._reader
        number, unique = await reader.word(), await reader.word()
        self._check_number(number)
        self._unmentioned.discard(number)
        vnode = _empty(unique)
        changed = False
        content: bytes | None = None
        written = False
        while (tag := await reader.field(VNODE_TAGS)) > LAST_SECTION:
            changed = True
            if tag in VNODE_NUMBERS:
                field = VNODE_NUMBERS[tag]
                setattr(vnode, field.name, await reader.number(field))
            elif tag == ACCESS_LIST:
                vnode.acl = await self._access_list(number)
            elif content is not None:
                raise reader.malformed(f"vnode {number} has content twice")
            else:
                vnode.length = await self._length(tag)
                if vnode.length <= PIECE_SIZE:
                    content = await reader.take(vnode.length)
                else:
                    content, written = b"", True
                    await self._create(number, vnode, b"")
                    await self._write(number, vnode.length)
        if written:
            self._check(number, vnode)
            await self._files.write_vnode(number, vnode)
        elif changed:
            await self._create(number, vnode, content or b"")

    async def remove_unmentioned(self) -> None:
        """What the dumped volume did not have."""
        for number in sorted(self._unmentioned, reverse=True):
            await self._files.remove_vnode(number)

    async def _create(self, number: int, vnode: Vnode, content: bytes) -> None:
        """In place of the one there is: its content may belong to clones, too."""
        self._check(number, vnode)
        if number in self._here:
            await self._files.remove_vnode(number)
            self._here.discard(number)
        await self._files.create_vnode(number, vnode, content)
        self._here.add(number)

    def _check(self, number: int, vnode: Vnode) -> None:
        """Directories have odd numbers and nothing else has."""
        self._check_number(number)
        if vnode.type not in ((DIRECTORY,) if number & 1 else (FILE, SYMLINK)):
            raise self._reader.malformed(f"vnode {number} of type {vnode.type}")
        if vnode.type != DIRECTORY:
            vnode.acl = b""
        elif not vnode.acl:
            vnode.acl = ADMINISTRATORS_ONLY

    def _check_number(self, number: int) -> None:
        if not 0 < number <= MAX_VNODE[bool(number & 1)]:
            raise self._reader.malformed(f"vnode {number}")

    async def _access_list(self, number: int) -> bytes:
        stored = await self._reader.take(ACL_SIZE)
        try:
            return AccessList.from_bytes(stored, "big").to_bytes()
        except BadAccessList as problem:
            raise self._reader.malformed(f"vnode {number}: {problem}") from problem

    async def _length(self, tag: int) -> int:
        high = await self._reader.word() if tag == LONG_CONTENT else 0
        length = high << 32 | await self._reader.word()
        if length > MAX_LENGTH:
            raise self._reader.malformed(f"content of {length} bytes")
        return length

    async def _write(self, number: int, length: int) -> None:
        """Content in pieces, one written while the next one comes. Pieces of zeros become holes."""
        offset = end = 0
        writing: Deferred[None] | None = None
        try:
            while offset < length:
                piece = await self._reader.take(min(length - offset, PIECE_SIZE))
                if writing is not None:
                    previous, writing = writing, None
                    await previous
                if piece != ZEROS[: len(piece)]:
                    writing = ensureDeferred(self._files.write(number, offset, piece))
                    end = offset + len(piece)
                offset += len(piece)
        finally:
            if writing is not None:
                await writing
        if end < length:
            await self._files.truncate(number, length)


def _forget(_: object) -> None:
    """It failed for the same reason, or nobody asks any more."""


def _empty(unique: int) -> Vnode:
    """A vnode whose record in the stream has no fields."""
    return Vnode(
        type=0,
        mode=0,
        link_count=0,
        length=0,
        uniquifier=unique,
        data_version=0,
        modify_time=0,
        author=0,
        owner=0,
        group=0,
        parent=0,
        server_modify_time=0,
    )
