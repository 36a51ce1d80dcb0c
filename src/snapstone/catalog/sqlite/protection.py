"""Statements on deletion, the recycle bin, and copies with their leases; all statements on protection, gathered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from snapstone.catalog.contract.protection import CopiesLimitError, RuleLimitError, SourceGoneError
from snapstone.catalog.contract.snapshots import (
    CopyWork,
    Deletion,
    LockHoldsError,
    RetentionRule,
    Snapshot,
    SnapshotState,
    StorageTier,
)
from snapstone.catalog.sqlite.checksums import COPY_CONTENT
from snapstone.catalog.sqlite.connections import Statements
from snapstone.catalog.sqlite.locks import LockStatements, TierStatements, drop_lock, select_lock, select_present
from snapstone.catalog.sqlite.snapshots import SELECT_SNAPSHOT, insert_row, select_snapshot, snapshot_from
from snapstone.catalog.sqlite.verified import RECYCLED, at_one_moment, intact_ids, is_intact, require_whole
from snapstone.catalog.sqlite.writes import WriteStatements, end_writing, lease_is_free
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.protection import DAY_MS, Retention, TagMatch, retained_days

ANSWER_STEP_COUNT: Final = 4_096
"""Expired answers removed in one transaction."""


class RemovalStatements(WriteStatements):
    """The part of `contract.Catalog` about time-out and deletion; what each call promises is said there."""

    def expire_pending(self, due_running_ms: int, state_message: str) -> list[SnapshotId]:
        with self._connections.writing(skip_damaged=True) as connection:
            expired = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ? WHERE state = 'pending' AND deadline_at_ms < ?",
                (state_message, due_running_ms),
            )
        self.drop_orphaned_writes()
        return [ended.snapshot_id for ended in expired]

    def begin_delete(self, snapshot_id: SnapshotId, now_ms: int, due_ms: int) -> Deletion | None:
        with self._connections.writing() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return None
            _require_unlocked(connection, snapshot, due_ms)
            if _recycled_by_a_rule(connection, snapshot, now_ms):
                return Deletion.RECYCLED
            deleted = end_writing(
                connection,
                "UPDATE snapshot SET state = 'deleting', seal_lease_until_ms = NULL WHERE snapshot_id = ?",
                (snapshot_id,),
            )
        self._drop_ended(deleted)
        return Deletion.BEGUN

    def finish_delete(self, snapshot_id: SnapshotId, answer_expires_at_ms: int) -> None:
        with self._connections.writing() as connection:
            removed = connection.execute(
                "DELETE FROM snapshot WHERE snapshot_id = ? AND state = 'deleting'", (snapshot_id,)
            ).rowcount
            if removed:
                connection.execute(
                    "UPDATE stored_answer SET expires_at_ms = ? WHERE snapshot_id = ?",
                    (answer_expires_at_ms, snapshot_id),
                )

    def deletions_due(self) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            return intact_ids(
                connection, "WHERE state = 'deleting' ORDER BY snapshot_key", (), self._connections.report_damage
            )

    def drop_expired_answers(self, due_ms: int) -> int:
        dropped = 0
        while True:
            with self._connections.writing() as connection:
                step = connection.execute(
                    "DELETE FROM stored_answer WHERE answer_key IN"
                    " (SELECT answer_key FROM stored_answer WHERE expires_at_ms < ? LIMIT ?)",
                    (due_ms, ANSWER_STEP_COUNT),
                ).rowcount
            dropped += step
            if step < ANSWER_STEP_COUNT:
                return dropped


def _require_unlocked(connection: sqlite3.Connection, snapshot: Snapshot, due_ms: int) -> None:
    """Raise LockHoldsError where a lock is in force. A snapshot in error has nothing that a lock could keep."""
    lock = select_lock(connection, snapshot.snapshot_id)
    if lock is None or snapshot.state is SnapshotState.ERROR:
        return
    if lock.holds(snapshot.completed_at_ms, due_ms):
        raise LockHoldsError


def _recycled_by_a_rule(connection: sqlite3.Connection, snapshot: Snapshot, now_ms: int) -> bool:
    """Put a completed snapshot into the recycle bin where a rule says so, as this transaction sees rules and tags."""
    if snapshot.state is not SnapshotState.COMPLETED:
        return False
    rules = select_rules(connection, snapshot.account_id, snapshot.region, SNAPSHOT_RESOURCE)
    days = retained_days((rule.retention for rule in rules), snapshot.tags)
    if days is None:
        return False
    drop_lock(connection, snapshot.snapshot_id)  # an expired one: it is over, also after a restore
    recycle(connection, snapshot.snapshot_id, now_ms, now_ms + days * DAY_MS)
    return True


SNAPSHOT_RESOURCE: Final = "EBS_SNAPSHOT"
"""The resource type of rules that keep snapshots."""

_COLUMNS: Final = (
    "rule_id, account_id, region, resource_type, retention_days, description, resource_tags, exclude_tags, tags, "
    "created_at_ms, unlock_delay_days, unlocked_at_ms"
)

_SELECT_RULES: Final = f"""
    SELECT {_COLUMNS} FROM retention_rule WHERE account_id = ? AND region = ? AND resource_type = ?
    ORDER BY created_at_ms, rule_id
"""

_SELECT_RULE: Final = f"SELECT {_COLUMNS} FROM retention_rule WHERE account_id = ? AND region = ? AND rule_id = ?"

_INSERT_RULE: Final = f"INSERT INTO retention_rule ({_COLUMNS}) VALUES ({', '.join('?' * 12)})"

_REPLACE_RULE: Final = _INSERT_RULE.replace("INSERT", "INSERT OR REPLACE")


class RecyclingStatements(Statements):
    """The part of `protection_contract.ProtectionCatalog` about the recycle bin."""

    def insert_rule(self, rule: RetentionRule, limit: int) -> None:
        with self._connections.writing_quietly() as connection:
            [(count,)] = connection.execute(
                "SELECT count(*) FROM retention_rule WHERE account_id = ? AND region = ?",
                (rule.account_id, rule.region),
            ).fetchall()
            if count >= limit:
                raise RuleLimitError
            connection.execute(_INSERT_RULE, _rule_parameters(rule))

    def rule(self, account_id: AccountId, region: Region, rule_id: str) -> RetentionRule | None:
        with self._connections.reading() as connection:
            return _select_rule(connection, account_id, region, rule_id)

    def rules(self, account_id: AccountId, region: Region, resource_type: str) -> list[RetentionRule]:
        with self._connections.reading() as connection:
            return select_rules(connection, account_id, region, resource_type)

    def change_rule(
        self,
        account_id: AccountId,
        region: Region,
        rule_id: str,
        change: Callable[[RetentionRule], RetentionRule | None],
    ) -> RetentionRule | None:
        with self._connections.writing_quietly() as connection:
            rule = _select_rule(connection, account_id, region, rule_id)
            if rule is None:
                return None
            changed = change(rule)
            if changed is None:
                connection.execute("DELETE FROM retention_rule WHERE rule_id = ?", (rule_id,))
            else:
                connection.execute(_REPLACE_RULE, _rule_parameters(changed))
        return changed or rule

    def recycled(self, account_id: AccountId, region: Region) -> list[Snapshot]:
        with self._connections.reading() as connection, at_one_moment(connection):
            rows = connection.execute(
                f"{SELECT_SNAPSHOT} WHERE account_id = ? AND region = ? AND recycled_until_ms IS NOT NULL"
                " AND state <> 'deleting' ORDER BY recycled_at_ms, snapshot_id",
                (account_id, region),
            ).fetchall()
            snapshots = [snapshot_from(row) for row in rows]
            places = [(account_id, region, each.recycled_at_ms or 0, str(each.snapshot_id)) for each in snapshots]
            require_whole(connection, (account_id, region, -1, ""), places, columns=RECYCLED)
            return snapshots

    def restore_recycled(
        self, account_id: AccountId, region: Region, snapshot_id: SnapshotId, due_ms: int
    ) -> Snapshot | None:
        with self._connections.writing() as connection:
            restored = connection.execute(
                "UPDATE snapshot SET recycled_at_ms = NULL, recycled_until_ms = NULL"
                " WHERE snapshot_id = ? AND account_id = ? AND region = ? AND state <> 'deleting'"
                " AND recycled_until_ms > ?",
                (snapshot_id, account_id, region, due_ms),
            ).rowcount
            return select_snapshot(connection, snapshot_id) if restored else None

    def empty_recycle_bin(self, due_ms: int) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            due = connection.execute(
                "SELECT 1 FROM snapshot WHERE recycled_until_ms <= ? AND state <> 'deleting' LIMIT 1", (due_ms,)
            ).fetchall()
        if not due:
            return []
        with self._connections.writing(skip_damaged=True) as connection:
            rows = connection.execute(
                "UPDATE snapshot SET state = 'deleting' WHERE recycled_until_ms <= ? AND state <> 'deleting'"
                " RETURNING snapshot_id",
                (due_ms,),
            ).fetchall()
        return [SnapshotId(snapshot_id) for (snapshot_id,) in rows]


def select_rules(
    connection: sqlite3.Connection, account_id: AccountId, region: Region, resource_type: str
) -> list[RetentionRule]:
    """An account's rules for one type of resource, as the connection's transaction sees them."""
    rows = connection.execute(_SELECT_RULES, (account_id, region, resource_type)).fetchall()
    return [_rule_from(row) for row in rows]


def recycle(connection: sqlite3.Connection, snapshot_id: SnapshotId, now_ms: int, until_ms: int) -> None:
    """Put a completed snapshot into the bin, inside the caller's transaction."""
    connection.execute(
        "UPDATE snapshot SET recycled_at_ms = ?, recycled_until_ms = ? WHERE snapshot_id = ?",
        (now_ms, until_ms, snapshot_id),
    )


def _select_rule(
    connection: sqlite3.Connection, account_id: AccountId, region: Region, rule_id: str
) -> RetentionRule | None:
    rows = connection.execute(_SELECT_RULE, (account_id, region, rule_id)).fetchall()
    return _rule_from(rows[0]) if rows else None


def _rule_from(row: tuple[Any, ...]) -> RetentionRule:
    rule_id, account_id, region, resource_type, days, description, include, exclude, tags, *rest = row
    retention = Retention(days, _matches_from(include), _matches_from(exclude))
    given = tuple(json.loads(tags).items())
    return RetentionRule(rule_id, account_id, region, resource_type, retention, description, given, *rest)


def _rule_parameters(rule: RetentionRule) -> tuple[object, ...]:
    return (
        rule.rule_id,
        rule.account_id,
        rule.region,
        rule.resource_type,
        rule.retention.days,
        rule.description,
        _matches_text(rule.retention.include),
        _matches_text(rule.retention.exclude),
        json.dumps(dict(rule.tags)),
        rule.created_at_ms,
        rule.unlock_delay_days,
        rule.unlocked_at_ms,
    )


def _matches_from(text: str) -> tuple[TagMatch, ...]:
    return tuple(TagMatch(key, value) for key, value in json.loads(text))


def _matches_text(matches: tuple[TagMatch, ...]) -> str:
    return json.dumps([(each.key, each.value) for each in matches])


class CopyStatements(WriteStatements):
    """The part of `protection_contract.ProtectionCatalog` about copies."""

    def insert_copy(self, snapshot: Snapshot, work: CopyWork | None, limit: int) -> None:
        with self._connections.writing() as connection:
            assert snapshot.copied_from is not None
            source = select_present(connection, snapshot.copied_from)
            if (
                source is None
                or source.state is not SnapshotState.COMPLETED
                or source.tiering.tier is StorageTier.ARCHIVE
            ):
                raise SourceGoneError
            [(under_way,)] = connection.execute(
                "SELECT count(*) FROM snapshot WHERE +account_id = ? AND +region = ? AND copied_from IS NOT NULL"
                " AND (state = 'pending' OR state = 'sealing')",
                (snapshot.account_id, snapshot.region),
            ).fetchall()
            if under_way >= limit:
                raise CopiesLimitError
            insert_row(connection, snapshot)
            connection.execute(
                "UPDATE snapshot SET copied_from = ? WHERE snapshot_id = ?",
                (snapshot.copied_from, snapshot.snapshot_id),
            )
            if work is not None:
                connection.execute(
                    "INSERT INTO snapshot_copy (snapshot_key, source_root, source_kms_key_arn)"
                    " SELECT snapshot_key, ?, ? FROM snapshot WHERE snapshot_id = ?",
                    (work.source_root, work.source_kms_key_arn, snapshot.snapshot_id),
                )

    def claim_copy(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> CopyWork | None:
        with self._connections.writing_quietly() as connection:
            rows = connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = ? WHERE snapshot_key IN"
                " (SELECT snapshot_key FROM snapshot WHERE snapshot_id = ? AND state = 'pending')"
                f" AND {lease_is_free('lease_until_ms')} RETURNING source_root, source_kms_key_arn",
                (lease_until_ms, snapshot_id, running_ms),
            ).fetchall()
        return CopyWork(snapshot_id, *rows[0]) if rows else None

    def renew_copy(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        with self._connections.writing_quietly() as connection:
            connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = max(lease_until_ms, ?) WHERE snapshot_key IN"
                " (SELECT snapshot_key FROM snapshot WHERE snapshot_id = ?)",
                (lease_until_ms, snapshot_id),
            )

    def copies_due(self, running_ms: int) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT snapshot_key, {COPY_CONTENT}, checksum FROM snapshot_copy"
                f" WHERE {lease_is_free('lease_until_ms')}",
                (running_ms,),
            ).fetchall()
            keys = [row[0] for row in rows if is_intact("snapshot_copy", row, self._connections.report_damage)]
            return intact_ids(
                connection,
                "WHERE snapshot_key IN (SELECT value FROM json_each(?)) AND +state = 'pending' ORDER BY snapshot_key",
                (json.dumps(keys),),
                self._connections.report_damage,
            )

    def fail_copy(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        with self._connections.writing() as connection:
            failed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?"
                " WHERE snapshot_id = ? AND state = 'pending' AND copied_from IS NOT NULL",
                (state_message, snapshot_id),
            )
        self._drop_ended(failed)
        return bool(failed)


class ProtectionStatements(LockStatements, RecyclingStatements, TierStatements, CopyStatements):
    """Implements `protection_contract.ProtectionCatalog`; what each call promises is said there."""
