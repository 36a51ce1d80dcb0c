"""What an endpoint's refusal means for the caller: try again, wait, renew, or stop, and as which error.

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


class Kind(Enum):
    """What to do about a fault."""

    THROTTLED = auto()
    """Too many requests: wait, slow down, try again."""
    BROKEN = auto()
    """The endpoint's own trouble, or a connection's: try again."""
    DAMAGED = auto()
    """What the endpoint has stored is damaged, and it says so: it stays so."""
    FULL = auto()
    """The endpoint's disk is full: it passes if somebody there makes room."""
    LOST = auto()
    """The endpoint's data folder is gone: it passes if somebody there brings it back."""
    CORRUPT = auto()
    """The bytes that arrived are not those sent: try again, a few times."""
    EXPIRED = auto()
    """The credentials' time is over: renew them, try again."""
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
class Fault:
    """A refusal as it was answered."""

    code: str
    message: str
    status: int
    reason: str | None = None
    request_id: str | None = None
    date: str | None = None
    """The answer's Date header: the endpoint's clock."""
    cause: str | None = None
    """What Snapstone adds where AWS has one code for every failure of the server (`core.causes`)."""

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.code}{reason}: {self.message[:MAX_SHOWN_LENGTH]}{request}"


class FaultError(Exception):
    """Carries a fault from the attempt to the retry layer."""

    def __init__(self, fault: Fault) -> None:
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


def kind_of(fault: Fault) -> Kind:
    """What to do about a fault."""
    code, text = fault.code, fault.message.lower()
    if fault.cause in _CAUSES:
        return _CAUSES[fault.cause]
    if code == CHECKSUM_MISMATCH or (code == "InvalidSignatureException" and _CORRUPT_TEXT in text):
        return Kind.CORRUPT
    if code in _SKEWED or (code in _DENIED and any(words in text for words in _SKEW_TEXTS)):
        return Kind.SKEWED
    if code == "ValidationException" and (
        fault.reason == "WRITE_REQUEST_TIMEOUT" or "failed to read block data" in text
    ):
        return Kind.BROKEN
    if code == "ValidationException" and "is not complete" in text:
        return Kind.NOT_READY
    for codes, kind in _KINDS:
        if code in codes:
            return kind
    if fault.status == 429:
        return Kind.THROTTLED
    return Kind.BROKEN if fault.status >= 500 or fault.status == 408 else Kind.REFUSED


_CAUSES: Final[Mapping[str | None, Kind]] = {
    Cause.DAMAGED: Kind.DAMAGED,
    Cause.FULL: Kind.FULL,
    Cause.LOST: Kind.LOST,
}
_KINDS: Final = (
    (_THROTTLES, Kind.THROTTLED),
    (_BROKEN, Kind.BROKEN),
    (_EXPIRED, Kind.EXPIRED),
    (_ABSENT, Kind.ABSENT),
    (_DENIED, Kind.DENIED),
)

STORAGE_TROUBLE: Final[Mapping[Kind, str]] = {
    Kind.FULL: "make room on the server's disk, such as by deleting snapshots",
    Kind.LOST: "bring the server's data folder back to its place, and restart the server",
}
"""Trouble that only somebody at the server can end, and how."""

_DAMAGE_ADVICE: Final = (
    "the server holds this damaged: uploading the image that it came from again puts the bytes back, and the server's "
    "damage log (docs/operations.md) says what else is affected"
)


def error_of(fault: Fault, action: str) -> ClientError:
    """The error that ends `action` (such as `put block 7 of snap-...`) after a fault."""
    kind = kind_of(fault)
    text = f"{action}: {fault}"
    if kind is Kind.THROTTLED:
        return ThrottledOutError(f"{text}; throttled for longer than the time budget: raise the quota or --retry-time")
    if kind is Kind.BROKEN:
        return UnreachableError(f"{text}; it stayed so, however often and long it was tried")
    if kind is Kind.DAMAGED:
        return DamagedError(f"{text}; {_DAMAGE_ADVICE}")
    if kind is Kind.FULL:
        return NoSpaceError(f"{text}; {STORAGE_TROUBLE[kind]}; the same command then goes on")
    if kind is Kind.LOST:
        return UnreachableError(f"{text}; {STORAGE_TROUBLE[kind]}; the same command then goes on")
    if kind is Kind.CORRUPT:
        return DamagedError(f"{text}; the bytes are changed on their way: check this machine's memory and the network")
    if kind is Kind.EXPIRED:
        return ExpiredCredentialsError(f"{text}; no newer credentials were found: log in again")
    if kind is Kind.SKEWED:
        return ExpiredCredentialsError(f"{text}; set this machine's clock right")
    if kind is Kind.ABSENT:
        return NotFoundError(f"{text}; check the id, the region and the account")
    if kind is Kind.DENIED:
        return DeniedError(text)
    if fault.code in ("ParamValidation", "InvalidSnapshotID.Malformed"):
        return UsageError(text)
    return RemoteError(text, fault.code, fault.reason)


def is_refused_token(error: RemoteError) -> bool:
    """Whether an endpoint no longer takes a block token: AWS's are good for about a week.

    Source: docs/aws-behaviour/ebs-direct.md, EBS-LIST-4 and EBS-GET-3.
    """
    return error.reason == "INVALID_BLOCK_TOKEN"


def fault_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault in an answer of the EBS direct APIs (rest-json)."""
    members = _members(body)
    named = headers.get("x-amzn-errortype") or members.get("__type") or members.get("code") or f"HTTP {status}"
    reason = members.get("Reason")
    message = members.get("Message") or members.get("message") or body[:MAX_SHOWN_LENGTH].decode("utf-8", "replace")
    return Fault(
        code=str(named).partition(":")[0].rpartition("#")[2],
        message=str(message),
        status=status,
        reason=None if reason is None else str(reason),
        request_id=headers.get("x-amzn-requestid"),
        date=headers.get("date"),
        cause=headers.get(CAUSE_HEADER),
    )


def fault_of_response(response: Mapping[str, Any]) -> Fault:
    """The fault in what botocore made of an answer (`ClientError.response`)."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    return Fault(
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
