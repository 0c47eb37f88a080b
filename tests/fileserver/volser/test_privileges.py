"""AFSVol: who may do what."""

from __future__ import annotations

from errno import EPERM
from typing import Any

from afs.errors import VolserError, VolumeError
from afs.rpc.volser import (
    AFSVol,
    ITBusy,
    ITCreate,
)
from fileserver.volser.procedures import ANYONE
from rx.errors import Abort
from rx.streams import Buffer
from tests.fileserver.volser.support import Volser
from tests.fileserver.volume.support import use


class Privileges(Volser):
    def test_every_rpc(self) -> None:
        """Whoever is no administrator may ask what ANYONE lists, and nothing else; a split is EPERM, as stock's is."""
        self.create()
        anonymous: Any = self.caller(administrator=False)
        for operation in AFSVol.operations.values():
            arguments = [_zero(parameter) for parameter in operation.parameters]
            code = EPERM if operation.name == "SplitVolume" else VolserError.VOLSERBAD_ACCESS
            refused = self._code_of(getattr(anonymous, operation.name), arguments) == code
            self.assertEqual(refused, operation.name not in ANYONE, operation.name)

    def _code_of(self, call: Any, arguments: list[Any]) -> int:
        async def attempt() -> int:
            try:
                await call(*arguments)
            except Abort as refusal:
                return refusal.code
            return 0

        return self.run_now(attempt())

    def test_created_secretly(self) -> None:
        """ITCreate wins over the other bits: the volume is taken offline without being called busy."""
        self.create()
        self.begin(flags=ITCreate | ITBusy)
        self.assertEqual(self.refused(use(self.server)), VolumeError.VOFFLINE)


def _zero(parameter: Any) -> Any:
    """Some value for a parameter of an RPC."""
    from afs.rpc import volser

    name = str(parameter.annotation)
    if "data" in parameter.name or "report" in parameter.name:
        return Buffer()
    for kind in ("restoreCookie", "destServer", "volintInfo"):
        if kind in name:
            return getattr(volser, kind)()
    if "manyDests" in parameter.name or parameter.name == "destinations":
        return ()
    if "String" in name or "Name" in name or "Path" in name:
        return b"/vicepa"
    return 1
