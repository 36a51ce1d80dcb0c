"""Which hash of the body a signature was computed over: the rules for x-amz-content-sha256, or for its absence.

A block is never read before its caller is known, so a put's hash comes from its headers alone; whether the bytes are
those that x-amz-checksum names is checked when they are received. Every other body is bounded, read, and hashed here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from snapstone.core.blocks import digest_from_checksum
from snapstone.wire.canonical import query_pairs
from snapstone.wire.claims import Claim
from snapstone.wire.refusals import MalformedSignatureError, SignatureMismatchError

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
