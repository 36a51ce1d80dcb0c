"""Rules for injected faults, as a file has them: which calls are hit, and by what.

A rule names an error by a short name or by what AWS calls it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final

from snapstone.core.errors import (
    AccessDeniedError,
    AccountThrottledError,
    DamageError,
    IdempotencyConflictError,
    InjectedFailureError,
    InjectedOutageError,
    InjectedQuotaError,
    InvalidBlockTokenError,
    InvalidPageTokenError,
    PendingSnapshotLimitError,
    SnapshotNotFoundError,
    SnapshotThrottledError,
    StoreFullError,
    StoreLostError,
)
from snapstone.service.quotas import AWS_QUOTAS
from snapstone.wire.http import Call
from snapstone.wire.refusals import ExpiredSessionError

MakeError = Callable[[Call], Exception]


def _text(call: Call, *names: str) -> str:
    """The first of these members that a call has; empty if it has none."""
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
    "damaged": lambda _: DamageError("none", "injected fault"),
    "storage-full": lambda _: StoreFullError("injected fault"),
    "storage-lost": lambda _: StoreLostError("injected fault"),
    "quota-exceeded": lambda _: InjectedQuotaError(),
    "pending-limit": lambda _: PendingSnapshotLimitError(AWS_QUOTAS.pending_snapshots or 0),
    "snapshot-not-found": _not_found,
    "access-denied": _denied,
    "expired-token": lambda _: ExpiredSessionError(),
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
"""The name of each in one service or another; the called service answers with its own name."""

ERRORS: Final[Mapping[str, MakeError]] = {
    **SHORT_NAMES,
    **{name: SHORT_NAMES[short_name] for name, short_name in AWS_NAMES.items()},
}


MOST_RULES: Final = 100
MOST_LATENCY_MS: Final = 60_000
MOST_COUNT: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Rule:
    """Which calls are hit, and by what: a delay, then an error or a cut."""

    operation: str = "*"
    """`service:Operation`, with `*` and `?`."""
    rate: float = 1.0
    """Part of the calls that are hit."""
    every: int = 1
    """Only every Nth of the calls that match."""
    first: int = MOST_COUNT
    """Only the first N calls that match."""
    latency_ms: int = 0
    jitter_ms: int = 0
    """At most this is added to the delay."""
    error: str | None = None
    """One of `fault_errors.ERRORS`."""
    cut_after: int | None = None
    """Bytes of the answer's body after which the connection is cut."""
    seed: int | None = None


_BOUNDS: Final = {
    "every": (1, MOST_COUNT),
    "first": (1, MOST_COUNT),
    "latency_ms": (0, MOST_LATENCY_MS),
    "jitter_ms": (0, MOST_LATENCY_MS),
    "cut_after": (0, MOST_COUNT),
    "seed": (0, MOST_COUNT),
}


def parse_rules(text: str) -> list[Rule]:
    """Rules from a JSON list of objects with the fields of Rule. Raises ValueError."""
    document = json.loads(text)
    if not isinstance(document, list) or len(document) > MOST_RULES:
        raise ValueError(f"a list of at most {MOST_RULES} rules")
    return [_parse_rule(entry) for entry in document]


def _parse_rule(entry: object) -> Rule:
    names = {option.name for option in fields(Rule)}
    if not isinstance(entry, dict) or not entry.keys() <= names:
        raise ValueError(f"a rule is an object with some of {', '.join(sorted(names))}")
    for name, (least, most) in _BOUNDS.items():
        if name in entry and (type(entry[name]) is not int or not least <= entry[name] <= most):
            raise ValueError(f"{name} is a whole number from {least} to {most}")
    if "error" in entry and not (isinstance(entry["error"], str) and entry["error"] in ERRORS):
        raise ValueError(f"error is one of {', '.join(SHORT_NAMES)}, or AWS's name of one of them")
    if "rate" in entry and (type(entry["rate"]) not in (int, float) or not 0 <= entry["rate"] <= 1):
        raise ValueError("rate is a number from 0 to 1")
    if "operation" in entry and type(entry["operation"]) is not str:
        raise ValueError("operation is text such as ebs:Get*")
    return Rule(**entry)
