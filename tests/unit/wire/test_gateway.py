"""The gateway: which service answers, what reaches an operation, what does not, and what the log is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from snapstone.core.errors import DryRunPassedError, SnapshotNotFoundError
from snapstone.core.ids import Region
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller, Engine
from snapstone.wire.gateway import Gateway
from snapstone.wire.http import ClientGoneError, Request, Response
from tests.unit.wire.requests import (
    ACCOUNT,
    KEY,
    REGION,
    REQUEST_ID,
    EngineParts,
    MemoryBody,
    presigned,
    request,
    signed,
    signed_at_ms,
)
from tests.unit.wire.test_models import EBS

EC2 = ("DescribeSnapshots", "DeleteSnapshot", "DescribeRegions")
SNAPSHOT = "snap-0123456789abcdef0"
PUT = f"/snapshots/{SNAPSHOT}/blocks/5"
ZERO_CHECKSUM = "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE="
PUT_HEADERS = {
    "x-amz-Data-Length": "524288",
    "x-amz-Checksum": ZERO_CHECKSUM,
    "x-amz-Checksum-Algorithm": "SHA256",
    "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass
class Operations:
    """Fakes for all operation functions: they note their arguments and do as told."""

    output: Mapping[str, object] | None = None
    error: Exception | None = None
    then: Callable[[], None] = lambda: None
    """What happens while an operation is under way."""
    calls: list[tuple[str, Caller, dict[str, object]]] = field(default_factory=list)

    def table(self) -> dict[str, dict[str, Callable[..., Mapping[str, object] | None]]]:
        return {"ebs": {name: self._fake(name) for name in EBS}, "ec2": {name: self._fake(name) for name in EC2}}

    def _fake(self, name: str) -> Callable[..., Mapping[str, object] | None]:
        def fake(engine: Engine, caller: Caller, **members: object) -> Mapping[str, object] | None:
            self.calls.append((name, caller, members))
            if self.error is not None:
                raise self.error
            self.then()
            return self.output

        return fake


def gateway(operations: Operations | None = None, parts: EngineParts | None = None) -> Gateway:
    return Gateway((parts or EngineParts()).engine(), (operations or Operations()).table())


def code_of(response: Response) -> str:
    stated = dict(response.headers).get("x-amzn-ErrorType")
    if stated is not None:
        return stated.partition(":")[0]
    found = re.search("<Code>(.*?)</Code>", text_of(response))
    return found[1] if found else ""


def text_of(response: Response) -> str:
    return b"".join(response.body).decode()


class TestLostStore:
    """What changes something is neither begun nor told of as done once the store is lost."""

    DELETE = b"Action=DeleteSnapshot&Version=2016-11-15&SnapshotId=snap-1"
    DESCRIBE = b"Action=DescribeSnapshots&Version=2016-11-15"

    def test_a_put_is_refused_and_its_body_left_unread(self) -> None:
        operations, parts = Operations({}), EngineParts()
        parts.gate.close("the data folder is gone")
        made = signed("PUT", PUT, PUT_HEADERS)
        body = MemoryBody(bytes(524_288))
        made.body = body
        response = gateway(operations, parts)(made)
        assert (response.status, code_of(response)) == (500, "InternalServerException")
        assert "data folder" in text_of(response)
        assert (body.read_count, operations.calls) == (0, [])

    def test_a_put_that_was_under_way_is_not_acknowledged(self) -> None:
        parts = EngineParts()
        operations = Operations({}, then=lambda: parts.gate.close("the data folder is gone"))
        response = gateway(operations, parts)(signed("PUT", PUT, PUT_HEADERS))
        assert [name for name, _, _ in operations.calls] == ["PutSnapshotBlock"]
        assert (response.status, code_of(response)) == (500, "InternalServerException")

    def test_a_delete_is_refused_and_reading_goes_on(self) -> None:
        parts = EngineParts()
        parts.gate.close("the data folder is gone")
        refused = gateway(Operations({}), parts)(signed("POST", "/", FORM, self.DELETE, service="ec2"))
        assert (refused.status, code_of(refused)) == (503, "Unavailable")
        read = gateway(Operations({"Snapshots": []}), parts)(signed("POST", "/", FORM, self.DESCRIBE, service="ec2"))
        assert read.status == 200

    def test_all_is_as_before_once_it_is_back(self) -> None:
        parts = EngineParts()
        parts.gate.close("the data folder is gone")
        parts.gate.open()
        answer = gateway(Operations({}), parts)(signed("POST", "/", FORM, self.DELETE, service="ec2"))
        assert answer.status == 200


class TestCalls:
    def test_a_put_reaches_its_operation_with_the_body_unread(self) -> None:
        operations = Operations({"Checksum": "c", "ChecksumAlgorithm": "SHA256"})
        made = signed("PUT", PUT, PUT_HEADERS)
        body = MemoryBody(bytes(524_288))
        made.body = body
        response = gateway(operations)(made)
        assert (response.status, text_of(response)) == (201, "{}")
        assert body.read_count == 0
        assert operations.calls == [
            (
                "PutSnapshotBlock",
                Caller(ACCOUNT, Region(REGION), KEY.access_key_id, root_principal(ACCOUNT)),
                {
                    "snapshot_id": SNAPSHOT,
                    "block_index": 5,
                    "block_data": body,
                    "data_length": 524_288,
                    "checksum": ZERO_CHECKSUM,
                    "checksum_algorithm": "SHA256",
                },
            )
        ]

    def test_a_start_reaches_its_operation(self) -> None:
        operations = Operations({"SnapshotId": SNAPSHOT})
        response = gateway(operations)(signed("POST", "/base/snapshots", {}, b'{"VolumeSize": 1, "Timeout": null}'))
        assert response.status == 201
        assert [(name, members) for name, _, members in operations.calls] == [("StartSnapshot", {"volume_size": 1})]
        assert response.log["snapshot_id"] == SNAPSHOT

    def test_a_chunked_body_is_read(self) -> None:
        operations = Operations({})
        made = signed("POST", "/snapshots", {}, b'{"VolumeSize": 1}')
        made.body = MemoryBody(b'{"VolumeSize": 1}', chunked=True)
        assert gateway(operations)(made).status == 201

    def test_an_ec2_call_reaches_its_operation(self) -> None:
        operations = Operations()
        form = b"Action=DeleteSnapshot&Version=2016-11-15&SnapshotId=snap-1&DryRun=false"
        response = gateway(operations)(signed("POST", "/", FORM, form, service="ec2"))
        assert (response.status, "<return>true</return>" in text_of(response)) == (200, True)
        assert [(name, members) for name, _, members in operations.calls] == [
            ("DeleteSnapshot", {"snapshot_id": "snap-1", "dry_run": False})
        ]
        assert response.log == {
            "service": "ec2",
            "operation": "DeleteSnapshot",
            "region": REGION,
            "access_key_id": KEY.access_key_id,
            "snapshot_id": "snap-1",
        }

    def test_the_scope_and_not_the_path_says_which_service(self) -> None:
        assert code_of(gateway()(signed("POST", "/snapshots", FORM, b"Action=X", service="ec2"))) == "InvalidAction"
        assert code_of(gateway()(signed("POST", "/", FORM, b"Action=X", service="ebs"))) == "UnknownOperationException"

    def test_a_presigned_list_is_answered(self) -> None:
        made = presigned("GET", f"/snapshots/{SNAPSHOT}/blocks?pageToken=a%2Bb&maxResults=100")
        operations = Operations({})
        assert gateway(operations)(made).status == 200
        assert operations.calls[0][2] == {"snapshot_id": SNAPSHOT, "next_token": "a+b", "max_results": 100}

    @pytest.mark.parametrize("extra", [{}, {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}])
    def test_a_presigned_put_is_accepted_where_its_checksum_is_signed(self, extra: dict[str, str]) -> None:
        headers = {name: value for name, value in PUT_HEADERS.items() if name != "X-Amz-Content-SHA256"} | extra
        made = presigned("PUT", PUT, {name.lower(): value for name, value in headers.items()}, bytes(524_288))
        assert gateway(Operations({}))(made).status == 201

    def test_a_presigned_start_without_a_body_lacks_its_members(self) -> None:
        response = gateway()(presigned("POST", "/snapshots?VolumeSize=1"))
        assert (response.status, code_of(response)) == (400, "ValidationException")
        assert "Value null at 'volumeSize'" in text_of(response)

    def test_a_presigned_start_with_a_body_is_refused(self) -> None:
        response = gateway()(presigned("POST", "/snapshots", {}, b'{"VolumeSize": 1}'))
        assert (response.status, code_of(response)) == (403, "InvalidSignatureException")


class TestRefusals:
    @pytest.mark.parametrize(
        ("method", "target", "code"),
        [
            ("GET", f"/snapshots/{SNAPSHOT}/blocks", "MissingAuthenticationTokenException"),
            ("PUT", PUT, "MissingAuthenticationTokenException"),
            ("GET", "/metrics", "MissingAuthenticationTokenException"),
            ("POST", "/health", "MissingAuthenticationTokenException"),
            ("GET", "/health/x", "MissingAuthenticationTokenException"),
            ("POST", "/", "MissingAuthenticationToken"),
            ("GET", "/?Action=DescribeRegions", "MissingAuthenticationToken"),
        ],
    )
    def test_nothing_unsigned_gets_in(self, method: str, target: str, code: str) -> None:
        operations, body = Operations(), MemoryBody(b"Action=DescribeRegions")
        response = gateway(operations)(request(method, target, {}, body))
        assert (response.status, code_of(response)) == (403, code)
        assert (operations.calls, body.read_count, response.log["error"]) == ([], 0, code)

    @pytest.mark.parametrize(
        ("service", "method", "target", "body", "forbidden"),
        [
            ("ebs", "PUT", PUT, b"", (403, "InvalidSignatureException")),
            ("ebs", "POST", "/snapshots", b'{"VolumeSize": 1}', (403, "InvalidSignatureException")),
            ("ec2", "POST", "/", b"Action=DescribeRegions", (401, "AuthFailure")),
        ],
    )
    def test_a_forged_signature_never_reaches_an_operation(
        self, service: str, method: str, target: str, body: bytes, forbidden: tuple[int, str]
    ) -> None:
        operations = Operations()
        made = signed(method, target, PUT_HEADERS if method == "PUT" else FORM, body, service=service)
        made.headers["authorization"] = made.headers["authorization"][:-64] + "0" * 64
        response = gateway(operations)(made)
        assert (response.status, code_of(response), operations.calls) == (*forbidden, [])

    @pytest.mark.parametrize(
        ("service", "seconds", "refused"),
        [
            ("ebs", 901, (403, "InvalidSignatureException")),
            ("ebs", -901, (403, "InvalidSignatureException")),
            ("ec2", 901, (400, "RequestExpired")),
        ],
    )
    def test_a_wrong_clock_is_told_before_a_body_is_read(
        self, service: str, seconds: int, refused: tuple[int, str]
    ) -> None:
        made = signed("POST", "/snapshots", FORM, b"{}", service=service)
        body = MemoryBody(b"{}")
        made.body = body
        response = gateway(parts=EngineParts(now=signed_at_ms(made) + seconds * 1000))(made)
        assert (response.status, code_of(response), body.read_count) == (*refused, 0)

    @pytest.mark.parametrize(("service", "code"), [("ebs", "UnrecognizedClientException"), ("ec2", "AuthFailure")])
    def test_an_unknown_region_is_named(self, service: str, code: str) -> None:
        parts = EngineParts()
        response = gateway(parts=parts)(signed("POST", "/snapshots", FORM, b"", service=service, region="mars-north-1"))
        assert (code_of(response), parts.looked_up) == (code, [])
        assert "mars-north-1" in text_of(response)

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("service", ["ebs", "ec2"])
    def test_a_body_past_its_limit_is_refused(self, service: str, chunked: bool) -> None:
        made = signed("POST", "/snapshots", FORM, b"x", service=service)
        made.body = MemoryBody(b"x" * 1_048_577, chunked=chunked)
        assert gateway()(made).status == 413

    def test_the_route_comes_before_the_signature(self) -> None:
        made = signed("GET", "/snapshots/no/such/thing")
        made.headers["authorization"] = made.headers["authorization"][:-64] + "0" * 64
        assert code_of(gateway()(made)) == "UnknownOperationException"

    def test_the_signature_comes_before_constraints_and_constraints_before_the_operation(self) -> None:
        operations = Operations()
        made = signed("PUT", "/snapshots/Snap-1/blocks/-1", PUT_HEADERS)
        response = gateway(operations)(made)
        assert text_of(response).startswith('{"message":"2 validation errors detected: ')
        made.headers["authorization"] = made.headers["authorization"][:-64] + "0" * 64
        assert code_of(gateway(operations)(made)) == "InvalidSignatureException"
        assert operations.calls == []

    def test_an_encoded_block_is_refused_before_it_is_read(self) -> None:
        made = signed("PUT", PUT, PUT_HEADERS | {"Content-Encoding": "gzip"})
        body = MemoryBody(bytes(524_288))
        made.body = body
        response = gateway()(made)
        assert json.loads(text_of(response))["Reason"] == "INVALID_CONTENT_ENCODING"
        assert body.read_count == 0

    def test_an_operations_error_is_a_fault_of_its_protocol(self) -> None:
        operations = Operations(error=SnapshotNotFoundError((SNAPSHOT,)))
        response = gateway(operations)(signed("GET", f"/snapshots/{SNAPSHOT}/blocks"))
        assert json.loads(text_of(response)) == {
            "Message": f"The snapshot '{SNAPSHOT}' does not exist.",
            "Reason": "SNAPSHOT_NOT_FOUND",
        }
        assert response.log == {
            "service": "ebs",
            "operation": "ListSnapshotBlocks",
            "region": REGION,
            "access_key_id": KEY.access_key_id,
            "snapshot_id": SNAPSHOT,
            "error": "ResourceNotFoundException",
        }
        operations.error = DryRunPassedError()
        form = b"Action=DeleteSnapshot&SnapshotId=s&DryRun=true"
        assert gateway(operations)(signed("POST", "/", FORM, form, service="ec2")).status == 412

    @pytest.mark.parametrize("error", [ClientGoneError(), ZeroDivisionError()])
    def test_what_nobody_can_answer_is_left_to_the_listener(self, error: Exception) -> None:
        with pytest.raises(type(error)):
            gateway(Operations(error=error))(signed("GET", f"/snapshots/{SNAPSHOT}/blocks"))

    @pytest.mark.parametrize("signature", ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 \xff=\xff, ;;;,,,===", "Bearer x"])
    def test_garbage_for_a_signature_is_incomplete(self, signature: str) -> None:
        response = gateway()(request("GET", f"/snapshots/{SNAPSHOT}/blocks", {"authorization": signature}))
        assert (response.status, code_of(response)) == (403, "IncompleteSignatureException")

    def test_every_answer_has_the_request_id(self) -> None:
        made: list[Request] = [
            request("GET", "/health"),
            request("GET", "/ready"),
            request("GET", "/"),
            signed("GET", f"/snapshots/{SNAPSHOT}/blocks"),
            signed("GET", "/", service="s3"),
            signed("POST", "/", FORM, b"Action=DescribeRegions", service="ec2"),
        ]
        for each in made:
            assert dict(gateway(Operations({}))(each).headers)["x-amzn-RequestId"] == REQUEST_ID
