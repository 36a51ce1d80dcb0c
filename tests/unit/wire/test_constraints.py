"""AWS's words for broken constraints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapstone.wire.members import ECHO_LIMIT, VIOLATIONS_LIMIT, check_members, echo
from snapstone.wire.models import load_operations
from snapstone.wire.refusals import ConstraintError

NAMES = ("StartSnapshot", "CompleteSnapshot", "ListSnapshotBlocks", "GetSnapshotBlock")
OPERATIONS = load_operations("ebs", NAMES)
SNAPSHOT = {"SnapshotId": "snap-0123456789abcdef0"}


def violations(operation: str, values: dict[str, object]) -> tuple[str, ...]:
    with pytest.raises(ConstraintError) as caught:
        check_members(OPERATIONS[operation].inputs, values)
    return caught.value.violations


@pytest.mark.parametrize(
    ("operation", "values", "expected"),
    [
        (
            "ListSnapshotBlocks",
            SNAPSHOT | {"MaxResults": 99},
            "Value '99' at 'maxResults' failed to satisfy constraint: "
            "Member must have value greater than or equal to 100",
        ),
        (
            "ListSnapshotBlocks",
            SNAPSHOT | {"MaxResults": 10_001},
            "Value '10001' at 'maxResults' failed to satisfy constraint: "
            "Member must have value less than or equal to 10000",
        ),
        (
            "GetSnapshotBlock",
            SNAPSHOT | {"BlockIndex": 0},
            "Value null at 'blockToken' failed to satisfy constraint: Member must not be null",
        ),
        (
            "GetSnapshotBlock",
            SNAPSHOT | {"BlockIndex": 0, "BlockToken": ""},
            "Value '' at 'blockToken' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: ^[A-Za-z0-9+/=_-]+$",
        ),
        (
            "CompleteSnapshot",
            SNAPSHOT | {"ChangedBlocksCount": 0, "ChecksumAlgorithm": "SHA1"},
            "Value 'SHA1' at 'checksumAlgorithm' failed to satisfy constraint: "
            "Member must satisfy enum value set: [SHA256]",
        ),
        (
            "StartSnapshot",
            {"VolumeSize": 1, "Description": "d" * 256},
            f"Value '{'d' * 256}' at 'description' failed to satisfy constraint: "
            "Member must have length less than or equal to 255",
        ),
        (
            "StartSnapshot",
            {"VolumeSize": 1, "Tags": [{"Key": "k" * 128, "Value": ""}]},
            f"Value '{'k' * 128}' at 'tags.1.member.key' failed to satisfy constraint: "
            "Member must have length less than or equal to 127",
        ),
        (
            "StartSnapshot",
            {"VolumeSize": 1, "Tags": [{"Key": "k"}, {"Value": "v"}]},
            "Value null at 'tags.2.member.key' failed to satisfy constraint: Member must not be null",
        ),
        (
            "StartSnapshot",
            {"VolumeSize": 1, "Tags": [None]},
            "Value null at 'tags.1.member' failed to satisfy constraint: Member must not be null",
        ),
    ],
)
def test_one_broken_constraint(operation: str, values: dict[str, object], expected: str) -> None:
    assert violations(operation, values) == (expected,)


def test_all_broken_constraints_are_told() -> None:
    assert violations("StartSnapshot", {"VolumeSize": 0, "KmsKeyArn": ""}) == (
        "Value '0' at 'volumeSize' failed to satisfy constraint: Member must have value greater than or equal to 1",
        "Value '' at 'kmsKeyArn' failed to satisfy constraint: Member must have length greater than or equal to 1",
        r"Value '' at 'kmsKeyArn' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: arn:aws[a-z\-]*:kms:.*:[0-9]{12}:key/.*",
    )


def test_the_least_length_is_enough() -> None:
    assert len(violations("StartSnapshot", {"VolumeSize": 1, "KmsKeyArn": "k"})) == 1  # the pattern, not the length


@pytest.mark.parametrize(
    "values",
    [
        {"VolumeSize": 1, "Timeout": 10, "Encrypted": False},
        {"VolumeSize": 65_537, "Timeout": 4320, "Description": "d" * 255, "Tags": [{"Key": "k" * 127, "Value": ""}]},
        {"VolumeSize": 1, "KmsKeyArn": "arn:aws-cn:kms:r:123456789012:key/x", "Description": "two\nlines"},
    ],
)
def test_what_the_model_allows_passes(values: dict[str, object]) -> None:
    check_members(OPERATIONS["StartSnapshot"].inputs, values)


def test_a_pattern_holds_for_the_whole_value() -> None:
    assert len(violations("ListSnapshotBlocks", {"SnapshotId": "snap-0\n"})) == 1


def test_an_echo_is_capped() -> None:
    assert echo("x" * ECHO_LIMIT) == "x" * ECHO_LIMIT
    assert echo("x" * (ECHO_LIMIT + 1)) == "x" * ECHO_LIMIT + "..."
    assert len(violations("ListSnapshotBlocks", {"SnapshotId": "s" * 9_999})[0]) < ECHO_LIMIT + 200


def test_a_flood_of_violations_is_capped() -> None:
    assert len(violations("StartSnapshot", {"VolumeSize": 0, "Tags": [None] * 100_000})) == VIOLATIONS_LIMIT


def test_one_message_tells_of_twenty_violations_however_many_members_a_request_has() -> None:
    tags = [{"Key": "k" * 128, "Value": "v" * 257}] * 19  # two violations each
    assert len(violations("StartSnapshot", {"VolumeSize": 0, "Tags": tags, "ParentSnapshotId": ""})) == 20


def test_of_a_list_in_which_all_is_wrong_no_more_is_looked_at_than_a_message_tells() -> None:
    looked_at = []

    class Watched(list[object]):
        def __iter__(self) -> Iterator[object]:
            for number in range(1_000):
                looked_at.append(number)
                yield None

    violations("StartSnapshot", {"VolumeSize": 1, "Tags": Watched()})
    assert len(looked_at) <= VIOLATIONS_LIMIT + 1
