"""The application that the listener calls: finds the service a request is signed for and lets nothing unsigned in."""

from __future__ import annotations

from collections.abc import Mapping

from snapstone.service.engine import Engine
from snapstone.wire.authentication import Authentication
from snapstone.wire.canonical import split_target
from snapstone.wire.claims import read_claim
from snapstone.wire.constraints import echo
from snapstone.wire.endpoints import EbsEndpoint, Ec2Endpoint, Endpoint, OperationFunction, SignedRequest
from snapstone.wire.faults import REFUSALS
from snapstone.wire.health import HEALTH_PATH, READY_PATH, health, ready
from snapstone.wire.http import Request, Response
from snapstone.wire.unsupported import refuse_service


class Gateway:
    """Answers every request; safe to call from many threads.

    Errors with a row in `faults` become answers. ClientGoneError and whatever nobody foresaw are left to the listener.
    """

    def __init__(self, engine: Engine, operations: Mapping[str, Mapping[str, OperationFunction]]) -> None:
        authentication = Authentication(engine)
        self._engine = engine
        self._ebs = EbsEndpoint(engine, authentication, operations["ebs"])
        self._ec2 = Ec2Endpoint(engine, authentication, operations["ec2"])
        self._endpoints: dict[str, Endpoint] = {"ebs": self._ebs, "ec2": self._ec2}

    def __call__(self, request: Request) -> Response:
        path, query = split_target(request.target)
        if request.method == "GET" and path == HEALTH_PATH:
            return health(request.request_id)
        if request.method == "GET" and path == READY_PATH:
            return ready(self._engine, request.request_id)
        endpoint = self._likely_endpoint(path)
        log: dict[str, object] = {}
        try:
            claim = read_claim(request.headers, query)
            log.update(region=echo(claim.region), access_key_id=echo(claim.access_key_id))
            signed_for = self._endpoints.get(claim.service)
            if signed_for is None:
                return refuse_service(claim.service, request)
            endpoint = signed_for
            response = endpoint.serve(SignedRequest(request, path, query, claim, log))
        except REFUSALS as error:
            response, log["error"] = endpoint.refuse(error, request.request_id)
        response.log.update(log)
        return response

    def _likely_endpoint(self, path: str) -> Endpoint:
        """Whose words to use before a signature says which service is meant."""
        return self._ec2 if path == "/" else self._ebs
