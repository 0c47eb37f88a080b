"""A cell's configuration directories: ThisCell, CellServDB, NetInfo and NetRestrict, read and written as OpenAFS does.

Also the host's own IPv4 addresses, since NetInfo and NetRestrict choose among them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from twisted.logger import Logger

from afs.addresses import own_addresses
from afs.dns import VLSERVER_PORT, find_vlservers, nameservers

log = Logger()

MAX_ADDRESSES = 16
"""Addresses one server may register (fileserver.md section 10); more are left out, loudly."""

LOOPBACK = IPv4Address("127.0.0.1")


class ConfigurationError(Exception):
    """A configuration file is missing or cannot be understood; the message names it and the line."""


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A line of CellServDB. A clone (its address in brackets) answers queries but never becomes the sync site.

    `port` is its vlserver's, of which only the DNS may have another to say.
    """

    address: IPv4Address
    name: str = ""
    clone: bool = False
    port: int = VLSERVER_PORT


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell and its database servers."""

    name: str
    servers: tuple[DatabaseServer, ...] = ()
    linked: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration directory says. `cells` has every cell of CellServDB, by lower-case name."""

    directory: Path
    this_cell: str
    cells: dict[str, Cell]

    def cell(self, name: str = "") -> Cell:
        """The cell of that name, or the one the directory belongs to. ConfigurationError when CellServDB lacks it."""
        name = name or self.this_cell
        found = self.cells.get(name.lower())
        if found is None:
            raise ConfigurationError(f"{self.directory / 'CellServDB'}: no cell {name}")
        return found


def read_configuration(directory: Path) -> Configuration:
    """Read ThisCell and CellServDB. ConfigurationError when one is missing or malformed."""
    this_cell = _read(directory / "ThisCell").strip()
    try:
        cell_name(this_cell)
    except ValueError as problem:
        raise ConfigurationError(f"{directory / 'ThisCell'}: {problem}") from None
    path = directory / "CellServDB"
    cells = parse_cellservdb(_read(path), str(path))
    return Configuration(directory, this_cell, {cell.name.lower(): cell for cell in cells})


def cell_name(text: str) -> str:
    """`text` itself. ValueError when no cell can have that name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(f"{text!r} is not the name of a cell")
    return text


def cell_by_dns(name: str) -> Cell | None:
    """A cell that CellServDB lacks, if the DNS knows it. Takes seconds where that does not answer."""
    if "." not in name:  # a name of this machine's domain, or of none: not a cell's anywhere
        return None
    found = find_vlservers(name, nameservers())
    return Cell(name, tuple(DatabaseServer(address, port=port) for address, port in found)) if found else None


def write_configuration(directory: Path, cell: Cell) -> None:
    """Make `directory` a configuration directory of `cell`: ThisCell and CellServDB, each replaced whole."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "ThisCell", f"{cell.name}\n")
    _write(directory / "CellServDB", format_cellservdb([cell]))


def parse_cellservdb(text: str, source: str = "CellServDB") -> list[Cell]:
    """The cells of a CellServDB, in order. ConfigurationError names the line that cannot be understood."""
    cells: list[Cell] = []
    servers: list[DatabaseServer] = []
    for number, line in enumerate(text.splitlines(), 1):
        line, _, comment = line.partition("#")
        words = line.split()
        if not words:
            continue
        if words[0].startswith(">"):
            servers = []
            words[0] = words[0][1:]
            words = [word for word in words if word]
            if not 1 <= len(words) <= 2:
                raise ConfigurationError(f"{source}:{number}: a cell line is >NAME [LINKED] [#COMMENT]")
            cells.append(Cell(words[0], (), words[1] if len(words) == 2 else "", comment.strip()))
        elif not cells:
            raise ConfigurationError(f"{source}:{number}: a server before the first cell")
        else:
            servers.append(_server(words[0], comment, f"{source}:{number}"))
            last = cells[-1]
            cells[-1] = Cell(last.name, tuple(servers), last.linked, last.description)
    return cells


def format_cellservdb(cells: Iterable[Cell]) -> str:
    """The CellServDB of these cells. Stock programs need a name after every address: the address itself serves."""
    lines = []
    for cell in cells:
        lines.append(f">{cell.name}{' ' + cell.linked if cell.linked else ''}\t#{cell.description or cell.name}")
        for server in cell.servers:
            address = f"[{server.address}]" if server.clone else str(server.address)
            lines.append(f"{address}\t#{server.name or server.address}")
    return "".join(f"{line}\n" for line in lines)


def chosen_addresses(directory: Path, own: Sequence[IPv4Address] | None = None) -> list[IPv4Address]:
    """The addresses a server registers: its own, as NetInfo and NetRestrict in `directory` select and order them.

    NetInfo: only own addresses that match a line, in the order of the lines; a line `f ADDRESS` is taken though no
    interface has it. NetRestrict: addresses that match a line are left out. Both take ADDRESS or ADDRESS/BITS. Loopback
    is never registered unless NetInfo forces it. The result may be empty.
    """
    addresses = [each for each in (own_addresses() if own is None else own) if not each.is_loopback]
    netinfo, netrestrict = directory / "NetInfo", directory / "NetRestrict"
    if netinfo.exists():
        addresses = _allowed(parse_netfile(_read(netinfo), str(netinfo)), addresses)
    if netrestrict.exists():
        refused = [network for _, network in parse_netfile(_read(netrestrict), str(netrestrict))]
        addresses = [each for each in addresses if not any(each in network for network in refused)]
    if len(addresses) > MAX_ADDRESSES:
        left_out = ", ".join(map(str, addresses[MAX_ADDRESSES:]))
        log.warn("more than {limit} addresses; left out: {left_out}", limit=MAX_ADDRESSES, left_out=left_out)
    return addresses[:MAX_ADDRESSES]


def default_address(own: Sequence[IPv4Address] | None = None) -> IPv4Address:
    """The first own address that is not loopback, else 127.0.0.1 with a warning in the log."""
    for address in own_addresses() if own is None else own:
        if not address.is_loopback:
            return address
    log.warn("this host has only loopback addresses: using 127.0.0.1, which stock vos refuses as a server argument")
    return LOOPBACK


def parse_netfile(text: str, source: str) -> list[tuple[bool, IPv4Network]]:
    """The lines of a NetInfo or NetRestrict: (forced, network). ConfigurationError names a line that is neither.

    As in OpenAFS an address may stop short (`10/8`), missing bytes being 0.
    """
    networks = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        forced = content[0] in "fF"
        try:
            (word,) = content[forced:].split()
            address, slash, bits = word.partition("/")
            address += ".0" * (3 - address.count("."))
            network = IPv4Network(f"{address}/{bits if slash else 32}", strict=False)
        except ValueError:
            raise ConfigurationError(f"{source}:{number}: not an address: {line.strip()!r}") from None
        if forced and network.prefixlen != 32:
            raise ConfigurationError(f"{source}:{number}: a forced address cannot be a network")
        networks.append((forced, network))
    return networks


def _allowed(lines: list[tuple[bool, IPv4Network]], own: Sequence[IPv4Address]) -> list[IPv4Address]:
    allowed: list[IPv4Address] = []
    for forced, network in lines:
        matching = [network.network_address] if forced else [each for each in own if each in network]
        allowed += [each for each in matching if each not in allowed]
    return allowed


def _server(word: str, comment: str, where: str) -> DatabaseServer:
    clone = word.startswith("[") and word.endswith("]")
    try:
        address = IPv4Address(word[1:-1] if clone else word)
    except ValueError:
        raise ConfigurationError(f"{where}: not an address: {word!r}") from None
    return DatabaseServer(address, comment.strip(), clone)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from problem


def _write(path: Path, text: str) -> None:
    """Replace a file whole: a program that reads it meanwhile sees the old or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
