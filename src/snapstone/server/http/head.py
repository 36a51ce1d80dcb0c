"""A request's head: bytes in, a method, a target, headers and the body's framing out. No I/O; strict on purpose.

The grammar is llhttp's (through httptools), in its strict mode: no bare line feeds, no folded headers, no
Content-Length together with Transfer-Encoding. What llhttp leaves open is decided here. Every limit of a connection has
its name in `ConnectionLimits`; tests pass smaller ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httptools


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on a client's requests. Sizes in bytes, times in seconds."""

    head_size: int = 32 * 1024
    """Request line and headers together; past it the answer is 431."""
    target_size: int = 8 * 1024
    """The request target; past it the answer is 414."""
    header_count: int = 100
    """Headers of one request; past it the answer is 431."""
    idle_seconds: float = 75.0
    """How long a connection may stay open without a byte of a next request."""
    head_seconds: float = 10.0
    """From the first byte of a head to its last, however it drips; past it the answer is 408."""
    body_stall_seconds: float = 30.0
    """How long a body may pause without a byte."""
    body_seconds: float = 300.0
    """From the first read of a body to its last byte."""
    chunk_line_size: int = 256
    """A chunk's size with its extensions, in a chunked body."""
    chunk_count: int = 16_384
    """Chunks of one body: thirty-two bytes a chunk still carry a whole block."""
    trailer_size: int = 8 * 1024
    """All trailers of a chunked body together; they are read and dropped."""
    drain_size: int = 1024 * 1024
    """At most this much of an unread body is received and dropped to keep the connection alive."""
    drain_seconds: float = 2.0
    """How long such a rest may take."""
    linger_size: int = 16 * 1024 * 1024
    """Received and dropped after a connection's last answer while its client still sends, so that it sees it."""
    linger_seconds: float = 2.0
    """How long that may take."""
    send_stall_seconds: float = 30.0
    """How long a client may leave an answer untouched in its socket."""
    send_seconds: float = 300.0
    """From the first byte of an answer to its last."""


DEFAULT_LIMITS = ConnectionLimits()


HEAD_END: Final = b"\r\n\r\n"


@dataclass(eq=False)
class RefusedRequestError(Exception):
    """A request that this server does not take as HTTP. It is answered with `status`, and the connection closes."""

    status: int
    message: str


@dataclass(slots=True)
class Head:
    """The parsed head of one request."""

    method: str
    target: str
    """Path and query as sent; scheme and authority of an absolute target are cut off."""
    headers: dict[str, str]
    """Lower-case names; repeated headers joined by `,` in order of arrival."""
    http_1_0: bool
    keep_alive: bool
    content_length: int | None
    """Size of the body (0 if there is none), or None if it is chunked."""
    expects_continue: bool


class _Collector:
    """Receives llhttp's events of one head."""

    __slots__ = ("begun", "complete", "headers", "surplus", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = 0
        self.complete = False
        self.surplus = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True

    def on_body(self, body: bytes) -> None:
        self.surplus = True


def parse_head(head: bytes, limits: ConnectionLimits) -> Head:
    """Parse `head`, which ends with its empty line. Raises RefusedRequestError."""
    seen = _Collector()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        # An offer of another protocol may be ignored (RFC 9110, 7.8); a tunnel may not.
        if parser.get_method() == b"CONNECT":
            raise RefusedRequestError(501, "CONNECT is not supported") from None
    except httptools.HttpParserInvalidMethodError:
        raise RefusedRequestError(501, "The request's method is not an HTTP method") from None
    except httptools.HttpParserError as error:
        raise RefusedRequestError(400, f"The request is not valid HTTP: {error}") from None
    if not seen.complete or seen.surplus or seen.begun != 1:
        raise RefusedRequestError(400, "The request is not valid HTTP: its head is ambiguous")
    version: str = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise RefusedRequestError(505, f"HTTP {version} is not supported: use HTTP 1.1")
    headers = _headers(seen.headers, limits)
    if version == "1.1" and ("host" not in headers or "," in headers["host"]):
        raise RefusedRequestError(400, "A request needs exactly one Host header")
    return Head(
        method=parser.get_method().decode("ascii"),
        target=_target(seen.target, limits),
        headers=headers,
        http_1_0=version == "1.0",
        keep_alive=_keep_alive(headers.get("connection", ""), version),
        content_length=_content_length(headers, version),
        expects_continue=version == "1.1" and headers.get("expect", "").lower() == "100-continue",
    )


def refuse_long_head(start: bytes, limits: ConnectionLimits) -> RefusedRequestError:
    """The refusal of a head that does not end within the limit, depending on its beginning."""
    if b"\r\n" not in start[: limits.target_size]:
        return RefusedRequestError(414, f"The request target is longer than {limits.target_size} bytes")
    return RefusedRequestError(431, f"The request's headers are longer than {limits.head_size} bytes")


def _headers(pairs: list[tuple[bytes, bytes]], limits: ConnectionLimits) -> dict[str, str]:
    if len(pairs) > limits.header_count:
        raise RefusedRequestError(431, f"The request has more than {limits.header_count} headers")
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _target(target: bytes, limits: ConnectionLimits) -> str:
    if len(target) > limits.target_size:
        raise RefusedRequestError(414, f"The request target is longer than {limits.target_size} bytes")
    if b"#" in target:
        raise RefusedRequestError(400, "A request target has no fragment")
    text = target.decode("latin-1")
    if text.startswith(("/", "*")):
        return text
    scheme, _, authority_and_path = text.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise RefusedRequestError(400, "A request target begins with a slash")
    cut = min((at for at in map(authority_and_path.find, "/?") if at >= 0), default=len(authority_and_path))
    path = authority_and_path[cut:]
    return path if path.startswith("/") else f"/{path}"


def _keep_alive(connection: str, version: str) -> bool:
    options = {option.strip().lower() for option in connection.split(",")}
    return "close" not in options and (version == "1.1" or "keep-alive" in options)


def _content_length(headers: dict[str, str], version: str) -> int | None:
    coding = headers.get("transfer-encoding")
    if coding is None:
        return int(headers.get("content-length", "0"))
    if version == "1.0":
        raise RefusedRequestError(400, "HTTP 1.0 has no Transfer-Encoding")
    if coding.lower() != "chunked":
        raise RefusedRequestError(501, "The only Transfer-Encoding supported is chunked")
    return None
