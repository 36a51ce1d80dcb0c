"""What becomes of deleted snapshots that a retention rule keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    SnapshotLockedError,
    SnapshotNotFoundError,
)
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.manifest import manifest_address
from snapstone.core.protection import DAY_MS
from snapstone.service.ec2.locks import describe_locked_snapshots, lock_snapshot
from snapstone.service.ec2.recycle_bin import list_snapshots_in_recycle_bin, restore_snapshot_from_recycle_bin
from snapstone.service.recycle_bin.rules import create_rule, delete_rule
from tests.installation import CALLER, START_MS, Installation, block
from tests.suites.races import racing

A, B = block("a"), block("b")
Answer = dict[str, Any]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def keep(installation: Installation, days: int = 7, **members: Any) -> str:
    """A rule for snapshots; its id."""
    period = {"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"}
    answer = create_rule(installation.engine, CALLER, retention_period=period, resource_type="EBS_SNAPSHOT", **members)
    return str(answer["Identifier"])


def recycled(installation: Installation, **members: Any) -> list[Answer]:
    answer: Answer = list_snapshots_in_recycle_bin(installation.engine, installation.caller, **members)
    return list(answer["Snapshots"])


def restore(installation: Installation, snapshot_id: str) -> Answer:
    return restore_snapshot_from_recycle_bin(installation.engine, installation.caller, snapshot_id=snapshot_id)


def expect_gone(installation: Installation, snapshot_id: SnapshotId) -> None:
    """For every caller and every use but the bin's own."""
    for attempt in (
        lambda: installation.list_page(snapshot_id),
        lambda: installation.delete(snapshot_id),
        lambda: installation.start(parent_snapshot_id=snapshot_id),
        lambda: installation.complete(snapshot_id, 0),
        lambda: lock_snapshot(
            installation.engine, CALLER, snapshot_id=snapshot_id, lock_mode="governance", lock_duration=1
        ),
    ):
        with pytest.raises(SnapshotNotFoundError):
            attempt()
    assert snapshot_id not in {
        each.snapshot_id for each in installation.catalog.snapshots(CALLER.account_id, CALLER.region)
    }


def test_without_a_rule_deletion_is_for_good(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.delete(snapshot_id)
    assert recycled(installation) == []
    assert installation.catalog.snapshot(snapshot_id) is None
    with pytest.raises(SnapshotNotFoundError):
        restore(installation, snapshot_id)


def test_what_a_rule_keeps_is_in_the_bin_and_nowhere_else(installation: Installation) -> None:
    keep(installation, days=7)
    snapshot_id = installation.sealed({0: A}, description="nightly")
    installation.clock.advance_minutes(1)
    installation.delete(snapshot_id)
    [told] = recycled(installation)
    assert told == {
        "SnapshotId": snapshot_id,
        "RecycleBinEnterTime": START_MS + 60_000,
        "RecycleBinExitTime": START_MS + 60_000 + 7 * DAY_MS,
        "Description": "nightly",
        "VolumeId": "vol-ffffffff",
    }
    expect_gone(installation, snapshot_id)


def test_a_token_from_before_the_deletion_reads_nothing_until_the_restore(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({0: A})
    [entry] = installation.list_all(snapshot_id)
    installation.delete(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        installation.get(snapshot_id, 0, entry["BlockToken"])
    restore(installation, snapshot_id)
    assert installation.get(snapshot_id, 0, entry["BlockToken"]) == A


def test_a_restored_snapshot_is_what_it_was(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({0: A}, tags=[{"Key": "a", "Value": "b"}])
    before = installation.row(snapshot_id)
    installation.delete(snapshot_id)
    installation.reopen()
    answer = restore(installation, snapshot_id)
    assert answer["State"] == "completed"
    assert answer["Progress"] == "100%"
    assert answer["VolumeSize"] == 1
    assert answer["Encrypted"] is False
    assert installation.row(snapshot_id) == before
    assert installation.content(snapshot_id) == {0: A}
    assert recycled(installation) == []
    child = installation.sealed({1: B}, parent_snapshot_id=snapshot_id)
    assert installation.content(child) == {0: A, 1: B}
    with pytest.raises(SnapshotNotFoundError):
        restore(installation, snapshot_id)


def test_when_its_time_is_over_it_is_deleted_for_good(installation: Installation) -> None:
    keep(installation, days=1)
    snapshot_id = installation.sealed({0: A})
    installation.delete(snapshot_id)
    installation.clock.now_ms = START_MS + DAY_MS - 1
    installation.tick()
    assert [each["SnapshotId"] for each in recycled(installation)] == [snapshot_id]
    installation.clock.now_ms = START_MS + DAY_MS
    assert recycled(installation) == []
    with pytest.raises(SnapshotNotFoundError):
        restore(installation, snapshot_id)
    installation.clock.now_ms += DAY_MS
    installation.tick()
    assert installation.catalog.snapshot(snapshot_id) is None
    assert not installation.store.has(manifest_address(snapshot_id))


def test_a_child_of_a_recycled_parent_keeps_its_blocks(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    child = installation.sealed({1: B}, parent_snapshot_id=parent)
    keep(installation)
    installation.delete(parent)
    assert installation.content(child) == {0: A, 1: B}


def test_only_completed_snapshots_go_into_the_bin(installation: Installation) -> None:
    keep(installation)
    pending, failed = installation.start(), installation.start()
    assert installation.complete(failed, 1) == "error"
    for snapshot_id in (pending, failed):
        installation.delete(snapshot_id)
        assert installation.catalog.snapshot(snapshot_id) is None
    assert recycled(installation) == []


def test_tags_decide_and_the_longest_rule_wins(installation: Installation) -> None:
    keep(installation, days=3, exclude_resource_tags=[{"ResourceTagKey": "env", "ResourceTagValue": "test"}])
    keep(installation, days=9, resource_tags=[{"ResourceTagKey": "env", "ResourceTagValue": "prod"}])
    ids = {env: installation.sealed({}, tags=[{"Key": "env", "Value": env}]) for env in ("prod", "dev", "test")}
    for snapshot_id in ids.values():
        installation.delete(snapshot_id)
    kept = {each["SnapshotId"]: each["RecycleBinExitTime"] for each in recycled(installation)}
    assert kept == {ids["prod"]: START_MS + 9 * DAY_MS, ids["dev"]: START_MS + 3 * DAY_MS}


def test_deleting_the_rule_leaves_what_is_in_the_bin(installation: Installation) -> None:
    rule_id = keep(installation)
    one, two = installation.sealed({}), installation.sealed({})
    installation.delete(one)
    delete_rule(installation.engine, CALLER, identifier=rule_id)
    installation.delete(two)
    assert [each["SnapshotId"] for each in recycled(installation)] == [one]


def test_a_lock_comes_before_the_bin(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({})
    lock_snapshot(installation.engine, CALLER, snapshot_id=snapshot_id, lock_mode="governance", lock_duration=1)
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)
    assert recycled(installation) == []


def test_an_expired_lock_is_forgotten_in_the_bin(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({})
    lock_snapshot(installation.engine, CALLER, snapshot_id=snapshot_id, lock_mode="compliance", lock_duration=1)
    installation.clock.now_ms += DAY_MS
    installation.delete(snapshot_id)
    restore(installation, snapshot_id)
    assert describe_locked_snapshots(installation.engine, CALLER)["Snapshots"] == []


def test_rules_of_another_region_keep_nothing_here(installation: Installation) -> None:
    installation.caller = replace(CALLER, region=Region("us-west-2"))
    snapshot_id = installation.sealed({})
    keep(installation)
    installation.delete(snapshot_id)
    assert recycled(installation) == []


def test_nobody_else_sees_or_restores_what_is_in_the_bin(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({})
    installation.delete(snapshot_id)
    strangers = (
        replace(CALLER, account_id=AccountId("444455556666")),
        replace(CALLER, region=Region("us-west-2")),
    )
    for installation.caller in strangers:
        assert recycled(installation) == []
        with pytest.raises(SnapshotNotFoundError):
            restore(installation, snapshot_id)
    installation.caller = CALLER
    assert restore(installation, snapshot_id)["SnapshotId"] == snapshot_id


def test_ids_select_and_pages_hold_everything_once(installation: Installation) -> None:
    keep(installation)
    made = [installation.sealed({}) for _ in range(7)]
    for snapshot_id in made:
        installation.delete(snapshot_id)
        installation.clock.now_ms += 1
    assert [each["SnapshotId"] for each in recycled(installation, snapshot_ids=[made[3]])] == [made[3]]
    with pytest.raises(SnapshotNotFoundError):
        recycled(installation, snapshot_ids=[installation.sealed({})])
    first: Answer = list_snapshots_in_recycle_bin(installation.engine, CALLER, max_results=5)
    second: Answer = list_snapshots_in_recycle_bin(
        installation.engine, CALLER, max_results=5, next_token=first["NextToken"]
    )
    assert [each["SnapshotId"] for each in first["Snapshots"] + second["Snapshots"]] == made
    assert second["NextToken"] is None
    with pytest.raises(InvalidParameterError):
        recycled(installation, max_results=1)
    with pytest.raises(InvalidParameterCombinationError):
        recycled(installation, max_results=5, snapshot_ids=[made[0]])


def test_a_dry_run_restores_nothing(installation: Installation) -> None:
    keep(installation)
    snapshot_id = installation.sealed({})
    installation.delete(snapshot_id)
    with pytest.raises(DryRunPassedError):
        restore_snapshot_from_recycle_bin(installation.engine, CALLER, snapshot_id=snapshot_id, dry_run=True)
    with pytest.raises(DryRunPassedError):
        recycled(installation, dry_run=True)
    assert len(recycled(installation)) == 1


def test_a_restore_and_the_end_of_its_time_that_race_have_one_winner(
    installation: Installation, tmp_path: Path
) -> None:
    keep(installation, days=1)
    other = SqliteCatalog(tmp_path / "data" / "catalog.db")
    for _ in range(20):
        snapshot_id = installation.sealed({})
        installation.delete(snapshot_id)
        until = installation.row(snapshot_id).recycled_until_ms
        assert until is not None

        def attempt(number: int, snapshot_id: SnapshotId = snapshot_id, until: int = until) -> bool:
            if number:
                return snapshot_id in other.empty_recycle_bin(until)
            place = (CALLER.account_id, CALLER.region)
            return installation.catalog.restore_recycled(*place, snapshot_id, until - 1) is not None

        restored, deleted = racing(2, attempt)
        assert restored is not deleted
    other.close()
