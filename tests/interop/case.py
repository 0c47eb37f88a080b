"""The base of the interop tests: a network that is gone when the test is over, or the reason why there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from afs.client import FileClient
from tests.interop.namespaces import POLL_SECONDS, READY_SECONDS, Network, Node
from tests.interop.requirements import missing
from tests.interop.stock import FuseClient, add_node, address_of


class InteropTest(TestCase):
    """A test with nodes."""

    skip = missing() or None
    timeout = 600.0
    """Seconds a test may take; each wait in it has its own, shorter deadline."""

    def new_network(self) -> Network:
        """A network of its own; several do not see one another."""
        network = Network()
        self.addCleanup(network.close)
        return network

    def mounted(self, network: Network, name: str = "ca") -> FuseClient:
        """A new node with a stock FUSE client that has mounted the cell."""
        client = FuseClient(add_node(network, name))
        client.start()
        return client

    def own_client(self, node: Node, **options: Any) -> FileClient:
        """Our client, calling from a node. What it is told it may be told as soon as this returns."""
        client = FileClient(reactor, [(address_of("fs1"), 7003)], address=node.address, **options)
        with node.inside():
            client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        return client

    async def until(self, condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Let the reactor go on until the condition holds."""
        clock: Any = reactor
        deadline = clock.seconds() + seconds
        while not condition():
            self.assertLess(clock.seconds(), deadline, "waited in vain")
            await deferLater(clock, POLL_SECONDS)


def program(name: str) -> tuple[str, ...]:
    """How to run one of the programs beside this file in a node: with the standard library alone."""
    return (sys.executable, "-I", str(Path(__file__).with_name(f"{name}.py")))
