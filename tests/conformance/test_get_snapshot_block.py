"""GetSnapshotBlock: the bytes, and the tokens without which nobody gets them.

Source: docs/aws-behaviour/ebs-direct.md, EBS-GET.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from tests.conformance.faults import (
    NO_SNAPSHOT,
    NOT_NULL,
    SNAPSHOT_ID_PATTERN,
    at_least,
    constraint_message,
    expect_invalid,
    expect_out_of_bounds,
    expect_refusal,
    expect_snapshot_not_found,
    expect_too_long,
)
from tests.conformance.given import (
    ZERO,
    A,
    B,
    checksum,
    completed,
    failed,
    put,
    read,
    started,
    tokens,
)
from tests.conformance.raw_client import RawClient
from tests.server_process import Client


def expect_invalid_token(token: str) -> AbstractContextManager[None]:
    """Expect the one answer for every token that does not open this block."""
    return expect_invalid("INVALID_BLOCK_TOKEN", f"The block token {token} is invalid.")


Opened = tuple[str, dict[int, str]]
"""A snapshot and the token of each of its blocks."""


@pytest.fixture(scope="module")
def opened(ebs: Client) -> Opened:
    """A snapshot with blocks A at 0 and B at 5, and its tokens; read only."""
    snapshot_id = completed(ebs, {0: A, 5: B})
    return snapshot_id, tokens(ebs, snapshot_id)


class TestAnswer:
    @pytest.mark.parametrize("data", [A, ZERO], ids=["block", "zero block"])
    def test_a_block_comes_with_its_length_and_checksum(self, ebs: Client, data: bytes) -> None:
        snapshot_id = completed(ebs, {3: data})
        token = tokens(ebs, snapshot_id)[3]
        answer = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=3, BlockToken=token)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert answer["DataLength"] == 524_288
        assert answer["Checksum"] == checksum(data)
        assert answer["ChecksumAlgorithm"] == "SHA256"
        assert answer["BlockData"].read() == data

    def test_an_inherited_block_is_read_like_any_other(self, ebs: Client) -> None:
        parent = completed(ebs, {3: A})
        child = completed(ebs, {}, ParentSnapshotId=parent)
        assert read(ebs, child, 3, tokens(ebs, child)[3]) == A

    def test_a_range_is_ignored(self, raw: RawClient, opened: Opened) -> None:
        snapshot_id, token = opened[0], opened[1][0]
        target = f"/snapshots/{snapshot_id}/blocks/0?blockToken={token}"
        answer = raw.request("GET", target, {"Range": "bytes=0-99"})
        assert (answer.status, answer.body) == (200, A)
        assert answer.header("Content-Range") is None

    def test_a_block_may_be_read_again_and_again(self, ebs: Client, opened: Opened) -> None:
        for _ in range(3):
            assert read(ebs, opened[0], 0, opened[1][0]) == A


class TestTokens:
    def test_garbage_is_no_token(self, ebs: Client, opened: Opened) -> None:
        with expect_invalid_token("garbage"):
            read(ebs, opened[0], 0, "garbage")

    def test_the_characters_of_url_safe_base64_are_no_broken_constraint(self, ebs: Client, opened: Opened) -> None:
        with expect_invalid_token("AAAA-_AA"):
            read(ebs, opened[0], 0, "AAAA-_AA")

    def test_a_changed_token_is_invalid(self, ebs: Client, opened: Opened) -> None:
        token = opened[1][0]
        for position in range(0, len(token), 5):
            changed = token[:position] + ("B" if token[position] == "A" else "A") + token[position + 1 :]
            with expect_invalid_token(changed):
                read(ebs, opened[0], 0, changed)

    def test_a_cut_or_extended_token_is_invalid(self, ebs: Client, opened: Opened) -> None:
        for changed in (opened[1][0][:-1], opened[1][0] + "A", opened[1][0] + "="):
            with expect_invalid_token(changed):
                read(ebs, opened[0], 0, changed)

    def test_another_indexs_token_is_invalid(self, ebs: Client, opened: Opened) -> None:
        with expect_invalid_token(opened[1][5]):
            read(ebs, opened[0], 0, opened[1][5])

    @pytest.mark.parametrize("block_index", [1, 2047, 2048, 134_217_728])
    def test_no_token_opens_an_index_without_a_block(self, ebs: Client, opened: Opened, block_index: int) -> None:
        with expect_invalid_token(opened[1][0]):
            read(ebs, opened[0], block_index, opened[1][0])

    def test_a_parents_token_does_not_open_its_child(self, ebs: Client) -> None:
        parent = completed(ebs, {3: A})
        child = completed(ebs, {}, ParentSnapshotId=parent)
        token = tokens(ebs, parent)[3]
        with expect_invalid_token(token):
            read(ebs, child, 3, token)

    def test_another_snapshots_token_of_the_same_bytes_is_invalid(self, ebs: Client, opened: Opened) -> None:
        token = tokens(ebs, completed(ebs, {0: A}))[0]
        with expect_invalid_token(token):
            read(ebs, opened[0], 0, token)

    def test_a_page_token_is_no_block_token(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, dict.fromkeys(range(101), ZERO))
        token = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100)["NextToken"]
        with expect_invalid_token(token):
            read(ebs, snapshot_id, 0, token)

    def test_a_later_list_leaves_earlier_tokens_valid(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {3: A})
        earlier = tokens(ebs, snapshot_id)[3]
        tokens(ebs, snapshot_id)
        assert read(ebs, snapshot_id, 3, earlier) == A

    def test_a_childs_token_outlives_its_parent(self, ebs: Client, ec2: Client) -> None:
        parent = completed(ebs, {3: A})
        child = completed(ebs, {}, ParentSnapshotId=parent)
        token = tokens(ebs, child)[3]
        ec2.delete_snapshot(SnapshotId=parent)
        assert read(ebs, child, 3, token) == A

    def test_a_token_does_not_outlive_its_snapshot(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {3: A})
        token = tokens(ebs, snapshot_id)[3]
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with expect_snapshot_not_found(snapshot_id):
            read(ebs, snapshot_id, 3, token)

    def test_a_token_opens_nothing_in_another_region(self, ebs_elsewhere: Client, opened: Opened) -> None:
        with expect_snapshot_not_found(opened[0]):
            read(ebs_elsewhere, opened[0], 0, opened[1][0])


class TestConstraints:
    def test_a_token_is_required(self, raw: RawClient, opened: Opened) -> None:
        answer = raw.request("GET", f"/snapshots/{opened[0]}/blocks/0")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("blockToken", None, NOT_NULL))

    def test_an_empty_token_is_a_broken_constraint(self, raw: RawClient, opened: Opened) -> None:
        answer = raw.request("GET", f"/snapshots/{opened[0]}/blocks/0?blockToken=")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert "Value '' at 'blockToken' failed to satisfy constraint" in answer.json["message"]
        assert "Reason" not in answer.json

    def test_a_token_has_at_most_256_characters(self, ebs: Client, opened: Opened) -> None:
        with expect_too_long("blockToken", 256):
            read(ebs, opened[0], 0, "A" * 257)

    def test_a_token_with_other_characters_is_a_broken_constraint(self, ebs: Client, opened: Opened) -> None:
        with expect_refusal("ValidationException", 400, reason=None):
            read(ebs, opened[0], 0, "no token!")

    def test_an_index_is_not_negative(self, raw: RawClient, opened: Opened) -> None:
        answer = raw.request("GET", f"/snapshots/{opened[0]}/blocks/-1?blockToken={opened[1][0]}")
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("blockIndex", "-1", at_least(0)))

    def test_a_malformed_id_is_a_broken_constraint(self, ebs: Client) -> None:
        with expect_out_of_bounds("snapshotId", "Snap-XYZ/..", SNAPSHOT_ID_PATTERN):
            read(ebs, "Snap-XYZ/..", 0, "AAAA")


class TestState:
    """The snapshot's existence comes before its token."""

    def test_a_snapshot_that_never_was_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            read(ebs, NO_SNAPSHOT, 0, "garbage")

    def test_a_pending_snapshot_does_not_exist(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        with expect_snapshot_not_found(snapshot_id):
            read(ebs, snapshot_id, 0, "garbage")

    def test_a_snapshot_in_error_does_not_exist(self, ebs: Client) -> None:
        snapshot_id = failed(ebs)
        with expect_snapshot_not_found(snapshot_id):
            read(ebs, snapshot_id, 0, "garbage")
