"""Snapshot ids: how new ones look, and which texts AWS has minted."""

from __future__ import annotations

import pytest

from snapstone.core.ids import SNAPSHOT_ID_RANDOM_SIZE, is_minted_snapshot_id, mint_snapshot_id


def test_a_new_id_has_seventeen_hexadecimal_digits_of_the_random_bytes() -> None:
    assert SNAPSHOT_ID_RANDOM_SIZE == 9
    assert mint_snapshot_id(bytes.fromhex("0123456789abcdef0f")) == "snap-0123456789abcdef0"
    assert is_minted_snapshot_id(mint_snapshot_id(bytes(range(9))))


@pytest.mark.parametrize("text", ["snap-0123456789abcdef0", "snap-01234567", "snap-ffffffff"])
def test_texts_of_seventeen_or_eight_digits_are_ids(text: str) -> None:
    assert is_minted_snapshot_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "snap-",
        "snap-0123456",
        "snap-012345678",
        "snap-0123456789abcdef",
        "snap-0123456789abcdef01",
        "snap-0123456789ABCDEF0",
        "snap-0123456789abcdefg",
        "SNAP-01234567",
        "vol-01234567",
        " snap-01234567",
        "snap-01234567\n",
        "snap-0123456\u0667",
        "snap-00000000",
        "snap-00000000000000000",
    ],
)
def test_other_texts_are_none(text: str) -> None:
    assert not is_minted_snapshot_id(text)
