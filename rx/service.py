"""An RPC service declared once, as a class of annotated methods; client stubs and server dispatch come from it.

Request: the opcode, the INs in order, then the stream of a client. Reply: the stream of a server, then the OUTs
(rpc-structs.md). Everything here works on a `Conversation`, so it knows neither packets nor Twisted; `rx.server` and
`rx.client` supply that.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

from rx.constants import RxgenCode
from rx.errors import Abort
from rx.streams import Framing, Rest, Sink, Source
from xdr import Codec, XdrError, codec, sequence

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

OPCODE_SIZE = 4


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
        self._opcode_word = (opcode & 0xFFFF_FFFF).to_bytes(OPCODE_SIZE, "big")
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
        return self._arguments.unpack(request, OPCODE_SIZE) if self._arguments is not None else ((), OPCODE_SIZE)

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
            decoded = with_stream(decoded, stream.position, arguments[stream.position])
        procedure = self._procedures.find(operation.opcode)
        return operation.decode_reply(operation.encode_reply(await procedure.function(self._instance, *decoded)))


def with_stream(arguments: tuple[Any, ...], position: int, stream: Any) -> tuple[Any, ...]:
    """The parameters of a split call: its INs with the stream in its place."""
    return (*arguments[:position], stream, *arguments[position:])
