"""SQLite keeps the contract that scans everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.inventory_suite import InventorySuite


class TestSqliteInventory(InventorySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return catalog_opener(tmp_path / "catalog.db")
