"""What counts as a request's head, and with which status the rest is refused."""

from __future__ import annotations

import pytest

from snapstone.server.http.head import DEFAULT_LIMITS, ConnectionLimits, Head, RefusedRequestError, parse_head


def parse(*lines: str, limits: ConnectionLimits = DEFAULT_LIMITS) -> Head:
    return parse_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), limits)


def refused(*lines: str, limits: ConnectionLimits = DEFAULT_LIMITS) -> int:
    with pytest.raises(RefusedRequestError) as caught:
        parse(*lines, limits=limits)
    return caught.value.status


def test_a_head_gives_method_target_and_lower_case_headers() -> None:
    head = parse("GET /snapshots/x?a=%2F HTTP/1.1", "HOST: here", "X-Amz-Date:  20260101  ")
    assert (head.method, head.target) == ("GET", "/snapshots/x?a=%2F")
    assert head.headers == {"host": "here", "x-amz-date": "20260101"}
    assert (head.content_length, head.keep_alive, head.http_1_0, head.expects_continue) == (0, True, False, False)


def test_repeated_headers_are_joined_in_order() -> None:
    assert parse("GET / HTTP/1.1", "Host: a", "X-A: 1", "Other: z", "x-a: 2").headers["x-a"] == "1,2"


def test_header_values_are_latin_1() -> None:
    assert parse("GET / HTTP/1.1", "Host: a", "X-A: \xe4\xff").headers["x-a"] == "\xe4\xff"


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", "close", False),
        ("1.1", "X-A, Close", False),
        ("1.1", "keep-alive", True),
        ("1.0", "close", False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive, close", False),
    ],
)
def test_connection_decides_what_follows(version: str, connection: str, keep_alive: bool) -> None:
    assert parse(f"GET / HTTP/{version}", "Host: a", f"Connection: {connection}").keep_alive is keep_alive


def test_http_1_0_closes_and_needs_no_host() -> None:
    head = parse("GET / HTTP/1.0")
    assert (head.keep_alive, head.http_1_0) == (False, True)


def test_a_body_is_announced_by_its_length_or_in_chunks() -> None:
    assert parse("PUT / HTTP/1.1", "Host: a", "Content-Length: 524288").content_length == 524_288
    assert parse("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked").content_length is None


def test_expect_is_heeded_from_http_1_1_on() -> None:
    assert parse("PUT / HTTP/1.1", "Host: a", "Expect: 100-Continue").expects_continue
    assert not parse("PUT / HTTP/1.0", "Host: a", "Expect: 100-continue").expects_continue


def test_an_absolute_target_is_cut_down_to_its_path() -> None:
    assert parse("GET http://here:80/a/b?c=/d HTTP/1.1", "Host: here").target == "/a/b?c=/d"
    assert parse("GET http://here?c=/d HTTP/1.1", "Host: here").target == "/?c=/d"
    assert parse("GET http://here HTTP/1.1", "Host: here").target == "/"


def test_an_offer_to_upgrade_is_ignored() -> None:
    head = parse("PUT /a HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5")
    assert (head.target, head.content_length) == ("/a", 5)


@pytest.mark.parametrize(
    "lines",
    [
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"),
        ("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: 3, 3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: +3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: -3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: 0x3"),
        ("PUT / HTTP/1.1", "Host: a", "Content-Length: 99999999999999999999"),
        ("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("PUT / HTTP/1.0", "Transfer-Encoding: chunked"),
        ("GET / HTTP/1.1", "Host: a", "X-A: 1", " folded"),
        ("GET / HTTP/1.1", "Host: a", "X-A : 1"),
        ("GET / HTTP/1.1", "Host: a", "X A: 1"),
        ("GET / HTTP/1.1", "Host: a", ": 1"),
        ("GET / HTTP/1.1", "Host: a", "no colon"),
        ("GET / HTTP/1.1", "Host: a", "X-A: \x00"),
        ("GET / HTTP/1.1", "Host: a", "X-A: a\rb"),
        ("GET / HTTP/1.1", "Host: a", "X-A: a\nX-B: b"),
        ("GET / HTTP/1.1\nHost: a",),
        ("GET / HTTP/1.1", "Host: a", "X-A: b\r\n\nGET /two HTTP/1.1"),
        ("GET /\xff HTTP/1.1", "Host: a"),
        ("GET /a b HTTP/1.1", "Host: a"),
        ("GET /a#b HTTP/1.1", "Host: a"),
        ("GET ftp://here/a HTTP/1.1", "Host: a"),
        ("GET / HTTP/1.1",),
        ("GET / HTTP/1.1", "Host: a", "Host: a"),
        ("GET / HTTP/1.2", "Host: a"),
    ],
)
def test_what_is_not_strictly_http_is_refused(lines: tuple[str, ...]) -> None:
    assert refused(*lines) == 400


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), 501),
        (("CONNECT here:80 HTTP/1.1", "Host: a"), 501),
        (("FROB / HTTP/1.1", "Host: a"), 501),
        (("nonsense",), 501),
        (("GET / HTTP/2.0", "Host: a"), 505),
        (("GET /",), 505),
    ],
)
def test_what_is_http_but_not_ours_is_refused_as_such(lines: tuple[str, ...], status: int) -> None:
    assert refused(*lines) == status


def test_a_target_may_be_as_long_as_its_limit() -> None:
    assert parse("GET /" + "a" * 8_191 + " HTTP/1.1", "Host: a").target == "/" + "a" * 8_191
    assert refused("GET /" + "a" * 8_192 + " HTTP/1.1", "Host: a") == 414


def test_there_may_be_as_many_headers_as_their_limit() -> None:
    headers = [f"X-{number}: 1" for number in range(99)]
    assert len(parse("GET / HTTP/1.1", "Host: a", *headers).headers) == 100
    assert refused("GET / HTTP/1.1", "Host: a", *headers, "One: more") == 431
