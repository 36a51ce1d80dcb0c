"""The zero test: right for every place of a byte that is not zero."""

from __future__ import annotations

import pytest

from snapstone.client.transfer.reading import ZERO_BLOCK, is_zero
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, digest_of


def test_the_zero_block_is_zero() -> None:
    assert is_zero(memoryview(bytearray(BLOCK_SIZE)))
    assert digest_of(ZERO_BLOCK) == ZERO_DIGEST


@pytest.mark.parametrize("place", [0, 1, 8_191, 8_192, 8_200, 262_144, BLOCK_SIZE - 1])
def test_one_byte_makes_it_another(place: int) -> None:
    block = bytearray(BLOCK_SIZE)
    block[place] = 1
    assert not is_zero(memoryview(block))
