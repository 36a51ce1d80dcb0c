"""Liveness and readiness, without a signature."""

from __future__ import annotations

import json
import sqlite3

import pytest

from snapstone.wire.http import Response
from tests.unit.wire.requests import EngineParts, request
from tests.unit.wire.test_gateway import gateway


def page(path: str, parts: EngineParts) -> tuple[Response, object]:
    response = gateway(parts=parts)(request("GET", path))
    return response, json.loads(b"".join(response.body))


def test_a_server_that_answers_is_alive_whatever_its_stores_say() -> None:
    response, document = page("/health?probe=1", EngineParts(catalog_error=OSError(), objects_error=OSError()))
    assert (response.status, document) == (200, {"status": "ok"})


def test_a_server_whose_stores_answer_is_ready() -> None:
    response, document = page("/ready", EngineParts())
    assert (response.status, document) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("parts", "failed"),
    [
        (EngineParts(catalog_error=sqlite3.OperationalError("/secret/path")), ["catalog"]),
        (EngineParts(objects_error=OSError("/secret/path")), ["object store"]),
        (EngineParts(catalog_error=OSError("/secret/path"), objects_error=OSError()), ["catalog", "object store"]),
    ],
)
def test_a_server_that_is_not_ready_says_what_failed_and_logs_why(parts: EngineParts, failed: list[str]) -> None:
    response, document = page("/ready", parts)
    assert (response.status, document) == (503, {"status": "unavailable", "failed": failed})
    assert b"secret" not in b"".join(response.body)
    logged = response.log["failures"]
    assert isinstance(logged, dict)
    assert sorted(logged) == failed


@pytest.mark.parametrize(("unready", "status", "word"), [(False, 200, "degraded"), (True, 503, "unavailable")])
def test_a_problem_is_told_and_takes_readiness_only_if_it_keeps_the_server_from_its_work(
    unready: bool, status: int, word: str
) -> None:
    parts = EngineParts()
    parts.health.report("clock", "The clock was wrong.", unready=unready)
    response, document = page("/ready", parts)
    assert response.status == status
    assert isinstance(document, dict)
    assert document["status"] == word
    assert document["problems"] == [{"subject": "clock", "message": "The clock was wrong."}]
    parts.health.clear("clock")
    assert page("/ready", parts)[1] == {"status": "ok"}
