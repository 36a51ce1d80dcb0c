"""StartSnapshot: what is refused, what is stored, and the rules of client tokens.

Source: docs/aws-behaviour/ebs-direct.md, EBS-START.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import (
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidTagError,
    InvalidVolumeSizeError,
    PendingSnapshotLimitError,
    SnapshotNotFoundError,
)
from snapstone.core.ids import AccountId, Region
from snapstone.service.engine import ServiceSettings
from snapstone.service.snapshots.start import start_snapshot
from tests.installation import CALLER, START_MS, Installation, block
from tests.suites.object_store_suite import at_once

A = block("a")

KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/0"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def answer(installation: Installation, **members: Any) -> dict[str, Any]:
    return start_snapshot(installation.engine, installation.caller, **({"volume_size": 1} | members))


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


def test_the_answer_has_every_member_and_null_for_what_is_absent(installation: Installation) -> None:
    given = answer(installation, volume_size=3)
    snapshot_id = given.pop("SnapshotId")
    assert given == {
        "BlockSize": 524_288,
        "Description": None,
        "KmsKeyArn": None,
        "OwnerId": "111122223333",
        "ParentSnapshotId": None,
        "SseType": None,
        "StartTime": START_MS,
        "Status": "pending",
        "Tags": None,
        "VolumeSize": 3,
    }
    assert installation.row(snapshot_id).state is SnapshotState.PENDING


def test_a_snapshot_id_is_snap_and_seventeen_hexadecimal_digits(installation: Installation) -> None:
    snapshot_ids = {answer(installation)["SnapshotId"] for _ in range(20)}
    assert len(snapshot_ids) == 20
    for snapshot_id in snapshot_ids:
        assert snapshot_id.startswith("snap-")
        assert len(snapshot_id) == 5 + 17
        assert set(snapshot_id[5:]) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"encrypted": True}, "ParentSnapshotId and Encrypt cannot be specified together"),
        ({"encrypted": False}, "ParentSnapshotId and Encrypt cannot be specified together"),
        ({"kms_key_arn": KEY_ARN}, "ParentSnapshotId and KmsKeyArn cannot be specified together"),
        ({"kms_key_arn": KEY_ARN, "encrypted": True}, "ParentSnapshotId and KmsKeyArn cannot be specified together"),
    ],
)
def test_encryption_is_not_chosen_beside_a_parent(
    installation: Installation, members: dict[str, Any], message: str
) -> None:
    parent = installation.sealed({})
    with pytest.raises(InvalidParameterError) as raised:
        answer(installation, parent_snapshot_id=parent, **members)
    assert raised.value.message == message


def test_a_key_and_no_encryption_contradict_each_other(installation: Installation) -> None:
    with pytest.raises(InvalidParameterError) as raised:
        answer(installation, encrypted=False, kms_key_arn=KEY_ARN)
    assert raised.value.message == "Encrypt cannot be false when KmsKeyArn is specified"


def test_a_volume_has_at_most_65536_gib(installation: Installation) -> None:
    answer(installation, volume_size=65_536)
    with pytest.raises(InvalidVolumeSizeError) as raised:
        answer(installation, volume_size=65_537)
    assert raised.value.message == "Invalid volume size: 65537"


def test_a_child_may_grow_and_not_shrink(installation: Installation) -> None:
    parent = installation.sealed({4_095: A}, volume_size=2)
    with pytest.raises(InvalidVolumeSizeError):
        answer(installation, parent_snapshot_id=parent, volume_size=1)
    child = installation.sealed({6_143: A}, parent_snapshot_id=parent, volume_size=3)
    assert installation.content(child) == {4_095: A, 6_143: A}


@pytest.mark.parametrize(
    "given",
    [
        [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        [{"Key": "aws:owner", "Value": "1"}],
        [{"Key": "AWS:owner", "Value": "1"}],
        [{"Value": "1"}],
        [{"Key": "k" * 128, "Value": ""}],
        [{"Key": "k", "Value": "v" * 256}],
        [{"Key": str(number), "Value": ""} for number in range(51)],
    ],
)
def test_tags_that_aws_would_refuse_are_refused(installation: Installation, given: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidTagError):
        answer(installation, tags=given)


def test_fifty_tags_are_kept_in_the_order_given(installation: Installation) -> None:
    given = [{"Key": f"key {number * 37 % 50}", "Value": str(number)} for number in range(50)]
    started = answer(installation, tags=given)
    assert started["Tags"] == given
    assert installation.row(started["SnapshotId"]).tags == tuple((tag["Key"], tag["Value"]) for tag in given)


# -- client tokens --


def test_a_repeated_request_gets_the_first_answer_and_makes_nothing(installation: Installation) -> None:
    first = answer(installation, client_token="t", description="d", tags=tags(a="1"))
    installation.clock.advance_minutes(5)
    assert answer(installation, client_token="t", description="d", tags=tags(a="1")) == first
    assert len(installation.catalog.snapshots(CALLER.account_id, CALLER.region)) == 1


def test_the_first_answer_says_pending_after_completion_too(installation: Installation) -> None:
    first = answer(installation, client_token="t")
    assert installation.complete(first["SnapshotId"], 0) == "completed"
    assert answer(installation, client_token="t") == first
    assert first["Status"] == "pending"


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "other"},
        {"description": None},
        {"volume_size": 2},
        {"timeout": 61},
        {"encrypted": False},
        {"tags": tags(a="1")},
        {"tags": tags(a="1", b="3")},
        {"tags": None},
    ],
)
def test_another_request_with_the_same_token_is_a_conflict(installation: Installation, changed: dict[str, Any]) -> None:
    members: dict[str, Any] = {"client_token": "t", "description": "d", "tags": tags(a="1", b="2")}
    answer(installation, **members)
    with pytest.raises(IdempotencyConflictError):
        answer(installation, **(members | changed))
    assert len(installation.catalog.snapshots(CALLER.account_id, CALLER.region)) == 1


def test_another_parent_with_the_same_token_is_a_conflict(installation: Installation) -> None:
    first, second = installation.sealed({}), installation.sealed({})
    answer(installation, client_token="t", parent_snapshot_id=first)
    for parent in ({"parent_snapshot_id": second}, {}):
        with pytest.raises(IdempotencyConflictError):
            answer(installation, client_token="t", **parent)


@pytest.mark.parametrize("same", [{"timeout": 60}, {"tags": tags(b="2", a="1")}])
def test_the_same_said_otherwise_is_the_same_request(installation: Installation, same: dict[str, Any]) -> None:
    members: dict[str, Any] = {"client_token": "t", "tags": tags(a="1", b="2")}
    assert answer(installation, **(members | same)) == answer(installation, **members)


def test_a_token_belongs_to_its_account_and_region(installation: Installation) -> None:
    first = answer(installation, client_token="t")
    for other in (
        replace(CALLER, region=Region("us-west-2")),
        replace(CALLER, account_id=AccountId("999988887777")),
    ):
        installation.caller = other
        assert answer(installation, client_token="t")["SnapshotId"] != first["SnapshotId"]


def test_a_request_that_failed_leaves_its_token_free(installation: Installation) -> None:
    with pytest.raises(SnapshotNotFoundError):
        answer(installation, client_token="t", parent_snapshot_id="snap-0123456789abcdef0")
    with pytest.raises(InvalidVolumeSizeError):
        answer(installation, client_token="t", volume_size=99_999)
    answer(installation, client_token="t", volume_size=2)


def test_without_a_token_every_request_makes_a_snapshot(installation: Installation) -> None:
    assert answer(installation)["SnapshotId"] != answer(installation)["SnapshotId"]


def test_a_replay_is_answered_though_its_parent_is_gone(installation: Installation) -> None:
    parent = installation.sealed({})
    first = answer(installation, client_token="t", parent_snapshot_id=parent)
    installation.delete(parent)
    assert answer(installation, client_token="t", parent_snapshot_id=parent) == first
    with pytest.raises(SnapshotNotFoundError):
        answer(installation, client_token="u", parent_snapshot_id=parent)


def test_racing_requests_with_one_token_make_one_snapshot(installation: Installation) -> None:
    answers = at_once(lambda _: answer(installation, client_token="t"))
    assert all(each == answers[0] for each in answers)
    assert len(installation.catalog.snapshots(CALLER.account_id, CALLER.region)) == 1


def test_racing_requests_that_differ_make_one_snapshot_and_conflicts(installation: Installation) -> None:
    def start(number: int) -> dict[str, Any] | None:
        try:
            return answer(installation, client_token="t", description=str(number))
        except IdempotencyConflictError:
            return None

    assert sum(each is not None for each in at_once(start)) == 1
    assert len(installation.catalog.snapshots(CALLER.account_id, CALLER.region)) == 1


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Installation]:
    """An installation that lets an account have two pending snapshots in a region."""
    limited = Installation(tmp_path, settings=ServiceSettings(10_000, 5.0, pending_snapshots=2))
    yield limited
    limited.close()


def test_racing_starts_stop_at_the_pending_snapshots_that_the_quota_allows(limited: Installation) -> None:
    def start(_: int) -> int:
        try:
            answer(limited)
        except PendingSnapshotLimitError as error:
            return error.limit
        return 0

    assert sorted(at_once(start))[:3] == [0, 0, 2]
    assert len(limited.catalog.snapshots(CALLER.account_id, CALLER.region)) == 2


def test_the_quota_is_the_regions_and_a_replay_is_no_start(limited: Installation) -> None:
    first = answer(limited, client_token="t")
    answer(limited)
    assert answer(limited, client_token="t") == first
    with pytest.raises(PendingSnapshotLimitError):
        answer(limited)
    elsewhere = replace(CALLER, region=Region("us-west-2"))
    assert start_snapshot(limited.engine, elsewhere, volume_size=1)["Status"] == "pending"


def test_a_snapshot_that_is_completed_or_out_of_time_makes_room_for_another(limited: Installation) -> None:
    limited.sealed({0: A})
    answer(limited, timeout=10)
    answer(limited, timeout=60)
    limited.clock.advance_minutes(10.1)
    assert answer(limited)["Status"] == "pending"
    with pytest.raises(PendingSnapshotLimitError):
        answer(limited)


def test_a_parent_deleted_while_its_child_starts_is_not_found(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    insert = installation.catalog.insert_snapshot

    def delete_first(*arguments: Any) -> Any:
        installation.catalog.__dict__.pop("insert_snapshot", None)
        installation.delete(parent)
        return insert(*arguments)

    installation.catalog.__dict__["insert_snapshot"] = delete_first
    with pytest.raises(SnapshotNotFoundError):
        answer(installation, parent_snapshot_id=parent)
