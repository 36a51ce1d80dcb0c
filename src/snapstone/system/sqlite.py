"""Connections to a SQLite file that many threads and processes use: one opened, and a pool of readers.

Writers take turns (`locks.Turn`). SQLite's own lock is what keeps transactions apart; but who finds it taken sleeps and
looks again, and under load can do so for seconds. A turn is handed over at once and dies with its holder.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore
from typing import Final

BUSY_TIMEOUT_SECONDS: Final = 30.0
"""How long SQLite waits for another process's transaction."""

READER_LIMIT: Final = 16
"""Readers of one file that are open at once; each is borrowed for one statement, and the next caller waits."""


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """A connection in autocommit mode, for any one thread at a time. Raises sqlite3.Error.

    `mode`: `rw` for a file that exists, `rwc` to make one that does not; `alone` reads the file without its
    write-ahead log, locks nothing and writes nothing.
    """
    query = "mode=ro&immutable=1" if mode == "alone" else f"mode={mode}"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


class Readers:
    """A pool of connections for reading: at most READER_LIMIT, opened when first needed. Safe from many threads."""

    def __init__(self, open_reader: Callable[[], sqlite3.Connection]) -> None:
        self._open = open_reader
        self._free = Semaphore(READER_LIMIT)
        self._idle: deque[sqlite3.Connection] = deque()
        self._is_closed = False

    def borrow(self) -> sqlite3.Connection:
        """A reader, to be given back. A thread borrows one at a time. Raises sqlite3.Error, also once closed."""
        self._free.acquire()
        try:
            if self._is_closed:
                raise sqlite3.ProgrammingError("the database is closed")
            try:
                return self._idle.pop()
            except IndexError:
                return self._open()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, reader: sqlite3.Connection) -> None:
        """End a loan."""
        self._idle.append(reader)
        self._free.release()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A reader for one statement, whose rows must all be fetched in the block."""
        reader = self.borrow()
        try:
            yield reader
        finally:
            self.give_back(reader)

    def close(self) -> None:
        """Close all of them, after waiting for those that are lent."""
        for _ in range(READER_LIMIT):
            self._free.acquire()
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
        self._free.release(READER_LIMIT)
