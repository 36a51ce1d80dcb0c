"""A look at the whole catalog for damage, row by row and in bounded memory, and statements that go through every row.

Looking changes nothing, and nobody waits for it. One statement puts a lost row back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.catalog.contract.inventory import SealedDataKey, SealedMaterial
from snapstone.catalog.contract.keys import SealedKey
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.catalog.sqlite.checksums import COPY_CONTENT, SNAPSHOT_CONTENT, verify_pending_write, verify_row
from snapstone.catalog.sqlite.connections import Statements
from snapstone.catalog.sqlite.snapshots import insert_row
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId

PROBLEM_LIMIT: Final = 1_000
"""Problems told of each kind; past it, one more sentence says so."""

FETCH_COUNT: Final = 1_024
"""Rows held in memory at once."""


class IntegrityStatements(Statements):
    """The part of `contract.Catalog` that looks for damage."""

    def structure(self) -> Iterator[str]:
        with self._connections.streaming() as connection:
            yield from _bounded(_structure(connection))

    def integrity(self) -> Iterator[str]:
        with self._connections.streaming() as connection:
            for look in (_structure, _references, _snapshots, _copies, _pending_writes, _strays):
                yield from _bounded(look(connection))


def _bounded(problems: Iterator[str]) -> Iterator[str]:
    """The first problems, and what ended the look for more: damage can make SQLite fail in the middle."""
    try:
        for count, problem in enumerate(problems):
            if count == PROBLEM_LIMIT:
                yield f"more than {PROBLEM_LIMIT} problems of this kind"
                return
            yield problem
    except sqlite3.DatabaseError as error:
        yield f"the check ended early: {error}"


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    """SQLite's own look at its pages, and at each index against its table."""
    for (problem,) in connection.execute(f"PRAGMA integrity_check({PROBLEM_LIMIT + 1})"):
        if problem != "ok":
            yield str(problem)


def _references(connection: sqlite3.Connection) -> Iterator[str]:
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"a row of {table} refers to a row of {parent} that does not exist"


def _snapshots(connection: sqlite3.Connection) -> Iterator[str]:
    # By the table alone: an index that is damaged must not hide a row.
    select = f"SELECT snapshot_key, {SNAPSHOT_CONTENT}, checksum FROM snapshot NOT INDEXED"
    yield from _verified(connection, select, "snapshot")


def _copies(connection: sqlite3.Connection) -> Iterator[str]:
    select = f"SELECT snapshot_key, {COPY_CONTENT}, checksum FROM snapshot_copy"
    yield from _verified(connection, select, "snapshot_copy")


def _verified(connection: sqlite3.Connection, select: str, table: str) -> Iterator[str]:
    cursor = connection.execute(select)
    while rows := cursor.fetchmany(FETCH_COUNT):
        for key, content, checksum in rows:
            try:
                verify_row(f"{table} key {key}", content, checksum)
            except DamageError as damage:
                yield f"{damage.address}: {damage.what}"


def _pending_writes(connection: sqlite3.Connection) -> Iterator[str]:
    cursor = connection.execute("SELECT snapshot_key, block_index, address, digest, checksum FROM pending_write")
    while rows := cursor.fetchmany(FETCH_COUNT):
        for row in rows:
            try:
                verify_pending_write(row)
            except DamageError as damage:
                yield f"{damage.address}: {damage.what}"


def _strays(connection: sqlite3.Connection) -> Iterator[str]:
    """Pending writes of no snapshot that takes writes, and not on their way out."""
    for key, count in connection.execute(
        "SELECT snapshot_key, count(*) FROM pending_write"
        " LEFT JOIN snapshot USING (snapshot_key) LEFT JOIN dropped_writes USING (snapshot_key)"
        " WHERE coalesce(snapshot.state NOT IN (?, ?), TRUE) AND dropped_writes.snapshot_key IS NULL"
        " GROUP BY snapshot_key",
        (SnapshotState.PENDING, SnapshotState.SEALING),
    ):
        yield f"{count} pending writes are of snapshot key {key}, which has none"


"""Rows held in memory at once."""

_STATES: Final = {state.value: state for state in SnapshotState}


class InventoryStatements(Statements):
    """Implements `inventory_contract.InventoryCatalog`; what each call promises is said there."""

    def snapshot_ids(self) -> Iterator[tuple[SnapshotId, SnapshotState | None]]:
        # By the table alone: an index that is damaged must not hide a row.
        for snapshot_id, state in self._rows("SELECT snapshot_id, state FROM snapshot NOT INDEXED"):
            yield SnapshotId(str(snapshot_id)), _STATES.get(state)

    def materials(self) -> Iterator[SealedMaterial]:
        for row in self._rows("SELECT key_id, version, wrapped FROM kms_material"):
            yield SealedMaterial(*row)

    def data_keys(self) -> Iterator[SealedDataKey]:
        for data_key_id, *key in self._rows("SELECT data_key_id, key_id, material_version, wrapped FROM data_key"):
            yield SealedDataKey(data_key_id, SealedKey(*key))

    def domain_keys(self) -> Iterator[SealedKey]:
        for row in self._rows("SELECT key_id, material_version, wrapped FROM domain_key"):
            yield SealedKey(*row)

    def access_keys(self) -> Iterator[SealedAccessKey]:
        columns = "access_key_id, account_id, user_id, active, created_at_ms, sealed_secret"
        for access_key_id, account_id, user_id, active, created_at_ms, sealed in self._rows(
            f"SELECT {columns} FROM iam_access_key"
        ):
            yield SealedAccessKey(access_key_id, account_id, user_id, bool(active), created_at_ms, sealed)

    def secrets(self) -> Iterator[tuple[str, bytes]]:
        yield from self._rows("SELECT name, value FROM secret WHERE sealed")

    def drop_secret(self, name: str, sealed: bytes) -> None:
        with self._connections.writing() as connection:
            connection.execute("DELETE FROM secret WHERE name = ? AND value = ?", (name, sealed))

    def restore_snapshot(self, snapshot: Snapshot) -> bool:
        with self._connections.writing() as connection:
            if connection.execute("SELECT 1 FROM snapshot WHERE snapshot_id = ?", (snapshot.snapshot_id,)).fetchall():
                return False
            insert_row(connection, snapshot)
        return True

    def _rows(self, select: str) -> Iterator[tuple[Any, ...]]:
        with self._connections.streaming() as connection:
            cursor = connection.execute(select)
            while rows := cursor.fetchmany(FETCH_COUNT):
                yield from rows
