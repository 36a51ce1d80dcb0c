"""The archive tier: what lies there is not read until it is restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    SnapshotArchivedError,
    SnapshotNotFoundError,
    SnapshotStateError,
)
from snapstone.core.ids import Region
from snapstone.core.protection import DAY_MS
from snapstone.service.ec2.filters import Filter
from snapstone.service.ec2.tiers import describe_snapshot_tier_status, modify_snapshot_tier, restore_snapshot_tier
from tests.installation import CALLER, START_MS, Installation, block

A, B = block("a"), block("b")
Answer = dict[str, Any]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def archive(installation: Installation, snapshot_id: str) -> Answer:
    return modify_snapshot_tier(installation.engine, installation.caller, snapshot_id=snapshot_id)


def restore(installation: Installation, snapshot_id: str, **members: Any) -> Answer:
    return restore_snapshot_tier(installation.engine, installation.caller, snapshot_id=snapshot_id, **members)


def status(installation: Installation, snapshot_id: str) -> Answer:
    filters: list[Filter] = [{"Name": "snapshot-id", "Values": [snapshot_id]}]
    answer: Answer = describe_snapshot_tier_status(installation.engine, installation.caller, filters=filters)
    [found] = answer["SnapshotTierStatuses"]
    return dict(found)


def expect_unreadable(installation: Installation, snapshot_id: str, block_token: str) -> None:
    sibling = installation.sealed({0: A})
    for attempt in (
        lambda: installation.list_page(snapshot_id),
        lambda: installation.get(snapshot_id, 0, block_token),
        lambda: installation.changes_page(snapshot_id, sibling),
        lambda: installation.changes_page(sibling, snapshot_id),
        lambda: installation.start(parent_snapshot_id=snapshot_id),
    ):
        with pytest.raises(SnapshotArchivedError):
            attempt()


def test_an_archived_snapshot_is_not_read_until_it_is_restored_for_good(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    [entry] = installation.list_all(snapshot_id)
    assert archive(installation, snapshot_id) == {"SnapshotId": snapshot_id, "TieringStartTime": START_MS}
    expect_unreadable(installation, snapshot_id, entry["BlockToken"])
    installation.clock.advance_minutes(1)
    assert restore(installation, snapshot_id, permanent_restore=True) == {
        "SnapshotId": snapshot_id,
        "RestoreStartTime": START_MS + 60_000,
        "RestoreDuration": None,
        "IsPermanentRestore": True,
    }
    assert installation.content(snapshot_id) == {0: A}
    child = installation.sealed({1: B}, parent_snapshot_id=snapshot_id)
    assert installation.content(child) == {0: A, 1: B}


def test_a_restore_for_a_time_ends_in_the_archive(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    [entry] = installation.list_all(snapshot_id)
    archive(installation, snapshot_id)
    answer = restore(installation, snapshot_id, temporary_restore_days=2)
    assert (answer["RestoreDuration"], answer["IsPermanentRestore"]) == (2, False)
    assert installation.row(snapshot_id).tiering.restore_expires_at_ms == START_MS + 2 * DAY_MS
    installation.clock.now_ms = START_MS + 2 * DAY_MS - 1
    installation.tick()
    assert installation.content(snapshot_id) == {0: A}
    installation.clock.now_ms = START_MS + 2 * DAY_MS + 10_000
    installation.tick()
    expect_unreadable(installation, snapshot_id, entry["BlockToken"])
    assert status(installation, snapshot_id)["StorageTier"] == "archive"


def test_a_restore_for_a_time_can_be_changed(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    archive(installation, snapshot_id)
    restore(installation, snapshot_id, temporary_restore_days=2)
    restore(installation, snapshot_id, temporary_restore_days=180)
    assert status(installation, snapshot_id)["RestoreExpiryTime"] == START_MS + 180 * DAY_MS
    restore(installation, snapshot_id, permanent_restore=True)
    assert status(installation, snapshot_id)["RestoreExpiryTime"] is None
    with pytest.raises(SnapshotStateError):
        restore(installation, snapshot_id, temporary_restore_days=1)


def test_the_status_tells_the_last_move(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A}, tags=[{"Key": "a", "Value": "b"}])
    untouched = status(installation, snapshot_id)
    assert untouched["StorageTier"] == "standard"
    assert untouched["LastTieringOperationStatus"] is None
    archive(installation, snapshot_id)
    assert status(installation, snapshot_id) == {
        "SnapshotId": snapshot_id,
        "VolumeId": "vol-ffffffff",
        "Status": "completed",
        "OwnerId": CALLER.account_id,
        "Tags": [{"Key": "a", "Value": "b"}],
        "StorageTier": "archive",
        "LastTieringStartTime": START_MS,
        "LastTieringProgress": 100,
        "LastTieringOperationStatus": "archival-completed",
        "ArchivalCompleteTime": START_MS,
        "RestoreExpiryTime": None,
    }
    restore(installation, snapshot_id, temporary_restore_days=1)
    assert status(installation, snapshot_id)["LastTieringOperationStatus"] == "temporary-restore-completed"
    restore(installation, snapshot_id, permanent_restore=True)
    assert status(installation, snapshot_id)["LastTieringOperationStatus"] == "permanent-restore-completed"


def test_moves_need_the_right_place_to_start_from(installation: Installation) -> None:
    pending, completed = installation.start(), installation.sealed({})
    with pytest.raises(SnapshotStateError):
        archive(installation, pending)
    with pytest.raises(SnapshotStateError):
        restore(installation, completed, permanent_restore=True)
    archive(installation, completed)
    with pytest.raises(SnapshotStateError):
        archive(installation, completed)
    restore(installation, completed, temporary_restore_days=1)
    with pytest.raises(SnapshotStateError):
        archive(installation, completed)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, InvalidParameterCombinationError),
        ({"permanent_restore": False}, InvalidParameterCombinationError),
        ({"permanent_restore": True, "temporary_restore_days": 1}, InvalidParameterCombinationError),
        ({"temporary_restore_days": 0}, InvalidParameterError),
        ({"temporary_restore_days": 181}, InvalidParameterError),
        ({"permanent_restore": True, "dry_run": True}, DryRunPassedError),
    ],
)
def test_what_is_wrong_with_a_restore_changes_nothing(
    installation: Installation, members: Answer, error: type[Exception]
) -> None:
    snapshot_id = installation.sealed({})
    archive(installation, snapshot_id)
    before = installation.row(snapshot_id)
    with pytest.raises(error):
        restore(installation, snapshot_id, **members)
    assert installation.row(snapshot_id) == before


def test_an_archived_snapshot_can_be_deleted(installation: Installation) -> None:
    snapshot_id = installation.sealed({})
    archive(installation, snapshot_id)
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None


def test_another_region_has_no_such_snapshot(installation: Installation) -> None:
    snapshot_id = installation.sealed({})
    installation.caller = replace(CALLER, region=Region("us-west-2"))
    with pytest.raises(SnapshotNotFoundError):
        archive(installation, snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        restore(installation, snapshot_id, permanent_restore=True)


def test_other_tiers_and_dry_runs(installation: Installation) -> None:
    snapshot_id = installation.sealed({})
    with pytest.raises(InvalidParameterError):
        modify_snapshot_tier(installation.engine, CALLER, snapshot_id=snapshot_id, storage_tier="standard")
    with pytest.raises(DryRunPassedError):
        modify_snapshot_tier(installation.engine, CALLER, snapshot_id=snapshot_id, dry_run=True)
    assert status(installation, snapshot_id)["StorageTier"] == "standard"
