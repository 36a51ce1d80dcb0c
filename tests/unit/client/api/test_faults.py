"""Which fault means what.

Sources: docs/aws-behaviour/signing-and-protocols.md, ERR; docs/aws-behaviour/ebs-direct.md, EBS-STATE and EBS-PUT;
docs/aws-behaviour/throttling-and-quotas.md, RATE; AWS's common errors of EC2.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.client.api.faults import Fault, Kind, error_of, fault_of_answer, fault_of_response, kind_of
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
        (Fault("RequestThrottledException", "", 400, "ACCOUNT_THROTTLED"), Kind.THROTTLED),
        (Fault("ThrottlingException", "", 400), Kind.THROTTLED),
        (Fault("RequestLimitExceeded", "", 503), Kind.THROTTLED),
        (Fault("HTTP 429", "", 429), Kind.THROTTLED),
        (Fault("InternalServerException", "", 500), Kind.BROKEN),
        (Fault("HTTP 500", "", 500), Kind.BROKEN),
        (Fault("HTTP 502", "", 502), Kind.BROKEN),
        (Fault("HTTP 408", "", 408), Kind.BROKEN),
        (Fault("HTTP 499", "", 499), Kind.REFUSED),
        (Fault("ValidationException", "Failed to read block data", 400, "INVALID_PARAMETER_VALUE"), Kind.BROKEN),
        (Fault("ValidationException", "", 400, "WRITE_REQUEST_TIMEOUT"), Kind.BROKEN),
        (Fault("InvalidSignatureException", MISMATCH, 403), Kind.CORRUPT),
        (Fault("InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027", 403), Kind.SKEWED),
        (Fault("RequestExpired", "Request has expired.", 400), Kind.SKEWED),
        (Fault("InvalidSignatureException", "The request signature we calculated does not match", 403), Kind.DENIED),
        (Fault("ExpiredTokenException", "", 403), Kind.EXPIRED),
        (Fault("ResourceNotFoundException", "", 404, "SNAPSHOT_NOT_FOUND"), Kind.ABSENT),
        (Fault("InvalidSnapshot.NotFound", "", 400), Kind.ABSENT),
        (Fault("ValidationException", "Source snapshot (snap-1) is not complete.", 400), Kind.NOT_READY),
        (Fault("AccessDeniedException", "", 403), Kind.DENIED),
        (Fault("UnauthorizedOperation", "", 403), Kind.DENIED),
        (Fault("ValidationException", "", 400, "UNRELATED_SNAPSHOTS"), Kind.REFUSED),
        (Fault("ConcurrentLimitExceededException", "", 400), Kind.REFUSED),
        (Fault("ServiceQuotaExceededException", "", 402), Kind.REFUSED),
        (Fault("InternalServerException", "", 500, cause="damaged"), Kind.DAMAGED),
        (Fault("InternalServerException", "", 500, cause="full"), Kind.FULL),
        (Fault("Unavailable", "", 503, cause="lost"), Kind.LOST),
        (Fault("InternalServerException", "", 500, cause="of a later release"), Kind.BROKEN),
    ],
)
def test_a_fault_is_of_its_kind(fault: Fault, kind: Kind) -> None:
    assert kind_of(fault) is kind


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("ThrottlingException", "slow", 400), ThrottledOutError),
        (Fault("InternalServerException", "oops", 500), UnreachableError),
        (Fault("InternalServerException", "oops", 500, cause="damaged"), DamagedError),
        (Fault("InternalServerException", "oops", 500, cause="full"), NoSpaceError),
        (Fault("InternalServerException", "oops", 500, cause="lost"), UnreachableError),
        (Fault("InvalidSignatureException", MISMATCH, 403), DamagedError),
        (Fault("ExpiredTokenException", "over", 403), ExpiredCredentialsError),
        (Fault("ResourceNotFoundException", "gone", 404), NotFoundError),
        (Fault("AccessDeniedException", "no", 403), DeniedError),
        (Fault("ConflictException", "other request", 409), RemoteError),
    ],
)
def test_an_error_names_action_code_message_and_request(fault: Fault, error: type[ClientError]) -> None:
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
    assert fault == Fault(
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
    assert (fault.code, kind_of(fault)) == ("HTTP 502", Kind.BROKEN)


def test_what_botocore_parsed_becomes_a_fault() -> None:
    fault = fault_of_response(
        {
            "Error": {"Code": "UnauthorizedOperation", "Message": "You are not authorized"},
            "Reason": "X",
            "ResponseMetadata": {"HTTPStatusCode": 403, "RequestId": "r-2", "HTTPHeaders": {"date": "now"}},
        }
    )
    assert fault == Fault("UnauthorizedOperation", "You are not authorized", 403, "X", "r-2", "now")


def test_the_cause_that_snapstone_adds_is_read_from_either_answer() -> None:
    raw = fault_of_answer(500, {"x-snapstone-cause": "damaged"}, b'{"Message":"oops"}')
    parsed = fault_of_response({"ResponseMetadata": {"HTTPHeaders": {"x-snapstone-cause": "full"}}})
    assert (raw.cause, parsed.cause) == ("damaged", "full")


@pytest.mark.parametrize(("cause", "advice"), [("damaged", "again"), ("full", "make room"), ("lost", "data folder")])
def test_an_error_of_the_servers_storage_says_what_to_do(cause: str, advice: str) -> None:
    found = error_of(Fault("InternalServerException", "oops", 500, cause=cause), "put block 7 of snap-1")
    assert advice in str(found)
    assert found.resumable is (cause != "damaged")
