"""Statements on the recycle bin: its retention rules, and what lies in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from snapstone.catalog.connections import Statements
from snapstone.catalog.mapping import SELECT_SNAPSHOT, snapshot_from
from snapstone.catalog.protection_contract import RuleLimitError
from snapstone.catalog.protection_rows import RetentionRule
from snapstone.catalog.rows import Snapshot
from snapstone.catalog.snapshots import select_snapshot
from snapstone.catalog.verified import RECYCLED, at_one_moment, require_whole
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.retention import Retention, TagMatch

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
