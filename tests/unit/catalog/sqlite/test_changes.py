"""Remembered rows: believed while nothing has changed, in any process, and never when a writer died in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.changes import REMEMBERED_LIMIT, ChangeCounter, RowCache
from snapstone.core.ids import AccountId
from tests.suites.races import in_processes

KEY = SealedAccessKey("AKIAEXAMPLE", AccountId("123456789012"), None, True, 17, b"sealed")


class Source:
    """A row that can be changed, and how often it was read."""

    def __init__(self) -> None:
        self.row: str | None = "first"
        self.reads = 0

    def read(self, key: str) -> str | None:
        self.reads += 1
        return self.row


@pytest.fixture
def counter(tmp_path: Path) -> ChangeCounter:
    return ChangeCounter(tmp_path / "changes")


@pytest.fixture
def memory(counter: ChangeCounter) -> RowCache[str]:
    return RowCache(counter)


def test_a_row_is_read_once_while_nothing_changes(memory: RowCache[str]) -> None:
    source = Source()
    assert [memory.recall("key", source.read) for _ in range(3)] == ["first"] * 3
    assert source.reads == 1


def test_a_change_makes_a_row_be_read_again(memory: RowCache[str], counter: ChangeCounter) -> None:
    source = Source()
    memory.recall("key", source.read)
    counter.begin()
    source.row = "second"
    counter.end()
    assert memory.recall("key", source.read) == "second"


def test_what_is_read_while_a_change_is_under_way_is_not_remembered(
    memory: RowCache[str], counter: ChangeCounter
) -> None:
    source = Source()
    counter.begin()
    assert memory.recall("key", source.read) == "first"
    source.row = "second"
    assert memory.recall("key", source.read) == "second"


def test_a_row_read_before_a_change_began_is_not_believed_during_it(
    memory: RowCache[str], counter: ChangeCounter
) -> None:
    source = Source()
    memory.recall("key", source.read)
    counter.begin()
    source.row = "second"
    assert memory.recall("key", source.read) == "second"


def test_a_row_read_before_a_change_and_kept_after_it_is_not_believed(
    memory: RowCache[str], counter: ChangeCounter
) -> None:
    def read_while_it_changes(key: str) -> str:
        counter.begin()
        counter.end()
        return "old"

    assert memory.recall("key", read_while_it_changes) == "old"
    assert memory.recall("key", lambda key: "new") == "new"


def test_a_counter_left_odd_by_a_death_is_put_right_by_the_next_change(
    memory: RowCache[str], counter: ChangeCounter
) -> None:
    source = Source()
    counter.begin()
    counter.begin()
    counter.end()
    memory.recall("key", source.read)
    memory.recall("key", source.read)
    assert source.reads == 1


def test_a_change_is_seen_through_another_mapping_of_the_file(tmp_path: Path) -> None:
    memory: RowCache[str] = RowCache(ChangeCounter(tmp_path / "changes"))
    source = Source()
    memory.recall("key", source.read)
    other = ChangeCounter(tmp_path / "changes")
    other.begin()
    other.end()
    source.row = "second"
    assert memory.recall("key", source.read) == "second"


def test_what_is_not_there_is_not_remembered(memory: RowCache[str]) -> None:
    source = Source()
    source.row = None
    assert memory.recall("key", source.read) is None
    source.row = "first"
    assert memory.recall("key", source.read) == "first"


def test_a_memory_is_bounded(memory: RowCache[str]) -> None:
    source = Source()
    for number in range(REMEMBERED_LIMIT + 1):
        memory.recall(str(number), source.read)
    memory.recall("0", source.read)
    assert source.reads == REMEMBERED_LIMIT + 2


def _deactivate(path: Path, _: int) -> None:
    catalog = SqliteCatalog(path)
    catalog.set_access_key_active(KEY, active=False)
    catalog.close()


def test_a_key_deactivated_by_another_process_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.insert_access_key(KEY, 1)
    key = catalog.sealed_access_key("AKIAEXAMPLE")
    assert key is not None
    assert key.active
    in_processes(1, _deactivate, path)
    key = catalog.sealed_access_key("AKIAEXAMPLE")
    assert key is not None
    assert not key.active
    catalog.close()
