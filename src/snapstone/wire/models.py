"""The service models that botocore ships, compiled: for each operation offered, what travels where, as what type.

The models are the only list of member names in Snapstone. An operation's shapes are compiled into a few frozen values
that parsing and serializing walk quickly, and the models themselves, of which EC2's is large, are released. One table
lists where the live services depart from their published models; each row comes from observed answers of the real
service, or is a stated choice if it is silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.model import Shape as BotocoreShape

API_VERSIONS: Final = {
    "ebs": "2019-11-02",
    "ec2": "2016-11-15",
    "kms": "2014-11-01",
    "sts": "2011-06-15",
    "iam": "2010-05-08",
    "rbin": "2021-06-15",
}
"""The version of each service that Snapstone speaks."""


class ShapeType(StrEnum):
    """The model types that offered operations use."""

    STRING = "string"
    INTEGER = "integer"
    LONG = "long"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    BLOB = "blob"
    MAP = "map"
    LIST = "list"
    STRUCTURE = "structure"


class Location(StrEnum):
    """Where a top-level member travels."""

    URI = "uri"
    QUERY = "querystring"
    HEADER = "header"
    BODY = "body"
    PAYLOAD = "payload"
    """The member is the whole body, as bytes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One type, with its constraints."""

    type: ShapeType
    minimum: int | None = None
    maximum: int | None = None
    pattern_text: str | None = None
    pattern: re.Pattern[str] | None = None
    enum: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    """Of a structure, in the model's order."""
    item: Shape | None = None
    """Of a list, or the values of a map, whose keys are texts."""
    item_wire_name: str = "item"
    item_query_name: str | None = None
    """What stands between a list's name and the number of an item in the query protocol; nothing in EC2's."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure."""

    name: str
    """In the model and in botocore: `SnapshotId`."""
    keyword: str
    """As an argument of Snapstone's operation functions: `snapshot_id`."""
    field: str
    """In constraint messages: `snapshotId`."""
    location: Location
    wire_name: str
    """Header or query name, element name, or JSON key, by location and protocol."""
    query_name: str
    """In a form: the location name, else the name; for EC2 queryName first, and the first letter in upper case."""
    required: bool
    shape: Shape


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its request line, its input members and its output members."""

    service: str
    name: str
    method: str
    uri_segments: tuple[str, ...]
    """Of the request URI; a member's place is its wire name in braces."""
    status: int
    inputs: tuple[Member, ...]
    outputs: tuple[Member, ...]
    """In alphabetical order of name for rest-json, in the model's order for EC2."""
    has_output: bool
    streams_input: bool
    """The body is one blob that is handed on unread, and that the signature need not cover."""
    namespace: str = ""
    """Of XML answers."""
    result_wrapper: str | None = None
    """The element around the members of an answer in the query protocol."""


def load_operations(service: str, names: Iterable[str]) -> dict[str, Operation]:
    """Compile the named operations of a service in `API_VERSIONS`, as the live service has them.

    Raises KeyError for a name that the model lacks.
    """
    content = Loader().load_service_model(service, "service-2", API_VERSIONS[service])
    model = ServiceModel(content, service)
    known = set(model.operation_names)
    missing = [name for name in names if name not in known]
    if missing:
        raise KeyError(f"no such operation in the {service} model: {', '.join(missing)}")
    return {name: _as_live(_compile_operation(service, model.operation_model(name))) for name in names}


def _compile_operation(service: str, model: OperationModel) -> Operation:
    output_shape = model.output_shape
    inputs = _compile_members(model.input_shape, service) if model.input_shape else ()
    outputs = _compile_members(output_shape, service) if output_shape else ()
    if service == "ebs":
        outputs = tuple(sorted(outputs, key=lambda member: member.name))
    return Operation(
        service=service,
        name=model.name,
        method=model.http["method"],
        uri_segments=tuple(model.http["requestUri"].strip("/").split("/")),
        status=model.http.get("responseCode", 200),
        inputs=inputs,
        outputs=outputs,
        has_output=output_shape is not None,
        streams_input=model.auth_type == "v4-unsigned-body" and model.get_streaming_input() is not None,
        namespace=_namespace(model),
        result_wrapper=None if output_shape is None else output_shape.serialization.get("resultWrapper"),
    )


def _namespace(model: OperationModel) -> str:
    if model.service_model.metadata["protocol"] == "ec2":
        return f"http://ec2.amazonaws.com/doc/{model.service_model.api_version}/"
    return str(model.service_model.metadata.get("xmlNamespace", ""))


def _compile_members(shape: BotocoreShape, service: str) -> tuple[Member, ...]:
    payload = shape.serialization.get("payload")
    required = shape.metadata.get("required", [])
    return tuple(
        _compile_member(name, member, service, is_payload=name == payload, is_required=name in required)
        for name, member in shape.members.items()
    )


def _compile_member(name: str, shape: BotocoreShape, service: str, is_payload: bool, is_required: bool) -> Member:
    serialization = shape.serialization
    location_name = serialization.get("name")
    query_name = location_name or name
    if service == "ec2":
        query_name = serialization.get("queryName") or _capitalised(query_name)
    return Member(
        name=name,
        keyword=xform_name(name),
        field=name[0].lower() + name[1:],
        location=Location.PAYLOAD if is_payload else Location(serialization.get("location", Location.BODY)),
        wire_name=location_name or name,
        query_name=query_name,
        required=is_required,
        shape=_compile_shape(shape, service),
    )


def _compile_shape(shape: BotocoreShape, service: str) -> Shape:
    """Shapes of offered operations are not recursive; a type that is not in ShapeType is a ValueError here."""
    shape_type = ShapeType(shape.type_name)
    pattern_text = shape.metadata.get("pattern")
    return Shape(
        type=shape_type,
        minimum=shape.metadata.get("min"),
        maximum=shape.metadata.get("max"),
        pattern_text=pattern_text,
        pattern=compile_pattern(pattern_text) if pattern_text else None,
        enum=tuple(shape.metadata.get("enum", ())),
        members=_compile_members(shape, service) if shape_type is ShapeType.STRUCTURE else (),
        item=_compile_item(shape, service),
        item_wire_name=_item_name(shape, "item" if service == "ec2" else "member"),
        item_query_name=None if service == "ec2" else _item_name(shape, "member"),
    )


def _compile_item(shape: BotocoreShape, service: str) -> Shape | None:
    if shape.type_name == "list":
        return _compile_shape(shape.member, service)
    return _compile_shape(shape.value, service) if shape.type_name == "map" else None


def _item_name(shape: BotocoreShape, usual: str) -> str:
    return str(shape.member.serialization.get("name", usual)) if shape.type_name == "list" else usual


def compile_pattern(text: str) -> re.Pattern[str]:
    """A model's pattern, with `\\S` and the like meaning what they mean to AWS's Java: ASCII. Use `fullmatch`.

    Java's classes of letters, numbers and separators (`\\p{L}`, in the patterns of tags) are Unicode's there and here.
    """
    text = _REPEATED_REPEAT.sub(r"(?:\1)\2", text)
    if r"\p{" not in text:
        return re.compile(text, re.ASCII)
    for java, ours in _JAVA_CLASSES.items():
        text = text.replace(java, ours)
    return re.compile(text)


_REPEATED_REPEAT: Final = re.compile(r"(\[[^\]]*\]\{\d+\})(\{\d+,\d+\})")
"""`[a]{11}{0,9}` is two repetitions for Java and an error for Python."""

_JAVA_CLASSES: Final = {r"\p{L}": r"\w", r"\p{N}": r"\w", r"\p{Z}": r"\s"}


def _capitalised(name: str) -> str:
    return name[0].upper() + name[1:]


_TOKEN_PATTERN = "^[A-Za-z0-9+/=_-]+$"

PATTERNS: Final = {
    ("ListSnapshotBlocks", "NextToken"): _TOKEN_PATTERN,
    ("ListChangedBlocks", "NextToken"): _TOKEN_PATTERN,
    ("GetSnapshotBlock", "BlockToken"): _TOKEN_PATTERN,
}
"""Tokens: the live service's pattern also takes `_` and `-`."""

UNCONSTRAINED: Final = frozenset({("PutSnapshotBlock", "ChecksumAlgorithm")})
"""Checked by the operation itself, whose answer is INVALID_PARAMETER_VALUE and not a constraint fault."""

REQUIRED: Final = frozenset({("StartSnapshot", "Tags", "Key")})
"""Members of a list's items that the model leaves optional and no tag can do without."""

RANGES: Final = {("ScheduleKeyDeletion", "PendingWindowInDays"): (7, 30)}
"""Narrower than the model's, 1 to 365: the documented ones (docs/aws-behaviour/encryption-and-kms.md, KMS-14)."""

EMPTY_MEANS_ABSENT: Final = frozenset({("ListChangedBlocks", "FirstSnapshotId")})
"""An empty text is treated like a member that was not sent; the operation has its own answer for that."""

EXTRA_NULL_OUTPUTS: Final = {"ListChangedBlocks": ("LastEvaluatedBlockIndex",)}
"""Output members that are on the wire, always null, and in no model."""


def _as_live(operation: Operation) -> Operation:
    return replace(operation, inputs=tuple(_member(operation.name, member) for member in operation.inputs))


def _member(operation_name: str, member: Member) -> Member:
    place = (operation_name, member.name)
    if place in UNCONSTRAINED:
        return replace(member, shape=Shape(member.shape.type))
    if place in PATTERNS:
        text = PATTERNS[place]
        return replace(member, shape=replace(member.shape, pattern_text=text, pattern=compile_pattern(text)))
    if place in RANGES:
        minimum, maximum = RANGES[place]
        return replace(member, shape=replace(member.shape, minimum=minimum, maximum=maximum))
    if member.shape.item is not None:
        item = member.shape.item
        members = tuple(replace(m, required=m.required or (*place, m.name) in REQUIRED) for m in item.members)
        return replace(member, shape=replace(member.shape, item=replace(item, members=members)))
    return member
