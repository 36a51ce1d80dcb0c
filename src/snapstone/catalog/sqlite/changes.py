"""The small file beside the catalog: a counter that keeps remembered rows fresh, and the last transaction's number.

Every process maps the file into its memory, so looking at it costs no system call. It is written by pwrite alone: a
mapping that is written on a full copy-on-write file system kills the process (SIGBUS), while pwrite fails with an
error.

The counter: a transaction makes it odd before it commits and even, by one more, when it has ended; transactions take
turns among all processes (`connections.py`). A row read while the counter stood at an even number is what the catalog
holds for as long as the counter stands there. A process that dies in the middle leaves it odd, and so does a disk that
is full then: nothing is remembered until the next transaction has ended. The lowest byte is written last: of a number
that is written byte by byte, nobody can see an even one that never was.

The sequence: the number of the last transaction whose loss would matter, written after its commit and before anybody is
answered. It is never ahead of a catalog that has lost nothing, whatever crashes, and may be behind: it is not synced.
Beside it stands a number that the catalog's file was seen to hold by itself, without its log: the file can only be
ahead of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from errno import ENOSPC
from mmap import PROT_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Final, Generic, TypeVar

from snapstone.catalog.sqlite.checksums import number_checksum
from snapstone.core.errors import StoreFullError

log = logging.getLogger(__name__)

FILE_SIZE: Final = 40
"""Slots of 8 bytes: the counter; the sequence and its checksum; what the catalog's file holds, and its checksum."""

REMEMBERED_LIMIT: Final = 4_096
"""Rows that one memory holds; past it, it starts anew."""

_NUMBER: Final = Struct("<qq")
"""A number and its checksum."""
_SEQUENCE_PLACE: Final = 8
_FILED_PLACE: Final = 24
_COUNTER_END: Final = 1 << 64

Row = TypeVar("Row")


class ChangeCounter:
    """The file's slots; all but `value` is for whoever has the turn to write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        if size < FILE_SIZE:  # written and not only made longer: a hole could not be filled on a full disk
            os.pwrite(self._fd, bytes(FILE_SIZE - size), size)
        self._mapping = mmap(self._fd, FILE_SIZE, prot=PROT_READ)
        self._counter = memoryview(self._mapping)[:8].cast("Q")

    @property
    def value(self) -> int:
        """Odd while a transaction is under way."""
        return self._counter[0]

    @property
    def sequence(self) -> int | None:
        """The number of the last transaction that was acknowledged; None if the file does not know."""
        return self._number_at(_SEQUENCE_PLACE)

    @property
    def filed(self) -> int | None:
        """The number up to which the catalog's file held everything by itself, when somebody last looked."""
        return self._number_at(_FILED_PLACE)

    def _number_at(self, place: int) -> int | None:
        number: int
        number, checksum = _NUMBER.unpack_from(self._mapping, place)
        return number if number_checksum(number) == checksum else None

    def begin(self) -> None:
        """Something is about to change. Raises StoreFullError if that cannot be noted."""
        if self.value % 2 == 0:
            try:
                os.pwrite(self._fd, bytes([self.value & 0xFF | 1]), 0)
            except OSError as error:
                if error.errno == ENOSPC:
                    raise StoreFullError(f"{self._path}: {error.strerror}") from error
                raise

    def end(self) -> None:
        """It has, or not: what was remembered before is not believed any more."""
        following = (((self.value | 1) + 1) % _COUNTER_END).to_bytes(8, "little")
        # Odd until the last byte is written: if that fails, nothing is remembered, and that is safe.
        self._write(following[1:], 1) and self._write(following[:1], 0)

    def commit(self, sequence: int) -> None:
        """The transaction of that number is durable."""
        self._write(_NUMBER.pack(sequence, number_checksum(sequence)), _SEQUENCE_PLACE)

    def note_filed(self, sequence: int) -> None:
        """The catalog's file was seen to hold everything up to that number."""
        self._write(_NUMBER.pack(sequence, number_checksum(sequence)), _FILED_PLACE)

    def close(self) -> None:
        """Let go of the file; the mapping stays, for whoever still looks at `value`."""
        os.close(self._fd)

    def _write(self, content: bytes, place: int) -> bool:
        """Write what may stay unwritten; False if it does."""
        try:
            os.pwrite(self._fd, content, place)
        except OSError as error:
            log.error(
                "the changes file was not written", extra={"fields": {"file": str(self._path), "why": str(error)}}
            )
            return False
        return True


class RowCache(Generic[Row]):
    """Rows by key, each believed as long as nothing has changed since it was read. Safe from many threads."""

    def __init__(self, counter: ChangeCounter) -> None:
        self._counter = counter
        self._rows: dict[str, tuple[int, Row]] = {}

    def recall(self, key: str, read: Callable[[str], Row | None]) -> Row | None:
        """The row of that key: from memory, or read now. What is not there is not remembered."""
        count = self._counter.value
        remembered = self._rows.get(key)
        if remembered is not None and remembered[0] == count:
            return remembered[1]
        row = read(key)
        if row is not None and count % 2 == 0:
            if len(self._rows) >= REMEMBERED_LIMIT:
                self._rows.clear()
            self._rows[key] = (count, row)
        return row
