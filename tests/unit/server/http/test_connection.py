"""One connection's life, over a real socket: requests, bodies, keep-alive, and what ends it."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from email.utils import parsedate_to_datetime

import pytest

from snapstone.core.errors import WriteTimedOutError
from snapstone.server.http.head import ConnectionLimits
from snapstone.wire.http import BodyTooLargeError, ClientGoneError, Request, Response
from tests.unit.server.loopback import PATIENCE_SECONDS, RawClient, chunked, echo, listening, put

BLOCK = bytes(range(256)) * 2048
GET = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"


def test_an_answer_has_length_and_date_and_the_connection_stays() -> None:
    with listening() as (_, port), RawClient(port) as client:
        answer = client.ask(put("/a", b"hello"))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.headers["content-length"] == "5"
        assert parsedate_to_datetime(answer.headers["date"]).tzinfo is not None
        assert answer.headers["date"].endswith(" GMT")
        assert "connection" not in answer.headers
        assert client.ask(put("/b", b"again")).body == b"again"


def test_a_request_carries_its_peer_and_a_random_uuid() -> None:
    seen: list[Request] = []

    def remember(request: Request) -> Response:
        seen.append(request)
        return Response(200, [])

    with listening(remember) as (_, port), RawClient(port) as client:
        client.ask(GET)
        client.ask(GET)
    assert {request.peer for request in seen} == {"127.0.0.1"}
    assert seen[0].request_id != seen[1].request_id
    for request in seen:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", request.request_id)


def test_a_block_arrives_whole_by_length_and_in_chunks() -> None:
    with listening() as (_, port), RawClient(port) as client:
        assert client.ask(put("/a", BLOCK)).body == BLOCK
        assert client.ask(chunked("/a", BLOCK, 131_072)).body == BLOCK
        assert client.ask(chunked("/a", BLOCK, 1_000)).body == BLOCK


def test_the_body_is_received_where_it_is_wanted_and_tells_its_end() -> None:
    counts: list[int] = []

    def read_twice(request: Request) -> Response:
        view = memoryview(bytearray(len(BLOCK)))
        counts.extend([request.body.read_into(view), request.body.read_into(view[:1])])
        return Response(200, [], [view])

    with listening(read_twice) as (_, port), RawClient(port) as client:
        assert client.ask(put("/a", BLOCK)).body == BLOCK
        assert client.ask(chunked("/a", BLOCK, 131_072)).body == BLOCK
    assert counts == [len(BLOCK), 0] * 2


def test_a_short_body_leaves_the_view_half_filled() -> None:
    def count(request: Request) -> Response:
        return Response(200, [], [str(request.body.read_into(memoryview(bytearray(100)))).encode()])

    with listening(count) as (_, port), RawClient(port) as client:
        assert client.ask(put("/a", b"x" * 99)).body == b"99"
        assert client.ask(chunked("/a", b"x" * 99, 50)).body == b"99"
        assert client.ask(GET).body == b"0"


def test_the_declared_size_is_known_before_reading() -> None:
    def declared(request: Request) -> Response:
        return Response(200, [], [str(request.body.declared_size).encode()])

    with listening(declared) as (_, port), RawClient(port) as client:
        assert client.ask(put("/a", b"abc")).body == b"3"
        assert client.ask(GET).body == b"0"
        assert client.ask(chunked("/a", b"abc", 3)).body == b"None"


@pytest.mark.parametrize("frame", [put, lambda target, body: chunked(target, body, 4)])
def test_a_body_past_the_limit_is_reported(frame: object) -> None:
    assert callable(frame)

    def ten_at_most(request: Request) -> Response:
        try:
            return Response(200, [], [request.body.read_all(10)])
        except BodyTooLargeError as error:
            return Response(413, [], [str(error.limit).encode()])

    with listening(ten_at_most) as (_, port), RawClient(port) as client:
        assert client.ask(frame("/a", b"0123456789")).body == b"0123456789"
        assert (client.ask(frame("/a", b"0123456789x")).status) == 413
        assert client.ask(GET).status == 200


def test_pipelined_requests_are_answered_in_order() -> None:
    with listening() as (_, port), RawClient(port) as client:
        client.send(put("/1", b"one") + chunked("/2", b"two", 2) + GET + put("/ignore", b"three") + put("/4", b"four"))
        assert [client.answer().body for _ in range(5)] == [b"one", b"two", b"", b"", b"four"]


def test_empty_lines_before_a_request_are_skipped() -> None:
    with listening() as (_, port), RawClient(port) as client:
        assert client.ask(b"\r\n\r\n" + GET).status == 200
        assert client.ask(b"\r\n" + put("/a", b"x")).body == b"x"


def test_a_client_that_asks_to_continue_is_told_so_when_the_body_is_read() -> None:
    with listening() as (_, port), RawClient(port) as client:
        head, body = put("/a", b"hello", "Expect: 100-continue")[:-5], b"hello"
        client.send(head)
        assert client.answer(has_body=False).status == 100
        client.send(body)
        assert client.answer().body == b"hello"
        assert client.ask(GET).status == 200


def test_a_client_that_did_not_wait_is_not_told_to_continue() -> None:
    with listening() as (_, port), RawClient(port) as client:
        assert client.ask(put("/a", b"hello", "Expect: 100-continue")).body == b"hello"


def test_a_body_that_nobody_asked_for_ends_the_connection() -> None:
    with listening() as (_, port), RawClient(port) as client:
        answer = client.ask(put("/ignore", b"hello", "Expect: 100-continue")[:-5])
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_a_short_body_that_nobody_read_is_drained() -> None:
    with listening() as (_, port), RawClient(port) as client:
        for request in (put("/ignore", BLOCK), chunked("/ignore", BLOCK, 65_536)):
            answer = client.ask(request)
            assert (answer.status, answer.body, "connection" in answer.headers) == (200, b"", False)
        assert client.ask(put("/a", b"next")).body == b"next"


def test_a_long_body_that_nobody_read_ends_the_connection_after_the_answer_is_seen() -> None:
    with listening(limits=ConnectionLimits(drain_size=1000)) as (_, port), RawClient(port) as client:
        client.send(put("/ignore", BLOCK))
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_a_long_chunked_body_that_nobody_read_is_not_drained_to_its_end() -> None:
    limits = ConnectionLimits(drain_size=1000, linger_seconds=0.1)
    with listening(limits=limits) as (_, port), RawClient(port) as client:
        client.send(chunked("/ignore", BLOCK, 65_536)[:200_000])
        assert client.answer().status == 200
        assert client.is_closed()


def test_connection_close_and_http_1_0_are_honoured() -> None:
    with listening() as (_, port):
        with RawClient(port) as client:
            assert client.ask(put("/a", b"x", "Connection: close")).headers["connection"] == "close"
            assert client.is_closed()
        with RawClient(port) as client:
            assert client.ask(b"GET / HTTP/1.0\r\n\r\n").headers["connection"] == "close"
            assert client.is_closed()
        with RawClient(port) as client:
            request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
            assert client.ask(request).headers["connection"] == "keep-alive"
            assert client.ask(request).status == 200


def test_a_head_request_gets_the_length_without_the_body() -> None:
    def five(request: Request) -> Response:
        return Response(200, [], [b"12345"])

    with listening(five) as (_, port), RawClient(port) as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer(has_body=False).headers["content-length"] == "5"
        assert client.ask(GET).body == b"12345"


def test_no_content_has_neither_length_nor_body() -> None:
    with listening(lambda request: Response(204, [])) as (_, port), RawClient(port) as client:
        assert "content-length" not in client.ask(GET).headers
        assert client.ask(GET).status == 204


def test_many_pieces_of_a_body_are_sent_in_order() -> None:
    pieces = [bytes([number % 256]) * number for number in range(3000)]
    with listening(lambda request: Response(200, [], pieces)) as (_, port), RawClient(port) as client:
        assert client.ask(GET).body == b"".join(pieces)


def test_what_is_not_http_is_answered_in_json_and_closed() -> None:
    with listening() as (_, port), RawClient(port) as client:
        answer = client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.headers["content-type"] == "application/json"
        assert "not valid HTTP" in json.loads(answer.body)["message"]
        assert len(answer.headers["x-amzn-requestid"]) == 36


def test_a_head_longer_than_its_limit_is_refused() -> None:
    with listening(limits=ConnectionLimits(head_size=2048, target_size=512)) as (_, port):
        with RawClient(port) as client:
            filler = b"X-A: " + b"a" * (2048 - len(GET) - len(b"X-A: \r\n"))
            assert client.ask(GET[:-2] + filler + b"\r\n\r\n").status == 200
        with RawClient(port) as client:
            assert client.ask(GET[:-2] + filler + b"a\r\n\r\n").status == 431
        with RawClient(port) as client:
            assert client.ask(b"GET /" + b"a" * 3000).status == 414


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\na\r\n",
        b"1\r\nab\r\n",
        b"00000000000000001\r\n",
        b"1;" + b"e" * 300 + b"\r\n",
        b"1;\x00\r\na\r\n",
        b"0\r\nX: " + b"t" * 9000 + b"\r\n\r\n",
    ],
)
def test_broken_chunks_are_refused_and_end_the_connection(body: bytes) -> None:
    with listening() as (_, port), RawClient(port) as client:
        answer = client.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_chunk_extensions_and_trailers_are_dropped() -> None:
    body = b'3;name="value"\r\nabc\r\n2 ; x\r\nde\r\n0\r\nX-Trailer: 1\r\nY: 2\r\n\r\n'
    with listening() as (_, port), RawClient(port) as client:
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert client.ask(head + body).body == b"abcde"
        assert client.ask(GET).status == 200


def test_more_chunks_than_their_limit_are_refused() -> None:
    with listening(limits=ConnectionLimits(chunk_count=10)) as (_, port), RawClient(port) as client:
        assert client.ask(chunked("/a", b"x" * 9, 1)).status == 200
        assert client.ask(chunked("/a", b"x" * 10, 1)).status == 400


def test_a_head_that_drips_is_cut_short_however_steadily() -> None:
    with listening(limits=ConnectionLimits(head_seconds=0.3)) as (_, port), RawClient(port) as client:
        answered = threading.Event()

        def drip() -> None:
            for byte in GET[:-1]:
                if answered.wait(0.05):
                    return
                client.send(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = client.answer()
        answered.set()
        dripping.join()
        assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_a_connection_without_a_request_is_closed_after_its_idle_time() -> None:
    with listening(limits=ConnectionLimits(idle_seconds=0.1)) as (_, port), RawClient(port) as client:
        assert client.is_closed()
    with listening(limits=ConnectionLimits(idle_seconds=0.1)) as (_, port), RawClient(port) as client:
        assert client.ask(GET).status == 200
        assert client.is_closed()


def timed_out(request: Request) -> Response:
    """Says how a body ended that took too long."""
    try:
        request.body.read_all(1 << 20)
    except WriteTimedOutError as error:
        return Response(400, [], [str(error.seconds).encode()])
    return Response(200, [])


def test_a_body_that_stalls_is_reported_and_ends_the_connection() -> None:
    with listening(timed_out, ConnectionLimits(body_stall_seconds=0.2)) as (_, port), RawClient(port) as client:
        client.send(put("/a", BLOCK)[:-1])
        answer = client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"0.2", "close")


def test_a_body_that_drips_is_cut_short_by_its_whole_time() -> None:
    limits = ConnectionLimits(body_stall_seconds=0.3, body_seconds=0.5)
    with listening(timed_out, limits) as (_, port), RawClient(port) as client:
        answered = threading.Event()
        client.send(put("/a", b"x" * 1000)[:-1000])

        def drip() -> None:
            for _ in range(500):
                if answered.wait(0.02):
                    return
                client.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = client.answer()
        answered.set()
        dripping.join()
        assert answer.body == b"0.5"


def test_a_client_that_hangs_up_within_a_body_is_gone() -> None:
    ends: list[str] = []
    ended = threading.Event()

    def read(request: Request) -> Response:
        try:
            request.body.read_all(1 << 20)
        except ClientGoneError:
            ends.append("gone")
            raise
        finally:
            ended.set()
        return Response(200, [])

    with listening(read) as (_, port), RawClient(port) as client:
        client.send(put("/a", BLOCK)[:-1])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        assert ended.wait(PATIENCE_SECONDS)
    assert ends == ["gone"]


def test_a_buffer_is_released_once_after_the_answer() -> None:
    released: list[int] = []

    def lend(request: Request) -> Response:
        return Response(200, [], [BLOCK], release=lambda: released.append(1))

    with listening(lend) as (_, port), RawClient(port) as client:
        assert client.ask(GET).body == BLOCK
        assert client.ask(GET).body == BLOCK
    assert released == [1, 1]


def test_a_buffer_is_released_when_the_client_does_not_take_the_answer() -> None:
    released = threading.Event()

    def lend(request: Request) -> Response:
        return Response(200, [], [BLOCK] * 200, release=released.set)

    with listening(lend, ConnectionLimits(send_stall_seconds=0.1)) as (_, port), RawClient(port) as client:
        client.send(GET)
        assert released.wait(PATIENCE_SECONDS)


def test_a_buffer_is_released_when_the_client_resets_the_connection() -> None:
    asked, may_answer, released = threading.Event(), threading.Event(), threading.Event()

    def lend(request: Request) -> Response:
        asked.set()
        may_answer.wait(PATIENCE_SECONDS)
        return Response(200, [], [BLOCK] * 200, release=released.set)

    with listening(lend) as (_, port), RawClient(port) as client:
        client.send(GET)
        assert asked.wait(PATIENCE_SECONDS)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        may_answer.set()
        assert released.wait(PATIENCE_SECONDS)


def test_a_buffer_is_released_when_a_header_cannot_be_sent() -> None:
    released: list[int] = []

    def lend(request: Request) -> Response:
        return Response(200, [("X-A", "a\r\nX-B: b")], [BLOCK], release=lambda: released.append(1))

    with listening(lend) as (_, port), RawClient(port) as client:
        assert client.ask(GET).status == 500
    assert released == [1]


def test_an_error_nobody_foresaw_is_answered_as_an_internal_error() -> None:
    def fail(request: Request) -> Response:
        if request.target == "/fail":
            raise ZeroDivisionError("secret detail")
        return echo(request)

    with listening(fail) as (_, port), RawClient(port) as client:
        answer = client.ask(put("/fail", b"unread"))
        assert answer.status == 500
        assert answer.headers["x-amzn-errortype"] == (
            "InternalServerException:http://internal.amazon.com/coral/com.amazon.zeppelindataservice/"
        )
        message = json.loads(answer.body)["Message"]
        assert answer.headers["x-amzn-requestid"] in message
        assert "secret" not in message
        assert client.ask(put("/a", b"next")).body == b"next"
