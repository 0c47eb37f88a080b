"""Security classes: which factory makes the server's end of a connection with a given index."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rx.constants import SecurityIndex
from rx.security.interfaces import SecurityFactory
from rx.security.null import Null

KEYLESS: Mapping[int, SecurityFactory] = MappingProxyType({int(SecurityIndex.NULL): Null})
"""The classes that need no keys; the others are given to `Endpoint.secure` with theirs."""
