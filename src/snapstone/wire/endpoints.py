"""The two AWS services that are served, each from signed request to answer: read, authenticate, check, call, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from snapstone.service.engine import Caller, Engine
from snapstone.wire import ec2_query, ec2_xml, rest_json
from snapstone.wire.authentication import Authentication
from snapstone.wire.claims import Claim
from snapstone.wire.constraints import check_members, echo
from snapstone.wire.departures import with_departures
from snapstone.wire.faults import ebs_fault, ec2_fault
from snapstone.wire.http import Request, Response
from snapstone.wire.models import Member, Operation, load_operations
from snapstone.wire.payload import hashes_of_body, hashes_of_unread_block
from snapstone.wire.refusals import UnknownActionError
from snapstone.wire.routes import Routes

OperationFunction = Callable[..., Mapping[str, object] | None]
"""`function(engine, caller, **members)`: the members that were sent, in snake_case; returns the output's members."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with its target taken apart and its signature read, not yet believed."""

    request: Request
    path: str
    query: str
    claim: Claim
    log: dict[str, object]
    """Filled on the way, whatever the end."""


class Endpoint(Protocol):
    """One AWS service."""

    def serve(self, signed: SignedRequest) -> Response:
        """Answer a request. Raises one of `faults.REFUSALS` for `refuse` to word."""

    def refuse(self, error: Exception, request_id: str) -> tuple[Response, str]:
        """The fault of an error in this service's protocol, and its code."""


class EbsEndpoint:
    """The EBS direct APIs, rest-json."""

    def __init__(
        self, engine: Engine, authentication: Authentication, functions: Mapping[str, OperationFunction]
    ) -> None:
        operations = with_departures(load_operations("ebs", functions))
        self._engine = engine
        self._authentication = authentication
        self._functions = functions
        self._routes = Routes(operations.values())

    def serve(self, signed: SignedRequest) -> Response:
        request, claim = signed.request, signed.claim
        route = self._routes.find(request.method, signed.path)
        operation = route.operation
        signed.log["operation"] = operation.name
        self._authentication.check_scope(claim)
        if operation.streams_input:
            body = b""
            hashes = hashes_of_unread_block(claim, request.headers, signed.query)
        else:
            body = _whole_body(request, rest_json.JSON_BODY_LIMIT)
            hashes = hashes_of_body(claim, request.headers, signed.query, body)
        caller = self._authentication.caller(request, signed.path, claim, hashes)
        members = rest_json.read_members(route, signed.query, request.headers, body, request.body)
        _log_snapshot(signed.log, members)
        check_members(operation.inputs, members)
        output = _call(self._functions[operation.name], self._engine, caller, operation.inputs, members)
        _log_snapshot(signed.log, output)
        return rest_json.answer(operation, output, request.request_id)

    def refuse(self, error: Exception, request_id: str) -> tuple[Response, str]:
        fault = ebs_fault(error)
        return rest_json.answer_fault(fault, request_id), fault.code


class Ec2Endpoint:
    """The part of EC2 that snapshot users need, EC2's query protocol."""

    def __init__(
        self, engine: Engine, authentication: Authentication, functions: Mapping[str, OperationFunction]
    ) -> None:
        self._engine = engine
        self._authentication = authentication
        self._functions = functions
        self._operations: dict[str, Operation] = load_operations("ec2", functions)

    def serve(self, signed: SignedRequest) -> Response:
        request, claim = signed.request, signed.claim
        self._authentication.check_scope(claim)
        body = _whole_body(request, ec2_query.FORM_LIMIT)
        hashes = hashes_of_body(claim, request.headers, signed.query, body)
        caller = self._authentication.caller(request, signed.path, claim, hashes)
        fields = ec2_query.read_fields(signed.query, body)
        action = ec2_query.read_action(fields)
        operation = self._operations.get(action)
        if operation is None:
            raise UnknownActionError(echo(action))
        signed.log["operation"] = operation.name
        members = ec2_query.read_members(operation.inputs, fields)
        _log_snapshot(signed.log, members)
        output = _call(self._functions[operation.name], self._engine, caller, operation.inputs, members)
        return ec2_xml.answer(operation, output, request.request_id)

    def refuse(self, error: Exception, request_id: str) -> tuple[Response, str]:
        fault = ec2_fault(error)
        return ec2_xml.answer_fault(fault, request_id), fault.code


def _whole_body(request: Request, limit: int) -> bytes:
    return b"" if request.body.declared_size == 0 else request.body.read_all(limit)


def _call(
    function: OperationFunction,
    engine: Engine,
    caller: Caller,
    inputs: tuple[Member, ...],
    members: Mapping[str, object],
) -> Mapping[str, object]:
    keywords = {member.keyword: members[member.name] for member in inputs if member.name in members}
    return function(engine, caller, **keywords) or {}


def _log_snapshot(log: dict[str, object], members: Mapping[str, object]) -> None:
    snapshot_id = members.get("SnapshotId") or members.get("SecondSnapshotId")
    if isinstance(snapshot_id, str):
        log["snapshot_id"] = echo(snapshot_id)
