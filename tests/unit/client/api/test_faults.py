"""Which fault means what.

Sources: docs/aws-behaviour/signing-and-protocols.md, ERR; docs/aws-behaviour/ebs-direct.md, EBS-STATE and EBS-PUT;
docs/aws-behaviour/throttling-and-quotas.md, RATE; AWS's common errors of EC2.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.client.api.faults import ApiFault, FaultKind, error_of, fault_of_answer, fault_of_response, kind_of
from snapstone.client.errors import (
    ClientError,
    DamagedError,
    DeniedError,
    ExpiredCredentialsError,
    NoSpaceError,
    NotFoundError,
    RemoteError,
    ThrottledOutError,
    UnreachableError,
)

MISMATCH = "The value passed in as x-amz-Checksum does not match the computed checksum. Computed checksum: X"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ApiFault("RequestThrottledException", "", 400, "ACCOUNT_THROTTLED"), FaultKind.THROTTLED),
        (ApiFault("ThrottlingException", "", 400), FaultKind.THROTTLED),
        (ApiFault("RequestLimitExceeded", "", 503), FaultKind.THROTTLED),
        (ApiFault("HTTP 429", "", 429), FaultKind.THROTTLED),
        (ApiFault("InternalServerException", "", 500), FaultKind.BROKEN),
        (ApiFault("HTTP 500", "", 500), FaultKind.BROKEN),
        (ApiFault("HTTP 502", "", 502), FaultKind.BROKEN),
        (ApiFault("HTTP 408", "", 408), FaultKind.BROKEN),
        (ApiFault("HTTP 499", "", 499), FaultKind.REFUSED),
        (
            ApiFault("ValidationException", "Failed to read block data", 400, "INVALID_PARAMETER_VALUE"),
            FaultKind.BROKEN,
        ),
        (ApiFault("ValidationException", "", 400, "WRITE_REQUEST_TIMEOUT"), FaultKind.BROKEN),
        (ApiFault("InvalidSignatureException", MISMATCH, 403), FaultKind.CORRUPT),
        (
            ApiFault("InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027", 403),
            FaultKind.SKEWED,
        ),
        (ApiFault("RequestExpired", "Request has expired.", 400), FaultKind.SKEWED),
        (
            ApiFault("InvalidSignatureException", "The request signature we calculated does not match", 403),
            FaultKind.DENIED,
        ),
        (ApiFault("ExpiredTokenException", "", 403), FaultKind.EXPIRED),
        (ApiFault("ResourceNotFoundException", "", 404, "SNAPSHOT_NOT_FOUND"), FaultKind.ABSENT),
        (ApiFault("InvalidSnapshot.NotFound", "", 400), FaultKind.ABSENT),
        (ApiFault("ValidationException", "Source snapshot (snap-1) is not complete.", 400), FaultKind.NOT_READY),
        (ApiFault("AccessDeniedException", "", 403), FaultKind.DENIED),
        (ApiFault("UnauthorizedOperation", "", 403), FaultKind.DENIED),
        (ApiFault("ValidationException", "", 400, "UNRELATED_SNAPSHOTS"), FaultKind.REFUSED),
        (ApiFault("ConcurrentLimitExceededException", "", 400), FaultKind.REFUSED),
        (ApiFault("ServiceQuotaExceededException", "", 402), FaultKind.REFUSED),
        (ApiFault("InternalServerException", "", 500, cause="damaged"), FaultKind.DAMAGED),
        (ApiFault("InternalServerException", "", 500, cause="full"), FaultKind.FULL),
        (ApiFault("Unavailable", "", 503, cause="lost"), FaultKind.LOST),
        (ApiFault("InternalServerException", "", 500, cause="of a later release"), FaultKind.BROKEN),
    ],
)
def test_a_fault_is_of_its_kind(fault: ApiFault, kind: FaultKind) -> None:
    assert kind_of(fault) is kind


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ApiFault("ThrottlingException", "slow", 400), ThrottledOutError),
        (ApiFault("InternalServerException", "oops", 500), UnreachableError),
        (ApiFault("InternalServerException", "oops", 500, cause="damaged"), DamagedError),
        (ApiFault("InternalServerException", "oops", 500, cause="full"), NoSpaceError),
        (ApiFault("InternalServerException", "oops", 500, cause="lost"), UnreachableError),
        (ApiFault("InvalidSignatureException", MISMATCH, 403), DamagedError),
        (ApiFault("ExpiredTokenException", "over", 403), ExpiredCredentialsError),
        (ApiFault("ResourceNotFoundException", "gone", 404), NotFoundError),
        (ApiFault("AccessDeniedException", "no", 403), DeniedError),
        (ApiFault("ConflictException", "other request", 409), RemoteError),
    ],
)
def test_an_error_names_action_code_message_and_request(fault: ApiFault, error: type[ClientError]) -> None:
    named = replace(fault, request_id="1234-request")
    found = error_of(named, "put block 7 of snap-1")
    assert type(found) is error
    for part in ("put block 7 of snap-1", fault.code, fault.message, "1234-request"):
        assert part in str(found)


def test_the_code_is_in_the_header_up_to_the_first_colon() -> None:
    headers = {
        "x-amzn-errortype": "ValidationException:http://internal.amazon.com/coral/com.amazon.zeppelindataservice/",
        "x-amzn-requestid": "r-1",
        "date": "Tue, 24 Nov 2026 12:00:00 GMT",
    }
    fault = fault_of_answer(400, headers, b'{"Message":"The block token T is invalid.","Reason":"INVALID_BLOCK_TOKEN"}')
    assert fault == ApiFault(
        "ValidationException",
        "The block token T is invalid.",
        400,
        "INVALID_BLOCK_TOKEN",
        "r-1",
        "Tue, 24 Nov 2026 12:00:00 GMT",
    )


def test_a_framework_fault_has_its_message_in_lower_case() -> None:
    fault = fault_of_answer(403, {}, b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"over"}')
    assert (fault.code, fault.message, fault.reason) == ("ExpiredTokenException", "over", None)


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[1]", b"\xff\xfe"])
def test_an_answer_of_something_else_is_named_by_its_status(body: bytes) -> None:
    fault = fault_of_answer(502, {}, body)
    assert (fault.code, kind_of(fault)) == ("HTTP 502", FaultKind.BROKEN)


def test_what_botocore_parsed_becomes_a_fault() -> None:
    fault = fault_of_response(
        {
            "Error": {"Code": "UnauthorizedOperation", "Message": "You are not authorized"},
            "Reason": "X",
            "ResponseMetadata": {"HTTPStatusCode": 403, "RequestId": "r-2", "HTTPHeaders": {"date": "now"}},
        }
    )
    assert fault == ApiFault("UnauthorizedOperation", "You are not authorized", 403, "X", "r-2", "now")


def test_the_cause_that_snapstone_adds_is_read_from_either_answer() -> None:
    raw = fault_of_answer(500, {"x-snapstone-cause": "damaged"}, b'{"Message":"oops"}')
    parsed = fault_of_response({"ResponseMetadata": {"HTTPHeaders": {"x-snapstone-cause": "full"}}})
    assert (raw.cause, parsed.cause) == ("damaged", "full")


@pytest.mark.parametrize(("cause", "advice"), [("damaged", "again"), ("full", "free space"), ("lost", "data folder")])
def test_an_error_of_the_servers_storage_says_what_to_do(cause: str, advice: str) -> None:
    found = error_of(ApiFault("InternalServerException", "oops", 500, cause=cause), "put block 7 of snap-1")
    assert advice in str(found)
    assert found.resumable is (cause != "damaged")
