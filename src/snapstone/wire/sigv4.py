"""Signature V4: what a request claims about who signed it, and whether the signature proves it.

The header and the presigned form are read into one value, the claim, which is believed only if an active key's secret
gives the same signature, in time. The order of checks: region and clock, which cost nothing; the signature; then what
only the key's owner may learn, that its session token is wrong or has expired.

A block is never read before its caller is known, so a put's hash comes from its headers alone; whether the bytes are
those that x-amz-checksum names is checked when they are received. Every other body is bounded, read, and hashed here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

from snapstone.core.blocks import digest_from_checksum
from snapstone.core.ids import Region
from snapstone.core.sigv4 import (
    ALGORITHM,
    TERMINATOR,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    derive_key,
    query_pairs,
    signature,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.identities.identity import Credentials, credentials_of
from snapstone.wire.http import Request
from snapstone.wire.refusals import (
    ClockSkewError,
    ExpiredSessionError,
    InvalidSessionTokenError,
    MalformedSignatureError,
    MissingCredentialsError,
    SignatureMismatchError,
    UnknownAccessKeyError,
    UnknownRegionError,
)

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

    Raises MissingCredentialsError if there is none, MalformedSignatureError if a part is missing, unreadable or
    doubled, or if both forms are there at once.
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
        signature=_claimed_signature(parts["Signature"]),
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
        signature=_claimed_signature(stated["X-Amz-Signature"]),
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
    """The header that names a JSON protocol's operation, if it is there: unsigned, anybody could change it."""
    return ("x-amz-target",) if "x-amz-target" in headers else ()


def _scope(credential: str) -> tuple[str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or not all(parts):
        raise MalformedSignatureError("Credential must have the form KEY_ID/DATE/REGION/SERVICE/aws4_request.")
    if parts[4] != TERMINATOR:
        raise MalformedSignatureError(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    return parts[0], parts[1], parts[2], parts[3]


def _claimed_signature(text: str) -> str:
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


UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


def hashes_of_unread_block(claim: Claim, headers: Mapping[str, str], query: str) -> tuple[str, ...]:
    """The payload hashes that a put whose body is still unread may have been signed with.

    Raises SignatureMismatchError if the headers leave the body unbound or contradict each other, and
    MalformedSignatureError for a form of hash that is not supported (`STREAMING-...`).
    """
    stated = _stated_hash(claim, headers, query)
    if claim.is_presigned:
        return _hashes_of_presigned_block(claim, stated)
    if stated == UNSIGNED_PAYLOAD:
        return (UNSIGNED_PAYLOAD,)
    digest = digest_from_checksum(headers.get("x-amz-checksum", ""))
    if digest is None:
        raise SignatureMismatchError(
            "Without 'X-Amz-Content-SHA256: UNSIGNED-PAYLOAD', x-amz-Checksum must name the SHA-256 of the block."
        )
    if stated is not None and stated != digest.hex():
        raise SignatureMismatchError("X-Amz-Content-SHA256 and x-amz-Checksum name different bytes.")
    return (digest.hex(),)


def hashes_of_no_body(claim: Claim, headers: Mapping[str, str], query: str) -> tuple[str, ...]:
    """The hash that a request of S3 without a body may have been signed with: S3 takes an unsigned payload too.

    Raises as `hashes_of_body`.
    """
    if _stated_hash(claim, headers, query) == UNSIGNED_PAYLOAD:
        return (UNSIGNED_PAYLOAD,)
    return hashes_of_body(claim, headers, query, b"")


def hashes_of_body(claim: Claim, headers: Mapping[str, str], query: str, body: bytes) -> tuple[str, ...]:
    """The one hash that a request with this body may have been signed with.

    Raises SignatureMismatchError if the stated hash is another, MalformedSignatureError as above.
    """
    stated = _stated_hash(claim, headers, query)
    computed = hashlib.sha256(body).hexdigest() if body else EMPTY_HASH
    if stated == UNSIGNED_PAYLOAD:
        raise SignatureMismatchError("Only PutSnapshotBlock may be sent with an unsigned payload.")
    if stated is not None and stated != computed:
        raise SignatureMismatchError("X-Amz-Content-SHA256 is not the SHA-256 of the body received.")
    return (computed,)


def _hashes_of_presigned_block(claim: Claim, stated: str | None) -> tuple[str, ...]:
    if "x-amz-checksum" not in claim.signed_names:
        raise SignatureMismatchError("A presigned PutSnapshotBlock must have x-amz-checksum among its SignedHeaders.")
    if stated is None:
        return (EMPTY_HASH, UNSIGNED_PAYLOAD)
    if stated not in (EMPTY_HASH, UNSIGNED_PAYLOAD):
        raise SignatureMismatchError("A presigned PutSnapshotBlock is signed without its body.")
    return (stated,)


def _stated_hash(claim: Claim, headers: Mapping[str, str], query: str) -> str | None:
    stated = headers.get("x-amz-content-sha256")
    if stated is None and claim.is_presigned:
        for name, value in query_pairs(query):
            if name.lower() == b"x-amz-content-sha256":
                stated = value.decode("latin-1")
    if stated is None or stated == UNSIGNED_PAYLOAD or _HEX_SHA256.fullmatch(stated):
        return stated
    raise MalformedSignatureError("X-Amz-Content-SHA256 must be a hexadecimal SHA-256 or UNSIGNED-PAYLOAD.")


CLOCK_SKEW_SECONDS: Final = 900
"""How far a signing date may be from this server's clock, either way."""

SIGNING_KEY_CACHE_SIZE: Final = 1_024
"""Derived keys remembered. The secret is part of the cache's key, so a changed secret never meets an old entry."""

MISMATCH_TEXT: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)

_NO_SECRET = "no key has this secret: it only makes an unknown key id take as long as a known one"


def check_scope(claim: Claim, regions: Container[str], now_ms: int) -> None:
    """Refuse what no secret could put right, before a body is read or a key looked up.

    Raises UnknownRegionError, SignatureMismatchError (scope of another day) and ClockSkewError.
    """
    if claim.region not in regions:
        raise UnknownRegionError(claim.region)
    if claim.scope_date != claim.timestamp[:8]:
        raise SignatureMismatchError(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{claim.scope_date[:8]}' != '{claim.timestamp[:8]}', from '{claim.timestamp}'."
        )
    now_s = now_ms // 1000
    life_seconds = CLOCK_SKEW_SECONDS if claim.expires_seconds is None else claim.expires_seconds
    if now_s < claim.signed_at_s - CLOCK_SKEW_SECONDS:
        raise ClockSkewError(
            f"Signature not yet current: {claim.timestamp} is still later than "
            f"{_basic_iso(now_s + CLOCK_SKEW_SECONDS)} ({_basic_iso(now_s)} + 15 min.)"
        )
    if now_s > claim.signed_at_s + life_seconds:
        raise ClockSkewError(_too_old_text(claim, now_s))


def verify(
    method: str,
    path: str,
    headers: Mapping[str, str],
    claim: Claim,
    payload_hashes: tuple[str, ...],
    find_key: Callable[[str], Credentials | None],
    now_ms: int,
) -> Credentials:
    """The access key that signed this request head, if the signature over any one of `payload_hashes` is valid.

    `path` is the raw wire path, still percent-encoded. Call `check_scope` first. Raises UnknownAccessKeyError (also for
    a key that is not active), MalformedSignatureError, SignatureMismatchError, InvalidSessionTokenError and
    ExpiredCredentialsError.
    """
    key = find_key(claim.access_key_id)
    known = key is not None and key.active
    secret = key.secret if key is not None and key.active else _NO_SECRET
    signing_key = _signing_key(secret, claim.scope_date, claim.region, claim.service)
    matches = False
    for payload_hash in payload_hashes:
        expected = _signature(method, path, headers, claim, payload_hash, signing_key)
        matches |= hmac.compare_digest(expected, claim.signature)
    if key is None or not known:
        raise UnknownAccessKeyError(claim.access_key_id)
    if not matches:
        raise SignatureMismatchError(MISMATCH_TEXT)
    _check_session(key, now_ms)
    return key


def _check_session(key: Credentials, now_ms: int) -> None:
    if not key.session_token_ok:
        raise InvalidSessionTokenError
    if key.expires_at_ms is not None and now_ms >= key.expires_at_ms:
        raise ExpiredSessionError


def _signature(
    method: str, path: str, headers: Mapping[str, str], claim: Claim, payload_hash: str, signing_key: bytes
) -> str:
    try:
        signed = canonical_headers(headers, claim.signed_names)
    except KeyError as error:
        raise MalformedSignatureError(f"The signed header '{error.args[0]}' is not in the request.") from error
    request = canonical_request(
        method, canonical_path(path), claim.canonical_query, signed, claim.signed_headers, payload_hash
    )
    scope = f"{claim.scope_date}/{claim.region}/{claim.service}/{TERMINATOR}"
    return signature(signing_key, claim.timestamp, scope, request)


_signing_key = lru_cache(maxsize=SIGNING_KEY_CACHE_SIZE)(derive_key)


def _too_old_text(claim: Claim, now_s: int) -> str:
    if claim.expires_seconds is not None:
        return f"Signature expired: {claim.timestamp} + {claim.expires_seconds} s is earlier than {_basic_iso(now_s)}."
    return (
        f"Signature expired: {claim.timestamp} is now earlier than "
        f"{_basic_iso(now_s - CLOCK_SKEW_SECONDS)} ({_basic_iso(now_s)} - 15 min.)"
    )


def _basic_iso(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


class Authentication:
    """Asked twice for each request: before its body is read, and with the body's hash."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._regions = frozenset(engine.settings.regions)

    def check_scope(self, claim: Claim) -> None:
        """Refuse what needs neither a body nor a key; raises as `sigv4.check_scope`."""
        check_scope(claim, self._regions, self._engine.now_ms())

    def caller(self, request: Request, path: str, claim: Claim, payload_hashes: tuple[str, ...]) -> Caller:
        """The signer of the request; raises as `sigv4.verify`."""
        engine = self._engine

        def find_key(access_key_id: str) -> Credentials | None:
            return credentials_of(engine, access_key_id, claim.session_token)

        key = verify(request.method, path, request.headers, claim, payload_hashes, find_key, engine.now_ms())
        facts = {
            "aws:sourceip": request.peer,
            "aws:securetransport": "false",
            "aws:useragent": request.headers.get("user-agent", ""),
        }
        return Caller(key.account_id, Region(claim.region), key.access_key_id, key.principal, facts)
