"""EC2 query requests: fields into members."""

from __future__ import annotations

import pytest

from snapstone.wire.models import load_operations
from snapstone.wire.query import NAME_PARTS_LIMIT, read_action, read_fields, read_members
from snapstone.wire.refusals import (
    InvalidParameterTypeError,
    MissingActionError,
    MissingParameterError,
    UnknownVersionError,
)

OPERATIONS = load_operations("ec2", ["DescribeSnapshots", "DeleteSnapshot", "DescribeRegions"])


def members(operation: str, form: str, query: str = "") -> dict[str, object]:
    return read_members(OPERATIONS[operation].inputs, read_fields(query, form.encode()))


def test_lists_filters_and_scalars() -> None:
    form = (
        "Action=DescribeSnapshots&Owner.1=self&SnapshotId.1=snap-1&SnapshotId.2=snap-2&DryRun=true&MaxResults=5"
        "&Filter.1.Name=tag%3AName&Filter.1.Value.1=a+b%2Bc&Filter.1.Value.2=%E6%9D%B1&NextToken=t"
    )
    assert members("DescribeSnapshots", form) == {
        "OwnerIds": ["self"],
        "SnapshotIds": ["snap-1", "snap-2"],
        "DryRun": True,
        "MaxResults": 5,
        "Filters": [{"Name": "tag:Name", "Values": ["a b+c", "東"]}],
        "NextToken": "t",
    }


def test_gaps_in_a_list_mean_nothing_and_items_are_sorted_by_number() -> None:
    form = (
        "SnapshotId.10=ten&SnapshotId.9=nine&SnapshotId.0=zero&SnapshotId.x=x"
        "&SnapshotId.123456789=last&SnapshotId.1234567890=far"
    )
    assert members("DescribeSnapshots", form) == {"SnapshotIds": ["zero", "nine", "ten", "last"]}


def test_fields_may_come_in_the_query_where_a_plus_is_a_plus() -> None:
    assert members("DescribeSnapshots", "", "NextToken=a+b&Owner.1=self&X-Amz-Date=x") == {
        "NextToken": "a+b",
        "OwnerIds": ["self"],
    }


def test_a_field_of_the_body_wins_over_the_querys() -> None:
    assert members("DeleteSnapshot", "SnapshotId=body", "SnapshotId=query") == {"SnapshotId": "body"}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("True", True)])
def test_booleans(text: str, value: bool) -> None:
    assert members("DescribeRegions", "AllRegions=" + text) == {"AllRegions": value}


@pytest.mark.parametrize(
    ("form", "parameter"),
    [
        ("DryRun=yes", "DryRun"),
        ("DryRun=", "DryRun"),
        ("MaxResults=many", "MaxResults"),
        ("MaxResults=2147483648", "MaxResults"),
        ("MaxResults.1=5", "MaxResults"),
        ("SnapshotId=snap-1", "SnapshotId"),
        ("Filter.1.Name.1=x", "Filter.1.Name"),
        ("Filter.1.Value=x", "Filter.1.Value"),
    ],
)
def test_another_type_is_refused_by_name(form: str, parameter: str) -> None:
    with pytest.raises(InvalidParameterTypeError) as caught:
        members("DescribeSnapshots", form)
    assert caught.value.parameter == parameter


def test_a_missing_required_parameter_is_named() -> None:
    with pytest.raises(MissingParameterError) as caught:
        members("DeleteSnapshot", "DryRun=true")
    assert caught.value.parameter == "SnapshotId"


def test_unknown_and_overlong_names_are_ignored() -> None:
    deep = ".".join(["a"] * (NAME_PARTS_LIMIT + 1))
    assert members("DeleteSnapshot", f"SnapshotId=s&Unknown=1&{deep}=1&{'.' * 100_000}=1&&=") == {"SnapshotId": "s"}


def test_a_name_may_have_as_many_parts_as_the_limit_says() -> None:
    place = read_fields("", ".".join(["a"] * NAME_PARTS_LIMIT).encode() + b"=1")
    for _ in range(NAME_PARTS_LIMIT):
        place = place.parts["a"]
    assert place.text == "1"


def test_the_action_is_read() -> None:
    assert read_action(read_fields("", b"Action=DeleteSnapshot&Version=2016-11-15"), "ec2") == "DeleteSnapshot"
    assert read_action(read_fields("Action=DeleteSnapshot", b""), "ec2") == "DeleteSnapshot"


@pytest.mark.parametrize("form", [b"", b"Action=", b"Action.1=x", b"Version=2016-11-15"])
def test_no_action_is_refused(form: bytes) -> None:
    with pytest.raises(MissingActionError):
        read_action(read_fields("", form), "ec2")


@pytest.mark.parametrize("version", [b"2011-06-15", b""])
def test_another_version_is_refused(version: bytes) -> None:
    with pytest.raises(UnknownVersionError):
        read_action(read_fields("", b"Action=GetCallerIdentity&Version=" + version), "ec2")
