"""SQLite keeps the contract about accounts, users, roles, access keys and policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.identity_suite import IdentitySuite


class TestSqliteIdentities(IdentitySuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return catalog_opener(tmp_path / "catalog.db")
