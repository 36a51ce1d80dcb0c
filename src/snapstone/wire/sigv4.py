"""Signature V4 verified: a claim is believed only if an active key's secret gives the same signature, in time.

The order of checks: region and clock, which cost nothing; the signature; then what only the key's owner may learn, that
its session token is wrong or has expired. A block is never read before its caller is known, so a put's hash comes from
its headers alone; whether the bytes are those that x-amz-checksum names is checked when they are received. Every other
body is bounded, read, and hashed here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

from snapstone.core.blocks import digest_from_checksum
from snapstone.core.ids import Region
from snapstone.core.sigv4 import (
    TERMINATOR,
    canonical_headers,
    canonical_path,
    canonical_request,
    derive_key,
    query_pairs,
    signature,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.identities.identity import Credentials, credentials_of
from snapstone.wire.claims import Claim
from snapstone.wire.http import Request
from snapstone.wire.refusals import (
    ClockSkewError,
    ExpiredSessionError,
    InvalidSessionTokenError,
    MalformedSignatureError,
    SignatureMismatchError,
    UnknownAccessKeyError,
    UnknownRegionError,
)

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


def hashes_of_unread_block(claim: Claim, headers: Mapping[str, str], query: str) -> tuple[str, ...]:
    """The payload hashes that a put whose body is still unread may have been signed with.

    Raises SignatureMismatchError where the headers leave the body unbound or contradict each other, and
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

    Raises SignatureMismatchError where the stated hash is another, MalformedSignatureError as above.
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
    """Whose key signed this request head, where the signature over any one of `payload_hashes` holds.

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
        """Who signed the request; raises as `sigv4.verify`."""
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
