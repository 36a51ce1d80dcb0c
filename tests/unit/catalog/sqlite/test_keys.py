"""SQLite keeps the contract about KMS keys, data keys and domain keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.key_suite import KeySuite


class TestSqliteKeys(KeySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return catalog_opener(tmp_path / "catalog.db")
