"""SQLite keeps the contract about KMS keys, data keys and domain keys."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from tests.suites.catalog_fixtures import Opener
from tests.suites.key_suite import KeySuite


class TestSqliteKeys(KeySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(SqliteCatalog, tmp_path / "catalog.db")
