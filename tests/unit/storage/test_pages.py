"""Pages through the store: cached within a limit, checked by their names."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.blocks import Address
from snapstone.core.data_key import DataKey
from snapstone.core.errors import DamageError
from snapstone.core.page import EMPTY_PAGE, Page
from snapstone.storage.contract import ObjectKind
from snapstone.storage.pages import PageStore


class Objects:
    """Pages in memory, and how often each was read; stands for a store that counts its reads."""

    def __init__(self) -> None:
        self.stored: dict[Address, bytes] = {}
        self.reads: list[Address] = []

    def put_many(
        self, kind: ObjectKind, objects: Iterable[tuple[Address, bytes]], data_key: DataKey | None = None
    ) -> int:
        assert kind is ObjectKind.PAGE
        before = len(self.stored)
        self.stored.update(objects)
        return len(self.stored) - before

    def get(self, kind: ObjectKind, address: Address) -> bytes:
        assert kind is ObjectKind.PAGE
        self.reads.append(address)
        if address not in self.stored:
            raise DamageError(address.hex(), "missing")
        return self.stored[address]


def page(number: int) -> Page:
    """A page of 64 + 32 bytes."""
    return EMPTY_PAGE.with_children({0: Address(number.to_bytes(32, "big"))})


def stored(count: int, cache_bytes: int) -> tuple[Objects, PageStore]:
    objects = Objects()
    pages = PageStore(objects, cache_bytes)  # type: ignore[arg-type]
    assert pages.store((page(number).address, page(number)) for number in range(count)) == count
    return objects, pages


def test_a_page_is_read_as_it_was_stored() -> None:
    _, pages = stored(3, 64 << 20)
    for number in range(3):
        assert pages.page(page(number).address).content == page(number).content


def test_the_empty_page_is_known_and_never_read() -> None:
    objects, pages = stored(0, 64 << 20)
    assert pages.page(EMPTY_ROOT) is EMPTY_PAGE
    assert objects.reads == []


def test_a_page_read_before_is_not_read_again() -> None:
    objects, pages = stored(3, 64 << 20)
    for _ in range(3):
        pages.page(page(1).address)
    assert objects.reads == [page(1).address]


def test_the_cache_keeps_no_more_bytes_than_its_limit_and_drops_what_was_used_longest_ago() -> None:
    objects, pages = stored(4, cache_bytes=3 * 96)
    for number in (0, 1, 2, 0, 3):  # 3 drops 1
        pages.page(page(number).address)
    objects.reads.clear()
    for number in (0, 2, 3):
        pages.page(page(number).address)
    assert objects.reads == []
    pages.page(page(1).address)
    assert objects.reads == [page(1).address]


@pytest.mark.parametrize("cache_bytes", [0, 95])
def test_a_cache_with_room_for_no_page_keeps_none(cache_bytes: int) -> None:
    objects, pages = stored(1, cache_bytes)
    for _ in range(2):
        assert pages.page(page(0).address).content == page(0).content
    assert len(objects.reads) == 2


def test_a_stored_page_of_another_name_is_damage_each_time() -> None:
    objects, pages = stored(2, 64 << 20)
    objects.stored[page(0).address] = page(1).content
    for _ in range(2):
        with pytest.raises(DamageError) as raised:
            pages.page(page(0).address)
        assert raised.value.address == page(0).address.hex()


def test_bytes_that_are_no_page_are_damage() -> None:
    objects, pages = stored(1, 64 << 20)
    objects.stored[page(0).address] = b"no page"
    with pytest.raises(DamageError):
        pages.page(page(0).address)


def test_a_missing_page_is_damage() -> None:
    _, pages = stored(0, 64 << 20)
    with pytest.raises(DamageError):
        pages.page(page(0).address)
