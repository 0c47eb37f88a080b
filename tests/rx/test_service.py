"""rx.service: one declaration, its codecs, client stubs and dispatch, with conversations made of lists."""

from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from rx.constants import RxgenCode
from rx.dispatch import REQUEST_LIMIT, answer, exchange, read_opcode
from rx.errors import Abort
from rx.service import InProcess, Operation, Procedures, Service, rpc
from rx.streams import Buffer, BytesSource, Rest, Sink
from tests.rx.example import Example, Server, pattern
from xdr import UInt32

T = TypeVar("T")


class Script:
    """A conversation whose other side was written down before: pieces to receive, and what was sent."""

    answered = False

    def __init__(self, pieces: Sequence[bytes] = ()) -> None:
        self.pieces = list(pieces)
        self.sent = b""
        self.finished = False

    async def send(self, data: bytes | memoryview) -> None:
        self.sent += data

    def finish(self) -> None:
        self.finished = True

    @property
    def ended(self) -> bool:
        return not self.pieces

    async def receive(self, size: int = -1) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if 0 <= size < len(piece):
            self.pieces.insert(0, piece[size:])
            piece = piece[:size]
        return piece


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


def operation(name: str) -> Operation:
    return next(each for each in Example.operations.values() if each.name == name)


def serve(request: Sequence[bytes], server: Server | None = None) -> bytes:
    """What a server sends for a request that comes in these pieces."""
    script = Script(request[1:])
    procedure = Procedures(Server).find(read_opcode(request[0]))
    reply = run(answer(procedure, server or Server(), request[0], script))
    return script.sent + reply


def request_of(name: str, *arguments: Any, stream: bytes = b"") -> bytes:
    return operation(name).encode_request(arguments) + stream


class Wire(SynchronousTestCase):
    """What travels."""

    def test_bytes(self) -> None:
        """A request is the opcode and the INs; a reply is the OUTs alone, and a stream goes before them."""
        self.assertEqual(request_of("Add", 2, 3).hex(), "000000020000000200000003")
        self.assertEqual(serve([request_of("Add", 2, 3)]).hex(), "00000005")
        self.assertEqual(serve([request_of("Divide", 17, 5)]).hex(), "0000000300000002")
        self.assertEqual(serve([request_of("Nothing")]), b"")
        self.assertEqual(serve([request_of("Fetch", 3)]), b"\0\0\0\3" + pattern(3) + b"\0\0\0\3")
        fetched = bytes(7) + b"\3" + pattern(3) + bytes.fromhex("0000000100000002")
        self.assertEqual(serve([request_of("Fetch64", 3)]), fetched)
        self.assertEqual(serve([request_of("Dump", 3)]), pattern(3))

    def test_encoded_reply(self) -> None:
        """A procedure may give its reply encoded."""
        self.assertEqual(serve([request_of("Ready")]), b"\0\0\0\3abc\0")

    def test_any_pieces(self) -> None:
        """Wherever a request is cut into pieces, the reply and what a stream brought are the same."""
        for name, arguments, stream in [
            ("Add", (5, 6), b""),
            ("Reverse", ((b"a", b"bc"),), b""),
            ("Fetch", (9,), b""),
            ("Store", (b"name",), pattern(40)),
            ("Upload", (7,), (40).to_bytes(8, "big") + pattern(40)),
        ]:
            request = request_of(name, *arguments, stream=stream)
            whole = Server()
            reply = serve([request], whole)
            for cut in range(4, len(request)):
                server = Server()
                self.assertEqual(serve([request[:cut], request[cut:]], server), reply, (name, cut))
                self.assertEqual(server.seen, whole.seen)

    def test_trailing_bytes_are_ignored(self) -> None:
        """Bytes after the arguments do not matter, as OpenAFS servers have it; nor do those after results."""
        self.assertEqual(serve([request_of("Add", 2, 3, stream=b"more")]).hex(), "00000005")
        self.assertEqual(run(exchange(operation("Add"), (2, 3), Script([b"\0\0\0\5more"]))), 5)


class Refusals(SynchronousTestCase):
    """Requests that cannot be served."""

    def refused(self, request: Sequence[bytes]) -> int:
        with self.assertRaises(Abort) as caught:
            serve(request)
        code: int = caught.exception.code
        return code

    def test_codes(self) -> None:
        """Unknown or unserved: RXGEN_OPCODE; no opcode: RXGEN_DECODE; bad arguments: RXGEN_SS_UNMARSHAL; bad results:
        -452.
        """
        self.assertEqual(self.refused([b"\0\0\x7f\xff"]), RxgenCode.RXGEN_OPCODE)
        self.assertEqual(self.refused([request_of("NotServed")]), RxgenCode.RXGEN_OPCODE)
        self.assertEqual(self.refused([b"\0\0"]), RxgenCode.RXGEN_DECODE)
        self.assertEqual(self.refused([request_of("Misencoded")]), RxgenCode.RXGEN_SS_MARSHAL)
        self.assertEqual(self.refused([request_of("Refuse", 49733)]), 49733)

    def test_every_truncation(self) -> None:
        """A request cut short anywhere in its arguments is RXGEN_SS_UNMARSHAL."""
        for request in (request_of("Add", 1, 2), request_of("Reverse", (b"a", b"b")), request_of("Store", b"name")):
            for size in range(4, len(request)):
                self.assertEqual(self.refused([request[:size]]), RxgenCode.RXGEN_SS_UNMARSHAL)

    def test_endless_arguments(self) -> None:
        """Arguments without end are refused at the limit, whether or not a stream may follow."""
        piece = bytes(1 << 16)
        pieces = [piece] * (2 * REQUEST_LIMIT // len(piece))
        self.assertEqual(self.refused([request_of("Nothing"), *pieces]), RxgenCode.RXGEN_SS_UNMARSHAL)
        claim = b"\0\0\0\4" + (64_000).to_bytes(4, "big")
        self.assertEqual(self.refused([claim, *pieces]), RxgenCode.RXGEN_SS_UNMARSHAL)

    def test_missing_count(self) -> None:
        """A counted upload that ends within its count is RXGEN_SS_UNMARSHAL."""
        self.assertEqual(self.refused([request_of("Upload", 7, stream=b"\0\0")]), RxgenCode.RXGEN_SS_UNMARSHAL)


class Exchange(SynchronousTestCase):
    """The client's side."""

    def test_streams(self) -> None:
        """A client's sink gets what was announced and the results come after it; its source is sent after the
        arguments.
        """
        sink = Buffer()
        reply = b"\0\0\0\5hello\0\0\0\7"
        for cut in range(len(reply)):
            sink = Buffer()
            script = Script([piece for piece in (reply[:cut], reply[cut:]) if piece])
            self.assertEqual(run(exchange(operation("Fetch"), (5, sink), script)), 7)
            self.assertEqual((bytes(sink), sink.length, script.finished), (b"hello", 5, True))
        script = Script([b"\0\0\0\3"])
        self.assertEqual(run(exchange(operation("Store"), (b"n", BytesSource(b"abc")), script)), 3)
        self.assertEqual(script.sent, request_of("Store", b"n", stream=b"abc"))
        script = Script([b"\0\0\0\3"])
        self.assertEqual(run(exchange(operation("Upload"), (BytesSource(b"abc"), 9), script)), 3)
        self.assertEqual(script.sent, request_of("Upload", 9, stream=bytes(7) + b"\3abc"))

    def test_bad_reply(self) -> None:
        """A reply that does not decode, or whose stream is shorter than announced, is RXGEN_CC_UNMARSHAL."""
        for name, arguments, reply in [
            ("Add", (1, 2), b"\0\0"),
            ("Fetch", (5, Buffer()), b"\0\0"),
            ("Fetch", (5, Buffer()), b"\0\0\0\5hel"),
            ("Fetch", (5, Buffer()), b"\0\0\0\5hello"),
        ]:
            with self.assertRaises(Abort) as caught:
                run(exchange(operation(name), arguments, Script([reply])))
            self.assertEqual(caught.exception.code, RxgenCode.RXGEN_CC_UNMARSHAL)

    def test_bad_argument(self) -> None:
        """An argument that does not fit its type is RXGEN_CC_MARSHAL, and nothing is sent."""
        script = Script()
        with self.assertRaises(Abort) as caught:
            run(exchange(operation("Add"), (1 << 40, 1), script))
        self.assertEqual((caught.exception.code, script.sent), (RxgenCode.RXGEN_CC_MARSHAL, b""))


class Stubs(SynchronousTestCase):
    """Clients derived from the declaration."""

    def test_in_process(self) -> None:
        """A client of an instance in the same process gets what it serves, by position, by name and by default."""
        client = Example.client(InProcess(Server()))
        self.assertEqual(run(client.Add(2, 3)), 5)
        self.assertEqual(run(client.Add(right=3, left=2)), 5)
        self.assertEqual(run(client.Add(2)), 3)
        self.assertEqual(run(client.Divide(17, 5)), (3, 2))
        sink = Buffer()
        self.assertEqual(run(client.Fetch64(9, sink)), (1, 2))
        self.assertEqual(bytes(sink), pattern(9))
        with self.assertRaises(Abort):
            run(client.NotServed())

    def test_too_many_arguments(self) -> None:
        """A stub takes the declared parameters and no others."""
        client: Any = Example.client(InProcess(Server()))
        with self.assertRaises(TypeError):
            client.Add(1, 2, 3)


class Declarations(SynchronousTestCase):
    """What cannot be declared raises where it is declared."""

    def test_refused(self) -> None:
        """An opcode twice, results after an uncounted stream, and a type without wire form are declaration errors."""
        with self.assertRaises(TypeError):

            class Twice(Service, service_id=1):
                @rpc(1)
                async def One(self) -> None: ...
                @rpc(1)
                async def Other(self) -> None: ...

        with self.assertRaises(TypeError):

            class After(Service, service_id=1):
                @rpc(1)
                async def One(self, data: Annotated[Sink, Rest]) -> UInt32: ...  # type: ignore[empty-body]

        with self.assertRaises(TypeError):

            class Bare(Service, service_id=1):
                @rpc(1)
                async def One(self, number: int) -> None: ...
