"""SQLite keeps the contract about locks, public access, the recycle bin, the archive tier and copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.protection_suite import ProtectionSuite


class TestSqliteProtection(ProtectionSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return catalog_opener(tmp_path / "catalog.db")
