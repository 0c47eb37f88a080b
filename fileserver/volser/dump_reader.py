"""Taking a dump stream apart. Whatever is not one is Abort VOLSERREAD_DUMPERROR, with what and where in its message.

Nothing is believed: memory is bounded by one piece of content, whatever lengths and counts the stream states.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from afs.errors import VolserError
from fileserver.interfaces import Vnode
from fileserver.volser.dump_format import (
    BEGIN_MAGIC,
    CRITICAL,
    DUMP_END,
    DUMP_FIELDS,
    DUMP_HEADER,
    END_MAGIC,
    FIRST_BARE,
    FIRST_COUNTED,
    FIRST_WORD,
    LAST_FIELD,
    LAST_SECTION,
    LONG_COUNT,
    MESSAGE,
    MOTTO,
    NAME,
    TIMES,
    VOLUME_FIELDS,
    VOLUME_HEADER,
    WEEK_USE,
    Field,
)
from fileserver.volser.vnode_records import unpacked
from rx.errors import Abort
from rx.streams import Source

READ_SIZE = 256 * 1024
"""Bytes asked of the stream at a time: many packets, little memory."""

MAX_STRING = 1024
"""Bytes of a string with its NUL: names have 32 and messages 128, and stock reads longer ones to cut them."""

MAX_INTERVALS = 50
"""Intervals in a dump header (dump.h MAXDUMPTIMES): a dump has one."""

MAX_LENGTH_BYTES = 8
"""Bytes in the length of a field nobody knows: a 64-bit number."""

WORD_SIZE = 4

END_OF_STREAM = -1
"""In place of a tag."""

DUMP_NUMBERS = {field.tag: field for field in DUMP_FIELDS}
VOLUME_NUMBERS = {field.tag: field for field in VOLUME_FIELDS}


class DumpReader:
    """A dump stream, from front to back. `section` is the tag that ended the last section, and begins the next."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = b""
        self._at = 0
        self._passed = 0  # bytes of the stream before _data
        self.section = 0

    def malformed(self, what: str) -> Abort:
        """What to raise about the bytes just read."""
        return Abort(VolserError.VOLSERREAD_DUMPERROR, f"dump stream, before byte {self._passed + self._at}: {what}")

    async def dump_header(self) -> int:
        """The id of the volume that was dumped."""
        if await self._tag() != DUMP_HEADER or await self.word() != BEGIN_MAGIC:
            raise self.malformed("this is no dump")
        await self.word()  # the version: newer ones are to say by critical fields what an older reader cannot skip
        volume = intervals = 0
        while (tag := await self.field((*DUMP_NUMBERS, NAME, TIMES))) > LAST_SECTION:
            if tag == NAME:
                await self.string()
            elif tag == TIMES:
                intervals = await self._number(2) // 2
                if intervals > MAX_INTERVALS:
                    raise self.malformed(f"{intervals} intervals")
                await self.take(2 * WORD_SIZE * intervals)
            else:
                volume = await self.number(DUMP_NUMBERS[tag])
        if not volume or not intervals:
            raise self.malformed("a dump header without volume or dates")
        return volume

    async def volume_header(self) -> dict[str, Any]:
        """The fields of a volume header, named as those of VolumeHeader; `name` and `offline_message` are bytes."""
        if self.section != VOLUME_HEADER:
            raise self.malformed("no volume header")
        found: dict[str, Any] = {}
        while (tag := await self.field((*VOLUME_NUMBERS, NAME, MESSAGE, MOTTO, WEEK_USE))) > LAST_SECTION:
            if tag == NAME:
                found["name"] = await self.string()
            elif tag == MESSAGE:
                found["offline_message"] = await self.string()
            elif tag == MOTTO:
                await self.string()
            elif tag == WEEK_USE:
                await self.skip(await self._number(2) * WORD_SIZE)
            else:
                field = VOLUME_NUMBERS[tag]
                found[field.name] = await self.number(field)
        return found

    def vnode(self) -> tuple[int, Vnode, bytes] | None:
        """Fast path: number, vnode and content of the section that has begun, if all of it is here and laid out as
        usual. `section` is the next one then; otherwise nothing was read.
        """
        found = unpacked(self._data, self._at)
        if found is None:
            return None
        number, vnode, begin, end = found
        self.section = self._data[end]
        self._at = end + 1
        return number, vnode, self._data[begin:end]

    async def field(self, known: Container[int]) -> int:
        """The tag of the next field that is known, unknown ones being skipped; or of the next section, left there."""
        critical = False
        while True:
            tag = await self._tag()
            if tag == END_OF_STREAM:
                raise self.malformed("the stream ends here")
            if tag <= LAST_SECTION:
                self.section = tag
                return tag
            if tag in known:
                return tag
            if critical:
                raise self.malformed(f"field {tag:#x}, which must be understood")
            critical = tag == CRITICAL
            await self._skip_field(tag)

    async def number(self, field: Field) -> int:
        return int.from_bytes(await self.take(field.kind.length), "big", signed=field.signed)

    async def word(self) -> int:
        return await self._number(WORD_SIZE)

    async def string(self) -> bytes:
        """Up to its NUL."""
        while (end := self._data.find(b"\0", self._at, self._at + MAX_STRING)) < 0:
            if len(self._data) - self._at >= MAX_STRING:
                raise self.malformed(f"a string of more than {MAX_STRING} bytes")
            await self._more(1)
        found = self._data[self._at : end]
        self._at = end + 1
        return found

    async def take(self, size: int) -> bytes:
        """Exactly `size` bytes. The caller bounds them."""
        missing = size - (len(self._data) - self._at)
        if missing > 0:
            await self._more(missing)
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    async def skip(self, size: int) -> None:
        while size > 0:
            size -= len(await self.take(min(size, READ_SIZE)))

    async def end(self) -> None:
        """The end mark, and nothing after it."""
        if self.section != DUMP_END or await self.word() != END_MAGIC:
            raise self.malformed("no end of the dump")
        if await self._tag() != END_OF_STREAM:
            raise self.malformed("something after the end of the dump")

    async def _tag(self) -> int:
        if self._at == len(self._data) and not await self._read(READ_SIZE):
            return END_OF_STREAM
        self._at += 1
        return self._data[self._at - 1]

    async def _number(self, size: int) -> int:
        return int.from_bytes(await self.take(size), "big")

    async def _skip_field(self, tag: int) -> None:
        if tag < FIRST_COUNTED or tag > LAST_FIELD:
            raise self.malformed(f"field {tag:#x}")
        if tag < FIRST_WORD:
            length = await self._number(1)
            if length >= LONG_COUNT:
                size = length - LONG_COUNT
                if size > MAX_LENGTH_BYTES:
                    raise self.malformed(f"a length of {size} bytes")
                length = await self._number(size)
            await self.skip(length)
        elif tag < FIRST_BARE:
            await self.skip(WORD_SIZE)

    async def _more(self, missing: int) -> None:
        """At least that many bytes more than there are, read exactly when they are many: what follows is then not
        copied.
        """
        while missing > 0:
            got = await self._read(max(missing, READ_SIZE))
            if not got:
                raise self.malformed("the stream ends here")
            missing -= got

    async def _read(self, size: int) -> int:
        pieces = [self._data[self._at :]]
        self._passed += self._at
        self._at = 0
        got = 0
        while got < size:
            piece = await self._source.read(size - got)
            if not piece:
                break
            pieces.append(piece)
            got += len(piece)
            if size <= READ_SIZE:
                break
        self._data = b"".join(pieces)
        return got
