"""LockRule and UnlockRule."""

from __future__ import annotations

from dataclasses import replace

from snapstone.catalog.protection_rows import RetentionRule
from snapstone.core.protection_errors import RuleLockedError
from snapstone.core.snapshot_lock import DAY_MS
from snapstone.service.engine import Caller, Engine
from snapstone.service.recycle_bin.rule_lock import LockConfiguration, delay_of, locking_state, require_lockable
from snapstone.service.recycle_bin.rules import change_rule, shown

Answer = dict[str, object]


def lock_rule(engine: Engine, caller: Caller, *, identifier: str, lock_configuration: LockConfiguration) -> Answer:
    """Lock a rule of the whole region: it cannot be changed or deleted any more."""

    def lock(rule: RetentionRule) -> RetentionRule:
        require_lockable(rule)
        if locking_state(rule, engine.timekeeper.due_ms()) == "locked":
            raise RuleLockedError(f"Rule {identifier} is locked already.")
        return replace(rule, unlock_delay_days=delay_of(lock_configuration), unlocked_at_ms=None)

    return shown(change_rule(engine, caller, identifier, lock), engine.timekeeper.due_ms())


def unlock_rule(engine: Engine, caller: Caller, *, identifier: str) -> Answer:
    """Begin the delay after which a locked rule can be changed again."""

    def unlock(rule: RetentionRule) -> RetentionRule:
        if locking_state(rule, engine.timekeeper.due_ms()) != "locked":
            raise RuleLockedError(f"Rule {identifier} is not locked.")
        return replace(rule, unlocked_at_ms=engine.timekeeper.dated_ms() + (rule.unlock_delay_days or 0) * DAY_MS)

    return shown(change_rule(engine, caller, identifier, unlock), engine.timekeeper.due_ms())
