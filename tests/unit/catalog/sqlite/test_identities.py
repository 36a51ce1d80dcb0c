"""SQLite keeps the contract about accounts, users, roles, access keys and policies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from tests.suites.catalog_fixtures import Opener
from tests.suites.identity_suite import IdentitySuite


class TestSqliteIdentities(IdentitySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(SqliteCatalog, tmp_path / "catalog.db")
