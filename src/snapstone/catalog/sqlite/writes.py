"""Statements on pending writes and on sealing: recording in groups, reading in order, completing, dropping in steps.

A write and the end of writing meet in the order of their transactions. Recording looks at the snapshot's state inside
the transaction that inserts the rows, so whatever commits before `begin_seal` is among the pending writes, and whatever
comes after it, from any process, is refused. A seal holds a lease; seals and copies that fail are noted and retried.

Dropping takes as many transactions as it needs, each short. The transaction that ends a snapshot's writing also notes
its key in `dropped_writes`; readers look at the state, so from then on no caller sees the writes. The rows follow
in steps, and after a crash in the middle the note is still there for `drop_orphaned_writes`. Keys are never reused.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

from snapstone.catalog.contract.catalog import TIMED_OUT, NotWritableError
from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.contract.snapshots import FailingWork, PendingWrite, Snapshot, SnapshotState
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.checksums import (
    CATALOG_ROW,
    FIXED_CONTENT,
    SNAPSHOT_CONTENT,
    moved_checksum,
    pending_write_checksum,
    verify_moving_row,
    verify_row,
)
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.catalog.sqlite.snapshots import select_snapshot
from snapstone.catalog.sqlite.verified import intact_ids, require_absent, verified_writes
from snapstone.core.blocks import Address, Digest
from snapstone.core.errors import DamageError, SnapstoneError
from snapstone.core.group_commit import GroupCommit
from snapstone.core.ids import SnapshotId

log = logging.getLogger(__name__)

DROP_STEP_COUNT: Final = 4_096
"""Pending writes dropped per transaction: some ten milliseconds during which no other process can write."""

DROP_PAUSE_SECONDS: Final = 0.005
"""Left to other writers after each such transaction."""

UPSERT_ROW_COUNT: Final = 32
"""Pending writes per statement. Python releases its interpreter lock at every row that it passes to SQLite
by itself, and has to wait for it again if other threads are busy: by the statement, a batch commits 30 % sooner."""

_MS_PER_MINUTE: Final = 60_000

_SELECT_FIXED: Final = f"""
    SELECT snapshot_key, state, timeout_minutes, {FIXED_CONTENT} FROM snapshot WHERE snapshot_id = ?
"""

_SELECT_MOVING: Final = "SELECT deadline_at_ms, progress, sequence, checksum FROM snapshot WHERE snapshot_key = ?"

_PendingRow: TypeAlias = tuple[int, int, Address, Digest | None, int]
"""Snapshot key, block index, address, digest, checksum."""


@dataclass(frozen=True, slots=True)
class ClosedSnapshot:
    """A snapshot that a statement has just closed for writes."""

    snapshot_key: int
    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class SubmittedWrite:
    """One call of `record_write`, waiting to be committed."""

    snapshot_id: SnapshotId
    write: PendingWrite
    progress: int
    begun_at_ms: int
    running_ms: int


@dataclass(frozen=True, slots=True)
class _Fixed:
    """The part of a snapshot's row that no put changes."""

    snapshot_key: int
    state: str
    timeout_minutes: int
    content: bytes
    """All of it, as it is under the row's checksum."""


@dataclass(slots=True)
class _Target:
    """A snapshot that a batch writes to, in its state after the preceding items."""

    fixed: _Fixed
    deadline_at_ms: int
    progress: int

    def moved(self, sequence: int) -> tuple[int, int, int, int, int]:
        """The values of the columns that change, the checksum among them, and the key."""
        checksum = moved_checksum(self.fixed.content, self.deadline_at_ms, self.progress, sequence)
        return self.deadline_at_ms, self.progress, sequence, checksum, self.fixed.snapshot_key

    def admit(self, submitted: SubmittedWrite) -> NotWritableError | None:
        """Accept the write, or return why not; a batch has the effect of its items in sequence."""
        if self.fixed.state != SnapshotState.PENDING:
            return NotWritableError(SnapshotState(self.fixed.state))
        if submitted.begun_at_ms > self.deadline_at_ms:
            return NotWritableError(SnapshotState.ERROR)
        timeout_ms = self.fixed.timeout_minutes * _MS_PER_MINUTE
        self.deadline_at_ms = max(self.deadline_at_ms, submitted.running_ms + timeout_ms)
        self.progress = max(self.progress, submitted.progress)
        return None


def lease_is_free(column: str) -> str:
    """SQL condition that the lease ending at a column is free; its parameter is the current running time."""
    return f"coalesce({column} <= ?, TRUE)"


class WriteStatements(Statements):
    """The part of `contract.Catalog` about pending writes; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._fixed: RowCache[_Fixed] = RowCache(connections.changes)
        self._writes: GroupCommit[SubmittedWrite, None] = GroupCommit(self.commit_writes)

    def record_write(
        self,
        snapshot_id: SnapshotId,
        write: PendingWrite,
        progress: int,
        begun_at_ms: int,
        running_ms: int,
    ) -> None:
        self._writes.submit(SubmittedWrite(snapshot_id, write, progress, begun_at_ms, running_ms))

    def pending_writes(self, snapshot_id: SnapshotId) -> Iterator[PendingWrite]:
        with self._connections.streaming() as connection:
            snapshot_key = _select_readable(connection, snapshot_id)
            if snapshot_key is not None:
                yield from verified_writes(connection, snapshot_key)

    def drop_orphaned_writes(self) -> None:
        """Drop the writes of every snapshot marked for it, in steps, including those left by killed processes."""
        with self._connections.reading() as connection:
            noted = connection.execute("SELECT snapshot_key FROM dropped_writes").fetchall()
        for (snapshot_key,) in noted:
            self._drop_writes(snapshot_key)

    def _drop_ended(self, ended: Sequence[ClosedSnapshot]) -> None:
        """Drop what the transaction before has noted. That has taken effect, so a failure here is not its caller's.

        What is left is dropped by `drop_orphaned_writes`.
        """
        for snapshot in ended:
            try:
                self._drop_writes(snapshot.snapshot_key)
            except (CatalogUnavailableError, SnapstoneError) as error:
                fields = {"snapshot": snapshot.snapshot_id, "why": repr(error)}
                log.warning("pending writes will be dropped later", extra={"fields": fields})

    def _drop_writes(self, snapshot_key: int) -> None:
        """Drop the writes of one snapshot that takes no more, in steps with space for other writers between them."""
        while self._drop_step(snapshot_key) == DROP_STEP_COUNT:
            time.sleep(DROP_PAUSE_SECONDS)

    def _drop_step(self, snapshot_key: int) -> int:
        """Drop the next writes, and the note with the last of them; returns how many."""
        with self._connections.writing_quietly() as connection:
            dropped = connection.execute(
                "DELETE FROM pending_write WHERE snapshot_key = ?1 AND block_index < coalesce("
                "(SELECT block_index FROM pending_write WHERE snapshot_key = ?1 ORDER BY block_index LIMIT 1 OFFSET ?2)"
                ", 1 << 62)",
                (snapshot_key, DROP_STEP_COUNT),
            ).rowcount
            if dropped < DROP_STEP_COUNT:
                connection.execute("DELETE FROM dropped_writes WHERE snapshot_key = ?", (snapshot_key,))
        return dropped

    def commit_writes(self, batch: Sequence[SubmittedWrite]) -> list[NotWritableError | None]:
        """Commit one batch: a state check and an update for each snapshot, and the writes that it admits.

        Returns for each write, in order, why it was refused, or None. Of a snapshot's row only the deadline and the
        progress change, which are not cached.
        """
        with self._connections.recording() as (connection, sequence):
            targets: dict[SnapshotId, _Target | None] = {}
            outcomes: list[NotWritableError | None] = []
            admitted: list[_PendingRow] = []
            for submitted in batch:
                if submitted.snapshot_id not in targets:
                    targets[submitted.snapshot_id] = self._select_target(connection, submitted.snapshot_id)
                target = targets[submitted.snapshot_id]
                refusal = NotWritableError(None) if target is None else target.admit(submitted)
                outcomes.append(refusal)
                if target is not None and refusal is None:
                    admitted.append(_pending_row(target, submitted.write))
            _upsert(connection, admitted)
            connection.executemany(
                "UPDATE snapshot SET deadline_at_ms = ?, progress = ?, sequence = ?, checksum = ?"
                " WHERE snapshot_key = ?",
                [
                    target.moved(sequence)
                    for target in targets.values()
                    if target is not None and target.fixed.state == SnapshotState.PENDING
                ],
            )
        return outcomes

    def _select_target(self, connection: sqlite3.Connection, snapshot_id: SnapshotId) -> _Target | None:
        """A snapshot's row, verified: what no put changes is remembered, and proven by the checksum as it is now."""
        fixed = self._fixed.recall(snapshot_id, lambda _: _select_fixed(connection, snapshot_id))
        if fixed is None:
            return None
        for *moving, checksum in connection.execute(_SELECT_MOVING, (fixed.snapshot_key,)).fetchall():
            verify_moving_row(f"snapshot {snapshot_id}", fixed.content, moving, checksum)
            return _Target(fixed, moving[0], moving[1])
        raise DamageError(f"{CATALOG_ROW}snapshot {snapshot_id}", "an index refers to it, but it does not exist")


def end_writing(connection: sqlite3.Connection, update: str, parameters: Sequence[object]) -> list[ClosedSnapshot]:
    """Change the state of snapshots by `update`, and note in this transaction that their writes are to be dropped."""
    rows = connection.execute(f"{update} RETURNING snapshot_key, snapshot_id", parameters).fetchall()
    ended = [ClosedSnapshot(*row) for row in rows]
    connection.executemany(
        "INSERT OR IGNORE INTO dropped_writes"
        " SELECT ?1 WHERE EXISTS (SELECT 1 FROM pending_write WHERE snapshot_key = ?1)",
        [(snapshot.snapshot_key,) for snapshot in ended],
    )
    return ended


def _select_readable(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> int | None:
    """The key of a snapshot that has pending writes: one that is pending or sealing. Raises DamageError."""
    rows = connection.execute(
        f"SELECT snapshot_key, state, {SNAPSHOT_CONTENT}, checksum FROM snapshot WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchall()
    if not rows:
        require_absent(connection, snapshot_id)
        return None
    snapshot_key, state, content, checksum = rows[0]
    verify_row(f"snapshot {snapshot_id}", content, checksum)
    return snapshot_key if state in (SnapshotState.PENDING, SnapshotState.SEALING) else None


def _select_fixed(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> _Fixed | None:
    rows = connection.execute(_SELECT_FIXED, (snapshot_id,)).fetchall()
    if not rows:
        require_absent(connection, snapshot_id)
        return None
    return _Fixed(*rows[0])


def _upsert(connection: sqlite3.Connection, rows: Sequence[_PendingRow]) -> None:
    """Insert pending writes or put them in place of earlier ones; of two in `rows` with one index the later stays."""
    for start in range(0, len(rows), UPSERT_ROW_COUNT):
        part = rows[start : start + UPSERT_ROW_COUNT]
        connection.execute(_upsert_statement(len(part)), [value for row in part for value in row])


@cache
def _upsert_statement(row_count: int) -> str:
    places = ", ".join(["(?, ?, ?, ?, ?)"] * row_count)
    return (
        f"INSERT INTO pending_write (snapshot_key, block_index, address, digest, checksum) VALUES {places}"
        " ON CONFLICT (snapshot_key, block_index)"
        " DO UPDATE SET address = excluded.address, digest = excluded.digest, checksum = excluded.checksum"
    )


def _pending_row(target: _Target, write: PendingWrite) -> _PendingRow:
    """A row of `pending_write`; the digest only if it is not the address."""
    digest = None if bytes(write.digest) == write.address else write.digest
    checksum = pending_write_checksum(target.fixed.snapshot_key, write.block_index, write.address, digest)
    return target.fixed.snapshot_key, write.block_index, write.address, digest, checksum


class SealStatements(WriteStatements):
    """The part of `contract.Catalog` about sealing; what each call promises is said there."""

    def begin_seal(
        self,
        snapshot_id: SnapshotId,
        expected_count: int,
        expected_checksum: Digest | None,
        now_ms: int,
        due_running_ms: int,
    ) -> Snapshot | None:
        with self._connections.writing() as connection:
            timed_out = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?"
                " WHERE snapshot_id = ? AND state = 'pending' AND deadline_at_ms < ?",
                (TIMED_OUT, snapshot_id, due_running_ms),
            )
            connection.execute(
                "UPDATE snapshot SET state = 'sealing', state_message = NULL, expected_count = ?,"
                " expected_checksum = ?, seal_begun_at_ms = ? WHERE snapshot_id = ? AND state = 'pending'",
                (expected_count, expected_checksum, now_ms, snapshot_id),
            )
            snapshot = select_snapshot(connection, snapshot_id)
        self._drop_ended(timed_out)
        return snapshot

    def claim_seal(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> bool:
        with self._connections.writing() as connection:
            claimed = connection.execute(
                "UPDATE snapshot SET seal_lease_until_ms = ? WHERE snapshot_id = ? AND state = 'sealing'"
                f" AND {lease_is_free('seal_lease_until_ms')}",
                (lease_until_ms, snapshot_id, running_ms),
            ).rowcount
        return claimed == 1

    def renew_seal(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "UPDATE snapshot SET seal_lease_until_ms = max(seal_lease_until_ms, ?)"
                " WHERE snapshot_id = ? AND state = 'sealing'",
                (lease_until_ms, snapshot_id),
            )

    def release_leases(self) -> None:
        with self._connections.writing(skip_damaged=True) as connection:
            connection.execute("UPDATE snapshot SET seal_lease_until_ms = NULL WHERE state = 'sealing'")
            connection.execute("UPDATE snapshot_copy SET lease_until_ms = NULL")

    def seals_due(self, running_ms: int) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            return intact_ids(
                connection,
                f"WHERE state = 'sealing' AND {lease_is_free('seal_lease_until_ms')}"
                " ORDER BY seal_begun_at_ms, snapshot_id",
                (running_ms,),
                self._connections.report_damage,
            )

    def finish_seal(self, snapshot_id: SnapshotId, root: Address, block_count: int, completed_at_ms: int) -> bool:
        with self._connections.writing() as connection:
            sealed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'completed', root = ?, block_count = ?, completed_at_ms = ?,"
                " seal_lease_until_ms = NULL, state_message = NULL WHERE snapshot_id = ? AND state = 'sealing'",
                (root, block_count, completed_at_ms, snapshot_id),
            )
        self._drop_ended(sealed)
        return bool(sealed)

    def fail_seal(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        with self._connections.writing() as connection:
            failed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?, seal_lease_until_ms = NULL"
                " WHERE snapshot_id = ? AND state = 'sealing'",
                (state_message, snapshot_id),
            )
        self._drop_ended(failed)
        return bool(failed)


class FailureStatements(Statements):
    """The part of `contract.Catalog` about work that fails; what each call promises is said there."""

    def note_failure(
        self, snapshot_id: SnapshotId, message: str, now_ms: int, pause_ms: Callable[[int], int]
    ) -> FailingWork | None:
        with self._connections.writing() as connection:
            rows = connection.execute(
                "INSERT INTO failing_work (snapshot_key, failure_count, first_failed_ms, message)"
                " SELECT snapshot_key, 1, ?, ? FROM snapshot WHERE snapshot_id = ? AND (state = 'sealing'"
                " OR state = 'pending' AND snapshot_key IN (SELECT snapshot_key FROM snapshot_copy))"
                " ON CONFLICT DO UPDATE SET failure_count = failure_count + 1, message = excluded.message"
                " RETURNING snapshot_key, failure_count, first_failed_ms",
                (now_ms, message, snapshot_id),
            ).fetchall()
            if not rows:
                return None
            snapshot_key, failure_count, first_failed_ms = rows[0]
            retry_at_ms = now_ms + pause_ms(failure_count)
            connection.execute(
                "UPDATE snapshot SET state_message = ?, seal_lease_until_ms = iif(state = 'sealing', ?, NULL)"
                " WHERE snapshot_key = ?",
                (message, retry_at_ms, snapshot_key),
            )
            connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = ? WHERE snapshot_key = ?", (retry_at_ms, snapshot_key)
            )
        return FailingWork(snapshot_id, failure_count, first_failed_ms, message)

    def failing_work(self) -> list[FailingWork]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT snapshot_id, failure_count, first_failed_ms, message"
                " FROM failing_work JOIN snapshot USING (snapshot_key) ORDER BY first_failed_ms, snapshot_id"
            ).fetchall()
        return [FailingWork(*row) for row in rows]
