"""Rows remembered in memory and still never stale: a counter shared by all processes says whether anything changed.

The counter lies in a file beside the catalog that every process maps into its memory, so looking at it costs no system
call. A transaction makes it odd before it commits and even, by one more, when it has ended; transactions take turns
among all processes (`connections.py`). A row read while the counter stood at an even number is what the catalog holds
for as long as the counter stands there. A process that dies in the middle leaves it odd, and nothing is remembered
until the next transaction has ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from typing import Final, Generic, TypeVar

COUNTER_SIZE: Final = 8

REMEMBERED_LIMIT: Final = 4_096
"""Rows that one memory holds; past it, it starts anew."""

Row = TypeVar("Row")


class ChangeCounter:
    """The counter in its file; `begin` and `end` are for whoever has the turn to write."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < COUNTER_SIZE:
                os.ftruncate(fd, COUNTER_SIZE)
            self._view = memoryview(mmap(fd, COUNTER_SIZE)).cast("Q")
        finally:
            os.close(fd)

    @property
    def value(self) -> int:
        """Odd while a transaction is under way."""
        return self._view[0]

    def begin(self) -> None:
        """Something is about to change."""
        self._view[0] |= 1

    def end(self) -> None:
        """It has, or not: what was remembered before is not believed any more."""
        self._view[0] = (self._view[0] | 1) + 1


class Memory(Generic[Row]):
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
