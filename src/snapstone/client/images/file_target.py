"""A regular file as a target: it grows as a part file and gets its name when it is whole."""

from __future__ import annotations

import os
from pathlib import Path

from snapstone.client.images.block_file import BlockFile
from snapstone.client.images.part_file import publish, take_over_owner


class FileTarget:
    """Owns the open and locked part file, which has its full size already, as one hole or as a copy of the old image.

    `fresh` holds for a part that is resumed, too: an earlier run wrote there blocks of the same image, or nothing.
    """

    fixed_places = True

    def __init__(
        self, fd: int, part: Path, path: Path, size: int, *, fresh: bool, resumed: bool, replace: bool
    ) -> None:
        self.name = str(path)
        self.fresh = fresh
        self.resumed = resumed
        """Whether an earlier run left something here."""
        self._part = part
        self._path = path
        self._replace = replace
        self._file = BlockFile(fd, str(part), size, trust_cache=True)

    def write(self, block_index: int, block: memoryview) -> None:
        """Write a block."""
        self._file.write(block_index, block)

    def write_zeros(self, block_index: int) -> None:
        """Make a block a hole."""
        self._file.zero(block_index)

    def read(self, block_index: int, into: memoryview) -> None:
        """What the part holds now."""
        self._file.read(block_index, into)

    def sync(self) -> None:
        """Everything written so far is durable, in the part."""
        self._file.sync()

    def commit(self) -> None:
        """Make it durable, then give it its name. Where either fails the part stays."""
        try:
            if self._replace:
                take_over_owner(self._file.fd, self._path)
            self._file.sync()
            publish(self._part, self._path, replace=self._replace)
        finally:
            self._file.close()

    def leave(self) -> None:
        """Close the part; it stays."""
        self._file.close()

    def discard(self) -> None:
        """Remove the part, while it is still locked. After a commit, even one that failed, there is nothing to do."""
        if self._file.fd < 0:
            return
        try:
            self._part.unlink(missing_ok=True)
        finally:
            self._file.close()

    def allocated_bytes(self) -> int:
        """Bytes that the part occupies already; they need no more room."""
        return os.fstat(self._file.fd).st_blocks * 512
