"""CompleteSnapshot: count, aggregate, and what a wrong one does (docs/aws-behaviour/ebs-direct.md, EBS-COMPLETE)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.faults import (
    CHECKSUM_PATTERN,
    NO_SNAPSHOT,
    NOT_NULL,
    SNAPSHOT_ID_PATTERN,
    at_least,
    constraint_message,
    expect_all_out_of_bounds,
    expect_invalid,
    expect_out_of_bounds,
    expect_refusal,
    expect_snapshot_not_found,
)
from tests.conformance.given import (
    ZERO,
    A,
    B,
    C,
    aggregate,
    block,
    checksum,
    complete,
    completed,
    content,
    deleted,
    failed,
    put,
    started,
    tokens,
)
from tests.conformance.raw_client import RawClient
from tests.server_process import Client

OF_NOTHING = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def complete_with(ebs: Client, snapshot_id: str, count: int, aggregate: str) -> str:
    """The status after CompleteSnapshot with a count and an aggregate."""
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=count,
        Checksum=aggregate,
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return str(answer["Status"])


def written(ebs: Client, blocks: Mapping[int, bytes], **members: Any) -> str:
    """A pending snapshot with these blocks."""
    snapshot_id = started(ebs, **members)
    for block_index, data in blocks.items():
        put(ebs, snapshot_id, block_index, data)
    return snapshot_id


def state(ec2: Client, snapshot_id: str) -> tuple[str, str | None]:
    """State and StateMessage as EC2 shows them."""
    described = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
    return described["State"], described.get("StateMessage")


class TestVectors:
    """Recorded from AWS."""

    def test_four_blocks_and_a_zero_block_among_them(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {0: B, 3: A, 7: ZERO, 2047: C})
        assert complete_with(ebs, snapshot_id, 4, "Pq34jf4xh07iqiQpo/morRl/xL06mqy1ERimH+Hypi8=") == "completed"

    def test_a_child_counts_its_own_blocks_only(self, ebs: Client) -> None:
        parent = completed(ebs, {0: B, 3: A, 7: ZERO, 2047: C})
        child = written(ebs, {0: ZERO, 3: A, 5: B}, ParentSnapshotId=parent)
        assert complete_with(ebs, child, 3, "hf4A3LvWy4effbPmcB9iS2uEagRPJ7DdLQQXLJYnpsg=") == "completed"
        assert content(ebs, child) == {0: ZERO, 3: A, 5: B, 7: ZERO, 2047: C}

    def test_one_block(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {3: C})
        assert complete_with(ebs, snapshot_id, 1, "3QuxqZ8HJaS/3NGrkGu/SIvWC/T/bzQSE0bYb+gLjwU=") == "completed"

    def test_the_first_block(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {0: A})
        assert complete_with(ebs, snapshot_id, 1, "hm74cqkUPpcI9ua01PNSVN2PLTzQAAMPsYCbeHfLIX4=") == "completed"

    def test_no_block(self, ebs: Client) -> None:
        assert complete_with(ebs, started(ebs), 0, OF_NOTHING) == "completed"

    def test_the_hash_of_joined_texts_is_a_mismatch(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = written(ebs, {0: A, 2: B})
        assert complete_with(ebs, snapshot_id, 2, "xKsCRmgUxD/XwebcOgEG4QQ7TRElxCfHnSnsGQDz4pU=") == "error"
        assert state(ec2, snapshot_id) == ("error", "Checksum mismatch for snapshot")


class TestCompleted:
    def test_an_answer_is_202(self, ebs: Client) -> None:
        answer = ebs.complete_snapshot(SnapshotId=started(ebs), ChangedBlocksCount=0)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert answer["Status"] == "completed"

    def test_no_checksum_is_needed(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {1: A, 2: B})
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=2)["Status"] == "completed"
        assert content(ebs, snapshot_id) == {1: A, 2: B}

    def test_an_empty_snapshot_is_a_snapshot(self, ebs: Client) -> None:
        assert tokens(ebs, completed(ebs, {})) == {}

    def test_the_count_is_of_indexes_and_not_of_puts(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        for block_index, data in [(0, A), (3, B), (0, B), (7, ZERO), (2047, C), (0, A)]:
            put(ebs, snapshot_id, block_index, data)
        assert complete(ebs, snapshot_id, {0: A, 3: B, 7: ZERO, 2047: C}) == "completed"

    def test_the_aggregate_is_in_order_of_index_and_not_of_arrival(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {9: A, 1: B, 5: C})
        digests = b"".join(sha256(data).digest() for data in (B, C, A))
        assert complete_with(ebs, snapshot_id, 3, b64encode(sha256(digests).digest()).decode()) == "completed"

    def test_a_repeat_is_answered_completed_whatever_it_says(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        assert complete(ebs, snapshot_id, {0: A}) == "completed"
        assert complete_with(ebs, snapshot_id, 9, OF_NOTHING) == "completed"
        assert content(ebs, snapshot_id) == {0: A}

    def test_a_completed_snapshot_is_there_at_once_for_everybody(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        assert state(ec2, snapshot_id) == ("completed", None)
        assert content(ebs, snapshot_id) == {0: A}
        started(ebs, ParentSnapshotId=snapshot_id)


class TestRace:
    def test_a_put_racing_completion_is_kept_whole_or_refused(self, ebs: Client) -> None:
        writers = 4
        snapshot_id = written(ebs, dict.fromkeys(range(writers), A))
        acknowledged = dict.fromkeys(range(writers), A)
        writing = Barrier(writers + 1)

        def overwrite(block_index: int) -> str:
            for version in count():
                data = block(f"{block_index}.{version}")
                try:
                    put(ebs, snapshot_id, block_index, data)
                except ClientError as error:
                    return str(error.response["Error"]["Message"])
                acknowledged[block_index] = data
                if version == 2:
                    writing.wait()
            raise AssertionError

        with ThreadPoolExecutor(writers) as threads:
            running = [threads.submit(overwrite, block_index) for block_index in range(writers)]
            writing.wait()
            answer = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=writers)
            refusals = {ended.result() for ended in running}
        assert answer["Status"] == "completed"
        assert refusals == {"Snapshot is already completed"}
        assert content(ebs, snapshot_id) == acknowledged


class TestMismatch:
    """A wrong count or aggregate is not a refusal: the snapshot turns to error."""

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_a_wrong_count_is_202_and_error(self, ebs: Client, ec2: Client, count: int) -> None:
        snapshot_id = written(ebs, {0: A, 1: B})
        answer = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=count)
        assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Status"]) == (202, "error")
        assert state(ec2, snapshot_id) == ("error", "Changed blocks count mismatch for snapshot")

    def test_inherited_blocks_are_not_counted(self, ebs: Client) -> None:
        parent = completed(ebs, {0: A})
        child = written(ebs, {1: B}, ParentSnapshotId=parent)
        assert ebs.complete_snapshot(SnapshotId=child, ChangedBlocksCount=2)["Status"] == "error"

    def test_overwrites_are_not_counted_twice(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        put(ebs, snapshot_id, 0, B)
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=2)["Status"] == "error"

    def test_an_overwritten_blocks_digest_does_not_count(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        put(ebs, snapshot_id, 0, B)
        assert complete_with(ebs, snapshot_id, 1, aggregate({0: A})) == "error"
        assert state(ec2, snapshot_id) == ("error", "Checksum mismatch for snapshot")

    def test_the_aggregate_in_order_of_arrival_is_a_mismatch(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {1: A, 0: B})
        assert complete_with(ebs, snapshot_id, 2, aggregate({0: A, 1: B})) == "error"

    def test_the_digest_of_a_single_block_is_not_its_aggregate(self, ebs: Client) -> None:
        assert complete_with(ebs, written(ebs, {0: A}), 1, checksum(A)) == "error"

    def test_an_aggregate_that_is_no_digest_is_a_mismatch(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = written(ebs, {0: A})
        assert complete_with(ebs, snapshot_id, 1, "abcd") == "error"
        assert state(ec2, snapshot_id) == ("error", "Checksum mismatch for snapshot")

    def test_error_is_for_good(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = written(ebs, {0: A})
        assert complete_with(ebs, snapshot_id, 2, aggregate({0: A})) == "error"
        assert complete(ebs, snapshot_id, {0: A}) == "error"
        assert state(ec2, snapshot_id)[0] == "error"


class TestCombinations:
    @pytest.mark.parametrize(
        ("members", "missing"),
        [
            ({"Checksum": OF_NOTHING}, "Checksum algorithm is missing."),
            ({"Checksum": OF_NOTHING, "ChecksumAggregationMethod": "LINEAR"}, "Checksum algorithm is missing."),
            ({"ChecksumAlgorithm": "SHA256"}, "Snapshot checksum is missing."),
            ({"ChecksumAggregationMethod": "LINEAR"}, "Snapshot checksum is missing."),
            ({"ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}, "Snapshot checksum is missing."),
        ],
    )
    def test_all_three_checksum_members_or_none(self, ebs: Client, members: dict[str, str], missing: str) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", f"Invalid parameter combination. {missing}"):
            ebs.complete_snapshot(SnapshotId=started(ebs), ChangedBlocksCount=0, **members)

    def test_a_missing_method_is_refused_alike(self, ebs: Client) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE"):
            ebs.complete_snapshot(
                SnapshotId=started(ebs), ChangedBlocksCount=0, Checksum=OF_NOTHING, ChecksumAlgorithm="SHA256"
            )

    def test_a_bad_combination_is_told_before_a_missing_snapshot(self, ebs: Client) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE"):
            ebs.complete_snapshot(SnapshotId=NO_SNAPSHOT, ChangedBlocksCount=0, Checksum=OF_NOTHING)

    def test_a_refused_completion_leaves_the_snapshot_pending(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        with expect_invalid("INVALID_PARAMETER_VALUE"):
            ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0, Checksum=OF_NOTHING)
        assert state(ec2, snapshot_id) == ("pending", None)
        assert complete(ebs, snapshot_id, {}) == "completed"


class TestConstraints:
    def test_the_algorithm_is_one_of_an_enumeration(self, ebs: Client) -> None:
        with expect_out_of_bounds("checksumAlgorithm", "SHA1", "Member must satisfy enum value set: [SHA256]"):
            ebs.complete_snapshot(
                SnapshotId=started(ebs),
                ChangedBlocksCount=0,
                Checksum=OF_NOTHING,
                ChecksumAlgorithm="SHA1",
                ChecksumAggregationMethod="LINEAR",
            )

    def test_the_method_is_one_of_an_enumeration(self, ebs: Client) -> None:
        with expect_out_of_bounds("checksumAggregationMethod", "TREE", "Member must satisfy enum value set: [LINEAR]"):
            ebs.complete_snapshot(
                SnapshotId=started(ebs),
                ChangedBlocksCount=0,
                Checksum=OF_NOTHING,
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="TREE",
            )

    def test_constraints_come_before_combinations(self, ebs: Client) -> None:
        with expect_out_of_bounds("checksumAlgorithm", "SHA1", "Member must satisfy enum value set: [SHA256]"):
            ebs.complete_snapshot(SnapshotId=started(ebs), ChangedBlocksCount=0, ChecksumAlgorithm="SHA1")

    def test_a_checksum_has_the_characters_of_base64(self, ebs: Client) -> None:
        with expect_out_of_bounds("checksum", "not-base64!", CHECKSUM_PATTERN):
            complete_with(ebs, started(ebs), 0, "not-base64!")

    def test_constraints_broken_together_are_told_together(self, ebs: Client) -> None:
        enumeration = "Member must satisfy enum value set: [SHA256]"
        faults = ("checksum", "!", CHECKSUM_PATTERN), ("checksumAlgorithm", "SHA1", enumeration)
        with expect_all_out_of_bounds(*faults):
            ebs.complete_snapshot(SnapshotId=started(ebs), ChangedBlocksCount=0, Checksum="!", ChecksumAlgorithm="SHA1")

    def test_a_count_is_required(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.request("POST", f"/snapshots/completion/{started(ebs)}")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("changedBlocksCount", None, NOT_NULL))

    def test_a_count_is_not_negative(self, raw: RawClient, ebs: Client) -> None:
        headers = {"x-amz-ChangedBlocksCount": "-1"}
        answer = raw.request("POST", f"/snapshots/completion/{started(ebs)}", headers)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("changedBlocksCount", "-1", at_least(0)))

    def test_a_count_that_is_no_integer_is_a_serialization_fault(self, raw: RawClient, ebs: Client) -> None:
        headers = {"x-amz-ChangedBlocksCount": "few"}
        answer = raw.request("POST", f"/snapshots/completion/{started(ebs)}", headers)
        assert (answer.status, answer.code) == (400, "SerializationException")

    def test_a_malformed_id_is_a_broken_constraint(self, ebs: Client) -> None:
        with expect_out_of_bounds("snapshotId", "Snap-XYZ", SNAPSHOT_ID_PATTERN):
            ebs.complete_snapshot(SnapshotId="Snap-XYZ", ChangedBlocksCount=0)


class TestState:
    def test_a_snapshot_that_never_was_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            ebs.complete_snapshot(SnapshotId=NO_SNAPSHOT, ChangedBlocksCount=0)

    def test_a_deleted_snapshot_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = deleted(ebs, ec2)
        with expect_snapshot_not_found(snapshot_id):
            ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)

    def test_a_snapshot_in_another_region_does_not_exist(self, ebs: Client, ebs_elsewhere: Client) -> None:
        snapshot_id = started(ebs)
        with expect_snapshot_not_found(snapshot_id):
            ebs_elsewhere.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)

    def test_readers_see_no_pending_snapshot(self, ebs: Client) -> None:
        snapshot_id = written(ebs, {0: A})
        with expect_refusal("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_readers_see_no_snapshot_in_error(self, ebs: Client) -> None:
        snapshot_id = failed(ebs)
        with expect_refusal("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
