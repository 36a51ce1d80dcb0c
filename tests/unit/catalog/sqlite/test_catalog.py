"""SqliteCatalog: the contract, and what only the catalog on SQLite promises."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.catalog.contract.keys import SealedKey
from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.opening import NewerCatalogError, UnusableCatalogError
from snapstone.catalog.sqlite.snapshots import SELECT_OWNED, SELECT_OWNED_OF
from snapstone.system import sqlite as system_sqlite
from tests.fresh import catalog_opener
from tests.suites.catalog_fixtures import Opener
from tests.suites.catalog_rows import (
    ALICE,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
)
from tests.suites.catalog_suite import CatalogSuite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


def raw(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What a statement gives on a connection of its own, past the catalog; its parameters are all NULL."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement, [None] * statement.count("?")).fetchall()
    finally:
        connection.close()


def plans(path: Path, statement: str) -> list[str]:
    """How SQLite goes about each table of a statement, tags left aside."""
    rows = raw(path, f"EXPLAIN QUERY PLAN {statement}")
    return [str(plan) for *_, plan in rows if "snapshot_tag" not in str(plan) and "SUBQUERY" not in str(plan)]


class TestSqliteCatalog(CatalogSuite):
    """Everything that the contract promises."""

    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        return catalog_opener(path)


class TestFile:
    def test_only_the_owner_may_read_its_files(self, path: Path) -> None:
        mask = os.umask(0)
        try:
            catalog = SqliteCatalog(path)
            catalog.secret("token", b"secret")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            catalog.close()
        finally:
            os.umask(mask)
        assert modes == {
            "catalog.db": 0o600,
            "catalog.db-wal": 0o600,
            "catalog.db-shm": 0o600,
            "catalog.db-lock": 0o600,
            "catalog.db-changes": 0o600,
        }

    def test_a_catalog_of_a_newer_version_is_refused_and_left_as_it_is(self, path: Path) -> None:
        SqliteCatalog(path).close()
        raw(path, "INSERT INTO schema_migration VALUES (9999, 'from_the_future')")
        before = path.read_bytes()
        with pytest.raises(NewerCatalogError) as refused:
            SqliteCatalog(path)
        assert refused.value.found == 9999
        assert "schema version 9999" in str(refused.value)
        assert path.read_bytes() == before

    def test_a_file_that_is_no_catalog_is_refused(self, path: Path) -> None:
        path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
        with pytest.raises(UnusableCatalogError, match="not a database") as refused:
            SqliteCatalog(path)
        assert str(path) in str(refused.value)

    def test_a_catalog_that_another_program_keeps_locked_says_so_in_the_contracts_terms(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(system_sqlite, "BUSY_TIMEOUT_SECONDS", 0.1)
        catalog = SqliteCatalog(path)
        catalog.insert_snapshot(pending(1), None)
        foreign = sqlite3.connect(path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        calls: list[Callable[[], object]] = [
            partial(catalog.secret, "token", b"secret"),  # each kind of transaction: one that others remember,
            partial(record, catalog, 1, plain(0)),  # one of writes,
            partial(catalog.insert_data_key, bytes(16), SealedKey("key", 1, b"sealed"), STARTED),  # and one of neither
        ]
        for call in calls:
            with pytest.raises(CatalogUnavailableError, match=r"catalog\.db: database is locked"):
                call()
        foreign.close()
        record(catalog, 1, plain(0))
        catalog.close()


class TestSchema:
    @pytest.fixture
    def catalog(self, path: Path) -> Catalog:
        catalog = SqliteCatalog(path)
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        put_in_state(catalog, 2, SnapshotState.PENDING)
        catalog.close()
        return catalog

    @pytest.mark.parametrize(
        "change",
        [
            "root = zeroblob(32)",
            "block_count = 2",
            "volume_size_gib = 2",
            "account_id = '222222222222'",
            "region = 'us-west-2'",
            "snapshot_id = 'snap-9'",
            "lineage_id = 'snap-9'",
            "parent_id = 'snap-9'",
            "state = 'pending'",
            "state = 'sealing'",
            "state = 'error'",
        ],
    )
    @pytest.mark.usefixtures("catalog")
    def test_a_completed_snapshot_is_set_in_stone(self, path: Path, change: str) -> None:
        with pytest.raises(sqlite3.IntegrityError, match=r"a completed snapshot never changes|does not go from"):
            raw(path, f"UPDATE snapshot SET {change} WHERE snapshot_id = '{name(1)}'")

    @pytest.mark.parametrize(
        "change",
        [
            "state = 'completed', completed_at_ms = 1",
            "state = 'sealing'",
            "state = 'sleeping'",
            "progress = 101",
            "volume_size_gib = 0",
            "volume_size_gib = 65537",
            "block_count = 2049",
            "block_count = -1",
            "root = zeroblob(31)",
            "root = NULL",
            "expected_checksum = zeroblob(33)",
            "account_id = '12345678901x'",
            "account_id = '1'",
            "seal_lease_until_ms = 5",
            "progress = 'much'",
        ],
    )
    @pytest.mark.usefixtures("catalog")
    def test_a_row_that_cannot_be_is_refused(self, path: Path, change: str) -> None:
        with pytest.raises(sqlite3.IntegrityError):
            raw(path, f"UPDATE snapshot SET {change} WHERE snapshot_id = '{name(2)}'")

    @pytest.mark.parametrize(
        "values",
        [
            "(2, -1, zeroblob(32), NULL)",
            "(2, 134217728, zeroblob(32), NULL)",
            "(2, 1, zeroblob(31), NULL)",
            "(2, 1, NULL, NULL)",
            "(2, 1, zeroblob(32), zeroblob(31))",
            "(2, 1, zeroblob(32), zeroblob(32))",
            "(NULL, 1, zeroblob(32), NULL)",
        ],
    )
    @pytest.mark.usefixtures("catalog")
    def test_a_pending_write_that_cannot_be_is_refused(self, path: Path, values: str) -> None:
        with pytest.raises(sqlite3.IntegrityError):
            raw(path, f"INSERT INTO pending_write (snapshot_key, block_index, address, digest) VALUES {values}")

    @pytest.mark.parametrize("state", ["pending", "sealing", "deleting"])
    @pytest.mark.usefixtures("catalog")
    def test_snapshots_with_work_ahead_are_found_without_looking_at_the_others(self, path: Path, state: str) -> None:
        statement = f"SELECT * FROM snapshot WHERE state = '{state}' AND deadline_at_ms < 5"
        assert plans(path, statement) == ["SEARCH snapshot USING INDEX snapshot_unfinished (state=?)"]

    @pytest.mark.usefixtures("catalog")
    def test_an_accounts_snapshots_are_found_in_order_without_sorting(self, path: Path) -> None:
        assert plans(path, SELECT_OWNED) == [
            "SEARCH snapshot USING INDEX snapshot_by_owner (account_id=? AND region=?)",
            "SEARCH snapshot_share USING PRIMARY KEY (snapshot_key=?)",
        ]

    @pytest.mark.usefixtures("catalog")
    def test_snapshots_asked_for_by_id_are_looked_up_by_id(self, path: Path) -> None:
        assert "SEARCH snapshot USING INDEX sqlite_autoindex_snapshot_1 (snapshot_id=?)" in plans(path, SELECT_OWNED_OF)


class TestRows:
    @pytest.fixture
    def catalog(self, path: Path) -> SqliteCatalog:
        return SqliteCatalog(path)

    def test_a_deleted_snapshots_tags_are_gone(self, catalog: SqliteCatalog, path: Path) -> None:
        catalog.insert_snapshot(pending(1, tags=(("Name", "disk"),)), None)
        catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        assert raw(path, "SELECT count(*) FROM snapshot_tag") == [(0,)]
        catalog.close()

    def test_a_snapshots_key_is_never_given_again(self, catalog: SqliteCatalog, path: Path) -> None:
        for number in (1, 2):
            put_in_state(catalog, number, SnapshotState.DELETING)
            catalog.finish_delete(name(number), 500)
        catalog.insert_snapshot(pending(3), None)
        assert raw(path, "SELECT snapshot_key FROM snapshot") == [(3,)]
        catalog.close()

    def test_expired_answers_are_dropped_however_many_there_are(self, catalog: SqliteCatalog, path: Path) -> None:
        raw(
            path,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " INSERT INTO stored_answer (account_id, region, client_token, snapshot_id, fingerprint, answer,"
            " expires_at_ms) SELECT '1', 'r', i, 'snap-1', x'', '', i FROM n",
        )
        assert catalog.drop_expired_answers(9_001) == 9_000
        assert raw(path, "SELECT min(expires_at_ms), count(*) FROM stored_answer") == [(9_001, 1_000)]
        catalog.close()


def test_an_access_keys_secrets_do_not_appear_when_it_is_printed() -> None:
    assert "s3cret" not in repr(SealedAccessKey("AKIA1", ALICE, None, True, 99, b"s3cret"))
