"""twistd afs-vlserver: options and the service they describe."""

from __future__ import annotations

import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.usage import UsageError

from afs.authentication import ALLOW_DES_OPTION, LEVEL_OPTION, Authentication
from afs.cells import ConfigurationError, chosen_addresses, default_address
from afs.limits import LIMIT_OPTIONS, chosen_limits
from afs.logs import LEVELS, LoggedService, end_with, level_named
from afs.memory import collect_rarely
from afs.taps import TappedOptions, open_taps
from afs.users import Authority, LocalRealms, UserList
from rx.clock import run_steadily
from rx.transport import RxPort
from vlserver.interfaces import StoreError
from vlserver.server import VLServer
from vlserver.store import open_store

DEFAULT_PORT = 7003

log = Logger()


def _restriction(word: str) -> str:
    """As stock's option: ValueError when it is neither of the two."""
    if word not in ("anyuser", "admin"):
        raise ValueError("anyuser or admin")
    return word


class Options(TappedOptions):
    """The command line of afs-vlserver."""

    synopsis = "[options]"
    longdesc = "An AFS volume location server: says which file servers have a volume."

    optParameters = [
        [
            "config",
            None,
            "/etc/openafs/server",
            "OpenAFS server configuration directory (KeyFileExt, UserList, krb.conf, NetInfo, NetRestrict)",
        ],
        [
            "database",
            None,
            "sqlite:////var/lib/txafs/vldb.sqlite",
            "where the VLDB is: sqlite:///PATH, sqlite:////ABSOLUTE/PATH or memory:",
        ],
        ["port", None, DEFAULT_PORT, "UDP port to serve on", int],
        ["log-level", None, "info", f"least important level that is logged: {', '.join(LEVELS)}", level_named],
        ["restricted_query", None, "anyuser", "who may list entries: anyuser or admin", _restriction],
        LEVEL_OPTION,
        *LIMIT_OPTIONS,
    ]
    optFlags = [
        ALLOW_DES_OPTION,
        ["noauth", None, "callers from this machine's own addresses are administrators"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["address"] = []
        self["noauth-from"] = []

    def opt_address(self, word: str) -> None:
        """An IPv4 address to serve on; may be repeated. Default: this host's own, as NetInfo and NetRestrict say."""
        self["address"].append(_parsed(IPv4Address, word, "an IPv4 address"))

    def opt_noauth_from(self, word: str) -> None:
        """With --noauth, also callers from this network (ADDRESS/BITS) are administrators; may be repeated."""
        self["noauth-from"].append(_parsed(IPv4Network, word, "an IPv4 network"))

    def postOptions(self) -> None:
        """Options that only mean something together."""
        if self["noauth-from"] and not self["noauth"]:
            raise UsageError("--noauth-from means nothing without --noauth")
        if not 0 <= self["port"] <= 0xFFFF:
            raise UsageError(f"--port {self['port']}: not a UDP port")


def _parsed(kind: Any, word: str, what: str) -> Any:
    try:
        return kind(word)
    except ValueError as problem:
        raise UsageError(f"{word!r} is not {what}") from problem


def makeService(options: Options) -> IService:
    """The vlserver that the options describe. What prevents it is one line and exit status 1."""
    from twisted.internet import reactor

    any_reactor: Any = reactor
    run_steadily(any_reactor)
    collect_rarely(any_reactor)
    try:
        config = Path(options["config"])
        if not config.is_dir():
            raise ConfigurationError(f"{config}: no such directory")
        users = UserList.read(config)
        realms = LocalRealms.read(config)
        authentication = Authentication.of(options, config)
        addresses = options["address"] or chosen_addresses(config) or [default_address()]
        store = open_store(options["database"], any_reactor, time.time)
        tap = open_taps(options, any_reactor)
    except (ConfigurationError, OSError, StoreError, ValueError) as problem:
        raise SystemExit(f"afs-vlserver: {problem}") from problem
    if not users and not authentication.keys.keys and not options["noauth"]:
        log.warn("{config} has no key and no UserList: nobody can change anything", config=config)
    limits = chosen_limits(options)
    ports = [RxPort(any_reactor, str(address), options["port"], limits=limits, tap=tap) for address in addresses]
    authority = Authority(
        users, noauth=bool(options["noauth"]), noauth_from=options["noauth-from"], local_realms=realms
    )
    log_path = options.parent.get("logfile") if options.parent else None
    service = LoggedService(Path(log_path).absolute() if log_path else None, options["log-level"])
    server = CommandServer(store, ports, authority, time.time, options["restricted_query"] == "admin", authentication)
    server.setServiceParent(service)
    result: IService = service
    return result


class CommandServer(VLServer):
    """The vlserver as a command: a port that cannot be bound ends the program with one line."""

    def privilegedStartService(self) -> None:
        """Bind, or exit with status 1."""
        try:
            super().privilegedStartService()
        except CannotListenError as problem:
            end_with(f"afs-vlserver: {problem}")
