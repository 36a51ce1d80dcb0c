"""Signature V4 verified: a claim is believed only where an active key's secret gives the same signature, in time.

Pure but for the key look-up that is passed in. The order of checks is: region and clock, which cost nothing; then the
signature; then what only the key's owner may learn, that its session token is wrong or its time is over.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

from snapstone.service.iam.identity import Credentials
from snapstone.wire.canonical import canonical_headers, canonical_path, canonical_request
from snapstone.wire.claims import ALGORITHM, TERMINATOR, Claim
from snapstone.wire.refusals import (
    ClockSkewError,
    ExpiredCredentialsError,
    InvalidSessionTokenError,
    MalformedSignatureError,
    SignatureMismatchError,
    UnknownAccessKeyError,
    UnknownRegionError,
)

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
        raise ExpiredCredentialsError


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
    to_sign = (
        f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope_date}/{claim.region}/{claim.service}/{TERMINATOR}\n"
        f"{hashlib.sha256(request).hexdigest()}"
    )
    return hmac.digest(signing_key, to_sign.encode("latin-1"), "sha256").hex()


@lru_cache(maxsize=SIGNING_KEY_CACHE_SIZE)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def _too_old_text(claim: Claim, now_s: int) -> str:
    if claim.expires_seconds is not None:
        return f"Signature expired: {claim.timestamp} + {claim.expires_seconds} s is earlier than {_basic_iso(now_s)}."
    return (
        f"Signature expired: {claim.timestamp} is now earlier than "
        f"{_basic_iso(now_s - CLOCK_SKEW_SECONDS)} ({_basic_iso(now_s)} - 15 min.)"
    )


def _basic_iso(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))
