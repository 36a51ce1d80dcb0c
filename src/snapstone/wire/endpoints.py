"""The AWS services that are served, each from signed request to answer: read, authenticate, check, call, answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from snapstone.core.errors import InvalidParameterError
from snapstone.service.access.authorization import authorize_call
from snapstone.service.access.permission import SentMembers, only_reads
from snapstone.service.engine import Caller, Engine
from snapstone.wire import json_rpc, query, rest_json, xml_answers
from snapstone.wire.faults import CodedFault, EbsFault, cause_headers, ebs_fault, ec2_fault, json_fault, query_fault
from snapstone.wire.http import Call, Fault, Guard, Request, Response
from snapstone.wire.members import check_members, echo
from snapstone.wire.models import Operation, load_operations
from snapstone.wire.refusals import UnknownActionError
from snapstone.wire.rest_json import Routes
from snapstone.wire.sigv4 import Authentication, Claim, hashes_of_body, hashes_of_unread_block

OperationFunction = Callable[..., Mapping[str, object] | None]
"""`function(engine, caller, **members)`: the members that were sent, in snake_case; returns the output's members."""

Functions = Mapping[str, OperationFunction]


@dataclass(slots=True)
class SignedRequest:
    """A request with its target taken apart and its signature read, not yet believed."""

    request: Request
    path: str
    query: str
    claim: Claim
    log: dict[str, object]
    """Filled on the way, whatever the end."""
    call: Call | None = None
    """Set as soon as the signature holds and the members are read."""


class ServiceEndpoint(Protocol):
    """One AWS service."""

    def serve(self, signed: SignedRequest) -> Response:
        """Answer a request. Raises one of `faults.REFUSALS` for `refuse` to word."""

    def refuse(self, error: Exception, request_id: str) -> Response:
        """The fault of an error in this service's protocol."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The steps that every endpoint takes for a request, in any protocol."""

    engine: Engine
    authentication: Authentication
    guards: Sequence[Guard]

    def caller(self, signed: SignedRequest, body: bytes) -> Caller:
        """The signer of a request whose body has been read."""
        hashes = hashes_of_body(signed.claim, signed.request.headers, signed.query, body)
        return self.authentication.caller(signed.request, signed.path, signed.claim, hashes)

    def perform(
        self,
        signed: SignedRequest,
        caller: Caller,
        operation: Operation,
        members: Mapping[str, object],
        function: OperationFunction,
    ) -> Mapping[str, object]:
        """Call an operation's function, if guards and policies let it be.

        A change begins, and is answered as done, only while the store is there.
        """
        changes = not only_reads(operation.service, operation.name)
        if changes:
            self.engine.gate.require_open()
        signed.call = call = Call(operation.service, operation.name, caller, members, signed.request, signed.log)
        for guard in self.guards:
            guard(call)
        keywords = {member.keyword: members[member.name] for member in operation.inputs if member.name in members}
        sent = SentMembers(keywords, _taken(operation, function, keywords))
        authorize_call(self.engine, caller, operation.service, operation.name, sent)
        call.output = output = function(self.engine, caller, **keywords) or {}
        if changes:
            self.engine.gate.require_open()
        _log_snapshot(signed.log, output)
        return output


class RestJsonEndpoint:
    """The EBS direct APIs and the recycle bin: rest-json."""

    def __init__(self, dispatcher: Dispatcher, service: str, functions: Functions) -> None:
        operations = load_operations(service, functions)
        self._dispatcher = dispatcher
        self._functions = functions
        self._routes = Routes(operations.values())

    def serve(self, signed: SignedRequest) -> Response:
        request, claim = signed.request, signed.claim
        route = self._routes.find(request.method, signed.path)
        operation = route.operation
        signed.log["operation"] = operation.name
        self._dispatcher.authentication.check_scope(claim)
        if operation.streams_input:
            body = b""
            hashes = hashes_of_unread_block(claim, request.headers, signed.query)
            caller = self._dispatcher.authentication.caller(request, signed.path, claim, hashes)
        else:
            body = _whole_body(request, rest_json.JSON_BODY_LIMIT)
            caller = self._dispatcher.caller(signed, body)
        members = rest_json.read_members(route, signed.query, request.headers, body, request.body)
        _log_snapshot(signed.log, members)
        check_members(operation.inputs, members)
        output = self._dispatcher.perform(signed, caller, operation, members, self._functions[operation.name])
        return rest_json.answer(operation, output, request.request_id)

    def refuse(self, error: Exception, request_id: str) -> Response:
        fault = ebs_fault(error)
        return _refused(rest_json.answer_fault(fault, request_id), fault, error)


class Ec2Endpoint:
    """The part of EC2 that snapshot users need: EC2's own query protocol."""

    def __init__(self, dispatcher: Dispatcher, functions: Functions) -> None:
        self._dispatcher = dispatcher
        self._functions = functions
        self._operations = load_operations("ec2", functions)

    def serve(self, signed: SignedRequest) -> Response:
        caller, fields, operation = _read_query(self._dispatcher, signed, "ec2", self._operations)
        members = query.read_members(operation.inputs, fields)
        _log_snapshot(signed.log, members)
        output = self._dispatcher.perform(signed, caller, operation, members, self._functions[operation.name])
        return xml_answers.answer(operation, output, signed.request.request_id)

    def refuse(self, error: Exception, request_id: str) -> Response:
        fault = ec2_fault(error)
        return _refused(xml_answers.answer_fault(fault, request_id), fault, error)


class QueryEndpoint:
    """STS or IAM: the query protocol."""

    def __init__(self, dispatcher: Dispatcher, service: str, functions: Functions) -> None:
        self._dispatcher = dispatcher
        self._service = service
        self._functions = functions
        self._operations = load_operations(service, functions)
        self._namespace = next((operation.namespace for operation in self._operations.values()), "")

    def serve(self, signed: SignedRequest) -> Response:
        caller, fields, operation = _read_query(self._dispatcher, signed, self._service, self._operations)
        members = query.read_members(operation.inputs, fields, may_lack=True)
        check_members(operation.inputs, members)
        output = self._dispatcher.perform(signed, caller, operation, members, self._functions[operation.name])
        return xml_answers.answer_wrapped(operation, output, signed.request.request_id)

    def refuse(self, error: Exception, request_id: str) -> Response:
        fault = query_fault(error)
        return _refused(xml_answers.answer_query_fault(fault, self._namespace, request_id), fault, error)


class JsonEndpoint:
    """KMS: JSON 1.1."""

    def __init__(self, dispatcher: Dispatcher, service: str, functions: Functions) -> None:
        self._dispatcher = dispatcher
        self._functions = functions
        self._operations = load_operations(service, functions)

    def serve(self, signed: SignedRequest) -> Response:
        self._dispatcher.authentication.check_scope(signed.claim)
        body = _whole_body(signed.request, json_rpc.BODY_LIMIT)
        caller = self._dispatcher.caller(signed, body)
        operation = _offered(self._operations, json_rpc.read_target(signed.request.headers), signed.log)
        members = json_rpc.read_members(operation, body)
        check_members(operation.inputs, members)
        output = self._dispatcher.perform(signed, caller, operation, members, self._functions[operation.name])
        return json_rpc.answer(operation, output, signed.request.request_id)

    def refuse(self, error: Exception, request_id: str) -> Response:
        fault = json_fault(error)
        return _refused(json_rpc.answer_fault(fault, request_id), fault, error)


def _refused(response: Response, fault: EbsFault | CodedFault, error: Exception) -> Response:
    """A fault's answer, which says to hooks what it is, and to Snapstone's client what the cause is."""
    response.headers.extend(cause_headers(error))
    response.fault = Fault(fault.code, fault.message)
    return response


def _read_query(
    dispatcher: Dispatcher, signed: SignedRequest, service: str, operations: Mapping[str, Operation]
) -> tuple[Caller, query.Field, Operation]:
    """The caller, the form's fields, and the operation that they name."""
    dispatcher.authentication.check_scope(signed.claim)
    body = _whole_body(signed.request, query.FORM_LIMIT)
    caller = dispatcher.caller(signed, body)
    fields = query.read_fields(signed.query, body)
    return caller, fields, _offered(operations, query.read_action(fields, service), signed.log)


def _offered(operations: Mapping[str, Operation], name: str, log: dict[str, object]) -> Operation:
    """The operation of that name. Raises UnknownActionError."""
    log["operation"] = echo(name)
    operation = operations.get(name)
    if operation is None:
        raise UnknownActionError(echo(name))
    return operation


def _taken(operation: Operation, function: OperationFunction, keywords: Mapping[str, object]) -> frozenset[str]:
    """The operation's arguments; a member that only the models have is refused, because ignoring it could be wrong."""
    taken = keywords_taken(function)
    if taken is None:
        return frozenset(member.keyword for member in operation.inputs)
    if keywords.keys() <= taken:
        return taken
    raise InvalidParameterError(f"Not supported for this operation: {', '.join(sorted(keywords.keys() - taken))}")


@cache
def keywords_taken(function: OperationFunction) -> frozenset[str] | None:
    """The names of a function's parameters; None if it takes every one."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _whole_body(request: Request, limit: int) -> bytes:
    return b"" if request.body.declared_size == 0 else request.body.read_all(limit)


def _log_snapshot(log: dict[str, object], members: Mapping[str, object]) -> None:
    snapshot_id = members.get("SnapshotId") or members.get("SecondSnapshotId")
    if isinstance(snapshot_id, str):
        log["snapshot_id"] = echo(snapshot_id)
