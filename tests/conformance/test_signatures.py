"""Signature version 4 in headers: what gets in, and what each fault is called.

Source: docs/aws-behaviour/signing-and-protocols.md, SIG.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from botocore.awsrequest import AWSPreparedRequest
from tests.conformance.faults import NO_SNAPSHOT, expect_refusal
from tests.conformance.given import ZERO, A, B, checksum, completed, put, started
from tests.conformance.raw_client import FORM, UNSIGNED_PAYLOAD, Answer, RawClient, RawRequest
from tests.server_process import AccessKeyPair, Client, ServerProcess

LIST = RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks?maxResults=100&startingBlockIndex=5")
"""A request that, once let in, is answered 404."""

DESCRIBE = RawRequest("POST", "/", FORM, b"Action=DescribeRegions&Version=2016-11-15")
EVERY_OPERATION = [
    RawRequest("POST", "/snapshots", {}, b'{"VolumeSize":1}'),
    RawRequest("PUT", f"/snapshots/{NO_SNAPSHOT}/blocks/0", {}, b"x"),
    RawRequest("POST", f"/snapshots/completion/{NO_SNAPSHOT}", {"x-amz-ChangedBlocksCount": "0"}),
    RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks"),
    RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/changedblocks?firstSnapshotId={NO_SNAPSHOT}"),
    RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks/0?blockToken=AAAA"),
]
PUT_HEADERS = {
    "x-amz-Data-Length": "524288",
    "x-amz-Checksum": checksum(A),
    "x-amz-Checksum-Algorithm": "SHA256",
}


def ec2_code(answer: Answer) -> tuple[int, str]:
    """Status and code of an EC2 fault."""
    found = re.search(rb"<Code>(.*?)</Code>", answer.body)
    assert found is not None, answer
    return answer.status, found[1].decode()


def authorization(request: RawRequest) -> str:
    """The header that carries the signature."""
    return request.headers["Authorization"]


def with_header(request: RawRequest, name: str, value: str) -> RawRequest:
    """The request with a header set after signing."""
    return replace(request, headers={**request.headers, name: value})


class TestUnsigned:
    @pytest.mark.parametrize("request_", EVERY_OPERATION, ids=lambda request: f"{request.method} {request.target[:40]}")
    def test_no_operation_is_reached_without_a_signature(self, raw: RawClient, request_: RawRequest) -> None:
        answer = raw.send(replace(request_, headers={"Host": raw.host, **request_.headers}))
        assert (answer.status, answer.code) == (403, "MissingAuthenticationTokenException")

    def test_ec2_is_not_reached_without_a_signature(self, raw: RawClient) -> None:
        answer = raw.send(with_header(DESCRIBE, "Host", raw.host))
        assert answer.status == 403
        assert b"MissingAuthenticationToken" in answer.body

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_health_and_readiness_need_no_signature(self, raw: RawClient, path: str) -> None:
        assert raw.send(RawRequest("GET", path, {"Host": raw.host})).status == 200


class TestWrongKey:
    def test_an_unknown_access_key(self, server: ServerProcess) -> None:
        stranger = AccessKeyPair("AKIAIOSFODNN7EXAMPLE", server.key.secret_access_key)
        with expect_refusal("UnrecognizedClientException", 403):
            server.client("ebs", key=stranger).list_snapshot_blocks(SnapshotId=NO_SNAPSHOT)
        with expect_refusal("AuthFailure", 401):
            server.client("ec2", key=stranger).describe_snapshots()

    def test_a_wrong_secret(self, server: ServerProcess) -> None:
        guess = AccessKeyPair(server.key.access_key_id, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        with expect_refusal("InvalidSignatureException", 403):
            server.client("ebs", key=guess).list_snapshot_blocks(SnapshotId=NO_SNAPSHOT)
        with expect_refusal("AuthFailure", 401):
            server.client("ec2", key=guess).describe_snapshots()

    def test_a_put_with_a_wrong_secret_stores_nothing(self, server: ServerProcess, ebs: Client) -> None:
        guess = AccessKeyPair(server.key.access_key_id, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        snapshot_id = started(ebs)
        with expect_refusal("InvalidSignatureException", 403):
            put(server.client("ebs", key=guess), snapshot_id, 0, A)
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)["Status"] == "completed"

    def test_a_region_that_is_not_served(self, server: ServerProcess) -> None:
        with expect_refusal("UnrecognizedClientException", 403):
            server.client("ebs", region="nowhere-north-1").list_snapshot_blocks(SnapshotId=NO_SNAPSHOT)
        with expect_refusal("AuthFailure", 401):
            server.client("ec2", region="nowhere-north-1").describe_snapshots()

    @pytest.mark.parametrize("service", ["s3", "iam", "ec2"])
    def test_a_scope_of_another_service_reaches_no_block_operation(self, raw: RawClient, service: str) -> None:
        answer = raw.request("POST", "/snapshots", {}, b'{"VolumeSize":1}', service=service)
        assert answer.status >= 400

    def test_a_scope_of_ebs_reaches_no_ec2_action(self, raw: RawClient) -> None:
        assert raw.action("DescribeRegions", service="ebs").status >= 400


CALLS: dict[str, Callable[[Client], object]] = {
    "ebs": lambda ebs: ebs.list_snapshot_blocks(SnapshotId=NO_SNAPSHOT),
    "rbin": lambda rbin: rbin.list_rules(ResourceType="EBS_SNAPSHOT"),
    "ec2": lambda ec2: ec2.describe_regions(),
    "kms": lambda kms: kms.list_keys(),
    "sts": lambda sts: sts.get_caller_identity(),
    "iam": lambda iam: iam.list_users(),
}
"""One call of each service."""

REST = {
    "no credentials": ("MissingAuthenticationTokenException", 403),
    "malformed": ("IncompleteSignatureException", 403),
    "unknown key": ("UnrecognizedClientException", 403),
    "wrong secret": ("InvalidSignatureException", 403),
}
QUERY = {
    "no credentials": ("MissingAuthenticationToken", 403),
    "malformed": ("IncompleteSignature", 400),
    "unknown key": ("InvalidClientTokenId", 403),
    "wrong secret": ("SignatureDoesNotMatch", 403),
}
NAMES = {
    "ebs": REST,
    "rbin": REST,
    "ec2": {
        "no credentials": ("MissingAuthenticationToken", 403),
        "malformed": ("IncompleteSignature", 400),
        "unknown key": ("AuthFailure", 401),
        "wrong secret": ("AuthFailure", 401),
    },
    "kms": {fault: (code, 400) for fault, (code, _) in REST.items()},
    "sts": QUERY,
    "iam": QUERY,
}
"""docs/aws-behaviour/signing-and-protocols.md, ERR-9: what each service calls each fault of who calls."""


@pytest.mark.parametrize("fault", sorted(REST))
@pytest.mark.parametrize("service", sorted(NAMES))
def test_each_service_names_a_fault_of_who_calls_in_its_own_words(
    server: ServerProcess, service: str, fault: str
) -> None:
    known, secret = server.key.access_key_id, server.key.secret_access_key
    keys = {
        "unknown key": AccessKeyPair("AKIAIOSFODNN7EXAMPLE", secret),
        "wrong secret": AccessKeyPair(known, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    }
    client = server.client(service, key=keys.get(fault))
    client.meta.events.register("before-send", lambda request, **_: spoil(request, fault))
    code, status = NAMES[service][fault]
    with expect_refusal(code, status):
        CALLS[service](client)


def spoil(request: AWSPreparedRequest, fault: str) -> None:
    """Take from a signed request what this fault is about; keys are wrong before signing."""
    if fault == "no credentials":
        del request.headers["Authorization"]
    if fault == "malformed":
        request.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=AKID"


class TestChangedAfterSigning:
    def test_the_request_is_let_in_as_it_was_signed(self, raw: RawClient) -> None:
        assert raw.send(raw.signed(LIST)).status == 404

    @pytest.mark.parametrize(
        "target",
        [
            LIST.target.replace("cdef0", "cdef1"),
            LIST.target.replace("=100", "=101"),
            LIST.target + "&pageToken=AAAA",
            LIST.target.partition("&")[0],
        ],
        ids=["path", "query value", "query member added", "query member removed"],
    )
    def test_a_changed_target_is_refused(self, raw: RawClient, target: str) -> None:
        answer = raw.send(replace(raw.signed(LIST), target=target))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_changed_method_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(RawRequest("GET", f"/snapshots/{NO_SNAPSHOT}/blocks/0?blockToken=AAAA"))
        answer = raw.send(replace(signed, method="PUT", headers={**signed.headers, **PUT_HEADERS}, body=A))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_changed_host_is_refused(self, raw: RawClient) -> None:
        answer = raw.send(with_header(raw.signed(LIST), "Host", "ebs.example.com"))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_changed_date_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST, at=datetime.now(UTC) - timedelta(seconds=30))
        answer = raw.send(with_header(signed, "X-Amz-Date", datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_changed_checksum_is_refused_before_the_body_counts(self, raw: RawClient, ebs: Client) -> None:
        request = RawRequest("PUT", f"/snapshots/{started(ebs)}/blocks/0", PUT_HEADERS | UNSIGNED_PAYLOAD, A)
        forged = replace(with_header(raw.signed(request), "x-amz-Checksum", checksum(B)), body=B)
        answer = raw.send(forged)
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")
        assert "x-amz-Checksum" not in answer.json["message"]

    def test_a_changed_body_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(RawRequest("POST", "/snapshots", {}, b'{"VolumeSize":1}'))
        answer = raw.send(replace(signed, body=b'{"VolumeSize":2}'))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_changed_form_is_refused(self, raw: RawClient) -> None:
        answer = raw.send(
            replace(raw.signed(DESCRIBE, service="ec2"), body=b"Action=DescribeSnapshots&Version=2016-11-15")
        )
        assert ec2_code(answer) == (401, "AuthFailure")

    def test_a_changed_signature_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST)
        last = authorization(signed)[-1]
        changed = authorization(signed)[:-1] + ("0" if last != "0" else "1")
        answer = raw.send(with_header(signed, "Authorization", changed))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_another_scope_than_the_signed_one_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST, region="eu-west-1")
        moved = authorization(signed).replace("/eu-west-1/", "/us-east-1/")
        answer = raw.send(with_header(signed, "Authorization", moved))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")


class TestMalformed:
    @pytest.mark.parametrize(
        "value",
        [
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=AKID",
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/ebs/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=AKID/eu-central-1/ebs, SignedHeaders=host;x-amz-date, Signature=00",
        ],
    )
    def test_a_header_without_all_its_parts_is_incomplete(self, raw: RawClient, value: str) -> None:
        answer = raw.send(with_header(raw.signed(LIST), "Authorization", value))
        assert (answer.status, answer.code) == (403, "IncompleteSignatureException")

    def test_ec2_calls_it_incomplete_signature(self, raw: RawClient) -> None:
        signed = raw.signed(DESCRIBE, service="ec2")
        without_signature = authorization(signed).partition(", Signature")[0]
        assert ec2_code(raw.send(with_header(signed, "Authorization", without_signature))) == (
            400,
            "IncompleteSignature",
        )

    def test_another_algorithm_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST)
        value = authorization(signed).replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
        answer = raw.send(with_header(signed, "Authorization", value))
        assert answer.status == 403

    def test_another_end_of_scope_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST)
        value = authorization(signed).replace("aws4_request", "aws5_request")
        assert raw.send(with_header(signed, "Authorization", value)).status == 403

    def test_a_signature_in_headers_and_in_the_query_at_once_is_incomplete(self, raw: RawClient) -> None:
        target = raw.presigned(LIST).target
        answer = raw.send(raw.signed(RawRequest("GET", target)))
        assert (answer.status, answer.code) == (403, "IncompleteSignatureException")

    def test_a_signature_without_a_date_is_refused(self, raw: RawClient) -> None:
        signed = raw.signed(LIST)
        dateless = {name: value for name, value in signed.headers.items() if name != "X-Amz-Date"}
        assert raw.send(replace(signed, headers=dateless)).status == 403

    @pytest.mark.parametrize("header", ["host", "x-amz-date"])
    def test_host_and_date_must_be_signed(self, raw: RawClient, header: str) -> None:
        assert raw.send(raw.signed(LIST, left_out=[header])).status == 403


class TestClock:
    @pytest.mark.parametrize("minutes", [-14, 14])
    def test_a_clock_may_be_off_by_14_minutes(self, raw: RawClient, minutes: int) -> None:
        assert raw.send(raw.signed(LIST, at=datetime.now(UTC) + timedelta(minutes=minutes))).status == 404

    @pytest.mark.parametrize(
        ("minutes", "text"),
        [
            (-16, r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 15 min\.\)"),
            (16, r"Signature not yet current: .+"),
        ],
    )
    def test_a_clock_off_by_16_minutes_is_refused(self, raw: RawClient, minutes: int, text: str) -> None:
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        answer = raw.send(raw.signed(LIST, at=at))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")
        assert re.fullmatch(text, answer.json["message"])
        assert at.strftime("%Y%m%dT%H%M%SZ") in answer.json["message"]
        assert ec2_code(raw.send(raw.signed(DESCRIBE, service="ec2", at=at))) == (400, "RequestExpired")

    def test_a_scope_of_another_day_than_the_date_is_refused(self, raw: RawClient) -> None:
        now = datetime.now(UTC)
        assert raw.send(raw.signed(LIST, at=now, scope_date=f"{now:%Y%m%d}")).status == 404
        answer = raw.send(raw.signed(LIST, at=now, scope_date=f"{now - timedelta(days=1):%Y%m%d}"))
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_the_date_header_may_stand_for_x_amz_date(self, raw: RawClient) -> None:
        request = replace(LIST, headers={"Date": format_datetime(datetime.now(UTC), usegmt=True)})
        signed = raw.signed(request)
        assert "X-Amz-Date" not in signed.headers
        assert raw.send(signed).status == 404


class TestCanonicalForm:
    def test_runs_of_spaces_in_a_signed_header_are_one_space(self, raw: RawClient) -> None:
        request = replace(LIST, headers={"x-amz-note": "several   spaces   here"})
        assert raw.send(raw.signed(request)).status == 404

    def test_an_encoded_path_is_encoded_once_more(self, raw: RawClient) -> None:
        answer = raw.request("GET", "/snapshots/snap-%2F%3A%20x/blocks")
        assert (answer.status, answer.code) == (400, "ValidationException")

    def test_query_members_are_sorted_for_signing_and_may_come_in_any_order(self, raw: RawClient) -> None:
        signed = raw.signed(LIST)
        path, _, query = signed.target.partition("?")
        swapped = f"{path}?{'&'.join(reversed(query.split('&')))}"
        assert raw.send(replace(signed, target=swapped)).status == 404

    def test_headers_that_are_not_signed_may_be_added(self, raw: RawClient) -> None:
        signed = with_header(raw.signed(LIST), "amz-sdk-invocation-id", "1")
        assert raw.send(with_header(signed, "X-Forwarded-For", "192.0.2.1")).status == 404


class TestPayload:
    def put(self, raw: RawClient, snapshot_id: str, headers: dict[str, str], data: bytes = A) -> Answer:
        return raw.request("PUT", f"/snapshots/{snapshot_id}/blocks/0", PUT_HEADERS | headers, data)

    def test_a_put_may_leave_its_body_unsigned(self, raw: RawClient, ebs: Client) -> None:
        assert self.put(raw, started(ebs), UNSIGNED_PAYLOAD).status == 201

    def test_a_put_may_sign_its_body_and_say_its_hash(self, raw: RawClient, ebs: Client) -> None:
        headers = {"X-Amz-Content-SHA256": hashlib.sha256(A).hexdigest()}
        assert self.put(raw, started(ebs), headers).status == 201

    def test_a_put_may_sign_its_body_without_saying_so(self, raw: RawClient, ebs: Client) -> None:
        assert self.put(raw, started(ebs), {}).status == 201

    def test_a_put_of_another_body_than_the_signed_one_is_refused(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        for headers in ({}, {"X-Amz-Content-SHA256": hashlib.sha256(A).hexdigest()}):
            request = RawRequest("PUT", f"/snapshots/{snapshot_id}/blocks/0", PUT_HEADERS | headers, A)
            answer = raw.send(replace(raw.signed(request), body=B))
            assert (answer.status, answer.code) == (403, "InvalidSignatureException")
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)["Status"] == "completed"

    def test_a_put_may_carry_its_checksum_headers_unsigned(self, raw: RawClient, ebs: Client) -> None:
        headers = UNSIGNED_PAYLOAD | PUT_HEADERS | {"x-amz-Checksum": checksum(ZERO)}
        request = RawRequest("PUT", f"/snapshots/{started(ebs)}/blocks/0", headers, ZERO)
        assert raw.send(raw.signed(request, left_out=[name.lower() for name in PUT_HEADERS])).status == 201

    def test_only_a_put_may_leave_its_body_unsigned(self, raw: RawClient) -> None:
        answer = raw.request("POST", "/snapshots", UNSIGNED_PAYLOAD, b'{"VolumeSize":1}')
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_hash_that_is_not_the_bodys_is_refused(self, raw: RawClient) -> None:
        headers = {"X-Amz-Content-SHA256": hashlib.sha256(b"another body").hexdigest()}
        answer = raw.request("POST", "/snapshots", headers, b'{"VolumeSize":1}')
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")

    def test_a_streaming_signature_is_refused(self, raw: RawClient, ebs: Client) -> None:
        headers = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
        assert self.put(raw, started(ebs), headers).status in {400, 403}


def test_a_signature_opens_only_the_region_it_names(ebs: Client, ebs_elsewhere: Client) -> None:
    snapshot_id = completed(ebs, {})
    assert ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"] == []
    with expect_refusal("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"):
        ebs_elsewhere.list_snapshot_blocks(SnapshotId=snapshot_id)
