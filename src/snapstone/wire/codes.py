"""The faults of STS, IAM and KMS, by the table in `faults`.

Source: docs/aws-behaviour/signing-and-protocols.md, ERR-9, QUERY and JSON.
"""

from __future__ import annotations

from typing import Final

from snapstone.wire.faults import CodedFault, Protocol, row_of

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
"""Where it is not 400."""

JSON_STATUS: Final = {
    "DryRunOperationException": 412,
    "KMSInternalException": 500,
    "DependencyTimeoutException": 503,
    "RequestTimeoutException": 503,
    "RequestEntityTooLargeException": 413,
}
"""Where it is not 400."""


def query_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as STS and IAM put it."""
    row, code = row_of(error, Protocol.QUERY)
    return CodedFault(code, QUERY_STATUS.get(code, 400), row.text(error))


def json_fault(error: Exception) -> CodedFault:
    """The fault of an error that is one of REFUSALS, as KMS puts it."""
    row, code = row_of(error, Protocol.KMS)
    return CodedFault(code, JSON_STATUS.get(code, 400), row.text(error))
