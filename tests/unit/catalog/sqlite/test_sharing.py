"""SQLite keeps the contract about sharing, tags and settings, and lists without reading all that there is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.snapshots import SELECT_TAGS, select_visible
from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.catalog_rows import ALICE, FRANKFURT
from tests.suites.sharing_suite import EVERY_REACH, SharingSuite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


class TestSqliteSharing(SharingSuite):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        return catalog_opener(path)

    @pytest.mark.usefixtures("catalog")
    def test_no_statement_goes_through_all_that_there_is(self, path: Path) -> None:
        named = {"account_id": ALICE, "region": FRANKFURT, "started_at_ms": 0, "snapshot_id": "", "limit": 1}
        connection = sqlite3.connect(path)
        for statement in (select_visible(EVERY_REACH), SELECT_TAGS):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", named | {"tag_key": ""}).fetchall()
            steps = [step[3] for step in plan]
            assert not [step for step in steps if step.startswith("SCAN") and "subquery" not in step]
            assert any(
                "snapshot_by_owner (account_id=? AND region=? AND (started_at_ms,snapshot_id)>(?,?))" in step
                for step in steps
            )
        connection.close()
