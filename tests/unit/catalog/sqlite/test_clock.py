"""SQLite keeps the contract about time, and tells from an older version's rows when the catalog was in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.clock import UNKNOWN
from snapstone.catalog.sqlite.opening import known_migrations, migrate
from snapstone.core.clock_trust import ClockReading, Trust
from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.clock_suite import TRUSTED, ClockSuite

INSERT_SNAPSHOT = (
    "INSERT INTO snapshot (snapshot_id, account_id, region, volume_size_gib, lineage_id, state, started_at_ms,"
    " completed_at_ms, timeout_minutes, deadline_at_ms, progress, root, block_count)"
    " VALUES (?1, '111122223333', 'here', 1, ?1, ?2, ?3, ?4, 60, 0, 0, zeroblob(32), 0)"
)

INSERT_KEY = (
    "INSERT INTO kms_key (key_id, account_id, region, manager, state, description, policy, created_at_ms)"
    " VALUES ('key', '111122223333', 'here', 'CUSTOMER', 'Enabled', '', '', ?)"
)


class TestSqliteClock(ClockSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return catalog_opener(tmp_path / "catalog.db")


@pytest.mark.parametrize(
    ("snapshots", "key_ms", "last_ms"),
    [
        ([("pending", 1_000, None), ("completed", 500, 2_000)], None, 2_000),
        ([("completed", 500, 2_000)], 3_000, 3_000),
        ([], 3_000, 3_000),
    ],
)
def test_an_older_catalog_was_in_use_when_its_newest_row_was_made(
    tmp_path: Path, snapshots: list[tuple[str, int, int | None]], key_ms: int | None, last_ms: int
) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        migrate(connection, known_migrations()[:5])
        for number, (state, started_at_ms, completed_at_ms) in enumerate(snapshots):
            connection.execute(INSERT_SNAPSHOT, (f"snap-{number}", state, started_at_ms, completed_at_ms))
        if key_ms is not None:
            connection.execute(INSERT_KEY, (key_ms,))
    catalog = SqliteCatalog(path)
    assert catalog.clock().trust == Trust(ClockReading(last_ms, 0, ""), last_ms)
    assert catalog.clock().running_ms is None
    catalog.close()


@pytest.mark.parametrize(
    "column",
    ["reference_wall_ms", "reference_boot_ms", "reference_boot_id", "last_ms", "running_ms", "due_running_ms",
     "run_offset_ms", "checksum"],
)  # fmt: skip
def test_a_damaged_row_tells_nothing_and_is_reported(
    tmp_path: Path, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing but a whole row is believed: a running time that had grown by itself would time out every snapshot."""
    path = tmp_path / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.change_clock(lambda _: TRUSTED)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE clock SET {column} = {column} || 1")
    assert catalog.clock() == UNKNOWN
    assert "damaged" in caplog.text
    assert catalog.change_clock(lambda _: TRUSTED) == catalog.clock() == TRUSTED
    catalog.close()
