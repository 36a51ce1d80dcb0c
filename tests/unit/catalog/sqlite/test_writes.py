"""Batches of writes as they are committed, and the dropping of writes in steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.catalog.contract.catalog import NotWritableError
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.snapshots import PendingWrite, SnapshotState
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.checksums import register_functions
from snapstone.catalog.sqlite.writes import DROP_STEP_COUNT, SubmittedWrite
from snapstone.core.blocks import Address, Digest
from tests.suites.catalog_rows import (
    DEADLINE,
    MINUTE,
    ROOT,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
    writes,
)


class WatchedCatalog(SqliteCatalog):
    """Remembers how many writes each step dropped, and can die after a number of steps."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.steps: list[int] = []
        self.dies_after: int | None = None

    def _drop_step(self, snapshot_key: int) -> int:
        if len(self.steps) == self.dies_after:
            raise KeyboardInterrupt
        self.steps.append(super()._drop_step(snapshot_key))
        return self.steps[-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path) -> Iterator[WatchedCatalog]:
    catalog = WatchedCatalog(path)
    yield catalog
    catalog.close()


def submitted(
    number: int, write: PendingWrite, progress: int = 0, begun: int = STARTED, now: int = STARTED
) -> SubmittedWrite:
    return SubmittedWrite(name(number), write, progress, begun, now)


def raw(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path, isolation_level=None)
    register_functions(connection)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def sealing_with(catalog: SqliteCatalog, path: Path, count: int) -> None:
    """The first snapshot, sealing, with that many pending writes."""
    catalog.insert_snapshot(pending(1, volume_size_gib=64), None)
    raw(
        path,
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 3 FROM n WHERE i < 3 * {count - 1})"
        " INSERT INTO pending_write SELECT 1, i, zeroblob(32), NULL, pending_write_checksum(1, i, zeroblob(32), NULL)"
        " FROM n",
    )
    catalog.begin_seal(name(1), count, None, STARTED, STARTED)


class TestBatches:
    @pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 100])
    def test_a_batch_of_any_size_is_recorded_whole(self, catalog: SqliteCatalog, count: int) -> None:
        catalog.insert_snapshot(pending(1), None)
        assert catalog.commit_writes([submitted(1, plain(i, str(i))) for i in range(count)]) == [None] * count
        assert writes(catalog) == [plain(i, str(i)) for i in range(count)]

    @pytest.mark.parametrize("apart", [1, 40])
    def test_the_later_of_two_writes_of_one_index_in_a_batch_wins(self, catalog: SqliteCatalog, apart: int) -> None:
        catalog.insert_snapshot(pending(1), None)
        between = [submitted(1, plain(i)) for i in range(100, 100 + apart)]
        catalog.commit_writes([submitted(1, plain(5, "earlier")), *between, submitted(1, plain(5, "later"))])
        assert writes(catalog)[0] == plain(5, "later")

    def test_refused_writes_get_their_own_error_and_the_rest_is_recorded(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        put_in_state(catalog, 2, SnapshotState.SEALING)
        outcomes = catalog.commit_writes([submitted(number, plain(7)) for number in (2, 1, 3, 1, 2)])
        states = [None if refused is None else (refused.state,) for refused in outcomes]
        assert states == [(SnapshotState.SEALING,), None, (None,), None, (SnapshotState.SEALING,)]
        assert len({id(refused) for refused in outcomes if refused}) == 3
        assert writes(catalog, 1) == [plain(7)]
        assert writes(catalog, 2) == [plain(0)]

    def test_a_batch_means_what_its_writes_mean_one_after_the_other(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1, timeout_minutes=10), None)
        late = DEADLINE + 9 * MINUTE
        outcomes = catalog.commit_writes(
            [
                submitted(1, plain(0), begun=late, now=late),
                submitted(1, plain(1), begun=DEADLINE, now=DEADLINE + 1),
                submitted(1, plain(2), begun=late, now=late),
            ]
        )
        assert [type(outcome) for outcome in outcomes] == [NotWritableError, type(None), type(None)]
        assert writes(catalog) == [plain(1), plain(2)]

    def test_a_batch_leaves_the_latest_deadline_and_the_largest_progress_of_each_snapshot(
        self, catalog: SqliteCatalog
    ) -> None:
        for number in (1, 2):
            catalog.insert_snapshot(pending(number), None)
        catalog.commit_writes(
            [
                submitted(1, plain(0), progress=40, now=STARTED + 9),
                submitted(2, plain(0), progress=70, now=STARTED + 2),
                submitted(1, plain(1), progress=30, now=STARTED + 5),
            ]
        )
        assert catalog.snapshot(name(1)) == pending(1, progress=40, deadline_at_ms=DEADLINE + 9)
        assert catalog.snapshot(name(2)) == pending(2, progress=70, deadline_at_ms=DEADLINE + 2)

    def test_a_batch_that_fails_records_nothing(self, catalog: SqliteCatalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        impossible = PendingWrite(1, Address(b"short"), Digest(b"short"))
        with pytest.raises(RowRefusedError):
            catalog.commit_writes([submitted(1, plain(0), progress=50), submitted(1, impossible)])
        assert writes(catalog) == []
        assert catalog.snapshot(name(1)) == pending(1)
        record(catalog, 1, plain(2))

    def test_a_digest_is_stored_only_where_it_is_not_the_address(self, catalog: SqliteCatalog, path: Path) -> None:
        catalog.insert_snapshot(pending(1), None)
        record(catalog, 1, plain(0))
        record(catalog, 1, PendingWrite(1, Address(b"\xaa" * 32), Digest(b"\xbb" * 32)))
        assert raw(path, "SELECT block_index, digest FROM pending_write") == [(0, None), (1, b"\xbb" * 32)]


class TestDropping:
    @pytest.mark.parametrize(
        ("count", "steps"),
        [(1, [1]), (4_095, [4_095]), (4_096, [4_096, 0]), (10_000, [4_096, 4_096, 1_808])],
    )
    def test_writes_are_dropped_in_bounded_steps(
        self, catalog: WatchedCatalog, path: Path, count: int, steps: list[int]
    ) -> None:
        assert DROP_STEP_COUNT == 4_096
        sealing_with(catalog, path, count)
        assert catalog.finish_seal(name(1), ROOT, count, STARTED)
        assert catalog.steps == steps
        assert raw(path, "SELECT (SELECT count(*) FROM pending_write), (SELECT count(*) FROM dropped_writes)") == [
            (0, 0)
        ]

    def test_a_failed_seal_leaves_no_rows(self, catalog: WatchedCatalog, path: Path) -> None:
        sealing_with(catalog, path, 10)
        catalog.fail_seal(name(1), "Checksum mismatch for snapshot")
        assert raw(path, "SELECT count(*) FROM pending_write") == [(0,)]

    def test_a_seal_past_the_deadline_leaves_no_rows(self, catalog: WatchedCatalog, path: Path) -> None:
        put_in_state(catalog, 1, SnapshotState.PENDING)
        catalog.begin_seal(name(1), 1, None, DEADLINE + 1, DEADLINE + 1)
        assert raw(path, "SELECT count(*) FROM pending_write") == [(0,)]

    def test_other_snapshots_keep_their_writes(self, catalog: WatchedCatalog, path: Path) -> None:
        sealing_with(catalog, path, 10)
        put_in_state(catalog, 2, SnapshotState.PENDING)
        catalog.finish_seal(name(1), ROOT, 10, STARTED)
        catalog.expire_pending(STARTED, "Snapshot timed out")
        assert writes(catalog, 2) == [plain(0)]

    def test_writes_left_by_a_crash_are_gone_for_readers_and_dropped_by_the_next_sweep(
        self, catalog: WatchedCatalog, path: Path
    ) -> None:
        sealing_with(catalog, path, 10_000)
        catalog.dies_after = 1
        with pytest.raises(KeyboardInterrupt):
            catalog.finish_seal(name(1), ROOT, 10_000, STARTED)
        catalog.close()
        again = SqliteCatalog(path)
        sealed = again.snapshot(name(1))
        assert sealed is not None
        assert sealed.state is SnapshotState.COMPLETED
        assert writes(again) == []
        assert raw(path, "SELECT count(*) FROM pending_write") == [(5_904,)]
        again.expire_pending(STARTED, "Snapshot timed out")
        assert raw(path, "SELECT count(*) FROM pending_write") == [(0,)]
        assert raw(path, "SELECT count(*) FROM dropped_writes") == [(0,)]
        again.close()

    def test_a_snapshot_with_writes_left_by_a_crash_can_be_deleted(self, catalog: WatchedCatalog, path: Path) -> None:
        sealing_with(catalog, path, 10_000)
        catalog.dies_after = 1
        with pytest.raises(KeyboardInterrupt):
            catalog.finish_seal(name(1), ROOT, 10_000, STARTED)
        catalog.dies_after = None
        assert catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        assert raw(path, "SELECT count(*) FROM pending_write") == [(0,)]

    def test_writes_left_by_a_crash_never_become_another_snapshots(self, catalog: WatchedCatalog, path: Path) -> None:
        sealing_with(catalog, path, 10_000)
        catalog.dies_after = 0
        with pytest.raises(KeyboardInterrupt):
            catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        catalog.insert_snapshot(pending(1), None)
        assert writes(catalog) == []
        assert raw(path, "SELECT count(*) FROM pending_write") == [(10_000,)]
