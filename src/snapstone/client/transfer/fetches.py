"""What a download has to put where: blocks by their tokens, and zeros, in ascending order, lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapstone.client.api.values import BlockPage, ChangePage


@dataclass(frozen=True, slots=True)
class Fetch:
    """One block of the target: to be received by `token`, or, where that is None, to be zeros."""

    block_index: int
    token: str | None


def listed(pages: Iterable[BlockPage]) -> Iterator[Fetch]:
    """The blocks that are present in a snapshot."""
    return (Fetch(block.block_index, block.token) for page in pages for block in page.blocks)


def changed(pages: Iterable[ChangePage]) -> Iterator[Fetch]:
    """What has to change in an image of the first snapshot: a block that only the first one has becomes zeros."""
    return (Fetch(block.block_index, block.second_token) for page in pages for block in page.blocks)


def with_gaps(fetches: Iterable[Fetch], block_count: int) -> Iterator[Fetch]:
    """These, and zeros for every other block of the volume: for a target that holds something else now."""
    next_index = 0
    for fetch in fetches:
        yield from (Fetch(block_index, None) for block_index in range(next_index, fetch.block_index))
        yield fetch
        next_index = fetch.block_index + 1
    yield from (Fetch(block_index, None) for block_index in range(next_index, block_count))
