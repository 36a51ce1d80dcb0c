"""Operations that only read: a short list, and everything else changes something."""

from __future__ import annotations

from snapstone.service.access.permission import only_reads
from snapstone.service.operations import OPERATIONS


def test_of_the_block_operations_those_read_that_have_no_effect() -> None:
    reading = {name for name in OPERATIONS["ebs"] if only_reads("ebs", name)}
    assert reading == {"GetSnapshotBlock", "ListChangedBlocks", "ListSnapshotBlocks"}


def test_operations_without_a_word_for_reading_change_something() -> None:
    others = {
        (service, name)
        for service, operations in OPERATIONS.items()
        for name in operations
        if only_reads(service, name) and not name.startswith(("Get", "List", "Describe"))
    }
    assert others == {("kms", "Decrypt"), ("kms", "GenerateRandom"), ("sts", "AssumeRole")}


def test_an_operation_that_nobody_has_heard_of_changes_something() -> None:
    assert not only_reads("ebs", "FrobnicateSnapshot")
