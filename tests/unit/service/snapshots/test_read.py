"""Lists, comparisons and reads: pages, tokens and one-sided blocks (docs/aws-behaviour/ebs-direct.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import (
    FirstSnapshotMissingError,
    InvalidBlockTokenError,
    InvalidPageTokenError,
    UnrelatedSnapshotsError,
)
from snapstone.core.ids import SnapshotId
from snapstone.core.tokens import BLOCK_TOKEN_LIFE_SECONDS, PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import ServiceSettings
from snapstone.service.snapshots.read import get_snapshot_block, list_changed_blocks
from tests.installation import CALLER, START_MS, ZERO, Installation, aggregate, block

A, B, C = block("a"), block("b"), block("c")

SPREAD: Final = (0, 1, 511, 512, 513, 1_024, 2_047)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def of_many_blocks(installation: Installation, indexes: range) -> SnapshotId:
    """A completed snapshot with one and the same block at many indexes."""
    snapshot_id = installation.start()
    for index in indexes:
        installation.put(snapshot_id, index, ZERO)
    assert installation.complete(snapshot_id, len(indexes)) == "completed"
    return snapshot_id


# -- ListSnapshotBlocks --


def test_the_members_around_a_list_are_there_on_an_empty_page_too(installation: Installation) -> None:
    snapshot_id = installation.sealed({}, volume_size=3)
    assert installation.list_page(snapshot_id) == {
        "BlockSize": 524_288,
        "Blocks": [],
        "ExpiryTime": START_MS // 1000 * 1000 + 7 * 24 * 3_600 * 1_000,
        "NextToken": None,
        "VolumeSize": 3,
    }


def test_pages_are_full_and_only_null_ends(installation: Installation) -> None:
    snapshot_id = of_many_blocks(installation, range(103))
    first = installation.list_page(snapshot_id, max_results=100)
    assert [entry["BlockIndex"] for entry in first["Blocks"]] == list(range(100))
    second = installation.list_page(snapshot_id, max_results=100, next_token=first["NextToken"])
    assert [entry["BlockIndex"] for entry in second["Blocks"]] == [100, 101, 102]
    assert second["NextToken"] is None


def test_a_page_that_takes_the_last_block_has_no_next_token(installation: Installation) -> None:
    snapshot_id = installation.sealed(dict.fromkeys(SPREAD, A))
    assert installation.list_page(snapshot_id, max_results=7)["NextToken"] is None
    assert installation.list_page(snapshot_id, max_results=6)["NextToken"] is not None


@pytest.mark.parametrize("start", [0, 1, 2, 511, 512, 514, 1_025, 2_047, 2_048, 134_217_727, 2**31 - 1])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_list_from_any_index_has_what_is_left(installation: Installation, start: int, size: int) -> None:
    snapshot_id = installation.sealed(dict.fromkeys(SPREAD, ZERO))
    entries = installation.list_all(snapshot_id, starting_block_index=start, max_results=size)
    assert [entry["BlockIndex"] for entry in entries] == [index for index in SPREAD if index >= start]


def test_the_next_token_overrides_the_starting_index_and_the_page_size_may_change(installation: Installation) -> None:
    snapshot_id = installation.sealed(dict.fromkeys(SPREAD, A))
    first = installation.list_page(snapshot_id, max_results=2)
    second = installation.list_page(
        snapshot_id, max_results=3, next_token=first["NextToken"], starting_block_index=2_047
    )
    assert [entry["BlockIndex"] for entry in second["Blocks"]] == [511, 512, 513]


def test_a_page_has_the_policys_size_where_the_caller_gives_none(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data", settings=ServiceSettings(3, 5.0))
    snapshot_id = installation.sealed(dict.fromkeys(SPREAD, A))
    assert len(installation.list_page(snapshot_id)["Blocks"]) == 3
    installation.close()


def test_a_page_token_is_good_for_an_hour(installation: Installation) -> None:
    snapshot_id = installation.sealed(dict.fromkeys(SPREAD, A))
    token = installation.list_page(snapshot_id, max_results=2)["NextToken"]
    assert PAGE_TOKEN_LIFE_SECONDS == 3_600
    installation.clock.now_ms = (START_MS // 1000 + 3_600) * 1_000
    installation.list_page(snapshot_id, next_token=token)
    installation.clock.now_ms += 1_000
    with pytest.raises(InvalidPageTokenError):
        installation.list_page(snapshot_id, next_token=token)


def test_a_page_token_continues_only_the_call_that_gave_it(installation: Installation) -> None:
    first = installation.sealed(dict.fromkeys(SPREAD, A))
    second = installation.sealed(dict.fromkeys(SPREAD, B), parent_snapshot_id=first)
    third = installation.sealed(dict.fromkeys(SPREAD, C), parent_snapshot_id=first)
    listed = installation.list_page(first, max_results=2)
    compared = installation.changes_page(first, second, max_results=2)
    for wrong in (compared["NextToken"], listed["Blocks"][0]["BlockToken"], "garbage", listed["NextToken"].upper()):
        with pytest.raises(InvalidPageTokenError) as raised:
            installation.list_page(first, next_token=wrong)
        assert raised.value.token == wrong
    with pytest.raises(InvalidPageTokenError):
        installation.list_page(second, next_token=listed["NextToken"])
    for pair in ((second, first), (first, third), (third, second)):
        with pytest.raises(InvalidPageTokenError):
            installation.changes_page(*pair, next_token=compared["NextToken"])
    with pytest.raises(InvalidPageTokenError):
        installation.changes_page(first, second, next_token=listed["NextToken"])


# -- ListChangedBlocks --


def sides(installation: Installation, first: SnapshotId, second: SnapshotId) -> list[tuple[int, bool, bool]]:
    """Each listed index, and whether it has a token of the first and of the second snapshot."""
    return [
        (entry["BlockIndex"], entry["FirstBlockToken"] is not None, entry["SecondBlockToken"] is not None)
        for entry in installation.changes(first, second)
    ]


def test_a_comparison_lists_both_sides_of_what_differs(installation: Installation) -> None:
    parent = installation.sealed({0: A, 1: A, 600: A})
    child = installation.sealed({1: B, 2: B, 2_000: C}, parent_snapshot_id=parent)
    assert sides(installation, parent, child) == [(1, True, True), (2, False, True), (2_000, False, True)]
    assert sides(installation, child, parent) == [(1, True, True), (2, True, False), (2_000, True, False)]


def test_siblings_are_compared_by_what_each_has(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    first = installation.sealed({1: A, 2: A}, parent_snapshot_id=parent)
    second = installation.sealed({2: B, 3: A}, parent_snapshot_id=parent)
    assert sides(installation, first, second) == [(1, True, False), (2, True, True), (3, False, True)]


def test_a_block_rewritten_with_the_same_bytes_is_not_different(installation: Installation) -> None:
    parent = installation.sealed({0: A, 1: ZERO})
    child = installation.sealed({0: A, 1: ZERO}, parent_snapshot_id=parent)
    assert sides(installation, parent, child) == []


def test_a_zero_block_over_a_missing_one_is_a_difference(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    child = installation.sealed({5: ZERO}, parent_snapshot_id=parent)
    assert sides(installation, parent, child) == [(5, False, True)]


def test_a_snapshot_does_not_differ_from_itself(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    page = installation.changes_page(snapshot_id, snapshot_id)
    assert page["ChangedBlocks"] == []
    assert page["NextToken"] is None
    assert page["VolumeSize"] == 1


def test_the_volume_size_of_a_comparison_is_the_seconds(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    child = installation.sealed({4_000: A}, parent_snapshot_id=parent, volume_size=2)
    assert installation.changes_page(parent, child)["VolumeSize"] == 2
    assert installation.changes_page(child, parent)["VolumeSize"] == 1
    assert sides(installation, child, parent) == [(4_000, True, False)]


def test_pages_of_a_comparison_are_full(installation: Installation) -> None:
    parent = installation.sealed(dict.fromkeys(SPREAD, A))
    child = installation.sealed(dict.fromkeys(SPREAD, B), parent_snapshot_id=parent)
    page = installation.changes_page(parent, child, max_results=3, starting_block_index=1)
    assert [entry["BlockIndex"] for entry in page["ChangedBlocks"]] == [1, 511, 512]
    page = installation.changes_page(parent, child, max_results=4, next_token=page["NextToken"])
    assert [entry["BlockIndex"] for entry in page["ChangedBlocks"]] == [513, 1_024, 2_047]
    assert page["NextToken"] is None


def test_snapshots_of_different_lineages_are_not_compared(installation: Installation) -> None:
    first, second = installation.sealed({0: A}), installation.sealed({0: A})
    with pytest.raises(UnrelatedSnapshotsError) as raised:
        installation.changes_page(first, second)
    assert (raised.value.first_snapshot_id, raised.value.second_snapshot_id) == (first, second)


@pytest.mark.parametrize("first", [None, ""])
def test_a_comparison_without_a_first_snapshot_is_refused_before_the_second_is_looked_at(
    installation: Installation, first: str | None
) -> None:
    with pytest.raises(FirstSnapshotMissingError):
        list_changed_blocks(
            installation.engine, CALLER, second_snapshot_id="snap-0123456789abcdef0", first_snapshot_id=first
        )


# -- GetSnapshotBlock --


def test_a_read_answers_the_bytes_and_their_checksum(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"]
    answer = get_snapshot_block(installation.engine, CALLER, snapshot_id=snapshot_id, block_index=0, block_token=token)
    buffer = answer.pop("BlockData")
    assert bytes(buffer.payload) == A  # type: ignore[attr-defined]
    buffer.release()  # type: ignore[attr-defined]
    assert answer == {
        "Checksum": "Qib0wLZSCPxxAsnoZ1mqGTwYYUfxBvjcHbuEUOOwNdw=",
        "ChecksumAlgorithm": "SHA256",
        "DataLength": 524_288,
    }


def test_the_zero_block_is_read_without_a_buffer(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: ZERO})
    token = installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"]
    answer = get_snapshot_block(installation.engine, CALLER, snapshot_id=snapshot_id, block_index=0, block_token=token)
    assert bytes(answer["BlockData"].payload) == ZERO  # type: ignore[attr-defined]
    assert answer["Checksum"] == "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE="


def test_a_block_token_is_good_for_a_week(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"]
    assert BLOCK_TOKEN_LIFE_SECONDS == 604_800
    installation.clock.now_ms = (START_MS // 1_000 + 604_800) * 1_000
    assert installation.get(snapshot_id, 0, token) == A
    installation.clock.now_ms += 1
    with pytest.raises(InvalidBlockTokenError):
        installation.get(snapshot_id, 0, token)


def test_a_block_token_reads_its_snapshot_and_index_alone(installation: Installation) -> None:
    parent = installation.sealed({0: A, 1: A})
    child = installation.sealed({2: B}, parent_snapshot_id=parent)
    token = installation.list_page(parent)["Blocks"][0]["BlockToken"]
    page_token = installation.list_page(parent, max_results=1)["NextToken"]
    for snapshot_id, index, wrong in (
        (parent, 1, token),
        (parent, 5, token),
        (parent, 999_999, token),
        (child, 0, token),
        (parent, 0, token.upper()),
        (parent, 0, token[:-2]),
        (parent, 0, page_token),
        (parent, 0, "garbage"),
    ):
        with pytest.raises(InvalidBlockTokenError) as raised:
            installation.get(snapshot_id, index, wrong)
        assert raised.value.token == wrong
    assert installation.get(parent, 0, token) == A


def test_a_later_list_leaves_earlier_tokens_good(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"]
    installation.clock.advance_minutes(60)
    assert installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"] != token
    installation.reopen()
    assert installation.get(snapshot_id, 0, token) == A


def test_reads_give_their_buffers_back(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"]
    assert {installation.get(snapshot_id, 0, token) for _ in range(200)} == {A}


def test_an_address_is_the_digest_of_its_block(installation: Installation) -> None:
    installation.sealed({0: A})
    address = Address(bytes.fromhex("4226f4c0b65208fc7102c9e86759aa193c186147f106f8dc1dbb8450e3b035dc"))
    assert installation.store.has(address)
    assert aggregate({0: A}) == "hm74cqkUPpcI9ua01PNSVN2PLTzQAAMPsYCbeHfLIX4="
