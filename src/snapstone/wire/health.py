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
    """200 where catalog and object store answer, else 503 with which of them did not; why is for the log alone."""
    failures: dict[str, str] = {}
    _try("catalog", engine.catalog.check, failures)
    _try("object store", lambda: engine.objects.has(ZERO_ADDRESS), failures)
    if not failures:
        return _page(200, {"status": "ok"}, request_id)
    response = _page(503, {"status": "unavailable", "failed": sorted(failures)}, request_id)
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
