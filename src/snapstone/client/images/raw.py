"""A regular file as a source: every byte of it is the disk's, holes are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

from snapstone.client.images.block_file import BlockFile
from snapstone.client.images.contract import State
from snapstone.client.images.extents import block_ranges, data_extents
from snapstone.client.images.refusals import refusal


class RawSource:
    """Owns an open descriptor of a regular file. The size is that of the moment when it was opened."""

    sequential = False

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.size = os.fstat(fd).st_size
        self._file = BlockFile(fd, name, self.size, trust_cache=True)

    def ranges(self) -> Iterator[range]:
        """Blocks that are no holes, from the file system, without reading anything."""
        try:
            yield from block_ranges(data_extents(self._file.fd, self.size))
        except OSError as error:
            raise refusal(error, self.name, "be searched for holes") from error

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into` with a block."""
        self._file.read(block_index, into)

    def state(self) -> State:
        """Which file it is, its size and when it was last changed."""
        status = os.fstat(self._file.fd)
        return {
            "kind": "file",
            "device": status.st_dev,
            "inode": status.st_ino,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "ctime_ns": status.st_ctime_ns,
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()
