"""A response's head as bytes, and the answers that the listener gives by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from snapstone.server.http.connection import (
    answer_pieces,
    cut_pieces,
    http_date,
    internal_error,
    new_request_id,
    refusal,
)
from snapstone.wire.http import Response


def head_of(response: Response, method: str = "GET", connection: str | None = None) -> list[str]:
    return bytes(answer_pieces(response, method, connection)[0]).decode("latin-1").split("\r\n")


def test_the_body_is_sent_from_where_it_lies() -> None:
    first, second = b"abc", memoryview(bytearray(5))
    head, *pieces = answer_pieces(Response(200, [("X-A", "1")], [first, second]), "GET", None)
    assert pieces[0] is first
    assert pieces[1] is second
    assert b"\r\nX-A: 1\r\nContent-Length: 8\r\n\r\n" in bytes(head)


def test_the_status_line_carries_the_standard_phrase_where_there_is_one() -> None:
    assert head_of(Response(402, []))[0] == "HTTP/1.1 402 Payment Required"
    assert head_of(Response(599, []))[0] == "HTTP/1.1 599 "


def test_connection_is_said_where_it_is_given() -> None:
    assert "Connection: close" in head_of(Response(200, []), connection="close")
    assert not any(line.startswith("Connection") for line in head_of(Response(200, [])))


@pytest.mark.parametrize("value", ["a\r\nX-B: b", "a\nb", "a\rb", "\u20ac"])
def test_a_header_that_would_break_out_is_never_sent(value: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        answer_pieces(Response(200, [("X-A", value)]), "GET", None)


def test_the_date_is_now_in_the_form_of_http() -> None:
    text = http_date()
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", text)
    assert abs((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()) < 5


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_own_answers_are_json_with_the_request_id() -> None:
    for response in (refusal(431, "too much", "id-1"), internal_error("id-1")):
        assert ("x-amzn-RequestId", "id-1") in response.headers
        assert ("Content-Type", "application/json") in response.headers
    assert refusal(431, "too much", "id-1").body == [b'{"message": "too much"}']


def test_a_cut_answer_has_its_head_and_so_many_bytes_of_its_body() -> None:
    pieces: list[bytes | memoryview] = [b"head", b"abc", memoryview(b"defg")]
    assert b"".join(cut_pieces(pieces, 5)) == b"headabcde"
    assert b"".join(cut_pieces(pieces, 0)) == b"head"
    assert b"".join(cut_pieces(pieces, 100)) == b"headabcdefg"
