"""Answering at a dead server's addresses, until told: only an answer from there shortens a call that is in flight.

A program of the administrator's adds the address to an interface and announces it (`PROGRAM add|remove ADDRESS`). Calls
for volumes served here are then executed, others are told to look for their volume anew. The address is never
registered as ours. Which are taken is kept in the state directory, so that a restart takes them again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from fileserver.interfaces import StoreError
from fileserver.partitions.hooks import AddressVerb, HookFailed, run_address_hook
from fileserver.partitions.label import write_atomically
from rx.transport import RxPort

log = Logger(namespace="fileserver.partitions")

TAKEN_NAME = "taken-addresses.json"


class CannotTake(StoreError):
    """An address cannot be answered at. The message says why."""


class Takeovers:
    """The addresses taken. `serve` binds RXAFS to an address and returns the port, or raises CannotListenError; `stop`
    ends that.
    """

    def __init__(
        self,
        state: Path,
        hook: str,
        reactor: Any,
        serve: Callable[[IPv4Address], RxPort],
        stop: Callable[[RxPort], Awaitable[None]],
    ) -> None:
        self._path = state / TAKEN_NAME
        self._hook = hook
        self._reactor = reactor
        self._serve = serve
        self._stop = stop
        self._ports: dict[IPv4Address, RxPort] = {}

    def check(self) -> None:
        """Raises CannotTake where no program was given that moves addresses."""
        if not self._hook:
            raise CannotTake("this server has no --address-hook: it cannot take over addresses")

    async def resume(self) -> None:
        """Take what was taken when the server ended last. What cannot be is logged."""
        try:
            taken = [IPv4Address(word) for word in json.loads(self._path.read_bytes())]
        except FileNotFoundError:
            return
        except ValueError as error:
            log.error("{path} is not a list of addresses: {error}", path=str(self._path), error=error)
            return
        for address in taken:
            try:
                await self._take(address)
            except StoreError as problem:
                log.error("{address} is not answered any more: {problem}", address=str(address), problem=problem)

    async def begin(self, addresses: Iterable[IPv4Address]) -> None:
        """Answer at these from now on. Raises CannotTake, HookFailed."""
        self.check()
        for address in addresses:
            if address not in self._ports:
                await self._take(address)
                self._keep()

    async def end(self, address: IPv4Address) -> bool:
        """Answer there no more. Whether we did. Raises HookFailed."""
        port = self._ports.pop(address, None)
        if port is None:
            return False
        self._keep()
        await self._stop(port)
        await self._run(AddressVerb.REMOVE, address)
        log.info("{address} is not answered here any more", address=str(address))
        return True

    async def park(self) -> None:
        """The server ends: give the addresses back, and remember them."""
        for address, port in list(self._ports.items()):
            await self._stop(port)
            try:
                await self._run(AddressVerb.REMOVE, address)
            except HookFailed as problem:
                log.error("{address} stays on this host: {problem}", address=str(address), problem=problem)
        self._ports.clear()

    async def _take(self, address: IPv4Address) -> None:
        await self._run(AddressVerb.ADD, address)
        try:
            self._ports[address] = self._serve(address)
        except CannotListenError as problem:
            await self._run(AddressVerb.REMOVE, address)
            raise CannotTake(f"{address}: {problem}") from problem
        log.warn("answering at {address}, until told otherwise", address=str(address))

    async def _run(self, verb: AddressVerb, address: IPv4Address) -> None:
        await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), run_address_hook, self._hook, verb, str(address)
        )

    def _keep(self) -> None:
        write_atomically(str(self._path), json.dumps([str(address) for address in self._ports]).encode() + b"\n")
