"""Whole files missing, cut short or overwritten: segments, and the index that is made again from them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from snapstone.storage.record import HEADER_SIZE
from snapstone.storage.recovery import StoreMissingError
from snapstone.storage.segment import HEADER_COPY_SIZE
from snapstone.system import sqlite as sqlite_connections
from tests.damage.stored_records import damage_entries, flip_bit, place_of, segment_file
from tests.installation import Installation, block

A, B, C = block("a"), block("b"), block("c")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def address_of(content: bytes) -> Address:
    return Address(sha256(content).digest())


def token_of_first(installation: Installation, snapshot_id: str) -> str:
    token: str = installation.list_all(snapshot_id)[0]["BlockToken"]
    return token


# -- segments --


def test_a_start_without_any_segment_that_was_there_is_refused_and_changes_nothing(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.close()
    segments = installation.folder / "segments"
    for away in (segments, segment_file(installation.folder)):
        away.rename(installation.folder / "away")
        for _ in range(2):
            with pytest.raises(StoreMissingError, match="holds none of the 1 segments"):
                installation.__post_init__()
        (installation.folder / "away").rename(away)
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A}


def two_segments(installation: Installation) -> tuple[SnapshotId, dict[int, bytes]]:
    """A snapshot whose first blocks fill the first segment."""
    blocks = {index: block(f"block {index}") for index in range(35)}
    return installation.sealed(blocks), blocks


def test_the_same_upload_heals_blocks_and_pages_of_a_segment_that_is_lost(installation: Installation) -> None:
    snapshot_id, blocks = two_segments(installation)
    installation.close()
    lost = segment_file(installation.folder)
    lost.unlink()
    installation.__post_init__()
    assert not installation.store.has(address_of(blocks[0]))
    again = installation.sealed(blocks)
    assert installation.content(again) == blocks
    assert installation.content(snapshot_id) == blocks


def test_the_same_upload_heals_a_segment_cut_short_while_the_server_was_stopped(installation: Installation) -> None:
    """Without a read of each block first, which would mark it as damaged."""
    snapshot_id, blocks = two_segments(installation)
    installation.close()
    os.truncate(segment_file(installation.folder), 5 << 20)
    installation.__post_init__()
    assert "objects beyond that are lost" in damage_entries(installation.folder)[0]["what"]
    again = installation.sealed(blocks)
    assert installation.content(again) == blocks
    assert installation.content(snapshot_id) == blocks


def test_a_segment_that_comes_back_is_searched_for_what_the_index_has_lost(
    installation: Installation, tmp_path: Path
) -> None:
    """The index loses its last commits in a power cut, and the next start finds a segment's file missing."""
    filler = installation.sealed({index: block(f"other {index}") for index in range(40)})
    installation.close()
    installation.__post_init__()
    early = tmp_path / "early.db"
    copy_index(installation.folder, early)
    snapshot_id = installation.sealed({0: A, 1: B})
    installation.close()
    home = place_of(installation.folder, address_of(A)).segment_id
    put_index_back(early, installation.folder)
    away = tmp_path / "away"
    segment_file(installation.folder, home).rename(away)
    installation.__post_init__()
    installation.close()
    away.rename(segment_file(installation.folder, home))
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A, 1: B}
    assert len(installation.content(filler)) == 40


def copy_index(folder: Path, to: Path) -> None:
    """The index as it is on disk now, beside an open store."""
    with closing(sqlite3.connect(folder / "index.db")) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def put_index_back(copy: Path, folder: Path) -> None:
    for path in folder.glob("index.db*"):
        path.unlink()
    shutil.copy(copy, folder / "index.db")


def test_a_segment_that_is_lost_while_the_server_runs_is_healed_by_a_put_of_any_of_its_blocks(
    installation: Installation,
) -> None:
    snapshot_id, blocks = two_segments(installation)
    tokens = [entry["BlockToken"] for entry in installation.list_all(snapshot_id)]
    installation.reopen()
    segment_file(installation.folder).unlink()
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 0, tokens[0])
    installation.put(installation.start(), 0, blocks[1])  # another block of it, which nobody has read
    assert installation.get(snapshot_id, 1, tokens[1]) == blocks[1]


def test_a_missing_segment_is_damage_to_its_readers_and_written_down(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = token_of_first(installation, snapshot_id)
    installation.close()
    segment_file(installation.folder).unlink()
    installation.accept_lost_segments = True
    installation.__post_init__()
    assert [entry["what"] for entry in damage_entries(installation.folder)] == ["the segment's file is missing"]
    for _ in range(2):
        with pytest.raises(DamageError):
            installation.get(snapshot_id, 0, token)
    with pytest.raises(DamageError):
        installation.list_all(snapshot_id)


def test_a_block_of_a_missing_segment_is_healed_by_the_put_that_brings_it_again(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A, 1: B})
    tokens = [entry["BlockToken"] for entry in installation.list_all(snapshot_id)]
    installation.close()
    segment_file(installation.folder).unlink()
    installation.accept_lost_segments = True
    installation.__post_init__()
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 0, tokens[0])
    installation.put(installation.start(), 0, A)
    assert installation.get(snapshot_id, 0, tokens[0]) == A
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 1, tokens[1])


def test_a_snapshot_in_a_missing_segment_can_be_deleted(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.close()
    segment_file(installation.folder).unlink()
    installation.accept_lost_segments = True
    installation.__post_init__()
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None


def test_a_segment_cut_short_is_damage_only_behind_the_cut(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A, 1: B})
    tokens = [entry["BlockToken"] for entry in installation.list_all(snapshot_id)]
    cut = place_of(installation.folder, address_of(B)).offset + HEADER_SIZE + 300_000
    os.truncate(segment_file(installation.folder), cut)
    assert installation.get(snapshot_id, 0, tokens[0]) == A
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 1, tokens[1])
    installation.put(installation.start(), 0, B)
    assert installation.get(snapshot_id, 1, tokens[1]) == B


def test_a_segment_cut_short_while_the_server_was_stopped_takes_new_blocks_and_keeps_the_old(
    installation: Installation,
) -> None:
    first = installation.sealed({0: A, 1: B})
    tokens = [entry["BlockToken"] for entry in installation.list_all(first)]
    cut = place_of(installation.folder, address_of(B)).offset + HEADER_SIZE + 300_000
    installation.close()
    os.truncate(segment_file(installation.folder), cut)
    installation.__post_init__()
    assert installation.get(first, 0, tokens[0]) == A
    with pytest.raises(DamageError):
        installation.get(first, 1, tokens[1])
    second = installation.sealed({number: block(f"new {number}") for number in range(5)})
    installation.reopen()
    assert installation.content(second) == {number: block(f"new {number}") for number in range(5)}
    assert installation.get(first, 0, tokens[0]) == A


@pytest.mark.parametrize("position", [0, 8, 16, 24, 39, 40, 4_079, 4_080, 4_095])
def test_a_segment_whose_header_is_damaged_is_reported_and_never_appended_to(
    installation: Installation, position: int
) -> None:
    snapshot_id = installation.sealed({0: A})
    token = token_of_first(installation, snapshot_id)
    installation.close()
    path = segment_file(installation.folder)
    damaged = position, HEADER_COPY_SIZE + (position + 2_000) % HEADER_COPY_SIZE
    for offset in damaged:
        flip_bit(path, offset)
    before = path.read_bytes()
    installation.__post_init__()
    assert [entry["place"] for entry in damage_entries(installation.folder)] == [str(path)]
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 0, token)
    other = installation.sealed({0: A, 1: B})
    assert installation.content(other) == {0: A, 1: B}
    assert path.read_bytes() == before
    installation.close()
    for offset in damaged:
        flip_bit(path, offset)
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A}


@pytest.mark.parametrize("index_is_lost", [False, True])
@pytest.mark.parametrize("position", [0, 8, 16, 24, 39, 40, 4_095, 4_096, 4_104, 4_112, 4_120, 4_135, 4_136, 8_191])
def test_one_damaged_copy_of_a_segments_header_is_reported_and_mended_and_nothing_is_lost(
    installation: Installation, position: int, index_is_lost: bool
) -> None:
    snapshot_id = installation.sealed({0: A, 1: B})
    installation.close()
    path = segment_file(installation.folder)
    before = path.read_bytes()
    flip_bit(path, position, bit=position % 8)
    if index_is_lost:
        (installation.folder / "index.db").unlink()
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A, 1: B}
    [entry] = damage_entries(installation.folder)
    assert (entry["address"], entry["place"]) == ("00" * 32, str(path))
    assert f"the copy at {position // 4_096 * 4_096};" in entry["what"]
    installation.reopen()
    assert path.read_bytes()[: len(before)] == before
    assert len(damage_entries(installation.folder)) == 1
    assert installation.content(snapshot_id) == {0: A, 1: B}


@pytest.mark.parametrize("position", [24, 4_120])
def test_one_damaged_copy_of_a_full_segments_header_is_reported_at_start_and_left(
    installation: Installation, position: int
) -> None:
    blocks = {number: block(f"block {number}") for number in range(40)}
    snapshot_id = installation.sealed(blocks)
    assert place_of(installation.folder, address_of(blocks[39])).segment_id == 2
    installation.close()
    path = segment_file(installation.folder)
    flip_bit(path, position)
    before = path.read_bytes()
    installation.__post_init__()
    assert installation.content(snapshot_id) == blocks
    assert [entry["place"] for entry in damage_entries(installation.folder)] == [str(path)]
    assert path.read_bytes() == before


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_the_same_upload_heals_a_full_segment_whose_header_is_damaged(
    installation: Installation, while_it_runs: bool
) -> None:
    snapshot_id, blocks = two_segments(installation)
    token = installation.list_all(snapshot_id)[0]["BlockToken"]
    installation.reopen()
    if not while_it_runs:
        installation.close()
    for offset in (24, HEADER_COPY_SIZE + 24):
        flip_bit(segment_file(installation.folder), offset)
    if while_it_runs:
        with pytest.raises(DamageError):  # one block is asked for; all are lost
            installation.get(snapshot_id, 0, token)
    else:
        installation.__post_init__()
    again = installation.sealed(blocks)
    installation.reopen()
    assert installation.content(again) == blocks
    assert installation.content(snapshot_id) == blocks


# -- the index --


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 4_096)


def make_text(path: Path) -> None:
    path.write_text("not a database\n" * 1_000)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4_096 * 4_096)


def cut_to_one_page(path: Path) -> None:
    os.truncate(path, 4_096)


@pytest.mark.parametrize("damage", [empty, overwrite_head, make_text, cut_in_half, cut_to_one_page, Path.unlink])
def test_a_damaged_index_is_made_again_from_the_records_at_start(
    installation: Installation, damage: Callable[[Path], None]
) -> None:
    parent = installation.sealed({0: A, 1: B})
    child = installation.sealed({1: C}, parent_snapshot_id=parent)
    installation.close()
    damage(installation.folder / "index.db")
    installation.__post_init__()
    assert installation.content(parent) == {0: A, 1: B}
    assert installation.content(child) == {0: A, 1: C}
    assert len(damage_entries(installation.folder)) == 0


def test_damage_inside_the_index_never_yields_wrong_bytes_and_its_removal_cures_it(installation: Installation) -> None:
    blocks = {number: block(f"block {number}") for number in range(40)}
    snapshot_id = installation.sealed(blocks)
    entries = installation.list_all(snapshot_id)
    installation.close()
    index = installation.folder / "index.db"
    whole = index.read_bytes()
    for page_start in range(4_096, len(whole), 4_096):
        index.write_bytes(whole[:page_start] + b"\xff" * 4_096 + whole[page_start + 4_096 :])
        try:
            installation.__post_init__()
        except sqlite3.DatabaseError:
            continue
        for entry in entries[::8]:
            try:
                content = installation.get(snapshot_id, entry["BlockIndex"], entry["BlockToken"])
            except (DamageError, sqlite3.DatabaseError):
                continue
            assert content == blocks[entry["BlockIndex"]]
        try:
            installation.close()
        except sqlite3.DatabaseError:
            installation.catalog.close()
    for path in installation.folder.glob("index.db*"):
        path.unlink()
    installation.__post_init__()
    assert installation.content(snapshot_id) == blocks


def test_an_index_that_is_locked_is_not_taken_for_damaged(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_SECONDS", 0.1)
    snapshot_id = installation.sealed({0: A})
    installation.close()
    index = installation.folder / "index.db"
    with sqlite3.connect(index, isolation_level=None) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Installation(installation.folder)
        holder.execute("ROLLBACK")
    holder.close()
    assert list(installation.folder.glob("*.damaged")) == []
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A}
