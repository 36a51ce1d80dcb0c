"""The meaning of an endpoint's refusal for the caller: retry, wait, renew, or stop, and with which error.

Sources: docs/aws-behaviour/ebs-direct.md, EBS-STATE and EBS-PUT; docs/aws-behaviour/signing-and-protocols.md, ERR and
CLIENT; AWS's list of common errors for EC2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

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
    UsageError,
)
from snapstone.core.errors import CAUSE_HEADER, Cause

MAX_SHOWN_LENGTH: Final = 500


class FaultKind(Enum):
    """What to do about a fault."""

    THROTTLED = auto()
    """Too many requests: wait, slow down, try again."""
    BROKEN = auto()
    """The endpoint's own trouble, or a connection's: try again."""
    DAMAGED = auto()
    """The endpoint reports that what it has stored is damaged; this is permanent."""
    FULL = auto()
    """The endpoint's disk is full: it passes if somebody there makes room."""
    LOST = auto()
    """The endpoint's data folder is gone: it ends when an operator restores it."""
    CORRUPT = auto()
    """The bytes that arrived are not those sent: try again, a few times."""
    EXPIRED = auto()
    """The credentials have expired: renew them and retry."""
    SKEWED = auto()
    """This machine's clock is wrong: correct for it, try again."""
    ABSENT = auto()
    """No such snapshot; right after its start, not yet."""
    NOT_READY = auto()
    """The parent is not complete; right after its completion, not yet."""
    DENIED = auto()
    REFUSED = auto()
    """Anything else: final."""


@dataclass(frozen=True)
class ApiFault:
    """A refusal as it was answered."""

    code: str
    message: str
    status: int
    reason: str | None = None
    request_id: str | None = None
    date: str | None = None
    """The answer's Date header: the endpoint's clock."""
    cause: str | None = None
    """Snapstone's addition, since AWS has one code for every server failure (`core.errors.Cause`)."""

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.code}{reason}: {self.message[:MAX_SHOWN_LENGTH]}{request}"


class FaultError(Exception):
    """Carries a fault from the attempt to the retry layer."""

    def __init__(self, fault: ApiFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


_THROTTLES: Final = frozenset({
    "RequestThrottledException", "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled",
    "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "BandwidthLimitExceeded", "PriorRequestNotComplete",
    "EC2ThrottledException",
})  # fmt: skip
_BROKEN: Final = frozenset({
    "InternalServerException", "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailableException",
})  # fmt: skip
_EXPIRED: Final = frozenset({"ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired", "RequestExpiredToken"})
_SKEWED: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"})
_ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidSnapshot.NotFound"})
_DENIED: Final = frozenset({
    "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "UnrecognizedClientException", "AuthFailure",
    "InvalidClientTokenId", "OptInRequired", "InvalidSignatureException", "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidAccessKeyId",
    "MissingAuthenticationToken", "IncompleteSignature", "NotAuthorized",
})  # fmt: skip
CHECKSUM_MISMATCH: Final = "ChecksumMismatch"
"""Code of the fault that the client itself finds: what was received does not have the checksum that came with it."""

_CORRUPT_TEXT: Final = "does not match the computed checksum"
_SKEW_TEXTS: Final = ("signature expired", "signature not yet current", "request timestamp")


def kind_of(fault: ApiFault) -> FaultKind:
    """What to do about a fault."""
    code, text = fault.code, fault.message.lower()
    if fault.cause in _CAUSES:
        return _CAUSES[fault.cause]
    if code == CHECKSUM_MISMATCH or (code == "InvalidSignatureException" and _CORRUPT_TEXT in text):
        return FaultKind.CORRUPT
    if code in _SKEWED or (code in _DENIED and any(words in text for words in _SKEW_TEXTS)):
        return FaultKind.SKEWED
    if code == "ValidationException" and (
        fault.reason == "WRITE_REQUEST_TIMEOUT" or "failed to read block data" in text
    ):
        return FaultKind.BROKEN
    if code == "ValidationException" and "is not complete" in text:
        return FaultKind.NOT_READY
    for codes, kind in _KINDS:
        if code in codes:
            return kind
    if fault.status == 429:
        return FaultKind.THROTTLED
    return FaultKind.BROKEN if fault.status >= 500 or fault.status == 408 else FaultKind.REFUSED


_CAUSES: Final[Mapping[str | None, FaultKind]] = {
    Cause.DAMAGED: FaultKind.DAMAGED,
    Cause.FULL: FaultKind.FULL,
    Cause.LOST: FaultKind.LOST,
}
_KINDS: Final = (
    (_THROTTLES, FaultKind.THROTTLED),
    (_BROKEN, FaultKind.BROKEN),
    (_EXPIRED, FaultKind.EXPIRED),
    (_ABSENT, FaultKind.ABSENT),
    (_DENIED, FaultKind.DENIED),
)

STORAGE_TROUBLE: Final[Mapping[FaultKind, str]] = {
    FaultKind.FULL: "free space on the server's disk",
    FaultKind.LOST: "put the server's data folder back in its place and restart the server",
}
"""Trouble that only somebody at the server can end, and how."""

_DAMAGE_ADVICE: Final = (
    "the server's copy is damaged: uploading the original image again repairs it, and the server's "
    "damage log (docs/operations.md) lists what else is affected"
)


def error_of(fault: ApiFault, action: str) -> ClientError:
    """The error that ends `action` (such as `put block 7 of snap-...`) after a fault."""
    kind = kind_of(fault)
    text = f"{action}: {fault}"
    if kind is FaultKind.THROTTLED:
        return ThrottledOutError(f"{text}; throttled for longer than the time budget; raise the quota or --retry-time")
    if kind is FaultKind.BROKEN:
        return UnreachableError(f"{text}; still failing after all retries (--retry-time)")
    if kind is FaultKind.DAMAGED:
        return DamagedError(f"{text}; {_DAMAGE_ADVICE}")
    if kind is FaultKind.FULL:
        return NoSpaceError(f"{text}; {STORAGE_TROUBLE[kind]}, then run the same command to resume")
    if kind is FaultKind.LOST:
        return UnreachableError(f"{text}; {STORAGE_TROUBLE[kind]}, then run the same command to resume")
    if kind is FaultKind.CORRUPT:
        return DamagedError(f"{text}; the bytes change in transit; check this machine's memory and the network")
    if kind is FaultKind.EXPIRED:
        return ExpiredCredentialsError(f"{text}; no newer credentials were found; log in again")
    if kind is FaultKind.SKEWED:
        return ExpiredCredentialsError(f"{text}; correct this machine's clock")
    if kind is FaultKind.ABSENT:
        return NotFoundError(f"{text}; check the ID, the region and the account")
    if kind is FaultKind.DENIED:
        return DeniedError(text)
    if fault.code in ("ParamValidation", "InvalidSnapshotID.Malformed"):
        return UsageError(text)
    return RemoteError(text, fault.code, fault.reason)


def is_refused_token(error: RemoteError) -> bool:
    """Whether an endpoint no longer takes a block token: AWS's are good for about a week.

    Source: docs/aws-behaviour/ebs-direct.md, EBS-LIST-4 and EBS-GET-3.
    """
    return error.reason == "INVALID_BLOCK_TOKEN"


def fault_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> ApiFault:
    """The fault in an answer of the EBS direct APIs (rest-json)."""
    members = _members(body)
    named = headers.get("x-amzn-errortype") or members.get("__type") or members.get("code") or f"HTTP {status}"
    reason = members.get("Reason")
    message = members.get("Message") or members.get("message") or body[:MAX_SHOWN_LENGTH].decode("utf-8", "replace")
    return ApiFault(
        code=str(named).partition(":")[0].rpartition("#")[2],
        message=str(message),
        status=status,
        reason=None if reason is None else str(reason),
        request_id=headers.get("x-amzn-requestid"),
        date=headers.get("date"),
        cause=headers.get(CAUSE_HEADER),
    )


def fault_of_response(response: Mapping[str, Any]) -> ApiFault:
    """The fault in what botocore made of an answer (`ClientError.response`)."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    return ApiFault(
        code=str(error.get("Code", "")),
        message=str(error.get("Message", "")),
        status=int(metadata.get("HTTPStatusCode", 0)),
        reason=response.get("Reason"),
        request_id=metadata.get("RequestId"),
        date=headers.get("date"),
        cause=headers.get(CAUSE_HEADER),
    )


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}
