"""Digest indexes: what is kept is found; what does not hold is removed, and said; old ones go."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstone.client.errors import UsageError
from snapstone.client.transfer import index as index_module
from snapstone.client.transfer.digests import ENTRIES_OFFSET, DigestTable
from snapstone.client.transfer.index import IndexStore
from snapstone.core.blocks import ZERO_DIGEST, Digest, checksum_from_digest
from tests.unit.client.transfer.notes import Notes

SNAPSHOT: Final = "snap-0123456789abcdef0"
OTHER: Final = "snap-0123456789abcdef1"


def digest(number: int) -> Digest:
    return Digest(sha256(number.to_bytes(8, "little")).digest())


A, B, C = digest(1), digest(2), digest(3)


class Given:
    """A store, its notes, and tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "indexes"
        self.folder.mkdir()
        self.aside = folder
        self.notes = Notes()
        self.store = IndexStore(self.folder, self.notes)

    def table(self, entries: dict[int, Digest], block_count: int = 2_048) -> DigestTable:
        table = DigestTable.create(self.aside / "written", block_count, {"stage": "sent"})
        for index, entry in entries.items():
            table.record(index, entry)
        return table

    def kept(self, entries: dict[int, Digest], snapshot_id: str = SNAPSHOT) -> None:
        with self.table(entries) as table:
            self.store.keep(table, snapshot_id, 1)

    def found(self, snapshot_id: str = SNAPSHOT, volume_size_gib: int = 1) -> dict[int, Digest] | None:
        table = self.store.find(snapshot_id, volume_size_gib)
        if table is None:
            return None
        with table:
            return dict(table.items())

    def expect_distrusted(self, why: str, volume_size_gib: int = 1) -> None:
        """It is not found, it is gone, and the note says why."""
        assert self.found(volume_size_gib=volume_size_gib) is None
        assert os.listdir(self.folder) == []
        assert [note.kind for note in self.notes.list] == ["warning"]
        assert why in self.notes.list[0].message
        assert str(self.folder / f"{SNAPSHOT}.index") in self.notes.list[0].message


@pytest.fixture
def given_store(tmp_path: Path) -> Given:
    return Given(tmp_path)


def test_what_was_kept_is_found(given_store: Given) -> None:
    given_store.kept({0: A, 2_047: B})
    given_store.kept({}, OTHER)
    assert given_store.found() == {0: A, 2_047: B}
    assert given_store.found(OTHER) == {}
    assert given_store.notes.list == []


def test_of_a_snapshot_without_an_index_nothing_is_found_or_said(given_store: Given) -> None:
    assert given_store.found() is None
    assert given_store.notes.list == []


def test_its_facts_prove_it_and_hold_what_the_caller_adds(given_store: Given) -> None:
    with given_store.table({1: A, 5: B}) as table:
        given_store.store.keep(table, SNAPSHOT, 1, {"endpoint": "https://x", "count": 77})
    with DigestTable.open(given_store.folder / f"{SNAPSHOT}.index") as kept:
        assert dict(kept.facts) == {
            "endpoint": "https://x",
            "snapshot_id": SNAPSHOT,
            "volume_size_gib": 1,
            "count": 2,
            "aggregate": checksum_from_digest(sha256(A + B).digest()),
        }
    assert given_store.found() == {1: A, 5: B}


def test_a_child_has_its_parents_blocks_and_its_own_over_them(given_store: Given) -> None:
    given_store.kept({0: A, 1: A, 2: A})
    parent = given_store.store.find(SNAPSHOT, 1)
    with given_store.table({1: B, 2: ZERO_DIGEST, 9: C}) as written:
        given_store.store.merge(parent, written, OTHER, 1).close()
    assert given_store.found(OTHER) == {0: A, 1: B, 2: ZERO_DIGEST, 9: C}
    assert given_store.found() == {0: A, 1: A, 2: A}


def test_a_child_may_be_larger(given_store: Given) -> None:
    given_store.kept({2_047: A})
    parent = given_store.store.find(SNAPSHOT, 1)
    with given_store.table({4_095: B}, 4_096) as written, given_store.store.merge(parent, written, OTHER, 2) as merged:
        assert (merged.block_count, dict(merged.items())) == (4_096, {2_047: A, 4_095: B})
    assert given_store.found(OTHER, 2) == {2_047: A, 4_095: B}


def test_a_second_index_replaces_the_first(given_store: Given) -> None:
    given_store.kept({0: A})
    given_store.kept({1: B})
    assert given_store.found() == {1: B}
    assert os.listdir(given_store.folder) == [f"{SNAPSHOT}.index"]


def test_a_forgotten_index_is_gone(given_store: Given) -> None:
    given_store.kept({0: A})
    given_store.store.forget(SNAPSHOT)
    given_store.store.forget(SNAPSHOT)
    assert given_store.found() is None
    assert given_store.notes.list == []


@pytest.mark.parametrize("snapshot_id", ["", "../x", "a/b", "x" * 65, "snap 1", "snap-1\n"])
def test_what_is_no_snapshot_id_names_no_file(given_store: Given, snapshot_id: str) -> None:
    with pytest.raises(UsageError, match="is not a snapshot ID"):
        given_store.store.find(snapshot_id, 1)


def rewrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_changed_digest_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A, 4: B})
    rewrite(given_store.folder / f"{SNAPSHOT}.index", ENTRIES_OFFSET + 3 * 32, b"\xff")
    given_store.expect_distrusted("its digests do not match their aggregate")


def test_a_lost_digest_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A, 4: B})
    rewrite(given_store.folder / f"{SNAPSHOT}.index", ENTRIES_OFFSET + 3 * 32, bytes(32))
    given_store.expect_distrusted("it has 1 digests instead of 2")


def test_a_digest_at_another_place_is_no_other_aggregate_and_is_found_by_the_blocks_that_are_compared(
    given_store: Given,
) -> None:
    # The aggregate has no indexes in it: whoever uses an index compares some of its blocks with the snapshot's.
    given_store.kept({3: A})
    path = given_store.folder / f"{SNAPSHOT}.index"
    rewrite(path, ENTRIES_OFFSET + 3 * 32, bytes(32) + A)
    assert given_store.found() == {4: A}


def test_the_index_of_another_snapshot_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A}, OTHER)
    os.rename(given_store.folder / f"{OTHER}.index", given_store.folder / f"{SNAPSHOT}.index")
    given_store.expect_distrusted(f"it is of {OTHER}, not of {SNAPSHOT}")


def test_the_index_of_another_size_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A})
    given_store.expect_distrusted("it is of a volume of 1 GiB, not of 2 GiB", volume_size_gib=2)


def test_a_journal_is_no_index(given_store: Given) -> None:
    with given_store.table({3: A}) as table:
        table.set_facts({"snapshot_id": SNAPSHOT, "volume_size_gib": 1})
        table.move(given_store.folder / f"{SNAPSHOT}.index")
    given_store.expect_distrusted("it has 1 digests instead of None")


def test_a_damaged_header_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A})
    path = given_store.folder / f"{SNAPSHOT}.index"
    rewrite(path, 0, bytes(ENTRIES_OFFSET))
    given_store.expect_distrusted("it is not a digest table")


def test_a_file_cut_short_is_noticed(given_store: Given) -> None:
    given_store.kept({3: A})
    os.truncate(given_store.folder / f"{SNAPSHOT}.index", ENTRIES_OFFSET + 640)
    given_store.expect_distrusted("it has 131712 bytes, but 196608 according to its header")


def test_an_index_that_may_not_be_opened_is_said_and_left(given_store: Given) -> None:
    os.symlink("itself.index", given_store.folder / "itself.index")
    assert given_store.store.find("itself", 1) is None
    assert "Too many levels of symbolic links" in given_store.notes.list[0].message
    assert os.listdir(given_store.folder) == ["itself.index"]


def test_those_used_longest_ago_go_first(given_store: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_INDEX_COUNT", 3)
    for number in range(3):
        given_store.kept({number: A}, f"snap-{number}")
        os.utime(given_store.folder / f"snap-{number}.index", (1_000 + number, 1_000 + number))
    assert given_store.found("snap-0") is not None
    given_store.kept({9: A}, "snap-9")
    kept = {path.stem for path in given_store.folder.glob("*.index")}
    assert kept == {"snap-0", "snap-2", "snap-9"}


def test_the_room_of_all_indexes_is_limited_but_the_newest_stays(
    given_store: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_store.kept({0: A}, "snap-0")
    room = (given_store.folder / "snap-0.index").stat().st_blocks * 512
    monkeypatch.setattr(index_module, "MAX_INDEX_BYTES", room * 2)
    given_store.kept({0: A}, "snap-1")
    given_store.kept({0: A}, "snap-2")
    assert {path.stem for path in given_store.folder.glob("*.index")} == {"snap-1", "snap-2"}
    monkeypatch.setattr(index_module, "MAX_INDEX_BYTES", 0)
    given_store.kept({0: A}, "snap-3")
    assert os.listdir(given_store.folder) == ["snap-3.index"]


def test_what_a_killed_process_left_is_removed_and_what_is_in_the_making_is_not(given_store: Given) -> None:
    left, young, held = (given_store.folder / f"snap-{name}.index.x.new" for name in ("left", "young", "held"))
    left.write_bytes(b"")
    young.write_bytes(b"")
    with DigestTable.create(held, 10, {}):
        for path in (left, held):
            os.utime(path, (1_000, 1_000))
        given_store.kept({0: A})
        assert {path.name for path in given_store.folder.iterdir()} == {f"{SNAPSHOT}.index", young.name, held.name}


entries = st.dictionaries(st.integers(0, 2_047), st.integers(0, 3).map(digest), max_size=30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(generations=st.lists(entries, min_size=1, max_size=4))
def test_any_line_of_generations_is_what_dicts_make_of_it(
    tmp_path_factory: pytest.TempPathFactory, generations: list[dict[int, Digest]]
) -> None:
    here = Given(tmp_path_factory.mktemp("line"))
    model: dict[int, Digest] = {}
    parent = None
    for number, written in enumerate(generations):
        model |= written
        with here.table(written) as table:
            made = here.store.merge(parent, table, f"snap-{number}", 1)
        if parent is not None:
            parent.close()
        parent = made
        assert here.found(f"snap-{number}") == model
    assert parent is not None
    parent.close()


@pytest.mark.parametrize("number", [1, 2])
def test_an_index_whose_sync_failed_is_none(given_store: Given, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The first sync is that of the empty table; the second covers entries, and the facts that prove them."""
    table, syncs, sync = given_store.table({0: A}), [], os.fsync

    def fail_one(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        syncs.append(path.startswith(f"{given_store.folder}/"))
        if sum(syncs) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    with monkeypatch.context() as patched, table, given_store.store.trying(SNAPSHOT):
        patched.setattr(os, "fsync", fail_one)
        given_store.store.keep(table, SNAPSHOT, 1)
    assert os.listdir(given_store.folder) == []
    assert "Input/output error" in given_store.notes.list[0].message
    given_store.kept({0: A})
    assert given_store.found() == {0: A}
