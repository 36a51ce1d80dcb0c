"""The request that starts a copy, and the plan as a journal keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from snapstone.client.api.values import SnapshotInfo
from snapstone.client.errors import UsageError
from snapstone.client.transfer.copy import CopyOptions, Plan, SourceSnapshot, facts_of, plan_in, request_for
from snapstone.client.transfer.counterparts import COPIED_FROM, Counterpart

FULL = Plan(None, "as requested")
ON_PARENT = Plan(
    Counterpart("snap-1", "snap-2", "snap-2 on the target is a copy of snap-1"),
    "snap-2 on the target is a copy of snap-1",
)


def source(tags: Mapping[str, str]) -> SourceSnapshot:
    info = SnapshotInfo(
        snapshot_id="snap-a",
        state="completed",
        volume_size_gib=3,
        started_at=datetime(2026, 11, 24, tzinfo=UTC),
        description="Tuesday",
        tags=tags,
        encrypted=False,
        owner_id="000000000001",
        progress="100%",
        full_size=5 * 524_288,
    )
    return SourceSnapshot("snap-a", 3, info)


def test_tags_of_aws_own_are_left_behind() -> None:
    tags = {"aws:backup:source-resource": "x", "AWS:other": "y", "awsome": "kept"}
    request = request_for(CopyOptions(), source(tags), FULL, "eu-west-1")
    assert request.tags == {"awsome": "kept", COPIED_FROM: "snap-a eu-west-1 000000000001"}


def test_the_origin_cannot_be_tagged_otherwise() -> None:
    asked = CopyOptions(tags={COPIED_FROM: "snap-b"})
    assert request_for(asked, source({}), FULL, "eu-west-1").tags[COPIED_FROM].startswith("snap-a ")


def test_fifty_tags_are_allowed_and_one_more_is_not() -> None:
    tags = {f"tag-{number}": "" for number in range(49)}
    assert len(request_for(CopyOptions(), source(tags), FULL, "eu-west-1").tags) == 50
    with pytest.raises(UsageError, match="would have 51 tags"):
        request_for(CopyOptions(tags={"more": ""}), source(tags), FULL, "eu-west-1")


def test_an_increment_is_started_on_the_counterpart() -> None:
    request = request_for(CopyOptions(), source({}), ON_PARENT, "eu-west-1")
    assert (request.parent_id, request.volume_size_gib, request.description) == ("snap-2", 3, "Tuesday")
    assert request_for(CopyOptions(), source({}), FULL, "eu-west-1").parent_id is None


def test_each_request_has_a_token_of_its_own() -> None:
    tokens = {request_for(CopyOptions(), source({}), FULL, "eu-west-1").client_token for _ in range(3)}
    assert len(tokens) == 3


@pytest.mark.parametrize("plan", [FULL, ON_PARENT])
def test_a_plan_comes_back_from_a_journal_as_it_was(plan: Plan) -> None:
    assert plan_in(json.loads(json.dumps(facts_of(plan)))) == plan


def test_a_journal_without_a_plan_has_none() -> None:
    assert plan_in({"key": {}}) is None


def test_how_many_blocks_there_are_is_what_the_endpoint_says() -> None:
    assert source({}).present_count == 5
    assert SourceSnapshot("snap-a", 3, None).present_count is None
