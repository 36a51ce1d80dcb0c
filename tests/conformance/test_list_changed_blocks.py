"""ListChangedBlocks: what differs between any two snapshots of a lineage, page by page.

Source: docs/aws-behaviour/ebs-direct.md, EBS-DIFF.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
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
    expect_too_long,
)
from tests.conformance.given import ZERO, A, B, C, completed, deleted, failed, read, started, tokens
from tests.conformance.raw_client import RawClient
from tests.server_process import Client

MANY = range(3, 2 * 103 + 3, 2)
"""103 block indexes: more than the smallest page holds."""

Sides = dict[int, tuple[bytes | None, bytes | None]]
"""Block index to its bytes in the first and in the second snapshot; None where absent from one."""


def expect_not_both_found(first: str, second: str) -> AbstractContextManager[None]:
    """Expect the answer for a pair of which one, or both, may not be seen: it does not say which."""
    message = f"The snapshot '{first}' or '{second}' does not exist."
    return expect_refusal("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND", message)


def changed(answer: Any) -> list[int]:
    """The block indexes on one page."""
    return [entry["BlockIndex"] for entry in answer["ChangedBlocks"]]


def difference(ebs: Client, first: str, second: str, **query: Any) -> Sides:
    """All that is listed as changed, all pages joined, read with the tokens that came with it."""
    found: Sides = {}
    page: dict[str, str] = {}
    while True:
        answer = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second, **query | page)
        for entry in answer["ChangedBlocks"]:
            index, one, two = entry["BlockIndex"], entry.get("FirstBlockToken"), entry.get("SecondBlockToken")
            found[index] = (
                None if one is None else read(ebs, first, index, one),
                None if two is None else read(ebs, second, index, two),
            )
        if "NextToken" not in answer:
            return found
        page = {"NextToken": answer["NextToken"]}


Pair = tuple[str, str]
"""First and second snapshot of a comparison."""


@pytest.fixture(scope="module")
def pair(ebs: Client) -> Pair:
    """A parent and its child with 103 blocks more; read only."""
    parent = completed(ebs, {})
    return parent, completed(ebs, dict.fromkeys(MANY, ZERO), ParentSnapshotId=parent)


class TestDifference:
    def test_overwritten_blocks_have_both_tokens_and_new_ones_the_second(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 5: A, 9: A})
        child = completed(ebs, {5: B, 7: C}, ParentSnapshotId=parent)
        assert difference(ebs, parent, child) == {5: (A, B), 7: (None, C)}

    def test_in_reverse_it_is_the_mirror_image(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 5: A, 9: A})
        child = completed(ebs, {5: B, 7: C}, ParentSnapshotId=parent)
        assert difference(ebs, child, parent) == {5: (B, A), 7: (C, None)}

    def test_siblings_compare(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 1: A})
        left = completed(ebs, {1: B, 2: B, 3: C}, ParentSnapshotId=parent)
        right = completed(ebs, {2: C, 3: C, 4: C}, ParentSnapshotId=parent)
        assert difference(ebs, left, right) == {1: (B, A), 2: (B, C), 4: (None, C)}

    def test_siblings_compare_after_their_parent_is_deleted(self, ebs: Client, ec2: Client) -> None:
        parent = completed(ebs, {0: A})
        left = completed(ebs, {1: B}, ParentSnapshotId=parent)
        right = completed(ebs, {0: C}, ParentSnapshotId=parent)
        ec2.delete_snapshot(SnapshotId=parent)
        assert difference(ebs, left, right) == {0: (A, C), 1: (B, None)}

    def test_generations_far_apart_compare(self, ebs: Client) -> None:
        first = last = completed(ebs, {0: A, 1: A})
        for generation in range(2, 7):
            last = completed(ebs, {generation: B}, ParentSnapshotId=last)
        last = completed(ebs, {1: C}, ParentSnapshotId=last)
        assert difference(ebs, first, last) == {1: (A, C)} | dict.fromkeys(range(2, 7), (None, B))

    def test_generations_compare_after_one_between_is_deleted(self, ebs: Client, ec2: Client) -> None:
        first = completed(ebs, {0: A})
        middle = completed(ebs, {1: B}, ParentSnapshotId=first)
        last = completed(ebs, {2: C}, ParentSnapshotId=middle)
        ec2.delete_snapshot(SnapshotId=middle)
        assert difference(ebs, first, last) == {1: (None, B), 2: (None, C)}

    def test_a_snapshot_does_not_differ_from_itself(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A, 5: B})
        assert difference(ebs, snapshot_id, snapshot_id) == {}

    def test_a_child_without_puts_does_not_differ_from_its_parent(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 5: B})
        assert difference(ebs, parent, completed(ebs, {}, ParentSnapshotId=parent)) == {}

    def test_a_block_rewritten_with_the_same_bytes_is_not_different(self, ebs: Client) -> None:
        """AWS lists it: a difference on purpose, because content is compared and not who wrote it."""
        parent = completed(ebs, {0: A, 5: B})
        child = completed(ebs, {0: A, 5: C}, ParentSnapshotId=parent)
        assert difference(ebs, parent, child) == {5: (B, C)}

    def test_a_block_changed_and_changed_back_is_not_different(self, ebs: Client) -> None:
        first = completed(ebs, {0: A})
        second = completed(ebs, {0: B}, ParentSnapshotId=first)
        third = completed(ebs, {0: A}, ParentSnapshotId=second)
        assert difference(ebs, first, third) == {}

    def test_zeros_written_where_nothing_was_are_in_the_second_only(self, ebs: Client) -> None:
        parent = completed(ebs, {})
        assert difference(ebs, parent, completed(ebs, {3: ZERO}, ParentSnapshotId=parent)) == {3: (None, ZERO)}

    def test_zeros_written_over_a_block_have_both_tokens(self, ebs: Client) -> None:
        parent = completed(ebs, {3: A})
        assert difference(ebs, parent, completed(ebs, {3: ZERO}, ParentSnapshotId=parent)) == {3: (A, ZERO)}

    def test_blocks_past_the_smaller_volume_are_one_sided(self, ebs: Client) -> None:
        small = completed(ebs, {0: A})
        large = completed(ebs, {0: B, 2048: C}, ParentSnapshotId=small, VolumeSize=2)
        assert difference(ebs, small, large) == {0: (A, B), 2048: (None, C)}
        assert difference(ebs, large, small) == {0: (B, A), 2048: (C, None)}


class TestAnswer:
    def test_an_answer_says_sizes_and_that_tokens_last_seven_days(self, ebs: Client) -> None:
        parent = completed(ebs, {})
        child = completed(ebs, {0: A}, ParentSnapshotId=parent)
        answer = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert (answer["VolumeSize"], answer["BlockSize"]) == (1, 524_288)
        assert abs(answer["ExpiryTime"] - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
        assert "NextToken" not in answer

    def test_an_empty_answer_says_all_that_a_full_one_does(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        answer = ebs.list_changed_blocks(FirstSnapshotId=snapshot_id, SecondSnapshotId=snapshot_id)
        assert answer["ChangedBlocks"] == []
        assert (answer["VolumeSize"], answer["BlockSize"]) == (1, 524_288)
        assert abs(answer["ExpiryTime"] - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)

    def test_the_volume_size_is_the_seconds(self, ebs: Client) -> None:
        small = completed(ebs, {})
        large = completed(ebs, {}, ParentSnapshotId=small, VolumeSize=2)
        assert ebs.list_changed_blocks(FirstSnapshotId=small, SecondSnapshotId=large)["VolumeSize"] == 2
        assert ebs.list_changed_blocks(FirstSnapshotId=large, SecondSnapshotId=small)["VolumeSize"] == 1

    def test_a_token_is_bound_to_its_own_side(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A})
        child = completed(ebs, {0: B}, ParentSnapshotId=parent)
        (entry,) = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)["ChangedBlocks"]
        assert read(ebs, parent, 0, entry["FirstBlockToken"]) == A
        assert read(ebs, child, 0, entry["SecondBlockToken"]) == B
        with expect_invalid("INVALID_BLOCK_TOKEN"):
            read(ebs, child, 0, entry["FirstBlockToken"])
        with expect_invalid("INVALID_BLOCK_TOKEN"):
            read(ebs, parent, 0, entry["SecondBlockToken"])


class TestPaging:
    def test_pages_are_filled_and_the_last_has_no_token(self, ebs: Client, pair: Pair) -> None:
        names = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1], "MaxResults": 100}
        first = ebs.list_changed_blocks(**names)
        assert changed(first) == list(MANY)[:100]
        second = ebs.list_changed_blocks(**names, NextToken=first["NextToken"])
        assert changed(second) == list(MANY)[100:]
        assert "NextToken" not in second

    def test_without_a_limit_one_page_is_enough(self, ebs: Client, pair: Pair) -> None:
        answer = ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1])
        assert changed(answer) == list(MANY)
        assert "NextToken" not in answer

    def test_a_page_token_is_letters_and_digits_of_at_most_256(self, ebs: Client, pair: Pair) -> None:
        answer = ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], MaxResults=100)
        assert re.fullmatch(r"[A-Za-z0-9]{1,256}", answer["NextToken"])

    def test_the_limit_may_change_between_pages(self, ebs: Client, pair: Pair) -> None:
        names = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1]}
        token = ebs.list_changed_blocks(**names, MaxResults=100)["NextToken"]
        assert changed(ebs.list_changed_blocks(**names, MaxResults=200, NextToken=token)) == list(MANY)[100:]

    @pytest.mark.parametrize(("start", "first"), [(0, 3), (3, 3), (4, 5), (207, 207)])
    def test_a_start_index_is_the_first_that_may_be_listed(
        self, ebs: Client, pair: Pair, start: int, first: int
    ) -> None:
        answer = ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], StartingBlockIndex=start)
        assert changed(answer) == [index for index in MANY if index >= first]

    @pytest.mark.parametrize("start", [208, 2047, 2048, 134_217_727])
    def test_a_start_past_the_last_change_lists_nothing(self, ebs: Client, pair: Pair, start: int) -> None:
        answer = ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], StartingBlockIndex=start)
        assert answer["ChangedBlocks"] == []
        assert "NextToken" not in answer

    def test_a_page_token_overrides_a_start_index(self, ebs: Client, pair: Pair) -> None:
        names = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1]}
        token = ebs.list_changed_blocks(**names, MaxResults=100)["NextToken"]
        for start in (0, 2047):
            answer = ebs.list_changed_blocks(**names, NextToken=token, StartingBlockIndex=start)
            assert changed(answer) == list(MANY)[100:]

    def test_changes_that_just_fill_a_page_are_all_on_it(self, ebs: Client, pair: Pair) -> None:
        names = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1]}
        answer = ebs.list_changed_blocks(**names, MaxResults=100, StartingBlockIndex=MANY[3])
        assert changed(answer) == list(MANY)[3:]


class TestPageTokens:
    def test_garbage_is_no_page_token(self, ebs: Client, pair: Pair) -> None:
        with expect_invalid("INVALID_PAGE_TOKEN", "The pagination token garbage is invalid."):
            ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], NextToken="garbage")

    def test_the_reverse_pairs_token_is_invalid(self, ebs: Client, pair: Pair) -> None:
        names = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1]}
        token = ebs.list_changed_blocks(**names, MaxResults=100)["NextToken"]
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_changed_blocks(FirstSnapshotId=pair[1], SecondSnapshotId=pair[0], NextToken=token)

    def test_another_pairs_token_is_invalid(self, ebs: Client, pair: Pair) -> None:
        first, second = pair
        names = {"FirstSnapshotId": first, "SecondSnapshotId": second}
        token = ebs.list_changed_blocks(**names, MaxResults=100)["NextToken"]
        other = completed(ebs, {}, ParentSnapshotId=second)
        for pair_of_others in [(first, other), (other, second), (other, first), (second, second)]:
            names = dict(zip(("FirstSnapshotId", "SecondSnapshotId"), pair_of_others, strict=True))
            with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
                ebs.list_changed_blocks(**names, NextToken=token)

    def test_the_other_operations_token_is_invalid(self, ebs: Client, pair: Pair) -> None:
        token = ebs.list_snapshot_blocks(SnapshotId=pair[1], MaxResults=100)["NextToken"]
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], NextToken=token)

    def test_a_block_token_is_no_page_token(self, ebs: Client, pair: Pair) -> None:
        token = tokens(ebs, pair[1])[MANY[0]]
        with expect_invalid("INVALID_PAGE_TOKEN", f"The pagination token {token} is invalid."):
            ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], NextToken=token)


class TestFirstSnapshot:
    MESSAGE = "First snapshot should not be empty or null"

    def test_a_first_snapshot_is_required(self, ebs: Client) -> None:
        with expect_invalid("INVALID_SNAPSHOT_ID", self.MESSAGE):
            ebs.list_changed_blocks(SecondSnapshotId=completed(ebs, {0: A}))

    def test_an_empty_first_snapshot_is_none(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.request("GET", f"/snapshots/{completed(ebs, {})}/changedblocks?firstSnapshotId=")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["Reason"] == "INVALID_SNAPSHOT_ID"
        assert answer.json["Message"] == self.MESSAGE

    def test_a_missing_first_is_told_before_the_second_is_looked_at(self, ebs: Client) -> None:
        for second in (NO_SNAPSHOT, started(ebs)):
            with expect_invalid("INVALID_SNAPSHOT_ID", self.MESSAGE):
                ebs.list_changed_blocks(SecondSnapshotId=second)


class TestLineage:
    def test_snapshots_without_a_common_ancestor_are_not_related(self, ebs: Client) -> None:
        one, two = completed(ebs, {0: A}), completed(ebs, {0: A})
        with expect_invalid("UNRELATED_SNAPSHOTS", f"The snapshot {one} and {two} are not related."):
            ebs.list_changed_blocks(FirstSnapshotId=one, SecondSnapshotId=two)

    def test_descendants_of_different_ancestors_are_not_related(self, ebs: Client) -> None:
        one = completed(ebs, {}, ParentSnapshotId=completed(ebs, {}))
        two = completed(ebs, {}, ParentSnapshotId=completed(ebs, {}))
        with expect_invalid("UNRELATED_SNAPSHOTS", f"The snapshot {one} and {two} are not related."):
            ebs.list_changed_blocks(FirstSnapshotId=one, SecondSnapshotId=two)


class TestState:
    def test_a_snapshot_that_never_was_does_not_exist_on_either_side(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {})
        for first, second in [(snapshot_id, NO_SNAPSHOT), (NO_SNAPSHOT, snapshot_id), (NO_SNAPSHOT, NO_SNAPSHOT)]:
            with expect_not_both_found(first, second):
                ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)

    def test_a_pending_snapshot_does_not_exist(self, ebs: Client) -> None:
        parent = completed(ebs, {})
        child = started(ebs, ParentSnapshotId=parent)
        for first, second in [(parent, child), (child, parent)]:
            with expect_not_both_found(first, second):
                ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)

    def test_a_snapshot_in_error_does_not_exist(self, ebs: Client) -> None:
        parent = completed(ebs, {})
        child = failed(ebs, ParentSnapshotId=parent)
        with expect_not_both_found(parent, child):
            ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)

    def test_a_deleted_snapshot_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        snapshot_id, gone = completed(ebs, {}), deleted(ebs, ec2)
        with expect_not_both_found(gone, snapshot_id):
            ebs.list_changed_blocks(FirstSnapshotId=gone, SecondSnapshotId=snapshot_id)

    def test_snapshots_in_another_region_do_not_exist(self, ebs: Client, ebs_elsewhere: Client) -> None:
        parent = completed(ebs, {})
        child = completed(ebs, {}, ParentSnapshotId=parent)
        with expect_not_both_found(parent, child):
            ebs_elsewhere.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)

    def test_existence_comes_before_the_page_token(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {})
        with expect_not_both_found(snapshot_id, NO_SNAPSHOT):
            ebs.list_changed_blocks(FirstSnapshotId=snapshot_id, SecondSnapshotId=NO_SNAPSHOT, NextToken="garbage")


class TestConstraints:
    @pytest.mark.parametrize(("limit", "constraint"), [(99, at_least(100)), (10_001, at_most(10_000))])
    def test_a_page_has_100_to_10000_blocks(self, raw: RawClient, pair: Pair, limit: int, constraint: str) -> None:
        target = f"/snapshots/{pair[1]}/changedblocks?firstSnapshotId={pair[0]}&maxResults={limit}"
        answer = raw.request("GET", target)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("maxResults", str(limit), constraint))

    def test_a_start_index_is_not_negative_even_beside_a_page_token(
        self, raw: RawClient, pair: tuple[str, str]
    ) -> None:
        query = f"firstSnapshotId={pair[0]}&pageToken=garbage&startingBlockIndex=-1"
        answer = raw.request("GET", f"/snapshots/{pair[1]}/changedblocks?{query}")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("startingBlockIndex", "-1", at_least(0)))

    def test_a_page_token_has_at_most_256_characters(self, ebs: Client, pair: Pair) -> None:
        with expect_too_long("nextToken", 256):
            ebs.list_changed_blocks(FirstSnapshotId=pair[0], SecondSnapshotId=pair[1], NextToken="A" * 257)

    def test_a_malformed_first_id_is_a_broken_constraint(self, ebs: Client) -> None:
        with expect_out_of_bounds("firstSnapshotId", "Snap-XYZ", SNAPSHOT_ID_PATTERN):
            ebs.list_changed_blocks(FirstSnapshotId="Snap-XYZ", SecondSnapshotId=NO_SNAPSHOT)

    def test_a_malformed_second_id_is_a_broken_constraint(self, ebs: Client) -> None:
        with expect_out_of_bounds("secondSnapshotId", "Snap-XYZ/..", SNAPSHOT_ID_PATTERN):
            ebs.list_changed_blocks(FirstSnapshotId=NO_SNAPSHOT, SecondSnapshotId="Snap-XYZ/..")
