"""Log lines: one an event, with the facts of a request and without its secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from time import perf_counter

import pytest

from snapstone.server.http.connection import log_request
from snapstone.server.logs import LogFormat, configure
from snapstone.wire.http import Response

LOGGER = logging.getLogger("snapstone")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = LOGGER.handlers, LOGGER.propagate, LOGGER.level
    yield
    LOGGER.handlers, LOGGER.propagate = before[:2]
    LOGGER.setLevel(before[2])


def lines(method: str, target: str, response: Response, level: str = "info") -> list[dict[str, object]]:
    """What is logged of one request."""
    stream = io.StringIO()
    configure(level, LogFormat.JSON, stream)
    log_request("id-1", method, target, "127.0.0.1", response, perf_counter())
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_facts_and_no_query() -> None:
    response = Response(404, [], log={"operation": "ListSnapshotBlocks", "error": "ResourceNotFoundException"})
    (line,) = lines("GET", "/snapshots/snap-1/blocks?pageToken=SECRET", response)
    assert str(line.pop("time")).endswith("Z")
    assert isinstance(line.pop("duration_ms"), float)
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "id-1",
        "method": "GET",
        "target": "/snapshots/snap-1/blocks",
        "peer": "127.0.0.1",
        "status": 404,
        "operation": "ListSnapshotBlocks",
        "error": "ResourceNotFoundException",
    }


def test_blocks_that_went_well_are_for_level_debug() -> None:
    for method, status in (("GET", 200), ("PUT", 201)):
        assert lines(method, "/snapshots/snap-1/blocks/7", Response(status, [])) == []
        (line,) = lines(method, "/snapshots/snap-1/blocks/7", Response(status, []), "debug")
        assert line["level"] == "debug"


def test_probes_that_went_well_are_for_level_debug() -> None:
    assert lines("GET", "/health", Response(200, [])) == lines("GET", "/ready", Response(200, [])) == []
    assert len(lines("GET", "/ready", Response(503, []))) == 1


def test_blocks_that_did_not_go_well_and_lists_are_logged() -> None:
    assert len(lines("PUT", "/snapshots/snap-1/blocks/7", Response(400, []))) == 1
    assert len(lines("GET", "/snapshots/snap-1/blocks", Response(200, []))) == 1


def test_faults_of_ours_are_errors() -> None:
    (line,) = lines("GET", "/snapshots/snap-1/blocks/7", Response(500, []), "error")
    assert line["level"] == "error"


def test_text_is_one_line_whatever_a_value_holds() -> None:
    stream = io.StringIO()
    configure("info", LogFormat.TEXT, stream)
    fields = {"plain": "a/b", "count": 3, "forged": 'x\n2026 error "forged"', "spaced": "a b"}
    LOGGER.info("something", extra={"fields": fields})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert r'info    something plain=a/b count=3 forged="x\n2026 error \"forged\"" spaced="a b"' in text


def test_an_error_brings_its_traceback() -> None:
    for log_format in (LogFormat.JSON, LogFormat.TEXT):
        stream = io.StringIO()
        configure("info", log_format, stream)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            LOGGER.exception("failed", extra={"fields": {"request_id": "id-1"}})
        assert "ZeroDivisionError" in stream.getvalue()
        assert "id-1" in stream.getvalue()


def test_only_a_terminal_gets_text_by_itself() -> None:
    stream = io.StringIO()
    configure("info", LogFormat.AUTO, stream)
    LOGGER.info("event")
    assert json.loads(stream.getvalue())["event"] == "event"
