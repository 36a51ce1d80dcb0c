"""Ids checked and pages cut: what every list of protection has in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.core.errors import (
    InvalidPageTokenError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedSnapshotIdError,
)
from snapstone.service.ec2.filters import check_page_size, require_ids
from snapstone.service.paging import MAX_RESULTS, page_of
from tests.installation import Installation

CALL = ("List", "111122223333")

Item = tuple[int, str]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def place(item: Item) -> Item:
    return item


def every_page(installation: Installation, items: list[Item], size: int) -> list[list[Item]]:
    pages: list[list[Item]] = []
    token: str | None = None
    while True:
        page, token = page_of(installation.engine, CALL, items, place, size, token)
        pages.append(list(page))
        if token is None:
            return pages


def test_items_of_one_moment_are_told_apart_by_their_names(installation: Installation) -> None:
    items = [(1, "a"), (1, "b"), (1, "c"), (2, "a")]
    assert every_page(installation, items, 3) == [items[:3], items[3:]]
    assert every_page(installation, items, 2) == [items[:2], items[2:]]
    assert every_page(installation, items, 4) == [items]


def test_without_a_size_everything_is_one_page(installation: Installation) -> None:
    items = [(number, "x") for number in range(MAX_RESULTS + 5)]
    assert page_of(installation.engine, CALL, items, place, None, None) == (items, None)
    page, token = page_of(installation.engine, CALL, items, place, MAX_RESULTS + 5, None)
    assert (len(page), token is None) == (MAX_RESULTS, False)


def test_what_was_removed_meanwhile_moves_nothing(installation: Installation) -> None:
    items = [(number, "x") for number in range(6)]
    _, token = page_of(installation.engine, CALL, items, place, 3, None)
    page, _ = page_of(installation.engine, CALL, items[4:], place, 3, token)
    assert list(page) == items[4:]


def test_a_token_of_another_call_or_from_nowhere_is_refused(installation: Installation) -> None:
    items = [(1, "a"), (2, "b")]
    _, token = page_of(installation.engine, CALL, items, place, 1, None)
    assert token is not None
    moved = token.replace(b"b".hex(), b"a".hex(), 1)
    assert moved != token
    for call, text in ((("List", "444455556666"), token), (CALL, moved), (CALL, "x"), (CALL, "zz"), (CALL, "61x61")):
        with pytest.raises(InvalidPageTokenError):
            page_of(installation.engine, call, items, place, 1, text)


def test_ids_are_a_set_or_none() -> None:
    assert require_ids(None) is None
    assert require_ids([]) is None
    assert require_ids(["snap-0123456789abcdef0"] * 2) == {"snap-0123456789abcdef0"}
    with pytest.raises(MalformedSnapshotIdError):
        require_ids(["snap-0123456789abcdef0", "snap-xyz"])
    with pytest.raises(InvalidParameterError):
        require_ids(["vol-0123456789abcdef0"])


def test_a_page_has_a_least_size_and_does_not_go_with_ids() -> None:
    check_page_size(None, ["snap-0123456789abcdef0"])
    check_page_size(5)
    with pytest.raises(InvalidParameterError):
        check_page_size(4)
    with pytest.raises(InvalidParameterCombinationError):
        check_page_size(5, ["snap-0123456789abcdef0"])
