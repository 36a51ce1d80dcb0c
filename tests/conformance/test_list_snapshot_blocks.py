"""ListSnapshotBlocks: which blocks are listed, page by page (docs/aws-behaviour/ebs-direct.md, EBS-LIST)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance.faults import (
    NO_SNAPSHOT,
    SNAPSHOT_ID_PATTERN,
    at_least,
    at_most,
    constraint_message,
    expect_invalid,
    expect_out_of_bounds,
    expect_refusal,
    expect_snapshot_not_found,
    expect_too_long,
)
from tests.conformance.given import ZERO, A, B, completed, deleted, failed, put, read, started, tokens
from tests.conformance.raw_client import RawClient
from tests.server_process import Client

MANY = range(0, 1030, 10)
"""103 block indexes: more than the smallest page holds."""


def listed(answer: Any) -> list[int]:
    """The block indexes on one page."""
    return [entry["BlockIndex"] for entry in answer["Blocks"]]


@pytest.fixture(scope="module")
def many(ebs: Client) -> str:
    """A completed snapshot with a block at each of MANY; read only."""
    return completed(ebs, dict.fromkeys(MANY, ZERO))


class TestContent:
    def test_written_inherited_and_zero_blocks_are_listed_and_no_others(self, ebs: Client) -> None:
        parent = completed(ebs, {4: A, 9: A})
        child = completed(ebs, {2: ZERO, 9: B, 2047: B}, ParentSnapshotId=parent)
        assert listed(ebs.list_snapshot_blocks(SnapshotId=child)) == [2, 4, 9, 2047]

    def test_blocks_are_in_ascending_order_however_they_came(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {1024: A, 3: A, 2047: A, 512: A, 511: A, 0: A})
        assert listed(ebs.list_snapshot_blocks(SnapshotId=snapshot_id)) == [0, 3, 511, 512, 1024, 2047]

    def test_an_answer_says_sizes_and_that_tokens_last_seven_days(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A}, VolumeSize=3)
        answer = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert (answer["VolumeSize"], answer["BlockSize"]) == (3, 524_288)
        assert abs(answer["ExpiryTime"] - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
        assert "NextToken" not in answer

    def test_an_empty_page_says_all_that_a_full_one_does(self, ebs: Client) -> None:
        answer = ebs.list_snapshot_blocks(SnapshotId=completed(ebs, {}))
        assert answer["Blocks"] == []
        assert (answer["VolumeSize"], answer["BlockSize"]) == (1, 524_288)
        assert abs(answer["ExpiryTime"] - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)

    def test_tokens_are_letters_and_digits_of_at_most_256(self, ebs: Client) -> None:
        (token,) = tokens(ebs, completed(ebs, {5: A})).values()
        assert re.fullmatch(r"[A-Za-z0-9]{1,256}", token)

    def test_a_child_lists_its_parents_blocks_after_the_parent_is_deleted(self, ebs: Client, ec2: Client) -> None:
        parent = completed(ebs, {0: A, 7: B})
        child = completed(ebs, {7: A}, ParentSnapshotId=parent)
        ec2.delete_snapshot(SnapshotId=parent)
        found = tokens(ebs, child)
        assert {index: read(ebs, child, index, token) for index, token in found.items()} == {0: A, 7: A}


class TestPaging:
    def test_pages_are_filled_and_the_last_has_no_token(self, ebs: Client, many: str) -> None:
        first = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)
        assert listed(first) == list(MANY)[:100]
        second = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100, NextToken=first["NextToken"])
        assert listed(second) == list(MANY)[100:]
        assert "NextToken" not in second

    def test_without_a_limit_one_page_is_enough(self, ebs: Client, many: str) -> None:
        answer = ebs.list_snapshot_blocks(SnapshotId=many)
        assert listed(answer) == list(MANY)
        assert "NextToken" not in answer

    def test_a_page_token_is_letters_and_digits_of_at_most_256(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        assert re.fullmatch(r"[A-Za-z0-9]{1,256}", token)

    def test_the_limit_may_change_between_pages(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        assert listed(ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=200, NextToken=token)) == list(MANY)[100:]

    def test_a_page_may_be_asked_for_again(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        for _ in range(2):
            assert listed(ebs.list_snapshot_blocks(SnapshotId=many, NextToken=token)) == list(MANY)[100:]

    @pytest.mark.parametrize(("start", "first"), [(0, 0), (10, 10), (11, 20), (1019, 1020), (1020, 1020)])
    def test_a_start_index_is_the_first_that_may_be_listed(
        self, ebs: Client, many: str, start: int, first: int
    ) -> None:
        answer = ebs.list_snapshot_blocks(SnapshotId=many, StartingBlockIndex=start)
        assert listed(answer) == [index for index in MANY if index >= first]

    @pytest.mark.parametrize("start", [1021, 2047, 2048, 134_217_727])
    def test_a_start_past_the_last_block_lists_nothing(self, ebs: Client, many: str, start: int) -> None:
        answer = ebs.list_snapshot_blocks(SnapshotId=many, StartingBlockIndex=start)
        assert answer["Blocks"] == []
        assert "NextToken" not in answer

    def test_a_page_token_overrides_a_start_index(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        for start in (0, 2047):
            answer = ebs.list_snapshot_blocks(SnapshotId=many, NextToken=token, StartingBlockIndex=start)
            assert listed(answer) == list(MANY)[100:]

    def test_blocks_that_just_fill_a_page_are_all_on_it(self, ebs: Client, many: str) -> None:
        query = {"SnapshotId": many, "MaxResults": 100, "StartingBlockIndex": MANY[3]}
        assert listed(ebs.list_snapshot_blocks(**query)) == list(MANY)[3:]
        assert list(tokens(ebs, many, MaxResults=100, StartingBlockIndex=MANY[3])) == list(MANY)[3:]

    def test_pages_from_a_start_index_go_on_to_the_end(self, ebs: Client, many: str) -> None:
        assert list(tokens(ebs, many, MaxResults=100, StartingBlockIndex=15)) == [index for index in MANY if index > 15]


class TestPageTokens:
    def test_garbage_is_no_page_token(self, ebs: Client, many: str) -> None:
        with expect_invalid("INVALID_PAGE_TOKEN", "The pagination token garbage is invalid."):
            ebs.list_snapshot_blocks(SnapshotId=many, NextToken="garbage")

    def test_the_characters_of_url_safe_base64_are_no_broken_constraint(self, ebs: Client, many: str) -> None:
        with expect_invalid("INVALID_PAGE_TOKEN", "The pagination token AAAA-_AA is invalid."):
            ebs.list_snapshot_blocks(SnapshotId=many, NextToken="AAAA-_AA")

    def test_a_changed_token_is_invalid(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        for position in (0, len(token) // 2, len(token) - 1):
            changed = token[:position] + ("B" if token[position] == "A" else "A") + token[position + 1 :]
            with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {changed} is invalid."):
                ebs.list_snapshot_blocks(SnapshotId=many, NextToken=changed)

    def test_another_snapshots_token_is_invalid(self, ebs: Client, many: str) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=100)["NextToken"]
        other = completed(ebs, {}, ParentSnapshotId=many)
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_snapshot_blocks(SnapshotId=other, NextToken=token)

    def test_the_other_operations_token_is_invalid(self, ebs: Client, many: str) -> None:
        empty = completed(ebs, {})
        parent = completed(ebs, {}, ParentSnapshotId=empty)
        child = completed(ebs, dict.fromkeys(range(101), ZERO), ParentSnapshotId=parent)
        token = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child, MaxResults=100)["NextToken"]
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_snapshot_blocks(SnapshotId=child, NextToken=token)

    def test_a_block_token_is_no_page_token(self, ebs: Client, many: str) -> None:
        token = tokens(ebs, many)[0]
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_snapshot_blocks(SnapshotId=many, NextToken=token)


class TestConstraints:
    @pytest.mark.parametrize(
        ("limit", "constraint"), [(99, at_least(100)), (0, at_least(100)), (10_001, at_most(10_000))]
    )
    def test_a_page_has_100_to_10000_blocks(self, raw: RawClient, many: str, limit: int, constraint: str) -> None:
        answer = raw.request("GET", f"/snapshots/{many}/blocks?maxResults={limit}")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("maxResults", str(limit), constraint))

    def test_a_page_of_10000_blocks_may_be_asked_for(self, ebs: Client, many: str) -> None:
        assert listed(ebs.list_snapshot_blocks(SnapshotId=many, MaxResults=10_000)) == list(MANY)

    def test_a_start_index_is_not_negative_even_beside_a_page_token(self, raw: RawClient, many: str) -> None:
        answer = raw.request("GET", f"/snapshots/{many}/blocks?pageToken=garbage&startingBlockIndex=-1")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("startingBlockIndex", "-1", at_least(0)))

    def test_a_limit_that_is_no_integer_is_a_serialization_fault(self, raw: RawClient, many: str) -> None:
        answer = raw.request("GET", f"/snapshots/{many}/blocks?maxResults=all")
        assert (answer.status, answer.code) == (400, "SerializationException")

    def test_a_page_token_has_at_most_256_characters(self, ebs: Client, many: str) -> None:
        with expect_too_long("nextToken", 256):
            ebs.list_snapshot_blocks(SnapshotId=many, NextToken="A" * 257)

    def test_a_page_token_with_other_characters_is_a_broken_constraint(self, ebs: Client, many: str) -> None:
        with expect_refusal("ValidationException", 400, reason=None):
            ebs.list_snapshot_blocks(SnapshotId=many, NextToken="no token!")

    @pytest.mark.parametrize("snapshot_id", ["Snap-XYZ/..", "snap-", "completion", "snap-0123456789ABCDEF0"])
    def test_a_malformed_id_is_a_broken_constraint(self, ebs: Client, snapshot_id: str) -> None:
        with expect_out_of_bounds("snapshotId", snapshot_id, SNAPSHOT_ID_PATTERN):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_an_id_has_at_most_64_characters(self, ebs: Client) -> None:
        snapshot_id = "snap-" + "0" * 60
        with expect_too_long("snapshotId", 64):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_constraints_come_before_the_snapshots_existence(self, ebs: Client) -> None:
        with expect_out_of_bounds("maxResults", "10001", at_most(10_000)):
            ebs.list_snapshot_blocks(SnapshotId=NO_SNAPSHOT, MaxResults=10_001)


class TestState:
    def test_a_snapshot_that_never_was_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            ebs.list_snapshot_blocks(SnapshotId=NO_SNAPSHOT)

    def test_an_id_that_aws_would_never_mint_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found("snap-0"):
            ebs.list_snapshot_blocks(SnapshotId="snap-0")

    def test_a_pending_snapshot_does_not_exist(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_a_snapshot_in_error_does_not_exist(self, ebs: Client) -> None:
        snapshot_id = failed(ebs)
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_a_deleted_snapshot_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = deleted(ebs, ec2)
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_a_snapshot_in_another_region_does_not_exist(self, ebs: Client, ebs_elsewhere: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        with expect_snapshot_not_found(snapshot_id):
            ebs_elsewhere.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_existence_comes_before_the_page_token(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            ebs.list_snapshot_blocks(SnapshotId=NO_SNAPSHOT, NextToken="garbage")
