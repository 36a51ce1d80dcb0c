"""The listener: many connections, too many of them, and a stop that cuts nothing short without need."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from snapstone.server.http.head import ConnectionLimits
from snapstone.server.http.listener import REFUSALS_AT_ONCE
from snapstone.wire.http import Request, Response
from tests.unit.server.loopback import PATIENCE_SECONDS, RawClient, echo, listening, put

GET = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"


class Gate:
    """An application whose answer waits until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, request: Request) -> Response:
        self.entered.set()
        assert self.opened.wait(PATIENCE_SECONDS)
        return echo(request)


def test_connections_are_served_side_by_side() -> None:
    together = threading.Barrier(8, timeout=PATIENCE_SECONDS)

    def meet(request: Request) -> Response:
        together.wait()
        return Response(200, [])

    def ask(port: int) -> int:
        with RawClient(port) as client:
            return client.ask(GET).status

    with listening(meet) as (_, port), ThreadPoolExecutor(8) as clients:
        assert list(clients.map(ask, [port] * 8)) == [200] * 8


def test_a_connection_too_many_is_told_to_come_again() -> None:
    with listening(max_connections=2) as (_, port), RawClient(port) as first, RawClient(port) as second:
        assert first.ask(GET).status == second.ask(GET).status == 200
        with RawClient(port) as third:
            answer = third.ask(put("/a", b"x" * 100_000))
            assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert first.ask(GET).status == 200


def test_connections_far_too_many_are_closed() -> None:
    with listening(max_connections=1) as (_, port), RawClient(port) as first:
        assert first.ask(GET).status == 200
        refused = [RawClient(port) for _ in range(REFUSALS_AT_ONCE)]
        with RawClient(port) as one_more:
            assert one_more.is_closed()
        for client in refused:
            assert client.ask(GET).status == 503
            client.socket.close()


def test_a_place_is_free_again_when_its_connection_ends() -> None:
    with listening(max_connections=1) as (_, port):
        statuses: list[int] = []
        while statuses.count(200) < 3:  # A place is free a moment after its client sees the connection end.
            with RawClient(port) as client:
                statuses.append(client.ask(GET[:-2] + b"Connection: close\r\n\r\n").status)
                assert client.is_closed()
        assert set(statuses) <= {200, 503}


def test_a_stop_closes_idle_connections_and_accepts_no_more() -> None:
    with listening() as (listener, port), RawClient(port) as client, RawClient(port) as silent:
        assert client.ask(GET).status == 200
        assert listener.stop(PATIENCE_SECONDS) == 0
        assert client.is_closed()
        assert silent.is_closed()
        with pytest.raises(ConnectionRefusedError):
            RawClient(port)


def test_a_stop_lets_a_request_under_way_finish_and_says_so() -> None:
    gate = Gate()
    with listening(gate) as (listener, port), RawClient(port) as client, ThreadPoolExecutor(1) as stopper:
        client.send(put("/a", b"hello")[:-1])
        assert gate.entered.wait(PATIENCE_SECONDS)
        stopped = stopper.submit(listener.stop, PATIENCE_SECONDS)
        gate.opened.set()
        client.send(b"o")
        answer = client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"hello", "close")
        assert client.is_closed()
        assert stopped.result(PATIENCE_SECONDS) == 0


def test_a_stop_cuts_what_outlasts_its_grace_and_counts_it() -> None:
    gate = Gate()
    with listening(gate) as (listener, port), RawClient(port) as client:
        client.send(put("/a", b"hello"))
        assert gate.entered.wait(PATIENCE_SECONDS)
        assert listener.stop(grace_seconds=0.05) == 1
        assert client.is_closed()
        gate.opened.set()


def test_a_second_stop_is_harmless() -> None:
    with listening() as (listener, _):
        assert listener.stop(PATIENCE_SECONDS) == listener.stop(PATIENCE_SECONDS) == 0


def test_a_slow_client_does_not_hold_up_others() -> None:
    with listening(limits=ConnectionLimits()) as (_, port), RawClient(port) as slow, RawClient(port) as quick:
        slow.send(put("/a", b"x" * 1000)[:-500])
        assert quick.ask(GET).status == 200
