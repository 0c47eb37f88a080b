"""The published description of our own RPCs, docs/protocol/partitions.xg, against what the servers are made of."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from afs.rpc import partitions, volpartitions
from afs.rpc.vl import VL
from afs.rpc.volser import AFSVol
from rx.service import Operation
from tests.afs.xg import Description, declared_rpc, declared_struct, declared_union

XG = Path(__file__).parents[2] / "docs" / "protocol" / "partitions.xg"
MODULES = (partitions, volpartitions)
UNIONS: dict[Any, str] = {
    partitions.PartitionSelector: "PartitionSelector",
    partitions.PartitionSubject: "PartitionSubject",
}


def of(module: ModuleType) -> dict[str, Any]:
    """What a module itself declares."""
    return {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__}


class SameTest(SynchronousTestCase):
    """Field by field."""

    def setUp(self) -> None:
        self.published = Description(XG)

    def test_structs(self) -> None:
        """Every struct has the published fields in their order, and there is none that is not published."""
        ours: dict[str, Any] = {}
        for module in MODULES:
            ours |= {name: each for name, each in of(module).items() if is_dataclass(each)}
        del ours["PartitionUnknown"]  # the default arm of every union
        declared = {name: declared_struct(kind, UNIONS) for name, kind in ours.items()}
        self.assertEqual(set(declared), set(self.published.structs))
        for name, members in self.published.structs.items():
            self.assertEqual(declared[name], members, name)

    def test_unions(self) -> None:
        """Every union has the published arms under the same words."""
        ours = {name: declared_union(annotation) for annotation, name in UNIONS.items()}
        published = {
            name: {word: kind for word, (kind, _) in arms.items()} for name, arms in self.published.unions.items()
        }
        self.assertEqual(ours, published)

    def test_rpcs(self) -> None:
        """Every RPC has its published opcode, name, parameters and results."""
        declared: dict[int, Operation] = {}
        for service, stock in ((partitions.VLPartitions, VL), (volpartitions.AFSVolPartitions, AFSVol)):
            declared |= {code: each for code, each in service.operations.items() if code not in stock.operations}
        self.assertEqual(set(declared), set(self.published.rpcs))
        for opcode, (name, ins, outs) in self.published.rpcs.items():
            ours = declared_rpc(declared[opcode], UNIONS)
            self.assertEqual(ours, (name, ins, [kind for kind, _ in outs]))
            said = re.search(r"returns \(?([\w, ]+)", inspect.getdoc(declared[opcode].function) or "")
            names = said.group(1).split(", ") if said else []
            self.assertEqual(names, [out for _, out in outs], name)

    def test_constants(self) -> None:
        """Every constant has the published value: plain ones by name, members of an enumeration by theirs."""
        ours: dict[str, int] = {}
        for module in MODULES:
            ours |= {name: each for name, each in vars(module).items() if name.isupper() and isinstance(each, int)}
            for name, each in of(module).items():
                if isinstance(each, type) and issubclass(each, IntEnum | IntFlag):
                    ours |= {f"{name}_{member.name}": int(member) for member in each}
        self.assertEqual(ours, self.published.constants)

    def test_opcodes(self) -> None:
        """Ours are well away from the stock ones."""
        self.assertEqual(set(self.published.rpcs), {*range(74001, 74013), *range(74101, 74117)})
