"""What a request says about who signed it: the header and the presigned form read into one value, not yet believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from snapstone.core.sigv4 import ALGORITHM, TERMINATOR, canonical_query, query_pairs
from snapstone.wire.refusals import MalformedSignatureError, MissingCredentialsError

MAX_EXPIRES_SECONDS: Final = 604_800
"""Seven days: the longest that a presigned URL may live."""

_AUTHORIZATION_PARTS = ("Credential", "SignedHeaders", "Signature")
_HEX_DIGITS = frozenset("0123456789abcdef")
_SIGNATURE_LENGTH = 64
_TIMESTAMPS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature as the request states it."""

    access_key_id: str
    scope_date: str
    region: str
    service: str
    signed_headers: str
    """Lower-case names joined by `;`, as sent."""
    signature: str
    timestamp: str
    """`YYYYMMDDTHHMMSSZ`."""
    signed_at_s: int
    """The same in seconds since the epoch."""
    expires_seconds: int | None
    """Life of a presigned URL; None for the header form."""
    session_token: str | None
    canonical_query: str

    @property
    def is_presigned(self) -> bool:
        return self.expires_seconds is not None

    @property
    def signed_names(self) -> list[str]:
        return self.signed_headers.split(";")


def read_claim(headers: Mapping[str, str], query: str) -> Claim:
    """Read either form of signature.

    Raises MissingCredentialsError where there is none, MalformedSignatureError where a part is missing, unreadable or
    doubled, or where both forms are there at once.
    """
    pairs = query_pairs(query) if query else []
    presigned = any(name in (b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature") for name, _ in pairs)
    authorization = headers.get("authorization")
    if presigned and authorization is not None:
        raise MalformedSignatureError("The request has both an Authorization header and a presigned query; send one.")
    if presigned:
        return _query_claim(headers, pairs)
    if authorization is None:
        raise MissingCredentialsError
    return _header_claim(headers, authorization, canonical_query(pairs) if pairs else "")


def _header_claim(headers: Mapping[str, str], authorization: str, query: str) -> Claim:
    algorithm, _, listed = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise MalformedSignatureError(f"Authorization must use the algorithm {ALGORITHM}.")
    parts: dict[str, str] = {}
    for piece in listed.split(","):
        name, _, value = piece.strip().partition("=")
        if name in parts or name not in _AUTHORIZATION_PARTS:
            raise MalformedSignatureError("Authorization header has a part that is doubled or not known.")
        parts[name] = value
    for name in _AUTHORIZATION_PARTS:
        if not parts.get(name):
            raise MalformedSignatureError(f"Authorization header requires '{name}' parameter.")
    signed_headers = parts["SignedHeaders"]
    timestamp, signed_at_s = _header_timestamp(headers)
    session_token = headers.get("x-amz-security-token")
    date_name = "x-amz-date" if "x-amz-date" in headers else "date"
    token_names = () if session_token is None else ("x-amz-security-token",)
    _check_signed_headers(signed_headers, ("host", date_name, *token_names, *_target_names(headers)))
    return Claim(
        *_scope(parts["Credential"]),
        signed_headers=signed_headers,
        signature=_signature(parts["Signature"]),
        timestamp=timestamp,
        signed_at_s=signed_at_s,
        expires_seconds=None,
        session_token=session_token,
        canonical_query=query,
    )


def _query_claim(headers: Mapping[str, str], pairs: list[tuple[bytes, bytes]]) -> Claim:
    stated: dict[str, str] = {}
    for name, value in pairs:
        if name.startswith(b"X-Amz-"):
            text = name.decode("latin-1")
            if text in stated:
                raise MalformedSignatureError(f"AWS query-string parameter '{text}' is there more than once.")
            stated[text] = value.decode("latin-1")
    for text in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"):
        if not stated.get("X-Amz-" + text):
            raise MalformedSignatureError(f"AWS query-string parameters must include 'X-Amz-{text}'.")
    if stated["X-Amz-Algorithm"] != ALGORITHM:
        raise MalformedSignatureError(f"X-Amz-Algorithm must be {ALGORITHM}.")
    _check_signed_headers(stated["X-Amz-SignedHeaders"], ("host", *_target_names(headers)))
    if "x-amz-security-token" in headers:
        raise MalformedSignatureError("A presigned request carries its session token in X-Amz-Security-Token.")
    return Claim(
        *_scope(stated["X-Amz-Credential"]),
        signed_headers=stated["X-Amz-SignedHeaders"],
        signature=_signature(stated["X-Amz-Signature"]),
        timestamp=stated["X-Amz-Date"],
        signed_at_s=_basic_iso_seconds(stated["X-Amz-Date"]),
        expires_seconds=_expires(stated["X-Amz-Expires"]),
        session_token=stated.get("X-Amz-Security-Token"),
        canonical_query=canonical_query(pairs),
    )


def _check_signed_headers(signed_headers: str, required: tuple[str, ...]) -> None:
    """Each name once (so the canonical headers are never longer than the head itself), the required ones among them."""
    names = signed_headers.split(";")
    if len(set(names)) != len(names):
        raise MalformedSignatureError("SignedHeaders names a header more than once.")
    for name in required:
        if name not in names:
            raise MalformedSignatureError(f"The header '{name}' must be among the SignedHeaders.")


def _target_names(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The header that names a JSON protocol's operation, where it is there: unsigned, anybody could change it."""
    return ("x-amz-target",) if "x-amz-target" in headers else ()


def _scope(credential: str) -> tuple[str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or not all(parts):
        raise MalformedSignatureError("Credential must have the form KEY_ID/DATE/REGION/SERVICE/aws4_request.")
    if parts[4] != TERMINATOR:
        raise MalformedSignatureError(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    return parts[0], parts[1], parts[2], parts[3]


def _signature(text: str) -> str:
    if len(text) != _SIGNATURE_LENGTH or not _HEX_DIGITS.issuperset(text):
        raise MalformedSignatureError("Signature must be 64 lower-case hexadecimal digits.")
    return text


def _expires(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_EXPIRES_SECONDS))):
        raise MalformedSignatureError("X-Amz-Expires must be a number of seconds.")
    seconds = int(text)
    if not 1 <= seconds <= MAX_EXPIRES_SECONDS:
        raise MalformedSignatureError(f"X-Amz-Expires must be between 1 and {MAX_EXPIRES_SECONDS} seconds.")
    return seconds


def _header_timestamp(headers: Mapping[str, str]) -> tuple[str, int]:
    stated = headers.get("x-amz-date")
    if stated is not None:
        return stated, _basic_iso_seconds(stated)
    stated = headers.get("date")
    if stated is None:
        raise MalformedSignatureError("The request has neither an 'X-Amz-Date' nor a 'Date' header.")
    if stated[:1].isdigit():
        return stated, _basic_iso_seconds(stated)
    try:
        moment = parsedate_to_datetime(stated)
    except (ValueError, OverflowError) as error:
        raise MalformedSignatureError("The Date header is not an HTTP date.") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y%m%dT%H%M%SZ"), int(moment.timestamp())


@lru_cache(maxsize=_TIMESTAMPS_REMEMBERED)
def _basic_iso_seconds(text: str) -> int:
    digits = text[:8] + text[9:15]
    if not (len(text) == 16 and text[8] == "T" and text[15] == "Z" and digits.isascii() and digits.isdigit()):
        raise MalformedSignatureError("The signing date must have the form YYYYMMDD'T'HHMMSS'Z'.")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[9:11]), int(text[11:13]), int(text[13:15])
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError as error:
        raise MalformedSignatureError("The signing date is not a date.") from error
