"""Connections to one SQLite file: one writer whose turn goes round, a bounded pool of readers, and streams."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import Final

from snapstone.catalog.changes import ChangeCounter
from snapstone.catalog.schema import known_migrations, migrate

READER_LIMIT: Final = 16
"""Readers open at once; each is borrowed for the length of one statement, the next caller waits."""

BUSY_TIMEOUT_SECONDS: Final = 30.0
"""How long a statement waits for a lock that a foreign program holds on the file, before it fails."""

WRITER_CACHE_SIZE_KIB: Final = 16_384

WAL_SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the write-ahead log that are kept on disk once it has been copied into the file."""


class Connections:
    """Opens the file, made and migrated where that is needed, and lends connections to it.

    Whose turn it is to write is settled twice. SQLite's own lock is what keeps transactions apart. But who finds it
    taken sleeps and looks again, and under load can do so for seconds; so writers of all processes first queue for a
    lock of the operating system, on a file beside the catalog, which is handed over at once and dies with its holder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = Lock()
        self._closed = False
        self._readers: LifoQueue[sqlite3.Connection | None] = LifoQueue()
        for _ in range(READER_LIMIT):
            self._readers.put(None)
        self.changes = ChangeCounter(path.with_name(f"{path.name}-changes"))
        with ExitStack() as opened:
            self._queue_file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._queue_file)
            with self._turn_among_processes():
                self._create_file()
                self._writer = opened.enter_context(closing(self._open_writer()))
            with self.writing() as connection:
                migrate(connection, known_migrations())
            self._opened = opened.pop_all()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed durably where the block ends well, rolled back where it raises."""
        with self._turn, self._turn_among_processes():
            self.changes.begin()
            try:
                with self._transaction() as connection:
                    yield connection
            finally:
                self.changes.end()

    @contextmanager
    def writing_quietly(self) -> Iterator[sqlite3.Connection]:
        """As `writing`, for a transaction that changes nothing which a Memory holds."""
        with self._turn, self._turn_among_processes(), self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        finally:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A reader for one statement, whose rows must all be fetched. Never borrowed while holding another."""
        reader = self._readers.get()
        try:
            if self._closed:
                raise sqlite3.ProgrammingError("the catalog is closed")
            if reader is None:
                reader = self._open_reader()
            yield reader
        finally:
            self._readers.put(reader)

    @contextmanager
    def streaming(self) -> Iterator[sqlite3.Connection]:
        """A reader of the caller's own, for a long iteration: it takes no place in the pool and delays no writer."""
        if self._closed:
            raise sqlite3.ProgrammingError("the catalog is closed")
        with closing(self._open_reader()) as reader:
            yield reader

    def forget_history(self) -> bool:
        """Give up what the write-ahead log still holds of rows that were removed; False while a reader needs it.

        The file itself keeps nothing: the writer overwrites what it deletes. Waits for nobody.
        """
        with self._turn, self._turn_among_processes():
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                [(busy, _, _)] = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
        return not busy

    def close(self) -> None:
        """Close all that is open, after waiting for the transaction and the reads under way."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            for _ in range(READER_LIMIT):
                reader = self._readers.get()
                if reader is not None:
                    reader.close()
            for _ in range(READER_LIMIT):
                self._readers.put(None)
            self._opened.close()

    @contextmanager
    def _turn_among_processes(self) -> Iterator[None]:
        """The turn of this process to write. Only a transaction runs under it, and its holder's death ends it."""
        if self._closed:
            raise sqlite3.ProgrammingError("the catalog is closed")
        fcntl.flock(self._queue_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._queue_file, fcntl.LOCK_UN)

    def _create_file(self) -> None:
        """Make an empty file that only its owner may read, where there is none; SQLite gives its log the same mode."""
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _open(self) -> sqlite3.Connection:
        """A connection in autocommit mode that any one thread at a time may use."""
        return sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)

    def _open_writer(self) -> sqlite3.Connection:
        writer = self._open()
        [(mode,)] = writer.execute("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            writer.close()
            raise sqlite3.OperationalError(f"{self._path}: no write-ahead log is possible here, SQLite offers {mode!r}")
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute("PRAGMA foreign_keys = ON")
        writer.execute("PRAGMA secure_delete = ON")
        writer.execute(f"PRAGMA cache_size = -{WRITER_CACHE_SIZE_KIB}")
        writer.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT}")
        return writer

    def _open_reader(self) -> sqlite3.Connection:
        reader = self._open()
        reader.execute("PRAGMA query_only = ON")
        return reader


class Statements:
    """What each subject's statements stand on: the connections to the one file."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
