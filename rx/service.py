"""An RPC service declared once, as a class of annotated methods; client stubs and server dispatch come from it.

Request: the opcode, the INs in order, then the stream of a client. Reply: the stream of a server, then the OUTs
(rpc-structs.md). Everything here works on a `Conversation`, so it knows neither packets nor Twisted; `rx.server` and
`rx.client` supply that.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from struct import Struct
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

from rx.constants import RxgenCode
from rx.errors import Abort
from rx.streams import MAXIMUM_READ, Conversation, FramedSink, FramedSource, Framing, Rest, Sink, Source
from xdr import Codec, Truncated, XdrError, codec, sequence

REQUEST_LIMIT = 2 << 20
"""Bytes of arguments a request may have: above the largest there is, PR_NameToID with 5000 names of 256 bytes."""

REPLY_LIMIT = 256 << 20
"""Bytes of results a reply may have: VL_ListAttributesN2 of a cell of half a million volumes."""

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

_word = Struct(">I")


def rpc(opcode: int) -> Callable[[F], F]:
    """Declare a method of a `Service` to be the RPC of that opcode."""

    def mark(function: F) -> F:
        function.__rpc_opcode__ = opcode  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Encoded:
    """A procedure may return this instead of its OUTs: their wire form, encoded before."""

    data: bytes


class Caller(Protocol):
    """What client stubs need of a connection."""

    def call(self, operation: "Operation", arguments: tuple[Any, ...], timeout: float | None) -> Awaitable[Any]:
        """Carry out one call. Raises Abort or CallLost. `timeout` in seconds, None for the connection's own."""


class Service:
    """Base of every service. Declaring one names its id: `class VL(Service, service_id=52)`; serving one subclasses
    that.
    """

    service_id: ClassVar[int]
    operations: ClassVar[dict[int, "Operation"]]
    """By opcode."""

    def __init_subclass__(cls, service_id: int | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if service_id is None:
            return
        cls.service_id = service_id
        declared = [_declare(function) for function in vars(cls).values() if hasattr(function, "__rpc_opcode__")]
        inherited = getattr(cls, "operations", {})
        cls.operations = inherited | {operation.opcode: operation for operation in declared}
        if len(cls.operations) != len(inherited) + len(declared):
            raise TypeError(f"{cls.__name__} declares an opcode twice")

    @classmethod
    def client(cls, connection: Caller, timeout: float | None = None) -> Self:
        """The same methods, carried out over `connection`; each call takes `timeout` seconds at most."""
        declared: Any = cls
        client: Any = object.__new__(_client_class(declared))
        client._connection, client._timeout = connection, timeout
        result: Self = client
        return result


@dataclass(frozen=True, slots=True)
class Stream:
    """The parameter of a split call that is not an argument but a stream of bytes."""

    position: int
    to_client: bool
    framing: Framing


class Operation:
    """One RPC prepared for use: its codecs, and where its stream is. Raises XdrError where bytes and types
    disagree.
    """

    def __init__(self, function: Callable[..., Any], opcode: int) -> None:
        hints = get_type_hints(function, include_extras=True)
        self.function = function
        self.name = function.__name__
        self.opcode = opcode
        self.parameters = [each for each in signature(function).parameters.values() if each.name != "self"]
        self.stream = self._find_stream(hints)
        arguments = [hints[each.name] for each in self.parameters]
        if self.stream is not None:
            del arguments[self.stream.position]
        outs = hints["return"]
        self.returns_several = get_origin(outs) is tuple and Ellipsis not in get_args(outs)
        results = list(get_args(outs)) if self.returns_several else [] if outs is type(None) else [outs]
        self._arguments = sequence([codec(each) for each in arguments])
        self._results: Codec[Any] | None = (
            sequence([codec(each) for each in results]) if self.returns_several or not results else codec(outs)
        )
        self._opcode_word = _word.pack(opcode & 0xFFFF_FFFF)
        if self.stream and self.stream.to_client and self.stream.framing is Rest and results:
            raise TypeError(f"{self.name}: results cannot be told from an uncounted stream before them")

    def _find_stream(self, hints: dict[str, Any]) -> Stream | None:
        streams = []
        for position, parameter in enumerate(self.parameters):
            hint = hints[parameter.name]
            if get_origin(hint) is Annotated and get_args(hint)[0] in (Sink, Source):
                kind, framing = get_args(hint)
                streams.append(Stream(position, kind is Sink, framing))
        if len(streams) > 1:
            raise TypeError(f"{self.name}: one stream a call")
        return streams[0] if streams else None

    def encode_request(self, arguments: tuple[Any, ...]) -> bytes:
        """The opcode and the INs."""
        out = bytearray(self._opcode_word)
        if self._arguments is not None:
            self._arguments.pack(arguments, out)
        return bytes(out)

    def decode_request(self, request: bytes) -> tuple[tuple[Any, ...], int]:
        """The INs, and the offset after them. Bytes beyond are a stream or, as in OpenAFS, nobody's."""
        return self._arguments.unpack(request, _word.size) if self._arguments is not None else ((), _word.size)

    def encode_reply(self, result: Any) -> bytes:
        """The OUTs from what the procedure returned."""
        if type(result) is Encoded:
            return result.data
        if self._results is None:
            if result is not None:
                raise XdrError(f"{self.name} returned {result!r} but has no OUTs")
            return b""
        return self._results.encode(result)

    def decode_reply(self, reply: bytes) -> Any:
        """The OUTs; bytes beyond are ignored, as OpenAFS clients do."""
        return self._results.unpack(reply, 0)[0] if self._results is not None else None

    def __repr__(self) -> str:
        return f"<Operation {self.name} {self.opcode}>"


def _declare(function: Any) -> Operation:
    return Operation(function, function.__rpc_opcode__)


@cache
def _client_class(service: Any) -> type:
    stubs = {operation.name: _stub(operation) for operation in service.operations.values()}
    return type(f"{service.__name__}Client", (service,), stubs | {"__slots__": ("_connection", "_timeout")})


def _stub(operation: Operation) -> Callable[..., Awaitable[Any]]:
    shape = signature(operation.function)
    count = len(operation.parameters)
    assert all(each.kind is Parameter.POSITIONAL_OR_KEYWORD for each in operation.parameters)

    def call(self: Any, *arguments: Any, **named: Any) -> Awaitable[Any]:
        if named or len(arguments) != count:
            bound = shape.bind(self, *arguments, **named)
            bound.apply_defaults()
            arguments = bound.args[1:]
        connection: Caller = self._connection
        return connection.call(operation, arguments, self._timeout)

    call.__name__, call.__doc__ = operation.name, operation.function.__doc__
    return call


class Procedure:
    """An RPC as one server class overrides it, with what it has cost so far."""

    __slots__ = ("calls", "errors", "function", "operation", "seconds")

    def __init__(self, operation: Operation, function: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.operation = operation
        self.function = function
        self.calls = 0
        self.errors = 0
        self.seconds = 0.0


class Procedures:
    """What a server class implements of a service: opcode -> Procedure. Those it does not override are
    RXGEN_OPCODE.
    """

    def __init__(self, implementation: type[Service]) -> None:
        self._by_opcode = {
            opcode: Procedure(operation, getattr(implementation, operation.name))
            for opcode, operation in implementation.operations.items()
            if getattr(implementation, operation.name) is not operation.function
        }

    def find(self, opcode: int) -> Procedure:
        """Raises Abort(RXGEN_OPCODE) for what is not served."""
        procedure = self._by_opcode.get(opcode)
        if procedure is None:
            raise Abort(RxgenCode.RXGEN_OPCODE)
        return procedure

    def __iter__(self) -> Any:
        return iter(self._by_opcode.values())


def read_opcode(request: bytes) -> int:
    """The opcode a request begins with; Abort(RXGEN_DECODE) when there is none."""
    if len(request) < _word.size:
        raise Abort(RxgenCode.RXGEN_DECODE)
    return int.from_bytes(request[: _word.size], "big")


async def answer(procedure: Procedure, instance: Service, request: bytes, conversation: Conversation) -> bytes:
    """Serve one call whose first bytes are `request`: what is left to send, after the stream, as its reply.

    The one place where wire errors become codes: arguments that do not decode are RXGEN_SS_UNMARSHAL, results that do
    not encode RXGEN_SS_MARSHAL. Otherwise raises what the procedure raises.
    """
    operation = procedure.operation
    stream = operation.stream
    if stream is None:
        arguments = await _whole_arguments(operation, request, conversation)
        result = await procedure.function(instance, *arguments)
    else:
        arguments, end, request = await _leading_arguments(operation, request, conversation)
        if stream.to_client:
            sink = FramedSink(stream.framing, conversation)
            result = await procedure.function(instance, *_insert(arguments, stream.position, sink))
            await sink.close()
        else:
            source = FramedSource(stream.framing, conversation, request[end:])
            await _count_of(source, RxgenCode.RXGEN_SS_UNMARSHAL)
            result = await procedure.function(instance, *_insert(arguments, stream.position, source))
    try:
        return operation.encode_reply(result)
    except XdrError as problem:
        raise Abort(RxgenCode.RXGEN_SS_MARSHAL, f"{operation.name}: {problem}") from problem


async def _count_of(source: FramedSource, code: int) -> int:
    try:
        return await source.read_count()
    except EOFError as problem:
        raise Abort(code, str(problem)) from problem


def _insert(arguments: tuple[Any, ...], position: int, stream: Any) -> tuple[Any, ...]:
    return (*arguments[:position], stream, *arguments[position:])


async def _whole_arguments(operation: Operation, request: bytes, conversation: Conversation) -> tuple[Any, ...]:
    more = await conversation.receive()
    if more:
        request = await read_all(conversation, REQUEST_LIMIT, request + more, RxgenCode.RXGEN_SS_UNMARSHAL)
    try:
        return operation.decode_request(request)[0]
    except XdrError as problem:
        raise Abort(RxgenCode.RXGEN_SS_UNMARSHAL, f"{operation.name}: {problem}") from problem


async def _leading_arguments(
    operation: Operation, request: bytes, conversation: Conversation
) -> tuple[tuple[Any, ...], int, bytes]:
    """The INs of a split call as soon as they are there, the offset after them, and the bytes read so far."""
    while True:
        try:
            arguments, end = operation.decode_request(request)
        except Truncated as problem:
            more = await conversation.receive()
            if not more or len(request) + len(more) > REQUEST_LIMIT:
                raise Abort(RxgenCode.RXGEN_SS_UNMARSHAL, f"{operation.name}: {problem}") from problem
            request += more
        except XdrError as problem:
            raise Abort(RxgenCode.RXGEN_SS_UNMARSHAL, f"{operation.name}: {problem}") from problem
        else:
            return arguments, end, request


async def read_all(conversation: Conversation, limit: int, already: bytes, code: int) -> bytes:
    """Everything to the end of the other side's data, after what was read already; Abort(code) beyond `limit`
    bytes.
    """
    collected = bytearray(already)
    while piece := await conversation.receive():
        collected += piece
        if len(collected) > limit:
            raise Abort(code, f"more than {limit} bytes")
    return bytes(collected)


async def exchange(operation: Operation, arguments: tuple[Any, ...], conversation: Conversation) -> Any:
    """The client's side of one call: send the INs and its stream, take the server's stream and the OUTs.

    Arguments that do not encode raise Abort(RXGEN_CC_MARSHAL) before anything is sent, results that do not decode
    Abort(RXGEN_CC_UNMARSHAL). Otherwise raises what the conversation, or the stream passed in, raises.
    """
    stream = operation.stream
    plain = arguments if stream is None else arguments[: stream.position] + arguments[stream.position + 1 :]
    try:
        request = operation.encode_request(plain)
    except XdrError as problem:
        raise Abort(RxgenCode.RXGEN_CC_MARSHAL, f"{operation.name}: {problem}") from problem
    await conversation.send(request)
    if stream is not None and not stream.to_client:
        await _send_stream(stream.framing, arguments[stream.position], conversation)
    conversation.finish()
    if stream is not None and stream.to_client:
        await _receive_stream(stream.framing, arguments[stream.position], conversation)
    reply = await read_all(conversation, REPLY_LIMIT, b"", RxgenCode.RXGEN_CC_UNMARSHAL)
    try:
        return operation.decode_reply(reply)
    except XdrError as problem:
        raise Abort(RxgenCode.RXGEN_CC_UNMARSHAL, f"{operation.name}: {problem}") from problem


async def _send_stream(framing: Framing, source: Any, conversation: Conversation) -> None:
    sink = FramedSink(framing, conversation)
    if framing.count is not None:
        sink.announce(source.length)
    while piece := await source.read(MAXIMUM_READ):
        await sink.write(piece)
    await sink.close()


async def _receive_stream(framing: Framing, sink: Sink, conversation: Conversation) -> None:
    source = FramedSource(framing, conversation)
    length = await _count_of(source, RxgenCode.RXGEN_CC_UNMARSHAL)
    if framing.count is not None:
        sink.announce(length)
    taken = 0
    while piece := await source.read():
        taken += len(piece)
        await sink.write(piece)
    if framing.count is not None and taken != length:
        raise Abort(RxgenCode.RXGEN_CC_UNMARSHAL, f"{length - taken} bytes of the stream are missing")


class InProcess:
    """A `Caller` whose server is an instance in the same process: every value goes through its wire form, streams
    directly.
    """

    def __init__(self, instance: Service) -> None:
        self._instance = instance
        self._procedures = Procedures(type(instance))

    async def call(self, operation: Operation, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        """Serve the call by the instance. There is no clock here, so `timeout` has no meaning."""
        stream = operation.stream
        plain = arguments if stream is None else arguments[: stream.position] + arguments[stream.position + 1 :]
        decoded, _ = operation.decode_request(operation.encode_request(plain))
        if stream is not None:
            decoded = _insert(decoded, stream.position, arguments[stream.position])
        procedure = self._procedures.find(operation.opcode)
        return operation.decode_reply(operation.encode_reply(await procedure.function(self._instance, *decoded)))
