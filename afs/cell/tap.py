"""`twistd afs-cell`: its options."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from afs.authentication import ALLOW_DES_OPTION, LEVEL_OPTION
from afs.cell.layout import CELL_NAME, CellDirectory
from afs.cell.service import CellService
from afs.cells import cell_name, default_address
from afs.logs import OPTION as LOG_LEVEL
from afs.taps import TappedOptions


class Options(TappedOptions):
    """What the command line says."""

    synopsis = "[options]"
    longdesc = (
        "Runs a cell in DIR: a vlserver and one or more fileservers, with volumes root.afs, root.cell and scratch made "
        "and a random key at the first start, all found again later. Prints one line when every service answers, then "
        "stock commands to try: who can read the key administers the cell with vos -localauth."
    )
    optParameters = [
        ["directory", "d", Path(".cell"), "Everything the cell keeps: configuration, database, volumes, log.", Path],
        ["cell", "c", CELL_NAME, "The cell's name; a directory keeps the name it was made with.", cell_name],
        ["config", None, None, "The servers' configuration directory.  [default: DIR/server]", Path],
        LEVEL_OPTION,
        LOG_LEVEL,
    ]
    optFlags = [
        ["noauth", None, "Callers from this machine's own addresses are administrators, with or without the key."],
        ALLOW_DES_OPTION,
    ]

    def __init__(self) -> None:
        super().__init__()
        self["address"], self["fileserver"], self["noauth-from"] = [], [], []

    def opt_address(self, address: str) -> None:
        """Where the vlserver listens, and the fileserver unless --fileserver says otherwise (repeatable).
        [default: this host's first address that is not loopback]"""
        self["address"].append(_address(address))

    def opt_fileserver(self, address: str) -> None:
        """Run a fileserver at this address (repeatable: one each). [default: one, at the vlserver's address]"""
        self["fileserver"].append(_address(address))

    def opt_noauth_from(self, network: str) -> None:
        """With --noauth, callers from this network are administrators too (repeatable)."""
        try:
            self["noauth-from"].append(IPv4Network(network, strict=False))
        except ValueError:
            raise UsageError(f"--noauth-from: not a network: {network}") from None

    def postOptions(self) -> None:
        """Settle the defaults, and refuse what means nothing."""
        if self["noauth-from"] and not self["noauth"]:
            raise UsageError("--noauth-from means nothing without --noauth")
        self["address"] = self["address"] or [default_address()]
        self["fileserver"] = self["fileserver"] or self["address"][:1]
        for name in ("address", "fileserver"):
            if len(set(self[name])) != len(self[name]):
                raise UsageError(f"--{name}: the same address twice")


def makeService(options: Options) -> IService:
    """The cell, not yet started."""
    from twisted.internet import reactor

    config, logfile = options["config"], options.parent and options.parent.get("logfile")
    service: Any = CellService(
        reactor,
        CellDirectory(options["directory"].absolute(), config and config.absolute()),
        cell=options["cell"],
        addresses=options["address"],
        fileservers=options["fileserver"],
        noauth=bool(options["noauth"]),
        noauth_from=options["noauth-from"],
        rxkad=_rxkad_options(options),
        taps=options["tap"],
        log_level=options["log-level"],
        log_path=Path(logfile).absolute() if logfile else None,
    )
    result: IService = service
    return result


def _rxkad_options(options: Options) -> list[str]:
    return [*(["--allow-des"] if options["allow-des"] else []), "--rxkad-level", options["rxkad-level"]]


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise UsageError(f"not an IPv4 address: {text}") from None
