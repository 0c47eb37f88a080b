"""A service with one of everything, and a server of it, for the tests of this package."""
# mypy: disable-error-code="empty-body"

from typing import Annotated, Any

from twisted.internet.defer import Deferred

from rx.errors import Abort
from rx.server import ServerCall
from rx.service import Encoded, Service, rpc
from rx.streams import Counted32, Counted64, Rest, Sink, Source
from xdr import Array, Int32, Opaque, String, UInt32, UInt64

REFUSED = 49733


class Example(Service, service_id=77):
    """One operation of each shape."""

    @rpc(1)
    async def Nothing(self) -> None: ...

    @rpc(2)
    async def Add(self, left: Int32, right: Int32 = 1) -> Int32: ...

    @rpc(3)
    async def Divide(self, number: UInt32, by: UInt32) -> tuple[UInt32, UInt32]: ...

    @rpc(4)
    async def Reverse(
        self, names: Annotated[tuple[Annotated[bytes, String(64)], ...], Array(64_000)]
    ) -> Annotated[tuple[Annotated[bytes, Opaque(64)], ...], Array(64_000)]: ...

    @rpc(5)
    async def Fetch(self, size: UInt32, data: Annotated[Sink, Counted32]) -> UInt32: ...

    @rpc(6)
    async def Fetch64(self, size: UInt64, data: Annotated[Sink, Counted64]) -> tuple[UInt32, UInt32]: ...

    @rpc(7)
    async def Dump(self, size: UInt32, data: Annotated[Sink, Rest]) -> None: ...

    @rpc(8)
    async def Store(self, name: Annotated[bytes, Opaque(20)], data: Annotated[Source, Rest]) -> UInt32: ...

    @rpc(9)
    async def Upload(self, data: Annotated[Source, Counted64], tag: UInt32) -> UInt32: ...

    @rpc(10)
    async def Wait(self, tag: UInt32) -> UInt32: ...

    @rpc(11)
    async def Refuse(self, code: Int32) -> UInt32: ...

    @rpc(12)
    async def Break(self) -> UInt32: ...

    @rpc(13)
    async def NotServed(self) -> None: ...

    @rpc(14)
    async def Ready(self) -> Annotated[bytes, Opaque(8)]: ...

    @rpc(15)
    async def Misencoded(self) -> UInt32: ...

    @rpc(16)
    async def FetchThenRefuse(self, size: UInt32, data: Annotated[Sink, Counted32]) -> UInt32: ...

    @rpc(17)
    async def Glance(self, code: Int32, data: Annotated[Source, Rest]) -> UInt32: ...


_CYCLE = bytes((index * 7 + (index >> 8)) & 0xFF for index in range(1 << 16))


def pattern(size: int) -> bytes:
    """Bytes by which a shift or a loss is seen."""
    return (_CYCLE * (size // len(_CYCLE) + 1))[:size]


class Server(Example):
    """Serves it. `waiting` holds the Deferreds that Wait waits for, `seen` what happened, for all calls of one test."""

    def __init__(self, call: ServerCall | None = None) -> None:
        self.call = call
        self.waiting: dict[int, Deferred[int]] = {}
        self.seen: list[Any] = []

    async def Nothing(self) -> None: ...

    async def Add(self, left: int, right: int = 1) -> int:
        return left + right

    async def Divide(self, number: int, by: int) -> tuple[int, int]:
        return number // by, number % by

    async def Reverse(self, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return tuple(reversed(names))

    async def Fetch(self, size: int, data: Sink) -> int:
        data.announce(size)
        await data.write(pattern(size))
        return size

    async def Fetch64(self, size: int, data: Sink) -> tuple[int, int]:
        data.announce(size)
        whole = memoryview(pattern(size))
        for start in range(0, size, 5000):
            await data.write(whole[start : start + 5000])
        return 1, 2

    async def Dump(self, size: int, data: Sink) -> None:
        await data.write(pattern(size))

    async def Store(self, name: bytes, data: Source) -> int:
        collected = bytearray()
        try:
            while piece := await data.read(3000):
                collected += piece
        except Exception as problem:
            self.seen.append(problem)
            raise
        self.seen.append((name, bytes(collected)))
        return len(collected)

    async def Upload(self, data: Source, tag: int) -> int:
        collected = b""
        while piece := await data.read(100):
            collected += piece
        self.seen.append((tag, collected))
        return len(collected)

    async def Wait(self, tag: int) -> int:
        self.seen.append(("began", tag))
        waiting = self.waiting[tag] = Deferred()
        return await waiting

    async def Refuse(self, code: int) -> int:
        raise Abort(code)

    async def Break(self) -> int:
        raise LookupError("a defect")

    async def Ready(self) -> bytes:
        return Encoded(b"\0\0\0\3abc\0")  # type: ignore[return-value]

    async def Misencoded(self) -> int:
        return -1

    async def FetchThenRefuse(self, size: int, data: Sink) -> int:
        data.announce(size)
        await data.write(pattern(size // 2))
        raise Abort(REFUSED)

    async def Glance(self, code: int, data: Source) -> int:
        piece = await data.read(1000)
        if code:
            raise Abort(code)
        return len(piece)
