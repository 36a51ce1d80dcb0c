"""Blocks that are all different, do not compress, and cost next to nothing to make."""

from __future__ import annotations

import hashlib
import random
from typing import Final

BLOCK_SIZE: Final = 524_288
STAMP_SIZE: Final = 16
POOL_COUNT: Final = 64
"""Random blocks kept in memory (32 MiB): more than a processor's inner caches hold."""


class DistinctBlocks:
    """Block number n is a random block of the pool whose last 16 bytes are a stamp of the seed and n.

    The stamp comes last so that the digest of block n continues from a hash of the rest that was made once: thousands
    of digests take milliseconds. The same seed gives the same blocks in another process.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed.to_bytes(8, "big")
        source = random.Random(seed)
        self._bodies = [memoryview(source.randbytes(BLOCK_SIZE - STAMP_SIZE)) for _ in range(POOL_COUNT)]
        self._hashes = [hashlib.sha256(body) for body in self._bodies]

    def pieces(self, number: int) -> tuple[memoryview, bytes]:
        """Block `number` as its random part and its stamp, to be sent one after the other."""
        return self._bodies[number % POOL_COUNT], self._stamp(number)

    def digest(self, number: int) -> bytes:
        """SHA-256 of block `number`."""
        whole = self._hashes[number % POOL_COUNT].copy()
        whole.update(self._stamp(number))
        return whole.digest()

    def is_block(self, number: int, received: memoryview) -> bool:
        """Whether the length and both ends of `received` are those of block `number`: no proof, but free."""
        body, stamp = self.pieces(number)
        return (
            len(received) == BLOCK_SIZE
            and received[:STAMP_SIZE] == body[:STAMP_SIZE]
            and received[-STAMP_SIZE:] == stamp
        )

    def _stamp(self, number: int) -> bytes:
        return self._seed + number.to_bytes(8, "big")
