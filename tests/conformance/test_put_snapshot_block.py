"""PutSnapshotBlock: bytes and checksum, overwriting, and every reason to refuse a block.

Source: docs/aws-behaviour/ebs-direct.md, EBS-PUT.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from tests.conformance.faults import (
    CHECKSUM_PATTERN,
    NO_SNAPSHOT,
    NOT_NULL,
    SNAPSHOT_ID_PATTERN,
    at_least,
    at_most,
    constraint_message,
    expect_all_out_of_bounds,
    expect_invalid,
    expect_out_of_bounds,
    expect_refusal,
    expect_snapshot_not_found,
    expect_too_long,
)
from tests.conformance.given import (
    BLOCK_SIZE,
    ZERO,
    A,
    B,
    C,
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
from tests.conformance.raw_client import UNSIGNED_PAYLOAD, Answer, RawClient, RawRequest
from tests.server_process import Client


def mismatch_message(data: bytes, expected: str) -> str:
    """What AWS says of a body that does not match its checksum."""
    return (
        "The value passed in as x-amz-Checksum does not match the computed checksum. "
        f"Computed checksum: {checksum(data)} expected checksum: {expected}"
    )


def put_headers(data: bytes, **other: str | None) -> dict[str, str]:
    """The headers of a put, as boto3 sends them; `other` replaces, or removes with None, by a name's last word."""
    headers: dict[str, str | None] = {
        "x-amz-Data-Length": str(len(data)),
        "x-amz-Checksum": checksum(data),
        "x-amz-Checksum-Algorithm": "SHA256",
    }
    headers |= {f"x-amz-{name.replace('_', '-')}": value for name, value in other.items()}
    return UNSIGNED_PAYLOAD | {name: value for name, value in headers.items() if value is not None}


def put_raw(raw: RawClient, snapshot_id: str, block_index: int = 0, **other: str | None) -> Answer:
    """Put block A with these headers, past boto3's own checks."""
    return raw.request("PUT", f"/snapshots/{snapshot_id}/blocks/{block_index}", put_headers(A, **other), A)


class OnlyReads:
    """A body without a length: boto3 sends it chunked."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


class TestAccepted:
    def test_a_put_answers_201_with_the_checksum_that_the_server_computed(self, ebs: Client) -> None:
        answer = put(ebs, started(ebs), 0, A)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert answer["Checksum"] == "Qib0wLZSCPxxAsnoZ1mqGTwYYUfxBvjcHbuEUOOwNdw="
        assert answer["ChecksumAlgorithm"] == "SHA256"

    def test_what_was_put_is_what_is_read(self, ebs: Client) -> None:
        random = Random(3).randbytes(BLOCK_SIZE)
        assert content(ebs, completed(ebs, {0: A, 1: random, 2047: C})) == {0: A, 1: random, 2047: C}

    def test_a_block_written_twice_keeps_the_last_bytes(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        for data in (A, B, A, C):
            put(ebs, snapshot_id, 7, data)
        assert complete(ebs, snapshot_id, {7: C}) == "completed"
        assert content(ebs, snapshot_id) == {7: C}

    def test_a_put_may_be_repeated(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        for _ in range(3):
            assert put(ebs, snapshot_id, 7, A)["Checksum"] == checksum(A)
        assert complete(ebs, snapshot_id, {7: A}) == "completed"

    def test_a_block_of_zeros_is_a_block(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        answer = put(ebs, snapshot_id, 3, ZERO)
        assert answer["Checksum"] == "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE="
        assert complete(ebs, snapshot_id, {3: ZERO}) == "completed"
        assert content(ebs, snapshot_id) == {3: ZERO}

    def test_a_block_of_zeros_hides_the_parents_block(self, ebs: Client) -> None:
        parent = completed(ebs, {3: A})
        assert content(ebs, completed(ebs, {3: ZERO}, ParentSnapshotId=parent)) == {3: ZERO}

    def test_a_block_equal_to_the_parents_is_counted_like_any_other(self, ebs: Client) -> None:
        parent = completed(ebs, {3: A})
        assert content(ebs, completed(ebs, {3: A}, ParentSnapshotId=parent)) == {3: A}

    def test_blocks_may_be_written_in_any_order_and_at_once(self, ebs: Client) -> None:
        blocks = {index: block(str(index % 5)) for index in range(0, 2048, 64)}
        order = Random(7).sample(sorted(blocks), len(blocks))
        snapshot_id = started(ebs)
        with ThreadPoolExecutor(16) as threads:
            for running in [threads.submit(put, ebs, snapshot_id, index, blocks[index]) for index in order]:
                running.result()
        assert complete(ebs, snapshot_id, blocks) == "completed"
        assert content(ebs, snapshot_id) == blocks

    def test_the_last_index_of_a_volume_can_be_written(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {134_217_727: A}, VolumeSize=65_536)
        assert content(ebs, snapshot_id) == {134_217_727: A}

    @pytest.mark.parametrize("kind", ["bytes", "BytesIO", "file", "reads only"])
    def test_the_data_may_come_from_anything_that_boto3_can_send(self, ebs: Client, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "block"
        path.write_bytes(B)
        snapshot_id = started(ebs)
        with path.open("rb") as file:
            source = {"bytes": B, "BytesIO": io.BytesIO(B), "file": file, "reads only": OnlyReads(B)}[kind]
            put(ebs, snapshot_id, 0, B, BlockData=source)
        assert complete(ebs, snapshot_id, {0: B}) == "completed"
        assert content(ebs, snapshot_id) == {0: B}

    @pytest.mark.parametrize("progress", [0, 100])
    def test_progress_may_be_0_to_100(self, ebs: Client, progress: int) -> None:
        assert put(ebs, started(ebs), 0, A, Progress=progress)["Checksum"] == checksum(A)

    def test_an_identity_encoding_is_no_encoding(self, raw: RawClient, ebs: Client) -> None:
        headers = put_headers(A) | {"Content-Encoding": "identity"}
        assert raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", headers, A).status == 201


class TestChecksum:
    def test_a_body_that_does_not_match_its_checksum_is_refused(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        with expect_refusal("InvalidSignatureException", 403, None, mismatch_message(A, checksum(B))):
            put(ebs, snapshot_id, 0, A, Checksum=checksum(B))

    def test_a_checksum_that_is_no_digest_is_a_mismatch(self, ebs: Client) -> None:
        with expect_refusal("InvalidSignatureException", 403, None, mismatch_message(A, "abcd")):
            put(ebs, started(ebs), 0, A, Checksum="abcd")

    def test_the_checksum_is_base64_and_not_hexadecimal(self, ebs: Client) -> None:
        hexadecimal = "4226f4c0b65208fc7102c9e86759aa193c186147f106f8dc1dbb8450e3b035dc"
        with expect_refusal("InvalidSignatureException", 403, None, mismatch_message(A, hexadecimal)):
            put(ebs, started(ebs), 0, A, Checksum=hexadecimal)

    def test_a_refused_block_is_not_in_the_snapshot(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        with expect_refusal("InvalidSignatureException", 403):
            put(ebs, snapshot_id, 0, A, Checksum=checksum(B))
        assert complete(ebs, snapshot_id, {}) == "completed"
        assert tokens(ebs, snapshot_id) == {}

    def test_a_refused_block_leaves_the_earlier_bytes(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        with expect_refusal("InvalidSignatureException", 403):
            put(ebs, snapshot_id, 0, B, Checksum=checksum(A))
        assert complete(ebs, snapshot_id, {0: A}) == "completed"
        assert content(ebs, snapshot_id) == {0: A}

    def test_a_refused_block_may_be_sent_again(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        with expect_refusal("InvalidSignatureException", 403):
            put(ebs, snapshot_id, 0, A, Checksum=checksum(B))
        put(ebs, snapshot_id, 0, A)
        assert complete(ebs, snapshot_id, {0: A}) == "completed"

    @pytest.mark.parametrize("algorithm", ["SHA1", "sha256", "MD5"])
    def test_another_algorithm_is_refused(self, ebs: Client, algorithm: str) -> None:
        message = f"Unsupported Checksum Algorithm '{algorithm}', supported algorithms are SHA256"
        with expect_invalid("INVALID_PARAMETER_VALUE", message):
            put(ebs, started(ebs), 0, A, ChecksumAlgorithm=algorithm)


class TestLength:
    @pytest.mark.parametrize("declared", [100, 524_288])
    def test_a_short_body_is_refused_whatever_length_is_declared(self, ebs: Client, declared: int) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", "Failed to read block data"):
            put(ebs, started(ebs), 0, A[:100], DataLength=declared)

    @pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1])
    def test_a_block_is_never_shorter_than_524288_bytes(self, ebs: Client, size: int) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", "Failed to read block data"):
            put(ebs, started(ebs), 0, A[:size], DataLength=BLOCK_SIZE)

    def test_a_short_chunked_body_is_refused(self, ebs: Client) -> None:
        with expect_invalid("INVALID_PARAMETER_VALUE", "Failed to read block data"):
            put(ebs, started(ebs), 0, A[:-1], BlockData=OnlyReads(A[:-1]), DataLength=BLOCK_SIZE)

    @pytest.mark.parametrize("declared", [0, 1, 524_287, 524_289])
    def test_a_whole_block_with_another_length_declared_is_refused(self, ebs: Client, declared: int) -> None:
        with expect_invalid("INVALID_BLOCK", f"Block data length {declared} is not valid, expected 524288"):
            put(ebs, started(ebs), 0, A, DataLength=declared)

    @pytest.mark.parametrize("declared", [524_288, 524_289])
    def test_a_longer_body_is_refused(self, ebs: Client, declared: int) -> None:
        with expect_invalid("INVALID_BLOCK"):
            put(ebs, started(ebs), 0, A + b"x", DataLength=declared)

    def test_a_longer_chunked_body_is_refused(self, raw: RawClient, ebs: Client) -> None:
        pieces = [A, b"x"]
        answer = raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", put_headers(A), pieces)
        assert (answer.status, answer.json.get("Reason")) == (400, "INVALID_BLOCK")

    def test_a_refused_length_leaves_nothing_behind(self, ebs: Client) -> None:
        snapshot_id = started(ebs)
        with expect_invalid("INVALID_PARAMETER_VALUE"):
            put(ebs, snapshot_id, 0, A[:100], DataLength=100)
        with expect_invalid("INVALID_BLOCK"):
            put(ebs, snapshot_id, 1, A + A, DataLength=BLOCK_SIZE)
        assert complete(ebs, snapshot_id, {}) == "completed"

    def test_a_put_cut_off_in_its_body_stores_nothing(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        whole = raw.signed(RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/0", put_headers(A), A))
        connection = raw.connect()
        connection.putrequest(whole.method, whole.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (dict(whole.headers) | {"Content-Length": str(BLOCK_SIZE)}).items():
            connection.putheader(name, value)
        connection.endheaders(A[: BLOCK_SIZE // 2])
        connection.close()
        assert complete(ebs, snapshot_id, {}) == "completed"

    def test_an_encoded_body_is_refused(self, raw: RawClient, ebs: Client) -> None:
        headers = put_headers(A) | {"Content-Encoding": "gzip"}
        answer = raw.request("PUT", f"/snapshots/{started(ebs)}/blocks/0", headers, A)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["Reason"] == "INVALID_CONTENT_ENCODING"


class TestIndex:
    @pytest.mark.parametrize("block_index", [2048, 134_217_728])
    def test_an_index_past_the_volume_is_refused(self, ebs: Client, block_index: int) -> None:
        with expect_invalid("INVALID_BLOCK", f"Block index {block_index} is beyond the volume size extent"):
            put(ebs, started(ebs), block_index, A)

    def test_the_volume_and_not_the_parent_says_where_the_end_is(self, ebs: Client) -> None:
        snapshot_id = started(ebs, ParentSnapshotId=completed(ebs, {}), VolumeSize=2)
        put(ebs, snapshot_id, 4095, A)
        with expect_invalid("INVALID_BLOCK", "Block index 4096 is beyond the volume size extent"):
            put(ebs, snapshot_id, 4096, A)

    def test_a_negative_index_is_a_broken_constraint(self, raw: RawClient, ebs: Client) -> None:
        answer = put_raw(raw, started(ebs), -1)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("blockIndex", "-1", at_least(0)))


class TestConstraints:
    @pytest.mark.parametrize(
        ("header", "member"),
        [("Data_Length", "dataLength"), ("Checksum", "checksum"), ("Checksum_Algorithm", "checksumAlgorithm")],
    )
    def test_a_missing_header_is_a_broken_constraint(
        self, raw: RawClient, ebs: Client, header: str, member: str
    ) -> None:
        answer = put_raw(raw, started(ebs), 0, **{header: None})
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message((member, None, NOT_NULL))

    def test_a_checksum_with_other_characters_is_a_broken_constraint(self, ebs: Client) -> None:
        with expect_out_of_bounds("checksum", "not-base64!", CHECKSUM_PATTERN):
            put(ebs, started(ebs), 0, A, Checksum="not-base64!")

    def test_a_checksum_has_at_most_64_characters(self, ebs: Client) -> None:
        with expect_too_long("checksum", 64):
            put(ebs, started(ebs), 0, A, Checksum="A" * 65)

    @pytest.mark.parametrize(("progress", "constraint"), [(-1, at_least(0)), (101, at_most(100))])
    def test_progress_beyond_its_bounds_is_a_broken_constraint(
        self, raw: RawClient, ebs: Client, progress: int, constraint: str
    ) -> None:
        answer = put_raw(raw, started(ebs), Progress=str(progress))
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("progress", str(progress), constraint))

    def test_constraints_broken_together_are_told_together(self, ebs: Client) -> None:
        with expect_all_out_of_bounds(("checksum", "!", CHECKSUM_PATTERN), ("progress", "101", at_most(100))):
            put(ebs, started(ebs), 0, A, Checksum="!", Progress=101)

    @pytest.mark.parametrize("header", ["Data_Length", "Progress"])
    def test_a_header_that_is_no_integer_is_a_serialization_fault(
        self, raw: RawClient, ebs: Client, header: str
    ) -> None:
        answer = put_raw(raw, started(ebs), 0, **{header: "many"})
        assert (answer.status, answer.code) == (400, "SerializationException")

    @pytest.mark.parametrize("snapshot_id", ["Snap-XYZ/..", "snap-", "vol-0123456789abcdef0", "snap-G"])
    def test_a_malformed_id_is_a_broken_constraint(self, ebs: Client, snapshot_id: str) -> None:
        with expect_out_of_bounds("snapshotId", snapshot_id, SNAPSHOT_ID_PATTERN):
            put(ebs, snapshot_id, 0, A)

    def test_constraints_come_before_the_snapshots_existence(self, ebs: Client) -> None:
        with expect_out_of_bounds("progress", "101", at_most(100)):
            put(ebs, NO_SNAPSHOT, 0, A, Progress=101)


class TestState:
    def test_a_completed_snapshot_takes_no_block(self, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        with expect_invalid("INVALID_SNAPSHOT_ID", "Snapshot is already completed"):
            put(ebs, snapshot_id, 0, B)
        assert content(ebs, snapshot_id) == {0: A}

    def test_a_snapshot_in_error_does_not_exist(self, ebs: Client) -> None:
        snapshot_id = failed(ebs)
        with expect_snapshot_not_found(snapshot_id):
            put(ebs, snapshot_id, 0, A)

    def test_a_snapshot_that_never_was_does_not_exist(self, ebs: Client) -> None:
        with expect_snapshot_not_found(NO_SNAPSHOT):
            put(ebs, NO_SNAPSHOT, 0, A)

    def test_a_deleted_snapshot_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = deleted(ebs, ec2)
        with expect_snapshot_not_found(snapshot_id):
            put(ebs, snapshot_id, 0, A)

    def test_a_pending_snapshot_that_was_deleted_does_not_exist(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with expect_snapshot_not_found(snapshot_id):
            put(ebs, snapshot_id, 1, A)

    def test_a_snapshot_in_another_region_does_not_exist(self, ebs: Client, ebs_elsewhere: Client) -> None:
        snapshot_id = started(ebs)
        with expect_snapshot_not_found(snapshot_id):
            put(ebs_elsewhere, snapshot_id, 0, A)
