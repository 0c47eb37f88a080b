"""Requests nobody expects, for every RPC that is declared."""

from __future__ import annotations

from random import Random
from typing import Any, get_args, get_origin, get_type_hints

from afs.rpc.volser import ITBusy, ITCreate, ITOffline, ITReadOnly
from afs.types import AFSFid
from rx.service import OPCODE_SIZE, Operation
from rx.streams import Sink, Source
from xdr import Opaque, codec

VOLUMES = (100, 101, 102, 536870912, 0xFFFFFFFE)

WORDS = (0, 1, 2, 3, 4, 8, 12, 15, 30, 255, 256, 1023, 1024, 2047, 2048, 4096, 65535, 0o4755, 1 << 20, 1 << 31, 1000000)
HOSTILE = tuple(word & 0xFFFFFFFF for word in (-1, -2, -101, -204, -300, 2**31 - 1, -(2**31), 2**32 - 2, 5000))
NAMES = (
    *(b"a", b"b", b"c", b"dir", b"sub", b"x" * 15, b"y" * 47, b"z" * 255, b"w" * 256, b".", b"..", b"", b"a/b"),
    *(b"n\0l", b"@sys", b"v.readonly", b"\xff\xfe", b"#root.cell.", b"/vicepa"),
)
ACCESS_LISTS = (
    *(b"1\n0\nsystem:anyuser\t127\n\0", b"1\n1\nsystem:anyuser\t-1\n-204\t9\n\0", b"99\n-1\n\0"),
    *(b"1\n0\nnobody\t4\n\0", b"0\n0\n", b"%d\n0\n" % 10**9),
)


class Requests:
    """Makes requests: mostly well-formed, mostly about what exists, seldom sensible."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.fids = [AFSFid(volume, 1, 1) for volume in VOLUMES]
        self.transactions = [1]

    def make(self, operation: Operation) -> bytes:
        """The opcode and arguments of one call, its stream behind them."""
        random = self.random
        hints = get_type_hints(operation.function, include_extras=True)
        parts = [(operation.opcode & 0xFFFFFFFF).to_bytes(4, "big")]
        parts += [self._argument(each.name, hints[each.name]) for each in operation.parameters]
        request = bytearray(b"".join(parts))
        chance = random.random()
        if chance < 0.03:
            del request[random.randrange(OPCODE_SIZE, len(request) + 1) :]
        elif chance < 0.06 and len(request) > OPCODE_SIZE:
            request[random.randrange(OPCODE_SIZE, len(request))] = random.randrange(256)
        return bytes(request)

    def learn(self, result: Any) -> None:
        """Fids and transactions in a reply are used from now on."""
        found = [each for each in result if isinstance(each, AFSFid)] if isinstance(result, tuple) else []
        self.fids += found
        if len(self.fids) > 40:
            del self.fids[self.random.randrange(len(VOLUMES), len(self.fids))]

    def _argument(self, name: str, hint: Any) -> bytes:
        random = self.random
        if hint is AFSFid:
            return bytes(codec(AFSFid).encode(self._fid()))
        kind = get_args(hint)[0] if get_args(hint) else None
        if kind is Sink:
            return b""
        if kind is Source:
            return random.randbytes(random.choice((0, 1, 100, 5000)))
        if kind is bytes and isinstance(get_args(hint)[1], Opaque):
            return _opaque(self._text())
        if get_origin(kind) is tuple:
            count = random.choice((0, 1, 2, 3, 50, 51))
            elements = [self._argument(name, get_args(kind)[0]) for _ in range(count)]
            return count.to_bytes(4, "big") + b"".join(elements)
        size = codec(hint).minimum
        if name in ("volume", "volid", "vol_id", "new_vol", "clone_id", "purge_vol", "parent", "volume_id"):
            return random.choice((*VOLUMES, 0)).to_bytes(4, "big")
        if name in ("trans", "tid", "from_trans"):
            return random.choice(self.transactions).to_bytes(4, "big")
        if name in ("partition", "partid"):
            return random.choice((0, 0, 0, 0, 1, 0xFFFFFFFF)).to_bytes(4, "big")
        if name == "flags" and random.random() < 0.5:
            return random.choice((0, ITBusy, ITOffline, ITReadOnly, ITCreate)).to_bytes(4, "big")
        if size == 8:
            return random.choice((*WORDS, 1 << 40, 2**63 - 1, 2**63, 2**64 - 1)).to_bytes(8, "big")
        return b"".join(self._word() for _ in range(size // 4))

    def _word(self) -> bytes:
        random = self.random
        word = random.choice(HOSTILE) if random.random() < 0.15 else random.choice(WORDS[:12])
        return word.to_bytes(4, "big")

    def _text(self) -> bytes:
        random = self.random
        chance = random.random()
        if chance < 0.05:
            return random.randbytes(random.randrange(300))
        return random.choice(ACCESS_LISTS if chance < 0.15 else NAMES)

    def _fid(self) -> AFSFid:
        random = self.random
        fid = random.choice(self.fids)
        if random.random() < 0.1:
            fid = AFSFid(*(int.from_bytes(self._word(), "big") for _ in range(3)))
        return fid


def _opaque(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data + bytes(-len(data) % 4)
