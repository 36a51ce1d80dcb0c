"""The table from errors to AWS faults: for each error its words, and its code in each protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from snapstone.core import errors
from snapstone.core.errors import (
    CAUSE_HEADER,
    AccessDeniedError,
    Cause,
    InvalidTagKeyError,
    KeyHiddenError,
    NotShareableError,
    PublicSnapshotError,
    ShareLimitError,
    SnapstoneError,
    TagLimitError,
    UnknownResourceError,
)
from snapstone.wire import refusals
from snapstone.wire.http import BodyTooLargeError
from snapstone.wire.members import echo
from snapstone.wire.refusals import WireError

QUERY_STATUS: Final = {
    "MissingAuthenticationToken": 403,
    "InvalidClientTokenId": 403,
    "SignatureDoesNotMatch": 403,
    "ExpiredToken": 403,
    "AccessDenied": 403,
    "NoSuchEntity": 404,
    "EntityAlreadyExists": 409,
    "DeleteConflict": 409,
    "LimitExceeded": 409,
    "RequestEntityTooLarge": 413,
    "InternalFailure": 500,
    "RequestTimeout": 503,
    "ServiceUnavailable": 503,
}
"""The status, if not 400."""

JSON_STATUS: Final = {
    "DryRunOperationException": 412,
    "KMSInternalException": 500,
    "DependencyTimeoutException": 503,
    "RequestTimeoutException": 503,
    "RequestEntityTooLargeException": 413,
}
"""The status, if not 400."""


def query_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as STS and IAM put it."""
    row, code = row_of(error, Protocol.QUERY)
    return CodedFault(code, QUERY_STATUS.get(code, 400), row.text(error))


def json_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as KMS puts it."""
    row, code = row_of(error, Protocol.KMS)
    return CodedFault(code, JSON_STATUS.get(code, 400), row.text(error))


REFUSALS: Final = (SnapstoneError, WireError, BodyTooLargeError)
"""Every error that has a row: what the gateway turns into an answer."""

MESSAGE_LIMIT: Final = 256
"""Characters of a modelled fault's message: the model's own limit."""

TOKEN_ECHO_LIMIT: Final = 200
"""Characters of a token or an id that a modelled fault's message repeats."""

MODELLED: Final = "com.amazon.zeppelindataservice"
VALIDATION: Final = "com.amazon.coral.validate"
FRAMEWORK: Final = "com.amazon.coral.service"
"""Suffixes of x-amzn-ErrorType: the three families that the live EBS service answers with."""

EBS_MODELLED_STATUS: Final = {
    "AccessDeniedException": 403,
    "ValidationException": 400,
    "ResourceNotFoundException": 404,
    "RequestThrottledException": 400,
    "ServiceQuotaExceededException": 402,
    "ConcurrentLimitExceededException": 400,
    "ConflictException": 409,
    "InternalServerException": 500,
}
"""Codes that the service's model has."""

EBS_STATUS: Final = EBS_MODELLED_STATUS | {
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "IncompleteSignatureException": 403,
    "UnrecognizedClientException": 403,
    "ExpiredTokenException": 403,
    "UnknownOperationException": 404,
    "SerializationException": 400,
    "RequestEntityTooLargeException": 413,
}

EC2_STATUS: Final = {
    "AuthFailure": 401,
    "UnauthorizedOperation": 403,
    "MissingAuthenticationToken": 403,
    "DryRunOperation": 412,
    "RequestEntityTooLarge": 413,
    "InternalError": 500,
    "RequestLimitExceeded": 503,
    "RequestTimeout": 503,
    "Unavailable": 503,
}
"""The status, if not 400. A time-out is 503 in every protocol but EBS's: some SDKs' retries go by the status alone."""

_CAUSES: Final = {
    errors.DamageError: Cause.DAMAGED,
    errors.StoreFullError: Cause.FULL,
    errors.StoreLostError: Cause.LOST,
}
"""Errors that a client should distinguish from a transient failure."""

_AUTH_FAILURE_TEXT = "AWS was not able to validate the provided access credentials"
_INVALID_TOKEN_TEXT = "The security token included in the request is invalid."


@dataclass(frozen=True, slots=True)
class EbsFault:
    """A fault as the EBS service puts it."""

    code: str
    status: int
    namespace: str
    reason: str | None
    message: str

    @property
    def is_modelled(self) -> bool:
        return self.namespace == MODELLED


@dataclass(frozen=True, slots=True)
class CodedFault:
    """A fault of one of the protocols that know a code and a message: EC2's, that of STS and IAM, that of KMS."""

    code: str
    status: int
    message: str


class Protocol(Enum):
    """The protocols that a fault can be put in; each is a column of the table."""

    EBS = "the EBS direct APIs and rbin"
    EC2 = "EC2"
    KMS = "KMS"
    QUERY = "STS and IAM"


class Never(Enum):
    """The type of NEVER."""

    NEVER = "never"


NEVER: Final = Never.NEVER
"""Stands in the column of a protocol in which an error cannot occur: no operation there raises it."""

Code = str | Never


@dataclass(frozen=True, slots=True)
class Row:
    """One error's code in each protocol."""

    codes: Mapping[Protocol, Code]
    """For EBS: code, and after a slash the Reason."""
    text: Callable[[Any], str]
    ec2_text: Callable[[Any], str]


_Error = TypeVar("_Error", bound=Exception)
_ROWS: dict[type[Exception], Row] = {}

ROWS: Final[Mapping[type[Exception], Row]] = _ROWS
"""The table."""

_log = logging.getLogger(__name__)


def _own_message(error: Any) -> str:
    message: str = error.message
    return message


def _row(
    error: type[_Error],
    ebs: Code,
    ec2: Code,
    kms: Code,
    query: Code,
    text: Callable[[_Error], str] | str = _own_message,
    ec2_text: Callable[[_Error], str] | str | None = None,
) -> None:
    """Add a row; without a text the error's own `message` is it, and the EC2 text is the EBS one unless given."""
    _ROWS[error] = _as_row(ebs, ec2, kms, query, text, text if ec2_text is None else ec2_text)


def _as_row(
    ebs: Code,
    ec2: Code,
    kms: Code,
    query: Code,
    text: Callable[[_Error], str] | str,
    ec2_text: Callable[[_Error], str] | str,
) -> Row:
    codes = {Protocol.EBS: ebs, Protocol.EC2: ec2, Protocol.KMS: kms, Protocol.QUERY: query}
    return Row(codes, _as_function(text), _as_function(ec2_text))


def _as_function(text: Callable[[_Error], str] | str) -> Callable[[_Error], str]:
    return (lambda _: text) if isinstance(text, str) else text


_INTERNAL_TEXT: Final = "The request failed because of an error in the server."
_INTERNAL: Final = _as_row(
    "InternalServerException",
    "InternalError",
    "KMSInternalException",
    "InternalFailure",
    _INTERNAL_TEXT,
    _INTERNAL_TEXT,
)
"""The fault for an error that the protocol should never meet."""


def row_of(error: Exception, protocol: Protocol) -> tuple[Row, str]:
    """The row of an error, and its code in a protocol; those of an internal failure, and a line in the log, if none."""
    row = _ROWS.get(type(error), _INTERNAL)
    code = row.codes[protocol]
    if row is _INTERNAL or code is NEVER:
        fields = {"protocol": protocol.value, "error": type(error).__name__}
        _log.error("an error that the protocol has no code for", exc_info=error, extra={"fields": fields})
        row, code = _INTERNAL, _INTERNAL.codes[protocol]
    assert isinstance(code, str)
    return row, code


def ebs_fault(error: Exception) -> EbsFault:
    """The EBS fault of an error that is one of REFUSALS."""
    row, named = row_of(error, Protocol.EBS)
    code, _, reason = named.partition("/")
    message = row.text(error)
    if isinstance(error, refusals.ConstraintError):
        return EbsFault(code, EBS_STATUS[code], VALIDATION, None, message)
    if code not in EBS_MODELLED_STATUS:
        return EbsFault(code, EBS_STATUS[code], FRAMEWORK, None, message)
    return EbsFault(code, EBS_STATUS[code], MODELLED, reason or None, echo(message, MESSAGE_LIMIT - 3))


def ec2_fault(error: Exception) -> CodedFault:
    """The EC2 fault of an error that is one of REFUSALS."""
    row, code = row_of(error, Protocol.EC2)
    return CodedFault(code, EC2_STATUS.get(code, 400), row.ec2_text(error))


def cause_headers(error: Exception) -> list[tuple[str, str]]:
    """A header in addition to the fault, in every protocol: see `core.errors.Cause`."""
    return [(CAUSE_HEADER, cause) for kind, cause in _CAUSES.items() if isinstance(error, kind)]


def _short(value: str) -> str:
    return echo(value, TOKEN_ECHO_LIMIT)


def _not_found_text(error: errors.SnapshotNotFoundError) -> str:
    named = " or ".join(f"'{_short(each)}'" for each in error.snapshot_ids)
    return f"The snapshot {named} does not exist."


def _mismatch_text(error: errors.BlockChecksumMismatchError) -> str:
    return (
        "The value passed in as x-amz-Checksum does not match the computed checksum. "
        f"Computed checksum: {error.computed} expected checksum: {_short(error.expected)}"
    )


def _constraint_text(error: refusals.ConstraintError) -> str:
    count = len(error.violations)
    noun = "error" if count == 1 else "errors"
    return f"{count} validation {noun} detected: {'; '.join(error.violations)}"


def _denied_text(error: AccessDeniedError) -> str:
    why = (
        "with an explicit deny in an identity-based policy"
        if error.explicit
        else f"because no identity-based policy allows the {error.action} action"
    )
    return (
        f"User: {error.principal_arn} is not authorized to perform: {error.action} "
        f"on resource: {_short(error.resource)} {why}"
    )


# The columns: the error, EBS and rbin, EC2, KMS, STS and IAM; then the words.
# fmt: off
# -- core's family --
_row(errors.SnapshotNotFoundError, "ResourceNotFoundException/SNAPSHOT_NOT_FOUND", "InvalidSnapshot.NotFound",
     "ValidationException", "ValidationError", _not_found_text)
_row(errors.ParentNotCompleteError, "ValidationException/INVALID_SNAPSHOT_ID", NEVER, NEVER, NEVER,
     lambda e: f"Source snapshot ({e.snapshot_id}) is not complete.")
_row(errors.SnapshotAlreadyCompletedError, "ValidationException/INVALID_SNAPSHOT_ID", NEVER, NEVER, NEVER,
     "Snapshot is already completed")
_row(errors.FirstSnapshotMissingError, "ValidationException/INVALID_SNAPSHOT_ID", NEVER, NEVER, NEVER,
     "First snapshot should not be empty or null")
_row(errors.UnrelatedSnapshotsError, "ValidationException/UNRELATED_SNAPSHOTS", NEVER, NEVER, NEVER,
     lambda e: f"The snapshot {e.first_snapshot_id} and {e.second_snapshot_id} are not related.")
_row(errors.InvalidVolumeSizeError, "ValidationException/INVALID_VOLUME_SIZE", NEVER, NEVER, NEVER)
_row(errors.InvalidParameterError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue",
     "ValidationException", "ValidationError")
_row(errors.InvalidParameterCombinationError, NEVER, "InvalidParameterCombination", NEVER, NEVER)
_row(errors.InvalidTagError, "ValidationException/INVALID_TAG", NEVER, NEVER, NEVER)
_row(errors.InvalidBlockError, "ValidationException/INVALID_BLOCK", NEVER, NEVER, NEVER)
_row(errors.BlockChecksumMismatchError, "InvalidSignatureException", NEVER, NEVER, NEVER, _mismatch_text)
_row(errors.InvalidContentEncodingError, "ValidationException/INVALID_CONTENT_ENCODING", NEVER, NEVER, NEVER,
     lambda e: f"The content encoding '{_short(e.content_encoding)}' is not supported; send the block as it is.")
_row(errors.WriteTimedOutError, "InternalServerException", "RequestTimeout", "RequestTimeoutException",
     "RequestTimeout",
     lambda e: f"The request body was not received in time: no byte came for {e.seconds:g} seconds.")
_row(errors.InvalidBlockTokenError, "ValidationException/INVALID_BLOCK_TOKEN", "InvalidParameterValue",
     "ValidationException", "ValidationError", lambda e: f"The block token {_short(e.token)} is invalid.")
_row(errors.InvalidPageTokenError, "ValidationException/INVALID_PAGE_TOKEN", "InvalidNextToken",
     "ValidationException", "ValidationError", lambda e: f"The pagination token {_short(e.token)} is invalid.")
_row(errors.IdempotencyConflictError, "ConflictException", "IdempotentParameterMismatch",
     "ValidationException", "ValidationError", "Current request does not match request stored with this token.")
_row(errors.UnknownKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue", NEVER, NEVER)
_row(errors.KeyServiceError, "ValidationException/INVALID_DEPENDENCY_REQUEST", "InvalidParameterValue", NEVER, NEVER)
_row(errors.DamageError, "InternalServerException", "InternalError", "KMSInternalException", "InternalFailure",
     "What is stored is damaged and cannot be returned; the server's damage log names it.")
_row(errors.OverloadedError, "RequestThrottledException/ACCOUNT_THROTTLED", "RequestLimitExceeded",
     "ThrottlingException", "Throttling", lambda e: f"The server is at a limit ({e.what}); try again.")
_row(errors.StoreFullError, "InternalServerException", "InternalError", "KMSInternalException", "InternalFailure",
     "The server's storage is full; nothing was stored.")
_row(errors.StoreLostError, "InternalServerException", "Unavailable",
     "DependencyTimeoutException", "ServiceUnavailable",
     "The server's data folder is gone or was replaced; nothing was stored.")
_row(errors.ReadOnlyError, "AccessDeniedException", "UnauthorizedOperation", "AccessDeniedException", "AccessDenied",
     "This server is read-only: it serves what is there, and changes nothing.")
_row(errors.MalformedSnapshotIdError, NEVER, "InvalidSnapshotID.Malformed", NEVER, NEVER,
     lambda e: f'Invalid id: "{_short(e.snapshot_id)}"')
_row(errors.MalformedAccountIdError, NEVER, "InvalidUserID.Malformed", NEVER, NEVER,
     lambda e: f'Invalid user id: "{_short(e.account_id)}"')
_row(errors.FilterLimitError, NEVER, "FilterLimitExceeded", NEVER, NEVER,
     lambda e: f"The maximum number of filter values specified on a single call is {e.limit}")
_row(errors.DryRunPassedError, NEVER, "DryRunOperation", "DryRunOperationException", NEVER,
     "Request would have succeeded, but DryRun flag is set.")

_row(AccessDeniedError, "AccessDeniedException/UNAUTHORIZED_ACCOUNT", "UnauthorizedOperation",
     "AccessDeniedException", "AccessDenied", _denied_text)
_row(KeyHiddenError, "ResourceNotFoundException/DEPENDENCY_RESOURCE_NOT_FOUND", "InvalidParameterValue",
     "NotFoundException", NEVER, "KMS key not found")

# -- KMS keys --
_row(errors.KmsKeyNotFoundError, "ResourceNotFoundException/DEPENDENCY_RESOURCE_NOT_FOUND", "InvalidParameterValue",
     "NotFoundException", NEVER, lambda e: e.named)
_row(errors.InvalidKeyArnError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "InvalidArnException", NEVER)
_row(errors.KmsKeyDisabledError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "DisabledException", NEVER, lambda e: f"{e.key_arn} is disabled.")
_row(errors.KmsKeyStateError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "KMSInvalidStateException", NEVER)
_row(errors.ManagedKeyError, NEVER, NEVER, "AccessDeniedException", NEVER)
_row(errors.AliasExistsError, NEVER, NEVER, "AlreadyExistsException", NEVER,
     lambda e: f"An alias with the name {e.alias_arn} already exists")
_row(errors.InvalidAliasNameError, NEVER, NEVER, "InvalidAliasNameException", NEVER)
_row(errors.InvalidCiphertextError, NEVER, NEVER, "InvalidCiphertextException", NEVER,
     "The ciphertext is not of this service, or was made with another encryption context")
_row(errors.IncorrectKeyError, NEVER, NEVER, "IncorrectKeyException", NEVER,
     "The key ID in the request does not identify a CMK that can perform this operation.")
_row(errors.InvalidMarkerError, NEVER, NEVER, "InvalidMarkerException", NEVER,
     "The marker is not from an answer to this request")
_row(errors.KeyTagError, NEVER, NEVER, "TagException", NEVER)
_row(errors.UnsupportedKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "UnsupportedOperationException", NEVER)
_row(errors.KeyLimitError, NEVER, NEVER, "LimitExceededException", NEVER)

# -- protection: locks, public access, the recycle bin, the archive tier, copies --
_row(errors.SnapshotLockedError, NEVER, "OperationNotPermitted", NEVER, NEVER)
_row(errors.SnapshotNotLockedError, NEVER, "IncorrectState", NEVER, NEVER,
     lambda e: f"The snapshot '{_short(e.snapshot_id)}' is not locked.")
_row(errors.PublicAccessBlockedError, NEVER, "OperationNotPermitted", NEVER, NEVER,
     lambda e: f"Block public access for snapshots is enabled in {_short(e.region)}: none can be shared with all.")
_row(errors.PublicAccessRequestError, NEVER, "InvalidRequest", NEVER, NEVER,
     lambda e: f"The state '{_short(e.state)}' cannot be set; disable block public access instead.")
_row(errors.SnapshotArchivedError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     NEVER, NEVER,
     lambda e: f"The snapshot '{_short(e.snapshot_id)}' is archived; restore it from the archive tier first.")
_row(errors.SnapshotStateError, NEVER, "IncorrectState", NEVER, NEVER)
_row(errors.RuleNotFoundError, "ResourceNotFoundException/RULE_NOT_FOUND", NEVER, NEVER, NEVER,
     lambda e: f"Rule with identifier {_short(e.rule_id)} was not found.")
_row(errors.RuleLockedError, "ConflictException/INVALID_RULE_STATE", NEVER, NEVER, NEVER)
_row(errors.RuleQuotaError, "ServiceQuotaExceededException/SERVICE_QUOTA_EXCEEDED", NEVER, NEVER, NEVER)
_row(errors.InvalidRuleError, "ValidationException/INVALID_PARAMETER_VALUE", NEVER, NEVER, NEVER)
_row(errors.SourceNotCompleteError, NEVER, "IncorrectState", NEVER, NEVER,
     lambda e: f"The source snapshot '{_short(e.snapshot_id)}' is not in a valid state: it must be completed.")
_row(errors.UnknownSourceRegionError, NEVER, "InvalidRegion", NEVER, NEVER,
     lambda e: f"The region '{_short(e.region)}' does not exist.")
_row(errors.ParameterDependencyError, NEVER, "InvalidParameterDependency", NEVER, NEVER)
_row(errors.CopyLimitError, NEVER, "ResourceLimitExceeded", NEVER, NEVER,
     lambda e: f"At most {e.limit} snapshot copies may be in progress to one region.")

# -- wire's own: who calls --
_row(refusals.MissingCredentialsError, "MissingAuthenticationTokenException", "MissingAuthenticationToken",
     "MissingAuthenticationTokenException", "MissingAuthenticationToken", "Missing Authentication Token",
     "Request is missing 'Authorization' header")
_row(refusals.MalformedSignatureError, "IncompleteSignatureException", "IncompleteSignature",
     "IncompleteSignatureException", "IncompleteSignature")
_row(refusals.UnknownAccessKeyError, "UnrecognizedClientException", "AuthFailure",
     "UnrecognizedClientException", "InvalidClientTokenId", _INVALID_TOKEN_TEXT, _AUTH_FAILURE_TEXT)
_row(refusals.InvalidSessionTokenError, "UnrecognizedClientException", "AuthFailure",
     "UnrecognizedClientException", "InvalidClientTokenId", _INVALID_TOKEN_TEXT, _AUTH_FAILURE_TEXT)
_row(refusals.ExpiredSessionError, "ExpiredTokenException", "RequestExpired",
     "ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired",
     "Request has expired.")
_row(refusals.UnknownRegionError, "UnrecognizedClientException", "AuthFailure",
     "UnrecognizedClientException", "InvalidClientTokenId",
     lambda e: f"Credential should be scoped to a valid region: this server does not answer for '{_short(e.region)}'.")
_row(refusals.SignatureMismatchError, "InvalidSignatureException", "AuthFailure",
     "InvalidSignatureException", "SignatureDoesNotMatch", _own_message, _AUTH_FAILURE_TEXT)
_row(refusals.ClockSkewError, "InvalidSignatureException", "RequestExpired",
     "InvalidSignatureException", "SignatureDoesNotMatch", _own_message,
     lambda e: f"Request has expired. {e.message}")

# -- wire's own: what is called --
_row(refusals.UnknownOperationError, "UnknownOperationException", NEVER, NEVER, NEVER,
     lambda e: f"No operation answers to {e.method} {e.path}")
_row(refusals.UnknownActionError, NEVER, "InvalidAction", "UnknownOperationException", "InvalidAction",
     lambda e: f"The action {e.action} is not valid for this web service.")
_row(refusals.UnknownVersionError, NEVER, "NoSuchVersion", NEVER, "InvalidAction",
     lambda e: f"The requested version ({e.version}) of service {e.service} does not exist")
_row(refusals.MissingActionError, NEVER, "MissingAction", "UnknownOperationException", "MissingAction",
     "The request must contain the parameter Action")
_row(refusals.SerializationError, "SerializationException", NEVER, "SerializationException", NEVER)
_row(refusals.ConstraintError, "ValidationException", NEVER, "ValidationException", "ValidationError",
     _constraint_text)
_row(refusals.MissingParameterError, NEVER, "MissingParameter", NEVER, NEVER,
     lambda e: f"The request must contain the parameter {e.parameter}")
_row(refusals.InvalidParameterTypeError, NEVER, "InvalidParameterValue", NEVER, "ValidationError",
     lambda e: f"Value ({e.value}) for parameter {e.parameter} is invalid. Expected {e.expected}.")
_row(BodyTooLargeError, "RequestEntityTooLargeException", "RequestEntityTooLarge",
     "RequestEntityTooLargeException", "RequestEntityTooLarge",
     lambda e: f"The request body is longer than {e.limit} bytes.")

# -- sharing and tags --
_row(PublicSnapshotError, "ValidationException/INVALID_SNAPSHOT_ID", NEVER, NEVER, NEVER,
     "Public snapshots are not supported")
_row(NotShareableError, NEVER, "OperationNotPermitted", NEVER, NEVER)
_row(ShareLimitError, NEVER, "ResourceLimitExceeded", NEVER, NEVER,
     lambda e: f"A snapshot can be shared with at most {e.limit} accounts.")
_row(InvalidTagKeyError, NEVER, "InvalidTagKey.Malformed", NEVER, NEVER)
_row(TagLimitError, NEVER, "TagLimitExceeded", NEVER, NEVER, lambda e: f"A resource can have at most {e.limit} tags.")
_row(UnknownResourceError, NEVER, "InvalidID", NEVER, NEVER,
     lambda e: f"The ID '{_short(e.resource_id)}' is not valid")
_row(errors.InstanceNotFoundError, NEVER, "InvalidInstanceID.NotFound", NEVER, NEVER,
     lambda e: f"The instance ID '{_short(e.instance_id)}' does not exist")
_row(errors.VolumeNotFoundError, NEVER, "InvalidVolume.NotFound", NEVER, NEVER,
     lambda e: f"The volume '{_short(e.volume_id)}' does not exist.")

# -- identities --
_row(errors.NoSuchEntityError, NEVER, NEVER, NEVER, "NoSuchEntity")
_row(errors.EntityAlreadyExistsError, NEVER, NEVER, NEVER, "EntityAlreadyExists")
_row(errors.DeleteConflictError, NEVER, NEVER, NEVER, "DeleteConflict")
_row(errors.IdentityLimitError, NEVER, NEVER, NEVER, "LimitExceeded")
_row(errors.MalformedPolicyDocumentError, NEVER, NEVER,
     "MalformedPolicyDocumentException", "MalformedPolicyDocument")
_row(errors.InvalidIdentityInputError, NEVER, NEVER, NEVER, "InvalidInput")
_row(errors.IdentityValidationError, NEVER, NEVER, NEVER, "ValidationError")
_row(errors.PackedPolicyTooLargeError, NEVER, NEVER, NEVER, "PackedPolicyTooLarge",
     lambda e: f"Packed size of session tags and policies consumes {e.percent}% of allotted space.")
_row(errors.SessionRefusedError, NEVER, NEVER, NEVER, "AccessDenied")

# -- the policy language --
_row(errors.MalformedPolicyError, NEVER, NEVER, "MalformedPolicyDocumentException", "MalformedPolicyDocument")

# -- limits --
_row(errors.AccountThrottledError, "RequestThrottledException/ACCOUNT_THROTTLED", "RequestLimitExceeded",
     "ThrottlingException", "Throttling", "Rate exceeded", "Request limit exceeded.")
_row(errors.SnapshotThrottledError, "RequestThrottledException/RESOURCE_LEVEL_THROTTLE", "RequestLimitExceeded",
     "ThrottlingException", "Throttling", "Rate exceeded for this snapshot")
_row(errors.PendingSnapshotLimitError, "ConcurrentLimitExceededException", "PendingSnapshotLimitExceeded",
     "LimitExceededException", "LimitExceeded",
     lambda e: f"At most {e.limit} pending snapshots are allowed for an account in a region.")
_row(errors.InjectedFailureError, "InternalServerException", "InternalError",
     "KMSInternalException", "InternalFailure", "This failure was injected fault.")
_row(errors.InjectedOutageError, "InternalServerException", "Unavailable",
     "DependencyTimeoutException", "ServiceUnavailable", "This outage was injected fault.")
_row(errors.InjectedQuotaError, "ServiceQuotaExceededException/DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
     "ResourceLimitExceeded", "LimitExceededException", "LimitExceeded",
     "This refusal was injected fault.")
# fmt: on
