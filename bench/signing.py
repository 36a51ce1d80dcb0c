"""AWS Signature Version 4 as an SDK applies it: whole request heads, made before they are timed.

Written apart from the server's own code, so that the two check each other.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_PAYLOAD_HASH: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that speaks the EBS direct APIs, and a key it accepts."""

    host: str
    port: int
    access_key_id: str
    secret_access_key: str
    region: str = "us-east-1"
    service: str = "ebs"


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Query parameters encoded and ordered as Signature Version 4 wants them; also valid in a URL."""
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signer:
    """Signs requests to one endpoint as of the moment it was made; AWS lets a signature live for 15 minutes."""

    def __init__(self, endpoint: Endpoint, now: datetime | None = None) -> None:
        self._host = f"{endpoint.host}:{endpoint.port}"
        self._date = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        self._scope = f"{self._date[:8]}/{endpoint.region}/{endpoint.service}/aws4_request"
        self._access_key_id = endpoint.access_key_id
        key = f"AWS4{endpoint.secret_access_key}".encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key

    def head(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        payload_hash: str = EMPTY_PAYLOAD_HASH,
        content_length: int | None = None,
    ) -> bytes:
        """A request's head, all of `headers` (lower-case names) signed; `query` as `canonical_query` gives it."""
        signed = {"host": self._host, "x-amz-date": self._date, **(headers or {})}
        if payload_hash == UNSIGNED_PAYLOAD:
            signed["x-amz-content-sha256"] = UNSIGNED_PAYLOAD
        names = ";".join(sorted(signed))
        canonical_headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"{method}\n{path}\n{query}\n{canonical_headers}\n{names}\n{payload_hash}"
        request_hash = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._date}\n{self._scope}\n{request_hash}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key_id}/{self._scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        if content_length is not None:
            signed["content-length"] = str(content_length)
        target = f"{path}?{query}" if query else path
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in signed.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()
