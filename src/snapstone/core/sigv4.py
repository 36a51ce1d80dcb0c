"""Signature V4, for both sides: the canonical forms that are signed, the key that signs, the signature."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
"""The last part of a credential scope: date, region, service, terminator."""

_UNRESERVED = "-._~"
"""Characters that canonical text leaves unescaped, in addition to letters and digits."""


def split_target(target: str) -> tuple[str, str]:
    """The path and the query of a raw request target, both still percent-encoded, the path normalised.

    Normalised as the AWS SDKs do before they sign (RFC 3986 dot segments, empty segments dropped), so the path that
    was signed and the path that is routed are the same text.
    """
    path, _, query = target.partition("?")
    if "//" in path or "/." in path:
        path = _normalised(path)
    return path or "/", query


def _normalised(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    first = "/" if path.startswith("/") else ""
    last = "/" if path.endswith("/") and kept else ""
    return first + "/".join(kept) + last


def canonical_path(path: str) -> str:
    """The wire path percent-encoded a second time: every service but S3 signs it doubly encoded."""
    return quote(path, safe="/" + _UNRESERVED)


def query_pairs(query: str) -> list[tuple[bytes, bytes]]:
    """A raw query's names and values, percent-decoded once. A literal `+` is a plus sign, never a space."""
    pairs = []
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def canonical_query(pairs: Iterable[tuple[bytes, bytes]]) -> str:
    """Names and values re-encoded and sorted by encoded name, then value; X-Amz-Signature left out."""
    encoded = sorted(
        (quote_from_bytes(name, safe=_UNRESERVED), quote_from_bytes(value, safe=_UNRESERVED))
        for name, value in pairs
        if name != b"X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def canonical_headers(headers: Mapping[str, str], signed_names: Iterable[str]) -> str:
    """The signed headers, one a line, inner runs of white space as one space. Raises KeyError for an absent one."""
    return "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed_names)


def canonical_request(
    method: str, path: str, query: str, headers: str, signed_headers: str, payload_hash: str
) -> bytes:
    """The canonical parts joined; header bytes beyond ASCII are those that were received."""
    text = f"{method}\n{path}\n{query}\n{headers}\n{signed_headers}\n{payload_hash}"
    return text.encode("latin-1")


def derive_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key that signs on one day (`YYYYMMDD`), in one region, for one service."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def signature(key: bytes, timestamp: str, scope: str, canonical: bytes) -> str:
    """The signature over a canonical request: 64 hexadecimal digits."""
    to_sign = f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.digest(key, to_sign.encode("latin-1"), "sha256").hex()
