"""Checksums of rows: kept by whatever statement changes a row, held against it by whatever reads or changes it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from errno import ENOSPC
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.contract.sharing import SnapshotScope
from snapstone.catalog.contract.snapshots import CopyWork, PendingWrite, SnapshotState
from snapstone.catalog.sqlite import connections, integrity
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.checksums import COPY_COLUMNS, FIXED_COLUMNS, MOVING_COLUMNS
from snapstone.core.blocks import Address, Digest
from snapstone.core.errors import DamageError, StoreFullError
from tests.suites.catalog_rows import (
    ALICE,
    FRANKFURT,
    OTHER_ROOT,
    ROOT,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
    writes,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path) -> Iterator[SqliteCatalog]:
    catalog = SqliteCatalog(path)
    yield catalog
    catalog.close()


def raw(path: Path, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run a statement on a connection that keeps no checksums, which is how damage is made here."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement, parameters).fetchall()
    finally:
        connection.close()


# -- what they are --


def test_every_column_is_under_the_checksum_of_its_row(catalog: SqliteCatalog, path: Path) -> None:
    for table, covered in (("snapshot", {*FIXED_COLUMNS, *MOVING_COLUMNS}), ("snapshot_copy", {*COPY_COLUMNS})):
        columns = {column for _, column, *_ in raw(path, f"PRAGMA table_info({table})")}
        assert columns == covered | {"checksum"}


def test_a_snapshots_checksum_is_as_documented(catalog: SqliteCatalog, path: Path) -> None:
    catalog.insert_snapshot(pending(1, description="it's", data_key_id=b"\x0a" * 16), None)
    record(catalog, 1, plain(0))
    columns = ", ".join([*FIXED_COLUMNS, *MOVING_COLUMNS])
    [(checksum, *values)] = raw(path, f"SELECT checksum, {columns} FROM snapshot")

    def literal(value: object) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bytes):
            return f"X'{value.hex().upper()}'"
        return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"

    digest = xxh3_64_intdigest(",".join(map(literal, values)).encode())
    assert checksum == (digest if digest < 1 << 63 else digest - (1 << 64))


def test_a_pending_writes_checksum_is_as_documented(catalog: SqliteCatalog, path: Path) -> None:
    catalog.insert_snapshot(pending(1), None)
    catalog.record_write(name(1), PendingWrite(3, Address(b"\x21" * 32), Digest(b"\x22" * 32)), 0, STARTED, STARTED)
    catalog.record_write(name(1), PendingWrite(4, Address(b"\x23" * 32), Digest(b"\x23" * 32)), 0, STARTED, STARTED)
    contents = [
        (1).to_bytes(8, "little") + (3).to_bytes(8, "little") + b"\x21" * 32 + b"\x22" * 32,
        (1).to_bytes(8, "little") + (4).to_bytes(8, "little") + b"\x23" * 32,
    ]
    stored = raw(path, "SELECT checksum FROM pending_write ORDER BY block_index")
    assert [int(str(checksum)) % (1 << 64) for (checksum,) in stored] == [
        xxh3_64_intdigest(content) for content in contents
    ]


# -- what becomes of a damaged row --

CHANGES = [
    "snapshot_id = 'snap-0000000000000000f'",
    "account_id = '211111111111'",
    "region = 'eu-central-2'",
    "volume_size_gib = 2",
    "parent_id = 'snap-0000000000000000e'",
    "lineage_id = 'snap-0000000000000000e'",
    "started_at_ms = started_at_ms + 1",
    "root = zeroblob(32)",
    "block_count = block_count + 1",
    "kms_key_arn = 'arn'",
    "data_key_id = zeroblob(16)",
    "copied_from = 'snap-0000000000000000e'",
    "recycled_until_ms = 1",
    "deadline_at_ms = deadline_at_ms + 1",
    "progress = progress + 1",
    "sequence = sequence + 1",
    "checksum = checksum + 1",
    "checksum = NULL",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_snapshot_is_an_error_for_whoever_reads_changes_or_deletes_it(
    catalog: SqliteCatalog, path: Path, change: str
) -> None:
    put_in_state(catalog, 1, SnapshotState.SEALING)
    put_in_state(catalog, 2, SnapshotState.PENDING)
    raw(path, f"UPDATE snapshot SET {change} WHERE snapshot_key = 1")
    found = raw(path, "SELECT snapshot_id, account_id, region FROM snapshot WHERE snapshot_key = 1")[0]
    damaged = type(name(1))(str(found[0]))
    before = raw(path, "SELECT * FROM snapshot WHERE snapshot_key = 1")
    calls: list[Callable[[], object]] = [
        lambda: catalog.snapshot(damaged),
        lambda: list(catalog.pending_writes(damaged)),
        lambda: catalog.snapshots(found[1], found[2]),  # type: ignore[arg-type]
        lambda: catalog.snapshots(found[1], found[2], [damaged]),  # type: ignore[arg-type]
        lambda: catalog.visible_snapshots(found[1], found[2], [SnapshotScope.OWN], None, 9),  # type: ignore[arg-type]
        lambda: catalog.claim_seal(damaged, STARTED, STARTED + 9),
        lambda: catalog.finish_seal(damaged, OTHER_ROOT, 1, STARTED + 9),
        lambda: catalog.fail_seal(damaged, "why"),
        lambda: catalog.begin_seal(damaged, 1, None, STARTED, STARTED),
        lambda: catalog.record_write(damaged, plain(9), 0, STARTED, STARTED),
        lambda: catalog.begin_delete(damaged, STARTED, STARTED),
    ]
    for call in calls:
        with pytest.raises(DamageError, match="checksum"):
            call()
    assert raw(path, "SELECT * FROM snapshot WHERE snapshot_key = 1") == before
    assert catalog.snapshot(name(2)) == pending(2)
    assert len(list(catalog.integrity())) >= 1


def test_sweeps_leave_a_damaged_row_as_it_is_and_do_their_work_on_the_others(
    catalog: SqliteCatalog, path: Path
) -> None:
    reported: list[DamageError] = []
    catalog.watch_damage(reported.append)
    for number in (1, 2, 3):
        put_in_state(catalog, number, SnapshotState.PENDING)
        put_in_state(catalog, number + 10, SnapshotState.SEALING)
        put_in_state(catalog, number + 20, SnapshotState.DELETING)
    raw(path, "UPDATE snapshot SET lineage_id = 'snap-0' WHERE snapshot_id IN (?, ?, ?)", name(2), name(12), name(22))
    assert catalog.seals_due(STARTED) == [name(11), name(13)]
    assert catalog.deletions_due() == [name(21), name(23)]
    catalog.renew_deadlines(STARTED)
    catalog.release_leases()
    assert catalog.expire_pending(STARTED + 99 * 3_600_000, "late") == [name(1), name(3)]
    assert raw(path, "SELECT state FROM snapshot WHERE snapshot_id = ?", name(2)) == [("pending",)]
    assert len({damage.address for damage in reported}) == 3


@pytest.mark.parametrize(
    "change",
    [
        "block_index = 105",
        "address = zeroblob(32)",
        "digest = zeroblob(32)",
        "snapshot_key = 2",
        "snapshot_key = 0",
        "checksum = NULL",
    ],
)
def test_a_damaged_pending_write_ends_the_stream_with_an_error(catalog: SqliteCatalog, path: Path, change: str) -> None:
    catalog.insert_snapshot(pending(1), None)
    for block_index in (103, 104, 106):
        record(catalog, 1, plain(block_index))
    raw(path, f"UPDATE pending_write SET {change} WHERE block_index = 104")
    with pytest.raises(DamageError):
        writes(catalog)
    assert list(catalog.integrity()) != []


def test_a_write_in_place_of_a_damaged_one_heals_it(catalog: SqliteCatalog, path: Path) -> None:
    catalog.insert_snapshot(pending(1), None)
    record(catalog, 1, plain(4))
    raw(path, "UPDATE pending_write SET address = zeroblob(32)")
    record(catalog, 1, plain(4, "again"))
    assert writes(catalog) == [plain(4, "again")]


@pytest.mark.parametrize("change", ["source_root = zeroblob(32)", "source_kms_key_arn = 'arn'", "lease_until_ms = 5"])
def test_a_damaged_copy_is_not_worked_on(catalog: SqliteCatalog, path: Path, change: str) -> None:
    put_in_state(catalog, 1, SnapshotState.COMPLETED)
    catalog.insert_copy(pending(2, copied_from=name(1)), CopyWork(name(2), ROOT, None), 5)
    raw(path, f"UPDATE snapshot_copy SET {change}")
    assert catalog.copies_due(STARTED) == []
    with pytest.raises(DamageError):
        catalog.claim_copy(name(2), STARTED, STARTED + 9)
    assert [problem for problem in catalog.integrity() if "snapshot_copy" in problem]


def test_a_lists_damage_does_not_hide_the_snapshots_that_are_asked_for_by_id(
    catalog: SqliteCatalog, path: Path
) -> None:
    for number in (1, 2, 3):
        put_in_state(catalog, number, SnapshotState.COMPLETED)
    raw(path, "UPDATE snapshot SET description = 'x' WHERE snapshot_id = ?", name(2))
    with pytest.raises(DamageError, match=name(2)):
        catalog.snapshots(ALICE, FRANKFURT)
    assert len(catalog.snapshots(ALICE, FRANKFURT, [name(1), name(3)])) == 2


# -- the whole catalog --


def test_a_whole_catalog_has_no_problems(catalog: SqliteCatalog) -> None:
    for number, state in enumerate(SnapshotState, 1):
        put_in_state(catalog, number, state)
    assert list(catalog.integrity()) == []


def test_pending_writes_of_no_snapshot_are_told(catalog: SqliteCatalog, path: Path) -> None:
    catalog.insert_snapshot(pending(1), None)
    record(catalog, 1, plain(4))
    raw(path, "DELETE FROM snapshot")
    assert list(catalog.integrity()) == ["1 pending writes are of snapshot key 1, which has none"]


def test_of_many_problems_of_a_kind_the_first_are_told_and_that_there_are_more(
    catalog: SqliteCatalog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "PROBLEM_LIMIT", 2)
    for key in (901, 902, 903, 904):
        raw(path, "INSERT INTO snapshot_tag VALUES (?, 'a', '', 0)", key)
    told = list(catalog.integrity())
    assert told.count("a row of snapshot_tag refers to a row of snapshot that does not exist") == 2
    assert "more than 2 problems of this kind" in told


def test_more_damaged_places_than_are_remembered_are_told_again(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REPORTED_LIMIT", 2)
    reported: list[DamageError] = []
    catalog.watch_damage(reported.append)
    for place in ("one", "one", "two", "three", "one"):
        catalog._connections.report_damage(DamageError(place, "torn"))
    assert [damage.address for damage in reported] == ["one", "two", "three", "one"]


# -- no room, and a failing disk --


def test_a_full_disk_is_told_as_such_and_changes_nothing(catalog: SqliteCatalog) -> None:
    with catalog._connections.writing() as connection:
        [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFullError, match=r"catalog\.db"):
        insert_many(catalog)
    assert catalog.snapshot(name(1)) == pending(1)
    assert list(catalog.integrity()) == []


def insert_many(catalog: SqliteCatalog) -> None:
    for number in range(1, 1_000):
        catalog.insert_snapshot(pending(number), None)


@pytest.mark.parametrize("moment", ["begin", "commit", "end"])
def test_a_changes_file_without_room_makes_nothing_stale(
    catalog: SqliteCatalog, path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.insert_snapshot(pending(1), None)
    assert catalog.remembered_snapshot(name(1)) == pending(1)
    real, calls = os.pwrite, []

    def full(fd: int, content: bytes, place: int) -> int:
        calls.append(place)
        if {"begin": len(calls) == 1, "commit": place == 8, "end": place < 8 and len(calls) > 1}[moment]:
            raise OSError(ENOSPC, "No space left on device")
        return real(fd, content, place)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        if moment == "begin":
            with pytest.raises(StoreFullError, match=r"catalog\.db-changes"):
                catalog.begin_seal(name(1), 0, None, STARTED, STARTED)
        else:
            catalog.begin_seal(name(1), 0, None, STARTED, STARTED)
    state = SnapshotState.PENDING if moment == "begin" else SnapshotState.SEALING
    found = catalog.remembered_snapshot(name(1))
    assert found is not None
    assert found.state is state
    catalog.release_leases()
    SqliteCatalog(path, create=False).close()


class FailingCommit:
    """A connection whose COMMIT fails as it does when a sync fails, after SQLite has undone what it wrote."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, parameters)

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._connection, attribute)


def test_a_commit_whose_sync_failed_is_answered_to_nobody_and_has_no_number(
    catalog: SqliteCatalog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.insert_snapshot(pending(1), None)
    before = path.with_name("catalog.db-changes").read_bytes()[8:]
    with monkeypatch.context() as patched:
        patched.setattr(catalog._connections, "_writer", FailingCommit(catalog._connections._writer))
        with pytest.raises(CatalogUnavailableError, match="disk I/O error"):
            record(catalog, 1, plain(0))
        with pytest.raises(CatalogUnavailableError, match="disk I/O error"):
            catalog.begin_seal(name(1), 0, None, STARTED, STARTED)
    assert path.with_name("catalog.db-changes").read_bytes()[8:] == before
    assert catalog.snapshot(name(1)) == pending(1)
    record(catalog, 1, plain(0))
    assert writes(catalog) == [plain(0)]
