"""Lets everybody write in a volume of our servers: `python -m tests.bench.grant ADDRESS VOLUME`, run on their node."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from afs.client import FileClient


async def grant(reactor: Any, address: str, volume: str) -> None:
    """As an administrator, which callers from the servers' own machine are."""
    client = FileClient(reactor, [(address, 7003)], address=address)
    client.root_volume = volume.encode()
    client.start()
    await client.set_acl("/", {"system:anyuser": "rlidwk", "system:administrators": "rlidwka"})
    await client.stop()


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(grant(reactor, *words)), sys.argv[1:])
