"""One call of a service, from either end, over a `Conversation`: `answer` serves it, `exchange` makes it.

Neither knows packets or Twisted. Where wire errors become codes is here and nowhere else.
"""

from typing import Any

from rx.constants import RxgenCode
from rx.errors import Abort
from rx.service import OPCODE_SIZE, Operation, Procedure, Service, with_stream
from rx.streams import MAXIMUM_READ, Conversation, FramedSink, FramedSource, Framing, Sink
from xdr import Truncated, XdrError

REQUEST_LIMIT = 2 << 20
"""Bytes of arguments a request may have: above the largest there is, PR_NameToID with 5000 names of 256 bytes."""

REPLY_LIMIT = 256 << 20
"""Bytes of results a reply may have: VL_ListAttributesN2 of a cell of half a million volumes."""


def read_opcode(request: bytes) -> int:
    """The opcode a request begins with; Abort(RXGEN_DECODE) when there is none."""
    if len(request) < OPCODE_SIZE:
        raise Abort(RxgenCode.RXGEN_DECODE)
    return int.from_bytes(request[:OPCODE_SIZE], "big")


async def answer(procedure: Procedure, instance: Service, request: bytes, conversation: Conversation) -> bytes:
    """Serve one call whose first bytes are `request`: what is left to send, after the stream, as its reply.

    The one place where wire errors become codes: arguments that do not decode are RXGEN_SS_UNMARSHAL, results that do
    not encode RXGEN_SS_MARSHAL. Otherwise raises what the procedure raises.
    """
    operation = procedure.operation
    stream = operation.stream
    if stream is None:
        if not conversation.ended:
            request = await read_all(conversation, REQUEST_LIMIT, request, RxgenCode.RXGEN_SS_UNMARSHAL)
        try:
            arguments = operation.decode_request(request)[0]
        except XdrError as problem:
            raise Abort(RxgenCode.RXGEN_SS_UNMARSHAL, f"{operation.name}: {problem}") from problem
        result = await procedure.function(instance, *arguments)
    else:
        arguments, end, request = await _leading_arguments(operation, request, conversation)
        if stream.to_client:
            sink = FramedSink(stream.framing, conversation)
            result = await procedure.function(instance, *with_stream(arguments, stream.position, sink))
            await sink.close()
        else:
            source = FramedSource(stream.framing, conversation, request[end:])
            await _count_of(source, RxgenCode.RXGEN_SS_UNMARSHAL)
            result = await procedure.function(instance, *with_stream(arguments, stream.position, source))
    try:
        return operation.encode_reply(result)
    except XdrError as problem:
        raise Abort(RxgenCode.RXGEN_SS_MARSHAL, f"{operation.name}: {problem}") from problem


async def _count_of(source: FramedSource, code: int) -> int:
    try:
        return await source.read_count()
    except EOFError as problem:
        raise Abort(code, str(problem)) from problem


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
    while not conversation.answered and (piece := await source.read(MAXIMUM_READ)):
        await sink.write(piece)
    if not conversation.answered:
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
