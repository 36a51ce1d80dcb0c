"""The index of a segment store: from address to place, in SQLite without a sync for each commit.

Commits reach the disk in order, but late: after a power cut the index is as it was a little earlier, and what is
missing is found again in the records behind each segment's checkpoint. Every record below a checkpoint is in the index
as of the transaction that moved the checkpoint. Only a removal is synced before it is acted on, because space that is
given back cannot be found again.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.core.blocks import Address
from snapstone.storage.contract import ObjectEntry, ObjectKind
from snapstone.storage.record import record_size

SCHEMA_VERSION: Final = 1

BUSY_SECONDS: Final = 30.0
"""How long a transaction waits for another process's."""

IDLE_READER_LIMIT: Final = 16
"""Connections for reading that are kept while nobody uses them."""

WALK_PAGE: Final = 1_000
"""Rows that one step of a walk reads."""

LOOKUP_BATCH: Final = 500
"""Addresses in one question to SQLite."""

_SCHEMA: Final = """
CREATE TABLE object (
    address BLOB PRIMARY KEY CHECK (length(address) = 32),
    kind INTEGER NOT NULL,
    segment_id INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    payload_size INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE segment (
    segment_id INTEGER PRIMARY KEY,
    checkpoint INTEGER NOT NULL,
    full INTEGER NOT NULL DEFAULT 0
);
"""

ADD_ROW_COUNT: Final = 64
"""Records that one statement adds."""

_FIND: Final = "SELECT kind, segment_id, offset, payload_size, damaged FROM object WHERE address = ?"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object's record stands."""

    kind: ObjectKind
    segment_id: int
    offset: int
    payload_size: int
    damaged: bool


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record that is durable in its segment and not yet in the index."""

    address: Address
    kind: ObjectKind
    segment_id: int
    offset: int
    payload_size: int
    stored_at_ms: int

    @property
    def record_size(self) -> int:
        """Bytes that the record takes."""
        return record_size(self.payload_size)


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """What the index knows of a segment."""

    segment_id: int
    checkpoint: int
    """Every whole record before this offset is in the index, or was removed."""
    full: bool
    """Nothing more is appended to it."""


class Index:
    """Safe from many threads and many processes: one writer connection each, readers from a small pool."""

    def __init__(self, path: Path) -> None:
        """Open or make the index. Raises sqlite3.DatabaseError where the file is no index."""
        self._path = path
        self._writer = self._connect()
        self._write_lock = Lock()
        queue_path = path.with_name(f"{path.name}-lock")
        queue_path.touch(mode=0o600)
        self._queue_file = queue_path.open("ab")
        self._readers: deque[sqlite3.Connection] = deque()
        with self._transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._writer.execute(statement)
                self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"{path}: index version {version} is not known")
        path.chmod(0o600)

    def find(self, address: Address) -> Place | None:
        """The place of an object, or None."""
        reader = self._borrow_reader()  # as `_reader`, which costs more than the look-up: every block comes by here
        try:
            row = reader.execute(_FIND, (address,)).fetchone()
        finally:
            self._give_back_reader(reader)
        return None if row is None else Place(ObjectKind(row[0]), row[1], row[2], row[3], bool(row[4]))

    def find_missing(self, addresses: Sequence[Address]) -> set[Address]:
        """Those of the addresses that have no readable object."""
        missing = set(addresses)
        with self._reader() as reader:
            for start in range(0, len(addresses), LOOKUP_BATCH):
                batch = addresses[start : start + LOOKUP_BATCH]
                marks = ",".join("?" * len(batch))
                found = reader.execute(f"SELECT address FROM object WHERE address IN ({marks}) AND NOT damaged", batch)
                missing.difference_update(Address(row[0]) for row in found)
        return missing

    def add(self, records: Sequence[NewRecord], checkpoints: dict[int, int]) -> list[NewRecord]:
        """Add records and move checkpoints in one transaction; returns the records that were there already.

        A record whose address stands at another, undamaged place is such a duplicate. A damaged place is replaced.
        """
        if not checkpoints and len(records) <= ADD_ROW_COUNT:
            # One statement is a transaction by itself, and others wait less for it than for one of several.
            with self._write_lock, self._turn_among_processes():
                return self._insert(records)
        with self._transaction() as writer:
            duplicates = []
            for start in range(0, len(records), ADD_ROW_COUNT):
                duplicates += self._insert(records[start : start + ADD_ROW_COUNT])
            writer.executemany(
                "UPDATE segment SET checkpoint = ? WHERE segment_id = ?",
                [(checkpoint, segment_id) for segment_id, checkpoint in checkpoints.items()],
            )
        return duplicates

    def _insert(self, records: Sequence[NewRecord]) -> list[NewRecord]:
        """Insert records by one statement, whoever has the turn; returns those that were there already."""
        if not records:
            return []
        values = [
            value
            for r in records
            for value in (r.address, r.kind, r.segment_id, r.offset, r.payload_size, r.stored_at_ms)
        ]
        changed_count = self._writer.execute(_add_statement(len(records)), values).rowcount
        return [] if changed_count == len(records) else [r for r in records if not self._stands(r)]

    def mark_damaged(self, address: Address, place: Place) -> None:
        """Remember that the record at a place is damaged: a later put of the same object writes it anew."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE object SET damaged = 1 WHERE address = ? AND segment_id = ? AND offset = ?",
                (address, place.segment_id, place.offset),
            )

    def remove(self, addresses: Iterable[Address]) -> list[Place]:
        """Forget objects, durably; returns the places that they had."""
        places = []
        with self._transaction(synced=True) as writer:
            for address in addresses:
                row = writer.execute(
                    "DELETE FROM object WHERE address = ? RETURNING kind, segment_id, offset, payload_size, damaged",
                    (address,),
                ).fetchone()
                if row is not None:
                    places.append(Place(ObjectKind(row[0]), row[1], row[2], row[3], bool(row[4])))
        return places

    def walk(self) -> Iterator[ObjectEntry]:
        """Every object, in order of address, without a long transaction."""
        after = b""
        while True:
            with self._reader() as reader:
                rows = reader.execute(
                    "SELECT address, kind, payload_size, stored_at_ms FROM object WHERE address > ?"
                    " ORDER BY address LIMIT ?",
                    (after, WALK_PAGE),
                ).fetchall()
            for address, kind, payload_size, stored_at_ms in rows:
                yield ObjectEntry(Address(address), ObjectKind(kind), payload_size, stored_at_ms)
            if len(rows) < WALK_PAGE:
                return
            after = rows[-1][0]

    def segments(self) -> list[SegmentRow]:
        """Every segment, in order of id."""
        with self._reader() as reader:
            rows = reader.execute("SELECT segment_id, checkpoint, full FROM segment ORDER BY segment_id")
            return [SegmentRow(row[0], row[1], bool(row[2])) for row in rows]

    def add_segment(self, segment_id: int, checkpoint: int) -> None:
        """Know of a segment; harmless where it is known already."""
        with self._transaction() as writer:
            writer.execute(
                "INSERT INTO segment (segment_id, checkpoint) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (segment_id, checkpoint),
            )

    def set_full(self, segment_id: int) -> None:
        """Nothing more is appended to this segment."""
        with self._transaction() as writer:
            writer.execute("UPDATE segment SET full = 1 WHERE segment_id = ?", (segment_id,))

    def forget_segment(self, segment_id: int) -> None:
        """Forget a segment whose file is about to be removed, durably."""
        with self._transaction(synced=True) as writer:
            writer.execute("DELETE FROM segment WHERE segment_id = ?", (segment_id,))

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._write_lock:
            self._writer.close()
            self._queue_file.close()
        while self._readers:
            self._readers.pop().close()

    def _stands(self, record: NewRecord) -> bool:
        row = self._writer.execute(
            "SELECT segment_id, offset FROM object WHERE address = ?", (record.address,)
        ).fetchone()
        return bool(row == (record.segment_id, record.offset))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _borrow_reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return self._connect()

    def _give_back_reader(self, reader: sqlite3.Connection) -> None:
        if len(self._readers) < IDLE_READER_LIMIT:
            self._readers.append(reader)
        else:
            reader.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        reader = self._borrow_reader()
        try:
            yield reader
        finally:
            self._give_back_reader(reader)

    @contextmanager
    def _transaction(self, synced: bool = False) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._turn_among_processes():
            if synced:
                self._writer.execute("PRAGMA synchronous = FULL")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            else:
                self._writer.execute("COMMIT")
            finally:
                if synced:
                    self._writer.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _turn_among_processes(self) -> Iterator[None]:
        """Writers of all processes queue here: who finds SQLite's own lock taken would sleep and look again."""
        fcntl.flock(self._queue_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._queue_file, fcntl.LOCK_UN)


@cache
def _add_statement(row_count: int) -> str:
    places = ", ".join(["(?, ?, ?, ?, ?, ?)"] * row_count)
    return (
        f"INSERT INTO object (address, kind, segment_id, offset, payload_size, stored_at_ms) VALUES {places}"
        " ON CONFLICT (address) DO UPDATE SET segment_id = excluded.segment_id, offset = excluded.offset,"
        " stored_at_ms = excluded.stored_at_ms, damaged = 0 WHERE damaged"
    )


def remove_index(path: Path) -> None:
    """Put a damaged index out of the way, so that a new one can be built from the records."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(file.with_name(file.name + ".damaged"))


def is_index(path: Path) -> bool:
    """Whether a file is there and can be read as an index. Raises sqlite3.OperationalError where that is not known."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            connection.execute("SELECT count(*) FROM segment").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_INDEX:
            raise  # locked, or not to be opened: no reason to take it for damaged
        return False
    return True


_NO_INDEX: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file without the index's tables, or that is damaged, or no database."""
