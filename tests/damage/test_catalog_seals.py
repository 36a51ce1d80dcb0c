"""A seal never completes over damaged rows, and a completed snapshot that is damaged is never answered as unknown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from tests.installation import Installation, block


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def damage(installation: Installation, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(installation.folder / "catalog.db", isolation_level=None)
    connection.execute(statement, parameters)
    connection.close()


def state(installation: Installation, snapshot_id: SnapshotId) -> str:
    connection = sqlite3.connect(installation.folder / "catalog.db", isolation_level=None)
    [(found,)] = connection.execute("SELECT state FROM snapshot WHERE snapshot_id = ?", (snapshot_id,)).fetchall()
    connection.close()
    return str(found)


def test_a_block_whose_index_flipped_is_not_sealed_at_another_place(installation: Installation) -> None:
    snapshot_id = installation.start()
    installation.put(snapshot_id, 104, block("a"))
    damage(installation, "UPDATE pending_write SET block_index = 105")
    assert installation.complete(snapshot_id, 1) != "completed"
    installation.tick()
    assert state(installation, snapshot_id) != SnapshotState.COMPLETED


@pytest.mark.parametrize("change", ["block_count = block_count + 1", "root = zeroblob(32)", "lineage_id = 'snap-0'"])
def test_a_snapshot_whose_row_is_damaged_is_not_sealed(installation: Installation, change: str) -> None:
    snapshot_id = installation.start()
    installation.put(snapshot_id, 104, block("a"))
    damage(installation, f"UPDATE snapshot SET {change}")
    with pytest.raises(DamageError):
        installation.complete(snapshot_id, 1)
    installation.reopen()
    with pytest.raises(DamageError):
        installation.put(snapshot_id, 105, block("b"))
    with pytest.raises(DamageError):
        installation.complete(snapshot_id, 1)
    assert state(installation, snapshot_id) == SnapshotState.PENDING


def test_a_completed_snapshot_whose_account_flipped_is_damage_and_not_unknown(installation: Installation) -> None:
    snapshot_id = installation.sealed({3: block("a")})
    damage(installation, "DROP TRIGGER snapshot_set_in_stone")
    damage(installation, "UPDATE snapshot SET account_id = '911111111111'")
    installation.reopen()
    with pytest.raises(DamageError):
        installation.list_page(snapshot_id)
    with pytest.raises(DamageError):
        installation.delete(snapshot_id)
