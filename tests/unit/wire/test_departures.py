"""Where the live service differs from its model."""

from __future__ import annotations

import pytest

from snapstone.wire.models import Member, load_operations

NAMES = ("StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot", "ListSnapshotBlocks", "ListChangedBlocks")
OPERATIONS = load_operations("ebs", (*NAMES, "GetSnapshotBlock"))


def member(operation: str, name: str) -> Member:
    return next(it for it in OPERATIONS[operation].inputs if it.name == name)


@pytest.mark.parametrize(
    ("operation", "name"),
    [("ListSnapshotBlocks", "NextToken"), ("ListChangedBlocks", "NextToken"), ("GetSnapshotBlock", "BlockToken")],
)
def test_tokens_may_have_underscores_and_hyphens(operation: str, name: str) -> None:
    shape = member(operation, name).shape
    assert shape.pattern_text == "^[A-Za-z0-9+/=_-]+$"
    assert shape.pattern is not None
    assert shape.pattern.fullmatch("a_b-c")
    assert shape.maximum == 256


def test_a_puts_algorithm_is_no_constraint_but_required() -> None:
    it = member("PutSnapshotBlock", "ChecksumAlgorithm")
    assert (it.required, it.shape.enum, it.shape.pattern, it.shape.maximum) == (True, (), None, None)


def test_a_completions_algorithm_is_one() -> None:
    assert member("CompleteSnapshot", "ChecksumAlgorithm").shape.enum == ("SHA256",)


def test_a_tag_has_a_key() -> None:
    item = member("StartSnapshot", "Tags").shape.item
    assert item is not None
    assert {it.name: it.required for it in item.members} == {"Key": True, "Value": False}
