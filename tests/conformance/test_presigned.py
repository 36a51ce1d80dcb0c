"""Presigned URLs: all that botocore can presign, and a presigned put.

Source: docs/aws-behaviour/signing-and-protocols.md, PRE.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.conformance.faults import NO_SNAPSHOT, NOT_NULL, constraint_message
from tests.conformance.given import (
    ZERO,
    A,
    B,
    aggregate,
    checksum,
    complete,
    completed,
    content,
    put,
    started,
    tokens,
)
from tests.conformance.raw_client import UNSIGNED_PAYLOAD, Answer, RawClient, RawRequest
from tests.server_process import Client

PUT_HEADERS = {
    "x-amz-Data-Length": "524288",
    "x-amz-Checksum": checksum(A),
    "x-amz-Checksum-Algorithm": "SHA256",
}
LIST = RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks")
"""A request that, once let in, is answered 404."""


def presigned(client: Client, operation: str, **members: Any) -> str:
    """The target of the URL that boto3 makes."""
    url = urlsplit(client.generate_presigned_url(operation, Params=members))
    return f"{url.path}?{url.query}"


def fetch(raw: RawClient, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """Send what somebody without a key sends who was given a URL."""
    return raw.send(RawRequest(method, target, {"Host": raw.host, **(headers or {})}, body))


class TestReads:
    def test_a_list_needs_its_url_only(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A, 5: B})
        answer = fetch(raw, "GET", presigned(ebs, "list_snapshot_blocks", SnapshotId=snapshot_id, MaxResults=100))
        assert answer.status == 200
        assert [entry["BlockIndex"] for entry in answer.json["Blocks"]] == [0, 5]

    def test_a_comparison_needs_its_url_only(self, raw: RawClient, ebs: Client) -> None:
        parent = completed(ebs, {0: A})
        child = completed(ebs, {7: B}, ParentSnapshotId=parent)
        names = {"FirstSnapshotId": parent, "SecondSnapshotId": child}
        answer = fetch(raw, "GET", presigned(ebs, "list_changed_blocks", **names))
        assert [entry["BlockIndex"] for entry in answer.json["ChangedBlocks"]] == [7]

    def test_a_block_needs_its_url_only(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, {5: B})
        names = {"SnapshotId": snapshot_id, "BlockIndex": 5, "BlockToken": tokens(ebs, snapshot_id)[5]}
        answer = fetch(raw, "GET", presigned(ebs, "get_snapshot_block", **names))
        assert (answer.status, answer.body) == (200, B)

    def test_page_tokens_survive_their_encoding(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = completed(ebs, dict.fromkeys(range(101), ZERO))
        token = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100)["NextToken"]
        answer = fetch(raw, "GET", presigned(ebs, "list_snapshot_blocks", SnapshotId=snapshot_id, NextToken=token))
        assert [entry["BlockIndex"] for entry in answer.json["Blocks"]] == [100]

    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_ec2_is_presigned_for_either_method(self, raw: RawClient, ec2: Client, method: str) -> None:
        members = {"RegionNames": ["eu-west-1"]}
        url = urlsplit(ec2.generate_presigned_url("describe_regions", Params=members, HttpMethod=method))
        answer = fetch(raw, method, f"{url.path}?{url.query}")
        assert answer.status == 200
        assert b"<regionName>eu-west-1</regionName>" in answer.body
        assert b"us-east-1" not in answer.body


class TestWrites:
    def test_completion_needs_its_headers_and_an_empty_body(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        members = {
            "Checksum": aggregate({0: A}),
            "ChecksumAlgorithm": "SHA256",
            "ChecksumAggregationMethod": "LINEAR",
        }
        target = presigned(ebs, "complete_snapshot", SnapshotId=snapshot_id, ChangedBlocksCount=1, **members)
        headers = {
            "x-amz-ChangedBlocksCount": "1",
            "x-amz-Checksum": aggregate({0: A}),
            "x-amz-Checksum-Algorithm": "SHA256",
            "x-amz-Checksum-Aggregation-Method": "LINEAR",
        }
        answer = fetch(raw, "POST", target, headers)
        assert (answer.status, answer.json) == (202, {"Status": "completed"})

    def test_completion_with_another_count_than_the_signed_one_is_refused(self, raw: RawClient, ebs: Client) -> None:
        target = presigned(ebs, "complete_snapshot", SnapshotId=started(ebs), ChangedBlocksCount=1)
        answer = fetch(raw, "POST", target, {"x-amz-ChangedBlocksCount": "0"})
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_start_takes_no_members_from_its_query(self, raw: RawClient, ebs: Client) -> None:
        target = presigned(ebs, "start_snapshot", VolumeSize=1)
        signed_headers = parse_qs(urlsplit(target).query)["X-Amz-SignedHeaders"][0]
        headers = {"Content-Type": "application/json"} if "content-type" in signed_headers else {}
        answer = fetch(raw, "POST", target, headers)
        assert (answer.status, answer.code) == (400, "ValidationException")
        assert answer.json["message"] == constraint_message(("volumeSize", None, NOT_NULL))


class TestPut:
    def test_a_put_that_boto3_presigned_takes_the_block_that_its_checksum_names(
        self, raw: RawClient, ebs: Client
    ) -> None:
        snapshot_id = started(ebs)
        members = {"DataLength": 524_288, "Checksum": checksum(A), "ChecksumAlgorithm": "SHA256"}
        target = presigned(ebs, "put_snapshot_block", SnapshotId=snapshot_id, BlockIndex=3, BlockData=b"", **members)
        headers = PUT_HEADERS | (UNSIGNED_PAYLOAD if "x-amz-content-sha256" in target.lower() else {})
        assert fetch(raw, "PUT", target, headers, A).status == 201
        assert complete(ebs, snapshot_id, {3: A}) == "completed"
        assert content(ebs, snapshot_id) == {3: A}

    def test_a_put_may_be_signed_with_the_hash_of_nothing(self, raw: RawClient, ebs: Client) -> None:
        request = RawRequest("PUT", f"/snapshots/{started(ebs)}/blocks/0", PUT_HEADERS, A)
        assert raw.send(raw.presigned(request)).status == 201

    def test_a_put_may_be_signed_with_its_payload_left_out(self, raw: RawClient, ebs: Client) -> None:
        target = f"/snapshots/{started(ebs)}/blocks/0"
        for headers in (PUT_HEADERS, PUT_HEADERS | UNSIGNED_PAYLOAD):
            signed = raw.presigned(RawRequest("PUT", target, headers, A), payload="UNSIGNED-PAYLOAD")
            assert raw.send(signed).status == 201

    def test_another_block_than_the_checksum_names_is_refused(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        request = RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/0", PUT_HEADERS, B)
        answer = raw.send(raw.presigned(request))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")
        assert answer.json["message"] == (
            "The value passed in as x-amz-Checksum does not match the computed checksum. "
            f"Computed checksum: {checksum(B)} expected checksum: {checksum(A)}"
        )
        assert complete(ebs, snapshot_id, {}) == "completed"

    def test_the_checksum_must_be_signed(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        bare = raw.presigned(RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/0", {}, A))
        answer = raw.send(RawRequest(bare.method, bare.target, {**bare.headers, **PUT_HEADERS}, A))
        assert answer.status == 403
        assert complete(ebs, snapshot_id, {}) == "completed"

    def test_a_changed_checksum_is_refused(self, raw: RawClient, ebs: Client) -> None:
        signed = raw.presigned(RawRequest("PUT", f"/snapshots/{started(ebs)}/blocks/0", PUT_HEADERS, B))
        headers = {**signed.headers, "x-amz-Checksum": checksum(B)}
        answer = raw.send(RawRequest("PUT", signed.target, headers, B))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")


class TestAge:
    def test_a_url_is_good_until_it_expires(self, raw: RawClient) -> None:
        at = datetime.now(UTC) - timedelta(days=6, hours=23)
        assert raw.send(raw.presigned(LIST, expires_seconds=604_800, at=at)).status == 404

    def test_an_expired_url_is_refused(self, raw: RawClient) -> None:
        at = datetime.now(UTC) - timedelta(seconds=120)
        answer = raw.send(raw.presigned(LIST, expires_seconds=60, at=at))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_an_expired_ec2_url_says_request_expired(self, raw: RawClient) -> None:
        at = datetime.now(UTC) - timedelta(seconds=120)
        request = RawRequest("GET", "/?Action=DescribeRegions&Version=2016-11-15")
        answer = raw.send(raw.presigned(request, service="ec2", expires_seconds=60, at=at))
        assert answer.status == 400
        assert b"<Code>RequestExpired</Code>" in answer.body

    def test_a_url_from_the_future_is_refused(self, raw: RawClient) -> None:
        answer = raw.send(raw.presigned(LIST, at=datetime.now(UTC) + timedelta(minutes=16)))
        assert answer.status == 403

    @pytest.mark.parametrize("seconds", [0, -1, 604_801])
    def test_a_url_lives_1_second_to_7_days(self, raw: RawClient, seconds: int) -> None:
        assert raw.send(raw.presigned(LIST, expires_seconds=seconds)).status in {400, 403}


class TestChanged:
    @pytest.mark.parametrize(
        ("was", "becomes"),
        [
            ("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
            ("cdef0", "cdef1"),
            ("&X-Amz-Signature", "&maxResults=100&X-Amz-Signature"),
            ("eu-central-1", "us-east-1"),
        ],
    )
    def test_a_changed_url_is_refused(self, raw: RawClient, was: str, becomes: str) -> None:
        signed = raw.presigned(LIST)
        assert was in signed.target
        answer = raw.send(RawRequest("GET", signed.target.replace(was, becomes), signed.headers))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_another_method_is_refused(self, raw: RawClient) -> None:
        signed = raw.presigned(RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks/0?blockToken=AAAA"))
        answer = raw.send(RawRequest("PUT", signed.target, {**signed.headers, **PUT_HEADERS}, A))
        assert answer.status == 403

    def test_a_url_without_its_signature_is_refused(self, raw: RawClient) -> None:
        signed = raw.presigned(LIST)
        answer = raw.send(RawRequest("GET", signed.target.partition("&X-Amz-Signature")[0], signed.headers))
        assert answer.status == 403
