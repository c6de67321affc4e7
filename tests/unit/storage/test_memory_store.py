"""The fake keeps the protocol's promises."""

import pytest

from fixtures.store_contract import StoreContract
from zo_runtime.storage.memory import MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
