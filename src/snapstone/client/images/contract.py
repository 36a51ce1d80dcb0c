"""The two contracts: a source of blocks, and a target for blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

State = Mapping[str, object]
"""Facts (JSON values) that change when an image is written to; empty if nothing can be known."""


class Source(Protocol):
    """An image that is read block by block. All but streams may be read from many threads, in any order."""

    name: str
    """Its name in messages and journals: an absolute path, or `-`."""
    size: int
    """Bytes; the last block may be short, and is then read with zeros behind it."""
    sequential: bool
    """A stream: every block is read once, in ascending order."""

    def ranges(self) -> Iterator[range]:
        """Ranges of block indexes that may hold something other than zeros: ascending, apart, lazily found."""
        ...

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into`, 524,288 bytes. Raises DamagedError, OSError or a ClientError; never fewer bytes."""
        ...

    def state(self) -> State:
        """State to compare before and after: a difference means that the image was written to in between."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


class Target(Protocol):
    """An image that is written block by block, from many threads, in any order."""

    name: str
    fresh: bool
    """Reads as zeros wherever nothing was written yet: zero blocks need not be written."""
    resumed: bool
    """An earlier run left something here."""
    fixed_places: bool
    """All there is are blocks at places of their own: written again, they make good what a failed sync has lost."""

    def write(self, block_index: int, block: memoryview) -> None:
        """Write a block (of which only the part before the image's end counts)."""
        ...

    def write_zeros(self, block_index: int) -> None:
        """Make a block read as zeros, as a hole if the target can."""
        ...

    def read(self, block_index: int, into: memoryview) -> None:
        """The target's current content, for resuming: 524,288 bytes, zeros where nothing is."""
        ...

    def sync(self) -> None:
        """Everything written so far survives a loss of power. Once this has failed, it and `commit` fail."""
        ...

    def commit(self) -> None:
        """Make it durable and visible under its name, whole; then let it go."""
        ...

    def leave(self) -> None:
        """Let it go unfinished, and keep what is needed to resume."""
        ...

    def discard(self) -> None:
        """Let it go and remove what it left, if that is a file of its own."""
        ...
