"""However a client's bytes are split over its sends, the requests come out the same."""

from __future__ import annotations

import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstone.server.http.connection import ServerConnection
from snapstone.server.http.head import DEFAULT_LIMITS
from snapstone.wire.http import Request, Response
from tests.unit.server.loopback import PATIENCE_SECONDS, chunked, echo, put

BODIES = (bytes(range(256)) * 20, b"", b"x" * 5000)
STREAM = b"".join(
    [
        put("/sized", BODIES[0], "X-A: 1", "x-a: 2"),
        chunked("/chunked", BODIES[0], 1_000),
        b"\r\n" + put("/empty", BODIES[1]),
        put("/ignore", BODIES[2]),
        chunked("/last", BODIES[2], 4_999, "Connection: close"),
    ]
)
EXPECTED = [
    ("/sized", "1,2", BODIES[0]),
    ("/chunked", None, BODIES[0]),
    ("/empty", None, b""),
    ("/ignore", None, None),
    ("/last", None, BODIES[2]),
]


def requests_seen(pieces: list[bytes]) -> list[tuple[str, str | None, bytes | None]]:
    """What the application gets where a client sends these pieces."""
    seen: list[tuple[str, str | None, bytes | None]] = []

    def remember(request: Request) -> Response:
        response = echo(request)
        body = None if request.target == "/ignore" else bytes(response.body[0])
        seen.append((request.target, request.headers.get("x-a"), body))
        return Response(200, [])

    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE_SECONDS)
    connection = ServerConnection(ours, "test", remember, DEFAULT_LIMITS, lambda: False)
    serving = threading.Thread(target=connection.serve)
    serving.start()
    with theirs:
        for piece in pieces:
            theirs.sendall(piece)
        while theirs.recv(65_536):
            pass
    serving.join(PATIENCE_SECONDS)
    return seen


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=40))
def test_any_split_gives_the_same_requests(cuts: set[int]) -> None:
    ends = [*sorted(cuts), len(STREAM)]
    starts = [0, *sorted(cuts)]
    assert requests_seen([STREAM[start:end] for start, end in zip(starts, ends, strict=True)]) == EXPECTED


def test_a_stream_byte_by_byte_gives_the_same_requests() -> None:
    assert requests_seen([STREAM[at : at + 1] for at in range(len(STREAM))]) == EXPECTED
