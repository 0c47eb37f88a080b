"""The memory back end under the store contract."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.contracts.ivlstore import StoreContract
from vlserver.interfaces import IVLStore
from vlserver.store.memory import MemoryStore


class MemoryStoreTest(StoreContract, TestCase):
    """MemoryStore is an IVLStore."""

    def open_store(self) -> IVLStore:
        return MemoryStore(lambda: 1.0)
