"""The switches that every subcommand has, as what they mean; and what they say about who calls and which cell."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afs.cells import Cell, Configuration, ConfigurationError, cell_by_dns, read_configuration
from vos.command import CommandError
from vos.syntax import Values

if TYPE_CHECKING:
    from rx.security.interfaces import ISecurity

CLIENT_DIRECTORY = Path("/etc/openafs")
SERVER_DIRECTORY = CLIENT_DIRECTORY / "server"

START_STATUS = 1
"""The exit status when a program could not even begin to talk to a cell."""

MISSING_FILE, MISSING_CELL = 5, 180486
"""What stock vos calls these two: EIO and AFSCONF_NOTFOUND (acfg_errors.et)."""

KDC_SECONDS = 10.0
"""How long to wait for the realm, without which one goes on as nobody."""

Security = Callable[[], "ISecurity | None"]


@dataclass(frozen=True, slots=True)
class Options:
    """See the module."""

    cell: str = ""
    noauth: bool = False
    localauth: bool = False
    verbose: bool = False
    encrypt: bool = False
    noresolve: bool = False
    config: Path = CLIENT_DIRECTORY

    @classmethod
    def of(cls, values: Values) -> Options:
        """What was given on the command line."""
        localauth = "-localauth" in values
        directory = SERVER_DIRECTORY if localauth else CLIENT_DIRECTORY
        return cls(
            cell=values["-cell"][0] if "-cell" in values else "",
            noauth="-noauth" in values,
            localauth=localauth,
            verbose="-verbose" in values,
            encrypt="-encrypt" in values,
            noresolve="-noresolve" in values,
            config=Path(values["-config"][0]) if "-config" in values else directory,
        )

    def repeated(self) -> str:
        """What says again which cell is meant and who calls, as words to follow a command; empty when nothing does."""
        usual = SERVER_DIRECTORY if self.localauth else CLIENT_DIRECTORY
        words = ["-cell", self.cell] if self.cell else []
        words += ["-config", str(self.config)] if self.config != usual else []
        words += [switch for switch, given in (("-noauth", self.noauth), ("-localauth", self.localauth)) if given]
        return "".join(f" {shlex.quote(word)}" for word in words)

    def find_cell(self) -> Cell:
        """The cell and its database servers. Raises CommandError."""
        try:
            configuration = read_configuration(self.config)
        except ConfigurationError:
            raise _cannot_start(
                f"vos: Could not process files in configuration directory ({self.config}).", MISSING_FILE
            ) from None
        cell, name = _find(configuration, self.cell), self.cell or configuration.this_cell
        if cell is None or not cell.servers:
            cell = cell_by_dns(name)
        if cell is None:
            raise _cannot_start(f"vos: can't find cell {name}'s hosts in {self.config}/CellServDB", MISSING_CELL)
        return cell

    def security(self, cell: str) -> Security | None:
        """What makes our end of each connection; None where there is nothing to prove with. Raises CommandError."""
        if self.noauth:
            return None
        return self._of_key() if self.localauth else self._of_ticket(cell)

    def _of_key(self) -> Security:
        from afs.authentication import Authentication
        from afs.keys import KeyFileDamaged, KeyStore
        from rx.security.rxkad import Level

        try:
            keys = KeyStore(self.config, allow_des=True)
        except (OSError, KeyFileDamaged) as problem:
            raise _cannot_start(f"vos: can't read the cell's key: {problem}", MISSING_FILE) from problem
        if keys.latest() is None:
            raise _cannot_start(f"vos: no key of the cell in {self.config}", MISSING_FILE)
        authentication = Authentication(keys)
        level = Level.CRYPT if self.encrypt else Level.CLEAR
        return lambda: authentication.own(level)

    def _of_ticket(self, cell: str) -> Security | None:
        from afs.credentials import CredentialsError, default_cache, for_cell, read_cache
        from rx.security.rxkad import Level, RxkadClient

        try:
            path = default_cache()
            if not path.exists():
                return None
            try:
                credential = for_cell(read_cache(path), cell, time.time())
            except CredentialsError:
                _fetch_ticket(path, cell)
                credential = for_cell(read_cache(path), cell, time.time())
            token = credential.token()
        except CredentialsError:
            return None
        level = Level.CRYPT if self.encrypt else Level.CLEAR
        return lambda: RxkadClient(token, level)


def _fetch_ticket(cache: Path, cell: str) -> None:
    """Have Kerberos' own program put a ticket for the cell beside the user's, if it is there and there is one."""
    import subprocess

    command = ["kvno", "-q", "-c", f"FILE:{cache}", f"afs/{cell}"]
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=KDC_SECONDS, check=False)


def _find(configuration: Configuration, name: str) -> Cell | None:
    """The cell of that name, or the one whose name begins so and no other's, as afsconf_GetCellInfo finds it."""
    try:
        return configuration.cell(name)
    except ConfigurationError:
        begun = [cell for key, cell in configuration.cells.items() if name and key.startswith(name.lower())]
        return begun[0] if len(begun) == 1 else None


def _cannot_start(text: str, code: int) -> CommandError:
    return CommandError(f"{text}\ncould not initialize VLDB library (code={code}) \n", START_STATUS)
