"""The blocks that a copy transfers: all present blocks of a snapshot, or those that differ from an earlier one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from snapstone.client.api.faults import is_refused_token
from snapstone.client.api.service import Service
from snapstone.client.api.values import BlockPage, ChangePage, ListedBlock
from snapstone.client.errors import DamagedError, RemoteError
from snapstone.client.events import Tally
from snapstone.client.transfer.pipeline import StopSignal
from snapstone.client.transfer.reading import ZERO_BLOCK
from snapstone.core.blocks import ZERO_DIGEST, Digest

AHEAD_COUNT: Final = 65_536
"""Blocks that are listed before the first one moves (some 20 MiB), so that the number of blocks is known if it is
smaller: 32 GiB of changes."""

_ZEROS: Final = memoryview(ZERO_BLOCK)


@dataclass(frozen=True, slots=True)
class Move:
    """One block to be carried."""

    block_index: int
    token: str | None
    """None: the block is in the earlier snapshot only, and becomes zeros."""
    over_parent: bool
    """Whether the parent may hold something there, so that zeros have to be written."""


class Moves:
    """The blocks of one snapshot: all of them, or, with an earlier one, what came since."""

    def __init__(self, service: Service, snapshot_id: str, earlier_id: str | None, stop: StopSignal) -> None:
        self._service = service
        self._snapshot_id = snapshot_id
        self._earlier_id = earlier_id
        self._stop = stop

    def __iter__(self) -> Iterator[Move]:
        """Ascending, as the source lists them."""
        for page in self._pages():
            for block in page.blocks:
                if isinstance(block, ListedBlock):
                    yield Move(block.block_index, block.token, over_parent=False)
                else:
                    yield Move(block.block_index, block.second_token, over_parent=block.first_token is not None)

    def count(self) -> int:
        """How many there are; lists them all."""
        return sum(len(page.blocks) for page in self._pages())

    def counted(self, tally: Tally) -> Iterator[Move]:
        """The same; if they are few, all are known, and so counted, before the first is handed out."""
        moves = iter(self)
        ahead = deque(islice(moves, AHEAD_COUNT))
        if len(ahead) < AHEAD_COUNT:
            tally.expected_count = len(ahead)
        while ahead:
            yield ahead.popleft()
        yield from moves

    def fetch(self, move: Move, buffer: memoryview) -> tuple[memoryview, Digest]:
        """A block's bytes, checked, and their digest. A token that has expired meanwhile is replaced."""
        if move.token is None:
            return _ZEROS, ZERO_DIGEST
        try:
            return buffer, self._get(move.block_index, move.token, buffer)
        except RemoteError as error:
            if not is_refused_token(error):
                raise
        return buffer, self._get(move.block_index, self._new_token(move.block_index), buffer)

    def _pages(self) -> Iterator[BlockPage | ChangePage]:
        if self._earlier_id is None:
            return iter(self._service.block_pages(self._snapshot_id))
        return iter(self._service.changed_pages(self._earlier_id, self._snapshot_id))

    def _get(self, block_index: int, token: str, buffer: memoryview) -> Digest:
        return self._service.get_block(self._snapshot_id, block_index, token, buffer, stop=self._stop)

    def _new_token(self, block_index: int) -> str:
        pages = self._service.block_pages(self._snapshot_id, block_index)
        block = next((block for page in pages for block in page.blocks), None)
        if block is None or block.block_index != block_index:
            raise DamagedError(f"block {block_index} of {self._snapshot_id} was listed, but no longer exists")
        return block.token
