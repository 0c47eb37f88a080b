"""The servers of a cell as one service: started over one directory, their first volumes made, then announced."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService, IServiceMaker
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.plugin import getPlugins

from afs.authentication import Authentication
from afs.cell.contents import VLSERVER_PORT, VOLSER_PORT, FirstVolumes
from afs.cell.layout import CellDirectory
from afs.cells import ConfigurationError
from afs.client import FileClient
from afs.errors import describe
from afs.keys import KeyFileDamaged, KeyStore
from afs.logs import LoggedService, end_with
from afs.session import FILESERVER_PORT
from afs.taps import TapOption
from rx.constants import RxCode
from rx.errors import Abort, CallLost, RxError

log = Logger()

READY_SECONDS = 60.0
"""For every service to answer: twice what a fileserver may wait before it tries its vlserver again."""
PREPARATION_SECONDS = 180.0
"""For all that precedes the ready line. A server that holds a call also keeps it alive: no other limit would end it."""
PROBE_SECONDS = 2.0
"""What one probe of a service in this very process may take."""
PAUSE_SECONDS = 0.1
"""Between two probes of a service that does not answer yet."""


class CellService(LoggedService):
    """A vlserver, fileservers, and the task that makes the first volumes and then says that the cell is ready."""

    def __init__(
        self,
        reactor: Any,
        directory: CellDirectory,
        *,
        cell: str,
        addresses: Sequence[IPv4Address],
        fileservers: Sequence[IPv4Address],
        noauth: bool = False,
        noauth_from: Sequence[IPv4Network] = (),
        rxkad: Sequence[str] = (),
        taps: Sequence[TapOption] = (),
        log_level: str = "info",
        log_path: Path | None = None,
    ) -> None:
        super().__init__(log_path or directory.log, log_level)
        self._reactor = reactor
        self._directory = directory
        self._cell = cell
        self._addresses = addresses
        self._fileservers = fileservers
        self._noauth = noauth
        self._common = [*(["--noauth"] if noauth else []), "--config", str(directory.server_config), *rxkad]
        self._common += [word for network in noauth_from for word in ("--noauth-from", str(network))]
        self._common += [word for tap in taps for word in ("--tap", str(tap))]
        self._client: FileClient | None = None
        self._preparation: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        """Prepare the directory and make the servers. Ends the process with a line on standard error if it cannot."""
        try:
            self._directory.hold()
            self._directory.prepare(self._cell, self._addresses, len(self._fileservers))
            self._refuse_taken_ports()
        except (ConfigurationError, KeyFileDamaged, OSError) as problem:
            end_with(f"afs-cell: {problem}")
        try:
            for service in self._servers():
                service.setServiceParent(self)
        except SystemExit as refusal:
            # Python prints a server's reason to sys.stderr, which leads into the log by now.
            end_with(f"afs-cell: {refusal}")
        super().privilegedStartService()

    def startService(self) -> None:
        """Start the servers and begin to wait for them."""
        try:
            super().startService()
        except CannotListenError as problem:
            end_with(f"afs-cell: {problem}")
        vlservers = [(str(address), VLSERVER_PORT) for address in self._addresses]
        self._client = FileClient(
            self._reactor,
            vlservers,
            address=str(self._addresses[0]),
            dead_seconds=PROBE_SECONDS,
            security=Authentication(KeyStore(self._directory.server_config)).own,
        )
        self._client.start()
        self._preparation = Deferred.fromCoroutine(self._prepare(self._client))
        self._preparation.addTimeout(PREPARATION_SECONDS, self._reactor, _too_late)
        self._preparation.addErrback(self._stop_with)

    def stopService(self) -> Deferred[None]:
        """Stop asking, then stop the servers."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._preparation is not None:
            self._preparation.cancel()
        if self._client is not None:
            await self._client.stop()
        await super().stopService()
        self._directory.release()

    def _servers(self) -> Iterator[IService]:
        addresses = [word for address in self._addresses for word in ("--address", str(address))]
        database = ["--database", f"sqlite:///{self._directory.database}"]
        yield _service("afs-vlserver", [*self._common, *addresses, *database])
        for index, address in enumerate(self._fileservers):
            part = self._directory.fileserver(index)
            places = ["--state", str(part.state), "--partition", str(part.partition), "--protection", "none"]
            yield _service("afs-fileserver", [*self._common, "--address", str(address), *places])

    def _refuse_taken_ports(self) -> None:
        """OSError naming the first address and port that another program has."""
        wanted = [(address, VLSERVER_PORT) for address in self._addresses]
        wanted += [(address, port) for address in self._fileservers for port in (FILESERVER_PORT, VOLSER_PORT)]
        for address, port in wanted:
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
                try:
                    probe.bind((str(address), port))
                except OSError as problem:
                    raise OSError(f"UDP port {address}:{port}: {os.strerror(problem.errno or 0)}") from None

    async def _prepare(self, client: FileClient) -> None:
        deadline = self._reactor.seconds() + READY_SECONDS
        for address in self._addresses:
            vl = client.vl((str(address), VLSERVER_PORT))
            await self._until_it_answers(f"vlserver {address}", vl.ProbeServer, deadline)
        for address in self._fileservers:
            fs, volser = client.fs((str(address), FILESERVER_PORT)), client.volser((str(address), VOLSER_PORT))
            await self._until_it_answers(f"fileserver {address}", fs.GetTime, deadline)
            await self._until_it_answers(f"volume server {address}", volser.ListPartitions, deadline)
        volumes = FirstVolumes(client, self._cell, self._addresses[0], self._fileservers[0])
        if self._directory.contents_made.exists():
            await volumes.find()
        else:
            await volumes.make()
            self._directory.contents_made.touch()
        self._announce()

    async def _until_it_answers(
        self, what: str, probe: Callable[[], Coroutine[Any, Any, object]], deadline: float
    ) -> None:
        while True:
            try:
                await probe()
            except (Abort, CallLost) as problem:
                if self._reactor.seconds() > deadline:
                    raise CallLost(problem.code, f"{what} does not serve: {problem}") from problem
                await deferLater(self._reactor, PAUSE_SECONDS)
            else:
                return

    def _announce(self) -> None:
        vlservers = " ".join(f"vlserver {address}:{VLSERVER_PORT}" for address in self._addresses)
        ports = f"{FILESERVER_PORT},{VOLSER_PORT}"
        fileservers = " ".join(f"fileserver {address}:{ports}" for address in self._fileservers)
        configurations = f"server-config {self._directory.server_config} client-config {self._directory.client_config}"
        ready = f"cell {self._cell} ready: {vlservers} {fileservers} {configurations}"
        log.info("{ready}", ready=ready)
        _say(sys.__stdout__, "\n".join([ready, *self._directory.commands(self._fileservers[0], self._noauth)]))

    def _stop_with(self, failure: Any) -> None:
        """The cell cannot be made ready: say why, stop everything, and leave exit status 1 behind."""
        if failure.check(CancelledError):
            return
        log.failure("the cell cannot be made ready", failure)
        if failure.check(Abort):
            why = f"a server refuses: {describe(failure.value.code)}"
        else:
            why = failure.getErrorMessage() if failure.check(RxError) else failure.getTraceback()
        _say(sys.__stderr__, f"afs-cell: {why}; see {self._directory.log}")
        # After everything has been stopped; twistd itself would exit with 0.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()


def _too_late(_outcome: object, seconds: float) -> NoReturn:
    raise CallLost(RxCode.RX_CALL_TIMEOUT, f"not ready after {seconds:.0f} s, a server answers no call but holds it")


def _service(tapname: str, words: Sequence[str]) -> IService:
    """The service that `twistd TAPNAME WORDS...` would run."""
    maker = next(each for each in getPlugins(IServiceMaker) if each.tapname == tapname)
    options = maker.options()
    options.parseOptions(words)
    service: IService = maker.makeService(options)
    return service


def _say(stream: Any, text: str) -> None:
    """Print past the log, which has sys.stdout and sys.stderr by now."""
    stream.write(text + "\n")
    stream.flush()
