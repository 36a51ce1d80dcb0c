"""One HTTP connection against servers that answer well, oddly, and not at all."""

from __future__ import annotations

import socket

import pytest

from snapstone.client.api.connection import (
    MAX_HEAD_SIZE,
    MAX_LOOSE_BODY_SIZE,
    BrokenAnswerError,
    HttpConnection,
    Remote,
)
from tests.unit.client.api.one_answer_server import OneAnswerServer

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 524288\r\n\r\n"


def into(size: int = 1_024) -> memoryview:
    return memoryview(bytearray(size))


def test_a_body_goes_into_the_callers_buffer() -> None:
    with OneAnswerServer([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Amz-Checksum: abc\r\n\r\nhello"]) as server:
        buffer = into()
        answer = HttpConnection(Remote(server.url)).exchange(GET, None, buffer)
    assert (answer.status, answer.size, bytes(buffer[:5])) == (200, 5, b"hello")
    assert answer.headers["x-amz-checksum"] == "abc"


def test_a_large_body_is_sent_and_received_whole() -> None:
    block = bytes(range(256)) * 2_048
    with OneAnswerServer([b"HTTP/1.1 200 OK\r\nContent-Length: 524288\r\n\r\n" + block]) as server:
        buffer = into(524_288)
        answer = HttpConnection(Remote(server.url)).exchange(PUT, memoryview(block), buffer)
        assert server.requests == [PUT + block]
    assert answer.size == 524_288
    assert bytes(buffer) == block


def test_a_connection_is_kept_and_used_again() -> None:
    ok = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    with OneAnswerServer([ok, ok]) as server:
        connection = HttpConnection(Remote(server.url))
        assert [connection.exchange(GET, None, into()).status for _ in range(2)] == [201, 201]
        assert connection.is_open
        assert server.connection_count == 1


def test_a_connection_that_the_answer_closes_is_opened_anew() -> None:
    closing = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with OneAnswerServer([closing, closing], closing_after=[0]) as server:
        connection = HttpConnection(Remote(server.url))
        assert [connection.exchange(GET, None, into()).status for _ in range(2)] == [400, 400]
        assert not connection.is_open
        assert server.connection_count == 2


def test_a_chunked_answer_is_read() -> None:
    chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    with OneAnswerServer([chunked]) as server:
        connection = HttpConnection(Remote(server.url))
        answer = connection.exchange(GET, None, into())
    assert (answer.status, answer.size, answer.loose) == (503, 0, b"hello world")
    assert connection.is_open


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    with OneAnswerServer([b"HTTP/1.0 502 Bad Gateway\r\n\r\nno route"], closing_after=[0]) as server:
        connection = HttpConnection(Remote(server.url))
        answer = connection.exchange(GET, None, into())
    assert (answer.status, answer.loose) == (502, b"no route")
    assert not connection.is_open


def test_a_body_larger_than_the_buffer_is_kept_apart() -> None:
    with OneAnswerServer([b"HTTP/1.1 500 Oops\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000]) as server:
        answer = HttpConnection(Remote(server.url)).exchange(GET, None, into(1_000))
    assert (answer.size, answer.loose) == (0, b"x" * 2_000)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "within an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}surplus", "longer than its Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_SIZE, "too long"),
        (
            b"HTTP/1.1 500 Oops\r\nContent-Length: 2000000\r\n\r\n" + b"z" * (MAX_LOOSE_BODY_SIZE + 70_000),
            "longer than any",
        ),
    ],
)
def test_a_broken_answer_is_said_and_closes_the_connection(answer: bytes | None, words: str) -> None:
    with OneAnswerServer([answer], closing_after=[0]) as server:
        connection = HttpConnection(Remote(server.url))
        with pytest.raises(BrokenAnswerError, match=words):
            connection.exchange(GET, None, into())
    assert not connection.is_open


def test_nobody_listening_is_an_oserror() -> None:
    with OneAnswerServer([]) as server:
        url = server.url
    with pytest.raises(ConnectionRefusedError):
        HttpConnection(Remote(url)).exchange(GET, None, into())


def test_a_url_is_taken_apart() -> None:
    remote = Remote("https://ebs.example.com:8443/base/")
    assert (remote.host, remote.port, remote.base_path, remote.host_header) == (
        "ebs.example.com",
        8443,
        "/base",
        "ebs.example.com:8443",
    )
    assert (Remote("http://[::1]").host, Remote("http://[::1]").port) == ("::1", 80)


def test_a_proxy_of_plain_http_gets_the_whole_url_and_the_login() -> None:
    head = b"GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\n\r\n"
    assert Remote("http://a.example/x", proxy="http://127.0.0.1:3128").for_proxy(head) == (
        b"GET http://a.example/x?y=1 HTTP/1.1\r\nhost: a.example\r\n\r\n"
    )
    assert Remote("http://a.example/x", proxy="user:p%40ss@127.0.0.1:3128").for_proxy(head) == (
        b"GET http://a.example/x?y=1 HTTP/1.1\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\nhost: a.example\r\n\r\n"
    )
    assert Remote("http://a.example/x").for_proxy(head) == head
    assert Remote("https://a.example/x", proxy="http://127.0.0.1:3128").for_proxy(head) == head


def test_silence_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapstone.client.api.connection.READ_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = Remote(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TimeoutError, match="no answer for 1 s"):
            HttpConnection(remote).exchange(GET, None, into())
