"""The two pages that need no signature: is the process alive, and do the catalog and the object store answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from snapstone.core.blocks import ZERO_ADDRESS
from snapstone.service.engine import Engine
from snapstone.wire.http import Response

HEALTH_PATH: Final = "/health"
READY_PATH: Final = "/ready"


def health(request_id: str) -> Response:
    """200 as long as requests are answered at all."""
    return _page(200, {"status": "ok"}, request_id)


def ready(engine: Engine, request_id: str) -> Response:
    """200 if catalog and object store answer and no problem keeps the server from its work, else 503.

    The body says which of them did not answer (why is for the log alone), and every problem there is; `status` is `ok`,
    `degraded` (200, with problems) or `unavailable`.
    """
    failures: dict[str, str] = {}
    _try("catalog", engine.catalog.check, failures)
    _try("object store", lambda: engine.objects.has(ZERO_ADDRESS), failures)
    problems = engine.health.problems()
    document: dict[str, object] = {"status": "degraded" if problems else "ok"}
    if failures or any(problem.unready for problem in problems):
        document = {"status": "unavailable", "failed": sorted(failures)}
    if problems:
        document["problems"] = [{"subject": problem.subject, "message": problem.message} for problem in problems]
    response = _page(503 if document["status"] == "unavailable" else 200, document, request_id)
    if failures:
        response.log["failures"] = failures
    return response


def _try(name: str, question: Callable[[], object], failures: dict[str, str]) -> None:
    """Ask, and note whatever goes wrong: a readiness probe reports every failure, those nobody foresaw above all."""
    try:
        question()
    except Exception as error:
        failures[name] = repr(error)


def _page(status: int, document: Mapping[str, object], request_id: str) -> Response:
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return Response(status, headers, [json.dumps(document).encode()])
