"""Statements on the one row about time."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final
from zlib import crc32

from snapstone.catalog.contract.clock import ClockRow
from snapstone.catalog.sqlite.checksums import WATCHED
from snapstone.catalog.sqlite.connections import Statements
from snapstone.core.clock_trust import ClockReading, Trust

log = logging.getLogger(__name__)

_COLUMNS: Final = (
    "reference_wall_ms, reference_boot_ms, reference_boot_id, last_ms, suspect_wall_ms, suspect_boot_ms,"
    " suspect_boot_id, expected_ms, running_ms, due_running_ms, run_offset_ms"
)

_SELECT: Final = f"SELECT {_COLUMNS}, checksum FROM clock"

_UPDATE: Final = f"UPDATE clock SET ({_COLUMNS}, checksum) = ({', '.join('?' * (len(_COLUMNS.split(',')) + 1))})"

UNKNOWN: Final = ClockRow(Trust(ClockReading(0, 0, ""), 0), None, None, 0)
"""In place of a damaged row: as of a catalog that was last in use in 1970. So the clock is not trusted at first, and
pending snapshots get their full time-out again."""


class ClockStatements(Statements):
    """Implements `clock_contract.ClockCatalog`; what each call promises is said there."""

    def clock(self) -> ClockRow:
        with self._connections.reading() as connection:
            return _select(connection)

    def change_clock(self, change: Callable[[ClockRow], ClockRow]) -> ClockRow:
        with self._connections.writing_quietly() as connection:
            row = change(_select(connection))
            values = _parameters(row)
            connection.execute(_UPDATE, (*values, _checksum(values)))
        return row

    def renew_deadlines(self, running_ms: int) -> None:
        with self._connections.writing(skip_damaged=True) as connection:
            connection.execute(
                f"UPDATE snapshot SET deadline_at_ms = ? + timeout_minutes * 60000, {WATCHED} WHERE state = 'pending'",
                (running_ms,),
            )


def _select(connection: sqlite3.Connection) -> ClockRow:
    rows = connection.execute(_SELECT).fetchall()
    *row, checksum = rows[0] if rows else (0,)
    if not rows or (checksum is not None and checksum != _checksum(row)):
        log.error("damaged", extra={"fields": {"what": "the catalog's row about time does not hold what was written"}})
        return UNKNOWN
    trust = None
    if row[0] is not None:
        suspect = None if row[4] is None else ClockReading(*row[4:7])
        trust = Trust(ClockReading(*row[0:3]), row[3], suspect, row[7])
    return ClockRow(trust, *row[8:])


def _parameters(row: ClockRow) -> tuple[int | str | None, ...]:
    trust = row.trust
    reference = None if trust is None else trust.reference
    return (
        *_columns_of(reference),
        None if trust is None else trust.last_ms,
        *_columns_of(None if trust is None else trust.suspect),
        None if trust is None else trust.expected_ms,
        row.running_ms,
        row.due_running_ms,
        row.run_offset_ms,
    )


def _checksum(values: Sequence[int | str | None]) -> int:
    """Of the columns in their order; a row as a migration leaves it has none."""
    return crc32(repr(tuple(values)).encode())


def _columns_of(reading: ClockReading | None) -> tuple[int | str | None, ...]:
    return (None, None, None) if reading is None else (reading.wall_ms, reading.boot_ms, reading.boot_id)
