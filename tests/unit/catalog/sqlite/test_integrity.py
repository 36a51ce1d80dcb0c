"""SQLite keeps the contract that scans everything."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from tests.suites.catalog_fixtures import Opener
from tests.suites.inventory_suite import InventorySuite


class TestSqliteInventory(InventorySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(SqliteCatalog, tmp_path / "catalog.db")
