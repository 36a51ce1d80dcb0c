"""The fault table: no error without a row, codes and statuses as AWS has them, words as AWS puts them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from snapstone.core import errors
from snapstone.core.errors import AccessDeniedError, SnapstoneError
from snapstone.server.fault_rules import SHORT_NAMES
from snapstone.wire import refusals
from snapstone.wire.faults import (
    EBS_STATUS,
    EC2_STATUS,
    FRAMEWORK,
    JSON_STATUS,
    MESSAGE_LIMIT,
    MODELLED,
    NEVER,
    QUERY_STATUS,
    REFUSALS,
    ROWS,
    VALIDATION,
    CodedFault,
    EbsFault,
    Protocol,
    ebs_fault,
    ec2_fault,
    json_fault,
    query_fault,
)
from snapstone.wire.http import BodyTooLargeError, Call

EBS_MODEL = ServiceModel(Loader().load_service_model("ebs", "service-2"))


KMS_MODEL = ServiceModel(Loader().load_service_model("kms", "service-2"))
IAM_MODEL = ServiceModel(Loader().load_service_model("iam", "service-2"))
STS_MODEL = ServiceModel(Loader().load_service_model("sts", "service-2"))

BELOW_THE_LISTENER = ("core", "storage", "catalog", "service", "wire")
"""The floors that a request goes through below the listener."""

NEVER_LEAVE = {
    "ClientGoneError",  # nobody is there to answer
    "EnvelopeError",
    "SessionTooLargeError",
}
"""Errors of core, service and wire that are caught before an answer is made."""


def _modules(*floors: str) -> Iterator[ModuleType]:
    """Every module of some floors, imported."""
    for floor in floors:
        package = importlib.import_module(f"snapstone.{floor}")
        yield package
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _classes_of(*floors: str) -> set[type[Exception]]:
    """Every error class that a module of these floors defines."""
    return {
        value
        for module in _modules(*floors)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__
    }


ROOTS = {SnapstoneError, refusals.WireError}
FAMILIES = {
    error for error in _classes_of(*BELOW_THE_LISTENER, "server") if issubclass(error, REFUSALS) and error not in ROOTS
}


def _named(errors: Iterable[type[Exception]]) -> list[type[Exception]]:
    return sorted(errors, key=lambda error: error.__name__)


def test_the_table_has_a_row_for_every_error_that_is_answered_and_no_other() -> None:
    assert len(FAMILIES) > 90
    assert set(ROWS) == FAMILIES


def test_every_other_error_of_core_service_and_wire_is_known_to_be_caught() -> None:
    others = _classes_of("core", "service", "wire") - FAMILIES - ROOTS
    assert {error.__name__ for error in others} == NEVER_LEAVE


@pytest.mark.parametrize("error", _named(ROWS))
def test_a_row_says_for_each_protocol_what_the_error_is(error: type[Exception]) -> None:
    codes = ROWS[error].codes
    assert set(codes) == set(Protocol)
    assert any(code is not NEVER for code in codes.values())


def _codes(protocol: Protocol) -> set[str]:
    return {code for row in ROWS.values() if isinstance(code := row.codes[protocol], str)}


COMMON_JSON_CODES = {
    *("AccessDeniedException", "ExpiredTokenException", "IncompleteSignatureException", "InvalidSignatureException"),
    *("MissingAuthenticationTokenException", "RequestEntityTooLargeException", "RequestTimeoutException"),
    *("SerializationException", "ThrottlingException", "UnknownOperationException", "UnrecognizedClientException"),
    "ValidationException",
}
"""AWS, "Common errors", and what the framework of its JSON services answers by itself."""

COMMON_QUERY_CODES = {
    *("AccessDenied", "ExpiredToken", "IncompleteSignature", "InternalFailure", "InvalidAction", "MissingAction"),
    *("InvalidClientTokenId", "MissingAuthenticationToken", "RequestEntityTooLarge", "RequestTimeout", "Throttling"),
    *("ServiceUnavailable", "SignatureDoesNotMatch", "ValidationError"),
}
"""AWS, "Common errors" of the query services."""


def test_every_code_is_one_of_its_services() -> None:
    kms = {shape.name for shape in KMS_MODEL.error_shapes}
    query = {shape.error_code for model in (IAM_MODEL, STS_MODEL) for shape in model.error_shapes}
    assert _codes(Protocol.KMS) <= kms | COMMON_JSON_CODES
    assert _codes(Protocol.QUERY) <= query | COMMON_QUERY_CODES
    assert {code.partition("/")[0] for code in _codes(Protocol.EBS)} <= set(EBS_STATUS)


def test_statuses_are_of_codes_that_the_table_has() -> None:
    assert set(EC2_STATUS) <= _codes(Protocol.EC2)
    assert set(QUERY_STATUS) <= _codes(Protocol.QUERY)
    assert set(JSON_STATUS) <= _codes(Protocol.KMS)


def _raised_in(floors: Iterable[str]) -> set[str]:
    """The names of what the modules of these floors raise."""
    raises = (
        node.exc
        for module in _modules(*floors)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Raise)
    )
    named = (raised.func if isinstance(raised, ast.Call) else raised for raised in raises)
    return {name.id for name in named if isinstance(name, ast.Name)}


@pytest.mark.parametrize(
    ("floors", "protocol"),
    [
        (
            ("service.snapshots.start", "service.snapshots.write", "service.snapshots.read", "service.visibility"),
            Protocol.EBS,
        ),
        (("service.recycle_bin",), Protocol.EBS),
        (("service.ec2",), Protocol.EC2),
        (("service.kms",), Protocol.KMS),
        (("service.iam",), Protocol.QUERY),
    ],
)
def test_an_error_that_a_service_raises_has_a_code_in_its_protocol(floors: Iterable[str], protocol: Protocol) -> None:
    by_name = {error.__name__: row for error, row in ROWS.items()}
    met = _raised_in(floors) & by_name.keys()
    assert len(met) >= 2
    assert [name for name in sorted(met) if by_name[name].codes[protocol] is NEVER] == []


def test_an_error_that_can_be_asked_for_by_fault_injection_has_a_code_in_every_protocol() -> None:
    call = SimpleNamespace(
        service="s", operation="o", members={}, caller=SimpleNamespace(principal=SimpleNamespace(arn="arn"))
    )
    for make in SHORT_NAMES.values():
        assert NEVER not in ROWS[type(make(cast(Call, call)))].codes.values()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ebs_fault, "InternalServerException"),
        (ec2_fault, "InternalError"),
        (json_fault, "KMSInternalException"),
        (query_fault, "InternalFailure"),
    ],
)
def test_an_error_that_a_protocol_was_never_to_meet_is_an_internal_failure_and_logged(
    fault: Callable[[Exception], EbsFault | CodedFault], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    class UnforeseenError(SnapstoneError):
        """One without a row."""

    never = errors.NoSuchEntityError("secret") if fault is not query_fault else errors.InvalidBlockError("secret")
    for error in (never, UnforeseenError("secret")):
        caplog.clear()
        answered = fault(error)
        assert (answered.code, answered.status) == (code, 500)
        assert "secret" not in answered.message
        [record] = caplog.records
        assert record.levelname == "ERROR"
        assert record.exc_info is not None
        assert record.exc_info[1] is error


@pytest.mark.parametrize(
    ("explicit", "why"),
    [
        (False, "because no identity-based policy allows the ebs:PutSnapshotBlock action"),
        (True, "with an explicit deny in an identity-based policy"),
    ],
)
def test_a_denial_names_who_what_and_why(explicit: bool, why: str) -> None:
    error = AccessDeniedError("arn:aws:iam::111122223333:user/u", "ebs:PutSnapshotBlock", "arn:aws:ec2:x", explicit)
    assert json_fault(error).message == (
        "User: arn:aws:iam::111122223333:user/u is not authorized to perform: ebs:PutSnapshotBlock"
        f" on resource: arn:aws:ec2:x {why}"
    )


def test_modelled_codes_have_the_models_status() -> None:
    modelled = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in EBS_MODEL.error_shapes}
    ours = {code: status for code, status in EBS_STATUS.items() if code in modelled}
    assert ours == {code: modelled[code] for code in ours}
    assert len(ours) == 8


NOT_FOUND_A_B = errors.SnapshotNotFoundError(("snap-a", "snap-b"))
INVALID = "ValidationException"


@pytest.mark.parametrize(
    ("error", "code", "status", "reason", "message"),
    [
        (
            errors.SnapshotNotFoundError(("snap-a",)),
            "ResourceNotFoundException",
            404,
            "SNAPSHOT_NOT_FOUND",
            "The snapshot 'snap-a' does not exist.",
        ),
        (
            NOT_FOUND_A_B,
            "ResourceNotFoundException",
            404,
            "SNAPSHOT_NOT_FOUND",
            "The snapshot 'snap-a' or 'snap-b' does not exist.",
        ),
        (
            errors.ParentNotCompleteError("snap-a"),
            INVALID,
            400,
            "INVALID_SNAPSHOT_ID",
            "Source snapshot (snap-a) is not complete.",
        ),
        (
            errors.SnapshotAlreadyCompletedError("snap-a"),
            INVALID,
            400,
            "INVALID_SNAPSHOT_ID",
            "Snapshot is already completed",
        ),
        (
            errors.FirstSnapshotMissingError(),
            INVALID,
            400,
            "INVALID_SNAPSHOT_ID",
            "First snapshot should not be empty or null",
        ),
        (
            errors.UnrelatedSnapshotsError("snap-a", "snap-b"),
            INVALID,
            400,
            "UNRELATED_SNAPSHOTS",
            "The snapshot snap-a and snap-b are not related.",
        ),
        (errors.InvalidVolumeSizeError("m"), INVALID, 400, "INVALID_VOLUME_SIZE", "m"),
        (errors.InvalidParameterError("m"), INVALID, 400, "INVALID_PARAMETER_VALUE", "m"),
        (errors.InvalidTagError("m"), INVALID, 400, "INVALID_TAG", "m"),
        (errors.InvalidBlockError("m"), INVALID, 400, "INVALID_BLOCK", "m"),
        (errors.InvalidBlockTokenError("T"), INVALID, 400, "INVALID_BLOCK_TOKEN", "The block token T is invalid."),
        (errors.InvalidPageTokenError("T"), INVALID, 400, "INVALID_PAGE_TOKEN", "The pagination token T is invalid."),
        (errors.UnknownKeyError("m"), INVALID, 400, "INVALID_CUSTOMER_KEY", "m"),
        (errors.KeyServiceError("m"), INVALID, 400, "INVALID_DEPENDENCY_REQUEST", "m"),
        (
            errors.IdempotencyConflictError(),
            "ConflictException",
            409,
            None,
            "Current request does not match request stored with this token.",
        ),
    ],
)
def test_the_ebs_services_own_words(error: Exception, code: str, status: int, reason: str | None, message: str) -> None:
    fault = ebs_fault(error)
    assert (fault.code, fault.status, fault.reason, fault.message) == (code, status, reason, message)
    assert (fault.namespace, fault.is_modelled) == (MODELLED, True)


@pytest.mark.parametrize(
    ("error", "code", "status", "reason"),
    [
        (errors.InvalidContentEncodingError("gzip"), INVALID, 400, "INVALID_CONTENT_ENCODING"),
        (errors.WriteTimedOutError(30.0), "InternalServerException", 500, None),
        (errors.OverloadedError("buffers"), "RequestThrottledException", 400, "ACCOUNT_THROTTLED"),
        (errors.DamageError("address", "what"), "InternalServerException", 500, None),
        (errors.StoreFullError("what"), "InternalServerException", 500, None),
    ],
)
def test_codes_of_faults_whose_words_are_ours(error: Exception, code: str, status: int, reason: str | None) -> None:
    fault = ebs_fault(error)
    assert (fault.code, fault.status, fault.reason, fault.namespace) == (code, status, reason, MODELLED)


def test_a_checksum_mismatch_is_a_signature_fault() -> None:
    fault = ebs_fault(errors.BlockChecksumMismatchError(computed="X", expected="Y"))
    assert (fault.code, fault.status, fault.reason, fault.namespace) == (
        "InvalidSignatureException",
        403,
        None,
        FRAMEWORK,
    )
    assert fault.message == (
        "The value passed in as x-amz-Checksum does not match the computed checksum. "
        "Computed checksum: X expected checksum: Y"
    )


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (refusals.MissingCredentialsError(), "MissingAuthenticationTokenException", 403),
        (refusals.MalformedSignatureError("m"), "IncompleteSignatureException", 403),
        (refusals.UnknownAccessKeyError("AKIA"), "UnrecognizedClientException", 403),
        (refusals.InvalidSessionTokenError(), "UnrecognizedClientException", 403),
        (refusals.UnknownRegionError("mars"), "UnrecognizedClientException", 403),
        (refusals.SignatureMismatchError("m"), "InvalidSignatureException", 403),
        (refusals.ClockSkewError("m"), "InvalidSignatureException", 403),
        (refusals.ExpiredSessionError(), "ExpiredTokenException", 403),
        (refusals.UnknownOperationError("GET", "/"), "UnknownOperationException", 404),
        (refusals.SerializationError("m"), "SerializationException", 400),
        (BodyTooLargeError(5), "RequestEntityTooLargeException", 413),
    ],
)
def test_faults_of_the_framework(error: Exception, code: str, status: int) -> None:
    fault = ebs_fault(error)
    assert (fault.code, fault.status, fault.reason, fault.namespace) == (code, status, None, FRAMEWORK)


def test_broken_constraints_are_counted_and_joined() -> None:
    one, two = ebs_fault(refusals.ConstraintError(("a",))), ebs_fault(refusals.ConstraintError(("a", "b")))
    assert (one.code, one.status, one.reason, one.namespace) == (INVALID, 400, None, VALIDATION)
    assert (one.message, two.message) == ("1 validation error detected: a", "2 validation errors detected: a; b")


@pytest.mark.parametrize("error", [errors.InvalidPageTokenError("t" * 256), errors.InvalidTagError("m" * 999)])
def test_a_modelled_message_has_at_most_256_characters(error: Exception) -> None:
    assert len(ebs_fault(error).message) <= MESSAGE_LIMIT == 256


@pytest.mark.parametrize(
    ("error", "code", "status", "message"),
    [
        (
            errors.SnapshotNotFoundError(("snap-a",)),
            "InvalidSnapshot.NotFound",
            400,
            "The snapshot 'snap-a' does not exist.",
        ),
        (errors.MalformedSnapshotIdError("x"), "InvalidSnapshotID.Malformed", 400, 'Invalid id: "x"'),
        (errors.InvalidParameterError("m"), "InvalidParameterValue", 400, "m"),
        (errors.InvalidParameterCombinationError("m"), "InvalidParameterCombination", 400, "m"),
        (
            errors.DryRunPassedError(),
            "DryRunOperation",
            412,
            "Request would have succeeded, but DryRun flag is set.",
        ),
        (errors.InvalidPageTokenError("T"), "InvalidNextToken", 400, "The pagination token T is invalid."),
        (
            refusals.UnknownAccessKeyError("A"),
            "AuthFailure",
            401,
            "AWS was not able to validate the provided access credentials",
        ),
        (
            refusals.SignatureMismatchError("m"),
            "AuthFailure",
            401,
            "AWS was not able to validate the provided access credentials",
        ),
        (refusals.UnknownActionError("X"), "InvalidAction", 400, "The action X is not valid for this web service."),
        (
            refusals.MissingParameterError("SnapshotId"),
            "MissingParameter",
            400,
            "The request must contain the parameter SnapshotId",
        ),
    ],
)
def test_ec2s_words(error: Exception, code: str, status: int, message: str) -> None:
    fault = ec2_fault(error)
    assert (fault.code, fault.status, fault.message) == (code, status, message)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (refusals.MissingCredentialsError(), "MissingAuthenticationToken", 403),
        (refusals.MalformedSignatureError("m"), "IncompleteSignature", 400),
        (refusals.InvalidSessionTokenError(), "AuthFailure", 401),
        (refusals.UnknownRegionError("mars"), "AuthFailure", 401),
        (refusals.ClockSkewError("m"), "RequestExpired", 400),
        (refusals.ExpiredSessionError(), "RequestExpired", 400),
        (refusals.InvalidParameterTypeError("p", "v", "integer"), "InvalidParameterValue", 400),
        (errors.OverloadedError("what"), "RequestLimitExceeded", 503),
        (errors.DamageError("address", "what"), "InternalError", 500),
    ],
)
def test_ec2s_codes(error: Exception, code: str, status: int) -> None:
    fault = ec2_fault(error)
    assert (fault.code, fault.status) == (code, status)


@pytest.mark.parametrize(
    ("error", "ec2", "query", "kms", "ebs"),
    [
        (
            refusals.InvalidSessionTokenError(),
            ("AuthFailure", 401),
            ("InvalidClientTokenId", 403),
            ("UnrecognizedClientException", 400),
            ("UnrecognizedClientException", 403),
        ),
        (
            refusals.ClockSkewError("m"),
            ("RequestExpired", 400),
            ("SignatureDoesNotMatch", 403),
            ("InvalidSignatureException", 400),
            ("InvalidSignatureException", 403),
        ),
        (
            refusals.ExpiredSessionError(),
            ("RequestExpired", 400),
            ("ExpiredToken", 403),
            ("ExpiredTokenException", 400),
            ("ExpiredTokenException", 403),
        ),
        (
            AccessDeniedError("arn", "ebs:PutSnapshotBlock", "*", explicit=False),
            ("UnauthorizedOperation", 403),
            ("AccessDenied", 403),
            ("AccessDeniedException", 400),
            ("AccessDeniedException", 403),
        ),
    ],
)
def test_each_protocol_has_its_name_for_a_fault_of_who_calls(
    error: Exception, ec2: tuple[str, int], query: tuple[str, int], kms: tuple[str, int], ebs: tuple[str, int]
) -> None:
    """docs/aws-behaviour/signing-and-protocols.md, ERR-9."""
    faults = (ec2_fault(error), query_fault(error), json_fault(error), ebs_fault(error))
    assert [(fault.code, fault.status) for fault in faults] == [ec2, query, kms, ebs]


def test_damage_does_not_tell_an_address() -> None:
    error = errors.DamageError("a1b2c3", "segment 7")
    assert "a1b2c3" not in ebs_fault(error).message + ec2_fault(error).message
