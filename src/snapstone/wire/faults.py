"""The table from errors to AWS faults: for each error its words, and its code and reason for EBS, rbin, and EC2.

What STS, IAM and KMS call them is in `codes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from snapstone.core import absent_errors, errors, identity_errors, key_errors, limit_errors, protection_errors
from snapstone.core.causes import CAUSE_HEADER, Cause
from snapstone.core.errors import SnapstoneError
from snapstone.core.identity_errors import AccessDeniedError
from snapstone.core.key_errors import KeyHiddenError
from snapstone.core.sharing_errors import (
    InvalidTagKeyError,
    NotShareableError,
    PublicSnapshotError,
    ShareLimitError,
    TagLimitError,
    UnknownResourceError,
)
from snapstone.wire import refusals
from snapstone.wire.constraints import echo
from snapstone.wire.http import BodyTooLargeError
from snapstone.wire.refusals import WireError

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
    "Unavailable": 503,
}
"""Where it is not 400."""

_CAUSES: Final = {
    errors.DamageError: Cause.DAMAGED,
    errors.StoreFullError: Cause.FULL,
    errors.StoreLostError: Cause.LOST,
}
"""Errors that a client should tell from a failure that passes by itself."""

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


@dataclass(frozen=True, slots=True)
class _Row:
    ebs: str
    """Code, and after a slash the Reason."""
    ec2: str
    text: Callable[[Any], str]
    ec2_text: Callable[[Any], str]


_Error = TypeVar("_Error", bound=Exception)
_ROWS: dict[type[Exception], _Row] = {}


def _own_message(error: Any) -> str:
    message: str = error.message
    return message


def _row(
    error: type[_Error],
    ebs: str,
    ec2: str,
    text: Callable[[_Error], str] | str = _own_message,
    ec2_text: Callable[[_Error], str] | str | None = None,
) -> None:
    """Add a row; without a text the error's own `message` is it, and the EC2 text is the EBS one unless given."""
    _ROWS[error] = _Row(ebs, ec2, _as_function(text), _as_function(text if ec2_text is None else ec2_text))


def _as_function(text: Callable[[_Error], str] | str) -> Callable[[_Error], str]:
    return (lambda _: text) if isinstance(text, str) else text


def has_row(error: type[Exception]) -> bool:
    return error in _ROWS


def ebs_fault(error: Exception) -> EbsFault:
    """The EBS fault of an error that is one of REFUSALS."""
    row = _ROWS[type(error)]
    code, _, reason = row.ebs.partition("/")
    message = row.text(error)
    if isinstance(error, refusals.ConstraintError):
        return EbsFault(code, EBS_STATUS[code], VALIDATION, None, message)
    if code not in EBS_MODELLED_STATUS:
        return EbsFault(code, EBS_STATUS[code], FRAMEWORK, None, message)
    return EbsFault(code, EBS_STATUS[code], MODELLED, reason or None, echo(message, MESSAGE_LIMIT - 3))


def ec2_fault(error: Exception) -> CodedFault:
    """The EC2 fault of an error that is one of REFUSALS."""
    row = _ROWS[type(error)]
    return CodedFault(row.ec2, EC2_STATUS.get(row.ec2, 400), row.ec2_text(error))


def cause_headers(error: Exception) -> list[tuple[str, str]]:
    """What an answer says beside the fault, in every protocol: see `core.causes`."""
    return [(CAUSE_HEADER, cause) for kind, cause in _CAUSES.items() if isinstance(error, kind)]


def text_of(error: Exception) -> str:
    """The words of an error that is one of REFUSALS."""
    return _ROWS[type(error)].text(error)


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


# fmt: off
# -- core's family --
_row(errors.SnapshotNotFoundError, "ResourceNotFoundException/SNAPSHOT_NOT_FOUND", "InvalidSnapshot.NotFound",
     _not_found_text)
_row(errors.ParentNotCompleteError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     lambda e: f"Source snapshot ({e.snapshot_id}) is not complete.")
_row(errors.SnapshotAlreadyCompletedError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     "Snapshot is already completed")
_row(errors.FirstSnapshotMissingError, "ValidationException/INVALID_SNAPSHOT_ID", "MissingParameter",
     "First snapshot should not be empty or null")
_row(errors.UnrelatedSnapshotsError, "ValidationException/UNRELATED_SNAPSHOTS", "InvalidParameterCombination",
     lambda e: f"The snapshot {e.first_snapshot_id} and {e.second_snapshot_id} are not related.")
_row(errors.InvalidVolumeSizeError, "ValidationException/INVALID_VOLUME_SIZE", "InvalidParameterValue")
_row(errors.InvalidParameterError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(errors.InvalidParameterCombinationError, "ValidationException/INVALID_PARAMETER_VALUE",
     "InvalidParameterCombination")
_row(errors.InvalidTagError, "ValidationException/INVALID_TAG", "InvalidParameterValue")
_row(errors.InvalidBlockError, "ValidationException/INVALID_BLOCK", "InvalidParameterValue")
_row(errors.BlockChecksumMismatchError, "InvalidSignatureException", "InvalidParameterValue", _mismatch_text)
_row(errors.InvalidContentEncodingError, "ValidationException/INVALID_CONTENT_ENCODING", "InvalidParameterValue",
     lambda e: f"The content encoding '{_short(e.content_encoding)}' is not supported; send the block as it is.")
_row(errors.WriteTimedOutError, "ValidationException/WRITE_REQUEST_TIMEOUT", "RequestTimeout",
     lambda e: f"The request body was not received in time: no byte came for {e.seconds:g} seconds.")
_row(errors.InvalidBlockTokenError, "ValidationException/INVALID_BLOCK_TOKEN", "InvalidParameterValue",
     lambda e: f"The block token {_short(e.token)} is invalid.")
_row(errors.InvalidPageTokenError, "ValidationException/INVALID_PAGE_TOKEN", "InvalidNextToken",
     lambda e: f"The pagination token {_short(e.token)} is invalid.")
_row(errors.IdempotencyConflictError, "ConflictException", "IdempotentParameterMismatch",
     "Current request does not match request stored with this token.")
_row(errors.UnknownKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(errors.KeyServiceError, "ValidationException/INVALID_DEPENDENCY_REQUEST", "InvalidParameterValue")
_row(errors.DamageError, "InternalServerException", "InternalError",
     "What is stored is damaged and cannot be returned; the server's damage log names it.")
_row(errors.OverloadedError, "RequestThrottledException/ACCOUNT_THROTTLED", "RequestLimitExceeded",
     lambda e: f"The server is at a limit ({e.what}); try again.")
_row(errors.StoreFullError, "InternalServerException", "InternalError",
     "The server's storage is full; nothing was stored.")
_row(errors.StoreLostError, "InternalServerException", "Unavailable",
     "The server's data folder is gone or was replaced; nothing was stored.")
_row(errors.ReadOnlyError, "AccessDeniedException", "UnauthorizedOperation",
     "This server is read-only: it serves what is there, and changes nothing.")
_row(errors.MalformedSnapshotIdError, "ValidationException/INVALID_SNAPSHOT_ID", "InvalidSnapshotID.Malformed",
     lambda e: f'Invalid id: "{_short(e.snapshot_id)}"')
_row(errors.MalformedAccountIdError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidUserID.Malformed",
     lambda e: f'Invalid user id: "{_short(e.account_id)}"')
_row(errors.FilterLimitError, "ValidationException/INVALID_PARAMETER_VALUE", "FilterLimitExceeded",
     lambda e: f"The maximum number of filter values specified on a single call is {e.limit}")
_row(errors.DryRunPassedError, "ValidationException/INVALID_PARAMETER_VALUE", "DryRunOperation",
     "Request would have succeeded, but DryRun flag is set.")

_row(AccessDeniedError, "AccessDeniedException/UNAUTHORIZED", "UnauthorizedOperation", _denied_text)
_row(KeyHiddenError, "ResourceNotFoundException/DEPENDENCY_RESOURCE_NOT_FOUND", "InvalidParameterValue",
     "KMS key not found")

# -- KMS keys --
_row(key_errors.KmsKeyNotFoundError, "ResourceNotFoundException/DEPENDENCY_RESOURCE_NOT_FOUND", "InvalidParameterValue",
     lambda e: e.named)
_row(key_errors.InvalidKeyArnError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(key_errors.KmsKeyDisabledError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     lambda e: f"{e.key_arn} is disabled.")
_row(key_errors.KmsKeyStateError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(key_errors.ManagedKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(key_errors.AliasExistsError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     lambda e: f"An alias with the name {e.alias_arn} already exists")
_row(key_errors.InvalidAliasNameError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(key_errors.InvalidCiphertextError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "The ciphertext is not of this service, or was made with another encryption context")
_row(key_errors.IncorrectKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue",
     "The key ID in the request does not identify a CMK that can perform this operation.")
_row(key_errors.InvalidMarkerError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue",
     "The marker is not from an answer to this request")
_row(key_errors.KeyTagError, "ValidationException/INVALID_TAG", "InvalidParameterValue")
_row(key_errors.UnsupportedKeyError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")
_row(key_errors.KeyLimitError, "ValidationException/INVALID_CUSTOMER_KEY", "InvalidParameterValue")

# -- protection: locks, public access, the recycle bin, the archive tier, copies --
_row(protection_errors.SnapshotLockedError, "ValidationException/INVALID_SNAPSHOT_ID", "OperationNotPermitted")
_row(protection_errors.SnapshotNotLockedError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     lambda e: f"The snapshot '{_short(e.snapshot_id)}' is not locked.")
_row(protection_errors.PublicAccessBlockedError, "ValidationException/INVALID_PARAMETER_VALUE", "OperationNotPermitted",
     lambda e: f"Block public access for snapshots is enabled in {_short(e.region)}: none can be shared with all.")
_row(protection_errors.PublicAccessRequestError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidRequest",
     lambda e: f"The state '{_short(e.state)}' cannot be asked for; disable block public access instead.")
_row(protection_errors.SnapshotArchivedError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     lambda e: f"The snapshot '{_short(e.snapshot_id)}' is archived; restore it from the archive tier first.")
_row(protection_errors.SnapshotStateError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState")
_row(protection_errors.RuleNotFoundError, "ResourceNotFoundException/RULE_NOT_FOUND", "InvalidParameterValue",
     lambda e: f"Rule with identifier {_short(e.rule_id)} was not found.")
_row(protection_errors.RuleLockedError, "ConflictException/INVALID_RULE_STATE", "IncorrectState")
_row(protection_errors.RuleQuotaError, "ServiceQuotaExceededException/SERVICE_QUOTA_EXCEEDED", "ResourceLimitExceeded")
_row(protection_errors.InvalidRuleError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(protection_errors.SourceNotCompleteError, "ValidationException/INVALID_SNAPSHOT_ID", "IncorrectState",
     lambda e: f"The source snapshot '{_short(e.snapshot_id)}' is not in a valid state: it must be completed.")
_row(protection_errors.UnknownSourceRegionError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidRegion",
     lambda e: f"The region '{_short(e.region)}' does not exist.")
_row(protection_errors.ParameterDependencyError, "ValidationException/INVALID_PARAMETER_VALUE",
     "InvalidParameterDependency")
_row(protection_errors.CopyLimitError, "ServiceQuotaExceededException/DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
     "ResourceLimitExceeded", lambda e: f"At most {e.limit} snapshot copies may be in progress to one region.")

# -- wire's own: who calls --
_row(refusals.MissingCredentialsError, "MissingAuthenticationTokenException", "MissingAuthenticationToken",
     "Missing Authentication Token", "Request is missing 'Authorization' header")
_row(refusals.MalformedSignatureError, "IncompleteSignatureException", "IncompleteSignature")
_row(refusals.UnknownAccessKeyError, "UnrecognizedClientException", "AuthFailure",
     _INVALID_TOKEN_TEXT, _AUTH_FAILURE_TEXT)
_row(refusals.InvalidSessionTokenError, "UnrecognizedClientException", "AuthFailure",
     _INVALID_TOKEN_TEXT, _AUTH_FAILURE_TEXT)
_row(refusals.ExpiredCredentialsError, "ExpiredTokenException", "RequestExpired",
     "The security token included in the request is expired", "Request has expired.")
_row(refusals.UnknownRegionError, "UnrecognizedClientException", "AuthFailure",
     lambda e: f"Credential should be scoped to a valid region: this server does not answer for '{_short(e.region)}'.")
_row(refusals.SignatureMismatchError, "InvalidSignatureException", "AuthFailure",
     _own_message, _AUTH_FAILURE_TEXT)
_row(refusals.ClockSkewError, "InvalidSignatureException", "RequestExpired",
     _own_message, lambda e: f"Request has expired. {e.message}")

# -- wire's own: what is called --
_row(refusals.UnknownOperationError, "UnknownOperationException", "InvalidAction",
     lambda e: f"No operation answers to {e.method} {e.path}")
_row(refusals.UnknownActionError, "UnknownOperationException", "InvalidAction",
     lambda e: f"The action {e.action} is not valid for this web service.")
_row(refusals.UnknownVersionError, "UnknownOperationException", "NoSuchVersion",
     lambda e: f"The requested version ({e.version}) of service {e.service} does not exist")
_row(refusals.MissingActionError, "UnknownOperationException", "MissingAction",
     "The request must contain the parameter Action")
_row(refusals.SerializationError, "SerializationException", "InvalidParameterValue")
_row(refusals.ConstraintError, "ValidationException", "InvalidParameterValue", _constraint_text)
_row(refusals.MissingParameterError, "SerializationException", "MissingParameter",
     lambda e: f"The request must contain the parameter {e.parameter}")
_row(refusals.InvalidParameterTypeError, "SerializationException", "InvalidParameterValue",
     lambda e: f"Value ({e.value}) for parameter {e.parameter} is invalid. Expected {e.expected}.")
_row(BodyTooLargeError, "RequestEntityTooLargeException", "RequestEntityTooLarge",
     lambda e: f"The request body is longer than {e.limit} bytes.")

# -- sharing and tags --
_row(PublicSnapshotError, "ValidationException/INVALID_SNAPSHOT_ID", "InvalidSnapshot.NotFound",
     "Public snapshots are not supported", lambda e: f"The snapshot '{e.snapshot_id}' does not exist.")
_row(NotShareableError, "ValidationException/INVALID_PARAMETER_VALUE", "OperationNotPermitted")
_row(ShareLimitError, "ValidationException/INVALID_PARAMETER_VALUE", "ResourceLimitExceeded",
     lambda e: f"A snapshot can be shared with at most {e.limit} accounts.")
_row(InvalidTagKeyError, "ValidationException/INVALID_TAG", "InvalidTagKey.Malformed")
_row(TagLimitError, "ValidationException/INVALID_TAG", "TagLimitExceeded",
     lambda e: f"A resource can have at most {e.limit} tags.")
_row(UnknownResourceError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidID",
     lambda e: f"The ID '{_short(e.resource_id)}' is not valid")
_row(absent_errors.InstanceNotFoundError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidInstanceID.NotFound",
     lambda e: f"The instance ID '{_short(e.instance_id)}' does not exist")
_row(absent_errors.VolumeNotFoundError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidVolume.NotFound",
     lambda e: f"The volume '{_short(e.volume_id)}' does not exist.")

# -- identities --
_row(identity_errors.NoSuchEntityError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.EntityAlreadyExistsError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.DeleteConflictError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.IdentityLimitError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.MalformedPolicyDocumentError, "ValidationException/INVALID_PARAMETER_VALUE",
     "InvalidParameterValue")
_row(identity_errors.InvalidIdentityInputError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.IdentityValidationError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")
_row(identity_errors.PackedPolicyTooLargeError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue",
     lambda e: f"Packed size of session tags and policies consumes {e.percent}% of allotted space.")
_row(identity_errors.SessionRefusedError, "AccessDeniedException/UNAUTHORIZED", "UnauthorizedOperation")

# -- the policy language --
_row(identity_errors.MalformedPolicyError, "ValidationException/INVALID_PARAMETER_VALUE", "InvalidParameterValue")

# -- limits --
_row(limit_errors.AccountThrottledError, "RequestThrottledException/ACCOUNT_THROTTLED", "RequestLimitExceeded",
     "Rate exceeded", "Request limit exceeded.")
_row(limit_errors.SnapshotThrottledError, "RequestThrottledException/RESOURCE_LEVEL_THROTTLE", "RequestLimitExceeded",
     "Rate exceeded for this snapshot")
_row(limit_errors.PendingSnapshotLimitError, "ConcurrentLimitExceededException", "PendingSnapshotLimitExceeded",
     lambda e: f"At most {e.limit} pending snapshots are allowed for an account in a region.")
_row(limit_errors.InjectedFailureError, "InternalServerException", "InternalError",
     "This failure was asked for: fault injection is on.")
_row(limit_errors.InjectedOutageError, "InternalServerException", "Unavailable",
     "This outage was asked for: fault injection is on.")
_row(limit_errors.InjectedQuotaError, "ServiceQuotaExceededException/DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
     "ResourceLimitExceeded", "This refusal was asked for: fault injection is on.")
# fmt: on
