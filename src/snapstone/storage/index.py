"""The index of a segment store: from address to place, in SQLite without a sync for each commit.

Commits reach the disk in order, but late: after a power cut the index is as it was a little earlier, and what is
missing is found again in the records behind each segment's checkpoint. Every record below a checkpoint is in the index
as of the transaction that moved the checkpoint. Only a removal is synced before it is acted on, because space that is
given back cannot be found again.

The write-ahead log is copied into the file here, not by SQLite on its own, which would not tell of a sync that failed.
After one, pages of the log or of the file may not be on the disk, and a later sync does not report that: a power cut
could leave a file that is neither old nor new. So the index is marked as distrusted, durably, before the log is copied
again, and the next start makes it again from the records.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError, StoreFullError
from snapstone.storage.contract import ObjectEntry, ObjectKind
from snapstone.storage.file_system import make_in_place
from snapstone.storage.record import record_size
from snapstone.system.files import sync_folder
from snapstone.system.locks import Turn
from snapstone.system.sqlite import Readers, connect

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 2

WALK_PAGE: Final = 1_000
"""Rows that one step of a walk reads."""

LOOKUP_BATCH: Final = 500
"""Addresses in one question to SQLite."""

COMMITS_PER_LOG_COPY: Final = 250
"""Commits of one process after which it copies the write-ahead log into the file: some 4 MiB of log."""

DISTRUST_SUFFIX: Final = "-distrusted"
"""Suffix of the mark next to an index that the next start must rebuild."""

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
    full INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    present_size INTEGER
);
CREATE INDEX object_manifest ON object (address) WHERE kind = 3
"""

_LEFTOVERS: Final = """
CREATE TABLE IF NOT EXISTS leftover (
    address BLOB NOT NULL,
    segment_id INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (address, segment_id, offset)
) WITHOUT ROWID
"""
"""Second records of manifests, which the disk refused to erase: erased with their manifest at the latest."""

_UPGRADES: Final = {
    # Version 1 called a segment whose file was missing full, and never searched it again: each is searched again.
    1: """
ALTER TABLE segment ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segment ADD COLUMN present_size INTEGER;
UPDATE segment SET full = 0;
CREATE INDEX object_manifest ON object (address) WHERE kind = 3
""",
}
"""The migrations from each version of an index to the next."""

ADD_ROW_COUNT: Final = 64
"""Records that one statement adds."""

_LOST: Final = "(damaged OR coalesce(offset + 4096 + payload_size > present_size, 0))"
"""Of an object joined with its segment: it cannot be read, according to the index."""

_FIND: Final = (
    f"SELECT kind, object.segment_id, offset, payload_size, {_LOST}"
    " FROM object LEFT JOIN segment ON segment.segment_id = object.segment_id WHERE address = ?"
)


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where an object's record is."""

    kind: ObjectKind
    segment_id: int
    offset: int
    payload_size: int
    damaged: bool
    """Found damaged, or in a part of its segment that is lost: to be written again when it comes again."""


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
    """A segment in the index."""

    segment_id: int
    checkpoint: int
    """Every whole record before this offset is in the index, or was removed."""
    full: bool
    """Nothing more is appended to it."""
    size: int = 0
    """Minimum size of its file, as noted."""
    present_size: int | None = None
    """Bytes of its file that are there, if some are lost: 0 if the file is missing or cannot be read."""


@dataclass(eq=False)
class IndexVersionError(Exception):
    """The index was written by a newer Snapstone."""

    path: Path
    version: int

    def __str__(self) -> str:
        return (
            f"{self.path} has version {self.version}, this Snapstone knows versions up to {SCHEMA_VERSION}; run the "
            "newer Snapstone that wrote it, or delete it while no server runs to have it rebuilt from the segments"
        )


class Index:
    """Safe from many threads and many processes: one writer connection each, readers from a small pool."""

    def __init__(self, path: Path) -> None:
        """Open or make the index. Raises IndexVersionError, and DamageError if the file is not an index."""
        self._path = path
        self._uncopied_commit_count = 0
        self._copy_failed = False
        make_in_place(path.with_name(f"{path.name}-shm"))  # SQLite maps it, and keeps a file that is there.
        self._writer = self._connect()
        self._turn = Turn(path.with_name(f"{path.name}-lock"))
        self._closed = False
        self._readers = Readers(self._connect)
        with self._transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise IndexVersionError(path, version)
            scripts = [_SCHEMA] if version == 0 else [_UPGRADES[step] for step in range(version, SCHEMA_VERSION)]
            for statement in ";".join(scripts).split(";"):
                self._writer.execute(statement)
            self._writer.execute(_LEFTOVERS)
            self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        path.chmod(0o600)

    def find(self, address: Address) -> RecordPlace | None:
        """The place of an object, or None."""
        reader = (
            self._readers.borrow()
        )  # as `_reader`, which costs more than the look-up: this is on the path of every block
        try:
            row = reader.execute(_FIND, (address,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error
        finally:
            self._readers.give_back(reader)
        return None if row is None else RecordPlace(ObjectKind(row[0]), row[1], row[2], row[3], bool(row[4]))

    def find_missing(self, addresses: Sequence[Address]) -> set[Address]:
        """Those of the addresses that have no readable object."""
        missing = set(addresses)
        with self._reader() as reader:
            for start in range(0, len(addresses), LOOKUP_BATCH):
                batch = addresses[start : start + LOOKUP_BATCH]
                marks = ",".join("?" * len(batch))
                found = reader.execute(
                    "SELECT address FROM object LEFT JOIN segment ON segment.segment_id = object.segment_id"
                    f" WHERE address IN ({marks}) AND NOT {_LOST}",
                    batch,
                )
                missing.difference_update(Address(row[0]) for row in found)
        return missing

    def add(self, records: Sequence[NewRecord], checkpoints: dict[int, int]) -> list[NewRecord]:
        """Add records and move checkpoints in one transaction; returns the records that were there already.

        A record whose address has another, undamaged place is such a duplicate. A damaged place is replaced.
        """
        if not checkpoints and len(records) <= ADD_ROW_COUNT:
            # One statement is a transaction by itself, and others wait less for it than for one of several.
            with self._writing():
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
        """Insert records by one statement, without the turn; returns those that existed already."""
        if not records:
            return []
        values = [
            value
            for r in records
            for value in (r.address, r.kind, r.segment_id, r.offset, r.payload_size, r.stored_at_ms)
        ]
        changed_count = self._writer.execute(_add_statement(len(records)), values).rowcount
        return [] if changed_count == len(records) else [r for r in records if not self._stands(r)]

    def mark_damaged(self, address: Address, place: RecordPlace) -> None:
        """Remember that the record at a place is damaged: a later put of the same object rewrites it."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE object SET damaged = 1 WHERE address = ? AND segment_id = ? AND offset = ?",
                (address, place.segment_id, place.offset),
            )

    def note_leftovers(self, records: Sequence[NewRecord]) -> None:
        """Remember records that could not be erased, although their objects are stored elsewhere."""
        with self._transaction() as writer:
            writer.executemany(
                "INSERT OR IGNORE INTO leftover VALUES (?, ?, ?)",
                [(record.address, record.segment_id, record.offset) for record in records],
            )

    def leftovers(self, address: Address) -> list[tuple[int, int]]:
        """Segment and offset of the records of an object that are still to be erased."""
        with self._reader() as reader:
            rows = reader.execute("SELECT segment_id, offset FROM leftover WHERE address = ?", (address,)).fetchall()
        return [(row[0], row[1]) for row in rows]

    def forget_leftovers(self, addresses: Iterable[Address]) -> None:
        """The leftovers of these objects have been erased, durably."""
        with self._transaction() as writer:
            writer.executemany("DELETE FROM leftover WHERE address = ?", [(address,) for address in addresses])

    def remove(self, addresses: Iterable[Address]) -> list[RecordPlace]:
        """Forget objects, durably; returns the places that they had."""
        places = []
        with self._transaction(synced=True) as writer:
            for address in addresses:
                row = writer.execute(
                    "DELETE FROM object WHERE address = ? RETURNING kind, segment_id, offset, payload_size, damaged",
                    (address,),
                ).fetchone()
                if row is not None:
                    places.append(RecordPlace(ObjectKind(row[0]), row[1], row[2], row[3], bool(row[4])))
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

    def manifests(self) -> Iterator[Address]:
        """The addresses of all manifests, damaged ones too, in order."""
        after = b""
        while True:
            with self._reader() as reader:
                rows = reader.execute(
                    "SELECT address FROM object WHERE kind = 3 AND address > ? ORDER BY address LIMIT ?",
                    (after, WALK_PAGE),
                ).fetchall()
            yield from (Address(row[0]) for row in rows)
            if len(rows) < WALK_PAGE:
                return
            after = rows[-1][0]

    def manifest_count(self) -> int:
        """How many manifests there are."""
        with self._reader() as reader:
            [(count,)] = reader.execute("SELECT count(*) FROM object WHERE kind = 3").fetchall()
        return int(count)

    def segments(self) -> list[SegmentRow]:
        """Every segment, in order of id."""
        with self._reader() as reader:
            rows = reader.execute(
                "SELECT segment_id, checkpoint, full, size, present_size FROM segment ORDER BY segment_id"
            )
            return [SegmentRow(row[0], row[1], bool(row[2]), row[3], row[4]) for row in rows]

    def add_segment(self, segment_id: int, checkpoint: int, size: int = 0) -> None:
        """Know of a segment; harmless if it is known already."""
        with self._transaction() as writer:
            writer.execute(
                "INSERT INTO segment (segment_id, checkpoint, size) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (segment_id, checkpoint, size),
            )

    def count_behind(self, segment_id: int, size: int) -> int:
        """How many objects end behind that many bytes of a segment; scans the whole index."""
        with self._reader() as reader:
            [(count,)] = reader.execute(
                "SELECT count(*) FROM object WHERE segment_id = ? AND offset + 4096 + payload_size > ?",
                (segment_id, size),
            ).fetchall()
        return int(count)

    def set_size(self, segment_id: int, size: int, checkpoint: int | None = None) -> None:
        """Note how long the file of a segment is, and if it is given, how far its records are known."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE segment SET size = ?, checkpoint = coalesce(?, checkpoint) WHERE segment_id = ?",
                (size, checkpoint, segment_id),
            )

    def set_present(self, segment_id: int, present_size: int | None) -> None:
        """Note that only this many bytes of a segment exist, or all: objects beyond count as damaged meanwhile."""
        with self._transaction() as writer:
            writer.execute("UPDATE segment SET present_size = ? WHERE segment_id = ?", (present_size, segment_id))

    def set_full(self, segment_id: int, size: int | None = None) -> None:
        """Nothing more is appended to this segment, whose file has `size` bytes, and all its records are known."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE segment SET full = 1, size = coalesce(?1, size), checkpoint = max(checkpoint, coalesce(?1, 0))"
                " WHERE segment_id = ?2",
                (size, segment_id),
            )

    def forget_segment(self, segment_id: int) -> None:
        """Forget a segment whose file is about to be removed, durably."""
        with self._transaction(synced=True) as writer:
            writer.execute("DELETE FROM segment WHERE segment_id = ?", (segment_id,))

    def distrust(self) -> None:
        """Have the next start make the index again from the records, durably."""
        with suppress(FileExistsError):
            os.close(os.open(mark_of_distrust(self._path), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            sync_folder(self._path.parent)

    def close(self) -> None:
        """Close every connection, after waiting for the transaction and the reads under way."""
        if self._closed:
            return
        self._closed = True
        with self._turn:
            self._copy_log()
            self._writer.close()
        self._turn.close()
        self._readers.close()

    def _stands(self, record: NewRecord) -> bool:
        row = self._writer.execute(
            "SELECT segment_id, offset FROM object WHERE address = ?", (record.address,)
        ).fetchone()
        return bool(row == (record.segment_id, record.offset))

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, "rwc")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._failure(error) from error
        return connection

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._readers.reading() as reader:
                yield reader
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The turn to write; at its end the log is copied into the file if that is due."""
        with self._turn:
            try:
                yield
            except sqlite3.DatabaseError as error:
                raise self._failure(error) from error
            self._uncopied_commit_count += 1
            if self._uncopied_commit_count >= COMMITS_PER_LOG_COPY:
                self._copy_log()

    @contextmanager
    def _transaction(self, synced: bool = False) -> Iterator[sqlite3.Connection]:
        with self._writing():
            if synced:
                self._writer.execute("PRAGMA synchronous = FULL")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if synced:
                    self._writer.execute("PRAGMA synchronous = NORMAL")

    def _copy_log(self) -> None:
        """Copy the write-ahead log into the file, without the turn. What cannot be copied now stays in the log."""
        try:
            if self._copy_failed:
                self.distrust()
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (sqlite3.DatabaseError, OSError):
            log.exception("index: checkpoint failed", extra={"fields": {"path": str(self._path)}})
            self._copy_failed = True
        self._uncopied_commit_count = 0

    def _failure(self, error: sqlite3.DatabaseError) -> Exception:
        """The error for a failure of SQLite; a damaged index is rebuilt at the next start."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFullError(f"no space for the index {self._path}")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with suppress(OSError):
                self.distrust()
            log.error("index damaged", extra={"fields": {"path": str(self._path), "why": str(error)}})
            return DamageError("index", f"{self._path}: {error}; restart the server to rebuild it")
        return error

    @property
    def turn(self) -> int | None:
        """The number of the turn that this process has now, None if it has none: one that stays is one that hangs."""
        return self._turn.number

    @property
    def awaits_turn(self) -> bool:
        """Whether this process waits for its turn: another one has it."""
        return self._turn.is_awaited


@cache
def _add_statement(row_count: int) -> str:
    places = ", ".join(["(?, ?, ?, ?, ?, ?)"] * row_count)
    return (
        f"INSERT INTO object (address, kind, segment_id, offset, payload_size, stored_at_ms) VALUES {places}"
        " ON CONFLICT (address) DO UPDATE SET segment_id = excluded.segment_id, offset = excluded.offset,"
        " stored_at_ms = excluded.stored_at_ms, damaged = 0 WHERE damaged OR EXISTS (SELECT 1 FROM segment"
        " WHERE segment.segment_id = object.segment_id AND offset + 4096 + payload_size > present_size)"
    )


def mark_of_distrust(path: Path) -> Path:
    """The file that marks an index as one to be made again."""
    return path.with_name(path.name + DISTRUST_SUFFIX)


def remove_index(path: Path) -> None:
    """Put an index out of the way, durably, so that a new one can be built from the records."""
    for suffix in ("-wal", "-shm", ""):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(file.with_name(file.name + ".damaged"))
    sync_folder(path.parent)
    mark_of_distrust(path).unlink(missing_ok=True)


def is_index(path: Path) -> bool:
    """Whether an index is there that can be read and is trusted.

    Raises sqlite3.OperationalError if that cannot be known now.
    """
    if not path.exists() or mark_of_distrust(path).exists():
        return False
    try:
        with closing(connect(path)) as connection:
            connection.execute("SELECT count(*) FROM segment").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_INDEX:
            raise  # locked, or not to be opened: no reason to take it for damaged
        return False
    return True


_NO_INDEX: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""SQLite's errors for a file that lacks the index's tables, is damaged, or is not a database."""
