"""One HTTP/1.1 connection over a blocking socket: requests from the caller's buffers, answers into them.

A connection serves one thread at a time, is kept alive between requests, and is reopened after any failure.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

from snapstone.client.api.endpoint import CONNECT_SECONDS, READ_SECONDS
from snapstone.system.sockets import limit_receive, limit_send

MAX_HEAD_SIZE: Final = 65_536
MAX_LOOSE_BODY_SIZE: Final = 1 << 20
"""Longest body that is kept if it does not fit into the caller's buffer: an error's text, never a block."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class BrokenAnswerError(OSError):
    """The other side closed too early, or answered something that is not HTTP."""


@dataclass(slots=True)
class Answer:
    """An answer. `size` bytes of the body are in the caller's buffer, or the body is in `loose`."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    """Lower-case names."""
    size: int = 0
    loose: bytes = b""


class Remote:
    """Where connections go: an endpoint's URL taken apart, with TLS and proxy."""

    def __init__(
        self, url: str, *, ca_bundle: str | None = None, usual_bundle: str | None = None, proxy: str | None = None
    ) -> None:
        """`ca_bundle` is trusted alone; without one, `usual_bundle` and the system's certificates."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.scheme = parts.scheme
        self.base_path = parts.path.rstrip("/")
        self.host = parts.hostname
        self.port = parts.port or DEFAULT_PORTS[parts.scheme]
        self.host_header = parts.netloc.rpartition("@")[2]
        self.proxy = proxy
        self._tls = _tls(ca_bundle, usual_bundle) if parts.scheme == "https" else None

    def for_proxy(self, head: bytes) -> bytes:
        """A request's head as it is sent: a proxy of plain HTTP wants the whole URL, and who we are."""
        if self.proxy is None or self._tls is not None:
            return head
        line, _, rest = head.partition(b"\r\n")
        method, _, target = line.partition(b" ")
        login = "".join(f"{name}: {value}\r\n" for name, value in _login(urlsplit(_with_scheme(self.proxy))).items())
        return b"%s http://%s%s\r\n%s%s" % (method, self.host_header.encode(), target, login.encode(), rest)

    def open(self) -> socket.socket:
        """A connected socket; raises OSError."""
        sock = self._tunnel() if self.proxy else socket.create_connection((self.host, self.port), CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                _limit_by_kernel(sock)
                return sock
            secured = self._tls.wrap_socket(sock, server_hostname=self.host)
            secured.settimeout(READ_SECONDS)
            return secured
        except BaseException:
            sock.close()
            raise

    def _tunnel(self) -> socket.socket:
        assert self.proxy is not None
        parts = urlsplit(_with_scheme(self.proxy))
        if parts.hostname is None:
            raise OSError(f"the proxy {self.proxy!r} names no host")
        if self._tls is None:
            return socket.create_connection((parts.hostname, parts.port or 80), CONNECT_SECONDS)
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=CONNECT_SECONDS)
        connection.set_tunnel(self.host, self.port, _login(parts))
        try:
            connection.connect()
        except http.client.HTTPException as error:
            raise BrokenAnswerError(f"the proxy {parts.hostname} does not speak HTTP: {error}") from None
        sock: socket.socket = connection.sock
        return sock


class HttpConnection:
    """Sends requests to a remote, one after the other."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._socket: socket.socket | None = None
        self._scratch = bytearray(MAX_HEAD_SIZE)
        self._view = memoryview(self._scratch)

    @property
    def is_open(self) -> bool:
        """Whether a connection is kept alive from an earlier request; the other side may have closed it meanwhile."""
        return self._socket is not None

    def close(self) -> None:
        """Close it; a later request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, head: bytes, body: memoryview | None, into: memoryview) -> Answer:
        """Send a request and read its answer; a body that fits goes into `into`. Raises OSError.

        `head` is whole, its empty line included.
        """
        try:
            if self._socket is None:
                self._socket = self._remote.open()
            self._send(self._socket, head, body)
            answer = self._receive(self._socket, into)
        except BlockingIOError:
            self.close()
            raise TimeoutError(f"no answer for {READ_SECONDS} s") from None
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _send(self, sock: socket.socket, head: bytes, body: memoryview | None) -> None:
        if body is None:
            sock.sendall(head)
        elif isinstance(sock, ssl.SSLSocket):
            sock.sendall(head)
            sock.sendall(body)
        else:
            sent = sock.sendmsg((head, body))
            if sent < len(head):
                sock.sendall(head[sent:])
                sent = len(head)
            if sent < len(head) + len(body):
                sock.sendall(body[sent - len(head) :])

    def _receive(self, sock: socket.socket, into: memoryview) -> Answer:
        size, end = 0, -1
        while end < 0:
            if size == MAX_HEAD_SIZE:
                raise BrokenAnswerError("the head of an answer is too long")
            count = sock.recv_into(self._view[size:])
            if count == 0:
                raise BrokenAnswerError("the other side closed the connection before it answered")
            end = self._scratch.find(b"\r\n\r\n", max(0, size - 3), size + count)
            size += count
        return self._receive_body(sock, into, end + 4, size)

    def _receive_body(self, sock: socket.socket, into: memoryview, start: int, size: int) -> Answer:
        incoming = _Incoming()
        incoming.feed(self._view[:start])
        answer = incoming.answer
        length = answer.headers.get("content-length")
        if length is None or not length.isdecimal() or int(length) > len(into):
            return self._receive_loose(sock, incoming, start, size)
        answer.size = int(length)
        early = size - start
        if early > answer.size:
            raise BrokenAnswerError("an answer is longer than its Content-Length")
        into[:early] = self._view[start:size]
        _fill(sock, into[early : answer.size])
        return answer

    def _receive_loose(self, sock: socket.socket, incoming: _Incoming, start: int, size: int) -> Answer:
        incoming.feed(self._view[start:size])
        while not incoming.is_complete:
            count = sock.recv_into(self._view)
            if count == 0:
                break
            incoming.feed(self._view[:count])
            if len(incoming.body) > MAX_LOOSE_BODY_SIZE:
                raise BrokenAnswerError("an answer is longer than any the client asks for")
        if not incoming.is_complete:
            incoming.answer.headers["connection"] = "close"
        incoming.answer.loose = bytes(incoming.body)
        return incoming.answer


class _Incoming:
    """Callbacks of the HTTP parser."""

    def __init__(self) -> None:
        self.answer = Answer(0)
        self.body = bytearray()
        self.is_complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, piece: memoryview) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as error:
            raise BrokenAnswerError(f"the other side did not answer in HTTP: {error}") from None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.is_complete = True


def _tls(ca_bundle: str | None, usual_bundle: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_bundle)
    if ca_bundle is None and usual_bundle is not None:
        context.load_verify_locations(usual_bundle)
    return context


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _login(proxy: SplitResult) -> dict[str, str]:
    """The header that authenticates us to a proxy, if its URL has credentials."""
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def _limit_by_kernel(sock: socket.socket) -> None:
    sock.settimeout(None)
    limit_receive(sock, READ_SECONDS)
    limit_send(sock, READ_SECONDS)


def _fill(sock: socket.socket, view: memoryview) -> None:
    flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL
    while view:
        count = sock.recv_into(view, 0, flags)
        if count == 0:
            raise BrokenAnswerError("the other side closed the connection within an answer")
        view = view[count:]
