"""Interface descriptions (.xg): read into plain words, and our declarations put into the same, to compare the two."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

from rx.service import Operation
from xdr import Array, FixedArray, Int32, Int64, Opaque, String, UInt32, UInt64, Union

Words = tuple[str, ...]
SCALARS = {"afs_int32": Int32, "afs_uint32": UInt32, "afs_int64": Int64, "afs_uint64": UInt64}
_TOKEN = re.compile(r"[A-Za-z_]\w*|-?(?:0x[0-9a-fA-F]+|\d+)|[{}()<>\[\];:,=*]")


class Description:
    """What an .xg declares: constants, structs as (type, field) pairs, unions by word, RPCs by opcode.

    A type is said in full, its typedefs and constants replaced: ``afs_uint32[3]``, ``PartitionObject<256>``.
    """

    def __init__(self, path: Path) -> None:
        text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL)
        self._tokens = _TOKEN.findall(text)
        self._at = 0
        self.constants: dict[str, int] = {}
        self._types: dict[str, str] = {}
        self.structs: dict[str, list[tuple[str, str]]] = {}
        self.unions: dict[str, dict[int | None, tuple[str, str]]] = {}
        self.rpcs: dict[int, tuple[str, list[tuple[str, str]], list[tuple[str, str]]]] = {}
        while self._at < len(self._tokens):
            self._declaration()

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _expect(self, *words: str) -> None:
        for word in words:
            found = self._next()
            assert found == word, f"{word!r} expected, {found!r} at {self._tokens[self._at - 5 : self._at + 5]}"

    def _peek(self) -> str:
        return str(self._tokens[self._at])

    def _declaration(self) -> None:
        word = self._next()
        match word:
            case "const":
                name = self._next()
                self._expect("=")
                self.constants[name] = int(self._next(), 0)
                self._expect(";")
            case "typedef":
                kind, name = self._member()
                self._types[name] = kind
            case "struct":
                self._struct(self._next())
            case "union":
                self._union(self._next())
            case "package" | "statindex":
                self._next()
            case _:
                self._rpc(word)

    def _struct(self, name: str) -> None:
        self._expect("{")
        members = self.structs.setdefault(name, [])
        while self._peek() != "}":
            members.append(self._member())
        self._expect("}", ";")

    def _union(self, name: str) -> None:
        self._expect("switch", "(", "afs_int32", "kind", ")", "{")
        arms = self.unions.setdefault(name, {})
        while self._peek() != "}":
            word: int | None = self._number(self._next()) if self._next() == "case" else None
            self._expect(":")
            arms[word] = self._member()
        self._expect("}", ";")

    def _rpc(self, name: str) -> None:
        ins: list[tuple[str, str]] = []
        outs: list[tuple[str, str]] = []
        self._expect("(")
        while self._peek() != ")":
            way = self._next()
            (ins if way == "IN" else outs).append(self._member())
            if self._peek() == ",":
                self._next()
        self._expect(")", "=")
        self.rpcs[self._number(self._next())] = (name, ins, outs)
        self._expect(";")

    def _member(self) -> tuple[str, str]:
        """A type and a name, up to a ``;`` that is taken or a ``,`` or ``)`` that is not."""
        kind = self._next()
        kind = self._types.get(kind, kind)
        if self._peek() == "*":
            self._next()
        name = self._next()
        if self._peek() in ("<", "["):
            opening = self._next()
            size = self._number(self._next())
            self._next()
            kind = f"{kind}<{size}>" if opening == "<" else f"{kind}[{size}]"
        if self._peek() == ";":
            self._next()
        return kind, name

    def _number(self, word: str) -> int:
        return self.constants[word] if word in self.constants else int(word, 0)


def declared(annotation: Any, unions: dict[Any, str]) -> str:
    """One of our annotations in the words of an .xg. `unions` has the names of the unions."""
    if annotation in unions:
        return unions[annotation]
    for name, scalar in SCALARS.items():
        if annotation == scalar:
            return name
    if isinstance(annotation, type):
        return annotation.__name__
    plain, how = get_args(annotation)[:2]
    if plain is UUID:
        return "afsUUID"
    if isinstance(how, String):
        return f"string<{how.maximum}>"
    if isinstance(how, Opaque):
        return f"opaque<{how.maximum}>"
    element = declared(get_args(plain)[0], unions)
    if isinstance(how, Array):
        return f"{element}<{how.maximum}>"
    assert isinstance(how, FixedArray), annotation
    return f"{element}[{how.count}]"


def declared_struct(kind: type, unions: dict[Any, str]) -> list[tuple[str, str]]:
    """The fields of one of our structs."""
    hints = get_type_hints(kind, include_extras=True)
    return [(declared(hints[each.name], unions), each.name) for each in fields(kind)]


def declared_union(annotation: Any) -> dict[int | None, str]:
    """The arms of one of our unions by word; the default's is None."""
    how = get_args(annotation)[1]
    assert isinstance(how, Union)
    arms: dict[int | None, str] = {int(word): arm.__name__ for word, arm in how.arms.items()}
    if how.default is not None:
        default = declared_struct(how.default, {})
        assert default[0][0] == "afs_int32", default
        arms[None] = default[1][0]
    return arms


def declared_rpc(operation: Operation, unions: dict[Any, str]) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Name, parameters, and the types of the results, whose names are in the docstring."""
    hints = get_type_hints(operation.function, include_extras=True)
    ins = [(declared(hints[name], unions), name) for name in signature(operation.function).parameters if name != "self"]
    outs = hints["return"]
    results: Iterable[Any] = () if outs is type(None) else (outs,)
    if get_origin(outs) is tuple:
        results = get_args(outs)
    return operation.name, ins, [declared(each, unions) for each in results]
