"""What a process remembers of manifests: no more than so many."""

from __future__ import annotations

import pytest

from snapstone.service import engine
from snapstone.service.engine import ManifestCache
from tests.suites.catalog_rows import name, pending


def test_of_more_held_rows_than_are_remembered_the_one_kept_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HELD_LIMIT", 2)
    held = ManifestCache()
    for number in (1, 2, 3):
        held.keep(pending(number))
    assert [held.is_held(pending(number)) for number in (1, 2, 3)] == [False, True, True]


def test_a_row_that_is_another_by_now_is_not_held() -> None:
    held = ManifestCache()
    held.keep(pending(1))
    assert not held.is_held(pending(1, block_count=7))


def test_no_more_missing_manifests_are_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MISSING_LIMIT", 2)
    held = ManifestCache()
    held.add_missing(name(number) for number in (1, 2, 3))
    assert held.missing == [name(1), name(2)]
    held.drop_missing(lambda snapshot_id: snapshot_id == name(1))
    held.add_missing([name(3)])
    assert held.missing == [name(2), name(3)]
