"""Reads that damage must not pass unseen: streams of pending writes, look-ups that find nothing, ranges of an index.

A checksum proves a row that was found. A row that was *not* found is another matter: a flipped bit in a key sends a
search past it, or ends a range too early. But a search that goes wrong because of one key ends right beside that key.
So whoever finds nothing, or comes to the end of a range, looks at the neighbours on both sides: one that does not match
its own checksum, or the row that it stands for, is the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from snapstone.catalog.contract.snapshots import PendingWrite
from snapstone.catalog.sqlite.checksums import (
    CATALOG_ROW,
    FIXED_COLUMNS,
    MOVING_COLUMNS,
    SNAPSHOT_CONTENT,
    content_of,
    verify_pending_write,
    verify_row,
)
from snapstone.core.blocks import Address, Digest
from snapstone.core.errors import DamageError
from snapstone.core.ids import AccountId, Region, SnapshotId

STREAM_FETCH_COUNT: Final = 1_024
"""Rows of a stream of pending writes held in memory at once."""

NEIGHBOUR_LIMIT: Final = 64
"""Neighbours looked at where a range ended: hidden rows may stand between what was listed and the range's end."""

_WRITES: Final = "SELECT snapshot_key, block_index, address, digest, checksum FROM pending_write"
OWNED: Final = ("account_id", "region", "started_at_ms", "snapshot_id")
"""The columns of the index `snapshot_by_owner`."""

RECYCLED: Final = ("account_id", "region", "recycled_at_ms", "snapshot_id")
"""Those of `snapshot_recycled_by_owner`."""

_HELD_CONTENT: Final = content_of([*FIXED_COLUMNS, *MOVING_COLUMNS], "held.")
_LAST_MS: Final = 1 << 62

OwnedPlace: TypeAlias = tuple[AccountId, Region, int, str]
"""Account, region, time, id: a snapshot's place in an index of owners."""


def verified_writes(connection: sqlite3.Connection, snapshot_key: int) -> Iterator[PendingWrite]:
    """All pending writes of a snapshot in ascending order of index. Raises DamageError, at the latest at the end."""
    cursor = connection.execute(f"{_WRITES} WHERE snapshot_key = ? ORDER BY block_index", (snapshot_key,))
    first = last = None
    while rows := cursor.fetchmany(STREAM_FETCH_COUNT):
        for row in rows:
            verify_pending_write(row)
            block_index = row[1]
            if row[0] != snapshot_key or (last is not None and block_index <= last):
                raise DamageError(
                    f"{CATALOG_ROW}the pending write at block {block_index} of snapshot key {row[0]}",
                    "it is among the writes of another place",
                )
            first, last = block_index if first is None else first, block_index
            yield PendingWrite(block_index, Address(row[2]), Digest(row[2] if row[3] is None else row[3]))
    for condition, place in (
        ("< (?, ?) ORDER BY snapshot_key DESC, block_index DESC", 0 if first is None else first),
        ("> (?, ?) ORDER BY snapshot_key, block_index", -1 if last is None else last),
    ):
        for row in connection.execute(
            f"{_WRITES} WHERE (snapshot_key, block_index) {condition} LIMIT 1", (snapshot_key, place)
        ).fetchall():
            verify_pending_write(row)


def intact_ids(
    connection: sqlite3.Connection,
    condition: str,
    parameters: tuple[object, ...],
    report: Callable[[DamageError], None],
) -> list[SnapshotId]:
    """Ids of the snapshots that a condition (with its order) selects; damaged rows are reported and left out."""
    rows = connection.execute(
        f"SELECT snapshot_key, CAST(snapshot_id AS BLOB), {SNAPSHOT_CONTENT}, checksum FROM snapshot {condition}",
        parameters,
    ).fetchall()
    return [
        SnapshotId(snapshot_id.decode())
        for snapshot_key, snapshot_id, content, checksum in rows
        if is_intact("snapshot", (snapshot_key, content, checksum), report)
    ]


def is_intact(table: str, row: tuple[Any, ...], report: Callable[[DamageError], None]) -> bool:
    """Whether a row (key, content, checksum) is as it was written; reported if it is not."""
    key, content, checksum = row
    try:
        verify_row(f"{table} key {key}", content, checksum)
    except DamageError as damage:
        report(damage)
        return False
    return True


def require_absent(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> None:
    """Raise DamageError where a look-up of that id found nothing because of damage beside its place in the index."""
    for condition in ("< ? ORDER BY snapshot_id DESC", "> ? ORDER BY snapshot_id"):
        entries = f"SELECT snapshot_key, snapshot_id FROM snapshot WHERE snapshot_id {condition} LIMIT 1"
        for entry in _entries(connection, entries, ("snapshot_id",), (snapshot_id,)):
            entry.verify()


def require_whole(
    connection: sqlite3.Connection,
    start: OwnedPlace,
    found: Sequence[OwnedPlace],
    *,
    is_cut: bool = False,
    columns: Sequence[str] = OWNED,
) -> None:
    """Raise DamageError where a list of an account's snapshots in a region lacks some, because of damage to its index.

    To be called as of the same moment as the list (`at_one_moment`). The list begins at `start`; `found` are the places
    of what is in it, and `is_cut` says that it may go on. `columns` are those of the index: OWNED or RECYCLED."""
    last = found[-1] if found else start
    end = last if is_cut else (*start[:2], _LAST_MS, "")
    _require_right(connection, columns, start, end)
    if columns is OWNED and _count_visible(connection, start, end) != len(found):
        raise DamageError(
            f"{CATALOG_ROW}index entry from {start} to {last}", "a list read through this index does not match its rows"
        )
    for entry in _neighbours(connection, columns, "<", found[0] if found else start):
        entry.verify()
        if entry.values < start:
            break
    for entry in () if is_cut else _neighbours(connection, columns, ">", last):
        entry.verify()
        if entry.values[:2] != start[:2]:
            break


def _require_right(connection: sqlite3.Connection, columns: Sequence[str], start: OwnedPlace, last: OwnedPlace) -> None:
    """Raise DamageError unless every entry between two places is what its row has, and what hides a row is intact."""
    indexed, held = (", ".join(f"{source}.{column}" for column in columns) for source in ("entry", "held"))
    place = ", ".join(f"entry.{column}" for column in columns[2:])
    for content, checksum, snapshot_key, *values in connection.execute(
        f"SELECT {_HELD_CONTENT}, held.checksum, held.snapshot_key, {indexed}, {held}"
        f" FROM ({_select_entries(columns)}) AS entry"
        " LEFT JOIN snapshot AS held ON held.snapshot_key = entry.snapshot_key"
        f" WHERE entry.account_id = ? AND entry.region = ? AND ({place}) >= (?, ?) AND ({place}) <= (?, ?)"
        f" AND (({indexed}) IS NOT ({held}) OR held.state = 'deleting' OR held.recycled_until_ms IS NOT NULL)",
        (*start, *last[2:]),
    ).fetchall():
        middle = len(columns)
        _Entry(tuple(values[:middle]), values[:middle] == values[middle:]).verify()
        verify_row(f"snapshot key {snapshot_key}", content, checksum)


def _count_visible(connection: sqlite3.Connection, start: OwnedPlace, end: OwnedPlace) -> int:
    [(count,)] = connection.execute(
        "SELECT count(*) FROM snapshot WHERE account_id = ? AND region = ?"
        " AND (started_at_ms, snapshot_id) >= (?, ?) AND (started_at_ms, snapshot_id) <= (?, ?)"
        " AND state <> 'deleting' AND recycled_until_ms IS NULL",
        (*start, *end[2:]),
    ).fetchall()
    return int(count)


@contextmanager
def at_one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block see the catalog as of its first one."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _select_entries(columns: Sequence[str]) -> str:
    """A statement that SQLite answers from the index alone."""
    condition = " WHERE recycled_until_ms IS NOT NULL" if columns is RECYCLED else ""
    return f"SELECT snapshot_key, {', '.join(columns)} FROM snapshot{condition}"


def _neighbours(
    connection: sqlite3.Connection, columns: Sequence[str], operator: str, place: OwnedPlace
) -> list[_Entry]:
    order = " DESC" if operator == "<" else ""
    entries = (
        f"SELECT * FROM ({_select_entries(columns)}) WHERE ({', '.join(columns)}) {operator} (?, ?, ?, ?)"
        f" ORDER BY {', '.join(f'{column}{order}' for column in columns)} LIMIT {NEIGHBOUR_LIMIT}"
    )
    return _entries(connection, entries, columns, place)


def _entries(
    connection: sqlite3.Connection, entries: str, columns: Sequence[str], parameters: tuple[object, ...]
) -> list[_Entry]:
    """Entries of an index beside what their rows have. One statement, so that both are as of one moment."""
    indexed = ", ".join(f"entry.{column}" for column in columns)
    held = ", ".join(f"snapshot.{column}" for column in columns)
    rows = connection.execute(
        f"SELECT entry.snapshot_key, {indexed}, snapshot.snapshot_key, {held}"
        f" FROM ({entries}) AS entry LEFT JOIN snapshot ON snapshot.snapshot_key = entry.snapshot_key",
        parameters,
    ).fetchall()
    middle = 1 + len(columns)
    return [_Entry(row[1:middle], row[:middle] == row[middle:]) for row in rows]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of an index."""

    values: tuple[Any, ...]
    is_right: bool
    """Whether its row has the same values."""

    def verify(self) -> None:
        if not self.is_right:
            raise DamageError(f"{CATALOG_ROW}index entry {self.values}", "its row has other values")
