"""The tag of a copy, and the limits of the search for a parent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapstone.client.events import Tally
from snapstone.client.transfer import counterparts, moves
from snapstone.client.transfer.counterparts import COPIED_FROM, Counterparts, CounterpartSearch, origin_of, origin_value
from snapstone.client.transfer.moves import Moves
from snapstone.client.transfer.pipeline import StopSignal
from tests.conformance.given import A, completed, started
from tests.server_process import Client, ServerProcess
from tests.unit.client.transfer.two_sides import Memory, service_of

HERE, THERE = "sa-east-1", "ca-central-1"
"""Regions in which nothing else is."""


@pytest.fixture
def here(server: ServerProcess) -> Iterator[Client]:
    yield server.client("ebs", region=HERE)
    empty(server, HERE)


@pytest.fixture
def there(server: ServerProcess) -> Iterator[Client]:
    yield server.client("ebs", region=THERE)
    empty(server, THERE)


def empty(server: ServerProcess, region: str) -> None:
    """Delete all snapshots of a region."""
    ec2 = server.client("ec2", region=region)
    for found in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=found["SnapshotId"])


def search(server: ServerProcess, snapshot_id: str) -> CounterpartSearch:
    """For a copy of a snapshot of 1 GiB from here to there."""
    with service_of(server, HERE) as source, service_of(server, THERE) as target:
        return Counterparts(source, target, snapshot_id, 1, observer=Memory()).search()


def test_the_tag_has_id_region_and_owner() -> None:
    assert origin_value("snap-0a", "eu-west-1", "000000000001") == "snap-0a eu-west-1 000000000001"
    assert origin_value("snap-0a", "eu-west-1", "") == "snap-0a eu-west-1"


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("snap-0a eu-west-1 000000000001", "snap-0a"),
        ("snap-0a", "snap-0a"),
        ("", None),
        ("vol-0a eu-west-1", None),
        ("snap-XYZ", None),
        ("snap-0a/../x", None),
    ],
)
def test_the_origin_is_read_from_the_tag_or_not_at_all(value: str, origin: str | None) -> None:
    assert origin_of({COPIED_FROM: value}) == origin
    assert origin_of({"Name": value}) is None


def test_where_there_are_no_copies_the_search_says_so(server: ServerProcess, here: Client) -> None:
    found = search(server, completed(here, {0: A}))
    assert (found.found, found.why, found.rejected) == (None, "no copy of an earlier snapshot was found", {})


def test_so_many_candidates_are_looked_at_and_no_more(
    server: ServerProcess, here: Client, there: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counterparts, "MAX_CANDIDATE_COUNT", 2)
    stranger = completed(here, {})
    for _ in range(3):
        completed(there, {}, Tags=[{"Key": COPIED_FROM, "Value": stranger}])
    found = search(server, completed(here, {0: A}))
    assert found.found is None
    assert len(found.rejected) == 2
    why = "none of 3 copies (only the newest 2 were checked) can be the parent; the newest: "
    assert found.why.startswith(why)


def test_a_larger_snapshot_is_no_candidate(server: ServerProcess, here: Client, there: Client) -> None:
    first = completed(here, {0: A})
    completed(there, {0: A}, VolumeSize=2, Tags=[{"Key": COPIED_FROM, "Value": first}])
    child = completed(here, {}, ParentSnapshotId=first)
    assert search(server, child).why == "no copy of an earlier snapshot was found"


def test_an_original_there_that_is_gone_or_pending_is_no_candidate(
    server: ServerProcess, here: Client, there: Client
) -> None:
    for original in ("snap-0123456789abcdef0", started(there)):
        copied = completed(here, {0: A}, Tags=[{"Key": COPIED_FROM, "Value": original}])
        child = completed(here, {}, ParentSnapshotId=copied)
        assert search(server, child).why == "no copy of an earlier snapshot was found"


def test_moves_beyond_what_is_listed_ahead_are_moved_too_but_not_counted(
    server: ServerProcess, here: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "AHEAD_COUNT", 4)
    few, many = (completed(here, dict.fromkeys(range(count), A)) for count in (3, 9))
    with service_of(server, HERE) as service:
        for snapshot_id, count, expected_count in ((few, 3, 3), (many, 9, None)):
            tally = Tally("copy")
            listed = Moves(service, snapshot_id, None, StopSignal())
            assert [move.block_index for move in listed.counted(tally)] == list(range(count))
            assert (listed.count(), tally.expected_count) == (count, expected_count)
