"""twistd afs-fileserver: options and the service they describe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from afs.authentication import ALLOW_DES_OPTION, LEVEL_OPTION, Authentication
from afs.cells import ConfigurationError, chosen_addresses, default_address, read_configuration
from afs.limits import LIMIT_OPTIONS, chosen_limits, whole
from afs.logs import OPTION as LOG_LEVEL
from afs.logs import end_with, logged
from afs.memory import collect_rarely
from afs.names import parse_partition, partition_name
from afs.protection import PTSERVER_PORT
from afs.taps import TappedOptions, open_taps
from afs.users import Authority, LocalRealms, UserList
from fileserver.interfaces import StoreError
from fileserver.options import VOLUME_FLAGS, VOLUME_OPTIONS, OpenAFSOptions, volume_settings
from fileserver.partitions.define import Seed
from fileserver.partitions.label import Label
from fileserver.salvager.process import SalvagerProcess
from fileserver.service import ABORT_THRESHOLD, FileserverService, Settings
from fileserver.store.namei_user import ALWAYS_ATTACH, BACKEND, NEVER_ATTACH
from rx.clock import run_steadily

VLSERVER_PORT = 7003

BACKENDS = ("namei", "namei-user", "memory")


class Options(OpenAFSOptions, TappedOptions):
    """The command line of afs-fileserver."""

    synopsis = "[options]"
    longdesc = (
        "An AFS fileserver with its volume server. It finds its vlservers in the CellServDB of the configuration "
        "directory and serves nothing until one of them has taken its addresses."
    )
    optParameters = [
        ["config", None, Path("/etc/openafs/server"), "OpenAFS server configuration directory.", Path],
        ["state", None, Path("/var/lib/txafs"), "Where the server keeps its identity.", Path],
        ["backend", None, None, "namei, namei-user or memory. [default: as the label says, else namei for root]"],
        LOG_LEVEL,
        LEVEL_OPTION,
        ["port", None, 7000, "UDP port of RXAFS (for tests: clients expect 7000).", int],
        ["volser-port", None, 7005, "UDP port of AFSVol (for tests: vos expects 7005).", int],
        [
            "address-hook",
            None,
            "",
            "Program that puts a dead server's address on this host, or takes it away.",
        ],
        ["abortthreshold", None, ABORT_THRESHOLD, "Equal refusals that are not delayed; 0: none is.", whole(0)],
        *LIMIT_OPTIONS,
        *VOLUME_OPTIONS,
    ]
    optFlags = [
        ["noauth", None, "Callers from this machine's own addresses are administrators."],
        ["cve-2018-7168-enforce", None, "Refuse StoreACL by opcode 134: old clients mix up negative rights."],
        *VOLUME_FLAGS,
        ALLOW_DES_OPTION,
    ]

    def __init__(self) -> None:
        super().__init__()
        self["address"], self["noauth-from"], self["partition"] = [], [], []

    def opt_address(self, word: str) -> None:
        """An IPv4 address to serve on and to register (repeatable). [default: this host's own, as NetInfo and
        NetRestrict select them]
        """
        self["address"].append(_parsed(IPv4Address, word, "an IPv4 address"))

    def opt_noauth_from(self, word: str) -> None:
        """With --noauth, callers from this network are administrators too (repeatable)."""
        self["noauth-from"].append(_parsed(partial(IPv4Network, strict=False), word, "a network"))

    def opt_partition(self, path: str) -> None:
        """A directory to serve as a vice partition, its last name being vicepa, vicepb ... (repeatable). [default:
        every /vicep* that stock fileservers would attach]
        """
        name = os.path.basename(os.path.normpath(path))
        if not name.startswith("vicep"):
            raise UsageError(f"--partition {path}: the last name must be vicepa, vicepb ...")
        number = _parsed(parse_partition, name, "a partition")
        if number in (known for _, known in self["partition"]):
            raise UsageError(f"--partition {path}: another one is {partition_name(number)} already")
        self["partition"].append((path, number))

    def postOptions(self) -> None:
        """Options that only mean something together, and defaults that need a look at the host."""
        super().postOptions()
        if self["noauth-from"] and not self["noauth"]:
            raise UsageError("--noauth-from means nothing without --noauth")
        if self["backend"] not in (None, *BACKENDS):
            raise UsageError(f"--backend: one of {', '.join(BACKENDS)}")
        for name in ("port", "volser-port"):
            if not 0 <= self[name] <= 0xFFFF:
                raise UsageError(f"--{name} {self[name]}: not a UDP port")


def makeService(options: Options) -> IService:
    """The fileserver that the options describe. What prevents it is one line and exit status 1."""
    from twisted.internet import reactor

    any_reactor: Any = reactor
    run_steadily(any_reactor)
    collect_rarely(any_reactor)
    config: Path = options["config"]
    try:
        users = UserList.read(config)
        realms = LocalRealms.read(config)
        authentication = Authentication.of(options, config)
        databases = [str(server.address) for server in read_configuration(config).cell().servers]
        vlservers = [(host, VLSERVER_PORT) for host in databases]
        ptservers = [(host, PTSERVER_PORT) for host in databases if options["protection"] == "cell"]
        addresses = options["address"] or chosen_addresses(config) or [default_address()]
        partitions = options["partition"] or attachable("/")
        options["state"].mkdir(parents=True, exist_ok=True)
        tap = open_taps(options, any_reactor)
    except (OSError, ConfigurationError, ValueError) as problem:
        raise SystemExit(f"afs-fileserver: {problem}") from problem
    settings = Settings(
        state=options["state"],
        partitions=[Seed(os.path.abspath(path), number, options["backend"] or "") for path, number in partitions],
        vlservers=vlservers,
        addresses=addresses,
        port=options["port"],
        volser_port=options["volser-port"],
        tap=tap,
        authentication=authentication,
        limits=chosen_limits(options),
        abort_threshold=options["abortthreshold"],
        address_hook=options["address-hook"],
        ptservers=ptservers,
        salvager=SalvagerProcess(any_reactor),
        **volume_settings(options),
    )
    authority = Authority(
        users, noauth=bool(options["noauth"]), noauth_from=options["noauth-from"], local_realms=realms
    )
    service: Any = _Fileserver(settings, authority, any_reactor, on_failure=partial(_stop, any_reactor))
    return logged(service, options)


def attachable(root: str) -> list[tuple[str, int]]:
    """(path, number) of every /vicep* below `root` that a stock fileserver would attach, or that is ours alone.

    A directory that is not a file system of its own needs AlwaysAttach, and NeverAttach hides it (partition.c) unless
    our label says that stock servers only are to keep away.
    """
    found = []
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if not name.startswith("vicep") or not os.path.isdir(path):
            continue
        try:
            number = parse_partition(name)
        except ValueError:
            continue
        label = Label.read(path)
        ours = label is not None and label.backend == BACKEND
        offered = os.path.ismount(path) or os.path.exists(os.path.join(path, ALWAYS_ATTACH))
        hidden = os.path.exists(os.path.join(path, NEVER_ATTACH))
        if ours or (offered and not hidden):
            found.append((path, number))
    return sorted(found, key=lambda each: each[1])


class _Fileserver(FileserverService):
    """Says in one line what prevents the start, and ends the process."""

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotListenError as problem:
            end_with(f"afs-fileserver: {problem}")

    def startService(self) -> None:
        try:
            super().startService()
        except (CannotListenError, OSError, StoreError) as problem:
            end_with(f"afs-fileserver: {problem}")


def _stop(reactor: Any, failure: Failure) -> None:
    """The server cannot begin: leave exit status 1 behind, once everything was stopped."""
    assert sys.__stderr__ is not None
    sys.__stderr__.write(f"afs-fileserver: {failure.getErrorMessage()}\n")
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
    reactor.stop()


def _parsed(kind: Callable[[str], Any], word: str, what: str) -> Any:
    try:
        return kind(word)
    except ValueError as problem:
        raise UsageError(f"{word!r} is not {what}") from problem
