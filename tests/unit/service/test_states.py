"""What each call meets in each state: the table of docs/aws-behaviour/ebs-direct.md, EBS-STATE, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import (
    ParentNotCompleteError,
    SnapshotAlreadyCompletedError,
    SnapshotNotFoundError,
    SnapstoneError,
)
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from tests.installation import CALLER, Installation, block

A, B = block("a"), block("b")

SomeSnapshot = Callable[[Installation], SnapshotId]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.caller = CALLER
    installation.close()


def pending(installation: Installation) -> SnapshotId:
    snapshot_id = installation.start()
    installation.put(snapshot_id, 0, A)
    return snapshot_id


def sealing(installation: Installation) -> SnapshotId:
    """Held there by a lease that another process has."""
    snapshot_id = pending(installation)
    installation.catalog.begin_seal(snapshot_id, 1, None, installation.clock(), installation.clock())
    assert installation.catalog.claim_seal(snapshot_id, installation.clock(), installation.clock() + 10_000)
    return snapshot_id


def completed(installation: Installation) -> SnapshotId:
    return installation.sealed({0: A})


def in_error(installation: Installation) -> SnapshotId:
    snapshot_id = pending(installation)
    assert installation.complete(snapshot_id, 2) == "error"
    return snapshot_id


def deleted(installation: Installation) -> SnapshotId:
    snapshot_id = completed(installation)
    installation.delete(snapshot_id)
    return snapshot_id


def being_deleted(installation: Installation) -> SnapshotId:
    snapshot_id = completed(installation)
    assert installation.catalog.begin_delete(snapshot_id, installation.clock(), installation.clock())
    return snapshot_id


def never_was(installation: Installation) -> SnapshotId:
    return SnapshotId("snap-0123456789abcdef0")


def in_another_region(installation: Installation) -> SnapshotId:
    snapshot_id = completed(installation)
    installation.caller = replace(CALLER, region=Region("us-west-2"))
    return snapshot_id


def of_another_account(installation: Installation) -> SnapshotId:
    snapshot_id = completed(installation)
    installation.caller = replace(CALLER, account_id=AccountId("999988887777"))
    return snapshot_id


def pending_of_another_account(installation: Installation) -> SnapshotId:
    snapshot_id = pending(installation)
    installation.caller = replace(CALLER, account_id=AccountId("999988887777"))
    return snapshot_id


INVISIBLE = [
    deleted,
    being_deleted,
    never_was,
    in_another_region,
    of_another_account,
    pending_of_another_account,
]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (sealing, SnapshotAlreadyCompletedError),
        (completed, SnapshotAlreadyCompletedError),
        (in_error, SnapshotNotFoundError),
        *((given, SnapshotNotFoundError) for given in INVISIBLE),
    ],
)
def test_a_put_is_refused_unless_the_snapshot_is_pending(
    installation: Installation, given: SomeSnapshot, error: type[SnapstoneError]
) -> None:
    snapshot_id = given(installation)
    with pytest.raises(error):
        installation.put(snapshot_id, 1, B)


def test_a_put_to_a_pending_snapshot_answers_the_computed_checksum(installation: Installation) -> None:
    answer = installation.put(installation.start(), 0, A)
    assert answer == {"Checksum": "Qib0wLZSCPxxAsnoZ1mqGTwYYUfxBvjcHbuEUOOwNdw=", "ChecksumAlgorithm": "SHA256"}


@pytest.mark.parametrize(
    ("given", "count", "status"),
    [
        (pending, 1, "completed"),
        (pending, 2, "error"),
        (sealing, 1, "pending"),
        (sealing, 7, "pending"),
        (completed, 1, "completed"),
        (completed, 7, "completed"),
        (in_error, 1, "error"),
        (in_error, 2, "error"),
    ],
)
def test_complete_answers_the_status(installation: Installation, given: SomeSnapshot, count: int, status: str) -> None:
    snapshot_id = given(installation)
    assert installation.complete(snapshot_id, count) == status


def test_a_repeated_complete_changes_nothing(installation: Installation) -> None:
    snapshot_id = completed(installation)
    before = installation.row(snapshot_id)
    assert installation.complete(snapshot_id, 5, "AAAA") == "completed"
    assert installation.row(snapshot_id) == before


@pytest.mark.parametrize("given", INVISIBLE)
def test_complete_does_not_see_what_is_not_the_callers(installation: Installation, given: SomeSnapshot) -> None:
    snapshot_id = given(installation)
    with pytest.raises(SnapshotNotFoundError) as raised:
        installation.complete(snapshot_id, 1)
    assert raised.value.snapshot_ids == (snapshot_id,)


@pytest.mark.parametrize("given", [pending, sealing, in_error, *INVISIBLE])
def test_a_snapshot_does_not_exist_for_readers_unless_it_is_completed_and_theirs(
    installation: Installation, given: SomeSnapshot
) -> None:
    other = installation.sealed({0: A})
    token = installation.list_page(other)["Blocks"][0]["BlockToken"]
    snapshot_id = given(installation)
    with pytest.raises(SnapshotNotFoundError):
        installation.list_page(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        installation.list_page(snapshot_id, next_token="not a token")
    with pytest.raises(SnapshotNotFoundError):
        installation.get(snapshot_id, 0, token)
    with pytest.raises(SnapshotNotFoundError):
        installation.get(snapshot_id, 0, "not a token")
    for first, second in ((snapshot_id, other), (other, snapshot_id), (snapshot_id, snapshot_id)):
        with pytest.raises(SnapshotNotFoundError) as raised:
            installation.changes_page(first, second)
        assert raised.value.snapshot_ids == (first, second)


def test_a_completed_snapshot_is_read(installation: Installation) -> None:
    assert installation.content(completed(installation)) == {0: A}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (pending, ParentNotCompleteError),
        (sealing, ParentNotCompleteError),
        (in_error, SnapshotNotFoundError),
        *((given, SnapshotNotFoundError) for given in INVISIBLE),
    ],
)
def test_a_child_is_refused_unless_the_parent_is_completed(
    installation: Installation, given: SomeSnapshot, error: type[SnapstoneError]
) -> None:
    parent_id = given(installation)
    with pytest.raises(error):
        installation.start(parent_snapshot_id=parent_id)


@pytest.mark.parametrize("given", [pending, sealing, completed, in_error])
def test_a_snapshot_is_deleted_in_any_state(installation: Installation, given: SomeSnapshot) -> None:
    snapshot_id = given(installation)
    installation.delete(snapshot_id)
    assert list(installation.catalog.pending_writes(snapshot_id)) == []
    with pytest.raises(SnapshotNotFoundError):
        installation.delete(snapshot_id)
    if given is sealing:  # its row stays for as long as somebody may store its manifest
        installation.tick()
        installation.clock.advance_minutes(2)
        installation.tick()
    assert installation.catalog.snapshot(snapshot_id) is None


@pytest.mark.parametrize("given", INVISIBLE)
def test_what_is_not_the_callers_cannot_be_deleted(installation: Installation, given: SomeSnapshot) -> None:
    snapshot_id = given(installation)
    before = installation.catalog.snapshot(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) == before


def test_the_children_of_a_deleted_snapshot_keep_every_block_and_their_siblings(installation: Installation) -> None:
    parent = installation.sealed({0: A, 1: A})
    first = installation.sealed({1: B}, parent_snapshot_id=parent)
    second = installation.sealed({2: B}, parent_snapshot_id=parent)
    token = installation.list_page(first)["Blocks"][0]["BlockToken"]
    installation.delete(parent)
    assert installation.get(first, 0, token) == A
    assert installation.content(first) == {0: A, 1: B}
    changes = installation.changes(first, second)
    assert [
        (change["BlockIndex"], change["FirstBlockToken"] is None, change["SecondBlockToken"] is None)
        for change in changes
    ] == [(1, False, False), (2, True, False)]
    assert installation.get(second, 1, changes[0]["SecondBlockToken"]) == A


def test_grandchildren_are_related_after_all_between_them_are_deleted(installation: Installation) -> None:
    first = installation.sealed({0: A})
    middle = installation.sealed({1: A}, parent_snapshot_id=first)
    last = installation.sealed({0: B}, parent_snapshot_id=middle)
    installation.delete(middle)
    assert [change["BlockIndex"] for change in installation.changes(first, last)] == [0, 1]


def test_a_caller_of_another_account_may_not_use_a_page_token_of_the_owner(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A, 1: B})
    page = installation.list_page(snapshot_id, max_results=1)
    other = AccountId("999988887777")
    installation.caller = Caller(other, CALLER.region, "AKIAOTHER", root_principal(other))
    with pytest.raises(SnapshotNotFoundError):
        installation.list_page(snapshot_id, next_token=page["NextToken"])


def test_states_are_told_apart_as_the_tests_mean(installation: Installation) -> None:
    assert installation.row(pending(installation)).state is SnapshotState.PENDING
    assert installation.row(sealing(installation)).state is SnapshotState.SEALING
    assert installation.row(completed(installation)).state is SnapshotState.COMPLETED
    assert installation.row(in_error(installation)).state is SnapshotState.ERROR
    assert installation.row(being_deleted(installation)).state is SnapshotState.DELETING
