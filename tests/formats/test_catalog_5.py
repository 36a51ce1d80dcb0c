"""A catalog from before rows had checksums and transactions numbers is converted, whole or not at all, and reads back.

`catalog_5/catalog.db.xz` was written by Snapstone 0.1.0 with schema version 5 and is never written anew: nine snapshots
of the rows that `tests/suites/catalog_rows.py` makes, one for each state and for each way in which rows are special,
and the pending writes named below."""

from __future__ import annotations

import lzma
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from snapstone.catalog.contract.snapshots import CopyWork, PendingWrite, Snapshot, SnapshotState, StorageTier, Tiering
from snapstone.catalog.sqlite import opening as schema
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.opening import known_migrations
from snapstone.core.blocks import Address, Digest
from tests.suites.catalog_rows import BOB, MINUTE, OREGON, OTHER_ROOT, STARTED, name, pending, plain, writes

GOLDEN: Final = Path(__file__).parent / "catalog_5" / "catalog.db.xz"

KEY: Final = "arn:aws:kms:eu-central-1:111111111111:key/12345678-1234-1234-1234-123456789012"


def completed(number: int) -> Snapshot:
    return replace(
        pending(number),
        state=SnapshotState.COMPLETED,
        root=OTHER_ROOT,
        block_count=1,
        completed_at_ms=STARTED + 5,
        expected_count=1,
        seal_begun_at_ms=STARTED,
    )


SNAPSHOTS: Final = {
    1: replace(
        completed(1),
        description="nightly ü",
        tags=(("b", "2"), ("a", "")),
        seal_begun_at_ms=STARTED + 1,
        shared_with=frozenset({BOB}),
    ),
    2: replace(
        pending(2),
        parent_id=name(1),
        lineage_id=name(1),
        root=OTHER_ROOT,
        block_count=1,
        deadline_at_ms=STARTED + 61 * MINUTE,
    ),
    3: replace(
        pending(3),
        state=SnapshotState.SEALING,
        expected_count=2,
        expected_checksum=Digest(b"\x07" * 32),
        seal_begun_at_ms=STARTED + 9,
    ),
    4: replace(completed(4), recycled_at_ms=STARTED + 100, recycled_until_ms=STARTED + 100 + 3 * 86_400_000),
    5: replace(pending(5), kms_key_arn=KEY, data_key_id=bytes(range(16))),
    6: replace(
        pending(6),
        account_id=BOB,
        region=OREGON,
        copied_from=name(1),
        kms_key_arn=KEY,
        data_key_id=bytes(range(16, 32)),
    ),
    7: replace(
        pending(7),
        state=SnapshotState.ERROR,
        state_message="Checksum mismatch for snapshot",
        expected_count=1,
        seal_begun_at_ms=STARTED,
    ),
    8: replace(pending(8), state=SnapshotState.DELETING),
    9: replace(
        completed(9), tiering=Tiering(StorageTier.ARCHIVE, None, STARTED + 50, STARTED + 40, "archival-completed")
    ),
}

WRITES: Final = {
    2: [plain(3, "d"), plain(7), plain(2047, "c")],
    3: [plain(1), plain(2)],
    5: [PendingWrite(4, Address(b"\x21" * 32), Digest(b"\x22" * 32))],
    6: [PendingWrite(0, Address(b"\x31" * 32), Digest(b"\x32" * 32))],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.db"
    path.write_bytes(lzma.decompress(GOLDEN.read_bytes()))
    return path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    [(number,)] = connection.execute("SELECT max(number) FROM schema_migration").fetchall()
    connection.close()
    return int(number)


def require_all(path: Path) -> None:
    """Every row reads back, and goes on through its life."""
    catalog = SqliteCatalog(path, create=False)
    assert list(catalog.integrity()) == []
    for number in range(1, 10):
        assert catalog.snapshot(name(number)) == SNAPSHOTS[number]
        assert writes(catalog, number) == WRITES.get(number, [])
    assert catalog.claim_copy(name(6), STARTED + 50_000, STARTED + 60_000) == CopyWork(name(6), OTHER_ROOT, None)
    catalog.record_write(name(2), plain(8), 5, STARTED, STARTED)
    assert writes(catalog, 2) == [plain(3, "d"), plain(7), plain(8), plain(2047, "c")]
    assert catalog.finish_seal(name(3), OTHER_ROOT, 2, STARTED + 99)
    assert list(catalog.integrity()) == []
    catalog.close()


def test_the_golden_catalog_stays_small() -> None:
    assert GOLDEN.stat().st_size < 10_000


def test_a_catalog_from_before_the_checksums_is_converted_and_reads_back(path: Path) -> None:
    assert version(path) == 5
    require_all(path)
    assert version(path) == len(known_migrations())


@pytest.mark.parametrize(
    "statement", ["ADD COLUMN sequence", "UPDATE snapshot SET", "UPDATE pending_write", "INSERT INTO catalog"]
)
def test_a_conversion_that_is_cut_off_anywhere_changes_nothing_and_is_done_at_the_next_start(
    path: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(path)
    with monkeypatch.context() as patched:
        patched.setattr("snapstone.catalog.sqlite.opening._statements", _dying_at(statement))
        with pytest.raises(KeyboardInterrupt):
            SqliteCatalog(path, create=False)
    assert dump(path) == before
    require_all(path)


def _dying_at(statement: str) -> Callable[[str], Iterator[str]]:
    """What takes a migration's script apart, until it comes to a statement."""
    statements_of = schema._statements

    def statements(script: str) -> Iterator[str]:
        for each in statements_of(script):
            if statement in each:
                raise KeyboardInterrupt
            yield each

    return statements


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines
