"""Retention rules of the recycle bin: created, shown, changed, deleted, locked and tagged, region by region.

A locked rule cannot be changed until it is unlocked and its unlock delay is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from snapstone.catalog.contract.protection import RuleLimitError
from snapstone.catalog.contract.snapshots import RetentionRule
from snapstone.core.errors import InvalidRuleError, RuleLockedError, RuleNotFoundError, RuleQuotaError, SnapstoneError
from snapstone.core.protection import DAY_MS, Retention, TagMatch
from snapstone.core.tags import MAX_TAGS, TAG_CHARACTERS, SentTags, TagProblem, TagRule
from snapstone.service.engine import Caller, Engine
from snapstone.service.paging import page_of

LockConfiguration = Mapping[str, Mapping[str, object]]


def locking_state(rule: RetentionRule, due_ms: int) -> str | None:
    """`locked`, `pending_unlock`, `unlocked`, or None if it has never been locked."""
    if rule.unlock_delay_days is None:
        return None
    if rule.unlocked_at_ms is None:
        return "locked"
    return "pending_unlock" if due_ms < rule.unlocked_at_ms else "unlocked"


def lock_members(rule: RetentionRule, due_ms: int) -> dict[str, object]:
    """What the API shows of a rule's lock in addition to its state."""
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


def _tag_error(problem: TagProblem, key: str) -> SnapstoneError:
    match problem:
        case TagProblem.RESERVED:
            return InvalidRuleError(f"Tag keys starting with 'aws:' are reserved: {key}")
        case TagProblem.DUPLICATE:
            return InvalidRuleError("A tag key was given twice.")
        case TagProblem.TOO_MANY_SENT | TagProblem.TOO_MANY_KEPT:
            return RuleQuotaError(f"A retention rule takes at most {MAX_TAGS} tags.")
        case TagProblem.CHARACTER:
            return InvalidRuleError(f"A tag has a character that no tag may have: {key}")
        case _:
            return InvalidRuleError(f"Tag keys have 1 to 128 characters and values at most 256: {key}")


TAG_RULE: Final = TagRule(_tag_error, characters=TAG_CHARACTERS)


def tag_members(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Pairs as the API carries them."""
    return [{"Key": key, "Value": value} for key, value in tags]


RULE_LIMIT: Final = 250
"""Retention rules of an account in a region (AWS: "Recycle Bin quotas")."""

MAX_RETENTION_DAYS: Final = 365
"""For snapshots; the model's own limit is that of other resources."""

RULE_ID_SIZE: Final = 11

DEFAULT_PAGE_SIZE: Final = 1_000

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Answer = dict[str, object]
ResourceTags = Sequence[Mapping[str, str]]
Period = Mapping[str, object]


def create_rule(
    engine: Engine,
    caller: Caller,
    *,
    retention_period: Period,
    resource_type: str,
    description: str = "",
    tags: SentTags | None = None,
    resource_tags: ResourceTags | None = None,
    lock_configuration: LockConfiguration | None = None,
    exclude_resource_tags: ResourceTags | None = None,
) -> Answer:
    """A rule for resources with any of some tags, or for all of the region but those with excluded tags."""
    rule = RetentionRule(
        rule_id=_new_id(engine),
        account_id=caller.account_id,
        region=caller.region,
        resource_type=resource_type,
        retention=_retention(retention_period, resource_type, resource_tags or (), exclude_resource_tags or ()),
        description=description,
        tags=TAG_RULE.sent(tags or ()),
        created_at_ms=engine.now_ms(),
        unlock_delay_days=delay_of(lock_configuration),
    )
    if rule.unlock_delay_days is not None:
        require_lockable(rule)
    try:
        engine.catalog.insert_rule(rule, RULE_LIMIT)
    except RuleLimitError:
        raise RuleQuotaError(f"At most {RULE_LIMIT} retention rules may exist in a region.") from None
    return shown(rule, rule.created_at_ms) | {"Tags": tag_members(rule.tags)}


def get_rule(engine: Engine, caller: Caller, *, identifier: str) -> Answer:
    """One rule."""
    return shown(require_rule(engine, caller, identifier), engine.timekeeper.due_ms())


def list_rules(
    engine: Engine,
    caller: Caller,
    *,
    resource_type: str,
    max_results: int = DEFAULT_PAGE_SIZE,
    next_token: str | None = None,
    resource_tags: ResourceTags | None = None,
    lock_state: str | None = None,
    exclude_resource_tags: ResourceTags | None = None,
) -> Answer:
    """The rules for a type of resource, oldest first; of those with given tags or in a given state of locking."""
    due_ms = engine.timekeeper.due_ms()
    include, exclude = set(_matches(resource_tags or ())), set(_matches(exclude_resource_tags or ()))
    rules = [
        rule
        for rule in engine.catalog.rules(caller.account_id, caller.region, resource_type)
        if include <= set(rule.retention.include)
        and exclude <= set(rule.retention.exclude)
        and lock_state in (None, locking_state(rule, due_ms))
    ]
    call = (
        "ListRules",
        caller.account_id,
        caller.region,
        repr((resource_type, resource_tags, lock_state, exclude_resource_tags)),
    )
    page, token = page_of(engine, call, rules, lambda rule: (rule.created_at_ms, rule.rule_id), max_results, next_token)
    return {"Rules": [_summary(rule, due_ms) for rule in page], "NextToken": token}


def update_rule(
    engine: Engine,
    caller: Caller,
    *,
    identifier: str,
    retention_period: Period | None = None,
    description: str | None = None,
    resource_type: str | None = None,
    resource_tags: ResourceTags | None = None,
    exclude_resource_tags: ResourceTags | None = None,
) -> Answer:
    """Change what is given; what lies in the bin already keeps its time. Not while the rule is locked."""

    def change(rule: RetentionRule) -> RetentionRule:
        _require_unlocked(rule, engine.timekeeper.due_ms())
        if resource_type not in (None, rule.resource_type):
            raise InvalidRuleError("A rule's resource type cannot be changed.")
        period: Period = {"RetentionPeriodValue": rule.retention.days} if retention_period is None else retention_period
        retention = _retention(
            period,
            rule.resource_type,
            _resource_tags(rule.retention.include) if resource_tags is None else resource_tags,
            _resource_tags(rule.retention.exclude) if exclude_resource_tags is None else exclude_resource_tags,
        )
        return replace(rule, retention=retention, description=rule.description if description is None else description)

    return shown(change_rule(engine, caller, identifier, change), engine.timekeeper.due_ms())


def delete_rule(engine: Engine, caller: Caller, *, identifier: str) -> Answer:
    """Delete a rule; what it put into the bin stays there for its time. Not while the rule is locked."""

    def delete(rule: RetentionRule) -> None:
        _require_unlocked(rule, engine.timekeeper.due_ms())

    change_rule(engine, caller, identifier, delete)
    return {}


def require_rule(engine: Engine, caller: Caller, rule_id: str) -> RetentionRule:
    """The caller's rule in the caller's region. Raises RuleNotFoundError."""
    rule = engine.catalog.rule(caller.account_id, caller.region, rule_id)
    if rule is None:
        raise RuleNotFoundError(rule_id)
    return rule


def change_rule(
    engine: Engine, caller: Caller, rule_id: str, change: Callable[[RetentionRule], RetentionRule | None]
) -> RetentionRule:
    """The rule after `change`, made inside one transaction. Raises RuleNotFoundError."""
    rule = engine.catalog.change_rule(caller.account_id, caller.region, rule_id, change)
    if rule is None:
        raise RuleNotFoundError(rule_id)
    return rule


def shown(rule: RetentionRule, due_ms: int) -> Answer:
    """A rule as the API shows it."""
    return _summary(rule, due_ms) | {
        "ResourceType": rule.resource_type,
        "ResourceTags": _resource_tags(rule.retention.include),
        "ExcludeResourceTags": _resource_tags(rule.retention.exclude),
        "Status": "available",
        **lock_members(rule, due_ms),
    }


def rule_arn(rule: RetentionRule) -> str:
    return f"arn:aws:rbin:{rule.region}:{rule.account_id}:rule/{rule.rule_id}"


def _summary(rule: RetentionRule, due_ms: int) -> Answer:
    return {
        "Identifier": rule.rule_id,
        "Description": rule.description,
        "RetentionPeriod": {"RetentionPeriodValue": rule.retention.days, "RetentionPeriodUnit": "DAYS"},
        "LockState": locking_state(rule, due_ms),
        "RuleArn": rule_arn(rule),
    }


def _new_id(engine: Engine) -> str:
    number = int.from_bytes(engine.random_bytes(RULE_ID_SIZE), "big")
    digits = []
    for _ in range(RULE_ID_SIZE):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _retention(
    period: Period, resource_type: str, resource_tags: ResourceTags, exclude_tags: ResourceTags
) -> Retention:
    days = period["RetentionPeriodValue"]
    assert isinstance(days, int)
    if resource_type != "EBS_SNAPSHOT":
        raise InvalidRuleError(f"This server keeps only snapshots, not {resource_type}.")
    if days > MAX_RETENTION_DAYS:
        raise InvalidRuleError(f"Snapshots are retained for 1 to {MAX_RETENTION_DAYS} days.")
    if resource_tags and exclude_tags:
        raise InvalidRuleError("A rule has either resource tags or excluded resource tags.")
    return Retention(days, _matches(resource_tags), _matches(exclude_tags))


def _matches(tags: ResourceTags) -> tuple[TagMatch, ...]:
    return tuple(TagMatch(tag["ResourceTagKey"], tag.get("ResourceTagValue")) for tag in tags)


def _resource_tags(matches: Sequence[TagMatch]) -> list[dict[str, str]]:
    return [
        {"ResourceTagKey": each.key} | ({} if each.value is None else {"ResourceTagValue": each.value})
        for each in matches
    ]


def _require_unlocked(rule: RetentionRule, due_ms: int) -> None:
    if locking_state(rule, due_ms) not in (None, "unlocked"):
        raise RuleLockedError(f"Rule {rule.rule_id} is locked.")


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


def tag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tags: SentTags) -> Answer:
    """Add tags to a rule; one with a key that is there replaces it."""
    given = TAG_RULE.sent(tags)

    def tag(rule: RetentionRule) -> RetentionRule:
        return replace(rule, tags=TAG_RULE.added(rule.tags, given))

    change_rule(engine, caller, _rule_id(engine, caller, resource_arn), tag)
    return {}


def untag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tag_keys: Sequence[str]) -> Answer:
    """Remove tags from a rule; absent keys are ignored."""

    def untag(rule: RetentionRule) -> RetentionRule:
        return replace(rule, tags=TAG_RULE.without(rule.tags, tag_keys))

    change_rule(engine, caller, _rule_id(engine, caller, resource_arn), untag)
    return {}


def list_tags_for_resource(engine: Engine, caller: Caller, *, resource_arn: str) -> Answer:
    """A rule's tags."""
    return {"Tags": tag_members(require_rule(engine, caller, _rule_id(engine, caller, resource_arn)).tags)}


def _rule_id(engine: Engine, caller: Caller, resource_arn: str) -> str:
    """The id in the ARN of one of the caller's rules. Raises RuleNotFoundError."""
    rule_id = resource_arn.rpartition("/")[2]
    if rule_arn(require_rule(engine, caller, rule_id)) != resource_arn:
        raise RuleNotFoundError(rule_id)
    return rule_id


RBIN_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "CreateRule": create_rule,
    "GetRule": get_rule,
    "ListRules": list_rules,
    "UpdateRule": update_rule,
    "DeleteRule": delete_rule,
    "LockRule": lock_rule,
    "UnlockRule": unlock_rule,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}
