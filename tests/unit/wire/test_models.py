"""What is compiled out of botocore's models."""

from __future__ import annotations

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from snapstone.wire.models import Location, Member, ShapeType, load_operations

EBS = (
    "StartSnapshot",
    "PutSnapshotBlock",
    "CompleteSnapshot",
    "ListSnapshotBlocks",
    "ListChangedBlocks",
    "GetSnapshotBlock",
)


def member(operation: str, name: str, service: str = "ebs") -> Member:
    return next(it for it in load_operations(service, [operation])[operation].inputs if it.name == name)


def test_every_ebs_operation_of_the_model_can_be_compiled() -> None:
    assert set(EBS) == set(ServiceModel(Loader().load_service_model("ebs", "service-2")).operation_names)
    assert set(load_operations("ebs", EBS)) == set(EBS)


@pytest.mark.parametrize(
    ("name", "method", "segments", "status"),
    [
        ("StartSnapshot", "POST", ("snapshots",), 201),
        ("PutSnapshotBlock", "PUT", ("snapshots", "{snapshotId}", "blocks", "{blockIndex}"), 201),
        ("CompleteSnapshot", "POST", ("snapshots", "completion", "{snapshotId}"), 202),
        ("GetSnapshotBlock", "GET", ("snapshots", "{snapshotId}", "blocks", "{blockIndex}"), 200),
    ],
)
def test_the_request_line_and_the_status(name: str, method: str, segments: tuple[str, ...], status: int) -> None:
    operation = load_operations("ebs", [name])[name]
    assert (operation.method, operation.uri_segments, operation.status) == (method, segments, status)


def test_only_a_put_streams_its_input() -> None:
    assert [name for name, it in load_operations("ebs", EBS).items() if it.streams_input] == ["PutSnapshotBlock"]


@pytest.mark.parametrize(
    ("operation", "name", "location", "wire_name", "keyword", "field", "required"),
    [
        ("PutSnapshotBlock", "SnapshotId", Location.URI, "snapshotId", "snapshot_id", "snapshotId", True),
        ("PutSnapshotBlock", "DataLength", Location.HEADER, "x-amz-Data-Length", "data_length", "dataLength", True),
        ("PutSnapshotBlock", "BlockData", Location.PAYLOAD, "BlockData", "block_data", "blockData", True),
        ("ListSnapshotBlocks", "NextToken", Location.QUERY, "pageToken", "next_token", "nextToken", False),
        ("StartSnapshot", "KmsKeyArn", Location.BODY, "KmsKeyArn", "kms_key_arn", "kmsKeyArn", False),
    ],
)
def test_where_a_member_travels_and_what_it_is_called(
    operation: str, name: str, location: Location, wire_name: str, keyword: str, field: str, required: bool
) -> None:
    it = member(operation, name)
    assert (it.location, it.wire_name, it.keyword, it.field, it.required) == (
        location,
        wire_name,
        keyword,
        field,
        required,
    )


def test_constraints_are_the_models() -> None:
    shape = member("ListSnapshotBlocks", "MaxResults").shape
    assert (shape.type, shape.minimum, shape.maximum) == (ShapeType.INTEGER, 100, 10_000)
    assert member("CompleteSnapshot", "ChecksumAlgorithm").shape.enum == ("SHA256",)
    assert member("StartSnapshot", "ParentSnapshotId").shape.pattern_text == "^snap-[0-9a-f]+$"


def test_a_pattern_knows_ascii_white_space_only() -> None:
    pattern = member("StartSnapshot", "ClientToken").shape.pattern
    assert pattern is not None
    assert pattern.fullmatch("no\u00a0break")
    assert not pattern.fullmatch("with space")


@pytest.mark.parametrize(
    ("operation", "name", "query_name"),
    [
        ("DescribeSnapshots", "OwnerIds", "Owner"),
        ("DescribeSnapshots", "SnapshotIds", "SnapshotId"),
        ("DescribeSnapshots", "RestorableByUserIds", "RestorableBy"),
        ("DescribeSnapshots", "DryRun", "DryRun"),
        ("DeleteSnapshot", "SnapshotId", "SnapshotId"),
        ("DeleteTags", "Resources", "ResourceId"),
    ],
)
def test_names_in_an_ec2_query(operation: str, name: str, query_name: str) -> None:
    assert member(operation, name, "ec2").query_name == query_name


def test_outputs_of_ebs_are_in_alphabetical_order() -> None:
    names = [it.name for it in load_operations("ebs", ["StartSnapshot"])["StartSnapshot"].outputs]
    assert names == sorted(names)
    assert "BlockSize" in names


def test_an_operation_without_output_is_known() -> None:
    operations = load_operations("ec2", ["DeleteSnapshot", "DescribeRegions"])
    assert (operations["DeleteSnapshot"].has_output, operations["DescribeRegions"].has_output) == (False, True)


def test_an_operation_that_the_model_lacks_is_named() -> None:
    with pytest.raises(KeyError, match="AbortSnapshot"):
        load_operations("ebs", ["StartSnapshot", "AbortSnapshot"])
