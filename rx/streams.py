"""The raw byte stream of a split call: how it is framed, and the two ends a procedure or a client sees.

A server writes to a `Sink`, reads from a `Source`. A client passes objects of the same shapes: what the server writes
to its sink comes out at the client's, and so for sources. `Buffer` and `BytesSource` are the plain ones.
"""

from struct import Struct
from typing import Protocol

MAXIMUM_READ = 65536
"""Bytes taken from a source at a time when the caller did not say: a few tens of packets, little memory."""


class Framing:
    """How the reading side knows where a stream ends: after the count that comes first, or where the call's data
    ends.
    """

    def __init__(self, name: str, count: Struct | None) -> None:
        self.name = name
        self.count = count

    def __repr__(self) -> str:
        return self.name


Counted32 = Framing("Counted32", Struct(">I"))
Counted64 = Framing("Counted64", Struct(">Q"))
Rest = Framing("Rest", None)


class Sink(Protocol):
    """Where a server puts the bytes of a split call, and where its client takes them."""

    def announce(self, length: int) -> None:
        """State how many bytes follow, before the first of them. Counted streams only."""

    async def write(self, data: bytes | memoryview, /) -> None:
        """Hand over the next bytes; returns when there is room for more. Raises Abort or CallLost when the call is
        over.
        """


class Source(Protocol):
    """Where a server gets the bytes of a split call, and where its client has them from."""

    async def read(self, size: int, /) -> bytes:
        """The next bytes, between 1 and `size` of them; b"" at the end. Raises Abort or CallLost when the call is
        over.
        """


class Conversation(Protocol):
    """One call as `rx.dispatch` sees it, from either end: bytes out, bytes in."""

    @property
    def answered(self) -> bool:
        """The other end has ended the call without error: what is sent now is not wanted, and goes nowhere."""

    @property
    def ended(self) -> bool:
        """The other end has sent all, and all of it was received."""

    async def send(self, data: bytes | memoryview) -> None:
        """Queue `data`, waiting for room where there is none."""

    def finish(self) -> None:
        """There is no more to send."""

    async def receive(self, size: int = -1) -> bytes:
        """Some bytes, at most `size` unless negative; b"" when the other end has sent all. Waits for the first."""


class Buffer:
    """A sink that keeps everything in memory; `limit` bytes at most, None for no limit."""

    def __init__(self, limit: int | None = None) -> None:
        self.length: int | None = None
        """What was announced."""
        self._data = bytearray()
        self._limit = limit

    def announce(self, length: int) -> None:
        self._check(length)
        self.length = length

    async def write(self, data: bytes | memoryview, /) -> None:
        self._check(len(self._data) + len(data))
        self._data += data

    def _check(self, length: int) -> None:
        if self._limit is not None and length > self._limit:
            raise ValueError(f"{length} bytes where {self._limit} were expected at most")

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def __len__(self) -> int:
        return len(self._data)


class BytesSource:
    """A source of bytes that are in memory already."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.length = len(data)
        self._data = memoryview(data)

    async def read(self, size: int, /) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return bytes(piece)


class FramedSink:
    """The sending end of a stream over a conversation."""

    def __init__(self, framing: Framing, conversation: Conversation) -> None:
        self._framing = framing
        self._conversation = conversation
        self._remaining: int | None = None
        self._count = b""

    def announce(self, length: int) -> None:
        if self._framing.count is None or self._remaining is not None:
            raise RuntimeError("announce once, and on a counted stream only")
        self._remaining = length
        self._count = self._framing.count.pack(length)

    async def write(self, data: bytes | memoryview, /) -> None:
        if self._framing.count is not None:
            self._take(len(data))
            await self._send_count()
        await self._conversation.send(data)

    async def close(self) -> None:
        """The procedure is done: state 0 bytes if it announced none; RuntimeError if it wrote fewer than announced."""
        if self._framing.count is None:
            return
        if self._remaining is None:
            self.announce(0)
        if self._remaining:
            raise RuntimeError(f"{self._remaining} bytes fewer written than announced")
        await self._send_count()

    def _take(self, size: int) -> None:
        if self._remaining is None or size > self._remaining:
            raise RuntimeError(f"{size} bytes written to a stream where {self._remaining} are left of those announced")
        self._remaining -= size

    async def _send_count(self) -> None:
        if self._count:
            count, self._count = self._count, b""
            await self._conversation.send(count)


class FramedSource:
    """The receiving end of a stream over a conversation. `length` is the count of a counted stream, once it has
    come.
    """

    def __init__(self, framing: Framing, conversation: Conversation, already: bytes = b"") -> None:
        self.length: int | None = None
        self._framing = framing
        self._conversation = conversation
        self._already = already
        self._remaining = 0

    async def read(self, size: int = MAXIMUM_READ, /) -> bytes:
        if self._framing.count is not None:
            await self.read_count()
            size = min(size, self._remaining)
        if size == 0:
            return b""
        data = await self._receive(size)
        self._remaining -= len(data)
        return data

    async def read_count(self) -> int:
        """Read the count of a counted stream; EOFError when the data ends before it. 0 for an uncounted one."""
        if self._framing.count is None:
            return 0
        if self.length is None:
            count = b""
            while len(count) < self._framing.count.size:
                piece = await self._receive(self._framing.count.size - len(count))
                if not piece:
                    raise EOFError("the stream ended before its length")
                count += piece
            (self.length,) = self._framing.count.unpack(count)
            self._remaining = self.length or 0
        return self.length or 0

    async def _receive(self, size: int) -> bytes:
        if self._already:
            piece, self._already = self._already[:size], self._already[size:]
            return piece
        return await self._conversation.receive(size)
