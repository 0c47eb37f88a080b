"""Where a cell keeps what in its directory, and the configuration files in there."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from afs.cells import Cell, ConfigurationError, DatabaseServer, read_configuration, write_configuration
from afs.keys import KeyStore, random_key, write_key_file_ext

CELL_NAME = "txafs.test"
CACHE_BLOCKS = 100_000
"""1 KiB blocks of disk cache that the prepared FUSE client may use."""
CACHE_FILES = 3000
"""Files in that cache. The client makes them all before it serves, and left to itself takes ten times as many."""
DATABASE_NAME = "cell"
"""The database server's name in CellServDB; stock programs want one."""


@dataclass(frozen=True, slots=True)
class FileserverDirectory:
    """One fileserver's part of the directory, numbered by the order of the fileservers, so addresses may change."""

    home: Path

    @property
    def state(self) -> Path:
        """The fileserver's identity and what it keeps over a restart."""
        return self.home / "state"

    @property
    def partition(self) -> Path:
        """Its one vice partition."""
        return self.home / "vicepa"


class CellDirectory:
    """The directory of one cell, all paths absolute."""

    def __init__(self, home: Path, server_config: Path | None = None) -> None:
        self.home = home
        self.server_config = server_config or home / "server"
        self.client_config = home / "client"
        self.database = home / "vldb.sqlite"
        self.cache = home / "cache"
        self.mount_point = home / "afs"
        self.log = home / "log"
        self.contents_made = home / "contents-made"
        """Exists once the first volumes are complete; what an administrator changes afterwards stays."""
        self._held: int | None = None

    def fileserver(self, index: int) -> FileserverDirectory:
        """The part of fileserver `index`, from 0."""
        return FileserverDirectory(self.home / f"fileserver-{index + 1}")

    def hold(self) -> None:
        """Make the directory and keep other cells out until `release` or the end of the process.

        ConfigurationError when a cell runs in it; OSError.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConfigurationError(f"{self.home}: another cell runs in this directory") from None
        self._held = descriptor

    def release(self) -> None:
        """Let the next cell in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def prepare(self, cell: str, databases: Sequence[IPv4Address], fileserver_count: int) -> None:
        """Make what is not there, the cell's key among it, and write both configurations, whose addresses may have
        changed.

        ConfigurationError when the directory belongs to a cell of another name; KeyFileDamaged; OSError.
        """
        if (self.server_config / "ThisCell").exists():
            found = read_configuration(self.server_config).this_cell
            if found != cell:
                raise ConfigurationError(f"{self.server_config} is of cell {found}, not {cell}")
        parts = [self.fileserver(index) for index in range(fileserver_count)]
        for directory in [
            self.cache,
            self.mount_point,
            *(path for part in parts for path in (part.state, part.partition)),
        ]:
            directory.mkdir(parents=True, exist_ok=True)
        servers = tuple(
            DatabaseServer(address, f"{DATABASE_NAME}{index + 1}") for index, address in enumerate(databases)
        )
        for config in (self.server_config, self.client_config):
            write_configuration(config, Cell(cell, servers, description="txafs"))
        if not KeyStore(self.server_config).keys:
            write_key_file_ext(self.server_config, [random_key()])
        cacheinfo = f"{self.mount_point}:{self.cache}:{CACHE_BLOCKS}\n"
        (self.client_config / "cacheinfo").write_text(cacheinfo, encoding="utf-8")

    def commands(self, fileserver: IPv4Address, noauth: bool) -> list[str]:
        """Stock commands to try, each a line that runs as it stands; those of administrators need the key, or the
        cell to be one that takes them from anybody here (`noauth`).
        """
        client, cache, mount_point = (shlex.quote(str(p)) for p in (self.client_config, self.cache, self.mount_point))
        anybody = f"-noauth -config {client}"
        administrator = anybody if noauth else f"-localauth -config {shlex.quote(str(self.server_config))}"
        return [
            f"vos listvldb {anybody}",
            f"vos listvol {fileserver} {anybody}",
            f"vos examine scratch {administrator}",
            f"vos create {fileserver} a example {administrator}",
            f"vos remove -id example {administrator}",
            f"afsd.fuse -mountdir {mount_point} -confdir {client} -cachedir {cache}"
            f" -dynroot -fakestat -files {CACHE_FILES}",
            f"umount {mount_point}",
        ]
