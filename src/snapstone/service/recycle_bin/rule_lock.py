"""How a retention rule is locked: until it is unlocked, and for its unlock delay after that, nobody changes it."""

from __future__ import annotations

from collections.abc import Mapping

from snapstone.catalog.protection_rows import RetentionRule
from snapstone.core.protection_errors import InvalidRuleError

LockConfiguration = Mapping[str, Mapping[str, object]]


def locking_state(rule: RetentionRule, due_ms: int) -> str | None:
    """`locked`, `pending_unlock`, `unlocked`, or None where it has never been locked."""
    if rule.unlock_delay_days is None:
        return None
    if rule.unlocked_at_ms is None:
        return "locked"
    return "pending_unlock" if due_ms < rule.unlocked_at_ms else "unlocked"


def lock_members(rule: RetentionRule, due_ms: int) -> dict[str, object]:
    """What the API shows of a rule's lock beside its state."""
    if rule.unlock_delay_days is None:
        return {}
    pending = locking_state(rule, due_ms) == "pending_unlock"
    return {
        "LockConfiguration": {"UnlockDelay": {"UnlockDelayValue": rule.unlock_delay_days, "UnlockDelayUnit": "DAYS"}},
        "LockEndTime": rule.unlocked_at_ms if pending else None,
    }


def delay_of(configuration: LockConfiguration | None) -> int | None:
    """The unlock delay in days that a LockConfiguration names."""
    if configuration is None:
        return None
    days = configuration["UnlockDelay"]["UnlockDelayValue"]
    assert isinstance(days, int)
    return days


def require_lockable(rule: RetentionRule) -> None:
    """Raises InvalidRuleError: AWS locks rules of a whole region only."""
    if rule.retention.include or rule.retention.exclude:
        raise InvalidRuleError("Only a rule of the whole region, without resource tags, can be locked.")
