"""One flipped bit in what is stored: reported as damage by every operation that reads it, never returned as data."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import manifest_address
from snapstone.storage.contract import ObjectKind
from snapstone.storage.pages import PageStore
from snapstone.storage.record import HEADER_SIZE
from tests.damage.stored_records import damage_entries, flip_bit, flipped_bit, place_of, segment_file
from tests.installation import START_MS, Installation, block

HEADER_POSITIONS: Final = (*range(0, 112, 3), 112, 2_048, 4_079, 4_080, 4_095)
"""Every third byte of the fields, some of the zeros, and both ends of the checksum."""

BLOCK_POSITIONS: Final = (0, 1, 4_095, 4_096, 262_144, 524_287)
"""In the payload."""

A, B, C = block("a"), block("b"), block("c")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def address_of(content: bytes) -> Address:
    return Address(sha256(content).digest())


def pages_of(installation: Installation, snapshot_id: SnapshotId) -> tuple[Address, Address, Address]:
    """Root, branch and leaf page above block 0."""
    pages = PageStore(installation.store, cache_bytes=1 << 20)
    root = installation.row(snapshot_id).root
    branch = pages.page(root).child(0)
    assert branch is not None
    leaf = pages.page(branch).child(0)
    assert leaf is not None
    return root, branch, leaf


def forget_pages(installation: Installation) -> None:
    """Empty the page cache, as a restart does."""
    installation.reopen()


def test_a_flipped_bit_of_a_block_is_damage_to_its_reader_wherever_it_is(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A, 1: B})
    token = installation.list_all(snapshot_id)[0]["BlockToken"]
    offset = place_of(installation.folder, address_of(A)).offset
    path = segment_file(installation.folder)
    for position in (*HEADER_POSITIONS, *(HEADER_SIZE + position for position in BLOCK_POSITIONS)):
        with flipped_bit(path, offset + position, bit=position % 8), pytest.raises(DamageError) as raised:
            installation.get(snapshot_id, 0, token)
        assert raised.value.address == sha256(A).hexdigest()
    assert installation.content(snapshot_id) == {0: A, 1: B}


def test_damage_is_written_down_with_its_time_its_address_and_its_place(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = installation.list_all(snapshot_id)[0]["BlockToken"]
    offset = place_of(installation.folder, address_of(A)).offset
    flip_bit(segment_file(installation.folder), offset + HEADER_SIZE)
    assert damage_entries(installation.folder) == []
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 0, token)
    [entry] = damage_entries(installation.folder)
    assert entry["time_ms"] == START_MS
    assert entry["address"] == sha256(A).hexdigest()
    assert entry["place"] == f"{segment_file(installation.folder)} at {offset}"
    assert entry["what"] == "the payload's checksum is wrong"


def test_a_damaged_block_that_is_put_again_is_healed_for_every_snapshot(installation: Installation) -> None:
    first = installation.sealed({0: A})
    second = installation.sealed({5: A, 6: B})
    token = installation.list_all(first)[0]["BlockToken"]
    flip_bit(segment_file(installation.folder), place_of(installation.folder, address_of(A)).offset + HEADER_SIZE + 77)
    with pytest.raises(DamageError):
        installation.get(first, 0, token)
    installation.sealed({9: A})
    assert installation.get(first, 0, token) == A
    assert installation.content(second) == {5: A, 6: B}
    installation.reopen()
    assert installation.content(first) == {0: A}


def test_the_other_blocks_of_a_damaged_segment_are_still_read(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A, 1: B, 2: C})
    flip_bit(segment_file(installation.folder), place_of(installation.folder, address_of(B)).offset)
    for entry, content in zip(installation.list_all(snapshot_id), (A, None, C), strict=True):
        if content is None:
            with pytest.raises(DamageError):
                installation.get(snapshot_id, 1, entry["BlockToken"])
        else:
            assert installation.get(snapshot_id, entry["BlockIndex"], entry["BlockToken"]) == content


@pytest.mark.parametrize("level", [0, 1, 2], ids=["root", "branch", "leaf"])
@pytest.mark.parametrize("position", [0, 50, 4_090, HEADER_SIZE, HEADER_SIZE + 63, HEADER_SIZE + 64, HEADER_SIZE + 95])
def test_a_flipped_bit_of_a_page_is_damage_to_lists_and_comparisons(
    installation: Installation, level: int, position: int
) -> None:
    parent = installation.sealed({0: A, 600: B})
    child = installation.sealed({0: C}, parent_snapshot_id=parent)
    address = pages_of(installation, child)[level]
    place = place_of(installation.folder, address)
    forget_pages(installation)
    with flipped_bit(segment_file(installation.folder, place.segment_id), place.offset + position, bit=3):
        with pytest.raises(DamageError) as raised:
            installation.list_all(child)
        assert raised.value.address == address.hex()
        with pytest.raises(DamageError):
            installation.changes(parent, child)
        with pytest.raises(DamageError):
            installation.changes(child, parent)
        assert installation.content(parent) == {0: A, 600: B}
        assert {entry["address"] for entry in damage_entries(installation.folder)} == {address.hex()}


@pytest.mark.parametrize("level", [0, 1, 2], ids=["root", "branch", "leaf"])
def test_a_seal_over_a_damaged_page_waits_and_ends_right_once_the_page_is_whole(
    installation: Installation, level: int
) -> None:
    parent = installation.sealed({0: A, 1: B})
    address = pages_of(installation, parent)[level]
    place = place_of(installation.folder, address)
    forget_pages(installation)
    child = installation.start(parent_snapshot_id=parent)
    installation.put(child, 1, C)
    with flipped_bit(segment_file(installation.folder, place.segment_id), place.offset + HEADER_SIZE + 2):
        assert installation.complete(child, 1) == "pending"
        installation.clock.advance_minutes(1)
        installation.tick()
        assert installation.row(child).state is SnapshotState.SEALING
        assert address.hex() in {entry["address"] for entry in damage_entries(installation.folder)}
        assert not installation.store.has(manifest_address(child))
    installation.clock.advance_minutes(1)
    installation.tick()
    assert installation.row(child).state is SnapshotState.COMPLETED
    assert installation.content(child) == {0: A, 1: C}


def test_a_damaged_page_is_healed_by_a_seal_that_makes_it_again(installation: Installation) -> None:
    first = installation.sealed({0: A, 1: B})
    leaf = pages_of(installation, first)[2]
    flip_bit(segment_file(installation.folder), place_of(installation.folder, leaf).offset + HEADER_SIZE)
    forget_pages(installation)
    with pytest.raises(DamageError):
        installation.list_all(first)
    installation.sealed({0: A, 1: B})
    assert installation.content(first) == {0: A, 1: B}


def test_a_flipped_bit_of_a_manifest_is_damage(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    address = manifest_address(snapshot_id)
    place = place_of(installation.folder, address)
    for position in (0, 40, HEADER_SIZE, HEADER_SIZE + place.payload_size - 1):
        with (
            flipped_bit(segment_file(installation.folder), place.offset + position),
            pytest.raises(DamageError),
        ):
            installation.store.get(ObjectKind.MANIFEST, address)


def test_a_deleted_snapshot_with_a_damaged_manifest_is_gone_like_any_other(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    place = place_of(installation.folder, manifest_address(snapshot_id))
    flip_bit(segment_file(installation.folder), place.offset)
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None
