"""The declarations of afs.rpc against tables copied from the protocol pages."""

import csv
import tracemalloc
from inspect import signature
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from twisted.trial.unittest import SynchronousTestCase

from afs import types
from afs.rpc import cb, fs, pr, rxstats, ubik, vl, volser
from rx.service import Operation, Service
from rx.streams import Sink, Source
from tests.support.budget import budget
from xdr import Int32, Int64, String, UInt32, UInt64, XdrError, codec

VECTORS = Path(__file__).parent.parent / "vectors"

MODULES: dict[str, ModuleType] = {
    "VL": vl,
    "RXAFS": fs,
    "RXAFSCB": cb,
    "AFSVol": volser,
    "PR": pr,
    "VOTE": ubik,
    "DISK": ubik,
    "RXSTATS": rxstats,
}
SCALARS: dict[str, Any] = {
    "int": Int32,
    "afs_int32": Int32,
    "afs_uint32": UInt32,
    "afs_int64": Int64,
    "afs_uint64": UInt64,
    "afsUUID": types.AfsUuid,
}
NARROWER = {("PR", "namelist"): pr.NamesAsked, ("PR", "idlist"): pr.IdsAsked}
"""What callers send is bounded more tightly than the .xg says (OPENAFS-SA-2013-002)."""

ALL_MODULES = [types, *MODULES.values()]

MODEST = 1 << 20
"""Bytes that decoding requests of 80 bytes may need at most."""

UNUSED = {"VolumeStatus"}
"""In the .xg file, but in no RPC."""


def rows(name: str) -> list[dict[str, str]]:
    with (VECTORS / name).open(newline="") as table:
        return list(csv.DictReader(table))


def service(interface: str) -> type[Service]:
    found: type[Service] = getattr(MODULES[interface], interface)
    return found


class SurfaceTests(SynchronousTestCase):
    """Every RPC is declared as the .xg files have it."""

    def test_opcodes(self) -> None:
        """Each service has exactly the opcodes of the table, under their names."""
        for interface in MODULES:
            expected = {
                int(row["opcode"]): row["name"] for row in rows("rpc-surface.csv") if row["interface"] == interface
            }
            declared = {opcode: each.name for opcode, each in service(interface).operations.items()}
            self.assertEqual(declared, expected, interface)

    def test_service_ids(self) -> None:
        """Each service has its service id."""
        for row in rows("rpc-surface.csv"):
            self.assertEqual(service(row["interface"]).service_id, int(row["service_id"]), row["interface"])

    def test_arguments(self) -> None:
        """INs and OUTs have the number, order and types of the table; INOUTs are in both; split calls have a stream."""
        for row in rows("rpc-surface.csv"):
            interface = row["interface"]
            operation = service(interface).operations[int(row["opcode"])]
            hints = get_type_hints(operation.function, include_extras=True)
            arguments = [each.split(" ", 1) for each in row["arguments"].split("; ") if each]
            ins = [each for direction, each in arguments if direction in ("IN", "INOUT")]
            outs = [each for direction, each in arguments if direction in ("OUT", "INOUT")]
            given = [hints[name] for name in signature(operation.function).parameters if name != "self"]
            streams = [hint for hint in given if is_stream(hint)]
            given = [hint for hint in given if not is_stream(hint)]
            results = returned(hints["return"])
            where = f"{interface}.{operation.name}"
            self.assertEqual(len(streams), 1 if row["split"] == "yes" else 0, where)
            self.assertEqual(len(given), len(ins), where)
            self.assertEqual(len(results), len(outs), where)
            for hint, text in zip(given, ins, strict=True):
                self.assert_declares(interface, hint, text, f"{where} IN {text}", sent=True)
            for hint, text in zip(results, outs, strict=True):
                self.assert_declares(interface, hint, text, f"{where} OUT {text}", sent=False)

    def assert_declares(self, interface: str, hint: Any, text: str, where: str, sent: bool) -> None:
        """`hint` is the annotation for `TYPE NAME` or `string NAME<MAXIMUM>`."""
        kind, _, name = text.rpartition(" ")
        module = MODULES[interface]
        if kind == "string":
            maximum = name[name.index("<") + 1 : -1]
            limit = int(maximum) if maximum.isdigit() else getattr(module, maximum, None) or getattr(types, maximum)
            found = codec(hint)
            self.assertIsInstance(found, String, where)
            assert isinstance(found, String)
            self.assertEqual(found.maximum, limit, where)
            return
        expected = SCALARS.get(kind) or getattr(module, kind, None) or getattr(types, kind)
        if sent:
            expected = NARROWER.get((interface, kind), expected)
        self.assertIs(hint, expected) if isinstance(expected, type) else self.assertEqual(hint, expected, where)


class SizeTests(SynchronousTestCase):
    """Structures have the sizes that rxgen gives them."""

    def test_sizes(self) -> None:
        """Every structure of the table is declared and is as many bytes on the wire."""
        for row in rows("rpc-struct-sizes.csv"):
            name = row["struct"]
            if name in UNUSED:
                continue
            found = [getattr(module, name) for module in (types, *MODULES.values()) if hasattr(module, name)]
            self.assertTrue(found, f"{name} is not declared")
            layout = codec(found[0])
            self.assertEqual(layout.minimum, int(row["bytes"]), name)
            self.assertEqual(len(layout.encode(found[0]())), int(row["bytes"]), name)

    def test_truncation(self) -> None:
        """Every truncation of every structure is refused, and so is a byte too many."""
        for row in rows("rpc-struct-sizes.csv"):
            if row["struct"] in UNUSED:
                continue
            found = next(getattr(each, row["struct"]) for each in ALL_MODULES if hasattr(each, row["struct"]))
            layout = codec(found)
            wire = layout.encode(found())
            for size in range(len(wire)):
                self.assertRaises(XdrError, layout.decode, wire[:size])
            self.assertRaises(XdrError, layout.decode, wire + b"\0")


class HostileTests(SynchronousTestCase):
    """Requests nobody meant well with."""

    def test_absurd_counts(self) -> None:
        """Counts that overflow 32 bits when multiplied, anywhere in any request, cost no memory worth mentioning."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for service_name in MODULES:
            for operation in service(service_name).operations.values():
                for count in (0xFFFF_FFFF, 0x4000_0001, 0x8000_0000):
                    self.decode(operation, count.to_bytes(4, "big") * 20)
                    self.decode(operation, bytes(40) + count.to_bytes(4, "big") * 10)
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, MODEST)

    def test_garbage(self) -> None:
        """Random bytes are arguments or XdrError, for every opcode of every service."""
        plan = budget("afs.rpc.garbage", full=500)
        random = Random(plan.seed)
        for _ in range(plan.count):
            for service_name in MODULES:
                for operation in service(service_name).operations.values():
                    self.decode(operation, random.randbytes(random.randrange(200)))
                    self.decode(operation, bytes(random.choices((0, 0, 0, 1, 2, 255), k=random.randrange(200))))

    def decode(self, operation: Operation, arguments: bytes) -> None:
        try:
            operation.decode_request(bytes(4) + arguments)
        except XdrError:
            return


def is_stream(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] in (Sink, Source)


def returned(hint: Any) -> list[Any]:
    if hint is type(None):
        return []
    if get_origin(hint) is tuple and Ellipsis not in get_args(hint):
        return list(get_args(hint))
    return [hint]
