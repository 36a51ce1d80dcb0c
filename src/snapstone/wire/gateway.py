"""The application that the listener calls: finds the service a request is signed for and lets nothing unsigned in.

Two pages need no signature: `/health` (is the process alive?) and `/ready` (do the catalog and the object store
answer?).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from snapstone.core.blocks import ZERO_ADDRESS
from snapstone.core.errors import DamageError, OverloadedError, StoreFullError, StoreLostError
from snapstone.core.sigv4 import split_target
from snapstone.service.engine import Engine
from snapstone.wire.endpoints import (
    Dispatcher,
    Ec2Endpoint,
    Functions,
    JsonEndpoint,
    QueryEndpoint,
    RestJsonEndpoint,
    ServiceEndpoint,
    SignedRequest,
)
from snapstone.wire.faults import REFUSALS
from snapstone.wire.http import Guard, Request, Response, ResponseHook
from snapstone.wire.members import echo
from snapstone.wire.other_services import S3Endpoint, refuse_service
from snapstone.wire.refusals import UnknownActionError, UnknownOperationError
from snapstone.wire.sigv4 import Authentication, read_claim

HEALTH_PATH: Final = "/health"
READY_PATH: Final = "/ready"


def health(request_id: str) -> Response:
    """200 as long as requests are answered at all."""
    return _page(200, {"status": "ok"}, request_id)


def ready(engine: Engine, request_id: str) -> Response:
    """200 if catalog and object store answer and no problem keeps the server from its work, else 503.

    The body says which of them did not answer (the reasons go to the log only), and every problem there is; `status` is
    `ok`, `degraded` (200, with problems) or `unavailable`.
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
    """Run one probe and log whatever goes wrong: readiness reports every failure, above all unforeseen ones."""
    try:
        question()
    except Exception as error:
        failures[name] = repr(error)


def _page(status: int, document: Mapping[str, object], request_id: str) -> Response:
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return Response(status, headers, [json.dumps(document).encode()])


log = logging.getLogger(__name__)

_OPERATORS: Final = (DamageError, OverloadedError, StoreFullError, StoreLostError)
"""Errors whose cause is for the operator: the log says more of it than the answer."""


class Gateway:
    """Answers every request; safe to call from many threads.

    Errors with a row in `faults` become answers. ClientGoneError and unforeseen errors are left to the listener.
    """

    def __init__(
        self,
        engine: Engine,
        operations: Mapping[str, Functions],
        guards: Sequence[Guard] = (),
        hooks: Sequence[ResponseHook] = (),
    ) -> None:
        dispatcher = Dispatcher(engine, Authentication(engine), guards)
        self._engine = engine
        self._hooks = hooks
        self._ebs = RestJsonEndpoint(dispatcher, "ebs", operations["ebs"])
        self._ec2 = Ec2Endpoint(dispatcher, operations["ec2"])
        self._endpoints: dict[str, ServiceEndpoint] = {"ebs": self._ebs, "ec2": self._ec2, "s3": S3Endpoint(dispatcher)}
        for service in operations.keys() & {"rbin"}:
            self._endpoints[service] = RestJsonEndpoint(dispatcher, service, operations[service])
        for service in operations.keys() & {"sts", "iam"}:
            self._endpoints[service] = QueryEndpoint(dispatcher, service, operations[service])
        for service in operations.keys() & {"kms"}:
            self._endpoints[service] = JsonEndpoint(dispatcher, service, operations[service])

    def __call__(self, request: Request) -> Response:
        path, query = split_target(request.target)
        if request.method == "GET" and path == HEALTH_PATH:
            return health(request.request_id)
        if request.method == "GET" and path == READY_PATH:
            return ready(self._engine, request.request_id)
        return self._answer(request, path, query)

    def _answer(self, request: Request, path: str, query: str) -> Response:
        endpoint = self._likely_endpoint(request, path)
        fields: dict[str, object] = {}
        signed: SignedRequest | None = None
        try:
            claim = read_claim(request.headers, query)
            fields.update(service=echo(claim.service), region=echo(claim.region))
            fields["access_key_id"] = echo(claim.access_key_id)
            signed_for = self._endpoints.get(claim.service)
            if signed_for is None:
                response = refuse_service(claim.service, request)
            else:
                endpoint = signed_for
                signed = SignedRequest(request, path, query, claim, fields)
                response = endpoint.serve(signed)
        except REFUSALS as error:
            response = endpoint.refuse(error, request.request_id)
            if isinstance(error, _OPERATORS):
                fields["cause"] = error.what
            if isinstance(error, (UnknownActionError, UnknownOperationError)):
                named = {"operation": _named(error)}
                log.info("operation not offered", extra={"fields": fields | named | _error_of(response)})
        response.log.update(fields | _error_of(response))
        for hook in self._hooks:
            hook(request, None if signed is None else signed.call, response)
        return response

    def _likely_endpoint(self, request: Request, path: str) -> ServiceEndpoint:
        """Which protocol to answer in before a signature names the service."""
        if path == "/" and "x-amz-target" in request.headers:
            return self._endpoints.get("kms", self._ec2)
        return self._ec2 if path == "/" else self._ebs


def _named(error: UnknownActionError | UnknownOperationError) -> str:
    """The text in place of the operation's name."""
    return error.action if isinstance(error, UnknownActionError) else f"{error.method} {error.path}"


def _error_of(response: Response) -> dict[str, object]:
    """The fields of the request log about a fault."""
    return {} if response.fault is None else {"error": response.fault.code}
