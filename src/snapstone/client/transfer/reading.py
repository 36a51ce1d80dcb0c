"""Blocks of a source into the buffers of many threads: those of a stream in turn, failures with their place."""

from __future__ import annotations

import threading
from typing import Final

from snapstone.client.api.retrying import Stop
from snapstone.client.errors import ClientError, InterruptedTransferError
from snapstone.client.images.contract import Source
from snapstone.client.transfer.zeros import is_zero
from snapstone.core.blocks import ZERO_DIGEST, Digest, digest_of

LOOK_SECONDS: Final = 0.2
"""How often one who waits for a turn looks whether to give up."""


class Reading:
    """Reads a source for a pipeline, which hands out blocks in ascending order."""

    def __init__(self, source: Source, stop: Stop) -> None:
        self._source = source
        self._stop = stop
        self._next = 0
        self._turn = threading.Condition()

    def read(self, block_index: int, into: memoryview) -> Digest:
        """Fill a buffer with a block of the source; its digest. Raises ClientError."""
        try:
            if self._source.sequential:
                self._read_in_turn(block_index, into)
            else:
                self._source.read(block_index, into)
        except OSError as error:
            raise ClientError(f"{self._source.name}: block {block_index} cannot be read: {error.strerror}") from error
        return ZERO_DIGEST if is_zero(into) else digest_of(into)

    def _read_in_turn(self, block_index: int, into: memoryview) -> None:
        with self._turn:
            while self._next != block_index:
                if self._stop.is_set():
                    raise InterruptedTransferError(f"{self._source.name}: interrupted at block {block_index}")
                self._turn.wait(LOOK_SECONDS)
            self._source.read(block_index, into)
            self._next += 1
            self._turn.notify_all()
