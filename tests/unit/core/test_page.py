"""One page: its bytes, its children, its changes and its differences."""

from __future__ import annotations

from hashlib import sha256

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.page import BITMAP_SIZE, EMPTY_PAGE, ENTRY_SIZE, FANOUT, Page


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


FULL = EMPTY_PAGE.with_children({slot: address(slot) for slot in range(512)})


def test_a_page_has_512_slots_and_at_most_16448_bytes() -> None:
    assert (FANOUT, BITMAP_SIZE, ENTRY_SIZE) == (512, 64, 32)
    assert len(FULL.content) == 16_448
    assert len(FULL) == 512
    assert list(FULL.children()) == [(slot, address(slot)) for slot in range(512)]


def test_the_bytes_are_a_bitmap_of_low_bits_first_and_the_addresses_in_order() -> None:
    page = EMPTY_PAGE.with_children({511: address(3), 0: address(1), 9: address(2)})
    bitmap = bytearray(64)
    bitmap[0], bitmap[1], bitmap[63] = 0b0000_0001, 0b0000_0010, 0b1000_0000
    assert page.content == bytes(bitmap) + address(1) + address(2) + address(3)


def test_the_empty_page_is_sixty_four_zero_bytes() -> None:
    assert EMPTY_PAGE.content == bytes(64)
    assert len(EMPTY_PAGE) == 0
    assert list(EMPTY_PAGE.children()) == []
    assert EMPTY_PAGE.address.hex() == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"


def test_a_page_is_named_by_the_sha_256_of_its_bytes() -> None:
    page = EMPTY_PAGE.with_children({7: address(1)})
    assert page.address == sha256(page.content).digest()


def test_a_child_is_found_in_its_slot_alone() -> None:
    page = EMPTY_PAGE.with_children({0: address(10), 8: address(18), 63: address(73), 64: address(74), 511: address(9)})
    present = {0: address(10), 8: address(18), 63: address(73), 64: address(74), 511: address(9)}
    for slot in range(512):
        assert page.child(slot) == present.get(slot)
    assert page.slots() == (0, 8, 63, 64, 511)


@pytest.mark.parametrize("from_slot", [0, 1, 8, 9, 64, 65, 511])
def test_children_from_a_slot_on_are_those_at_or_behind_it(from_slot: int) -> None:
    page = EMPTY_PAGE.with_children({slot: address(slot) for slot in (0, 8, 64, 511)})
    assert [slot for slot, _ in page.children(from_slot)] == [slot for slot in (0, 8, 64, 511) if slot >= from_slot]


def test_changed_children_replace_and_the_others_stay() -> None:
    page = EMPTY_PAGE.with_children({1: address(1), 5: address(5), 9: address(9)})
    replaced = page.with_children({5: address(55), 9: address(99)})
    assert dict(replaced.children()) == {1: address(1), 5: address(55), 9: address(99)}
    added = page.with_children({5: address(55), 6: address(6)})
    assert dict(added.children()) == {1: address(1), 5: address(55), 6: address(6), 9: address(9)}
    assert dict(page.children()) == {1: address(1), 5: address(5), 9: address(9)}


def test_a_page_changed_to_what_it_was_has_the_same_name() -> None:
    page = EMPTY_PAGE.with_children({1: address(1)})
    assert page.with_children({1: address(1)}).address == page.address
    assert page.with_children({}).address == page.address
    assert page.with_children({1: address(2)}).with_children({1: address(1)}).content == page.content


@pytest.mark.parametrize("slots", [[0], [511], [0, 511], [3, 4], [0, 1, 2, 255, 256, 510], list(range(512))])
def test_pages_of_equal_shape_differ_where_their_entries_do(slots: list[int]) -> None:
    other = FULL.with_children({slot: address(1_000 + slot) for slot in slots})
    assert FULL.differences(other) == [(slot, address(slot), address(1_000 + slot)) for slot in slots]


@pytest.mark.parametrize("slot", [0, 1, 7, 8, 511])
@pytest.mark.parametrize("position", [0, 31])
@pytest.mark.parametrize("bit", [0, 7])
def test_entries_that_differ_in_a_single_bit_are_found(slot: int, position: int, bit: int) -> None:
    mine = bytes(32)
    theirs = Address(bytes(1 << bit if at == position else 0 for at in range(32)))
    first = FULL.with_children({slot: Address(mine)})
    second = FULL.with_children({slot: theirs})
    assert first.differences(second) == [(slot, mine, theirs)]


def test_pages_of_different_shape_differ_where_either_has_what_the_other_has_not() -> None:
    first = EMPTY_PAGE.with_children({0: address(1), 2: address(2), 4: address(4)})
    second = EMPTY_PAGE.with_children({2: address(22), 3: address(3), 4: address(4)})
    assert first.differences(second) == [
        (0, address(1), None),
        (2, address(2), address(22)),
        (3, None, address(3)),
    ]
    assert second.differences(first) == [(slot, theirs, mine) for slot, mine, theirs in first.differences(second)]


def test_a_page_does_not_differ_from_itself() -> None:
    assert FULL.differences(FULL) == []
    assert EMPTY_PAGE.differences(EMPTY_PAGE) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(63),
        bytes(65),
        b"\1" + bytes(63),
        b"\1" + bytes(63 + 31),
        b"\1" + bytes(63 + 64),
        b"\xff" * 64 + bytes(511 * 32),
        bytes(64 + 32),
    ],
)
def test_bytes_that_do_not_fit_their_bitmap_are_no_page(content: bytes) -> None:
    with pytest.raises(DamageError) as raised:
        Page(content)
    assert raised.value.address == sha256(content).hexdigest()
