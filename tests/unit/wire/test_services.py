"""STS, IAM, KMS, rbin and S3 by their own protocols: requests written by hand, answers as the protocols have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from snapstone.core.errors import (
    AccessDeniedError,
    DamageError,
    EntityAlreadyExistsError,
    KmsKeyDisabledError,
    KmsKeyNotFoundError,
    NoSuchEntityError,
    SnapstoneError,
)
from snapstone.wire.gateway import Gateway
from snapstone.wire.http import Response
from tests.unit.wire.requests import REQUEST_ID, EngineParts, request, signed

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
STS_VERSION = "2011-06-15"
IAM_VERSION = "2010-05-08"


class Asked:
    """Operations that note their members and answer or raise as told."""

    def __init__(self, output: Mapping[str, object] | None = None, error: SnapstoneError | None = None) -> None:
        self.members: dict[str, object] = {}
        self._output = output
        self._error = error

    def __call__(self, engine: object, caller: object, **members: object) -> Mapping[str, object] | None:
        self.members = members
        if self._error is not None:
            raise self._error
        return self._output


def answered(service: str, operation: str, asked: Asked, made: Any) -> Response:
    table: dict[str, dict[str, Any]] = {"ebs": {}, "ec2": {}, service: {operation: asked}}
    return Gateway(EngineParts().engine(), table)(made)


def form(service: str, text: str, version: str) -> Any:
    return signed("POST", "/", FORM, f"{text}&Version={version}".encode(), service=service)


def kms(operation: str, body: object) -> Any:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{operation}"}
    return signed("POST", "/", headers, json.dumps(body).encode(), service="kms")


def text_of(response: Response) -> str:
    return b"".join(response.body).decode()


class TestQuery:
    def test_an_answer_stands_in_its_wrapper(self) -> None:
        asked = Asked({"UserId": "111122223333", "Account": "111122223333", "Arn": "arn:aws:iam::111122223333:root"})
        response = answered("sts", "GetCallerIdentity", asked, form("sts", "Action=GetCallerIdentity", STS_VERSION))
        assert text_of(response) == (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            "<UserId>111122223333</UserId><Account>111122223333</Account><Arn>arn:aws:iam::111122223333:root</Arn>"
            f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
            "</GetCallerIdentityResponse>"
        )

    def test_lists_are_read_by_member_and_number(self) -> None:
        asked = Asked()
        tags = "Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.3.Key=b&Tags.member.3.Value="
        text = f"Action=TagUser&UserName=ada&{tags}"
        assert answered("iam", "TagUser", asked, form("iam", text, IAM_VERSION)).status == 200
        assert asked.members == {
            "user_name": "ada",
            "tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
        }

    def test_an_empty_list_is_sent_as_its_name_alone(self) -> None:
        asked = Asked()
        answered("iam", "TagUser", asked, form("iam", "Action=TagUser&UserName=ada&Tags=", IAM_VERSION))
        assert asked.members == {"user_name": "ada", "tags": []}

    def test_an_operation_without_output_has_no_result(self) -> None:
        response = answered("iam", "DeleteUser", Asked(), form("iam", "Action=DeleteUser&UserName=ada", IAM_VERSION))
        assert "Result>" not in text_of(response)
        assert f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>" in text_of(response)

    def test_a_list_in_an_answer_is_of_members(self) -> None:
        asked = Asked({"PolicyNames": ["a", "b"], "IsTruncated": False})
        response = answered(
            "iam", "ListUserPolicies", asked, form("iam", "Action=ListUserPolicies&UserName=ada", IAM_VERSION)
        )
        assert "<PolicyNames><member>a</member><member>b</member></PolicyNames>" in text_of(response)
        assert "<IsTruncated>false</IsTruncated>" in text_of(response)

    @pytest.mark.parametrize(
        ("error", "status", "code", "blamed"),
        [
            (NoSuchEntityError("m"), 404, "NoSuchEntity", "Sender"),
            (EntityAlreadyExistsError("m"), 409, "EntityAlreadyExists", "Sender"),
            (AccessDeniedError("arn", "iam:GetUser", "*", explicit=False), 403, "AccessDenied", "Sender"),
            (DamageError("a", "b"), 500, "InternalFailure", "Receiver"),
        ],
    )
    def test_faults(self, error: SnapstoneError, status: int, code: str, blamed: str) -> None:
        response = answered("iam", "GetUser", Asked(error=error), form("iam", "Action=GetUser", IAM_VERSION))
        assert response.status == status
        assert f"<Error><Type>{blamed}</Type><Code>{code}</Code>" in text_of(response)
        assert text_of(response).endswith(f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>")

    def test_a_missing_member_is_a_validation_error(self) -> None:
        response = answered("iam", "GetRole", Asked(), form("iam", "Action=GetRole", IAM_VERSION))
        assert (response.status, "<Code>ValidationError</Code>" in text_of(response)) == (400, True)
        assert "roleName" in text_of(response)

    @pytest.mark.parametrize(
        "text", [f"Action=GetCallerIdentity&Version={IAM_VERSION}", f"Action=Fly&Version={STS_VERSION}"]
    )
    def test_another_services_version_and_an_unknown_action_are_refused(self, text: str) -> None:
        made = signed("POST", "/", FORM, text.encode(), service="sts")
        response = answered("sts", "GetCallerIdentity", Asked(), made)
        assert (response.status, "<Code>InvalidAction</Code>" in text_of(response)) == (400, True)

    def test_everything_may_stand_in_the_query_string(self) -> None:
        asked = Asked({"Account": "111122223333"})
        made = signed("GET", f"/?Action=GetCallerIdentity&Version={STS_VERSION}", service="sts")
        assert "<Account>111122223333</Account>" in text_of(answered("sts", "GetCallerIdentity", asked, made))


class TestJson:
    def test_members_are_read_and_answered_by_their_types(self) -> None:
        asked = Asked({"CiphertextBlob": b"\x00\x01", "KeyId": "k", "EncryptionAlgorithm": None})
        response = answered(
            "kms",
            "Encrypt",
            asked,
            kms("Encrypt", {"KeyId": "k", "Plaintext": "cA==", "EncryptionContext": {"a": "b"}}),
        )
        assert asked.members == {"key_id": "k", "plaintext": b"p", "encryption_context": {"a": "b"}}
        assert json.loads(text_of(response)) == {"CiphertextBlob": "AAE=", "KeyId": "k"}
        assert ("Content-Type", "application/x-amz-json-1.1") in response.headers

    def test_times_are_seconds_with_a_fraction(self) -> None:
        asked = Asked({"KeyMetadata": {"KeyId": "k", "CreationDate": 1_790_337_440_328}})
        response = answered("kms", "DescribeKey", asked, kms("DescribeKey", {"KeyId": "k"}))
        assert json.loads(text_of(response))["KeyMetadata"]["CreationDate"] == 1_790_337_440.328

    def test_an_operation_without_output_has_an_empty_body(self) -> None:
        response = answered("kms", "EnableKey", Asked(), kms("EnableKey", {"KeyId": "k"}))
        assert (response.status, text_of(response)) == (200, "")

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (KmsKeyNotFoundError("m"), 400, "NotFoundException"),
            (KmsKeyDisabledError("arn"), 400, "DisabledException"),
            (AccessDeniedError("arn", "kms:DescribeKey", "*", explicit=True), 400, "AccessDeniedException"),
            (DamageError("a", "b"), 500, "KMSInternalException"),
        ],
    )
    def test_faults(self, error: SnapstoneError, status: int, code: str) -> None:
        response = answered("kms", "DescribeKey", Asked(error=error), kms("DescribeKey", {"KeyId": "k"}))
        assert (response.status, json.loads(text_of(response))["__type"]) == (status, code)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"KeyId": "k", "Plaintext": "no base64!"}, "SerializationException"),
            ({"KeyId": "k"}, "ValidationException"),
            ({"KeyId": "k", "Plaintext": ""}, "ValidationException"),
            ({"KeyId": "k", "Plaintext": "cA==", "EncryptionContext": {"a": None}}, "SerializationException"),
            ({"KeyId": "k", "Plaintext": "cA==", "EncryptionContext": {"\ud800": "b"}}, "SerializationException"),
            ({"KeyId": "k", "Plaintext": "cA==", "EncryptionContext": {"a": ["b"]}}, "SerializationException"),
        ],
    )
    def test_wrong_members_are_refused(self, body: object, code: str) -> None:
        asked = Asked()
        response = answered("kms", "Encrypt", asked, kms("Encrypt", body))
        assert (response.status, json.loads(text_of(response))["__type"]) == (400, code)
        assert asked.members == {}

    def test_an_unknown_operation_and_no_target_are_refused(self) -> None:
        for made in (kms("Fly", {}), signed("POST", "/", {}, b"{}", service="kms")):
            response = answered("kms", "Encrypt", Asked(), made)
            assert (response.status, json.loads(text_of(response))["__type"]) == (400, "UnknownOperationException")


@pytest.mark.parametrize(
    ("service", "made", "named"),
    [
        ("kms", kms("Fly", {}), "Fly"),
        ("kms", signed("POST", "/", {"x-amz-target": "Other.Fly"}, b"{}", service="kms"), "Other.Fly"),
        ("sts", form("sts", "Action=Fly", STS_VERSION), "Fly"),
        ("rbin", signed("POST", "/fly", service="rbin"), "POST /fly"),
    ],
)
def test_an_operation_that_is_not_offered_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture, service: str, made: Any, named: str
) -> None:
    operation = {"kms": "ListKeys", "sts": "GetCallerIdentity", "rbin": "ListRules"}[service]
    with caplog.at_level("INFO", "snapstone.wire.gateway"):
        answered(service, operation, Asked(), made)
    (record,) = caplog.records
    assert (record.message, vars(record)["fields"]["operation"]) == ("operation not offered", named)


def test_the_operations_name_must_be_signed() -> None:
    made = signed("POST", "/", {"content-type": "application/x-amz-json-1.1"}, b"{}", service="kms")
    made.headers["x-amz-target"] = "TrentService.ListKeys"
    asked = Asked({"Keys": []})
    response = answered("kms", "ListKeys", asked, made)
    assert (response.status, json.loads(text_of(response))["__type"]) == (400, "IncompleteSignatureException")
    assert asked.members == {}


def test_a_target_without_a_signature_is_refused_in_the_words_of_its_service() -> None:
    made = request("POST", "/", {"x-amz-target": "TrentService.ListKeys"}, b"{}")
    response = answered("kms", "ListKeys", Asked(), made)
    assert (response.status, json.loads(text_of(response))["__type"]) == (400, "MissingAuthenticationTokenException")


def test_a_member_that_an_operation_does_not_take_is_refused() -> None:
    def list_keys(engine: object, caller: object, *, limit: int = 1) -> dict[str, object]:
        return {"Keys": [], "Truncated": False}

    table: dict[str, dict[str, Any]] = {"ebs": {}, "ec2": {}, "kms": {"ListKeys": list_keys}}
    gateway = Gateway(EngineParts().engine(), table)
    assert gateway(kms("ListKeys", {"Limit": 5})).status == 200
    refused = gateway(kms("ListKeys", {"Limit": 5, "Marker": "m"}))
    assert (refused.status, "marker" in text_of(refused)) == (400, True)


def test_lists_of_the_recycle_bin_travel_in_the_query() -> None:
    asked = Asked()
    arn = "arn:aws:rbin:eu-central-1:111122223333:rule/12345678901"
    made = signed("DELETE", f"/tags/{arn.replace(':', '%3A').replace('/', '%2F')}?tagKeys=a&tagKeys=b", service="rbin")
    assert answered("rbin", "UntagResource", asked, made).status == 204
    assert asked.members == {"resource_arn": arn, "tag_keys": ["a", "b"]}


def test_list_buckets_names_the_owner_and_nothing_else_of_s3_is_offered() -> None:
    gateway = Gateway(EngineParts().engine(), {"ebs": {}, "ec2": {}})
    listed = gateway(signed("GET", "/", service="s3"))
    assert (listed.status, "<Owner><ID>123456789012</ID>" in text_of(listed)) == (200, True)
    assert "<Buckets/>" in text_of(listed)
    for method, target in (("GET", "/bucket"), ("PUT", "/bucket"), ("POST", "/")):
        refused = gateway(signed(method, target, service="s3"))
        assert (refused.status, "AWS_ENDPOINT_URL_S3" in text_of(refused)) == (501, True)
    assert gateway(request("GET", "/")).status == 403
    unsigned_payload = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    assert gateway(signed("GET", "/", unsigned_payload, service="s3")).status == 200
    assert gateway(signed("POST", "/", unsigned_payload, service="sts")).status != 200


def test_guards_are_asked_and_witnesses_told() -> None:
    asked, seen, told = Asked({"Keys": [], "Truncated": False}), [], []
    table: dict[str, dict[str, Any]] = {"ebs": {}, "ec2": {}, "kms": {"ListKeys": asked}}
    gateway = Gateway(
        EngineParts().engine(),
        table,
        guards=[lambda call: seen.append((call.service, call.operation, dict(call.members)))],
        hooks=[lambda _request, call, response: told.append((call and call.output, response.status, code(response)))],
    )
    gateway(kms("ListKeys", {"Limit": 5}))
    gateway(kms("Fly", {}))
    gateway(signed("POST", "/", service="sns"))
    gateway(request("GET", "/snapshots"))
    assert seen == [("kms", "ListKeys", {"Limit": 5})]
    assert told == [
        ({"Keys": [], "Truncated": False}, 200, None),
        (None, 400, "UnknownOperationException"),
        (None, 501, "NotImplemented"),
        (None, 403, "MissingAuthenticationTokenException"),
    ]


def code(response: Response) -> str | None:
    """The code of the fault that hooks are told of."""
    return None if response.fault is None else response.fault.code
