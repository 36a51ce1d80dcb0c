"""Requests built by hand: signed as botocore signs, sent byte for byte, answers kept as they came."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from unittest.mock import patch

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.server_process import REGION, AccessKeyPair

ANSWER_LIMIT_SECONDS: Final = 30.0
UNSIGNED_PAYLOAD: Final = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The fault's name, as a client reads it from x-amzn-ErrorType."""
        return (self.header("x-amzn-errortype") or "").partition(":")[0]

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        return next((value for spelled, value in self.headers if spelled.lower() == name.lower()), None)

    @property
    def header_names(self) -> set[str]:
        """Names of all headers, spelled as they came."""
        return {name for name, _ in self.headers}


@dataclass(frozen=True)
class RawRequest:
    """A request that may still be changed between signing and sending."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    """An iterable is sent chunked, a chunk for each of its members."""


class RawClient:
    """Signs and sends; a new connection for each request."""

    def __init__(self, address: tuple[str, int], key: AccessKeyPair) -> None:
        self.address = address
        self.host = f"{address[0]}:{address[1]}"
        self._key = key

    def connect(self) -> http.client.HTTPConnection:
        """A connection that `send` can be given, to send several requests over it."""
        return http.client.HTTPConnection(*self.address, timeout=ANSWER_LIMIT_SECONDS)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        **scope: Any,
    ) -> Answer:
        """Sign and send; all `headers` are signed. `scope` as in `signed`."""
        return self.send(self.signed(RawRequest(method, target, headers or {}, body), **scope))

    def action(self, action: str, body: str = "", **scope: Any) -> Answer:
        """Send one EC2 query: `body` is the rest of the form, already encoded."""
        form = f"Action={action}&Version=2016-11-15{'&' if body else ''}{body}"
        return self.request("POST", "/", FORM, form.encode(), **{"service": "ec2"} | scope)

    def signed(
        self,
        request: RawRequest,
        *,
        service: str = "ebs",
        region: str = REGION,
        key: AccessKeyPair | None = None,
        at: datetime | None = None,
        token: str | None = None,
        left_out: Collection[str] = (),
        scope_date: str | None = None,
    ) -> RawRequest:
        """The request with Host, X-Amz-Date (of `at`, or now) and Authorization.

        The signature is right, also where it leaves headers out (lower-case names) or has a scope of another date.
        """
        key = key or self._key
        data = request.body if isinstance(request.body, bytes) else b"".join(request.body)
        aws_request = self._aws_request(request, data)
        credentials = Credentials(key.access_key_id, key.secret_access_key, token)
        with _clock(at):
            _HeaderSigner(credentials, service, region, left_out, scope_date).add_auth(aws_request)
        headers = {"Host": self.host, **dict(aws_request.headers.items())}
        return RawRequest(request.method, request.target, headers, request.body)

    def presigned(
        self,
        request: RawRequest,
        *,
        service: str = "ebs",
        expires_seconds: int = 3600,
        at: datetime | None = None,
        payload: str = EMPTY_HASH,
    ) -> RawRequest:
        """The request with its signature in the query, over the headers given and `payload` for a body's hash."""
        aws_request = self._aws_request(request, b"")
        credentials = Credentials(self._key.access_key_id, self._key.secret_access_key)
        with _clock(at):
            _QuerySigner(credentials, service, REGION, expires_seconds, payload).add_auth(aws_request)
        target = aws_request.url.partition(self.host)[2]
        return RawRequest(request.method, target, {"Host": self.host, **request.headers}, request.body)

    def send(self, request: RawRequest, connection: http.client.HTTPConnection | None = None) -> Answer:
        """Send a request as it is. Content-Length, or Transfer-Encoding for pieces, is added where not given."""
        link = connection or self.connect()
        try:
            link.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self._framed(request).items():
                link.putheader(name, value)
            # A server may answer a condemned body, and close, before it has read it.
            with suppress(BrokenPipeError, ConnectionResetError):
                link.endheaders(request.body, encode_chunked=not isinstance(request.body, bytes))
            response = link.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            if connection is None:
                link.close()

    def _aws_request(self, request: RawRequest, data: bytes) -> AWSRequest:
        return AWSRequest(request.method, f"http://{self.host}{request.target}", dict(request.headers), data)

    @staticmethod
    def _framed(request: RawRequest) -> dict[str, str]:
        headers = dict(request.headers)
        if not isinstance(request.body, bytes):
            return headers | {"Transfer-Encoding": "chunked"}
        if "Content-Length" not in headers and (request.body or request.method in {"PUT", "POST"}):
            headers["Content-Length"] = str(len(request.body))
        return headers


class _HeaderSigner(SigV4Auth):  # type: ignore[misc]
    """Signs as botocore does, save for headers to leave out and a date of its own in the scope."""

    def __init__(
        self,
        credentials: Credentials,
        service: str,
        region: str,
        left_out: Collection[str],
        scope_date: str | None,
    ) -> None:
        super().__init__(credentials, service, region)
        self._left_out = left_out
        self._scope_date = scope_date

    def headers_to_sign(self, request: AWSRequest) -> Any:
        headers = super().headers_to_sign(request)
        for name in self._left_out:
            del headers[name]
        return headers

    def string_to_sign(self, request: AWSRequest, canonical_request: str) -> str:
        stamp = request.context["timestamp"]
        request.context["timestamp"] = (self._scope_date or stamp[:8]) + stamp[8:]
        algorithm, _, *rest = super().string_to_sign(request, canonical_request).split("\n")
        return "\n".join([algorithm, stamp, *rest])


class _QuerySigner(SigV4QueryAuth):  # type: ignore[misc]
    """Presigns as botocore does, over a payload hash that is given."""

    def __init__(self, credentials: Credentials, service: str, region: str, expires_seconds: int, payload: str) -> None:
        super().__init__(credentials, service, region, expires_seconds)
        self._payload = payload

    def payload(self, request: AWSRequest) -> str:
        return self._payload


def _clock(at: datetime | None) -> AbstractContextManager[object]:
    """Make botocore believe that it is `at`; not for use from several threads at once unless None."""
    return nullcontext() if at is None else patch("botocore.auth.get_current_datetime", lambda: at)
