"""What STS, IAM and KMS call an error; its words are in `faults`.

Source: docs/aws-behaviour/signing-and-protocols.md, ERR-9, QUERY and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from snapstone.core import errors, identity_errors, key_errors, limit_errors
from snapstone.wire import refusals
from snapstone.wire.faults import CodedFault, text_of
from snapstone.wire.http import BodyTooLargeError

QUERY_CODES: Final[Mapping[type[Exception], str]] = {
    refusals.MissingCredentialsError: "MissingAuthenticationToken",
    refusals.MalformedSignatureError: "IncompleteSignature",
    refusals.UnknownAccessKeyError: "InvalidClientTokenId",
    refusals.InvalidSessionTokenError: "InvalidClientTokenId",
    refusals.UnknownRegionError: "InvalidClientTokenId",
    refusals.SignatureMismatchError: "SignatureDoesNotMatch",
    refusals.ClockSkewError: "SignatureDoesNotMatch",
    refusals.ExpiredCredentialsError: "ExpiredToken",
    refusals.UnknownActionError: "InvalidAction",
    refusals.UnknownVersionError: "InvalidAction",
    refusals.MissingActionError: "MissingAction",
    refusals.MissingParameterError: "MissingParameter",
    BodyTooLargeError: "RequestEntityTooLarge",
    identity_errors.AccessDeniedError: "AccessDenied",
    identity_errors.SessionRefusedError: "AccessDenied",
    identity_errors.NoSuchEntityError: "NoSuchEntity",
    identity_errors.EntityAlreadyExistsError: "EntityAlreadyExists",
    identity_errors.DeleteConflictError: "DeleteConflict",
    identity_errors.IdentityLimitError: "LimitExceeded",
    identity_errors.MalformedPolicyDocumentError: "MalformedPolicyDocument",
    identity_errors.MalformedPolicyError: "MalformedPolicyDocument",
    identity_errors.InvalidIdentityInputError: "InvalidInput",
    identity_errors.PackedPolicyTooLargeError: "PackedPolicyTooLarge",
    errors.OverloadedError: "Throttling",
    limit_errors.AccountThrottledError: "Throttling",
    limit_errors.SnapshotThrottledError: "Throttling",
    errors.DamageError: "InternalFailure",
    errors.StoreFullError: "InternalFailure",
    errors.StoreLostError: "ServiceUnavailable",
    errors.ReadOnlyError: "AccessDenied",
    limit_errors.InjectedFailureError: "InternalFailure",
    limit_errors.InjectedOutageError: "ServiceUnavailable",
    limit_errors.InjectedQuotaError: "LimitExceeded",
}
"""Every other error is a ValidationError."""

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
    "ServiceUnavailable": 503,
}
"""Where it is not 400."""

JSON_CODES: Final[Mapping[type[Exception], str]] = {
    refusals.MissingCredentialsError: "MissingAuthenticationTokenException",
    refusals.MalformedSignatureError: "IncompleteSignatureException",
    refusals.UnknownAccessKeyError: "UnrecognizedClientException",
    refusals.InvalidSessionTokenError: "UnrecognizedClientException",
    refusals.UnknownRegionError: "UnrecognizedClientException",
    refusals.SignatureMismatchError: "InvalidSignatureException",
    refusals.ClockSkewError: "InvalidSignatureException",
    refusals.ExpiredCredentialsError: "ExpiredTokenException",
    refusals.UnknownActionError: "UnknownOperationException",
    refusals.MissingActionError: "UnknownOperationException",
    refusals.SerializationError: "SerializationException",
    BodyTooLargeError: "RequestEntityTooLargeException",
    identity_errors.AccessDeniedError: "AccessDeniedException",
    identity_errors.MalformedPolicyDocumentError: "MalformedPolicyDocumentException",
    identity_errors.MalformedPolicyError: "MalformedPolicyDocumentException",
    key_errors.ManagedKeyError: "AccessDeniedException",
    key_errors.KmsKeyNotFoundError: "NotFoundException",
    key_errors.KeyHiddenError: "NotFoundException",
    key_errors.InvalidKeyArnError: "InvalidArnException",
    key_errors.KmsKeyDisabledError: "DisabledException",
    key_errors.KmsKeyStateError: "KMSInvalidStateException",
    key_errors.AliasExistsError: "AlreadyExistsException",
    key_errors.InvalidAliasNameError: "InvalidAliasNameException",
    key_errors.InvalidCiphertextError: "InvalidCiphertextException",
    key_errors.IncorrectKeyError: "IncorrectKeyException",
    key_errors.InvalidMarkerError: "InvalidMarkerException",
    key_errors.KeyTagError: "TagException",
    key_errors.UnsupportedKeyError: "UnsupportedOperationException",
    key_errors.KeyLimitError: "LimitExceededException",
    errors.DryRunPassedError: "DryRunOperationException",
    errors.OverloadedError: "ThrottlingException",
    limit_errors.AccountThrottledError: "ThrottlingException",
    limit_errors.SnapshotThrottledError: "ThrottlingException",
    errors.DamageError: "KMSInternalException",
    errors.StoreFullError: "KMSInternalException",
    errors.StoreLostError: "DependencyTimeoutException",
    errors.ReadOnlyError: "AccessDeniedException",
    limit_errors.InjectedFailureError: "KMSInternalException",
    limit_errors.InjectedOutageError: "DependencyTimeoutException",
    limit_errors.InjectedQuotaError: "LimitExceededException",
}
"""Every other error is a ValidationException."""

JSON_STATUS: Final = {
    "DryRunOperationException": 412,
    "KMSInternalException": 500,
    "DependencyTimeoutException": 503,
    "RequestEntityTooLargeException": 413,
}
"""Where it is not 400."""


def query_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as STS and IAM put it."""
    code = QUERY_CODES.get(type(error), "ValidationError")
    return CodedFault(code, QUERY_STATUS.get(code, 400), text_of(error))


def json_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as KMS puts it."""
    code = JSON_CODES.get(type(error), "ValidationException")
    return CodedFault(code, JSON_STATUS.get(code, 400), text_of(error))
