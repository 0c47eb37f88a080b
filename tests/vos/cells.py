"""Our vos in this process, on a cell in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fileserver.partitions.label import Label
from tests.support.cell import Cell, start_cell
from vos.main import exact
from vos.options import Options
from vos.output import Output
from vos.run import carry_out
from vos.session import Session
from vos.syntax import UsageError, parse

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
"""The two file servers."""


@dataclass(frozen=True)
class Result:
    """What a subcommand said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it said as JSON."""
        return json.loads(self.out)


class VosCase(TestCase):
    """Two fileservers; what is on /vicepa of the first the second can reach too."""

    cell: Cell
    settings: Mapping[str, Any] = MappingProxyType({})
    """Further ones of the file servers."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.cell = await start_cell(self, backend="namei-user", fileservers=2, **self.settings)
        self.shared = self.cell.fileservers[0].partition_path.absolute()
        self.uuid = str(self.label().uuid)

    async def vos(self, *words: str) -> Result:
        """Run a subcommand; it did what it says, or said why not."""
        result = Deferred.fromCoroutine(self.begin(*words))
        return await result

    async def succeeds(self, *words: str) -> Result:
        """Run one that shall succeed, and complain of nothing."""
        result = await self.vos(*words)
        self.assertEqual((result.status, result.err), (0, ""), result.out)
        return result

    async def refused(self, *words: str) -> str:
        """Run one that shall not, and what it complains of."""
        result = await self.vos(*words)
        self.assertEqual((result.status, result.out), (255, ""), result.err)
        return result.err

    async def begin(self, name: str, *words: str) -> Result:
        """The same as a coroutine, to be cancelled."""
        command = exact(name)
        assert command is not None
        out, err = io.StringIO(), io.StringIO()
        try:
            values = parse("vos", command.syntax, words)
        except UsageError as problem:
            return Result(255, "", f"{problem}\n")
        options = Options.of(values)
        status = await carry_out(command, self.session(options, Output(out, err, options.verbose)), values)
        return Result(status, out.getvalue(), err.getvalue())

    def session(self, options: Options, output: Output) -> Session:
        """With the cell in this process, anonymous."""
        return Session(
            reactor,
            "test",
            [self.cell.vlserver_address],
            output,
            noresolve=True,
            volser_port=self.cell.fileservers[0].volser_port,
            address=FIRST,
        )

    def label(self) -> Label:
        """The shared partition's."""
        label = Label.read(str(self.shared))
        assert label is not None
        return label

    def server_uuid(self, number: int) -> UUID:
        """A file server's."""
        partitions = self.cell.fileservers[number].service.partitions
        assert partitions is not None
        return partitions.means.own

    def directory(self, name: str) -> Path:
        """A new one."""
        path = Path(self.mktemp()).absolute() / name
        path.mkdir(parents=True)
        return path
