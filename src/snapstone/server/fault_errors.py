"""The errors that a rule for faults may name, by a short name or by what AWS calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.core.errors import (
    DamageError,
    IdempotencyConflictError,
    InvalidBlockTokenError,
    InvalidPageTokenError,
    SnapshotNotFoundError,
    StoreFullError,
    StoreLostError,
)
from snapstone.core.identity_errors import AccessDeniedError
from snapstone.core.limit_errors import (
    AccountThrottledError,
    InjectedFailureError,
    InjectedOutageError,
    InjectedQuotaError,
    PendingSnapshotLimitError,
    SnapshotThrottledError,
)
from snapstone.service.quotas import AWS_QUOTAS
from snapstone.wire.call import Call
from snapstone.wire.refusals import ExpiredCredentialsError

MakeError = Callable[[Call], Exception]


def _text(call: Call, *names: str) -> str:
    """The first of these members that a call has; empty where it has none."""
    return next((value for name in names if isinstance(value := call.members.get(name), str)), "")


def _not_found(call: Call) -> Exception:
    return SnapshotNotFoundError((_text(call, "SnapshotId", "SecondSnapshotId", "ParentSnapshotId"),))


def _denied(call: Call) -> Exception:
    action = f"{call.service}:{call.operation}"
    return AccessDeniedError(call.caller.principal.arn, action, _text(call, "SnapshotId") or "*", explicit=False)


SHORT_NAMES: Final[Mapping[str, MakeError]] = {
    "throttled": lambda _: AccountThrottledError(),
    "snapshot-throttled": lambda _: SnapshotThrottledError(),
    "internal": lambda _: InjectedFailureError(),
    "unavailable": lambda _: InjectedOutageError(),
    "damaged": lambda _: DamageError("none", "asked for: fault injection is on"),
    "storage-full": lambda _: StoreFullError("asked for: fault injection is on"),
    "storage-lost": lambda _: StoreLostError("asked for: fault injection is on"),
    "quota-exceeded": lambda _: InjectedQuotaError(),
    "pending-limit": lambda _: PendingSnapshotLimitError(AWS_QUOTAS.pending_snapshots or 0),
    "snapshot-not-found": _not_found,
    "access-denied": _denied,
    "expired-token": lambda _: ExpiredCredentialsError(),
    "conflict": lambda _: IdempotencyConflictError(),
    "invalid-block-token": lambda call: InvalidBlockTokenError(_text(call, "BlockToken")),
    "invalid-page-token": lambda call: InvalidPageTokenError(_text(call, "NextToken")),
}

AWS_NAMES: Final[Mapping[str, str]] = {
    "RequestThrottledException": "throttled",
    "RequestThrottledException/ACCOUNT_THROTTLED": "throttled",
    "RequestLimitExceeded": "throttled",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "RequestThrottledException/RESOURCE_LEVEL_THROTTLE": "snapshot-throttled",
    "InternalServerException": "internal",
    "InternalError": "internal",
    "KMSInternalException": "internal",
    "InternalFailure": "internal",
    "Unavailable": "unavailable",
    "DependencyTimeoutException": "unavailable",
    "ServiceUnavailable": "unavailable",
    "ServiceQuotaExceededException": "quota-exceeded",
    "ServiceQuotaExceededException/DEPENDENCY_SERVICE_QUOTA_EXCEEDED": "quota-exceeded",
    "ResourceLimitExceeded": "quota-exceeded",
    "LimitExceededException": "quota-exceeded",
    "LimitExceeded": "quota-exceeded",
    "ConcurrentLimitExceededException": "pending-limit",
    "ResourceNotFoundException": "snapshot-not-found",
    "ResourceNotFoundException/SNAPSHOT_NOT_FOUND": "snapshot-not-found",
    "InvalidSnapshot.NotFound": "snapshot-not-found",
    "AccessDeniedException": "access-denied",
    "UnauthorizedOperation": "access-denied",
    "AccessDenied": "access-denied",
    "ExpiredTokenException": "expired-token",
    "RequestExpired": "expired-token",
    "ExpiredToken": "expired-token",
    "ConflictException": "conflict",
    "IdempotentParameterMismatch": "conflict",
    "ValidationException/INVALID_BLOCK_TOKEN": "invalid-block-token",
    "ValidationException/INVALID_PAGE_TOKEN": "invalid-page-token",
    "InvalidNextToken": "invalid-page-token",
}
"""What one service or another calls each; the service that is called answers with its own name."""

ERRORS: Final[Mapping[str, MakeError]] = {
    **SHORT_NAMES,
    **{name: SHORT_NAMES[short_name] for name, short_name in AWS_NAMES.items()},
}
