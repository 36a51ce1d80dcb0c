"""Checksums of the rows that define a snapshot's bytes, so that a flipped bit is detected and never trusted.

Each row of `snapshot`, `snapshot_copy` and `pending_write` has one, in its column `checksum`: XXH3-64 over every other
column. This is the one place that knows how it is made (docs/format.md describes it, and migration 0006 has a copy that
stays as it is).

Rows of `snapshot` and `snapshot_copy` keep theirs by temporary triggers of the connection that writes, so no statement
can forget it: a row that is changed or deleted is verified first, and gets its new checksum afterwards. Recording
pending writes makes its checksums itself, for speed: it changes MOVING_COLUMNS alone, which no trigger watches, and
a change that forgets the checksum leaves a row that is reported as damaged. Nothing verifies a row that nobody
reads; `integrity.py` does that on demand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from struct import Struct, error
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from snapstone.core.errors import DamageError

_PLACE: Final = Struct("<qq")
_NUMBER: Final = Struct("<q")
_SIGN: Final = 1 << 63

# fmt: off
FIXED_COLUMNS: Final = (
    "snapshot_key", "snapshot_id", "account_id", "region", "volume_size_gib", "parent_id", "lineage_id",
    "description", "state", "state_message", "started_at_ms", "completed_at_ms", "timeout_minutes", "root",
    "block_count", "expected_count", "expected_checksum", "seal_begun_at_ms", "seal_lease_until_ms", "kms_key_arn",
    "data_key_id", "recycled_at_ms", "recycled_until_ms", "storage_tier", "restore_expires_at_ms", "archived_at_ms",
    "tiering_started_at_ms", "tiering_status", "copied_from",
)
# fmt: on
"""The columns of `snapshot` under its checksum, in order, but for those that each put changes."""

MOVING_COLUMNS: Final = ("deadline_at_ms", "progress", "sequence")
"""Those: they follow the others."""

WATCHED: Final = "timeout_minutes = timeout_minutes"
"""For the SET of any other statement that changes moving columns alone: then the triggers keep the checksum."""

COPY_COLUMNS: Final = ("snapshot_key", "source_root", "source_kms_key_arn", "lease_until_ms")
"""The columns of `snapshot_copy` under its checksum, in order."""


CATALOG_ROW: Final = "catalog row of "
"""How the address of every DamageError about a row begins."""


def content_of(columns: Sequence[str], row: str = "") -> str:
    """The SQL expression for what a checksum is made over; `row` is `NEW.` or `OLD.` in a trigger.

    The values as SQL literals, as SQLite's quote() writes them, which tells a text from a blob; with commas between
    them. One call of printf is three times as fast as joining. As a blob, because damage can leave a text that is not
    UTF-8."""
    literals = ", ".join(f"quote({row}{column})" for column in columns)
    return f"CAST(printf('{','.join(['%s'] * len(columns))}', {literals}) AS BLOB)"


FIXED_CONTENT: Final = content_of(FIXED_COLUMNS)
SNAPSHOT_CONTENT: Final = content_of([*FIXED_COLUMNS, *MOVING_COLUMNS])
COPY_CONTENT: Final = content_of(COPY_COLUMNS)


def row_checksum(content: bytes | None) -> int:
    """XXH3-64, seed 0, as the signed integer that SQLite can store."""
    return _signed(xxh3_64_intdigest(content or b""))


def moved_checksum(fixed_content: bytes, deadline_at_ms: int, progress: int, sequence: int) -> int:
    """The checksum of a row of `snapshot` whose moving columns get these values."""
    return row_checksum(b"%b,%d,%d,%d" % (fixed_content, deadline_at_ms, progress, sequence))


def pending_write_checksum(snapshot_key: int, block_index: int, address: bytes, digest: bytes | None) -> int:
    """XXH3-64 over key and index (8 bytes each, little-endian), the address, and the digest if there is one."""
    return _signed(xxh3_64_intdigest(_PLACE.pack(snapshot_key, block_index) + address + (digest or b"")))


def number_checksum(number: int) -> int:
    """XXH3-64 over a transaction's number (8 bytes, little-endian): in `catalog_state` and in the changes file."""
    return _signed(xxh3_64_intdigest(_NUMBER.pack(number)))


def is_number_intact(number: object, checksum: object) -> bool:
    """Whether a transaction's number has that checksum, and is one."""
    return isinstance(number, int) and number_checksum(number) == checksum


def verify_pending_write(row: tuple[Any, ...]) -> None:
    """Raise DamageError unless a row (key, index, address, digest, checksum) is as it was written."""
    snapshot_key, block_index, address, digest, checksum = row
    try:
        intact = pending_write_checksum(snapshot_key, block_index, address, digest) == checksum
    except (error, TypeError):  # damage can leave a value of another type
        intact = False
    if not intact:
        raise DamageError(
            f"{CATALOG_ROW}the pending write at block {block_index} of snapshot key {snapshot_key}",
            "its checksum does not match",
        )


def verify_row(what: str, content: bytes | None, checksum: object) -> None:
    """Raise DamageError unless the row's content has that checksum; `what` names the row."""
    if row_checksum(content) != checksum:
        raise DamageError(f"{CATALOG_ROW}{what}", "its checksum does not match")


def verify_moving_row(what: str, fixed_content: bytes, moving: Sequence[Any], checksum: object) -> None:
    """As `verify_row`, for a row of `snapshot` in two parts."""
    try:
        intact = moved_checksum(fixed_content, *moving) == checksum
    except TypeError:
        intact = False
    if not intact:
        raise DamageError(f"{CATALOG_ROW}{what}", "its checksum does not match")


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that migrations use."""
    connection.create_function("row_checksum", 1, row_checksum, deterministic=True)
    connection.create_function("pending_write_checksum", 4, pending_write_checksum, deterministic=True)


def keep_checksums(connection: sqlite3.Connection, report: Callable[[DamageError], None]) -> None:
    """Make a writing connection keep the checksums, and skip and report a damaged row that a statement would change."""

    def is_intact(what: str, content: bytes | None, checksum: int | None) -> bool:
        try:
            verify_row(what, content, checksum)
        except DamageError as damage:
            report(damage)
            return False
        return True

    connection.create_function("is_intact", 3, is_intact)
    for table, columns in (("snapshot", (*FIXED_COLUMNS, *MOVING_COLUMNS)), ("snapshot_copy", COPY_COLUMNS)):
        for statement in _triggers(table, columns):
            connection.execute(statement)


def _triggers(table: str, columns: tuple[str, ...]) -> list[str]:
    what = f"'{table} key ' || OLD.snapshot_key"
    damaged = f"NOT is_intact({what}, {content_of(columns, 'OLD.')}, OLD.checksum)"
    untouched = "NEW.checksum IS OLD.checksum"
    changed = ", ".join(column for column in columns if column not in MOVING_COLUMNS)
    renew = (
        f"BEGIN UPDATE {table} SET checksum = row_checksum({content_of(columns, 'NEW.')})"
        " WHERE snapshot_key = NEW.snapshot_key; END"
    )
    skip = "BEGIN SELECT RAISE(IGNORE); END"
    triggers = [
        f"{table}_inserted AFTER INSERT ON main.{table} {renew}",
        f"{table}_changing BEFORE UPDATE OF {changed} ON main.{table} WHEN {untouched} AND {damaged} {skip}",
        f"{table}_changed AFTER UPDATE OF {changed} ON main.{table} WHEN {untouched} {renew}",
    ]
    if table == "snapshot":  # the others go with it
        triggers.append(f"{table}_removing BEFORE DELETE ON main.{table} WHEN {damaged} {skip}")
    return [f"CREATE TEMP TRIGGER {trigger}" for trigger in triggers]


def _signed(digest: int) -> int:
    return (digest ^ _SIGN) - _SIGN
